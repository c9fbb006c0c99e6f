//! The demo's processes: this program, started as an operator would start it.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::layout::{DemoNode, Layout};

/// Between two looks at a process or a listener.
const LOOK: Duration = Duration::from_millis(50);
/// How long a node may take until it serves; debug builds are slow at their first keys.
const READY_MAX: Duration = Duration::from_mins(3);
/// How long a node may take to stop before it is killed.
const STOP_MAX: Duration = Duration::from_secs(12);

/// A running node. Its process stops when this is dropped, also when this program is killed: it
/// watches the other end of the pipe that is held here.
pub(super) struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Running {
    /// `domicile start`.
    pub(super) fn start(layout: &Layout, node: &DemoNode) -> anyhow::Result<Self> {
        let mut command = program()?;
        command.arg("start").arg("--config").arg(layout.config_file(node)).arg("--stop-with-stdin");
        let log = OpenOptions::new().create(true).append(true).open(layout.log_file(node))?;
        command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        let mut child = command.spawn().context("cannot start a node")?;
        let stdin = child.stdin.take();
        Ok(Self { child, stdin })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until it serves.
    pub(super) async fn ready(&mut self, layout: &Layout, node: &DemoNode) -> anyhow::Result<()> {
        let mut look = tokio::time::interval(LOOK);
        let serving = async {
            loop {
                look.tick().await;
                if is_ready(node).await {
                    return anyhow::Ok(());
                }
                if let Some(status) = self.ended()? {
                    bail!(
                        "{} ended before it served ({status}); see {}",
                        node.name,
                        layout.log_file(node).display()
                    );
                }
            }
        };
        tokio::time::timeout(READY_MAX, serving).await.with_context(|| {
            format!("{} does not serve; see {}", node.name, layout.log_file(node).display())
        })?
    }

    /// Asks it to stop, as on SIGTERM.
    pub(super) fn ask_to_stop(&mut self) {
        self.stdin = None;
    }

    /// Waits for its end; kills it when that takes too long.
    pub(super) async fn stopped(mut self) -> anyhow::Result<ExitStatus> {
        self.ask_to_stop();
        let mut look = tokio::time::interval(LOOK);
        let ending = async {
            loop {
                look.tick().await;
                if let Some(status) = self.child.try_wait()? {
                    return anyhow::Ok(status);
                }
            }
        };
        if let Ok(ended) = tokio::time::timeout(STOP_MAX, ending).await {
            return ended;
        }
        self.child.kill()?;
        Ok(self.child.wait()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Whoever comes here without `stopped` is failing: nothing is to be left running.
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// `domicile init`.
pub(super) async fn init(layout: &Layout, node: &DemoNode) -> anyhow::Result<()> {
    once(layout, node, vec!["init".into()], None).await
}

/// `domicile join -`, with the token on standard input: arguments can be seen by others.
pub(super) async fn join(layout: &Layout, node: &DemoNode, token: String) -> anyhow::Result<()> {
    once(layout, node, vec!["join".into(), "-".into()], Some(token)).await
}

/// Runs a command of this program to its end.
async fn once(
    layout: &Layout,
    node: &DemoNode,
    arguments: Vec<String>,
    input: Option<String>,
) -> anyhow::Result<()> {
    let config = layout.config_file(node);
    let run = move || run_to_end(&arguments, &config, input.as_deref());
    let told = tokio::task::spawn_blocking(run).await?;
    told.with_context(|| format!("cannot make {}", node.name))
}

fn run_to_end(arguments: &[String], config: &Path, input: Option<&str>) -> anyhow::Result<()> {
    let mut command = program()?;
    command.args(arguments).arg("--config").arg(config);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    bail!("{}", said.lines().last().unwrap_or("it failed without a word"))
}

fn program() -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    // What overrides this process's settings is not meant for all nodes alike, but for the log.
    for (name, _) in std::env::vars() {
        if name.starts_with("DOMICILE_") && !name.starts_with("DOMICILE__LOG__") {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// Whether `/readyz` says 200.
async fn is_ready(node: &DemoNode) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(node.management_address()).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut head = [0_u8; 12];
        stream.read_exact(&mut head).await?;
        std::io::Result::Ok(head.ends_with(b" 200"))
    };
    matches!(tokio::time::timeout(Duration::from_secs(2), asked).await, Ok(Ok(true)))
}
