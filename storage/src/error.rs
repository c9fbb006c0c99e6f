//! What can go wrong below Raft.

use std::path::PathBuf;

/// A state engine's failure.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A stored value fails its checksum or cannot be decoded.
    #[error("corrupt value in `{file}` under key {key}: {reason}")]
    Corrupt {
        /// The database's path.
        file: PathBuf,
        /// The key in hex, at most 64 bytes of it.
        key: String,
        /// What did not hold.
        reason: String,
    },
    /// The file system or the engine refused.
    #[error("state in `{file}`: {action} failed")]
    Io {
        /// The database's path.
        file: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Another process has the directory open.
    #[error("`{0}` is open in another process")]
    Locked(PathBuf),
    /// The directory was written by a newer version.
    #[error("`{file}` has format {found}, this version reads up to {supported}: use a newer domicile")]
    NewerFormat {
        /// The directory.
        file: PathBuf,
        /// Its format.
        found: u32,
        /// The newest known here.
        supported: u32,
    },
}

/// A log engine's failure.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// Damage below the synced length.
    #[error("corrupt log `{file}` at offset {offset}: {reason}")]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// Where, in bytes from its start.
        offset: u64,
        /// What did not hold.
        reason: String,
    },
    /// The file system or the engine refused.
    #[error("log in `{file}`: {reason}")]
    Io {
        /// The log's directory.
        file: PathBuf,
        /// What was tried and why it failed.
        reason: String,
    },
    /// Another process has the directory open.
    #[error("`{0}` is open in another process")]
    Locked(PathBuf),
    /// The directory was written by a newer version.
    #[error("`{file}` has format {found}, this version reads up to {supported}: use a newer domicile")]
    NewerFormat {
        /// The directory.
        file: PathBuf,
        /// Its format.
        found: u32,
        /// The newest known here.
        supported: u32,
    },
    /// A write was not contiguous with the log.
    #[error("group {group}: entry {index} does not follow {last:?}")]
    Gap {
        /// The group.
        group: u64,
        /// The entry's index.
        index: u64,
        /// The log's last index.
        last: Option<u64>,
    },
    /// The writer stopped after an earlier failure; nothing more is accepted.
    #[error("log writer stopped: {0}")]
    Stopped(String),
}
