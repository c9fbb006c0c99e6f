//! A node's process, what it was told, and whether it ended without being told to.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use super::Signal;
use crate::clock::Stopwatch;

const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// A process that ended though nobody told it to.
#[derive(Clone, Copy, Debug)]
pub struct Fallen {
    /// Whose.
    pub turn: usize,
    /// How.
    pub status: ExitStatus,
    /// Counts from when it was seen.
    pub seen: Stopwatch,
}

/// What a process was told that ends it.
#[derive(Clone, Copy, Debug, Default)]
struct Orders {
    kill: bool,
    terminate: bool,
    abort: bool,
}

/// A process, running or not.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    since: Stopwatch,
    orders: Orders,
    is_noted: bool,
}

impl Orders {
    /// Whether they explain this end. What was told to stop may do so with an error, and may not crash.
    fn explain(self, status: ExitStatus) -> bool {
        match status.signal() {
            Some(SIGKILL) => self.kill,
            Some(SIGTERM) | None => self.terminate,
            Some(SIGABRT) => self.abort,
            Some(_) => false,
        }
    }
}

impl Running {
    pub(super) fn new(child: Child) -> Self {
        Self { child, since: Stopwatch::start(), orders: Orders::default(), is_noted: false }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// For how long.
    pub(super) fn ran(&self) -> Duration {
        self.since.elapsed()
    }

    pub(super) fn is_there(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// How it ended, if it did.
    pub(super) fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The same, once, and only if nobody told it to.
    pub(super) fn fell(&mut self) -> Option<ExitStatus> {
        let status = self.status().filter(|_| !self.is_noted)?;
        self.is_noted = true;
        (!self.orders.explain(status)).then_some(status)
    }

    /// Sends a signal; `false` if there is no process.
    pub(super) fn signal(&mut self, signal: Signal) -> bool {
        if !self.is_there() {
            return false;
        }
        let name = match signal {
            Signal::Kill => {
                self.orders.kill = true;
                return self.end();
            }
            Signal::Terminate => {
                self.orders.terminate = true;
                "-TERM"
            }
            Signal::Abort => {
                self.orders.abort = true;
                "-ABRT"
            }
            Signal::Stop => "-STOP",
            Signal::Continue => "-CONT",
        };
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        sent.is_ok_and(|status| status.success())
    }

    /// SIGKILL, and what is left of it is taken away.
    pub(super) fn end(&mut self) -> bool {
        self.child.kill().is_ok() && self.child.wait().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_process_was_told_explains_its_end() {
        let none = Orders::default();
        let [failed, well, aborted, killed, terminated] =
            [1 << 8, 0, SIGABRT, SIGKILL, SIGTERM].map(ExitStatus::from_raw);
        for status in [failed, well, aborted, killed, terminated] {
            assert!(!none.explain(status), "{status}");
        }
        let told = Orders { terminate: true, ..none };
        assert!(told.explain(failed) && told.explain(well) && told.explain(terminated));
        assert!(!told.explain(aborted) && !told.explain(killed), "it crashed on its way out");
        assert!(
            Orders { kill: true, ..none }.explain(killed) && !Orders { kill: true, ..none }.explain(aborted)
        );
        assert!(Orders { abort: true, ..none }.explain(aborted));
    }

    #[test]
    fn a_process_that_ends_by_itself_is_told_once_and_one_that_was_killed_is_not() {
        let start = |what: &str| Running::new(Command::new("sh").args(["-c", what]).spawn().unwrap());
        let mut fails = start("exit 7");
        fails.child.wait().unwrap();
        assert_eq!(fails.fell().and_then(|status| status.code()), Some(7));
        assert!(fails.fell().is_none() && !fails.signal(Signal::Kill));
        let mut killed = start("exec sleep 60");
        assert!(killed.is_there() && killed.fell().is_none());
        assert!(killed.signal(Signal::Kill) && killed.fell().is_none() && killed.status().is_some());
    }
}
