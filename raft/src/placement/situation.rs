//! What the planner looks at: nodes, and one partition's members.

use std::collections::{BTreeMap, BTreeSet};

use super::{GroupSettings, Placement};
use crate::NodeId;

/// Whether a node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Heard of lately.
    Alive,
    /// Silent, for less than `dead_after`: nothing is moved for it.
    Silent,
    /// Silent for longer: its replicas are made again elsewhere.
    Dead,
}

/// What operators want of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// It may hold replicas.
    Active,
    /// It gives its replicas away.
    Draining,
    /// It is gone for good; nothing asks it again.
    Decommissioned,
}

/// A node as the planner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanNode {
    /// Where it runs.
    pub region: String,
    /// Where in the region.
    pub zone: String,
    /// Whether it answers.
    pub liveness: Liveness,
    /// What operators want of it.
    pub duty: Duty,
    /// Replicas it holds, of all partitions; the emptier of two equals is chosen.
    pub replicas: usize,
}

impl PlanNode {
    /// Whether a new replica may be put here.
    pub(super) fn takes_replicas(&self) -> bool {
        self.liveness == Liveness::Alive && self.duty == Duty::Active
    }

    /// Whether a replica that is here should stay.
    pub(super) fn keeps_replicas(&self) -> bool {
        self.liveness != Liveness::Dead && self.duty == Duty::Active
    }

    /// Whether a replica that is here may stay without a vote where every node has one.
    pub(super) fn may_follow(&self) -> bool {
        self.liveness != Liveness::Dead && self.duty != Duty::Decommissioned
    }
}

/// Which nodes without a vote hold a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// As the placement says: one in each region without a voter, or none.
    AsPlaced,
    /// Every node: the directory.
    Everywhere,
}

/// One partition and the nodes it may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Situation {
    /// Every node that is known.
    pub nodes: BTreeMap<NodeId, PlanNode>,
    /// Where its replicas may be, what they survive.
    pub placement: Placement,
    /// Who reads besides the voters.
    pub readers: Readers,
    /// The last membership.
    pub members: Members,
}

/// A partition's last membership, as its leader tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Who leads.
    pub leader: Option<NodeId>,
    /// Voters; of both sides while a change is joint.
    pub voters: BTreeSet<NodeId>,
    /// Whether a change of voters was begun and not finished.
    pub joint: bool,
    /// Members without a vote.
    pub learners: BTreeSet<NodeId>,
    /// Members whose log is close to the leader's.
    pub caught_up: BTreeSet<NodeId>,
}

impl Situation {
    /// With the placement that the partition's own log holds.
    #[must_use]
    pub fn with_settings(mut self, settings: &GroupSettings) -> Self {
        self.placement = settings.placement.clone();
        self
    }

    pub(super) fn node(&self, id: NodeId) -> Option<&PlanNode> {
        self.nodes.get(&id)
    }

    /// Whether a node that drains gets a replica without a vote: where every node has one.
    pub(super) fn follows(&self, id: NodeId) -> bool {
        let drains = |node: &PlanNode| node.liveness == Liveness::Alive && node.may_follow();
        self.readers == Readers::Everywhere && self.node(id).is_some_and(drains)
    }

    /// Whether a node is known, answers, and may hold replicas of this partition.
    pub(super) fn takes(&self, id: NodeId) -> bool {
        self.node(id).is_some_and(|node| node.takes_replicas() && self.placement.allows(&node.region))
    }

    /// Whether a member should stay one.
    pub(super) fn keeps(&self, id: NodeId) -> bool {
        self.node(id).is_some_and(|node| node.keeps_replicas() && self.placement.allows(&node.region))
    }

    pub(super) fn alive(&self, id: NodeId) -> bool {
        self.node(id).is_some_and(|node| node.liveness == Liveness::Alive)
    }
}
