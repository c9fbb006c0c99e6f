//! A full disk: writes of the log wait for room, the state keeps some of its own.
//!
//! A log that answered with an error could not be written to again, and every group of the node with it
//! would be gone until a restart. So it waits: nothing is acknowledged meanwhile, nothing is lost, and it
//! goes on by itself. What sits above refuses writes long before that.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate};

use crate::EngineError;

const RETRY: Duration = Duration::from_millis(100);

/// Whether the error says that the disk, or what may be used of it, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl EngineError {
    /// Whether the disk was full: nothing is damaged, and it works again once there is room and it was
    /// opened again.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_full(source),
            Self::Corrupt { .. } | Self::Locked(_) | Self::NewerFormat { .. } => false,
        }
    }
}

/// Whether writes wait for room: from when a log is open until it closes.
#[derive(Debug, Default)]
pub(crate) struct RoomWait(AtomicBool);

impl RoomWait {
    pub(crate) fn set(&self, wait: bool) {
        self.0.store(wait, Ordering::Release);
    }

    /// Repeats `write`, which changed nothing when it failed, for as long as the disk is full.
    pub(crate) fn repeat<T>(&self, file: &Path, mut write: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let mut told = false;
        loop {
            match write() {
                Err(cause) if is_full(&cause) && self.0.load(Ordering::Acquire) => {
                    if !told {
                        tracing::error!(%cause, file = %file.display(), "the disk is full: the log waits");
                        told = true;
                    }
                    std::thread::park_timeout(RETRY);
                }
                result => {
                    if told && result.is_ok() {
                        tracing::info!(file = %file.display(), "the log goes on");
                    }
                    return result;
                }
            }
        }
    }
}

/// Disk behind the end of a file, for it alone. Best effort: not every file system can.
#[derive(Debug, Default)]
pub(crate) struct Reserve {
    /// Up to where blocks were allocated.
    end: AtomicU64,
}

impl Reserve {
    /// Sees to it that `bytes` are kept behind the end of `file`, without making it longer. Looks at the
    /// file; allocates when half is used.
    pub(crate) fn keep(&self, file: &File, bytes: u64) {
        let kept = file.metadata().and_then(|metadata| {
            let (len, end) = (metadata.len(), self.end.load(Ordering::Acquire));
            // A file that became shorter gave back what was behind it.
            if len + bytes / 2 <= end && end <= len + 2 * bytes {
                return Ok(());
            }
            fallocate(file, FallocateFlags::KEEP_SIZE, len, bytes)?;
            self.end.store(len + bytes, Ordering::Release);
            Ok(())
        });
        if let Err(cause) = kept {
            tracing::debug!(%cause, "no disk was reserved for the state");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn full() -> io::Error {
        io::Error::from(io::ErrorKind::StorageFull)
    }

    #[test]
    fn a_write_waits_for_room_and_then_happens_once() {
        let wait = RoomWait::default();
        wait.set(true);
        let mut tries = 0;
        let written = wait.repeat(Path::new("log"), || {
            tries += 1;
            if tries < 3 { Err(full()) } else { Ok(tries) }
        });
        assert_eq!(written.unwrap(), 3);
    }

    #[test]
    fn a_log_that_closes_waits_no_longer_and_other_errors_never_wait() {
        let wait = RoomWait::default();
        assert!(is_full(&wait.repeat(Path::new("log"), || Err::<(), _>(full())).unwrap_err()));
        wait.set(true);
        let other = || Err::<(), _>(io::Error::from(io::ErrorKind::PermissionDenied));
        assert!(wait.repeat(Path::new("log"), other).is_err());
    }
}
