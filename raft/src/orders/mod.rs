//! Orders to a group's leader: members, leadership, settings.
//!
//! An order carries the generation of the settings it was made from, and what changes members the place
//! of the membership it was made from. So two who order at once, or one who looked too long ago, change
//! nothing.

mod obey;

use std::collections::BTreeSet;
use std::time::Duration;

use domicile_storage::codec::{self, CodecError};
use serde::{Deserialize, Serialize};

use crate::placement::GroupSettings;
use crate::{Incarnation, LogPosition, NodeId, NodeInfo, PartitionId, PartitionStatus};

pub(crate) use obey::{hand_over, obey};

const FORMAT: u8 = 1;
/// The longest that a remote order may ask its leader to wait.
const DEADLINE_MAX: Duration = Duration::from_mins(1);
/// Entries that a voter may lack and still count as caught up.
pub const CAUGHT_UP_LAG_MAX: u64 = 1_000;

/// What a group's leader is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Which partition.
    pub partition: PartitionId,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Generation of the settings that the order was made from. One lower than the group's is refused.
    pub generation: u64,
    /// What to do.
    pub change: Change,
}

/// One small change of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Nothing: tell the leader's view of the group.
    Report,
    /// Adds a member without a vote. Nothing changes if it is one already.
    AddLearner {
        /// [`PartitionStatus::membership`] as last seen.
        expected: Option<LogPosition>,
        /// Which node; its replica is open with [`crate::Start::Join`].
        node: NodeId,
        /// Where it runs; its region must be allowed by the group's placement.
        info: NodeInfo,
    },
    /// Takes a member without a vote out.
    RemoveLearner {
        /// [`PartitionStatus::membership`] as last seen.
        expected: Option<LogPosition>,
        /// Which node.
        node: NodeId,
    },
    /// Makes these the voters. New ones must be caught up; old ones stay as learners.
    SetVoters {
        /// [`PartitionStatus::membership`] as last seen.
        expected: Option<LogPosition>,
        /// All of them.
        voters: BTreeSet<NodeId>,
    },
    /// Finishes a change of voters that was interrupted. Nothing changes if there is none.
    FinishJoint {
        /// [`PartitionStatus::membership`] as last seen.
        expected: Option<LogPosition>,
    },
    /// Has another voter lead; it must be caught up.
    TransferLeader {
        /// Which.
        to: NodeId,
    },
    /// Puts new settings in force; their generation must be higher than the group's.
    UpdateSettings {
        /// All of them.
        settings: GroupSettings,
    },
}

/// An order that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderReply {
    /// The group after it, as its leader saw it.
    pub status: PartitionStatus,
}

/// An order that was not carried out, or nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderError {
    /// Ask the leader.
    #[error("this replica does not lead")]
    NotLeader {
        /// The leader, where known.
        leader: Option<NodeId>,
    },
    /// The node asked has no running replica.
    #[error("no running replica of the partition there")]
    NoReplica,
    /// Of another life of the partition.
    #[error("the partition is in incarnation {}", .0.0)]
    Incarnation(Incarnation),
    /// Made from older settings.
    #[error("the group's settings are of generation {current}")]
    StaleGeneration {
        /// The group's.
        current: u64,
    },
    /// Made from an older membership.
    #[error("the membership moved")]
    StaleMembership {
        /// Where it stands now.
        current: Option<LogPosition>,
    },
    /// A change of members is under way.
    #[error("another change of members is under way")]
    InProgress,
    /// The placement does not allow it, or the members named are not what the change needs.
    #[error("refused: {0}")]
    Refused(String),
    /// The node named is no voter that is close enough to the leader's log.
    #[error("node {} is not caught up", .node.0)]
    NotCaughtUp {
        /// Which.
        node: NodeId,
        /// Entries it lacks, where known.
        lag_entries: Option<u64>,
    },
    /// The node could not be asked; nothing was done.
    #[error("not delivered: {0}")]
    Unreachable(String),
    /// It may have been done: look, and order again.
    #[error("outcome unknown: {0}")]
    Unknown(String),
}

#[derive(Serialize, Deserialize)]
struct Sent {
    order: Order,
    deadline_ms: u64,
}

pub(crate) fn encode(order: &Order, deadline: Duration) -> Result<Vec<u8>, CodecError> {
    let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
    codec::encode_open(FORMAT, &Sent { order: order.clone(), deadline_ms })
}

pub(crate) fn decode(bytes: &[u8]) -> Result<(Order, Duration), CodecError> {
    let (_, body) = codec::split_format(bytes, &[FORMAT])?;
    let Sent { order, deadline_ms } = codec::decode_open(body)?;
    Ok((order, Duration::from_millis(deadline_ms).min(DEADLINE_MAX)))
}

pub(crate) fn encode_outcome(outcome: &Result<OrderReply, OrderError>) -> Result<Vec<u8>, CodecError> {
    codec::encode_open(FORMAT, outcome)
}

pub(crate) fn decode_outcome(bytes: &[u8]) -> Result<Result<OrderReply, OrderError>, CodecError> {
    let (_, body) = codec::split_format(bytes, &[FORMAT])?;
    codec::decode_open(body)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::TimerProfile;

    #[test]
    fn orders_and_outcomes_survive_the_round_trip() {
        let expected = Some(LogPosition { term: 2, index: 9 });
        let info = NodeInfo { region: "eu".to_owned(), ..NodeInfo::default() };
        let changes = [
            Change::Report,
            Change::AddLearner { expected, node: NodeId(4), info },
            Change::RemoveLearner { expected: None, node: NodeId(4) },
            Change::SetVoters { expected, voters: [NodeId(1), NodeId(4)].into() },
            Change::FinishJoint { expected },
            Change::TransferLeader { to: NodeId(4) },
            Change::UpdateSettings { settings: GroupSettings::anywhere(TimerProfile::Wide) },
        ];
        for change in changes {
            let order =
                Order { partition: PartitionId(3), incarnation: Incarnation(1), generation: 7, change };
            let bytes = encode(&order, Duration::from_secs(2)).unwrap();
            assert_eq!(decode(&bytes).unwrap(), (order, Duration::from_secs(2)));
        }
        let reply = Ok(OrderReply { status: PartitionStatus::new(PartitionId(3)) });
        for outcome in [reply, Err(OrderError::StaleMembership { current: expected })] {
            assert_eq!(decode_outcome(&encode_outcome(&outcome).unwrap()).unwrap(), outcome);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode(&bytes);
            let _ = decode_outcome(&bytes);
        }
    }
}
