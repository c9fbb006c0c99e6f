//! Who asks, with what bounds, and what they get.
//!
//! INVARIANT: what is personal or secret here is not in `Debug`, which ends in logs.

use std::fmt;
use std::time::Duration;

use domicile_raft::{NodeId, PartitionId};

use super::token::ConsistencyToken;
use crate::ids::{DataKeyId, RequestId, TenantId};
use crate::proposal::ActorRef;

/// Who acts, with what is personal about them; the latter is sealed into the events.
#[derive(Clone)]
pub struct Actor {
    /// Kind and id, stored in clear.
    pub who: ActorRef,
    /// The key of the person who acts (a user's has the user id's bytes); None for the tenant's.
    pub key: Option<DataKeyId>,
    /// A name to show in the audit log.
    pub name: Option<String>,
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Actor").field("who", &self.who).finish_non_exhaustive()
    }
}

/// A caller's `Idempotency-Key`.
#[derive(Clone)]
pub struct IdempotencyKey {
    /// As sent, 1 to 255 bytes.
    pub key: String,
    /// SHA-256 of method, path and body.
    pub request_hash: [u8; 32],
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyKey").finish_non_exhaustive()
    }
}

/// What a command runs under.
#[derive(Clone)]
pub struct RequestContext {
    /// The tenant.
    pub tenant: TenantId,
    /// Who acts.
    pub actor: Actor,
    /// The request.
    pub request_id: RequestId,
    /// Against double execution.
    pub idempotency: Option<IdempotencyKey>,
    /// From now, all retries included.
    pub deadline: Duration,
    /// The caller's network address.
    pub address: Option<String>,
    /// The caller's `User-Agent`.
    pub agent: Option<String>,
}

impl fmt::Debug for RequestContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestContext")
            .field("tenant", &self.tenant)
            .field("actor", &self.actor)
            .field("request_id", &self.request_id)
            .field("idempotent", &self.idempotency.is_some())
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// A command that was done.
#[derive(Clone)]
pub struct Written<R> {
    /// What it says.
    pub reply: R,
    /// A read with this token sees it.
    pub consistency: ConsistencyToken,
    /// Whether this is the kept reply of an earlier request with the same idempotency key.
    pub replayed: bool,
}

/// Without the reply, which may hold a secret.
impl<R> fmt::Debug for Written<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Written")
            .field("consistency", &self.consistency)
            .field("replayed", &self.replayed)
            .finish_non_exhaustive()
    }
}

/// Why a command was not done, or may have been.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError<R> {
    /// The domain refuses; confirmed by a read-index barrier.
    #[error(transparent)]
    Refused(R),
    /// The idempotency key was used for another request (422).
    #[error("the idempotency key was used for another request")]
    IdempotencyMismatch,
    /// Not done: no quorum in time, conflicts without end, or an untrusted clock (503).
    #[error("unavailable: {reason}")]
    Unavailable {
        /// When to come back, seconds.
        retry_after_s: u32,
        /// For logs.
        reason: &'static str,
    },
    /// Not done: another node leads.
    #[error("this node does not lead partition {}", .partition.0)]
    NotLeader {
        /// Which; also one that this node has no replica of.
        partition: PartitionId,
        /// Who does, where known.
        leader: Option<NodeId>,
    },
    /// It may have been done (504).
    #[error("the outcome is not known")]
    Unknown,
    /// Not done: a queue or a byte bound is full (503).
    #[error("overloaded: {0}")]
    Overloaded(&'static str),
    /// Not done: a storage or format fault.
    #[error("fault: {0}")]
    Fault(String),
    /// There is no such tenant in this partition, or it was erased.
    #[error("no such tenant here")]
    TenantErased,
    /// The key of the person was destroyed.
    #[error("the data key is gone")]
    KeyGone,
}
