//! This node's side of every conversation: wraps bodies in envelopes and hands them to the transport.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use tokio::sync::{broadcast, watch};

use super::batch::{Batchers, Heartbeats, ReadIndexes};
use super::boots::SeenBoots;
use super::message::{self, Envelope, Kind};
use super::transport::{Lane, PeerError, PeerRefusal, PeerTransport, StreamSender};
use super::wire::{Beat, GroupKey, ReadIndexAnswer};
use super::{ClusterId, wire};
use crate::data_dir::NodeIdentity;
use crate::{BoxFuture, NodeId};

impl Kind {
    /// Which queue it takes.
    fn lane(self) -> Lane {
        match self {
            Self::Vote
            | Self::PreVote
            | Self::TransferLeader
            | Self::Heartbeats
            | Self::ReadIndexes
            | Self::Timers => Lane::Control,
            Self::Append | Self::Order | Self::Application | Self::Snapshot => Lane::Data,
        }
    }
}

/// Sends this node's messages.
pub(crate) struct PeerLink {
    transport: Arc<dyn PeerTransport>,
    cluster: ClusterId,
    identity: NodeIdentity,
    heartbeats: Batchers<Heartbeats>,
    read_indexes: Batchers<ReadIndexes>,
    /// True while heartbeats are gathered, to go together.
    gathering: watch::Sender<bool>,
    /// Members that lost what they had acknowledged; they get nothing more.
    went_back: Mutex<BTreeSet<(GroupKey, NodeId)>>,
    /// In which start each peer was seen.
    boots: Arc<SeenBoots>,
    /// What another node said, if it said that this one is not to take part any more.
    banished: Arc<OnceLock<PeerRefusal>>,
    /// How many groups have appends under way to each peer.
    appending: Mutex<BTreeMap<NodeId, Arc<AtomicUsize>>>,
}

impl PeerLink {
    pub(crate) fn new(
        transport: Arc<dyn PeerTransport>,
        cluster: ClusterId,
        identity: NodeIdentity,
        boots: Arc<SeenBoots>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|link| Self {
            transport,
            cluster,
            identity,
            heartbeats: Batchers::new(link.clone()),
            read_indexes: Batchers::new(link.clone()),
            gathering: watch::Sender::new(false),
            went_back: Mutex::default(),
            boots,
            banished: Arc::default(),
            appending: Mutex::default(),
        })
    }

    pub(crate) fn identity(&self) -> NodeIdentity {
        self.identity
    }

    pub(crate) fn cluster(&self) -> &ClusterId {
        &self.cluster
    }

    /// The start of a message; its body goes after it.
    pub(crate) fn envelope(&self, to: NodeId, kind: Kind, body_len: usize) -> Vec<u8> {
        let envelope = Envelope {
            kind,
            from: self.identity.id,
            to,
            boots: self.identity.boots,
            cluster: self.cluster.clone(),
        };
        envelope.encode(body_len)
    }

    /// Sends what [`PeerLink::envelope`] began. Messages of one lane arrive in the order of these calls.
    pub(crate) fn send(
        &self,
        to: NodeId,
        kind: Kind,
        message: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        let answer = self.transport.call(to, kind.lane(), Bytes::from(message), deadline);
        let (boots, banished) = (Arc::clone(&self.boots), Arc::clone(&self.banished));
        answer
            .map(move |answer| {
                note_banished(&banished, &answer);
                opened(&boots, to, answer?)
            })
            .boxed()
    }

    /// Why this node is to take part no more, once another node said so.
    pub(crate) fn banished(&self) -> Option<&PeerRefusal> {
        self.banished.get()
    }

    /// What an answer says, once its giver proved to be in no earlier start than was seen of it.
    pub(crate) fn open_answer(&self, from: NodeId, answer: Bytes) -> Result<Bytes, PeerError> {
        opened(&self.boots, from, answer)
    }

    /// The region that a peer's certificate must name, where the transport can tell.
    pub(crate) fn region_of(&self, node: NodeId) -> Option<String> {
        self.transport.region_of(node)
    }

    /// See [`PeerTransport::ended_connections`].
    pub(crate) fn ended_connections(&self) -> Option<broadcast::Receiver<NodeId>> {
        self.transport.ended_connections()
    }

    /// See [`PeerTransport::listens`].
    pub(crate) fn listens(&self, node: NodeId, deadline: Duration) -> BoxFuture<'static, Option<bool>> {
        self.transport.listens(node, deadline)
    }

    /// How many groups have appends under way to `node`.
    pub(crate) fn appending(&self, node: NodeId) -> Arc<AtomicUsize> {
        let mut appending = self.appending.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(appending.entry(node).or_default())
    }

    /// Sends a message with `body`.
    pub(crate) fn call(
        &self,
        to: NodeId,
        kind: Kind,
        body: &[u8],
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        let mut message = self.envelope(to, kind, body.len());
        message.extend_from_slice(body);
        self.send(to, kind, message, deadline)
    }

    /// Sends a fixed body and reads a fixed answer.
    pub(crate) async fn ask<Q: bincode::Encode, A: bincode::Decode<()>>(
        &self,
        to: NodeId,
        kind: Kind,
        question: &Q,
        deadline: Duration,
    ) -> Result<A, PeerError> {
        let body = wire::encode(question).map_err(|cause| unreadable(to, &cause))?;
        let answer = self.call(to, kind, &body, deadline).await?;
        wire::decode(&answer).map_err(|cause| unreadable(to, &cause))
    }

    pub(crate) fn open_stream(
        &self,
        to: NodeId,
        kind: Kind,
        body: &[u8],
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Box<dyn StreamSender>, PeerError>> {
        let mut header = self.envelope(to, kind, body.len());
        header.extend_from_slice(body);
        self.transport.open_stream(to, Bytes::from(header), deadline)
    }

    /// Sends a heartbeat together with those of other groups to the same node.
    pub(crate) async fn heartbeat(
        &self,
        to: NodeId,
        beat: Beat,
        deadline: Duration,
    ) -> Result<wire::AppendAnswer, PeerError> {
        let key = beat.group;
        self.heartbeats.ask(to, key, beat, deadline).await
    }

    /// Asks `to`, which leads the group, for a read index, together with requests of other groups.
    pub(crate) async fn read_index(
        &self,
        to: NodeId,
        group: GroupKey,
        deadline: Duration,
    ) -> Result<ReadIndexAnswer, PeerError> {
        self.read_indexes.ask(to, group, group, deadline).await
    }

    /// Heartbeats asked for between `gather(true)` and `gather(false)` go together.
    pub(crate) fn gather(&self, on: bool) {
        self.gathering.send_replace(on);
    }

    pub(crate) fn gathering(&self) -> watch::Receiver<bool> {
        self.gathering.subscribe()
    }

    /// Records that a member's log lost what it had acknowledged.
    pub(crate) fn note_went_back(&self, group: GroupKey, node: NodeId) {
        if self.lock_went_back().insert((group, node)) {
            tracing::error!(
                partition = group.partition.0,
                node = node.0,
                "this member's log lost entries that it had acknowledged: its disk went back in time. It \
                 gets nothing more; decommission the node and let it join under a new id"
            );
        }
    }

    pub(crate) fn went_back(&self, group: GroupKey, node: NodeId) -> bool {
        self.lock_went_back().contains(&(group, node))
    }

    /// Forgets what was recorded of nodes that are no members any more: who is brought in anew has
    /// acknowledged nothing.
    pub(crate) fn retain_members(&self, group: GroupKey, is_member: impl Fn(NodeId) -> bool) {
        self.lock_went_back().retain(|(of, node)| *of != group || is_member(*node));
    }

    fn lock_went_back(&self) -> MutexGuard<'_, BTreeSet<(GroupKey, NodeId)>> {
        self.went_back.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says it once: what to do is up to the operator.
fn note_banished(banished: &OnceLock<PeerRefusal>, answer: &Result<Bytes, PeerError>) {
    let Err(PeerError::Refused { node, refusal }) = answer else { return };
    let for_good = matches!(refusal, PeerRefusal::WentBack { .. } | PeerRefusal::Decommissioned);
    if for_good && banished.set(refusal.clone()).is_ok() {
        tracing::error!(by = node.0, "{refusal}");
    }
}

fn opened(boots: &SeenBoots, from: NodeId, answer: Bytes) -> Result<Bytes, PeerError> {
    let (sent, body) = message::decode_answer(answer).map_err(|cause| unreadable(from, &cause))?;
    boots.check(from, sent).map_err(|refusal| {
        let PeerRefusal::WentBack { seen, sent } = refusal else { return unreadable(from, &refusal) };
        let reason = if seen == sent {
            format!(
                "it answers in start {sent}, in which another process of its id was seen: a disk was copied"
            )
        } else {
            format!("it answers in start {sent}, and was seen in start {seen}: its disk went back")
        };
        PeerError::Lost { node: from, reason }
    })?;
    Ok(body)
}

/// An answer that this version does not read.
pub(crate) fn unreadable(node: NodeId, cause: &dyn std::fmt::Display) -> PeerError {
    PeerError::Lost { node, reason: format!("unreadable: {cause}") }
}
