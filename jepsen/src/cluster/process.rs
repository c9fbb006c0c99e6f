//! The nodes' processes. They die with this program, however it ends: each is started through `setpriv`
//! with a parent-death signal, by one thread that lives as long as the program does (the kernel sends the
//! signal when the thread that started the process ends).

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::start::Start;
use crate::clock::Stopwatch;

/// A signal to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGKILL
    Kill,
    /// SIGTERM
    Terminate,
    /// SIGSTOP
    Stop,
    /// SIGCONT
    Continue,
}

/// All nodes' processes. Copies are of the same.
#[derive(Clone, Debug)]
pub struct Processes {
    binary: PathBuf,
    starts: Arc<Vec<Start>>,
    running: Arc<Mutex<Children>>,
    spawner: mpsc::Sender<(Command, mpsc::Sender<std::io::Result<Child>>)>,
}

/// Killed when nobody can reach them any more, so that a run that fails leaves nothing to the next.
#[derive(Debug)]
struct Children(Vec<Option<(Child, Stopwatch)>>);

impl Drop for Children {
    fn drop(&mut self) {
        for (child, _) in self.0.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Processes {
    /// None yet.
    ///
    /// # Errors
    /// There is no such program, or no thread can be started.
    pub fn new(binary: &Path, starts: Vec<Start>) -> anyhow::Result<Self> {
        if !binary.is_file() {
            bail!(
                "{} is not there: build it (`cargo build --release -p domicile`) or name it with --binary",
                binary.display()
            );
        }
        let (spawner, orders) = mpsc::channel::<(Command, mpsc::Sender<std::io::Result<Child>>)>();
        std::thread::Builder::new().name("spawner".to_owned()).spawn(move || {
            for (mut command, answer) in orders {
                let _ = answer.send(command.spawn());
            }
        })?;
        let running = Arc::new(Mutex::new(Children(starts.iter().map(|_| None).collect())));
        Ok(Self { binary: binary.to_owned(), starts: Arc::new(starts), running, spawner })
    }

    fn lock(&self) -> MutexGuard<'_, Children> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn command(&self, turn: usize) -> anyhow::Result<Command> {
        let mut command = self.starts.get(turn).context("no such node")?.command(&self.binary);
        // What is set for this program is not meant for all nodes alike.
        let kept = |name: &str| !name.starts_with("DOMICILE_") || name == "DOMICILE_CONFIG";
        for (name, _) in std::env::vars().filter(|(name, _)| !kept(name)) {
            command.env_remove(name);
        }
        Ok(command)
    }

    /// Runs a command of a node to its end.
    ///
    /// # Errors
    /// What it said.
    pub async fn run(&self, turn: usize, arguments: &[&str], input: Option<String>) -> anyhow::Result<()> {
        let mut command = self.command(turn)?;
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = self.spawn(command)?;
        let ended = tokio::task::spawn_blocking(move || {
            if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
                stdin.write_all(input.as_bytes())?;
            }
            child.wait_with_output()
        });
        let output = ended.await??;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` on n{}: {}", arguments.join(" "), turn + 1, said.trim())
    }

    fn spawn(&self, command: Command) -> anyhow::Result<Child> {
        let (answer, answered) = mpsc::channel();
        self.spawner.send((command, answer)).ok().context("the spawner ended")?;
        answered.recv()?.context("cannot start a process (is `setpriv` of util-linux there?)")
    }

    /// Starts a node; gives its process id.
    ///
    /// # Errors
    /// It runs already, or cannot be started.
    pub fn start(&self, turn: usize) -> anyhow::Result<u32> {
        if self.is_running(turn) {
            bail!("n{} runs already", turn + 1);
        }
        let mut command = self.command(turn)?;
        let folder = self.starts.get(turn).and_then(|start| start.config.parent()).context("no such node")?;
        let log = OpenOptions::new().create(true).append(true).open(folder.join("node.log"))?;
        command.arg("start").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = self.spawn(command)?;
        let process = child.id();
        if let Some(slot) = self.lock().0.get_mut(turn) {
            *slot = Some((child, Stopwatch::start()));
        }
        Ok(process)
    }

    /// Whether a node's process is there, stopped or not.
    pub fn is_running(&self, turn: usize) -> bool {
        let mut running = self.lock();
        let child = running.0.get_mut(turn).and_then(Option::as_mut);
        child.is_some_and(|(child, _)| matches!(child.try_wait(), Ok(None)))
    }

    /// Its process id and since when it runs, stopped or not.
    pub fn running(&self, turn: usize) -> Option<(u32, Duration)> {
        if !self.is_running(turn) {
            return None;
        }
        let running = self.lock();
        let (child, since) = running.0.get(turn)?.as_ref()?;
        Some((child.id(), since.elapsed()))
    }

    /// How it ended, if it was started and ended by itself.
    pub fn ended(&self, turn: usize) -> Option<ExitStatus> {
        let mut running = self.lock();
        running.0.get_mut(turn)?.as_mut()?.0.try_wait().ok().flatten()
    }

    /// Sends a signal; `false` if there is no process.
    pub fn signal(&self, turn: usize, signal: Signal) -> bool {
        let mut running = self.lock();
        let Some((child, _)) = running.0.get_mut(turn).and_then(Option::as_mut) else { return false };
        if !matches!(child.try_wait(), Ok(None)) {
            return false;
        }
        let name = match signal {
            Signal::Kill => return child.kill().is_ok() && child.wait().is_ok(),
            Signal::Terminate => "-TERM",
            Signal::Stop => "-STOP",
            Signal::Continue => "-CONT",
        };
        let sent = Command::new("kill").args([name, &child.id().to_string()]).status();
        sent.is_ok_and(|status| status.success())
    }

    /// Waits until a process ended; kills it after `patience`. `true` if it ended by itself.
    pub async fn gone(&self, turn: usize, patience: Duration) -> bool {
        let waiting = async {
            while self.is_running(turn) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let by_itself = tokio::time::timeout(patience, waiting).await.is_ok();
        if !by_itself {
            self.signal(turn, Signal::Kill);
        }
        by_itself
    }

    /// Kills all that is left.
    pub fn kill_all(&self) {
        for turn in 0..self.starts.len() {
            self.signal(turn, Signal::Kill);
        }
    }
}
