//! A data directory: locked against a second opener, marked with the format it was written in.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

const LOCK: &str = "LOCK";
const FORMAT: &str = "FORMAT";
const FORMAT_NEW: &str = "FORMAT.new";

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectoryError {
    #[error("`{0}` is already open")]
    Locked(PathBuf),
    #[error("`{file}` has format {found}, this version reads up to {supported}")]
    NewerFormat { file: PathBuf, found: u32, supported: u32 },
    #[error("`{file}` is damaged: {reason}")]
    Damaged { file: PathBuf, reason: String },
    #[error("`{file}`: {action} failed")]
    Io { file: PathBuf, action: &'static str, source: io::Error },
}

/// An open directory; the lock is held until it is dropped.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    lock: File,
}

impl Directory {
    /// Locks `path`, creating it if it is not there. Says whether it still lacks a format marker,
    /// that is whether [`Directory::mark`] has to follow once the caller's first files are in place.
    pub(crate) fn open(path: &Path, kind: &str, supported: u32) -> Result<(Self, bool), DirectoryError> {
        let io = |action| move |source| DirectoryError::Io { file: path.to_path_buf(), action, source };
        if !path.exists() {
            std::fs::create_dir_all(path).map_err(io("create"))?;
            if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
                sync_directory(parent).map_err(io("sync of the parent"))?;
            }
        }
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK));
        let lock = lock.map_err(io("open of its lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DirectoryError::Locked(path.to_path_buf())),
            Err(TryLockError::Error(source)) => return Err(io("lock")(source)),
        }
        let directory = Self { path: path.to_path_buf(), lock };
        let is_new = match std::fs::read_to_string(path.join(FORMAT)) {
            Ok(marker) => {
                directory.check_marker(&marker, kind, supported)?;
                false
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => true,
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                return Err(directory.damaged("its format marker is not text".to_owned()));
            }
            Err(e) => return Err(io("read of its format marker")(e)),
        };
        Ok((directory, is_new))
    }

    /// Writes the format marker durably. Until then the directory counts as never used.
    pub(crate) fn mark(&self, kind: &str, format: u32) -> Result<(), DirectoryError> {
        let new = self.path.join(FORMAT_NEW);
        let write = || -> io::Result<()> {
            let mut file = File::create(&new)?;
            writeln!(file, "{kind} {format}")?;
            file.sync_all()?;
            std::fs::rename(&new, self.path.join(FORMAT))?;
            sync_directory(&self.path)
        };
        write().map_err(|source| DirectoryError::Io {
            file: self.path.clone(),
            action: "write of its format marker",
            source,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn check_marker(&self, marker: &str, kind: &str, supported: u32) -> Result<(), DirectoryError> {
        let Some((found_kind, number)) = marker.trim_end().split_once(' ') else {
            return Err(self.damaged(format!("its format marker reads `{}`", marker.trim_end())));
        };
        if found_kind != kind {
            return Err(self.damaged(format!("it holds `{found_kind}`, not `{kind}`")));
        }
        let found: u32 = match number.parse() {
            Ok(found) if found > 0 => found,
            Ok(_) | Err(_) => return Err(self.damaged(format!("its format marker names `{number}`"))),
        };
        if found > supported {
            return Err(DirectoryError::NewerFormat { file: self.path.clone(), found, supported });
        }
        Ok(())
    }

    fn damaged(&self, reason: String) -> DirectoryError {
        DirectoryError::Damaged { file: self.path.join(FORMAT), reason }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Closing is not enough: a process that another thread is starting shares the lock until it has
        // left this one's descriptors behind.
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, path = %self.path.display(), "the directory could not be unlocked");
        }
    }
}

/// Repeats `open` while the engine below finds its own lock taken. Ours is held, so nobody is in
/// there: it is a lock that the last closing left to a process being started, as above.
pub(crate) fn while_lock_lingers<T, E: std::fmt::Display>(
    sign: &str,
    mut open: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let mut tries = 200;
    loop {
        match open() {
            Err(error) if tries > 0 && error.to_string().contains(sign) => {
                tries -= 1;
                std::thread::park_timeout(std::time::Duration::from_millis(5));
            }
            result => return result,
        }
    }
}

/// Makes creations, renames and removals in `path` durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The message of a caught panic.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown panic").to_owned()
}
