//! Nodes in one process, joined by a switchboard.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domicile_raft::peer::{ClusterId, PeerIdentity};
use domicile_raft::placement::GroupSettings;
use domicile_raft::testing::Switchboard;
use domicile_raft::{
    Change, GroupConfig, Incarnation, NodeConfig, NodeId, NodeIdentity, NodeInfo, OpenState, Order,
    OrderError, OrderReply, Partition, PartitionId, PartitionStatus, Peers, RaftNode, Start, SystemClock,
    TimerProfile,
};
use domicile_storage::{MemoryEngine, MemoryLog};

use super::{WAIT, group};

pub const P1: PartitionId = PartitionId(1);

pub fn region(node: u64) -> String {
    format!("r{}", (node - 1) % 3 + 1)
}

pub fn info(node: u64) -> NodeInfo {
    NodeInfo { region: region(node), zone: "a".to_owned(), ..NodeInfo::default() }
}

pub fn identity(node: u64) -> PeerIdentity {
    PeerIdentity { node: NodeId(node), region: region(node), zone: "a".to_owned() }
}

pub struct Cluster {
    pub board: Switchboard,
    pub nodes: Vec<Arc<RaftNode>>,
}

pub fn cluster_id() -> ClusterId {
    ClusterId::new("test").unwrap()
}

pub fn start_node(board: &Switchboard, id: u64, boots: u64, log: Arc<MemoryLog>) -> Arc<RaftNode> {
    let open: OpenState = Arc::new(|_, _| Ok(Arc::new(MemoryEngine::new())));
    let mut config = NodeConfig::new(None, log, open, Arc::new(SystemClock::new()));
    config.identity = Some(NodeIdentity { id: NodeId(id), boots });
    config.peers = Some(Peers { transport: board.transport(identity(id)), cluster: cluster_id() });
    let node = Arc::new(RaftNode::open(config).unwrap());
    board.attach(NodeId(id), node.peer_service());
    node
}

pub fn settings() -> GroupSettings {
    GroupSettings::anywhere(TimerProfile::Fast)
}

pub fn config(partition: u64, start: Start) -> GroupConfig {
    GroupConfig { settings: settings(), start, ..group(partition) }
}

impl Cluster {
    /// Nodes 1 to `size`, without groups.
    pub fn of(size: u64) -> Self {
        let board = Switchboard::new();
        let nodes = (1..=size).map(|id| start_node(&board, id, 1, Arc::new(MemoryLog::new()))).collect();
        Self { board, nodes }
    }

    /// Nodes 1 to `size`, all voters of partition 1, led by node 1.
    pub async fn with_group(size: u64) -> Self {
        let cluster = Self::of(size);
        cluster.make_group(1, size).await;
        cluster
    }

    /// A group whose voters are nodes 1 to `voters`.
    pub async fn make_group(&self, partition: u64, voters: u64) {
        self.make_group_with(partition, voters, TimerProfile::Fast).await;
    }

    pub async fn make_group_with(&self, partition: u64, voters: u64, timers: TimerProfile) {
        let settings = GroupSettings::anywhere(timers);
        let config = |start| GroupConfig { settings: settings.clone(), ..config(partition, start) };
        self.node(1).open_group(config(Start::Bootstrap(info(1)))).await.unwrap();
        for id in 2..=voters {
            self.node(id).open_group(config(Start::Join)).await.unwrap();
            self.add_learner(partition, 1, id).await.unwrap();
        }
        for id in 1..=voters {
            self.caught_up(partition, 1, id).await;
        }
        let voters = (1..=voters).collect::<Vec<_>>();
        self.set_voters(partition, 1, &voters).await.unwrap();
    }

    pub fn node(&self, id: u64) -> &Arc<RaftNode> {
        &self.nodes[usize::try_from(id - 1).unwrap()]
    }

    pub fn replica(&self, node: u64, partition: u64) -> Arc<dyn Partition> {
        self.node(node).partition(PartitionId(partition)).unwrap()
    }

    pub fn status(&self, node: u64, partition: u64) -> PartitionStatus {
        self.replica(node, partition).status()
    }

    pub async fn order(&self, at: u64, partition: u64, change: Change) -> Result<OrderReply, OrderError> {
        let generation = self.status(at, partition).settings.map_or(0, |settings| settings.generation);
        self.order_of(at, at, partition, generation, change).await
    }

    pub async fn order_of(
        &self,
        from: u64,
        to: u64,
        partition: u64,
        generation: u64,
        change: Change,
    ) -> Result<OrderReply, OrderError> {
        let partition = PartitionId(partition);
        let order = Order { partition, incarnation: Incarnation(1), generation, change };
        self.node(from).order(NodeId(to), order, WAIT).await
    }

    pub async fn add_learner(
        &self,
        partition: u64,
        leader: u64,
        node: u64,
    ) -> Result<OrderReply, OrderError> {
        let expected = self.status(leader, partition).membership;
        let change = Change::AddLearner { expected, node: NodeId(node), info: info(node) };
        self.order(leader, partition, change).await
    }

    pub async fn set_voters(
        &self,
        partition: u64,
        leader: u64,
        voters: &[u64],
    ) -> Result<OrderReply, OrderError> {
        let expected = self.status(leader, partition).membership;
        let voters: BTreeSet<NodeId> = voters.iter().copied().map(NodeId).collect();
        self.order(leader, partition, Change::SetVoters { expected, voters }).await
    }

    /// Waits until the leader knows that `node` has what it has.
    pub async fn caught_up(&self, partition: u64, leader: u64, node: u64) {
        until("caught up", || {
            let status = self.status(leader, partition);
            // A membership counts from when it is in the log, which may be before it is applied.
            let members_since = status.membership.map_or(0, |position| position.index);
            let enough = status.applied.max(members_since);
            status.members.iter().any(|m| m.node == NodeId(node) && m.matched >= Some(enough))
        })
        .await;
    }

    /// The node among `among` that leads, once there is one.
    pub async fn leader(&self, partition: u64, among: &[u64]) -> u64 {
        let leads = |id: &u64| self.replica(*id, partition).leadership().borrow().leads;
        until("a leader", || among.iter().any(leads)).await;
        *among.iter().find(|id| leads(id)).unwrap_or(&among[0])
    }
}

/// Polls, since not everything that tests look at can be waited for.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let reached = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(WAIT, reached).await.is_ok(), "never: {what}");
}
