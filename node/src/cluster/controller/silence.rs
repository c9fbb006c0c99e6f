//! Who has not answered for how long, while this node leads the directory. A new leader begins anew: it
//! is better to wait once more than to replace who is only slow.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domicile_raft::NodeId;

use crate::cluster::overview::{Asked, Survey};

pub(super) struct Silence {
    dead_after: Duration,
    /// On the monotonic clock.
    since: BTreeMap<NodeId, Duration>,
    dead: BTreeSet<NodeId>,
}

impl Silence {
    pub(super) fn new(dead_after: Duration) -> Self {
        Self { dead_after, since: BTreeMap::new(), dead: BTreeSet::new() }
    }

    pub(super) fn hear(&mut self, survey: &Survey, now: Duration) {
        for (node, asked) in survey {
            match asked {
                Asked::Told { .. } => {
                    self.since.remove(node);
                    self.dead.remove(node);
                }
                Asked::Silent(_) => {
                    let since = *self.since.entry(*node).or_insert(now);
                    if now.saturating_sub(since) >= self.dead_after {
                        self.dead.insert(*node);
                    }
                }
            }
        }
    }

    /// Silent for as long as the settings say.
    pub(super) fn dead(&self) -> &BTreeSet<NodeId> {
        &self.dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::messages::NodeReport;

    #[test]
    fn who_answers_once_is_not_dead() {
        let mut silence = Silence::new(Duration::from_secs(10));
        let silent = || Asked::Silent(String::new());
        let told = || Asked::Told { report: NodeReport::default(), round_trip: Duration::ZERO };
        let at = Duration::from_secs;
        silence.hear(&[(NodeId(1), told()), (NodeId(2), silent())].into(), at(100));
        silence.hear(&[(NodeId(1), silent()), (NodeId(2), silent())].into(), at(109));
        assert!(silence.dead().is_empty());
        silence.hear(&[(NodeId(1), silent()), (NodeId(2), silent())].into(), at(110));
        assert_eq!(*silence.dead(), BTreeSet::from([NodeId(2)]));
        silence.hear(&[(NodeId(1), silent()), (NodeId(2), told())].into(), at(111));
        assert!(silence.dead().is_empty());
    }
}
