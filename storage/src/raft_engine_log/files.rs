//! The file system under raft-engine: the operating system's, plus a record of how far each file was
//! synced. raft-engine cuts a file at the first thing it cannot read, whatever follows; here a cut
//! below the synced length is refused and remembered as damage, so only a torn tail is ever cut.

use std::cell::RefCell;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use raft_engine::env::{DefaultFileSystem, FileSystem, Handle, Permission, WriteExt};

use super::synced_lengths::SyncedLengths;
use crate::room::RoomWait;

type OsHandle = <DefaultFileSystem as FileSystem>::Handle;
type OsReader = <DefaultFileSystem as FileSystem>::Reader;
type OsWriter = <DefaultFileSystem as FileSystem>::Writer;

thread_local! {
    /// Where this thread last read, to name the place when raft-engine finds bad bytes there.
    static LAST_READ: RefCell<(PathBuf, u64)> = const { RefCell::new((PathBuf::new(), 0)) };
}

/// File and offset that this thread last read from.
pub(super) fn last_read() -> (PathBuf, u64) {
    LAST_READ.with_borrow(Clone::clone)
}

/// The file system that raft-engine is given.
pub(super) struct Files {
    pub(super) synced: Arc<SyncedLengths>,
    pub(super) room: Arc<RoomWait>,
}

/// An open log file.
pub(super) struct FileHandle {
    os: Arc<OsHandle>,
    path: PathBuf,
    /// End of what was written through this handle.
    written: AtomicU64,
    synced: Arc<SyncedLengths>,
    room: Arc<RoomWait>,
}

impl Files {
    fn handle(&self, path: &Path, os: OsHandle) -> FileHandle {
        FileHandle {
            os: Arc::new(os),
            path: path.to_path_buf(),
            written: AtomicU64::new(0),
            synced: Arc::clone(&self.synced),
            room: Arc::clone(&self.room),
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
        if written == 0 {
            return Ok(());
        }
        self.room.repeat(&self.path, || self.synced.advance(&self.path, written))
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
        let Self { os, handle, .. } = self;
        let n = handle.room.repeat(&handle.path, || os.write(bytes))?;
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

/// Reads a log file; the thread remembers where.
pub(super) struct FileReader {
    os: OsReader,
    path: PathBuf,
}

impl Read for FileReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.os.read(bytes)
    }
}

impl Seek for FileReader {
    /// raft-engine seeks to a block before it reads it, and then reads on past its end.
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        let found = self.os.seek(position)?;
        LAST_READ.with_borrow_mut(|(path, offset)| {
            if *path != self.path {
                path.clone_from(&self.path);
            }
            *offset = found;
        });
        Ok(found)
    }
}

impl FileSystem for Files {
    type Handle = FileHandle;
    type Reader = FileReader;
    type Writer = FileWriter;

    fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<FileHandle> {
        let os = self.room.repeat(path.as_ref(), || DefaultFileSystem.create(path.as_ref()))?;
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
        Ok(FileReader { os, path: handle.path.clone() })
    }

    fn new_writer(&self, handle: Arc<FileHandle>) -> io::Result<FileWriter> {
        let os = DefaultFileSystem.new_writer(Arc::clone(&handle.os))?;
        Ok(FileWriter { os, handle, offset: 0 })
    }
}
