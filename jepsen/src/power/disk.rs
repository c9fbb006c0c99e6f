//! A disk that can lose its power: an ext4 file system in a file, mounted through a loop device.
//!
//! Cutting the power is the file system's own emergency stop without a flush (`FS_IOC_SHUTDOWN`, flag 2):
//! what was not synced is gone. Safe Rust cannot issue the call; perl can, and is essential on Debian.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

const SIZE_BYTES: u64 = 512 << 20;
const SHUTDOWN: &str = "open(my $mount, '<', $ARGV[0]) or die qq(open: $!); \
my $flag = pack('L', 2); ioctl($mount, 0x8004587d, $flag) or die qq(FS_IOC_SHUTDOWN: $!);";

/// A mounted file system. The mount is private to this program and ends with it.
#[derive(Debug)]
pub(super) struct Disk {
    image: PathBuf,
    /// Where it is mounted.
    pub(super) mount: PathBuf,
}

impl Disk {
    /// A new and empty one below `folder`.
    pub(super) fn make(folder: &Path) -> anyhow::Result<Self> {
        let disk = Self { image: folder.join("disk.img"), mount: folder.join("disk") };
        std::fs::create_dir_all(&disk.mount)?;
        let file = std::fs::File::create(&disk.image).context("cannot make the image of a disk")?;
        file.set_len(SIZE_BYTES)?;
        run("mkfs.ext4", &["-q", "-F"], &[&disk.image])?;
        disk.mount()?;
        Ok(disk)
    }

    /// Mounts it, as after power came back: the journal is replayed.
    pub(super) fn mount(&self) -> anyhow::Result<()> {
        run("mount", &["-o", "loop"], &[&self.image, &self.mount])
    }

    /// Cuts the power. Whoever has files open must stand still or be gone soon.
    pub(super) fn cut(&self) -> anyhow::Result<()> {
        run("perl", &["-e", SHUTDOWN], &[&self.mount])
    }

    /// Unmounts it.
    pub(super) fn unmount(&self) -> anyhow::Result<()> {
        run("umount", &[], &[&self.mount])
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.unmount();
        let _ = std::fs::remove_file(&self.image);
    }
}

fn run(program: &str, arguments: &[&str], paths: &[&Path]) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments).args(paths).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
