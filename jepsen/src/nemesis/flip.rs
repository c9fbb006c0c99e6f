//! Bits that change on a disk while nobody has the files open.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::random::Random;

/// Bits that are flipped, all in one file.
const BITS: usize = 24;
/// Smaller files are markers and settings.
const SMALL_BYTES: u64 = 512;

/// Flips bits of one file of a stopped node's logs or states; says which.
pub(super) fn flip(data: &Path, draw: u64) -> anyhow::Result<String> {
    let mut random = Random::new(draw);
    let mut files = Vec::new();
    for part in ["log", "partitions"] {
        collect(&data.join(part), &mut files)?;
    }
    files.sort();
    // Each sort of file as often as the others, however many there are of it.
    let mut sorts: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in files {
        sorts.entry(sort_of(&file)).or_default().push(file);
    }
    let sorts: Vec<Vec<PathBuf>> = sorts.into_values().collect();
    let file =
        random.pick(&sorts).and_then(|files| random.pick(files)).context("there is no file to damage")?;
    let bytes = std::fs::read(file)?;
    // What was never written is not read either.
    let written: Vec<usize> =
        (0..bytes.len()).filter(|at| bytes.get(*at).is_some_and(|byte| *byte != 0)).collect();
    let opened = std::fs::OpenOptions::new().write(true).open(file)?;
    for _ in 0..BITS {
        let Some(at) = random.pick(&written) else { break };
        let damaged = bytes.get(*at).copied().unwrap_or_default() ^ (1 << random.below(8));
        opened.write_all_at(&[damaged], u64::try_from(*at)?)?;
    }
    opened.sync_all()?;
    let told = file.strip_prefix(data).unwrap_or(file);
    Ok(format!("{BITS} bits of {} ({} bytes)", told.display(), bytes.len()))
}

/// What a file's name begins with, or ends with if it begins with a number.
fn sort_of(file: &Path) -> String {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let is_word = |part: &&str| part.starts_with(|letter: char| letter.is_ascii_alphabetic());
    name.split('.').find(is_word).unwrap_or_default().to_owned()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.metadata()?;
        if found.is_dir() {
            collect(&entry.path(), files)?;
        } else if found.len() >= SMALL_BYTES {
            files.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_sorted_by_their_names() {
        let sort = |name: &str| sort_of(Path::new(name));
        assert_eq!(
            (sort("a/0001.raftlog"), sort("db/snap.000F"), sort("SYNCED")),
            ("raftlog".into(), "snap".into(), "SYNCED".into())
        );
    }

    #[test]
    fn the_same_draw_flips_the_same_bits_of_one_file() {
        let damaged = || {
            let folder = tempfile::tempdir().unwrap();
            for name in ["log/a", "partitions/1/db", "partitions/1/CURRENT"] {
                let path = folder.path().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, vec![7_u8; if name.ends_with("CURRENT") { 9 } else { 4_096 }]).unwrap();
            }
            let told = flip(folder.path(), 5).unwrap();
            let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
            (told, read("log/a"), read("partitions/1/db"), read("partitions/1/CURRENT"))
        };
        let (told, log, state, current) = damaged();
        let changed = |bytes: &[u8]| bytes.iter().filter(|byte| **byte != 7).count();
        assert!((changed(&log) > 10) != (changed(&state) > 10), "{told}");
        assert_eq!((changed(&current), damaged()), (0, (told, log, state, current)));
    }
}
