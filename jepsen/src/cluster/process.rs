//! The nodes' processes. They die with this program, however it ends: each is started through `setpriv`
//! with a parent-death signal, by one thread that lives as long as the program does (the kernel sends the
//! signal when the thread that started the process ends).

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::running::{Fallen, Running};
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
    /// SIGABRT: the kernel writes a core file
    Abort,
}

/// A command that did not end well.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It was not run to its end, which says nothing of the program.
    #[error("{command} cannot be run: {cause:#}")]
    NotRun {
        /// Which, and where.
        command: String,
        /// Why.
        cause: anyhow::Error,
    },
    /// It says no.
    #[error("{command}: {said}")]
    Refused {
        /// Which, and where.
        command: String,
        /// What it wrote.
        said: String,
    },
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
struct Children {
    /// By node.
    all: Vec<Option<Running>>,
    fallen: Vec<Fallen>,
}

impl Children {
    fn of(&mut self, turn: usize) -> Option<&mut Running> {
        self.all.get_mut(turn)?.as_mut()
    }

    /// Notes who ended without being told to.
    fn look(&mut self) {
        let fell = |(turn, running): (usize, &mut Option<Running>)| {
            let status = running.as_mut()?.fell()?;
            Some(Fallen { turn, status, seen: Stopwatch::start() })
        };
        self.fallen.extend(self.all.iter_mut().enumerate().filter_map(fell));
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for running in self.all.iter_mut().flatten() {
            running.end();
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
        let all = starts.iter().map(|_| None).collect();
        let running = Arc::new(Mutex::new(Children { all, fallen: Vec::new() }));
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
    /// [`RunError`].
    pub async fn run(&self, turn: usize, arguments: &[&str], input: Option<String>) -> Result<(), RunError> {
        let command = format!("`{}` on n{}", arguments.join(" "), turn + 1);
        let output = match self.output(turn, arguments, input).await {
            Ok(output) => output,
            Err(cause) => return Err(RunError::NotRun { command, cause }),
        };
        match output.status.code() {
            Some(0) => Ok(()),
            Some(_) => {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                Err(RunError::Refused { command, said })
            }
            None => Err(RunError::NotRun { command, cause: anyhow::anyhow!("{}", output.status) }),
        }
    }

    async fn output(&self, turn: usize, arguments: &[&str], input: Option<String>) -> anyhow::Result<Output> {
        let mut command = self.command(turn)?;
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = self.spawn(command)?;
        let ended = tokio::task::spawn_blocking(move || {
            if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
                stdin.write_all(input.as_bytes())?;
            }
            child.wait_with_output()
        });
        Ok(ended.await??)
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
        // In its folder, so that a core file is found there.
        command.current_dir(folder).arg("start");
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = self.spawn(command)?;
        let process = child.id();
        let mut running = self.lock();
        running.look();
        if let Some(slot) = running.all.get_mut(turn) {
            *slot = Some(Running::new(child));
        }
        Ok(process)
    }

    /// Whether a node's process is there, stopped or not.
    pub fn is_running(&self, turn: usize) -> bool {
        self.lock().of(turn).is_some_and(Running::is_there)
    }

    /// Its process id and since when it runs, stopped or not.
    pub fn running(&self, turn: usize) -> Option<(u32, Duration)> {
        let mut running = self.lock();
        let found = running.of(turn)?;
        found.is_there().then(|| (found.id(), found.ran()))
    }

    /// How it ended, if it was started and ended.
    pub fn ended(&self, turn: usize) -> Option<ExitStatus> {
        self.lock().of(turn)?.status()
    }

    /// All that ended so far though nobody told them to, in the order in which that was seen.
    pub fn fallen(&self) -> Vec<Fallen> {
        let mut running = self.lock();
        running.look();
        running.fallen.clone()
    }

    /// Sends a signal; `false` if there is no process.
    pub fn signal(&self, turn: usize, signal: Signal) -> bool {
        self.lock().of(turn).is_some_and(|running| running.signal(signal))
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
