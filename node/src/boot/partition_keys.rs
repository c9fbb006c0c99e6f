//! A partition's key: wrapped by the region's key-encryption key, in `partitions/<id>/KEY`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use domicile_iam::seal::{KekSource, PartitionKey, SealError, WrappedPartitionKey};
use domicile_raft::{Clock, PartitionId};

use crate::private_file;

const FILE: &str = "KEY";

/// A partition's key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PartitionKeyError {
    /// Reading or writing failed.
    #[error("{}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// It is damaged, or the key-encryption key is another.
    #[error(transparent)]
    Seal(SealError),
    /// There is data, but its key is gone: a new key would open none of it.
    #[error("{} is missing although the partition has data", path.display())]
    Lost {
        /// Where it should be.
        path: PathBuf,
    },
}

/// The partition's key, if it lies here.
pub(crate) fn load(
    root: &Path,
    partition: PartitionId,
    kek: &dyn KekSource,
) -> Result<Option<PartitionKey>, PartitionKeyError> {
    let path = directory(root, partition).join(FILE);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(WrappedPartitionKey::from_bytes(&bytes)?.unwrap_with(kek)?)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(PartitionKeyError::Io { path, cause }),
    }
}

/// Stores a key under this node's key-encryption key.
pub(crate) fn store(
    root: &Path,
    partition: PartitionId,
    key: &PartitionKey,
    kek: &dyn KekSource,
    clock: &dyn Clock,
) -> Result<(), PartitionKeyError> {
    let directory = directory(root, partition);
    fs::create_dir_all(&directory)
        .map_err(|cause| PartitionKeyError::Io { path: directory.clone(), cause })?;
    let path = directory.join(FILE);
    let bytes = key.wrap(kek, clock)?.to_bytes()?;
    private_file::replace(&path, &bytes).map_err(|cause| PartitionKeyError::Io { path, cause })
}

/// The partition's key; made and stored before the partition has any data.
pub(crate) fn load_or_make(
    root: &Path,
    partition: PartitionId,
    kek: &dyn KekSource,
    clock: &dyn Clock,
) -> Result<PartitionKey, PartitionKeyError> {
    if let Some(key) = load(root, partition, kek)? {
        return Ok(key);
    }
    let directory = directory(root, partition);
    let at = |cause| PartitionKeyError::Io { path: directory.clone(), cause };
    fs::create_dir_all(&directory).map_err(at)?;
    if has_data(&directory).map_err(at)? {
        return Err(PartitionKeyError::Lost { path: directory.join(FILE) });
    }
    let key = PartitionKey::generate(partition, clock);
    store(root, partition, &key, kek, clock)?;
    Ok(key)
}

fn directory(root: &Path, partition: PartitionId) -> PathBuf {
    root.join("partitions").join(partition.0.to_string())
}

/// Anything but a half-written key counts.
fn has_data(directory: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        if entry?.file_name() != "KEY.new" {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use domicile_iam::seal::{FixedKek, Kek};
    use domicile_raft::Timestamp;
    use domicile_raft::testing::ManualClock;

    use super::*;

    fn kek(byte: u8) -> FixedKek {
        FixedKek::new(Kek::from_bytes(1, &[byte; 32]).unwrap(), Vec::new())
    }

    #[test]
    fn the_same_key_comes_back_and_only_under_its_key_encryption_key() {
        let root = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(Timestamp(0), 1);
        let load = |byte| load_or_make(root.path(), PartitionId(1), &kek(byte), &clock);
        let wrapped = |key: PartitionKey| key.version();
        assert_eq!(wrapped(load(1).unwrap()), 1);
        let first = fs::read(root.path().join("partitions/1/KEY")).unwrap();
        load(1).unwrap();
        assert_eq!(fs::read(root.path().join("partitions/1/KEY")).unwrap(), first);
        assert!(matches!(load(2), Err(PartitionKeyError::Seal(_))));
    }

    #[test]
    fn a_lost_key_is_said_and_never_replaced() {
        let root = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(Timestamp(0), 1);
        fs::create_dir_all(root.path().join("partitions/1/state.1")).unwrap();
        let lost = load_or_make(root.path(), PartitionId(1), &kek(1), &clock);
        assert!(matches!(lost, Err(PartitionKeyError::Lost { .. })), "{lost:?}");
        assert!(!root.path().join("partitions/1/KEY").exists());
    }
}
