//! One demo a directory: a second one would take the first one's ready file away, and its ports.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use anyhow::{Context as _, bail};

/// Held until dropped, or until the process ends, however it ends.
pub(super) struct Lock {
    _file: File,
}

/// # Errors
/// If another process holds it.
pub(super) fn take(root: &Path) -> anyhow::Result<Lock> {
    crate::boot::make_data_dir(root)?;
    let path = root.join("LOCK");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: file }),
        Err(TryLockError::WouldBlock) => bail!("a demo is running on {} already", root.display()),
        Err(TryLockError::Error(cause)) => {
            Err(cause).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_one_demos_until_it_ends() {
        let root = tempfile::tempdir().unwrap();
        let first = take(root.path()).unwrap();
        assert!(take(root.path()).is_err());
        drop(first);
        take(root.path()).unwrap();
    }
}
