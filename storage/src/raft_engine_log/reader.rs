//! The two background threads beside the writer: one reads entries from disk, one gives disk back.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use super::Shared;
use super::batch::Entries;
use super::files::last_read;
use crate::directory::panic_message;
use crate::{GroupId, LogEntry, LogError};

pub(super) struct ReadRequest {
    pub(super) group: GroupId,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) bytes_max: usize,
    pub(super) reply: SyncSender<Result<Vec<LogEntry>, LogError>>,
}

/// Answers reads until the log is dropped.
pub(super) fn serve_reads(shared: &Arc<Shared>, requests: &Receiver<ReadRequest>) {
    while let Ok(request) = requests.recv() {
        let result = guard(shared, || {
            let mut entries = Vec::new();
            let ReadRequest { group, start, end, bytes_max, .. } = &request;
            let max = Some(*bytes_max);
            shared.engine.fetch_entries_to::<Entries>(group.0, *start, *end, max, &mut entries)?;
            Ok(entries)
        });
        let entry = |e: raft_proto::eraftpb::Entry| LogEntry { index: e.index, bytes: e.data.into() };
        let result = result.map(|entries| entries.into_iter().map(entry).collect());
        // The asker may have gone.
        let _ = request.reply.send(result);
    }
}

/// Gives disk back each time it is woken, until the log is dropped.
pub(super) fn serve_purges(shared: &Arc<Shared>, wakes: &Receiver<()>) {
    while wakes.recv().is_ok() {
        match guard(shared, || shared.engine.purge_expired_files()) {
            Ok(behind) if behind.is_empty() => {}
            // These groups keep old files alive. raft-engine asks nine times, then rewrites them.
            Ok(behind) => tracing::debug!(groups = ?behind, "groups to purge"),
            Err(error) => shared.stop(&error),
        }
    }
}

fn guard<T>(shared: &Shared, operation: impl FnOnce() -> raft_engine::Result<T>) -> Result<T, LogError> {
    match catch_unwind(AssertUnwindSafe(operation)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(shared.error(&error)),
        Err(panic) => {
            let (file, offset) = last_read();
            Err(LogError::Corrupt { file, offset, reason: panic_message(&*panic) })
        }
    }
}
