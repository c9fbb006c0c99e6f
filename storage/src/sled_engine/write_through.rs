//! Has the file system sync each write that sled makes, since sled does not on Linux.
//!
//! sled moves live pages to a new segment, writes that out, and from then on overwrites the old one. What it takes for
//! durable in between is `sync_file_range`, which leaves out the file's length, newly used blocks and the device's cache.
//! After a power cut the overwritten segment may be on the disk and the moved pages not: the store is lost. Files with the
//! attribute of `chattr +S` are written as if opened with `O_SYNC`, which restores the order that sled relies on.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Once;

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use rustix::io::Errno;

/// Marks a directory, so that files made in it are marked from the first byte, and the files already in it.
///
/// A file system that knows no such attribute is told of in the log, once for a process.
///
/// # Errors
/// Those of reading the directory, and of changing a file.
pub(super) fn write_through(directory: &Path) -> io::Result<()> {
    mark(directory)?;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            mark(&entry.path())?;
        }
    }
    Ok(())
}

fn mark(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let marked = ioctl_getflags(&file).and_then(|flags| {
        if flags.contains(IFlags::SYNC) { Ok(()) } else { ioctl_setflags(&file, flags | IFlags::SYNC) }
    });
    match marked {
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM) => {
            static TOLD: Once = Once::new();
            TOLD.call_once(|| {
                tracing::warn!(
                    path = %path.display(),
                    "the file system cannot sync each write of a file (chattr +S): a power cut may leave a state unreadable"
                );
            });
            Ok(())
        }
        marked => Ok(marked?),
    }
}
