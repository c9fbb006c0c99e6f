//! A disk that can fail: an ext4 file system in a file, mounted through a loop device.
//!
//! Cutting the power is the file system's own emergency stop without a flush (`FS_IOC_SHUTDOWN`, flag 2):
//! what was not synced is gone. Safe Rust cannot issue the call; perl can, and is essential on Debian.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

const SIZE_BYTES: u64 = 1 << 30;
/// What fills it.
const FILLING: &str = "filling";
/// Less room than this is none.
const CRUMB_BYTES: u64 = 4 << 10;
/// How often a busy disk is unmounted, and what is between.
const TRIES: u32 = 50;
const BETWEEN: Duration = Duration::from_millis(100);
const SHUTDOWN: &str = "open(my $mount, '<', $ARGV[0]) or die qq(open: $!); \
my $flag = pack('L', 2); ioctl($mount, 0x8004587d, $flag) or die qq(FS_IOC_SHUTDOWN: $!);";

/// A mounted file system. The mount is private to this program and ends with it.
#[derive(Debug)]
pub(crate) struct Disk {
    image: PathBuf,
    /// Where it is mounted.
    pub(crate) mount: PathBuf,
}

impl Disk {
    /// A new and empty one below `folder`.
    pub(crate) fn make(folder: &Path) -> anyhow::Result<Self> {
        let disk = Self { image: folder.join("disk.img"), mount: folder.join("disk") };
        std::fs::create_dir_all(&disk.mount)?;
        let file = File::create(&disk.image).context("cannot make the image of a disk")?;
        file.set_len(SIZE_BYTES)?;
        // Nothing is set aside for root, or a full disk would not be full for nodes that run as root.
        run("mkfs.ext4", &["-q", "-F", "-m", "0"], &[&disk.image])?;
        disk.mount()?;
        Ok(disk)
    }

    /// Mounts it, as after power came back: the journal is replayed.
    pub(crate) fn mount(&self) -> anyhow::Result<()> {
        run("mount", &["-o", "loop,errors=remount-ro"], &[&self.image, &self.mount])
    }

    /// Cuts the power. Whoever has files open must stand still or be gone soon.
    pub(crate) fn cut(&self) -> anyhow::Result<()> {
        run("perl", &["-e", SHUTDOWN], &[&self.mount])
    }

    /// As a kernel does it that met an error: nothing can be written, until it is mounted anew.
    pub(crate) fn read_only(&self) -> anyhow::Result<()> {
        run("mount", &["-o", "remount,abort"], &[&self.mount])
    }

    /// Whether files can be made. A full disk may still have room for an empty one.
    pub(crate) fn takes_writes(&self) -> bool {
        OpenOptions::new().create(true).truncate(true).write(true).open(self.mount.join("probe")).is_ok()
    }

    /// Takes all room; gives what is left, in bytes.
    pub(crate) fn fill(&self) -> anyhow::Result<u64> {
        let file = OpenOptions::new().create(true).append(true).open(self.mount.join(FILLING))?;
        let mut piece = self.free_bytes()?;
        while piece >= CRUMB_BYTES {
            let end = file.metadata()?.len();
            match fallocate(&file, FallocateFlags::empty(), end, piece) {
                Ok(()) => piece = self.free_bytes()?.min(piece),
                Err(Errno::NOSPC) => piece /= 2,
                Err(error) => return Err(error).context("cannot fill the disk"),
            }
        }
        self.free_bytes()
    }

    /// Gives the room back.
    pub(crate) fn free(&self) -> anyhow::Result<()> {
        match std::fs::remove_file(self.mount.join(FILLING)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn free_bytes(&self) -> anyhow::Result<u64> {
        let room = statvfs(&self.mount)?;
        Ok(room.f_bavail.saturating_mul(room.f_frsize))
    }

    /// Its device, as `major:minor`.
    pub(crate) fn device(&self) -> anyhow::Result<String> {
        let output = Command::new("losetup").args(["-n", "-O", "NAME", "-j"]).arg(&self.image).output()?;
        let name = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let name = name.strip_prefix("/dev/").context("the disk has no loop device")?;
        Ok(std::fs::read_to_string(format!("/sys/block/{name}/dev"))?.trim().to_owned())
    }

    /// Unmounts it and mounts it again, as a machine does that starts. Who has a file in there open for a moment is
    /// waited for.
    pub(crate) async fn mount_again(&self) -> anyhow::Result<()> {
        let what = || if self.is_mounted() { self.unmount() } else { Ok(()) };
        patiently(what).await?;
        self.mount()
    }

    fn is_mounted(&self) -> bool {
        // Its device is another than that of the folder around it.
        let device = |path: &Path| std::fs::metadata(path).map(|about| about.dev()).ok();
        self.mount.parent().is_some_and(|around| device(&self.mount) != device(around))
    }

    fn unmount(&self) -> anyhow::Result<()> {
        run("umount", &[], &[&self.mount])
    }

    /// The file that holds it, which stays.
    pub(crate) fn image(&self) -> &Path {
        &self.image
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.unmount();
    }
}

/// Until it goes well, or has failed often.
async fn patiently(act: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    for _ in 1..TRIES {
        match act() {
            Ok(()) => return Ok(()),
            Err(_) => tokio::time::sleep(BETWEEN).await,
        }
    }
    act()
}

fn run(program: &str, arguments: &[&str], paths: &[&Path]) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments).args(paths).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_busy_for_a_moment_is_tried_again_and_what_stays_so_is_an_error() {
        let tried = Cell::new(0);
        let busy_until = |last: u32| {
            let tried = &tried;
            move || {
                tried.set(tried.get() + 1);
                anyhow::ensure!(tried.get() > last, "target is busy");
                Ok(())
            }
        };
        assert!(patiently(busy_until(3)).await.is_ok());
        assert_eq!(tried.replace(0), 4);
        assert!(patiently(busy_until(TRIES)).await.is_err());
        assert_eq!(tried.get(), TRIES);
    }
}
