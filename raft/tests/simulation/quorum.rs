//! Who has what on disk: what is committed must be at a quorum.

use std::collections::{BTreeMap, BTreeSet};

use crate::checker::Entry;

/// The sets of voters that must each have a majority: one, or two while voters change.
pub type Voters = Vec<BTreeSet<u64>>;

#[derive(Default)]
pub struct Quorum {
    /// Memberships by index and term, wherever they were appended.
    memberships: BTreeMap<(u64, u64), Voters>,
    /// By node: terms of the entries that its log has on disk, by index.
    logs: BTreeMap<u64, BTreeMap<u64, u64>>,
    /// By node: up to where its state is on disk.
    states: BTreeMap<u64, u64>,
}

impl Quorum {
    pub fn appended(&mut self, entry: &Entry) {
        if let Some(voters) = &entry.voters {
            self.memberships.insert((entry.at.index, entry.at.term), voters.clone());
        }
    }

    pub fn durable(&mut self, node: u64, entries: &[Entry]) {
        self.logs
            .entry(node)
            .or_default()
            .extend(entries.iter().map(|entry| (entry.at.index, entry.at.term)));
    }

    pub fn truncated(&mut self, node: u64, index: u64) {
        self.logs.entry(node).or_default().split_off(&(index + 1));
    }

    pub fn synced(&mut self, node: u64, index: u64) {
        self.states.insert(node, index);
    }

    /// A node starts with this and no more.
    pub fn restarted(&mut self, node: u64, log: &[Entry], state: u64) {
        self.logs.remove(&node);
        self.durable(node, log);
        self.synced(node, state);
    }

    fn has(&self, node: u64, index: u64, term: u64) -> bool {
        self.logs.get(&node).and_then(|log| log.get(&index)) == Some(&term)
            || self.states.get(&node).is_some_and(|state| *state >= index)
    }

    /// Whether the entry is at a majority of voters of a membership that may have been in force where `node` applies it:
    /// the last one before it, or a later one (a leader counts with the newest that it has). One whose place the
    /// node's log gives to another entry was discarded and never counted.
    pub fn holds(&self, node: u64, index: u64, term: u64) -> bool {
        let majority = |set: &BTreeSet<u64>| {
            set.iter().filter(|node| self.has(**node, index, term)).count() * 2 > set.len()
        };
        let log = self.logs.get(&node);
        let kept = |at: &(u64, u64)| log.and_then(|log| log.get(&at.0)).is_none_or(|term| *term == at.1);
        let mut before = self.memberships.range(..=(index, term)).rev();
        let last = before.find(|(at, _)| kept(at)).map_or((0, 0), |(at, _)| *at);
        self.memberships.range(last..).any(|(_, voters)| voters.iter().all(majority))
    }
}
