//! `partitions/<id>/REPLICA`: how a replica was opened, so that a restart opens it without the directory.
//!
//! `format 1 | MessagePack | crc32c u32`, the checksum over all before it.

use std::fs;
use std::io;
use std::path::Path;

use domicile_storage::codec;
use serde::{Deserialize, Serialize};

use crate::config::{GroupConfig, JoinPoint, Start};
use crate::data_dir::{DataDir, DataDirError, failed, replace};
use crate::placement::GroupSettings;
use crate::{Incarnation, PartitionId};

const FILE: &str = "REPLICA";
const FORMAT: u8 = 1;

/// A replica that lies in the data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaOnDisk {
    /// Which partition.
    pub partition: PartitionId,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// How it was first opened.
    pub start: Start,
    /// What it was first opened with; its log may say otherwise since.
    pub settings: GroupSettings,
    /// Of a replica that joined. Beside `start`, so that the version before reads the note.
    #[serde(default)]
    point: Option<JoinPoint>,
}

impl DataDir {
    /// The replicas in this directory, in order of their partitions.
    ///
    /// # Errors
    /// [`DataDirError`]; also when a file is damaged.
    pub fn replicas(&self) -> Result<Vec<ReplicaOnDisk>, DataDirError> {
        let partitions = self.partitions();
        let listed = match fs::read_dir(&partitions) {
            Ok(listed) => listed,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(failed(&partitions, "list")(e)),
        };
        let mut replicas = Vec::new();
        for directory in listed {
            let path = directory.map_err(failed(&partitions, "list"))?.path().join(FILE);
            replicas.extend(read(&path)?);
        }
        replicas.sort_by_key(|replica| replica.partition);
        Ok(replicas)
    }

    /// Writes how a replica is opened for the first time; later opens leave the file as it is.
    pub(crate) fn note_replica(&self, config: &GroupConfig) -> Result<(), DataDirError> {
        let path = self.partition(config.partition)?.join(FILE);
        let point = config.start.join_point();
        let replica = ReplicaOnDisk {
            partition: config.partition,
            incarnation: config.incarnation,
            start: if point.is_some() { Start::Join } else { config.start.clone() },
            settings: config.settings.clone(),
            point,
        };
        if read(&path)?.is_some_and(|noted| noted.incarnation == replica.incarnation) {
            return Ok(());
        }
        let invalid = |cause| failed(&path, "write")(io::Error::new(io::ErrorKind::InvalidData, cause));
        let mut bytes = codec::encode_open(FORMAT, &replica).map_err(invalid)?;
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        replace(&path, &bytes)
    }

    /// Removes everything of a partition.
    pub(crate) fn remove_partition(&self, partition: PartitionId) -> Result<(), DataDirError> {
        let directory = self.partition(partition)?;
        // The note goes first: what a crash leaves behind is no replica.
        let note = directory.join(FILE);
        match fs::remove_file(&note) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(failed(&note, "remove")(e)),
        }
        fs::remove_dir_all(&directory).map_err(failed(&directory, "remove"))
    }
}

fn read(path: &Path) -> Result<Option<ReplicaOnDisk>, DataDirError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(path, "read")(e)),
    };
    let damaged = |why: String| failed(path, "read")(io::Error::new(io::ErrorKind::InvalidData, why));
    let (body, checksum) = bytes.split_last_chunk::<4>().ok_or_else(|| damaged("too short".to_owned()))?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*checksum) {
        return Err(damaged("checksum".to_owned()));
    }
    let replica = codec::split_format(body, &[FORMAT]).and_then(|(_, body)| codec::decode_open(body));
    let mut replica: ReplicaOnDisk = replica.map_err(|cause| damaged(cause.to_string()))?;
    if let Some(point) = replica.point {
        replica.start = Start::JoinAt(point);
    }
    Ok(Some(replica))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod tests {
    use std::sync::Arc;

    use domicile_storage::Transaction;

    use super::*;
    use crate::testing::ToyCipher;
    use crate::{ApplyFault, Committed, Retention, StateMachine, TimerProfile, Verdict};

    struct Nothing;

    impl StateMachine for Nothing {
        fn apply(&self, _: &mut Transaction<'_>, _: Committed<'_>) -> Result<Verdict, ApplyFault> {
            Ok(Verdict::Applied(Vec::new()))
        }
    }

    fn config(partition: u64, incarnation: u64) -> GroupConfig {
        GroupConfig {
            partition: PartitionId(partition),
            incarnation: Incarnation(incarnation),
            cipher: Arc::new(ToyCipher::new(1)),
            state_machine: Arc::new(Nothing),
            settings: GroupSettings::anywhere(TimerProfile::Wide),
            retention: Retention::default(),
            start: Start::Join,
        }
    }

    #[test]
    fn replicas_are_listed_until_they_are_removed() {
        let temp = tempfile::tempdir().unwrap();
        let directory = DataDir::open(temp.path()).unwrap();
        assert_eq!(directory.replicas().unwrap(), []);
        for id in [11, 2] {
            directory.note_replica(&config(id, 1)).unwrap();
        }
        let listed = directory.replicas().unwrap();
        assert_eq!(listed.iter().map(|r| r.partition.0).collect::<Vec<_>>(), [2, 11]);
        assert_eq!((&listed[0].start, listed[0].settings.timers), (&Start::Join, TimerProfile::Wide));
        directory.remove_partition(PartitionId(2)).unwrap();
        assert_eq!(directory.replicas().unwrap().len(), 1);
    }

    #[test]
    fn a_replica_is_opened_again_from_where_its_group_stood() {
        let temp = tempfile::tempdir().unwrap();
        let directory = DataDir::open(temp.path()).unwrap();
        let point = JoinPoint { term: 3, leader: crate::NodeId(2), index: 40 };
        let start = Start::JoinAt(point);
        directory.note_replica(&GroupConfig { start: start.clone(), ..config(2, 1) }).unwrap();
        assert_eq!(directory.replicas().unwrap()[0].start, start);
    }

    #[test]
    fn a_damaged_note_is_an_error_that_names_the_file() {
        let temp = tempfile::tempdir().unwrap();
        let directory = DataDir::open(temp.path()).unwrap();
        directory.note_replica(&config(2, 1)).unwrap();
        let path = temp.path().join("partitions/2/REPLICA");
        let mut bytes = fs::read(&path).unwrap();
        bytes[5] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(directory.replicas().unwrap_err().to_string().contains("REPLICA"));
    }
}
