//! Opening: the format, the lock, raft-engine itself, and the groups as they were.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use raft_engine::{Config, ReadableSize, RecoveryMode};

use super::batch::Stored;
use super::files::{Files, last_read};
use super::groups::Group;
use super::synced_lengths::SyncedLengths;
use super::writer::Writer;
use super::{Engine, EngineHandle, LogOptions, RaftEngineLog, Shared, State, reader};
use crate::directory::{Directory, DirectoryError, panic_message, while_lock_lingers};
use crate::room::RoomWait;
use crate::synced_record::SyncedRecord;
use crate::{GroupId, LogError};

const KIND: &str = "domicile-log";
const FORMAT: u32 = 1;
const RECORD: &str = "SYNCED";
const LOG: &str = "log";

impl RaftEngineLog {
    /// Opens the log in `path`, creating it if it was never used. A torn tail is cut.
    ///
    /// # Errors
    /// [`LogError::Locked`] and [`LogError::NewerFormat`]; [`LogError::Corrupt`] when anything below
    /// the recorded synced length is damaged or missing; [`LogError::Io`].
    pub fn open(path: impl AsRef<Path>, options: &LogOptions) -> Result<Self, LogError> {
        let path = path.as_ref();
        let (directory, is_new) = Directory::open(path, KIND, FORMAT).map_err(directory_error)?;
        let log_path = path.join(LOG);
        let synced = Arc::new(open_record(path, &directory, is_new)?);
        let room = Arc::<RoomWait>::default();
        let engine = open_engine(&log_path, options, &synced, &room)?;
        let (stored, groups) = load_groups(&engine, &log_path)?;
        let shared = Arc::new(Shared {
            engine,
            state: Mutex::new(State { groups, ..State::default() }),
            wake: Condvar::new(),
            syncs: AtomicU64::new(0),
            synced,
            path: log_path,
            cache_bytes: options.cache_bytes,
            room: Arc::clone(&room),
            _directory: directory,
        });
        let (reads, read_requests) = channel();
        let (purge, purge_wakes) = sync_channel(1);
        let file_bytes = options.file_bytes;
        let writer = Writer { shared: Arc::clone(&shared), stored, purge, file_bytes, unpurged_bytes: 0 };
        let (for_reads, for_purges) = (Arc::clone(&shared), Arc::clone(&shared));
        // Held from here on, so that a failed spawn ends the threads before it.
        let mut log = Self { shared, reads: Mutex::new(Some(reads)), threads: Vec::new() };
        log.spawn("log-write", move || writer.run())?;
        log.spawn("log-read", move || reader::serve_reads(&for_reads, &read_requests))?;
        log.spawn("log-purge", move || reader::serve_purges(&for_purges, &purge_wakes))?;
        room.set(true);
        Ok(log)
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), LogError> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
        self.threads.push(thread.map_err(|e| io_error(&self.shared.path, format!("spawn of {name}: {e}")))?);
        Ok(())
    }
}

/// The record of synced lengths, made with the directory's marker when the log is new.
fn open_record(path: &Path, directory: &Directory, is_new: bool) -> Result<SyncedLengths, LogError> {
    let record_path = path.join(RECORD);
    let log_path = path.join(LOG);
    if is_new {
        if log_path.exists() && std::fs::read_dir(&log_path).is_ok_and(|mut files| files.next().is_some()) {
            return Err(corrupt(path, "there is data but no format marker"));
        }
        let make = || -> std::io::Result<()> {
            SyncedRecord::create(&record_path, &SyncedLengths::empty_payload())?;
            std::fs::create_dir_all(&log_path)?;
            crate::directory::sync_directory(path)
        };
        make().map_err(|e| io_error(path, format!("create: {e}")))?;
        directory.mark(KIND, FORMAT).map_err(directory_error)?;
    }
    let opened = SyncedRecord::open(&record_path);
    let (record, payload) =
        opened.map_err(|e| corrupt(&record_path, format!("the record of synced lengths: {e}")))?;
    let synced = SyncedLengths::new(record, &payload).map_err(|reason| corrupt(&record_path, reason))?;
    if !log_path.is_dir() {
        return Err(corrupt(&log_path, "the directory is missing"));
    }
    synced.check_files(&log_path)?;
    Ok(synced)
}

fn open_engine(
    path: &Path,
    options: &LogOptions,
    synced: &Arc<SyncedLengths>,
    room: &Arc<RoomWait>,
) -> Result<EngineHandle, LogError> {
    let Some(dir) = path.to_str() else {
        return Err(io_error(path, "the path is not UTF-8".to_owned()));
    };
    let config = Config {
        dir: dir.to_owned(),
        // Every cut then passes `Files`, which refuses those below the synced length.
        recovery_mode: RecoveryMode::TolerateAnyCorruption,
        recovery_threads: 1,
        // Sealed entries do not compress.
        batch_compression_threshold: ReadableSize(0),
        target_file_size: ReadableSize(options.file_bytes),
        purge_threshold: ReadableSize(options.purge_threshold_bytes.max(options.file_bytes)),
        // Disk that is purged is given back.
        enable_log_recycle: false,
        ..Config::default()
    };
    let files = Arc::new(Files { synced: Arc::clone(synced), room: Arc::clone(room) });
    let open = || {
        let open = || Engine::open_with_file_system(config.clone(), Arc::clone(&files));
        while_lock_lingers("Failed to lock file", open)
    };
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(Ok(engine)) => {
            let engine = EngineHandle(Some(engine));
            let made = crate::directory::sync_directory(path);
            made.map_err(|e| io_error(path, format!("sync of the directory: {e}")))?;
            Ok(engine)
        }
        Ok(Err(error)) => Err(log_error(path, synced, &error)),
        Err(panic) => Err(corrupt(path, format!("raft-engine panicked: {}", panic_message(&*panic)))),
    }
}

type Groups = (BTreeMap<GroupId, Stored>, BTreeMap<GroupId, Group>);

fn load_groups(engine: &Engine, path: &Path) -> Result<Groups, LogError> {
    let mut all_stored = BTreeMap::new();
    let mut groups = BTreeMap::new();
    for id in engine.raft_groups() {
        let stored = Stored::load(engine, id).map_err(|reason| corrupt(path, reason))?;
        let (first, last) = stored.bounds().unzip();
        groups.insert(GroupId(id), Group::recovered(first, last, stored.meta().clone()));
        all_stored.insert(GroupId(id), stored);
    }
    Ok((all_stored, groups))
}

/// What an error of raft-engine, met on this thread, means.
pub(super) fn log_error(path: &Path, synced: &SyncedLengths, error: &raft_engine::Error) -> LogError {
    use raft_engine::Error as E;
    if let Some(damage) = synced.take_damage() {
        return damage;
    }
    match error {
        E::Corruption(_) | E::Codec(_) | E::Protobuf(_) | E::EntryNotFound | E::EntryCompacted => {
            let (file, offset) = last_read();
            LogError::Corrupt { file, offset, reason: error.to_string() }
        }
        E::InvalidArgument(_) | E::Io(_) | E::TryAgain(_) | E::Full | E::Other(_) => {
            io_error(path, error.to_string())
        }
    }
}

fn corrupt(file: &Path, reason: impl Into<String>) -> LogError {
    LogError::Corrupt { file: file.to_path_buf(), offset: 0, reason: reason.into() }
}

fn io_error(file: &Path, reason: String) -> LogError {
    LogError::Io { file: file.to_path_buf(), reason }
}

fn directory_error(error: DirectoryError) -> LogError {
    match error {
        DirectoryError::Locked(file) => LogError::Locked(file),
        DirectoryError::NewerFormat { file, found, supported } => {
            LogError::NewerFormat { file, found, supported }
        }
        DirectoryError::Damaged { file, reason } => corrupt(&file, reason),
        DirectoryError::Io { file, action, source } => io_error(&file, format!("{action}: {source}")),
    }
}
