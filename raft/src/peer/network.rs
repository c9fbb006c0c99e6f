//! openraft's network over peers: appends pipelined, heartbeats of all groups together.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{Backoff, RPCOption, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::{SnapshotOf, VoteOf};

use super::acknowledged::Acknowledged;
use super::append_stream;
use super::link::PeerLink;
use super::message::Kind;
use super::snapshot_wire;
use super::transport::PeerError;
use super::wire::{AppendAnswer, Beat, GroupKey, TransferBody, VoteAnswer, VoteBody};
use crate::NodeId;
use crate::snapshot::StateSnapshot;
use crate::type_config::{LogId, NodeInfo, TypeConfig};

/// Connects one group to its members.
pub(crate) struct PeerNetworks {
    pub(crate) link: Arc<PeerLink>,
    pub(crate) group: GroupKey,
    /// How long an append may stay without an answer. Not the heartbeat: a sync may take longer.
    pub(crate) append_deadline: Duration,
    pub(crate) acknowledged: Arc<Acknowledged>,
}

impl PeerNetworks {
    fn to(&self, target: u64, info: &NodeInfo, role: Role) -> PeerNetwork {
        PeerNetwork {
            link: Arc::clone(&self.link),
            group: self.group,
            target: NodeId(target),
            append_deadline: self.append_deadline,
            role,
            region: info.region.clone(),
            committed: Arc::clone(&self.acknowledged),
            acknowledged: None,
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for PeerNetworks {
    type Network = PeerNetwork;

    async fn new_client(&mut self, target: u64, info: &NodeInfo) -> PeerNetwork {
        self.to(target, info, Role::Replication)
    }

    async fn new_heartbeat_client(&mut self, target: u64, info: &NodeInfo) -> PeerNetwork {
        self.to(target, info, Role::Heartbeat)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Replication,
    Heartbeat,
}

/// What an answer is held against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) term: u64,
    pub(super) previous: Option<LogId>,
    /// The last entry sent, or the one before where none was.
    pub(super) last: Option<LogId>,
    pub(super) committed: Option<LogId>,
}

impl Sent {
    pub(super) fn of(request: &AppendEntriesRequest<TypeConfig>) -> Self {
        Self {
            term: request.vote.leader_id.term,
            previous: request.prev_log_id,
            last: request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id),
            committed: request.leader_commit,
        }
    }
}

/// One group's way to one member.
pub(crate) struct PeerNetwork {
    pub(super) link: Arc<PeerLink>,
    pub(super) group: GroupKey,
    pub(super) target: NodeId,
    pub(super) append_deadline: Duration,
    role: Role,
    /// Where the membership says that the member runs.
    region: String,
    /// What members acknowledged of what is committed, in any term.
    committed: Arc<Acknowledged>,
    /// The last entry that the member acknowledged, and in which term this node led then.
    acknowledged: Option<(u64, LogId)>,
}

impl PeerNetwork {
    /// What a failed call is to openraft. Only a member that took the message but did not answer is
    /// tried again at once.
    pub(super) fn error(
        &self,
        cause: &PeerError,
        action: RPCTypes,
        timeout: Duration,
    ) -> RPCError<TypeConfig> {
        match cause {
            PeerError::Timeout(_) => {
                let (id, target) = (self.link.identity().id.0, self.target.0);
                RPCError::Timeout(Timeout { action, id, target, timeout })
            }
            PeerError::Unreachable { .. }
            | PeerError::Lost { .. }
            | PeerError::QueueFull(_)
            | PeerError::Refused { .. } => RPCError::Unreachable(Unreachable::from_string(cause)),
        }
    }

    /// Refuses to speak to a member whose log went back, or that proves to be in another region than
    /// the one that it was admitted for.
    pub(super) fn ensure_trusted(&self) -> Result<(), RPCError<TypeConfig>> {
        if self.link.went_back(self.group, self.target) {
            let reason = format!("node {}: its log lost what it had acknowledged", self.target.0);
            return Err(RPCError::Unreachable(Unreachable::from_string(reason)));
        }
        let proved = self.link.region_of(self.target);
        if let Some(proved) = proved.filter(|proved| !self.region.is_empty() && *proved != self.region) {
            let (node, admitted) = (self.target.0, &self.region);
            let reason = format!("node {node} is a member for region `{admitted}` but runs in `{proved}`");
            return Err(RPCError::Unreachable(Unreachable::from_string(reason)));
        }
        Ok(())
    }

    /// What an answer is to openraft, unless it shows that the member's log went back.
    ///
    /// openraft takes it for granted that this never happens, and fails as leader when it does.
    pub(super) fn judge(
        &mut self,
        sent: &Sent,
        answer: AppendAnswer,
    ) -> Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>> {
        let result = answer.into_raft(sent.previous);
        let acknowledged = self.acknowledged.filter(|(term, _)| *term == sent.term).map(|(_, id)| id);
        match answer {
            AppendAnswer::Matched(Some(matched)) => {
                let matched = matched.into_raft();
                if Some(matched) > sent.last {
                    let reason = format!("node {} acknowledges more than it was sent", self.target.0);
                    return Err(RPCError::Unreachable(Unreachable::from_string(reason)));
                }
                if Some(matched) > acknowledged {
                    self.acknowledged = Some((sent.term, matched));
                }
                self.committed.note(self.target, matched, sent.committed);
            }
            AppendAnswer::Conflict => {
                // A heartbeat names what the member acknowledged, so it never conflicts. What is committed
                // stays in every log, whoever led when it was acknowledged.
                let had = acknowledged.max(self.committed.of(self.target));
                let regressed = self.role == Role::Heartbeat || had >= sent.previous;
                if regressed && sent.previous.is_some() {
                    self.link.note_went_back(self.group, self.target);
                    self.ensure_trusted()?;
                }
            }
            AppendAnswer::Matched(None) | AppendAnswer::HigherVote(_) => {}
        }
        Ok(result)
    }

    async fn beat(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        ttl: Duration,
    ) -> Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>> {
        self.ensure_trusted()?;
        let beat = Beat::from_raft(self.group, &request);
        let answer = self.link.heartbeat(self.target, beat, ttl).await;
        let answer = answer.map_err(|cause| self.error(&cause, RPCTypes::AppendEntries, ttl))?;
        self.judge(&Sent::of(&request), answer)
    }

    async fn ask_for_vote(
        &self,
        kind: Kind,
        request: &VoteRequest<TypeConfig>,
        ttl: Duration,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        // Who lost what it acknowledged could help one win who never had it.
        self.ensure_trusted()?;
        let body = VoteBody::from_raft(self.group, request);
        let answer: VoteAnswer = self
            .link
            .ask(self.target, kind, &body, ttl)
            .await
            .map_err(|cause| self.error(&cause, RPCTypes::Vote, ttl))?;
        Ok(answer.into_raft())
    }
}

impl RaftNetworkV2<TypeConfig> for PeerNetwork {
    type SnapshotData = StateSnapshot;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let result = append_stream::one(self, request).await?;
        Ok(AppendEntriesResponse::from(result))
    }

    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<
            BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>>,
            RPCError<TypeConfig>,
        >,
    >
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        use futures::StreamExt as _;
        Box::pin(async move {
            let answers: BoxStream<'s, _> = match self.role {
                Role::Replication => Box::pin(append_stream::pipelined(self, input)),
                Role::Heartbeat => {
                    let ttl = option.hard_ttl();
                    Box::pin(futures::stream::once(async move {
                        match input.next().await {
                            Some(request) => self.beat(request, ttl).await,
                            None => Err(RPCError::Unreachable(Unreachable::from_string("no heartbeat"))),
                        }
                    }))
                }
            };
            Ok(answers)
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_for_vote(Kind::Vote, &request, option.hard_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_for_vote(Kind::PreVote, &request, option.hard_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<TypeConfig>,
        snapshot: SnapshotOf<TypeConfig, StateSnapshot>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        self.ensure_trusted()?;
        let sending = snapshot_wire::send(&self.link, self.target, self.group, vote, snapshot);
        let sent = tokio::select! {
            closed = cancel => return Err(StreamingError::Closed(closed)),
            sent = sending => sent,
        };
        let ttl = option.soft_ttl();
        sent.map_err(|cause| self.error(&cause, RPCTypes::InstallSnapshot, ttl).into())
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let ttl = option.hard_ttl();
        let body = TransferBody::from_raft(self.group, &request);
        let taken: bool = self
            .link
            .ask(self.target, Kind::TransferLeader, &body, ttl)
            .await
            .map_err(|cause| self.error(&cause, RPCTypes::TransferLeader, ttl))?;
        // openraft only logs why it was not taken.
        if !taken {
            tracing::info!(partition = self.group.partition.0, node = self.target.0, "transfer not taken");
        }
        Ok(Ok(()))
    }

    fn backoff(&self) -> Option<Backoff> {
        // A member that comes back is served again within this.
        let delays = [50, 100, 200].into_iter().chain(std::iter::repeat(400));
        Some(Backoff::new(delays.map(Duration::from_millis)))
    }
}
