//! The way to other replicas. A node that is alone has none: every peer is unreachable.

mod acknowledged;
mod append_session;
mod append_stream;
mod append_wire;
mod batch;
mod boots;
mod cluster_id;
mod intake;
mod leader_contact;
pub(crate) mod link;
pub(crate) mod message;
mod network;
mod service;
mod snapshot_wire;
mod standing;
pub mod tls;
pub(crate) mod transport;
pub(crate) mod wire;

use std::future::Future;

use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::{SnapshotOf, VoteOf};

use crate::snapshot::StateSnapshot;
use crate::type_config::{NodeInfo, TypeConfig};

pub(crate) use acknowledged::Acknowledged;
pub(crate) use append_session::AppendSessions;
pub(crate) use boots::{SeenBoots, start_number};
pub use cluster_id::{ClusterId, InvalidClusterId};
pub(crate) use intake::Intake;
pub(crate) use network::PeerNetworks;
pub use service::AppService;
pub(crate) use service::PeerServer;
pub use standing::{PeerPolicy, PeerStanding};
pub use transport::{
    CHUNK_BYTES_MAX, Lane, MESSAGE_BYTES_MAX, PeerError, PeerIdentity, PeerRefusal, PeerService,
    PeerTransport, StreamReceiver, StreamSender,
};

/// Makes connections to nobody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoPeers;

impl RaftNetworkFactory<TypeConfig> for NoPeers {
    type Network = UnreachablePeer;

    async fn new_client(&mut self, target: u64, _node: &NodeInfo) -> UnreachablePeer {
        UnreachablePeer { target }
    }
}

/// A peer that no message reaches. Pre-votes fail too: an answer that is made up would count as a grant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnreachablePeer {
    target: u64,
}

impl UnreachablePeer {
    fn unreachable(self) -> Unreachable<TypeConfig> {
        Unreachable::from_string(format!("no transport to node {}", self.target))
    }
}

impl RaftNetworkV2<TypeConfig> for UnreachablePeer {
    type SnapshotData = StateSnapshot;

    async fn append_entries(
        &mut self,
        _rpc: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(self.unreachable().into())
    }

    async fn vote(
        &mut self,
        _rpc: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(self.unreachable().into())
    }

    async fn pre_vote(
        &mut self,
        _rpc: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(self.unreachable().into())
    }

    async fn full_snapshot(
        &mut self,
        _vote: VoteOf<TypeConfig>,
        _snapshot: SnapshotOf<TypeConfig, StateSnapshot>,
        _cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        Err(self.unreachable().into())
    }
}
