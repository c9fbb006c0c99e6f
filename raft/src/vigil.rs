//! Notices that the process of a leader is gone before its heartbeats are missed.
//!
//! A connection that ended proves little; that nothing listens any more where the node is reached proves
//! that its process is gone. Then its followers need not wait for the election timeout, which is made for a
//! leader that says nothing: one after another they ask for votes. Whoever cannot tell waits as before. A
//! wrong guess costs an election at most, never safety: a vote is given as in any other.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::raft::TransferLeaderRequest;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;

use crate::NodeId;
use crate::faults::Lifecycle;
use crate::group::Group;
use crate::peer::link::PeerLink;
use crate::replicas::Replicas;
use crate::type_config::RaftVote;

/// Before each look: a process that is ending may close its connections before its listener, and one that
/// was started again at once is no leader any more, but votes as it promised.
const LOOKS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(50), Duration::from_millis(200)];
/// How long a look may take.
const LOOK: Duration = Duration::from_secs(1);

/// Watches until dropped.
pub(crate) struct Vigil(JoinHandle<()>);

impl Vigil {
    /// `None` where the transport cannot tell.
    pub(crate) fn start(
        replicas: &Arc<Replicas>,
        link: &Arc<PeerLink>,
        electable: &Arc<AtomicBool>,
    ) -> Option<Self> {
        let ended = link.ended_connections()?;
        let (replicas, link) = (Arc::downgrade(replicas), Arc::downgrade(link));
        Some(Self(tokio::spawn(run(replicas, link, Arc::clone(electable), ended))))
    }
}

impl Drop for Vigil {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run(
    replicas: Weak<Replicas>,
    link: Weak<PeerLink>,
    electable: Arc<AtomicBool>,
    mut ended: broadcast::Receiver<NodeId>,
) {
    let looked_at = Arc::<Mutex<BTreeSet<NodeId>>>::default();
    loop {
        let node = match ended.recv().await {
            Ok(node) => node,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let (Some(replicas), Some(link)) = (replicas.upgrade(), link.upgrade()) else { return };
        let follows = replicas.all_running().iter().any(|group| group.vote_of_leader(node).is_some());
        if !follows || !looked_at.lock().unwrap_or_else(PoisonError::into_inner).insert(node) {
            continue;
        }
        let (looked_at, electable) = (Arc::clone(&looked_at), Arc::clone(&electable));
        tokio::spawn(async move {
            let gone = is_gone(&link, node).await;
            looked_at.lock().unwrap_or_else(PoisonError::into_inner).remove(&node);
            if gone {
                let groups = replicas.all_running();
                futures::future::join_all(groups.iter().map(|group| group.succeed(&electable, node))).await;
            }
        });
    }
}

async fn is_gone(link: &PeerLink, node: NodeId) -> bool {
    for pause in LOOKS {
        tokio::time::sleep(pause).await;
        match link.listens(node, LOOK).await {
            Some(false) => return true,
            Some(true) => {}
            None => return false,
        }
    }
    false
}

impl Group {
    /// The vote that made `node` the leader, while this replica follows it.
    fn vote_of_leader(&self, node: NodeId) -> Option<RaftVote> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let follows = node != self.node && metrics.vote.committed && metrics.current_leader == Some(node.0);
        follows.then_some(metrics.vote)
    }

    /// Elects in place of the leader `dead`, in this replica's turn.
    async fn succeed(&self, electable: &AtomicBool, dead: NodeId) {
        if !matches!(*self.faults.lifecycle.borrow(), Lifecycle::Running) || !self.gate.is_open() {
            return;
        }
        let (Some(vote), Some(turn)) = (self.vote_of_leader(dead), self.turn_after(dead)) else { return };
        // What the leader itself says to voters that should not wait for it (Raft §4.2.3). With it they
        // give their votes at once; named as the heir, the dead one elects nobody.
        let released = TransferLeaderRequest::new(vote, dead.0, None);
        if self.raft.handle_transfer_leader(released).await.is_err() {
            return;
        }
        // Time for those before to be elected: two rounds of votes.
        tokio::time::sleep(self.timers.heartbeat() * turn).await;
        if self.vote_of_leader(dead) != Some(vote) || !electable.load(Ordering::Acquire) {
            return;
        }
        tracing::info!(partition = self.id.0, leader = dead.0, "the leader's process is gone; electing");
        // Asks first whether it would win, so that a leader that others hear stays.
        if let Err(cause) = self.raft.trigger().elect(true).await {
            tracing::debug!(partition = self.id.0, %cause, "the group stopped before it elected");
        }
    }

    /// How many voters elect before this one: those in the regions that the placement prefers come first,
    /// then it goes by ids. `None` without a vote.
    fn turn_after(&self, dead: NodeId) -> Option<u32> {
        let settings = self.settings_in_force();
        let preferred = &settings.placement.preferred_leader_regions;
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let rank = |id: u64| {
            let region = membership.get_node(&id).map(|info| &info.region);
            let rank = preferred.iter().position(|wish| Some(wish) == region);
            (rank.unwrap_or(usize::MAX), id)
        };
        let voters: BTreeSet<u64> = membership.voter_ids().filter(|id| *id != dead.0).collect();
        let own = voters.contains(&self.node.0).then(|| rank(self.node.0))?;
        u32::try_from(voters.into_iter().filter(|id| rank(*id) < own).count()).ok()
    }
}
