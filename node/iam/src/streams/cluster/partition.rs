//! A partition as the directory knows it: what is wanted, and hints of what there is.

use domicile_raft::placement::{Placement, Regions, SurvivalGoal};
use domicile_raft::{Incarnation, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use super::aggregate;
use crate::commands::ClusterRefusal;
use crate::ids::PartitionStreamId;
use crate::model::{MemberHints, PartitionState};
use crate::streams::event_set::{Change, Payload, event_set};

event_set! {
    /// Events of a partition.
    ClusterPartitionEvent {
        /// The controller makes it from here on.
        Requested(PartitionRequested) => "partition.requested", 1;
        /// It has a leader and takes tenants.
        Readied(PartitionReadied) => "partition.ready", 1;
        /// Other members, as the controller saw them.
        MembersChanged(PartitionMembersChanged) => "partition.members.changed", 1;
        /// Another placement is wanted.
        PlacementChanged(PartitionPlacementChanged) => "partition.placement.changed", 1;
        /// The one node that may found it.
        FounderChosen(PartitionFounderChosen) => "partition.founder.chosen", 1;
    }
}

/// `partition.requested`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionRequested {
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Where its replicas may be.
    pub placement: Placement,
    /// Of the placement.
    pub generation: u64,
}

impl Payload for PartitionRequested {}

/// `partition.ready`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionReadied {
    /// Its members then.
    pub members: MemberHints,
}

impl Payload for PartitionReadied {}

/// `partition.members.changed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionMembersChanged {
    /// Hints.
    pub members: Change<MemberHints>,
}

impl Payload for PartitionMembersChanged {}

/// `partition.placement.changed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionPlacementChanged {
    /// What is wanted.
    pub placement: Change<Placement>,
    /// Higher by one.
    pub generation: u64,
}

impl Payload for PartitionPlacementChanged {}

/// `partition.founder.chosen`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionFounderChosen {
    /// Which node.
    pub node: NodeId,
}

impl Payload for PartitionFounderChosen {}

/// A partition as its events made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterPartition {
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Where its replicas may be.
    pub placement: Placement,
    /// Raised with each change of the placement.
    pub generation: u64,
    /// How far its making came.
    pub state: PartitionState,
    /// Hints.
    #[serde(default)]
    pub members: MemberHints,
    /// The one node that may found it; never another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub founder: Option<NodeId>,
    /// When it was asked for.
    pub created_at: Timestamp,
}

impl ClusterPartition {
    pub(crate) fn evolve(state: Option<Self>, event: &ClusterPartitionEvent, at: Timestamp) -> Self {
        let mut partition = state.unwrap_or_else(|| Self {
            incarnation: Incarnation(1),
            placement: Placement {
                regions: Regions::Any,
                survive: SurvivalGoal::Zone,
                preferred_leader_regions: Vec::new(),
                read_replicas: false,
            },
            generation: 0,
            state: PartitionState::Wanted,
            members: MemberHints::default(),
            founder: None,
            created_at: at,
        });
        match event {
            ClusterPartitionEvent::Requested(requested) => {
                partition.incarnation = requested.incarnation;
                partition.placement = requested.placement.clone();
                partition.generation = requested.generation;
            }
            ClusterPartitionEvent::Readied(readied) => {
                partition.state = PartitionState::Ready;
                partition.members = readied.members.clone();
            }
            ClusterPartitionEvent::MembersChanged(changed) => {
                partition.members = changed.members.after.clone();
            }
            ClusterPartitionEvent::PlacementChanged(changed) => {
                partition.placement = changed.placement.after.clone();
                partition.generation = changed.generation;
            }
            ClusterPartitionEvent::FounderChosen(chosen) => partition.founder = Some(chosen.node),
        }
        partition
    }
}

aggregate!(ClusterPartition, ClusterPartition, PartitionStreamId, ClusterPartitionEvent);

/// Whether `generation`, which the caller saw, is the current one.
fn fence(partition: &ClusterPartition, generation: u64) -> Result<(), ClusterRefusal> {
    if partition.generation == generation {
        Ok(())
    } else {
        Err(ClusterRefusal::StaleGeneration { current: partition.generation })
    }
}

/// It takes tenants; `None` if it does already.
///
/// # Errors
/// [`ClusterRefusal::StaleGeneration`].
pub fn decide_ready(
    partition: &ClusterPartition,
    generation: u64,
    members: &MemberHints,
) -> Result<Option<ClusterPartitionEvent>, ClusterRefusal> {
    fence(partition, generation)?;
    let readied = PartitionReadied { members: members.clone() };
    let wanted = partition.state == PartitionState::Wanted;
    Ok(wanted.then_some(ClusterPartitionEvent::Readied(readied)))
}

/// The node that founds a partition, and the event if it is chosen now. Once chosen it stays: two founders
/// would make two groups of one name.
#[must_use]
pub fn decide_founder(partition: &ClusterPartition, node: NodeId) -> (NodeId, Option<ClusterPartitionEvent>) {
    match partition.founder {
        Some(founder) => (founder, None),
        None => (node, Some(ClusterPartitionEvent::FounderChosen(PartitionFounderChosen { node }))),
    }
}

/// Other members were seen; `None` if they are known.
///
/// # Errors
/// [`ClusterRefusal::StaleGeneration`].
pub fn decide_members(
    partition: &ClusterPartition,
    generation: u64,
    members: &MemberHints,
) -> Result<Option<ClusterPartitionEvent>, ClusterRefusal> {
    fence(partition, generation)?;
    let change = Change::between(partition.members.clone(), members.clone());
    Ok(change.map(|members| ClusterPartitionEvent::MembersChanged(PartitionMembersChanged { members })))
}

/// Another placement is wanted; `None` if it is wanted already.
///
/// # Errors
/// [`ClusterRefusal::StaleGeneration`].
pub fn decide_placement(
    partition: &ClusterPartition,
    generation: u64,
    placement: &Placement,
) -> Result<Option<ClusterPartitionEvent>, ClusterRefusal> {
    if partition.placement == *placement {
        return Ok(None);
    }
    fence(partition, generation)?;
    let change = Change::between(partition.placement.clone(), placement.clone());
    let generation = partition.generation.saturating_add(1);
    Ok(change.map(|placement| {
        ClusterPartitionEvent::PlacementChanged(PartitionPlacementChanged { placement, generation })
    }))
}
