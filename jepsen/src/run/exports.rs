//! The history of a run for checkers of others: the log as lists for Elle, each register by its strong operations for
//! Knossos.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::check::transactions;
use crate::history::{self, Call, Class, History, Operation};

const FOLDER: &str = "export";

/// Writes them into a folder of the run's directory; gives that and how many files there are now.
pub(super) fn write(history: &History, dir: &Path) -> anyhow::Result<(PathBuf, usize)> {
    let folder = dir.join(FOLDER);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let put = |name: String, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    put("elle.edn".to_owned(), &history::elle(&transactions(history).operations).text)?;
    let registers = history.by_key(register);
    for (key, operations) in &registers {
        put(format!("register-{key}.edn"), &history::knossos(operations, *key).text)?;
    }
    Ok((folder, registers.len() + 1))
}

/// The register of an operation that is linearizable.
fn register(operation: &Operation) -> Option<u64> {
    let (Call::Read { key, .. } | Call::Write { key, .. }) = operation.call else { return None };
    operation.class.is_none_or(|class| class == Class::Strong).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::APPLIED;
    use crate::clock::Stopwatch;
    use crate::history::{Journal, Outcome, Reply};

    #[test]
    fn each_register_has_a_file_of_its_strong_operations_and_the_log_has_one() {
        let journal = Journal::in_memory(Stopwatch::start());
        let put = |class, call, reply| {
            let ticket = journal.invoke(1, "n1", class, call);
            journal.complete(ticket, Outcome::Ok(reply));
        };
        put(None, Call::Write { key: 1, value: 5 }, Reply::Done);
        put(None, Call::Write { key: 2, value: 6 }, Reply::Done);
        put(None, Call::Read { key: 1, after: None }, Reply::Value(Some(5)));
        put(Some(Class::Local), Call::Read { key: 1, after: None }, Reply::Value(None));
        put(None, Call::Members { set: APPLIED }, Reply::Members(vec![5, 6]));
        let dir = tempfile::tempdir().unwrap();
        let (folder, files) = write(&journal.history().unwrap(), dir.path()).unwrap();
        let lines = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap().lines().count();
        assert_eq!((files, lines("register-1.edn"), lines("register-2.edn")), (3, 4, 2));
        // Two writes, and a reading of both lists.
        assert_eq!(lines("elle.edn"), 6);
    }
}
