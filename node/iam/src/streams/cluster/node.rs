//! A node of the cluster.

use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};

use super::{aggregate, check_addresses};
use crate::commands::ClusterRefusal;
use crate::ids::NodeStreamId;
use crate::model::{NodeAddresses, NodeState};
use crate::streams::event_set::{Change, Payload, event_set};

event_set! {
    /// Events of a node.
    ClusterNodeEvent {
        /// It has its id from here on.
        Joined(NodeJoined) => "node.joined", 1;
        /// It started elsewhere, or with another version.
        Updated(NodeUpdated) => "node.updated", 1;
        /// An operator wants something else of it.
        DutyChanged(NodeDutyChanged) => "node.duty.changed", 1;
    }
}

/// `node.joined`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeJoined {
    /// Where it runs.
    pub region: String,
    /// Where in the region.
    pub zone: String,
    /// Where it is reached.
    pub addresses: NodeAddresses,
    /// Version of its program.
    pub version: String,
}

impl Payload for NodeJoined {}

/// `node.updated`: only what changed is present.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeUpdated {
    /// Where it is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Change<NodeAddresses>>,
    /// Version of its program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Change<String>>,
    /// How often it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_counter: Option<Change<u64>>,
}

impl Payload for NodeUpdated {}

/// `node.duty.changed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDutyChanged {
    /// What is wanted of it.
    pub state: Change<NodeState>,
}

impl Payload for NodeDutyChanged {}

/// A node as its events made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterNode {
    /// Where it runs.
    pub region: String,
    /// Where in the region.
    pub zone: String,
    /// Where it is reached.
    pub addresses: NodeAddresses,
    /// Version of its program.
    pub version: String,
    /// How often it was started, as it said last.
    pub boot_counter: u64,
    /// What operators want of it.
    pub state: NodeState,
    /// When it joined.
    pub joined_at: Timestamp,
}

impl ClusterNode {
    pub(crate) fn evolve(state: Option<Self>, event: &ClusterNodeEvent, at: Timestamp) -> Self {
        let mut node = state.unwrap_or_else(|| Self {
            region: String::new(),
            zone: String::new(),
            addresses: NodeAddresses::default(),
            version: String::new(),
            boot_counter: 0,
            state: NodeState::Active,
            joined_at: at,
        });
        match event {
            ClusterNodeEvent::Joined(joined) => {
                node.region.clone_from(&joined.region);
                node.zone.clone_from(&joined.zone);
                node.addresses = joined.addresses.clone();
                node.version.clone_from(&joined.version);
            }
            ClusterNodeEvent::Updated(updated) => {
                if let Some(change) = &updated.addresses {
                    node.addresses = change.after.clone();
                }
                if let Some(change) = &updated.version {
                    node.version.clone_from(&change.after);
                }
                if let Some(change) = &updated.boot_counter {
                    node.boot_counter = change.after;
                }
            }
            ClusterNodeEvent::DutyChanged(changed) => node.state = changed.state.after,
        }
        node
    }
}

aggregate!(ClusterNode, ClusterNode, NodeStreamId, ClusterNodeEvent);

/// What a node says of itself at its start; `None` if nothing differs. A lower boot counter than known
/// is of a start that came before.
///
/// # Errors
/// [`ClusterRefusal::NodeGone`] and [`ClusterRefusal::Invalid`].
pub fn decide_node_update(
    node: &ClusterNode,
    addresses: &NodeAddresses,
    version: &str,
    boot_counter: u64,
) -> Result<Option<ClusterNodeEvent>, ClusterRefusal> {
    if node.state == NodeState::Decommissioned {
        return Err(ClusterRefusal::NodeGone);
    }
    check_addresses(addresses)?;
    if boot_counter < node.boot_counter {
        return Err(ClusterRefusal::OldBoot { known: node.boot_counter });
    }
    let version: String = version.chars().take(100).collect();
    let updated = NodeUpdated {
        addresses: Change::between(node.addresses.clone(), addresses.clone()),
        version: Change::between(node.version.clone(), version),
        boot_counter: Change::between(node.boot_counter, boot_counter),
    };
    Ok((updated != NodeUpdated::default()).then_some(ClusterNodeEvent::Updated(updated)))
}

/// What an operator wants of a node; `None` if that is so already. Decommissioned is for good.
///
/// # Errors
/// [`ClusterRefusal::NodeGone`].
pub fn decide_duty(
    node: &ClusterNode,
    wanted: NodeState,
) -> Result<Option<ClusterNodeEvent>, ClusterRefusal> {
    if node.state == NodeState::Decommissioned && wanted != NodeState::Decommissioned {
        return Err(ClusterRefusal::NodeGone);
    }
    let change = Change::between(node.state, wanted);
    Ok(change.map(|state| ClusterNodeEvent::DutyChanged(NodeDutyChanged { state })))
}
