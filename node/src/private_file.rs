//! Files that hold secrets: mode 0600, made or replaced whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes `path` so that a reader sees the old content or the new, also after a crash or power loss.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = beside(path, ".new");
    write_new(&fresh, bytes)?;
    fs::rename(&fresh, path)?;
    sync_parent(path)
}

/// Makes `path` unless it is there; whoever comes second leaves what the first made. Read it back.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static MADE: AtomicU64 = AtomicU64::new(0);
    // Others may do the same at this moment: each writes a file of its own.
    let turn = MADE.fetch_add(1, Ordering::Relaxed);
    let fresh = beside(path, &format!(".{}-{turn}.new", std::process::id()));
    write_new(&fresh, bytes)?;
    let linked = match fs::hard_link(&fresh, path) {
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    };
    fs::remove_file(&fresh)?;
    linked?;
    sync_parent(path)
}

fn write_new(fresh: &Path, bytes: &[u8]) -> io::Result<()> {
    // Left over from a crash: its mode may be another.
    match fs::remove_file(fresh) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(fresh)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_the_owner_reads_it_even_after_a_crash_left_a_file_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret.json");
        fs::write(directory.path().join("secret.json.new"), "left").unwrap();
        replace(&path, b"first").unwrap();
        replace(&path, b"second").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn of_many_that_make_a_file_one_wins_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let found: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let make = |name: u8| {
                let path = &path;
                scope.spawn(move || {
                    create(path, &[name; 32]).unwrap();
                    fs::read(path).unwrap()
                })
            };
            let threads: Vec<_> = (0..8).map(make).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(found.iter().all(|bytes| *bytes == found[0]) && found[0].len() == 32);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
