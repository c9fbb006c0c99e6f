//! The real binary as a process: started, waited for by its own words, stopped in every way.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_domicile");
/// A debug build makes an RSA key before it serves.
const START_MAX: Duration = Duration::from_mins(2);
/// Says that the node serves; the ready file is written before it.
const SERVES: &str = " serves (development mode)";

/// A node of `domicile dev`. Killed when dropped.
pub struct DevNode {
    child: Child,
    /// What the ready file said.
    pub ready: Value,
    log: Option<std::thread::JoinHandle<String>>,
}

/// How a node is started.
pub struct Start {
    data_dir: PathBuf,
    arguments: Vec<String>,
}

impl Start {
    /// On `data_dir`, at a port that the system picks.
    pub fn on(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            arguments: vec!["--listen".to_owned(), "127.0.0.1:0".to_owned()],
        }
    }

    /// With further flags.
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Starts it and waits until it serves.
    pub fn serve(self) -> DevNode {
        let ready_file = self.data_dir.with_extension("ready.json");
        let mut child = Command::new(BINARY)
            .arg("dev")
            .arg("--data-dir")
            .arg(&self.data_dir)
            .arg("--ready-file")
            .arg(&ready_file)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        if !says(&mut child, SERVES) {
            let _ = child.kill();
            panic!("the node does not serve: {:?}\n{}", child.wait(), log.join().unwrap());
        }
        let ready = serde_json::from_slice(&std::fs::read(&ready_file).unwrap()).unwrap();
        DevNode { child, ready, log: Some(log) }
    }
}

/// Reads standard output until a line holds `text`; false at its end or when it takes too long. The
/// rest is read away, so that the node never waits for us.
fn says(child: &mut Child, text: &'static str) -> bool {
    let (said, heard) = mpsc::channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            if line.contains(text) {
                let _ = said.send(());
            }
        }
    });
    heard.recv_timeout(START_MAX).is_ok()
}

impl DevNode {
    /// A text of the ready file.
    pub fn text(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap_or_else(|| panic!("the ready file has no `{name}`"))
    }

    /// `kill -9`, as a crash.
    pub fn crash(mut self) -> String {
        self.child.kill().unwrap();
        self.end().1
    }

    /// Sends `TERM` or `INT`; gives the exit status and the log.
    pub fn stop(mut self, signal: &str) -> (ExitStatus, String) {
        let sent =
            Command::new("sh").arg("-c").arg(format!("kill -{signal} {}", self.child.id())).status().unwrap();
        assert!(sent.success());
        self.end()
    }

    fn end(&mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        (status, self.log.take().unwrap().join().unwrap())
    }

    /// Runs a command of the CLI against this node with its token in the environment.
    pub fn cli(&self, arguments: &[&str]) -> (bool, String, String) {
        let output = Command::new(BINARY)
            .args(arguments)
            .env("DOMICILE_ADMIN_URL", self.text("admin_url"))
            .env("DOMICILE_ADMIN_TOKEN", self.text("admin_token"))
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    }

    /// Where the public listener is.
    pub fn address(&self) -> SocketAddr {
        let url = url::Url::parse(self.text("public_url")).unwrap();
        url.socket_addrs(|| None).unwrap()[0]
    }
}

impl Drop for DevNode {
    fn drop(&mut self) {
        // Already ended: nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
