//! The log engine: the logs of all groups of a node in one file set, so that one sync serves them all.

use crate::LogError;

/// The Raft group that a log belongs to. Group 0 is the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub u64);

/// One entry: opaque bytes at an index. Indexes of a group have no holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Position in the group's log.
    pub index: u64,
    /// What `raft` wrote, sealed; opaque here.
    pub bytes: Vec<u8>,
}

/// What is known of a group's log without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogBounds {
    /// Index of the first entry kept, if any.
    pub first: Option<u64>,
    /// Index of the last entry, synced or not, if any.
    pub last: Option<u64>,
}

/// Called once, after the sync that made a write durable, or with its error.
pub type OnDurable = Box<dyn FnOnce(Result<(), LogError>) + Send>;

/// The logs and small metadata of every group of a node.
///
/// Writes of all groups pass one writer, which takes all that wait and makes them durable with one
/// sync (group commit). A write is readable when its call returns; `done` runs only after the sync.
/// Writes of one group become durable in call order.
pub trait LogEngine: Send + Sync + 'static {
    /// Appends `entries`, contiguous among themselves and with the log's end. An empty log takes any
    /// start. Otherwise `done` gets [`LogError::Gap`] and nothing changes.
    fn append(&self, group: GroupId, entries: Vec<LogEntry>, done: OnDurable);

    /// Removes every entry above `index`; `done` after the sync.
    fn truncate_after(&self, group: GroupId, index: Option<u64>, done: OnDurable);

    /// Removes every entry up to and including `index`; `done` after the sync.
    fn purge_through(&self, group: GroupId, index: u64, done: OnDurable);

    /// Stores a small value of the group (a vote, the committed index, membership).
    fn put_meta(&self, group: GroupId, key: &'static str, value: Vec<u8>, done: OnDurable);

    /// The value last stored under `key`.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] and [`LogError::Io`].
    fn meta(&self, group: GroupId, key: &'static str) -> Result<Option<Vec<u8>>, LogError>;

    /// The entries from `start` up to but excluding `end` that the log holds, stopping early (but
    /// never before the first entry) when `bytes_max` is reached.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] names the file and offset; [`LogError::Io`].
    fn read(&self, group: GroupId, start: u64, end: u64, bytes_max: usize)
    -> Result<Vec<LogEntry>, LogError>;

    /// First and last index of the group's log.
    fn bounds(&self, group: GroupId) -> LogBounds;

    /// Groups that have any entry or metadata.
    fn groups(&self) -> Vec<GroupId>;

    /// Syncs done since open, for benchmarks and metrics.
    fn syncs_total(&self) -> u64;
}

/// Whether `entries` follow each other and `last`; an empty log takes any start.
pub(crate) fn check_contiguous(
    group: GroupId,
    last: Option<u64>,
    entries: &[LogEntry],
) -> Result<(), LogError> {
    let mut last = last;
    for entry in entries {
        if last.is_some_and(|last| last.checked_add(1) != Some(entry.index)) {
            return Err(LogError::Gap { group: group.0, index: entry.index, last });
        }
        last = Some(entry.index);
    }
    Ok(())
}
