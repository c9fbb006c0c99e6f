//! Answers other nodes: checks who speaks and for whom, then hands over to the group.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use domicile_storage::codec::CodecError;
use futures::FutureExt as _;
use futures::future::{join_all, ready};
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::time::timeout;

use super::boots::SeenBoots;
use super::intake::InstallError;
use super::link::PeerLink;
use super::message::{self, Envelope, Kind};
use super::standing::Standings;
use super::transport::{Lane, PeerIdentity, PeerRefusal, PeerService, StreamReceiver};
use super::wire::{
    AppendAnswer, BatchAnswer, BatchBody, BatchRefusal, Beat, GroupKey, ReadIndexAnswer, TimersBody,
    TransferBody, VoteAnswer, VoteBody, WireVote,
};
use super::{append_wire, batch, snapshot_wire, wire};
use crate::group::Group;
use crate::orders::{self, Change, OrderError};
use crate::replicas::Replicas;
use crate::type_config::RaftVote;
use crate::{BoxFuture, NodeId, PartitionId, ReadError};

/// How long a batch may keep its sender waiting for its slowest group.
const BATCH_WAIT_MAX: Duration = Duration::from_secs(5);

/// With an almost full disk only short appends are taken: those that a change of leader needs.
const APPEND_BYTES_FULL_MAX: usize = 64 << 10;

type Answer = BoxFuture<'static, Result<Bytes, PeerRefusal>>;

/// Takes the messages that are opaque to this crate.
pub trait AppService: Send + Sync + 'static {
    /// Answers a message of [`crate::RaftNode::call`]. Called in order of arrival for each peer; the
    /// future is run beside others. Who sends is proved by its certificate.
    fn serve(&self, from: &PeerIdentity, message: Bytes) -> BoxFuture<'static, Result<Bytes, PeerRefusal>>;
}

/// One node's answers.
pub(crate) struct PeerServer {
    /// `None` on a node that is alone: it answers nobody.
    pub(crate) link: Option<Arc<PeerLink>>,
    pub(crate) replicas: Arc<Replicas>,
    /// In which start each node was seen.
    pub(crate) boots: Arc<SeenBoots>,
    pub(crate) standings: Arc<Standings>,
    pub(crate) app: Arc<Mutex<Option<Arc<dyn AppService>>>>,
    /// Whether replicas here stand for election.
    pub(crate) electable: Arc<AtomicBool>,
}

impl PeerServer {
    /// Checks what the envelope claims against the certificate and what is known here.
    fn open(&self, from: &PeerIdentity, message: Bytes) -> Result<(Envelope, Bytes), PeerRefusal> {
        let link = self.link.as_ref();
        let link = link.ok_or_else(|| PeerRefusal::Failed("this node has no peers".to_owned()))?;
        let (envelope, body) = Envelope::decode(message).map_err(|cause| wire::malformed(&cause))?;
        if envelope.from != from.node {
            let claim = format!("node {} speaks for node {}", from.node.0, envelope.from.0);
            return Err(PeerRefusal::Forbidden(claim));
        }
        if envelope.cluster != *link.cluster() {
            return Err(PeerRefusal::Stale(format!("this is cluster {}", link.cluster())));
        }
        if envelope.to != link.identity().id {
            let here = link.identity().id.0;
            return Err(PeerRefusal::Stale(format!("this is node {here}, not {}", envelope.to.0)));
        }
        if envelope.from == link.identity().id {
            return Err(PeerRefusal::Forbidden("another node with this node's id".to_owned()));
        }
        self.standings.check(from.node, envelope.kind)?;
        self.boots.check(from.node, envelope.boots)?;
        Ok((envelope, body))
    }

    /// The group, if it runs here and the sender may speak to it.
    fn group(&self, from: &PeerIdentity, key: GroupKey) -> Result<Arc<Group>, PeerRefusal> {
        let group = self.replicas.running(key.partition).ok_or(PeerRefusal::NoReplica)?;
        if group.incarnation != key.incarnation {
            let here = group.incarnation.0;
            return Err(PeerRefusal::Stale(format!("incarnation {here} here, not {}", key.incarnation.0)));
        }
        if !group.admits(from) {
            let claim = format!("the partition's placement does not allow region `{}`", from.region);
            return Err(PeerRefusal::Forbidden(claim));
        }
        Ok(group)
    }

    fn append(&self, from: &PeerIdentity, body: &[u8]) -> Result<Answer, PeerRefusal> {
        let (key, request) = append_wire::decode(body)?;
        leads(from, &request.vote)?;
        let group = self.group(from, key)?;
        group.hear(&request.vote);
        if body.len() > APPEND_BYTES_FULL_MAX
            && group.disk.as_ref().is_some_and(|disk| disk.is_full(body.len()))
        {
            return Err(PeerRefusal::Overloaded("the disk is almost full".to_owned()));
        }
        let answer = group.appends.push(&group.raft, from.node, request);
        Ok(answer.map(|answer| fixed(answer.as_ref())).boxed())
    }

    fn vote(&self, from: &PeerIdentity, body: &[u8], pre: bool) -> Result<Answer, PeerRefusal> {
        let body: VoteBody = wire::decode_from_peer(body)?;
        if body.vote.node != from.node.0 {
            return Err(PeerRefusal::Forbidden("a vote asked for another node".to_owned()));
        }
        let group = self.group(from, body.group)?;
        if !group.gate.is_open() {
            return Err(PeerRefusal::Overloaded(
                "this replica came back and lacks what is committed".to_owned(),
            ));
        }
        let raft = group.raft.clone();
        let request = body.into_raft();
        Ok(async move {
            let answer = if pre { raft.pre_vote(request).await } else { raft.vote(request).await };
            fixed(answer.map_err(failed).map(|answer| VoteAnswer::from_raft(&answer)).as_ref())
        }
        .boxed())
    }

    fn transfer(&self, from: &PeerIdentity, body: &[u8]) -> Result<Answer, PeerRefusal> {
        let body: TransferBody = wire::decode_from_peer(body)?;
        leads(from, &body.leader.into_raft())?;
        // Others are told as well, and must know; it is the heir that must not stand for election.
        let electable = self.electable.load(Ordering::Acquire);
        if !electable && self.link.as_ref().is_some_and(|link| link.identity().id.0 == body.to) {
            return Err(PeerRefusal::Overloaded("this node leads nothing for now".to_owned()));
        }
        let group = self.group(from, body.group)?;
        if !group.gate.is_open() {
            return Err(PeerRefusal::Overloaded(
                "this replica came back and lacks what is committed".to_owned(),
            ));
        }
        let raft = group.raft.clone();
        Ok(async move {
            let taken = raft.handle_transfer_leader(body.into_raft()).await.map_err(failed);
            fixed(taken.map(|taken| taken.is_ok()).as_ref())
        }
        .boxed())
    }

    fn heartbeats(&self, from: &PeerIdentity, body: &[u8]) -> Result<Answer, PeerRefusal> {
        let BatchBody { wait_ms, requests } = wire::decode_from_peer::<BatchBody<Beat>>(body)?;
        let beats = requests.into_iter().map(|beat| {
            let vote = beat.vote.into_raft();
            let group = leads(from, &vote).and_then(|()| self.group(from, beat.group)).map(|group| {
                group.hear(&vote);
                (group.raft.clone(), group.intake.clone())
            });
            async move {
                let ((raft, intake), mut sent) = (group?, beat.into_raft());
                // Who leads must be known beside a snapshot too; what is committed comes with the next.
                let entered = intake.try_enter();
                if entered.is_none() {
                    sent.leader_commit = None;
                }
                let answer = raft.append_entries(sent.clone()).await.map_err(failed)?;
                Ok(AppendAnswer::from_raft(&answer.into_stream_result(sent.prev_log_id, sent.prev_log_id)))
            }
        });
        Ok(batched(wait_ms, beats))
    }

    fn read_indexes(&self, from: &PeerIdentity, body: &[u8]) -> Result<Answer, PeerRefusal> {
        let BatchBody { wait_ms, requests } = wire::decode_from_peer::<BatchBody<GroupKey>>(body)?;
        let questions = requests.into_iter().map(|key| {
            let group = self.group(from, key);
            async move {
                Ok(match group?.lead_index().await {
                    Ok(index) => ReadIndexAnswer::Index(index),
                    Err(ReadError::NotLeader { leader }) => {
                        ReadIndexAnswer::NotLeader(leader.map(|leader| leader.0))
                    }
                    Err(ReadError::Timeout) => ReadIndexAnswer::NoQuorum,
                    Err(ReadError::Stopped) => {
                        return Err(PeerRefusal::Failed("the partition stopped".to_owned()));
                    }
                })
            }
        });
        Ok(batched(wait_ms, questions))
    }

    /// Orders come from the nodes that hold the directory, for there the wanted placements are. Anybody may
    /// look.
    fn order(&self, from: &PeerIdentity, body: &[u8]) -> Result<Answer, PeerRefusal> {
        let (order, deadline) = orders::decode(body).map_err(|cause| wire::malformed(&cause))?;
        if order.change != Change::Report && !self.votes_in_directory(from.node) {
            let claim = format!("node {} has no vote in the directory, so gives no orders", from.node.0);
            return Err(PeerRefusal::Forbidden(claim));
        }
        let group = self.replicas.running(order.partition);
        Ok(async move {
            let outcome = match group {
                Some(group) => orders::obey(&group, order, deadline).await,
                None => Err(OrderError::NoReplica),
            };
            orders::encode_outcome(&outcome).map(Bytes::from).map_err(|cause| unwritable(&cause))
        }
        .boxed())
    }

    /// As the directory's replica here has it; false where there is none.
    fn votes_in_directory(&self, node: NodeId) -> bool {
        self.replicas.running(PartitionId::DIRECTORY).is_some_and(|directory| {
            let metrics = directory.raft.server_metrics();
            let metrics = metrics.borrow_watched();
            metrics.membership_config.membership().voter_ids().any(|voter| voter == node.0)
        })
    }

    /// Whether the replica here runs with these timers and knows a leader.
    fn timers(&self, from: &PeerIdentity, body: &[u8]) -> Result<Answer, PeerRefusal> {
        let body: TimersBody = wire::decode_from_peer(body)?;
        let group = self.group(from, body.group)?;
        let runs = group.timers.election_max().as_millis() == u128::from(body.election_max_ms);
        let follows = group.raft.server_metrics().borrow_watched().current_leader.is_some();
        Ok(ready(fixed(Ok(&(runs && follows)))).boxed())
    }

    fn application(&self, from: &PeerIdentity, body: Bytes) -> Result<Answer, PeerRefusal> {
        let app = self.app.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let app = app.ok_or_else(|| PeerRefusal::Overloaded("still starting".to_owned()))?;
        Ok(app.serve(from, body))
    }

    fn dispatch(&self, from: &PeerIdentity, message: Bytes) -> Result<Answer, PeerRefusal> {
        let (envelope, body) = self.open(from, message)?;
        match envelope.kind {
            Kind::Append => self.append(from, &body),
            Kind::Vote => self.vote(from, &body, false),
            Kind::PreVote => self.vote(from, &body, true),
            Kind::TransferLeader => self.transfer(from, &body),
            Kind::Heartbeats => self.heartbeats(from, &body),
            Kind::ReadIndexes => self.read_indexes(from, &body),
            Kind::Order => self.order(from, &body),
            Kind::Timers => self.timers(from, &body),
            Kind::Application => self.application(from, body),
            Kind::Snapshot => Err(PeerRefusal::Malformed("a snapshot is a stream".to_owned())),
        }
    }

    fn snapshot(
        &self,
        from: &PeerIdentity,
        header: Bytes,
        chunks: Box<dyn StreamReceiver>,
    ) -> Result<Answer, PeerRefusal> {
        let (envelope, body) = self.open(from, header)?;
        if envelope.kind != Kind::Snapshot {
            return Err(PeerRefusal::Malformed("a stream that is no snapshot".to_owned()));
        }
        let body: snapshot_wire::SnapshotBody = wire::decode_from_peer(&body)?;
        leads(from, &body.vote.into_raft())?;
        let group = self.group(from, body.group)?;
        group.hear(&body.vote.into_raft());
        let (raft, snapshots) = (group.raft.clone(), Arc::clone(&group.snapshots));
        let intake = group.intake.clone();
        Ok(async move {
            let vote = body.vote.into_raft();
            let taken = snapshots.receive(chunks, vote.leader_id.term).await;
            let snapshot = taken.map_err(|cause| snapshot_wire::refusal(&cause))?;
            let installed = intake.install(&raft, vote, snapshot).await.map_err(|cause| match cause {
                InstallError::Busy => PeerRefusal::Overloaded(cause.to_string()),
                InstallError::Stopped(reason) => PeerRefusal::Failed(reason),
            });
            fixed(installed.map(|vote| WireVote::from_raft(&vote)).as_ref())
        }
        .boxed())
    }
}

impl PeerServer {
    /// Answers say in which start they were given.
    fn signed(&self, answer: Result<Answer, PeerRefusal>) -> Answer {
        let boots = self.link.as_ref().map_or(0, |link| link.identity().boots);
        match answer {
            Ok(answer) => answer.map(move |said| Ok(message::encode_answer(boots, &said?))).boxed(),
            Err(refusal) => ready(Err(refusal)).boxed(),
        }
    }
}

impl PeerService for PeerServer {
    fn serve(&self, from: &PeerIdentity, _lane: Lane, message: Bytes) -> Answer {
        self.signed(self.dispatch(from, message))
    }

    fn serve_stream(&self, from: &PeerIdentity, header: Bytes, chunks: Box<dyn StreamReceiver>) -> Answer {
        self.signed(self.snapshot(from, header, chunks))
    }
}

/// Only the leader that a vote names may act on it, once a quorum voted for it.
fn leads(from: &PeerIdentity, vote: &RaftVote) -> Result<(), PeerRefusal> {
    if !vote.committed {
        return Err(PeerRefusal::Malformed("a candidate acts as leader".to_owned()));
    }
    if vote.leader_id.voted_for == from.node.0 {
        return Ok(());
    }
    let claim = format!("node {} acts for leader {}", from.node.0, vote.leader_id.voted_for);
    Err(PeerRefusal::Forbidden(claim))
}

fn batched<A>(
    wait_ms: u64,
    answers: impl Iterator<Item = impl Future<Output = Result<A, PeerRefusal>> + Send + 'static>,
) -> Answer
where
    A: bincode::Encode + Send + 'static,
{
    let wait = Duration::from_millis(wait_ms).min(BATCH_WAIT_MAX);
    let answers: Vec<_> = answers
        .take(batch::BATCH_MAX)
        .map(|answer| {
            timeout(wait, answer).map(|answer| match answer {
                Ok(answer) => answer.map_err(BatchRefusal::Refused),
                Err(_) => Err(BatchRefusal::Late),
            })
        })
        .collect();
    async move { fixed(Ok::<_, &PeerRefusal>(&BatchAnswer { answers: join_all(answers).await })) }.boxed()
}

fn fixed<T: bincode::Encode>(answer: Result<&T, &PeerRefusal>) -> Result<Bytes, PeerRefusal> {
    let answer = answer.map_err(Clone::clone)?;
    wire::encode(answer).map(Bytes::from).map_err(|cause| unwritable(&cause))
}

fn unwritable(cause: &CodecError) -> PeerRefusal {
    PeerRefusal::Failed(cause.to_string())
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn failed(cause: impl std::fmt::Display) -> PeerRefusal {
    PeerRefusal::Failed(cause.to_string())
}
