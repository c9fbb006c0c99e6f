//! What happens when a group fails: quarantine for errors, the end of the process for panics.

use std::any::Any;
use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use crate::data_dir::DataDir;
use crate::{Clock, Health, PartitionId};

/// A panic inside a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PanicReport {
    /// Whose.
    pub partition: PartitionId,
    /// The panic's message.
    pub message: String,
}

/// Called once a panic is on record. Production never returns from it.
pub type OnPanic = Arc<dyn Fn(&PanicReport) + Send + Sync>;

/// Ends the process, for the supervisor to restart: state after a panic is anybody's guess.
#[must_use]
pub fn abort_on_panic() -> OnPanic {
    Arc::new(|_| std::process::abort())
}

/// Whether a group still works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    Running,
    /// Shut down by order.
    Stopped,
    Quarantined(String),
    /// Stopped without an order: a panic whose callback returned, or a core that went away.
    Failed(String),
}

impl Lifecycle {
    pub(crate) fn health(&self) -> Health {
        match self {
            Self::Running | Self::Stopped => Health::Running,
            Self::Quarantined(reason) => Health::Quarantined(reason.clone()),
            Self::Failed(reason) => Health::Failed(reason.clone()),
        }
    }
}

/// Where one group's failures go.
pub(crate) struct Faults {
    pub(crate) partition: PartitionId,
    pub(crate) directory: Option<Arc<DataDir>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) on_panic: OnPanic,
    pub(crate) lifecycle: watch::Sender<Lifecycle>,
    pub(crate) panicked: AtomicBool,
    /// Set when the state met a full disk: its files are whole, so that no marker keeps the group stopped.
    pub(crate) disk_full: AtomicBool,
}

impl Faults {
    /// Stops the group for good: a marker on disk keeps it stopped until an operator removes it.
    pub(crate) fn quarantine(&self, reason: &str) {
        if !self.end(Lifecycle::Quarantined(reason.to_owned())) {
            return;
        }
        tracing::error!(partition = self.partition.0, reason, "partition quarantined");
        if let Some(directory) = &self.directory
            && let Err(cause) = directory.quarantine(self.partition, reason)
        {
            tracing::error!(partition = self.partition.0, %cause, "quarantine marker not written");
        }
    }

    /// An error of storage: for good, unless the disk was only full.
    pub(crate) fn storage_failed(&self, reason: &str) {
        if self.disk_full.load(Ordering::Acquire) {
            self.fail(&format!("disk full: {reason}"));
        } else {
            self.quarantine(reason);
        }
    }

    /// Records the panic on disk, then hands over to the callback.
    pub(crate) fn panicked(&self, message: String) {
        if self.panicked.swap(true, Ordering::AcqRel) {
            return;
        }
        tracing::error!(partition = self.partition.0, message, "panic in a partition");
        if let Some(directory) = &self.directory
            && let Err(cause) = directory.record_panic(self.partition, self.clock.now())
        {
            tracing::error!(partition = self.partition.0, %cause, "panic not recorded");
        }
        let reason = format!("panic: {message}");
        (self.on_panic)(&PanicReport { partition: self.partition, message });
        self.end(Lifecycle::Failed(reason));
    }

    pub(crate) fn has_panicked(&self) -> bool {
        self.panicked.load(Ordering::Acquire)
    }

    /// An orderly stop.
    pub(crate) fn stop(&self) {
        self.end(Lifecycle::Stopped);
    }

    /// The group is gone and nobody ordered it.
    pub(crate) fn fail(&self, reason: &str) {
        if self.end(Lifecycle::Failed(reason.to_owned())) {
            tracing::error!(partition = self.partition.0, reason, "partition stopped");
        }
    }

    /// How it ended; false if it had ended before, and then that counts.
    fn end(&self, how: Lifecycle) -> bool {
        self.lifecycle.send_if_modified(|lifecycle| {
            let running = matches!(lifecycle, Lifecycle::Running);
            if running {
                *lifecycle = how;
            }
            running
        })
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a string does not fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

/// What a panic said.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "not a text".to_owned())
}
