//! What a group's members acknowledged of what is committed, whoever led: that can never be lost.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::NodeId;
use crate::type_config::LogId;

/// One group's members, as this node saw them answer while it led.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged(Mutex<BTreeMap<NodeId, LogId>>);

impl Acknowledged {
    /// `node` holds the log through `matched`, and the leader knew `committed` to be committed.
    ///
    /// Only what is both counts from one term to the next: another leader may cut the rest.
    pub(crate) fn note(&self, node: NodeId, matched: LogId, committed: Option<LogId>) {
        let Some(committed) = committed else { return };
        let durable = matched.min(committed);
        let mut nodes = self.lock();
        let known = nodes.entry(node).or_insert(durable);
        *known = durable.max(*known);
    }

    /// The last committed entry that `node` is known to have had.
    pub(crate) fn of(&self, node: NodeId) -> Option<LogId> {
        self.lock().get(&node).copied()
    }

    /// Forgets who is no member any more: brought in anew, it has acknowledged nothing.
    pub(crate) fn retain(&self, is_member: impl Fn(NodeId) -> bool) {
        self.lock().retain(|node, _| is_member(*node));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, LogId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod tests {
    use super::*;
    use crate::type_config::log_id;

    #[test]
    fn only_what_is_committed_is_kept_and_only_of_members() {
        let acknowledged = Acknowledged::default();
        let (three, four) = (NodeId(3), NodeId(4));
        acknowledged.note(three, log_id(1, 9), None);
        assert_eq!(acknowledged.of(three), None);
        acknowledged.note(three, log_id(1, 9), Some(log_id(1, 7)));
        acknowledged.note(three, log_id(1, 5), Some(log_id(1, 7)));
        acknowledged.note(four, log_id(1, 3), Some(log_id(1, 7)));
        assert_eq!(acknowledged.of(three), Some(log_id(1, 7)));
        assert_eq!(acknowledged.of(four), Some(log_id(1, 3)));
        acknowledged.retain(|node| node == four);
        assert_eq!((acknowledged.of(three), acknowledged.of(four)), (None, Some(log_id(1, 3))));
    }
}
