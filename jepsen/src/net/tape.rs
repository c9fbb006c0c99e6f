//! What is on the links, kept as it is: for runs whose links can be read (docs/adr/0029).

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Left in a folder where something is missing.
pub(crate) const INCOMPLETE: &str = "INCOMPLETE";
/// Ends the name of what went from the one who dialled.
const THERE: &str = "there";
const BACK: &str = "back";

/// Makes tapes. Copies write into one folder.
#[derive(Clone, Debug)]
pub(super) struct Tapes {
    folder: PathBuf,
    next: Arc<AtomicU64>,
}

/// One direction of one connection, in a file `<turn>-<node>.there` or `.back`: the node is the one that was dialled.
#[derive(Debug)]
pub(super) struct Tape {
    folder: PathBuf,
    file: Option<File>,
}

/// Which connection a tape is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taped {
    /// The node that was dialled, from 0.
    pub(crate) dialled: usize,
    /// Whether it is what the other one sent.
    pub(crate) is_there: bool,
    /// The name of the tape of what the one who dialled sent.
    pub(crate) there: String,
}

impl Tapes {
    /// In this folder, which is made.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn new(folder: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned(), next: Arc::default() })
    }

    /// For a connection to a node: there, and back.
    pub(super) fn of(&self, dialled: usize) -> [Tape; 2] {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        [THERE, BACK].map(|way| {
            let made = File::create(self.folder.join(format!("{turn}-n{}.{way}", dialled + 1)));
            let mut tape = Tape { folder: self.folder.clone(), file: made.ok() };
            if tape.file.is_none() {
                tape.give_up();
            }
            tape
        })
    }
}

impl Tape {
    /// More of what was sent.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        if self.file.as_mut().is_some_and(|file| file.write_all(bytes).is_err()) {
            self.give_up();
        }
    }

    fn give_up(&mut self) {
        self.file = None;
        // Whoever cannot even do this leaves tapes on which too little is found.
        let _ = File::create(self.folder.join(INCOMPLETE));
    }
}

impl Taped {
    /// What the name of a tape says; `None` for another file's.
    pub(crate) fn read(name: &str) -> Option<Self> {
        let (connection, way) = name.split_once('.')?;
        let (_, dialled) = connection.split_once("-n")?;
        let dialled = dialled.parse::<usize>().ok()?.checked_sub(1)?;
        let is_there = match way {
            THERE => true,
            BACK => false,
            _ => return None,
        };
        Some(Self { dialled, is_there, there: format!("{connection}.{THERE}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_has_a_tape_for_each_way_and_their_names_say_so() {
        let folder = tempfile::tempdir().unwrap();
        let tapes = Tapes::new(&folder.path().join("wire")).unwrap();
        for dialled in [0, 11] {
            let [mut there, mut back] = tapes.clone().of(dialled);
            there.take(b"to ");
            back.take(b"from ");
            there.take(b"it");
        }
        let read = |name: &str| std::fs::read(folder.path().join("wire").join(name)).unwrap();
        assert_eq!((read("0-n1.there"), read("1-n12.back")), (b"to it".to_vec(), b"from ".to_vec()));
        let back = Taped { dialled: 11, is_there: false, there: "1-n12.there".to_owned() };
        assert_eq!(Taped::read("1-n12.back"), Some(back));
        assert!(Taped::read("0-n1.there").is_some_and(|taped| taped.is_there && taped.dialled == 0));
        for other in [INCOMPLETE, "0-n0.there", "0-n1.sent", "n1.there"] {
            assert_eq!(Taped::read(other), None, "{other}");
        }
    }

    #[test]
    fn a_tape_that_cannot_be_made_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let tapes = Tapes::new(folder.path()).unwrap();
        std::fs::create_dir(folder.path().join("0-n1.back")).unwrap();
        let [_, mut back] = tapes.of(0);
        back.take(b"lost");
        assert!(folder.path().join(INCOMPLETE).exists());
    }
}
