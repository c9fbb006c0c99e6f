//! One heartbeat for all groups that this node leads, so that those to one peer go in one message.
//!
//! openraft would beat for each group at a moment of its own.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::group::Group;
use crate::peer::link::PeerLink;
use crate::replicas::Replicas;

/// Every heartbeat interval is a multiple of this.
const BEAT: Duration = Duration::from_millis(50);
/// How long the groups have to hand their heartbeats over.
const GATHER: Duration = Duration::from_millis(3);

/// Beats until dropped.
pub(crate) struct Pulse(JoinHandle<()>);

impl Pulse {
    pub(crate) fn start(replicas: &Arc<Replicas>, link: &Arc<PeerLink>) -> Self {
        Self(tokio::spawn(run(Arc::downgrade(replicas), Arc::downgrade(link))))
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run(replicas: Weak<Replicas>, link: Weak<PeerLink>) {
    let mut ticks = tokio::time::interval(BEAT);
    // After a stall one beat is enough.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut beat: u64 = 0;
    loop {
        ticks.tick().await;
        beat = beat.wrapping_add(1);
        let (Some(replicas), Some(link)) = (replicas.upgrade(), link.upgrade()) else { return };
        let due: Vec<Arc<Group>> =
            replicas.all_running().into_iter().filter(|group| is_due(group, beat)).collect();
        if due.is_empty() {
            continue;
        }
        link.gather(true);
        let beats = due.iter().map(|group| async {
            // A group that stopped meanwhile needs none; one that is stuck must not stop the others'.
            let _ = tokio::time::timeout(GATHER, group.raft.trigger().heartbeat()).await;
        });
        futures::future::join_all(beats).await;
        tokio::time::sleep(GATHER).await;
        link.gather(false);
    }
}

fn is_due(group: &Group, beat: u64) -> bool {
    let every = (group.timers.heartbeat().as_millis() / BEAT.as_millis()).max(1);
    u128::from(beat).is_multiple_of(every) && group.claims_leadership()
}
