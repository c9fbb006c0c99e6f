//! The directory's own streams: the cluster's settings, its regions, nodes and partitions, and the
//! tokens to join it. Nothing here is about a person or a tenant.

mod bounds;
mod check;
mod join_token;
mod node;
mod partition;
mod region;
mod settings;

use crate::ids::{ClusterStreamId, Id, JoinTokenId, NodeStreamId, PartitionStreamId, RegionStreamId};
use domicile_raft::{NodeId, PartitionId};

pub use bounds::{broken_promise, is_within, normal_placement};
pub use check::{CERTIFICATE_BYTES_MAX, check_addresses, check_certificate, check_cluster_id, check_name};
pub use join_token::{
    JoinToken, JoinTokenCreated, JoinTokenEvent, JoinTokenRedeemed, JoinTokenRevoked, Joiner, Redemption,
    decide_redeem, decide_revoke_token,
};
pub use node::{
    ClusterNode, ClusterNodeEvent, NodeDutyChanged, NodeJoined, NodeUpdated, decide_duty, decide_node_update,
};
pub use partition::{
    ClusterPartition, ClusterPartitionEvent, PartitionFounderChosen, PartitionMembersChanged,
    PartitionPlacementChanged, PartitionReadied, PartitionRequested, decide_founder, decide_members,
    decide_placement, decide_ready,
};
pub use region::{
    Region, RegionAdded, RegionCertificateAdded, RegionCertificateRemoved, RegionEvent,
    RegionJurisdictionChanged, decide_certificate_add, decide_certificate_remove, decide_jurisdiction,
};
pub use settings::{
    Cluster, ClusterEvent, ClusterInitialised, ClusterSettingsChanged, SettingsPatch, decide_settings,
};

/// The one stream of settings.
#[must_use]
pub fn cluster_stream() -> ClusterStreamId {
    ClusterStreamId::from_bytes([0; 16])
}

/// The stream of a region.
#[must_use]
pub fn region_stream(name: &str) -> RegionStreamId {
    let hash = crate::commands::sha256(format!("domicile region v1\n{name}").as_bytes());
    RegionStreamId::from_bytes(first_half(&hash))
}

/// The stream of a node.
#[must_use]
pub fn node_stream(node: NodeId) -> NodeStreamId {
    NodeStreamId::from_bytes(u128::from(node.0).to_be_bytes())
}

/// The stream of a partition.
#[must_use]
pub fn partition_stream(partition: PartitionId) -> PartitionStreamId {
    PartitionStreamId::from_bytes(u128::from(partition.0).to_be_bytes())
}

/// The stream of a join token.
#[must_use]
pub fn join_token_stream(secret_sha256: &[u8; 32]) -> JoinTokenId {
    JoinTokenId::from_bytes(first_half(secret_sha256))
}

/// The number at the end of a node's or partition's stream id.
#[must_use]
pub fn number_of(id: impl Id) -> u64 {
    u64::try_from(u128::from_be_bytes(id.bytes())).unwrap_or(u64::MAX)
}

fn first_half(hash: &[u8; 32]) -> [u8; 16] {
    hash.first_chunk::<16>().copied().unwrap_or_default()
}

/// Implements `Aggregate` for a state that only knows its first format.
macro_rules! aggregate {
    ($state:ty, $kind:ident, $id:ty, $event:ty) => {
        impl crate::streams::Aggregate for $state {
            const KIND: crate::streams::StreamKind = crate::streams::StreamKind::$kind;
            const STATE_FORMAT: u8 = 1;
            type Id = $id;
            type Event = $event;

            fn evolve(state: Option<Self>, event: &Self::Event, meta: &crate::streams::EventMeta) -> Self {
                Self::evolve(state, event, meta.at)
            }

            fn decode_state(format: u8, body: &[u8]) -> Result<Self, domicile_storage::codec::CodecError> {
                crate::streams::decode_first_format(format, body)
            }
        }
    };
}

pub(super) use aggregate;
