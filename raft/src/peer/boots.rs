//! The highest boot counter seen of each peer: who speaks from an earlier start has an older disk, or
//! another one.
//!
//! What nodes on disk say is their boot counter and, below it, a number made up for that start
//! ([`start_number`]): a copy of a disk that is put back and started as often as the other would
//! count the same.
//!
//! Kept in the data directory (`PEER_BOOTS`: a header, then `node boots` a line), so that a restart
//! here does not make a wiped peer believable.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::transport::PeerRefusal;
use crate::NodeId;
use crate::data_dir::{DataDir, DataDirError, failed, replace};

const FILE: &str = "PEER_BOOTS";
const HEADER: &str = "domicile-peer-boots 1";

/// Bits of a start's number that are chance; the boot counter stands above them.
const CHANCE_BITS: u32 = 32;

/// What a node says of its start: later ones are higher, and no two of one count are the same.
pub(crate) fn start_number(boots: u64, chance: u32) -> u64 {
    (boots << CHANCE_BITS) | u64::from(chance)
}

/// The boot counter in a start's number; one without chance is a counter.
fn count(start: u64) -> u64 {
    if start >> CHANCE_BITS == 0 { start } else { start >> CHANCE_BITS }
}

/// Shared by what asks peers and what answers them.
#[derive(Debug, Default)]
pub(crate) struct SeenBoots {
    seen: Mutex<BTreeMap<NodeId, u64>>,
    /// `None` in memory.
    file: Option<PathBuf>,
}

impl SeenBoots {
    /// With what earlier starts saw.
    pub(crate) fn load(directory: Option<&DataDir>) -> Result<Self, DataDirError> {
        let Some(directory) = directory else { return Ok(Self::default()) };
        let file = directory.root().join(FILE);
        let seen = match fs::read_to_string(&file) {
            Ok(text) => parse(&text).ok_or_else(|| {
                let cause = io::Error::new(io::ErrorKind::InvalidData, "not a file that this version reads");
                failed(&file, "read")(cause)
            })?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(e) => return Err(failed(&file, "read")(e)),
        };
        Ok(Self { seen: Mutex::new(seen), file: Some(file) })
    }

    /// Takes note of a start that `node` says it is in.
    ///
    /// # Errors
    /// [`PeerRefusal::WentBack`] when a later one was seen, or another of the same count.
    pub(crate) fn check(&self, node: NodeId, boots: u64) -> Result<(), PeerRefusal> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let highest = seen.get(&node).copied();
        match highest {
            Some(highest) if boots == highest => Ok(()),
            Some(highest) if count(boots) <= count(highest) => {
                Err(PeerRefusal::WentBack { seen: count(highest), sent: count(boots) })
            }
            Some(_) | None => {
                seen.insert(node, boots);
                // Once for each start of a peer, so that the lock may be held.
                self.store(&seen);
                Ok(())
            }
        }
    }

    fn store(&self, seen: &BTreeMap<NodeId, u64>) {
        let Some(file) = &self.file else { return };
        let lines = seen.iter().map(|(node, boots)| format!("{} {boots}\n", node.0));
        let text: String = std::iter::once(format!("{HEADER}\n")).chain(lines).collect();
        // It still counts until the next start here.
        if let Err(cause) = replace(file, text.as_bytes()) {
            tracing::warn!(%cause, "the start that a peer is in was not written");
        }
    }
}

fn parse(text: &str) -> Option<BTreeMap<NodeId, u64>> {
    let lines = text.strip_prefix(HEADER)?.strip_prefix('\n')?.lines();
    let pair = |line: &str| {
        let (node, boots) = line.split_once(' ')?;
        Some((NodeId(node.parse().ok()?), boots.parse().ok()?))
    };
    lines.map(pair).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_start_is_refused_also_after_a_restart_here() {
        let temp = tempfile::tempdir().unwrap();
        let directory = DataDir::open(temp.path()).unwrap();
        let (three, four) = (NodeId(3), NodeId(4));
        {
            let seen = SeenBoots::load(Some(&directory)).unwrap();
            seen.check(three, 7).unwrap();
            seen.check(three, 7).unwrap();
            seen.check(four, 1).unwrap();
        }
        let seen = SeenBoots::load(Some(&directory)).unwrap();
        assert_eq!(seen.check(three, 6), Err(PeerRefusal::WentBack { seen: 7, sent: 6 }));
        seen.check(three, 8).unwrap();
        assert_eq!(seen.check(three, 7), Err(PeerRefusal::WentBack { seen: 8, sent: 7 }));
        seen.check(four, 1).unwrap();
    }

    #[test]
    fn a_disk_that_was_started_as_often_as_its_copy_is_another() {
        let seen = SeenBoots::default();
        let node = NodeId(3);
        seen.check(node, 2).unwrap();
        let first = start_number(3, 70);
        seen.check(node, first).unwrap();
        seen.check(node, first).unwrap();
        for chance in [69, 71, 0] {
            let copy = start_number(3, chance);
            assert_eq!(seen.check(node, copy), Err(PeerRefusal::WentBack { seen: 3, sent: 3 }));
        }
        assert_eq!(seen.check(node, 2), Err(PeerRefusal::WentBack { seen: 3, sent: 2 }));
        seen.check(node, start_number(4, 1)).unwrap();
        assert!(seen.check(node, first).is_err());
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_it() {
        let temp = tempfile::tempdir().unwrap();
        let directory = DataDir::open(temp.path()).unwrap();
        for bad in ["", "domicile-peer-boots 2\n", "domicile-peer-boots 1\n3 x\n"] {
            fs::write(temp.path().join(FILE), bad).unwrap();
            assert!(SeenBoots::load(Some(&directory)).unwrap_err().to_string().contains(FILE));
        }
    }
}
