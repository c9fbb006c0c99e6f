//! A core file of a node outside: what was in its memory. Where the kernel puts core files elsewhere, there is
//! none, and that is told.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::cluster::{Cluster, Node, Signal};

const PATTERN: &str = "/proc/sys/kernel/core_pattern";
/// To write one.
const WRITE_MAX: Duration = Duration::from_secs(30);
/// A process' environment is at the end of its memory, and so of its core file.
const END_BYTES: u64 = 4 << 20;
const ELF: &[u8; 4] = b"\x7fELF";

/// What came of ending a node with a core file.
#[derive(Debug)]
pub(in crate::run) struct Core {
    /// For the record.
    pub(super) told: String,
    /// Why there should be one and is none.
    pub(super) blind: Option<String>,
}

impl Core {
    fn none(why: &str) -> Self {
        Self { told: format!("no core file: {why}"), blind: None }
    }

    fn missing(why: String) -> Self {
        Self { told: format!("no core file: {why}"), blind: Some(why) }
    }
}

/// Ends a node that is not in `region` so that it leaves a core file in its folder.
pub(in crate::run) async fn leave_core(cluster: &Cluster, region: &str) -> Core {
    let pattern = std::fs::read_to_string(PATTERN).unwrap_or_default();
    if let Err(why) = lands_in_the_folder(&pattern) {
        return Core::none(why);
    }
    let limit = getrlimit(Resource::Core).maximum;
    if limit == Some(0) {
        return Core::none("the hard limit of their size is 0");
    }
    let outside = cluster.nodes.iter().enumerate().filter(|(_, node)| !node.is_in(region));
    let mut running = outside.filter_map(|(turn, node)| {
        let process = i32::try_from(cluster.processes.running(turn)?.0).ok()?;
        Some((turn, node, Pid::from_raw(process)?))
    });
    let Some((turn, node, process)) = running.next() else {
        return Core::missing(format!("no node outside {region} runs"));
    };
    if let Err(why) = prlimit(Some(process), Resource::Core, Rlimit { current: limit, maximum: limit }) {
        return Core::missing(format!("{} cannot be allowed one: {why}", node.name));
    }
    if !cluster.processes.signal(turn, Signal::Abort) || !cluster.processes.gone(turn, WRITE_MAX).await {
        return Core::missing(format!("{} did not end by SIGABRT", node.name));
    }
    let written = cores_in(node.folder());
    let Some(core) = written.iter().find(|core| is_of(core, node).unwrap_or(false)) else {
        return Core::missing(format!("{} left none of its own in {}", node.name, node.folder().display()));
    };
    let bytes = std::fs::metadata(core).map_or(0, |about| about.len());
    Core { told: format!("a core file of {}: {} KiB", node.name, bytes >> 10), blind: None }
}

/// Core files in a node's folder.
pub(in crate::run) fn cores_in(folder: &Path) -> Vec<PathBuf> {
    let inside = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    inside.filter(|path| is_core(path)).collect()
}

/// By its name, and that it is one.
pub(super) fn is_core(path: &Path) -> bool {
    let is_named =
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("core"));
    let mut begins = [0; ELF.len()];
    is_named && File::open(path).and_then(|mut file| file.read_exact(&mut begins)).is_ok() && begins == *ELF
}

/// Whether the kernel writes into the folder that a process is in.
fn lands_in_the_folder(pattern: &str) -> Result<(), &'static str> {
    match pattern.trim() {
        "" => Err("the kernel says nowhere where it goes"),
        piped if piped.starts_with('|') => Err("the kernel hands it to a program"),
        elsewhere if elsewhere.contains('/') => Err("the kernel puts it into another folder"),
        named if named.starts_with("core") => Ok(()),
        _ => Err("the kernel gives it another name"),
    }
}

/// Whether a core file is of a node, and whole: its environment names its settings.
fn is_of(core: &Path, node: &Node) -> std::io::Result<bool> {
    let wanted = format!("DOMICILE_CONFIG={}\0", node.config().display());
    let mut file = File::open(core)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END_BYTES)))?;
    let mut end = Vec::new();
    file.take(END_BYTES).read_to_end(&mut end)?;
    // From one zero to the next: so are environments.
    Ok(end.split_inclusive(|byte| *byte == 0).any(|one| one == wanted.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_name_lands_in_the_folder() {
        for plain in ["core\n", "core.%p\n", "core"] {
            assert_eq!(lands_in_the_folder(plain), Ok(()), "{plain}");
        }
        for other in ["", "\n", "|/usr/lib/systemd/systemd-coredump %P\n", "/var/crash/core.%p\n", "%e.%p\n"]
        {
            assert!(lands_in_the_folder(other).is_err(), "{other}");
        }
    }

    #[test]
    fn a_core_file_is_known_by_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in [
            ("core", b"\x7fELF\0".as_slice()),
            ("core.71", b"\x7fELF\0".as_slice()),
            ("core.toml", b"[node]".as_slice()),
            ("core.0", b"".as_slice()),
            ("program", b"\x7fELF\0".as_slice()),
        ] {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        let mut found = cores_in(folder.path());
        found.sort();
        assert_eq!(found, [folder.path().join("core"), folder.path().join("core.71")]);
    }
}
