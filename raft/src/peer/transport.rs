//! What the groups need of a network: ordered calls, byte streams, and who is at the other end.
//!
//! Two implementations: mutual TLS between processes, and a simulated network in tests.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::broadcast;

use crate::{BoxFuture, NodeId};

/// Longest message, in bytes: a proposal of 1 MiB with its envelope, and appends of that order.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Longest piece of a byte stream.
pub const CHUNK_BYTES_MAX: usize = 256 << 10;

/// Which queue to a peer a message takes. Each is a connection of its own, so that a full one delays no
/// other; byte streams have a third.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Heartbeats, votes, read indexes, leader transfers: small, never behind data.
    Control,
    /// Log entries and commands.
    Data,
}

/// Who is at the other end, as its certificate says
/// (`spiffe://<cluster>/region/<r>/zone/<z>/node/<id>`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Which.
    pub node: NodeId,
    /// Where it runs.
    pub region: String,
    /// Where in the region.
    pub zone: String,
}

/// A call that brought no answer, or a refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// No connection, so never sent: acted on nothing.
    #[error("node {} cannot be reached: {reason}", .node.0)]
    Unreachable {
        /// Which.
        node: NodeId,
        /// Why.
        reason: String,
    },
    /// On its way when the connection ended, or answered with what cannot be read: it may have been acted
    /// on.
    #[error("what came of a message to node {} is not known: {reason}", .node.0)]
    Lost {
        /// Which.
        node: NodeId,
        /// Why.
        reason: String,
    },
    /// Sent, not answered before the deadline: it may have been acted on.
    #[error("node {} did not answer in time", .0.0)]
    Timeout(NodeId),
    /// The bytes waiting for this peer are at their bound; not sent.
    #[error("the queue to node {} is full", .0.0)]
    QueueFull(NodeId),
    /// The peer refused; acted on nothing.
    #[error("node {} refused: {refusal}", .node.0)]
    Refused {
        /// Which.
        node: NodeId,
        /// Its words.
        refusal: PeerRefusal,
    },
}

impl PeerError {
    /// Whether the peer may have acted on the message.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Lost { .. } | Self::Timeout(_) => true,
            Self::Unreachable { .. } | Self::QueueFull(_) | Self::Refused { .. } => false,
        }
    }
}

/// Why a message was not acted on. Crosses the wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, bincode::Encode, bincode::Decode)]
pub enum PeerRefusal {
    /// The certificate does not allow what the message claims.
    #[error("not allowed: {0}")]
    Forbidden(String),
    /// Of another cluster, incarnation, or an earlier start of the sender.
    #[error("stale or foreign: {0}")]
    Stale(String),
    /// This node has no such replica.
    #[error("no replica of the partition here")]
    NoReplica,
    /// Not a message that this version reads.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// At a bound; try later.
    #[error("overloaded: {0}")]
    Overloaded(String),
    /// The sender's disk is older than what this node has seen of it, or another disk has its id.
    #[error(
        "{}; decommission it, empty its data directory, and join again for a new id",
        another_start(*.seen, *.sent)
    )]
    WentBack {
        /// The highest boot counter seen.
        seen: u64,
        /// The one sent.
        sent: u64,
    },
    /// It failed here.
    #[error("{0}")]
    Failed(String),
    /// The sender was decommissioned.
    #[error("this node was decommissioned: empty its data directory, and join again for a new id")]
    Decommissioned,
}

/// Two starts of one count are two processes: each start makes up a number of its own.
fn another_start(seen: u64, sent: u64) -> String {
    if seen == sent {
        return format!(
            "another process was seen in start {sent} of this node: its data directory is a copy, or was copied"
        );
    }
    format!(
        "this node was seen in start {seen}, and says that it is in start {sent}: its disk went back in time or is \
         a copy"
    )
}

/// Sends to peers.
pub trait PeerTransport: Send + Sync + 'static {
    /// Sends `message` (at most [`MESSAGE_BYTES_MAX`]) and gives the answer.
    ///
    /// Messages of one lane to one peer arrive in the order of these calls (not of the polls), as far
    /// as they arrive. Dropping the future forgets the answer, not the message.
    fn call(
        &self,
        to: NodeId,
        lane: Lane,
        message: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>>;

    /// Opens a byte stream; `header` tells the peer what it is.
    fn open_stream(
        &self,
        to: NodeId,
        header: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Box<dyn StreamSender>, PeerError>>;

    /// The region whose certificate is demanded of `node`; `None` where this transport cannot tell.
    fn region_of(&self, node: NodeId) -> Option<String> {
        let _ = node;
        None
    }

    /// Peers a connection with which ended, one at a time; `None` where this transport cannot tell.
    fn ended_connections(&self) -> Option<broadcast::Receiver<NodeId>> {
        None
    }

    /// Whether some process listens where `node` is reached. `None` when nothing says so, nor that there is
    /// none: a machine that is off, and a network that is cut, are silent.
    fn listens(&self, node: NodeId, deadline: Duration) -> BoxFuture<'static, Option<bool>> {
        let _ = (node, deadline);
        Box::pin(std::future::ready(None))
    }
}

/// The sending end of a byte stream.
pub trait StreamSender: Send + 'static {
    /// Sends the next chunk (at most [`CHUNK_BYTES_MAX`]); waits while the peer is slow.
    fn send(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), PeerError>>;

    /// Ends the stream and gives the peer's answer. Dropping the sender instead aborts the stream.
    fn finish(self: Box<Self>, deadline: Duration) -> BoxFuture<'static, Result<Bytes, PeerError>>;
}

/// The receiving end of a byte stream.
pub trait StreamReceiver: Send + 'static {
    /// The next chunk; `None` at the sender's orderly end.
    ///
    /// Fails when the sender aborted or the connection broke: what came before counts for nothing.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, PeerError>>;
}

/// Answers peers.
pub trait PeerService: Send + Sync + 'static {
    /// Called in order of arrival for each peer and lane; what needs that order is put in its queue before
    /// this returns. The future is run beside others.
    fn serve(
        &self,
        from: &PeerIdentity,
        lane: Lane,
        message: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, PeerRefusal>>;

    /// Takes a byte stream and answers at its end.
    fn serve_stream(
        &self,
        from: &PeerIdentity,
        header: Bytes,
        chunks: Box<dyn StreamReceiver>,
    ) -> BoxFuture<'static, Result<Bytes, PeerRefusal>>;
}
