//! What happened, as clients and the nemesis saw it: in memory, on disk in Jepsen's EDN form, and as
//! exports for other checkers.

mod edn;
mod export;
mod form;
mod journal;
mod lines;
mod operation;

pub use edn::{Edn, EdnError};
pub use export::{Export, elle, knossos};
pub use journal::{Journal, Ticket};
pub use lines::{HistoryError, read};
pub use operation::{Call, Class, Key, Operation, Outcome, Refusal, Reply, Step, Value};

/// What was done to the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultEvent {
    /// When, in ns since the run began.
    pub time_ns: u64,
    /// Its name: `kill`, `cut`, `heal`.
    pub name: String,
    /// What it hit and whether it took.
    pub told: String,
}

/// A whole run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// By index of the invocation.
    pub operations: Vec<Operation>,
    /// In order of time.
    pub faults: Vec<FaultEvent>,
}

impl History {
    /// Operations by the key that `of` gives them, each list in order; those without are left out.
    pub fn by_key<K: Ord>(
        &self,
        of: impl Fn(&Operation) -> Option<K>,
    ) -> std::collections::BTreeMap<K, Vec<&Operation>> {
        let mut out = std::collections::BTreeMap::<K, Vec<&Operation>>::new();
        for operation in &self.operations {
            if let Some(key) = of(operation) {
                out.entry(key).or_default().push(operation);
            }
        }
        out
    }
}
