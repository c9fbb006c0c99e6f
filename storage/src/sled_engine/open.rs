//! Opening: the format, the lock, sled itself, and whether what sled recovered is all there was.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, RwLock};

use super::rows::{Head, TALLY_KEY, Tally, head_key, user_key};
use super::write_through::write_through;
use super::{SledEngine, SledOptions};
use crate::directory::{Directory, DirectoryError, panic_message, sync_directory, while_lock_lingers};
use crate::room::Reserve;
use crate::stamp::Stamps;
use crate::synced_record::SyncedRecord;
use crate::{Engine as _, EngineError};

const KIND: &str = "domicile-state";
const FORMAT: u32 = 1;
const RECORD: &str = "SYNCED";
const DB: &str = "db";

impl SledEngine {
    /// Opens the state in `path`, creating it if it was never used.
    ///
    /// # Errors
    /// [`EngineError::Locked`] and [`EngineError::NewerFormat`]; [`EngineError::Corrupt`] when the
    /// store lacks anything that was synced, or a value fails its checksum; [`EngineError::Io`].
    pub fn open(path: impl AsRef<Path>, options: &SledOptions) -> Result<Self, EngineError> {
        let path = path.as_ref();
        let (directory, is_new) = Directory::open(path, KIND, FORMAT).map_err(directory_error)?;
        let record_path = path.join(RECORD);
        let db_path = path.join(DB);
        if is_new {
            if db_path.exists() {
                return Err(corrupt(path, "there is data but no format marker"));
            }
            let created = SyncedRecord::create(&record_path, &[]);
            created.map_err(|source| io_error(&record_path, "create", source))?;
            directory.mark(KIND, FORMAT).map_err(directory_error)?;
        }
        let (record, synced) = SyncedRecord::open(&record_path).map_err(|source| {
            if [io::ErrorKind::InvalidData, io::ErrorKind::NotFound].contains(&source.kind()) {
                corrupt(&record_path, format!("the record of what was synced: {source}"))
            } else {
                io_error(&record_path, "open", source)
            }
        })?;
        let synced_commits =
            match synced.as_slice() {
                [] => None,
                bytes => Some(u64::from_le_bytes(bytes.try_into().map_err(|_| {
                    corrupt(&record_path, "the record of what was synced has the wrong length")
                })?)),
            };
        let file = db_path.join("db");
        if synced_commits.is_some() && !file.exists() {
            return Err(corrupt(&file, "the file is missing"));
        }
        let marked = std::fs::create_dir_all(&db_path).and_then(|()| write_through(&db_path));
        marked.map_err(|source| io_error(&db_path, "have its writes synced", source))?;
        let db = open_sled(&db_path, options)?;
        // Not every file system hands the mark of a directory on to what is made in it.
        write_through(&db_path).map_err(|source| io_error(&file, "have its writes synced", source))?;
        let db_file = File::options().read(true).write(true).open(&file);
        let db_file = db_file.map_err(|source| io_error(&file, "open", source))?;
        let engine = Self {
            db,
            db_file,
            tally: Mutex::default(),
            pending: RwLock::default(),
            stamps: Stamps::default(),
            write_behind_bytes: options.write_behind_bytes,
            reserve: Reserve::default(),
            record: Mutex::new(record),
            failed: false.into(),
            file,
            directory,
        };
        engine.recover_tally(synced_commits)?;
        if options.verify_on_open {
            engine.verify()?;
        }
        for made in [&db_path, path] {
            sync_directory(made).map_err(|source| io_error(made, "sync of the directory", source))?;
        }
        // What an earlier process wrote but did not sync was just taken as there: make it so.
        engine.sync()?;
        Ok(engine)
    }

    /// Takes over the stored tally, if it is no older than the last recorded sync.
    fn recover_tally(&self, synced_commits: Option<u64>) -> Result<(), EngineError> {
        let row = self.row(&[], &TALLY_KEY)?;
        let tally = match (row, synced_commits) {
            (Some(row), _) => Tally::decode(&row).map_err(|reason| self.corrupt(&TALLY_KEY, reason))?,
            (None, None) => {
                let first = self.guard("read", &[], || self.db.first())?;
                if let Some((row_key, _)) = first {
                    return Err(self.corrupt(&row_key, "the tally is missing"));
                }
                let tally = Tally { next_chunk_id: 1, ..Tally::default() };
                self.guard("create", &[], || self.db.insert(TALLY_KEY, tally.encode()))?;
                tally
            }
            (None, Some(synced)) => {
                return Err(self.corrupt(&TALLY_KEY, format!("empty, but batch {synced} was synced")));
            }
        };
        if let Some(synced) = synced_commits.filter(|synced| *synced > tally.commits) {
            let reason = format!("ends at batch {}, but batch {synced} was synced", tally.commits);
            return Err(self.corrupt(&TALLY_KEY, reason));
        }
        *self.lock_tally() = tally;
        Ok(())
    }

    /// Reads every value and compares their count and digest with the tally.
    fn verify(&self) -> Result<(), EngineError> {
        let expected = *self.lock_tally();
        let mut found = Tally { rows: 0, digest: 0, ..expected };
        let mut rows = self.db.scan_prefix(head_key(&[]));
        let mut last = Vec::new();
        while let Some((row_key, row)) = self.guard("scan", &last, || rows.next().transpose())? {
            let key = user_key(&row_key).unwrap_or_default();
            let (head, _): (Head, _) = self.assemble(key, &row)?;
            found.rows += 1;
            found.digest = found.digest.wrapping_add(head.share(key));
            last = key.to_vec();
        }
        if found == expected {
            return Ok(());
        }
        let reason = format!(
            "{} values with digest {:016x} are there, {} with {:016x} were written",
            found.rows, found.digest, expected.rows, expected.digest
        );
        Err(self.corrupt(&TALLY_KEY, reason))
    }
}

/// sled panics on some damage, and asserts inside its own threads on other.
fn open_sled(path: &Path, options: &SledOptions) -> Result<sled::Db, EngineError> {
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(options.cache_bytes)
        .flush_every_ms(Some(options.flush_every_ms));
    let open = || while_lock_lingers("could not acquire lock", || config.open());
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Io(source))) => Err(io_error(path, "open", source)),
        Ok(Err(other)) => Err(corrupt(path, other.to_string())),
        Err(panic) => Err(corrupt(path, format!("sled panicked: {}", panic_message(&*panic)))),
    }
}

fn corrupt(file: &Path, reason: impl Into<String>) -> EngineError {
    EngineError::Corrupt { file: file.to_path_buf(), key: String::new(), reason: reason.into() }
}

fn io_error(file: &Path, action: &'static str, source: io::Error) -> EngineError {
    EngineError::Io { file: file.to_path_buf(), action, source }
}

fn directory_error(error: DirectoryError) -> EngineError {
    match error {
        DirectoryError::Locked(file) => EngineError::Locked(file),
        DirectoryError::NewerFormat { file, found, supported } => {
            EngineError::NewerFormat { file, found, supported }
        }
        DirectoryError::Damaged { file, reason } => corrupt(&file, reason),
        DirectoryError::Io { file, action, source } => EngineError::Io { file, action, source },
    }
}
