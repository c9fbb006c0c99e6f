//! What nodes ask of each other above the groups. MessagePack after a format byte: members can be added,
//! and an older node ignores those that it does not know.

use std::time::Duration;

use domicile_raft::placement::GroupSettings;
use domicile_raft::{Incarnation, JoinPoint, LogPosition, NodeId, PartitionId, PartitionStatus, Timestamp};
use domicile_storage::codec::{self, CodecError};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

const FORMAT: u8 = 1;
/// The longest that a sender may have the answering node work.
const DEADLINE_MAX_MS: u64 = 60_000;

/// A question to a node.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// How the node and its replicas are.
    Report,
    /// A command or read of the domain, for the leader of a partition.
    Domain {
        /// Which partition.
        partition: PartitionId,
        /// How long its sender waits.
        deadline_ms: u64,
        /// Opaque here.
        #[serde(with = "serde_bytes")]
        body: Vec<u8>,
    },
    /// Open a replica without a vote, so that the leader can bring it in.
    OpenReplica(OpenReplica),
    /// Close a replica that the members no longer name.
    CloseReplica {
        /// Which partition.
        partition: PartitionId,
        /// Generation of the order.
        generation: u64,
        /// The membership that does not name the replica's node.
        #[serde(default)]
        membership: Option<LogPosition>,
    },
    /// Make a partition with this node as its only voter.
    FoundPartition {
        /// Which.
        partition: PartitionId,
        /// Its timers and placement.
        settings: GroupSettings,
    },
    /// The key of a partition that the asking node may hold.
    PartitionKey {
        /// Which partition.
        partition: PartitionId,
        /// Wraps the answer; used once.
        transfer_key: TransferKey,
    },
    /// What the clock shows.
    Time,
}

/// What a node needs to open a replica.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OpenReplica {
    /// Which partition.
    pub(crate) partition: PartitionId,
    /// Which life of it.
    pub(crate) incarnation: Incarnation,
    /// As the group has them now.
    pub(crate) settings: GroupSettings,
    /// Members that may give the partition's key, the leader first.
    pub(crate) members: Vec<NodeId>,
    /// Where the group stands; nodes of a version before do not say it.
    #[serde(default)]
    pub(crate) point: Option<JoinPoint>,
}

/// 32 random bytes that wrap a partition key on its way. Never printed.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(crate) struct TransferKey(#[serde(with = "serde_bytes")] pub(crate) Vec<u8>);

/// An answer.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// To [`Ask::Report`].
    Report(Box<NodeReport>),
    /// To [`Ask::Domain`]: opaque.
    Domain(#[serde(with = "serde_bytes")] Vec<u8>),
    /// It is done.
    Done,
    /// To [`Ask::PartitionKey`]: the key, wrapped by the transfer key.
    PartitionKey(#[serde(with = "serde_bytes")] Vec<u8>),
    /// This replica does not lead; nothing was done.
    NotLeader(Option<NodeId>),
    /// Nothing was done, and the same question will not go better.
    Refused(String),
    /// To [`Ask::Time`].
    Time {
        /// Milliseconds since the epoch.
        now: Timestamp,
    },
}

/// What a node tells of itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct NodeReport {
    /// Of its program.
    pub(crate) version: String,
    /// How often it started.
    pub(crate) boots: u64,
    /// Since this start, in s.
    pub(crate) uptime_s: u64,
    /// Of its data directory.
    pub(crate) data_bytes: u64,
    /// What keeps it from being ready.
    pub(crate) errors: Vec<String>,
    /// It is stopping: nothing new is for it.
    #[serde(default)]
    pub(crate) stopping: bool,
    /// It is to lead nothing: its clock is wrong, or not yet compared.
    #[serde(default)]
    pub(crate) leads_nothing: bool,
    /// Its replicas.
    pub(crate) partitions: Vec<PartitionStatus>,
}

impl Ask {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode_open(FORMAT, self)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode_open(codec::split_format(bytes, &[FORMAT])?.1)
    }
}

impl Reply {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode_open(FORMAT, self)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode_open(codec::split_format(bytes, &[FORMAT])?.1)
    }
}

/// A deadline as sent, and as taken from a message.
pub(crate) fn deadline_ms(deadline: Duration) -> u64 {
    u64::try_from(deadline.as_millis()).unwrap_or(DEADLINE_MAX_MS).min(DEADLINE_MAX_MS)
}

#[cfg(test)]
mod tests {
    use domicile_raft::TimerProfile;

    use super::*;

    #[test]
    fn questions_and_answers_survive_the_round_trip() {
        let settings = GroupSettings::anywhere(TimerProfile::Wide);
        let open = OpenReplica {
            partition: PartitionId(4),
            incarnation: Incarnation(1),
            settings: settings.clone(),
            members: vec![NodeId(2), NodeId(1)],
            point: Some(JoinPoint { term: 3, leader: NodeId(2), index: 7 }),
        };
        let asks = [
            Ask::Report,
            Ask::Domain { partition: PartitionId(0), deadline_ms: 5, body: vec![1, 2] },
            Ask::OpenReplica(open),
            Ask::CloseReplica {
                partition: PartitionId(4),
                generation: 3,
                membership: Some(LogPosition { term: 2, index: 9 }),
            },
            Ask::FoundPartition { partition: PartitionId(4), settings },
            Ask::PartitionKey { partition: PartitionId(4), transfer_key: TransferKey(vec![7; 32]) },
        ];
        for ask in asks {
            let bytes = ask.encode().unwrap();
            assert_eq!(Ask::decode(&bytes).unwrap().encode().unwrap(), bytes);
        }
        let report = NodeReport {
            version: "1".to_owned(),
            partitions: vec![PartitionStatus::new(PartitionId(0))],
            ..NodeReport::default()
        };
        let replies = [
            Reply::Report(Box::new(report)),
            Reply::Domain(vec![1]),
            Reply::Done,
            Reply::PartitionKey(vec![9; 80]),
            Reply::NotLeader(Some(NodeId(2))),
            Reply::Refused("no".to_owned()),
        ];
        for reply in replies {
            let bytes = reply.encode().unwrap();
            assert_eq!(Reply::decode(&bytes).unwrap().encode().unwrap(), bytes);
        }
    }

    #[test]
    fn another_format_or_any_bytes_are_refused() {
        let mut bytes = Ask::Report.encode().unwrap();
        bytes[0] = 2;
        assert!(Ask::decode(&bytes).is_err());
        for len in 0..64_u8 {
            let noise: Vec<u8> = (0..len).map(|at| at.wrapping_mul(37)).collect();
            let _ = (Ask::decode(&noise), Reply::decode(&noise));
        }
    }
}
