//! A node's data directory: who the node is, where each partition's state lies, what is wrong with it.
//!
//! ```text
//! NODE                        format, node id, boot counter, cluster
//! log/                        the shared log of all groups
//! partitions/<id>/REPLICA     how it was opened
//! partitions/<id>/CURRENT     which state directory counts
//! partitions/<id>/state.<n>/  state
//! partitions/<id>/QUARANTINED why it is stopped; remove it to start it again
//! partitions/<id>/PANICS      when it panicked, ms since the epoch, one a line
//! ```

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk_space::{DiskReserve, DiskSpace};
use crate::peer::ClusterId;
use crate::{NodeId, PartitionId, Timestamp};

const NODE_HEADER: &str = "domicile-node 1";
const PANIC_WINDOW_MS: u64 = 10 * 60 * 1_000;

/// A data directory that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("`{path}`: {action} failed")]
pub struct DataDirError {
    /// The file or directory.
    pub path: PathBuf,
    /// What was tried.
    pub action: &'static str,
    /// The cause.
    #[source]
    pub source: io::Error,
}

/// Who this node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Its id.
    pub id: NodeId,
    /// How often it started on this directory; peers refuse messages of an earlier start.
    pub boots: u64,
}

/// A node's data directory.
#[derive(Clone, Debug)]
pub struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// Makes `root` if it is absent.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn open(root: &Path) -> Result<Self, DataDirError> {
        let log = root.join("log");
        fs::create_dir_all(&log).map_err(failed(&log, "create"))?;
        Ok(Self { root: root.to_owned() })
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Watches how much of the disk is free.
    pub(crate) fn watch_space(&self, reserve: DiskReserve) -> Result<Arc<DiskSpace>, DataDirError> {
        DiskSpace::watch(&self.root, reserve).map_err(failed(&self.root, "watch"))
    }

    /// Where the log engine lives.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Counts one more start of this node; the first makes it node 1 unless [`DataDir::adopt`] came before.
    ///
    /// # Errors
    /// [`DataDirError`]; also when the file is of another format.
    pub fn count_boot(&self) -> Result<NodeIdentity, DataDirError> {
        let (before, cluster) = self.read_node()?.unwrap_or((NodeIdentity { id: NodeId(1), boots: 0 }, None));
        let now = NodeIdentity { boots: before.boots + 1, ..before };
        self.write_node(now, cluster.as_ref())?;
        Ok(now)
    }

    /// Makes this the directory of node `id` of `cluster`: once, before its first start. Doing it again
    /// with the same values changes nothing.
    ///
    /// # Errors
    /// [`DataDirError`]; also when it is the directory of another node or cluster.
    pub fn adopt(&self, id: NodeId, cluster: &ClusterId) -> Result<(), DataDirError> {
        let identity = match self.read_node()? {
            None => NodeIdentity { id, boots: 0 },
            Some((identity, known)) if identity.id == id && known.as_ref().is_none_or(|k| k == cluster) => {
                identity
            }
            Some((identity, known)) => {
                let known = known.map_or_else(|| "no cluster".to_owned(), |known| known.to_string());
                let why = format!("it belongs to node {} of {known}", identity.id.0);
                return Err(failed(&self.node_file(), "adopt")(io::Error::other(why)));
            }
        };
        self.write_node(identity, Some(cluster))
    }

    /// Whose directory this is; `None` before the first start and before [`DataDir::adopt`].
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn owner(&self) -> Result<Option<(NodeIdentity, Option<ClusterId>)>, DataDirError> {
        self.read_node()
    }

    fn node_file(&self) -> PathBuf {
        self.root.join("NODE")
    }

    fn read_node(&self) -> Result<Option<(NodeIdentity, Option<ClusterId>)>, DataDirError> {
        let path = self.node_file();
        match fs::read_to_string(&path) {
            Ok(text) => parse_node(&text).map(Some).ok_or_else(|| {
                let source = io::Error::new(io::ErrorKind::InvalidData, "not a node file this version reads");
                failed(&path, "read")(source)
            }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed(&path, "read")(e)),
        }
    }

    fn write_node(&self, node: NodeIdentity, cluster: Option<&ClusterId>) -> Result<(), DataDirError> {
        let cluster = cluster.map_or_else(String::new, |cluster| format!("cluster {cluster}\n"));
        let text = format!("{NODE_HEADER}\nid {}\nboots {}\n{cluster}", node.id.0, node.boots);
        replace(&self.node_file(), text.as_bytes())
    }

    /// The partition's state directory that counts; the first is `state.1`.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn current_state(&self, partition: PartitionId) -> Result<PathBuf, DataDirError> {
        let directory = self.partition(partition)?;
        let current = directory.join("CURRENT");
        let name = match fs::read_to_string(&current) {
            Ok(text) => text.trim_end().to_owned(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                replace(&current, b"state.1\n")?;
                "state.1".to_owned()
            }
            Err(e) => return Err(failed(&current, "read")(e)),
        };
        let generation = name.strip_prefix("state.").and_then(|n| n.parse::<u64>().ok());
        let generation = generation.ok_or_else(|| {
            failed(&current, "read")(io::Error::new(io::ErrorKind::InvalidData, "names no state directory"))
        })?;
        Ok(directory.join(format!("state.{generation}")))
    }

    /// Where the next state of the partition goes: no directory of that name is there.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub(crate) fn next_state(&self, partition: PartitionId) -> Result<PathBuf, DataDirError> {
        let last = self.states(partition)?.into_iter().map(|(generation, _)| generation).max();
        Ok(self.partition(partition)?.join(format!("state.{}", last.unwrap_or(0).saturating_add(1))))
    }

    /// Makes `state`, which must be durable, the directory that counts. Durable when it returns.
    ///
    /// # Errors
    /// [`DataDirError`]; which of the two counts is then unknown until the next start.
    pub(crate) fn switch_state(&self, partition: PartitionId, state: &Path) -> Result<(), DataDirError> {
        let directory = self.partition(partition)?;
        // Its own entry must not be lost while `CURRENT` names it.
        let synced = File::open(&directory).and_then(|directory| directory.sync_all());
        synced.map_err(failed(&directory, "sync"))?;
        let name = state.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        replace(&directory.join("CURRENT"), format!("{name}\n").as_bytes())
    }

    /// Removes every state directory of the partition but the one that counts. For when none is open.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub(crate) fn remove_unused_states(&self, partition: PartitionId) -> Result<(), DataDirError> {
        let current = self.current_state(partition)?;
        for (_, path) in self.states(partition)? {
            if path != current {
                tracing::info!(path = %path.display(), "removing a state that does not count");
                fs::remove_dir_all(&path).map_err(failed(&path, "remove"))?;
            }
        }
        Ok(())
    }

    fn states(&self, partition: PartitionId) -> Result<Vec<(u64, PathBuf)>, DataDirError> {
        let directory = self.partition(partition)?;
        let mut states = Vec::new();
        for entry in fs::read_dir(&directory).map_err(failed(&directory, "list"))? {
            let path = entry.map_err(failed(&directory, "list"))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let generation = name.and_then(|name| name.strip_prefix("state.")?.parse().ok());
            states.extend(generation.map(|generation| (generation, path)));
        }
        Ok(states)
    }

    /// Why the partition is stopped, if it is.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn quarantined(&self, partition: PartitionId) -> Result<Option<String>, DataDirError> {
        let path = self.partition(partition)?.join("QUARANTINED");
        match fs::read_to_string(&path) {
            Ok(reason) => Ok(Some(reason.trim_end().to_owned())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed(&path, "read")(e)),
        }
    }

    pub(crate) fn quarantine(&self, partition: PartitionId, reason: &str) -> Result<(), DataDirError> {
        replace(&self.partition(partition)?.join("QUARANTINED"), format!("{reason}\n").as_bytes())
    }

    pub(crate) fn record_panic(&self, partition: PartitionId, at: Timestamp) -> Result<(), DataDirError> {
        let path = self.partition(partition)?.join("PANICS");
        let mut lines: Vec<String> = panics(&path, at)?.iter().map(u64::to_string).collect();
        lines.push(at.0.to_string());
        replace(&path, format!("{}\n", lines.join("\n")).as_bytes())
    }

    /// How often the partition panicked in the ten minutes before `now`.
    pub(crate) fn recent_panics(
        &self,
        partition: PartitionId,
        now: Timestamp,
    ) -> Result<usize, DataDirError> {
        Ok(panics(&self.partition(partition)?.join("PANICS"), now)?.len())
    }

    pub(crate) fn partitions(&self) -> PathBuf {
        self.root.join("partitions")
    }

    pub(crate) fn partition(&self, partition: PartitionId) -> Result<PathBuf, DataDirError> {
        let directory = self.partitions().join(partition.0.to_string());
        fs::create_dir_all(&directory).map_err(failed(&directory, "create"))?;
        Ok(directory)
    }
}

/// When the partition panicked in the ten minutes before `now`, in ms since the epoch.
fn panics(path: &Path, now: Timestamp) -> Result<Vec<u64>, DataDirError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(path, "read")(e)),
    };
    let recent = |ms: &u64| now.0.abs_diff(*ms) <= PANIC_WINDOW_MS;
    Ok(text.lines().filter_map(|line| line.parse().ok()).filter(recent).collect())
}

/// The cluster's line is absent on a node that was always alone.
fn parse_node(text: &str) -> Option<(NodeIdentity, Option<ClusterId>)> {
    let mut lines = text.lines();
    if lines.next()? != NODE_HEADER {
        return None;
    }
    let mut number = |name: &str| lines.next()?.strip_prefix(name)?.trim().parse::<u64>().ok();
    let identity = NodeIdentity { id: NodeId(number("id ")?), boots: number("boots ")? };
    let cluster = match lines.next() {
        Some(line) => Some(ClusterId::new(line.strip_prefix("cluster ")?).ok()?),
        None => None,
    };
    Some((identity, cluster))
}

/// Puts `bytes` in place of `path`, whole and durably: a crash leaves the old or the new.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), DataDirError> {
    let fresh = path.with_extension("new");
    let write = || {
        let mut file = File::create(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    };
    write().map_err(failed(path, "write"))
}

pub(crate) fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |source| DataDirError { path, action, source }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn the_node_keeps_its_id_and_counts_its_starts() {
        let temp = tempfile::tempdir().unwrap();
        for boots in 1..=3 {
            let identity = DataDir::open(temp.path()).unwrap().count_boot().unwrap();
            assert_eq!(identity, NodeIdentity { id: NodeId(1), boots });
        }
    }

    #[test]
    fn a_directory_is_adopted_once_and_keeps_id_and_cluster() {
        let temp = tempfile::tempdir().unwrap();
        let directory = DataDir::open(temp.path()).unwrap();
        let (cluster, other) = (ClusterId::new("c1").unwrap(), ClusterId::new("c2").unwrap());
        for boots in 1..=2 {
            directory.adopt(NodeId(7), &cluster).unwrap();
            assert_eq!(directory.count_boot().unwrap(), NodeIdentity { id: NodeId(7), boots });
        }
        assert_eq!(directory.owner().unwrap().unwrap().1, Some(cluster.clone()));
        assert!(directory.adopt(NodeId(8), &cluster).is_err());
        assert!(directory.adopt(NodeId(7), &other).is_err());
    }

    #[test]
    fn a_node_file_of_another_format_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let directory = DataDir::open(temp.path()).unwrap();
        fs::write(temp.path().join("NODE"), "domicile-node 2\nid 1\nboots 4\n").unwrap();
        assert!(directory.count_boot().unwrap_err().to_string().contains("NODE"));
    }

    #[test]
    fn current_names_the_state_that_counts() {
        let temp = tempfile::tempdir().unwrap();
        let directory = DataDir::open(temp.path()).unwrap();
        let partition = PartitionId(4);
        assert!(directory.current_state(partition).unwrap().ends_with("partitions/4/state.1"));
        fs::write(temp.path().join("partitions/4/CURRENT"), "state.7\n").unwrap();
        assert!(directory.current_state(partition).unwrap().ends_with("partitions/4/state.7"));
        fs::write(temp.path().join("partitions/4/CURRENT"), "../../etc\n").unwrap();
        assert!(directory.current_state(partition).is_err());
    }

    #[test]
    fn only_panics_of_the_last_ten_minutes_count() {
        let temp = tempfile::tempdir().unwrap();
        let directory = DataDir::open(temp.path()).unwrap();
        let partition = PartitionId(1);
        for at in [0, 100_000, 650_000] {
            directory.record_panic(partition, Timestamp(at)).unwrap();
        }
        assert_eq!(directory.recent_panics(partition, Timestamp(650_001)).unwrap(), 2);
    }
}
