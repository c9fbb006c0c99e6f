//! The file system under raft-engine: the operating system's, plus a record of how far each file was
//! synced. raft-engine cuts a file at the first thing it cannot read, whatever follows; here a cut
//! below the synced length is refused and remembered as damage, so only a torn tail is ever cut.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raft_engine::env::{DefaultFileSystem, FileSystem, Handle, Permission, WriteExt};

use crate::LogError;
use crate::synced_record::SyncedRecord;

type OsHandle = <DefaultFileSystem as FileSystem>::Handle;
type OsReader = <DefaultFileSystem as FileSystem>::Reader;
type OsWriter = <DefaultFileSystem as FileSystem>::Writer;

/// Every so many syncs of log files the record is synced too: after power loss it may be this many
/// syncs behind, never ahead.
const SYNCS_PER_RECORD_SYNC: u32 = 128;
const FORMAT: u8 = 1;
const FILE_BYTES: usize = 17;

thread_local! {
    /// Where this thread last read, to name the place when raft-engine finds bad bytes there.
    static LAST_READ: RefCell<(PathBuf, u64)> = const { RefCell::new((PathBuf::new(), 0)) };
}

/// File and offset that this thread last read from.
pub(super) fn last_read() -> (PathBuf, u64) {
    LAST_READ.with_borrow(Clone::clone)
}

/// A log file's name: queue and sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FileName {
    is_rewrite: bool,
    sequence: u64,
}

impl FileName {
    /// `None` for what is not a live log file.
    fn of(path: &Path) -> Option<Self> {
        let (number, suffix) = path.file_name()?.to_str()?.split_once('.')?;
        let is_rewrite = match suffix {
            "raftlog" => false,
            "rewrite" => true,
            _ => return None,
        };
        Some(Self { is_rewrite, sequence: number.parse().ok()? })
    }

    fn path(self, directory: &Path) -> PathBuf {
        let suffix = if self.is_rewrite { "rewrite" } else { "raftlog" };
        directory.join(format!("{:016}.{suffix}", self.sequence))
    }
}

/// How far each log file is known to be durable.
pub(super) struct SyncedLengths {
    inner: Mutex<Inner>,
}

struct Inner {
    record: SyncedRecord,
    lengths: BTreeMap<FileName, u64>,
    unsynced_writes: u32,
    damage: Option<LogError>,
}

impl SyncedLengths {
    /// Takes over a record's payload; an error says what is wrong with it.
    pub(super) fn new(record: SyncedRecord, payload: &[u8]) -> Result<Self, String> {
        let lengths = decode(payload)?;
        Ok(Self { inner: Mutex::new(Inner { record, lengths, unsynced_writes: 0, damage: None }) })
    }

    /// The payload of a directory without log files.
    pub(super) fn empty_payload() -> Vec<u8> {
        encode(&BTreeMap::new())
    }

    /// Checks that every recorded file is in `directory` at its recorded length, and makes all log
    /// files durable as they are: what an earlier process wrote without a sync will be read as there.
    pub(super) fn check_files(&self, directory: &Path) -> Result<(), LogError> {
        for (name, length) in &self.lock().lengths {
            let file = name.path(directory);
            let found = match std::fs::metadata(&file) {
                Ok(metadata) => metadata.len(),
                Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
                Err(e) => return Err(LogError::Io { file, reason: format!("stat: {e}") }),
            };
            if found < *length {
                let reason = format!("the file ends here, but {length} bytes were synced");
                return Err(LogError::Corrupt { file, offset: found, reason });
            }
        }
        let sync = || -> io::Result<()> {
            for entry in std::fs::read_dir(directory)? {
                let path = entry?.path();
                if FileName::of(&path).is_some() {
                    std::fs::File::open(path)?.sync_data()?;
                }
            }
            crate::directory::sync_directory(directory)
        };
        sync().map_err(|e| LogError::Io { file: directory.to_path_buf(), reason: format!("sync: {e}") })
    }

    /// The first damage met, once.
    pub(super) fn take_damage(&self) -> Option<LogError> {
        self.lock().damage.take()
    }

    /// Makes the record itself durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.lock().store(true)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses `length` for `path` when more was synced.
    fn check_length(&self, path: &Path, length: u64) -> io::Result<()> {
        let mut inner = self.lock();
        let synced = FileName::of(path).and_then(|name| inner.lengths.get(&name)).copied().unwrap_or(0);
        if length >= synced {
            return Ok(());
        }
        let reason = format!("what is here does not hold, but {synced} bytes were synced");
        let damage = LogError::Corrupt { file: path.to_path_buf(), offset: length, reason };
        let text = damage.to_string();
        inner.damage.get_or_insert(damage);
        Err(io::Error::new(io::ErrorKind::InvalidData, text))
    }

    fn advance(&self, path: &Path, length: u64) -> io::Result<()> {
        let Some(name) = FileName::of(path) else { return Ok(()) };
        let mut inner = self.lock();
        let before = inner.lengths.insert(name, length);
        if before == Some(length) {
            return Ok(());
        }
        inner.unsynced_writes += 1;
        // A new file means that the one before it is complete: its length is worth a sync.
        let sync = before.is_none() || inner.unsynced_writes >= SYNCS_PER_RECORD_SYNC;
        inner.store(sync)
    }

    fn forget(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        match FileName::of(path).and_then(|name| inner.lengths.remove(&name)) {
            // Durable before the removal, or a missing file would look like damage.
            Some(_) => inner.store(true),
            None => Ok(()),
        }
    }
}

impl Inner {
    fn store(&mut self, sync: bool) -> io::Result<()> {
        let payload = encode(&self.lengths);
        self.record.write(&payload, sync)?;
        if sync {
            self.unsynced_writes = 0;
        }
        Ok(())
    }
}

fn encode(lengths: &BTreeMap<FileName, u64>) -> Vec<u8> {
    let mut out = vec![FORMAT];
    for (name, length) in lengths {
        out.push(u8::from(name.is_rewrite));
        out.extend_from_slice(&name.sequence.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
    }
    out
}

fn decode(payload: &[u8]) -> Result<BTreeMap<FileName, u64>, String> {
    let Some((&FORMAT, body)) = payload.split_first() else {
        return Err("the record of synced lengths has an unknown format".to_owned());
    };
    let (files, rest) = body.as_chunks::<FILE_BYTES>();
    if !rest.is_empty() {
        return Err("the record of synced lengths has the wrong length".to_owned());
    }
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte));
    let file = |f: &[u8; FILE_BYTES]| {
        (FileName { is_rewrite: f[0] == 1, sequence: number(&f[1..9]) }, number(&f[9..]))
    };
    Ok(files.iter().map(file).collect())
}

/// The file system that raft-engine is given.
pub(super) struct Files {
    pub(super) synced: Arc<SyncedLengths>,
}

/// An open log file.
pub(super) struct FileHandle {
    os: Arc<OsHandle>,
    path: PathBuf,
    /// End of what was written through this handle.
    written: AtomicU64,
    synced: Arc<SyncedLengths>,
}

impl Files {
    fn handle(&self, path: &Path, os: OsHandle) -> FileHandle {
        FileHandle {
            os: Arc::new(os),
            path: path.to_path_buf(),
            written: AtomicU64::new(0),
            synced: Arc::clone(&self.synced),
        }
    }
}

impl Handle for FileHandle {
    fn truncate(&self, offset: usize) -> io::Result<()> {
        self.synced.check_length(&self.path, offset as u64)?;
        tracing::warn!(file = %self.path.display(), offset, "cutting a torn tail off the log");
        self.os.truncate(offset)
    }

    fn file_size(&self) -> io::Result<usize> {
        self.os.file_size()
    }

    fn sync(&self) -> io::Result<()> {
        let written = self.written.load(Ordering::Acquire);
        self.os.sync()?;
        if written == 0 { Ok(()) } else { self.synced.advance(&self.path, written) }
    }
}

/// Writes a log file and remembers how far.
pub(super) struct FileWriter {
    os: OsWriter,
    handle: Arc<FileHandle>,
    offset: u64,
}

impl Write for FileWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.os.write(bytes)?;
        self.offset += n as u64;
        self.handle.written.fetch_max(self.offset, Ordering::AcqRel);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.os.flush()
    }
}

impl Seek for FileWriter {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.offset = self.os.seek(position)?;
        Ok(self.offset)
    }
}

impl WriteExt for FileWriter {
    fn truncate(&mut self, offset: usize) -> io::Result<()> {
        self.handle.synced.check_length(&self.handle.path, offset as u64)?;
        self.handle.written.fetch_min(offset as u64, Ordering::AcqRel);
        self.os.truncate(offset)?;
        self.offset = offset as u64;
        Ok(())
    }

    fn allocate(&mut self, offset: usize, size: usize) -> io::Result<()> {
        self.os.allocate(offset, size)
    }
}

/// Reads a log file and remembers where.
pub(super) struct FileReader {
    os: OsReader,
    path: PathBuf,
    offset: u64,
}

impl Read for FileReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        LAST_READ.with_borrow_mut(|(path, offset)| {
            if *path != self.path {
                path.clone_from(&self.path);
            }
            *offset = self.offset;
        });
        let n = self.os.read(bytes)?;
        self.offset += n as u64;
        Ok(n)
    }
}

impl Seek for FileReader {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.offset = self.os.seek(position)?;
        Ok(self.offset)
    }
}

impl FileSystem for Files {
    type Handle = FileHandle;
    type Reader = FileReader;
    type Writer = FileWriter;

    fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<FileHandle> {
        let os = DefaultFileSystem.create(path.as_ref())?;
        Ok(self.handle(path.as_ref(), os))
    }

    fn open<P: AsRef<Path>>(&self, path: P, permission: Permission) -> io::Result<FileHandle> {
        let os = DefaultFileSystem.open(path.as_ref(), permission)?;
        Ok(self.handle(path.as_ref(), os))
    }

    fn delete<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.synced.forget(path.as_ref())?;
        DefaultFileSystem.delete(path)
    }

    fn rename<P: AsRef<Path>>(&self, from: P, to: P) -> io::Result<()> {
        // Only recycling renames, and it is off.
        self.synced.forget(from.as_ref())?;
        DefaultFileSystem.rename(from, to)
    }

    fn new_reader(&self, handle: Arc<FileHandle>) -> io::Result<FileReader> {
        let os = DefaultFileSystem.new_reader(Arc::clone(&handle.os))?;
        Ok(FileReader { os, path: handle.path.clone(), offset: 0 })
    }

    fn new_writer(&self, handle: Arc<FileHandle>) -> io::Result<FileWriter> {
        let os = DefaultFileSystem.new_writer(Arc::clone(&handle.os))?;
        Ok(FileWriter { os, handle, offset: 0 })
    }
}
