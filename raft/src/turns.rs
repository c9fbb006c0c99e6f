//! Whose turn it is to start again with new timers: followers one after another, by their ids, the leader
//! last, so that a quorum stays.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;

use crate::NodeId;
use crate::group::Group;
use crate::peer::link::PeerLink;
use crate::peer::message::Kind;
use crate::peer::wire::TimersBody;

/// Between two looks at those before this replica.
const LOOK: Duration = Duration::from_millis(100);
/// How long one of them may take to answer.
const ANSWER: Duration = Duration::from_millis(500);
/// Looks after which one that does not answer is passed over: it is away, so nothing changes for it.
const SILENT_MAX: u32 = 5;
/// Looks after which one that answers but does not start again is passed over.
const LOOKS_MAX: u32 = 200;

/// Returns when those before this replica run with the timers of the settings and know a leader.
pub(crate) async fn wait(find: impl Fn() -> Option<Arc<Group>>) {
    let mut silent = BTreeMap::<NodeId, u32>::new();
    for _ in 0..LOOKS_MAX {
        let Some(group) = find() else { return };
        let Some(link) = group.link.clone() else { return };
        let Some(settings) = group.settings.borrow().clone() else { return };
        let election_max_ms = u64::try_from(settings.timers.election_max().as_millis()).unwrap_or(u64::MAX);
        let body = TimersBody { group: group.key(), election_max_ms };
        let before = before(&group);
        drop(group);
        let asked = before.iter().map(|node| ask(&link, *node, &body));
        let answers = futures::future::join_all(asked).await;
        let mut waiting = false;
        for (node, answer) in before.into_iter().zip(answers) {
            let silent = silent.entry(node).or_default();
            if let Some(ready) = answer {
                *silent = 0;
                waiting |= !ready;
            } else {
                *silent += 1;
                waiting |= *silent < SILENT_MAX;
            }
        }
        if !waiting {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Members whose turn is before this replica's.
fn before(group: &Group) -> Vec<NodeId> {
    let metrics = group.raft.server_metrics();
    let metrics = metrics.borrow_watched();
    let (own, leader) = (group.node.0, metrics.current_leader);
    let members = metrics.membership_config.membership().nodes().map(|(id, _)| *id);
    let earlier = |id: &u64| *id != own && (leader == Some(own) || (Some(*id) != leader && *id < own));
    members.filter(earlier).map(NodeId).collect()
}

async fn ask(link: &PeerLink, node: NodeId, body: &TimersBody) -> Option<bool> {
    link.ask(node, Kind::Timers, body, ANSWER).await.ok()
}
