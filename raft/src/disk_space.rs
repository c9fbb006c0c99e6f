//! Stops taking proposals before the disk is full, and takes them again by itself when there is room.
//!
//! Between the marks there is room for all that was accepted already: entries, what they do to the
//! state, and the small files of a node. A file that only takes up room, `BALLAST`, goes when somebody
//! else fills the disk regardless.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// How often the disk is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// Bytes proposed after which it is looked at anyway.
const LOOK_AFTER_BYTES: u64 = 1 << 20;
const BALLAST: &str = "BALLAST";

/// How much of the disk a node leaves free. On a small disk each is at most a sixteenth, an eighth and a
/// sixty-fourth of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskReserve {
    /// Below this many free bytes nothing is proposed.
    pub low_bytes: u64,
    /// From here on proposals are taken again.
    pub high_bytes: u64,
    /// Set aside, and given up when the disk is full for good.
    pub ballast_bytes: u64,
}

impl Default for DiskReserve {
    fn default() -> Self {
        Self { low_bytes: 256 << 20, high_bytes: 512 << 20, ballast_bytes: 64 << 20 }
    }
}

impl DiskReserve {
    fn on_disk_of(self, total_bytes: u64) -> Self {
        Self {
            low_bytes: self.low_bytes.min(total_bytes / 16),
            high_bytes: self.high_bytes.min(total_bytes / 8),
            ballast_bytes: self.ballast_bytes.min(total_bytes / 64),
        }
    }
}

/// What is known of the disk under a data directory.
pub(crate) struct DiskSpace {
    root: PathBuf,
    reserve: DiskReserve,
    full: AtomicBool,
    proposed_bytes: AtomicU64,
}

impl DiskSpace {
    /// Looks now, and from then on every second until dropped.
    ///
    /// # Errors
    /// What the file system or the start of a thread says.
    pub(crate) fn watch(root: &Path, reserve: DiskReserve) -> io::Result<Arc<Self>> {
        let disk = Arc::new(Self {
            root: root.to_owned(),
            reserve,
            full: AtomicBool::new(false),
            proposed_bytes: AtomicU64::new(0),
        });
        disk.look();
        let weak = Arc::downgrade(&disk);
        std::thread::Builder::new().name("disk-space".to_owned()).spawn(move || look_often(&weak))?;
        Ok(disk)
    }

    /// Whether no further write may be accepted; `bytes` are about to be.
    pub(crate) fn is_full(&self, bytes: usize) -> bool {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if self.proposed_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) >= LOOK_AFTER_BYTES {
            self.look();
        }
        self.full.load(Ordering::Acquire)
    }

    fn look(&self) {
        self.proposed_bytes.store(0, Ordering::Relaxed);
        let Ok(stat) = statvfs(&self.root) else { return };
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let reserve = self.reserve.on_disk_of(stat.f_blocks.saturating_mul(stat.f_frsize));
        let was_full = self.full.load(Ordering::Acquire);
        let full = free < if was_full { reserve.high_bytes } else { reserve.low_bytes };
        if full != was_full {
            self.full.store(full, Ordering::Release);
            let path = self.root.display();
            if full {
                tracing::error!(%path, free, low = reserve.low_bytes, "the disk is almost full: writes are refused");
            } else {
                tracing::info!(%path, free, "there is room on the disk: writes are taken");
            }
        }
        self.ballast(free, reserve);
    }

    fn ballast(&self, free: u64, reserve: DiskReserve) {
        let path = self.root.join(BALLAST);
        let there = path.exists();
        if there && free < reserve.low_bytes / 4 {
            tracing::warn!("the disk is full: the ballast is given up");
            let _ = fs::remove_file(&path);
        } else if !there && free >= reserve.high_bytes.saturating_add(reserve.ballast_bytes) {
            let made = OpenOptions::new().create(true).truncate(true).write(true).open(&path);
            let _ = made.and_then(|file| {
                Ok(fallocate(file, FallocateFlags::empty(), 0, reserve.ballast_bytes.max(1))?)
            });
        }
    }
}

fn look_often(disk: &Weak<DiskSpace>) {
    loop {
        std::thread::park_timeout(EVERY);
        let Some(disk) = disk.upgrade() else { return };
        disk.look();
    }
}
