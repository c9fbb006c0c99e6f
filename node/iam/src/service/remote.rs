//! Steps on partitions that another node leads: opaque bytes between nodes, one answer for each ask.
//!
//! INVARIANT: an ask carries an idempotency key, the caller's or one of this call, so that all its tries
//! are one proposal and a lost answer is followed by the same ask.

use std::time::Duration;

use domicile_raft::{BoxFuture, NodeId, PartitionId};
use domicile_storage::codec::{self, CodecError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::steps::RemoteCommand;
use crate::execute::{Actor, ExecuteError, IdempotencyKey, RequestContext, Written};
use crate::ids::{DataKeyId, RequestId, TenantId};
use crate::proposal::{ActorKind, ActorRef};

const REQUEST_FORMAT: u8 = 1;
const ANSWER_FORMAT: u8 = 1;
const VALUE_FORMAT: u8 = 1;
/// The longest ask that is looked at.
pub const REQUEST_BYTES_MAX: usize = 1024 * 1024;
/// For a node that reads of a bound only that nothing was done.
const FULL_RETRY_S: u32 = 1;
/// A bound that is not known here.
const OVERLOADED: &str = "the partition's leader is overloaded";
/// The bounds of a leader, as it names them.
const BOUNDS: [&str; 6] = [
    "proposal over 1 MiB",
    "disk full",
    "apply lag",
    "bytes in flight",
    "latches are contended",
    "too many commands wait for the same rows",
];

/// Why another node gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// No node is known to ask: asking again is of no use.
    #[error("no node to ask")]
    NoRoute,
    /// Nothing was sent.
    #[error("the node was not reached")]
    NotSent,
    /// It was sent; no answer came in time.
    #[error("no answer came")]
    Lost,
}

/// The way to the leader of a partition. Implemented by the node over its peers.
pub trait RemotePartitions: Send + Sync + 'static {
    /// Hands `request` to the node that leads `partition`, whose [`super::Iam::serve_remote`] answers.
    /// `leader` is what the last answer said. One try.
    fn call(
        &self,
        partition: PartitionId,
        leader: Option<NodeId>,
        request: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Vec<u8>, RemoteError>>;
}

/// A node alone: there is nobody to ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalOnly;

impl RemotePartitions for LocalOnly {
    fn call(
        &self,
        _partition: PartitionId,
        _leader: Option<NodeId>,
        _request: Vec<u8>,
        _deadline: Duration,
    ) -> BoxFuture<'_, Result<Vec<u8>, RemoteError>> {
        Box::pin(async { Err(RemoteError::NoRoute) })
    }
}

/// What is asked of a partition's leader.
#[derive(Serialize, Deserialize)]
pub(super) enum Ask {
    /// Run a command.
    Step(Box<RemoteCommand>),
    /// Make the keys that can be made quickly, sign the entry, show the tenant.
    Prepare,
    /// Show the tenant.
    View,
}

/// A [`RequestContext`] on its way.
#[derive(Serialize, Deserialize)]
struct WireContext {
    tenant: TenantId,
    actor_kind: u8,
    actor_id: String,
    actor_key: Option<DataKeyId>,
    actor_name: Option<String>,
    request_id: RequestId,
    idempotency: Option<(String, ByteBuf)>,
    deadline_ms: u64,
    address: Option<String>,
    agent: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Request {
    context: WireContext,
    ask: Ask,
}

pub(super) fn encode_request(ctx: &RequestContext, left: Duration, ask: Ask) -> Result<Vec<u8>, CodecError> {
    let key = ctx.idempotency.as_ref();
    let context = WireContext {
        tenant: ctx.tenant,
        actor_kind: ctx.actor.who.kind.number(),
        actor_id: ctx.actor.who.id.clone(),
        actor_key: ctx.actor.key,
        actor_name: ctx.actor.name.clone(),
        request_id: ctx.request_id,
        idempotency: key.map(|key| (key.key.clone(), ByteBuf::from(key.request_hash.to_vec()))),
        deadline_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        address: ctx.address.clone(),
        agent: ctx.agent.clone(),
    };
    codec::encode_open(REQUEST_FORMAT, &Request { context, ask })
}

pub(super) fn decode_request(bytes: &[u8]) -> Result<(RequestContext, Ask), CodecError> {
    if bytes.len() > REQUEST_BYTES_MAX {
        return Err(CodecError::Malformed("too long".to_owned()));
    }
    let (_, body) = codec::split_format(bytes, &[REQUEST_FORMAT])?;
    let Request { context, ask } = codec::decode_open(body)?;
    let malformed = |what: &str| CodecError::Malformed(what.to_owned());
    let kind = ActorKind::from_number(context.actor_kind).ok_or_else(|| malformed("kind of actor"))?;
    let idempotency = context.idempotency.map(|(key, hash)| {
        let request_hash = <[u8; 32]>::try_from(hash.as_slice()).map_err(|_| malformed("request hash"))?;
        Ok::<_, CodecError>(IdempotencyKey { key, request_hash })
    });
    let ctx = RequestContext {
        tenant: context.tenant,
        actor: Actor {
            who: ActorRef { kind, id: context.actor_id },
            key: context.actor_key,
            name: context.actor_name,
        },
        request_id: context.request_id,
        idempotency: idempotency.transpose()?,
        deadline: Duration::from_millis(context.deadline_ms.min(60_000)),
        address: context.address,
        agent: context.agent,
    };
    Ok((ctx, ask))
}

/// What came of an ask. Unknown and not done are never mixed up.
#[derive(Serialize, Deserialize)]
enum Answer {
    Done {
        reply: ByteBuf,
        consistency: String,
        replayed: bool,
    },
    Refused(ByteBuf),
    IdempotencyMismatch,
    /// Nothing was done. With `full`, a bound of the leader is: it says which. A node that does not know
    /// that member reads the rest, which says as much as it needs.
    Unavailable {
        retry_after_s: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        full: Option<String>,
    },
    NotLeader {
        leader: Option<NodeId>,
    },
    Unknown,
    /// As nodes said it that gave no reason; read, and written no more.
    Overloaded,
    Fault(String),
    TenantErased,
    KeyGone,
}

/// The bytes of an outcome.
pub(super) fn encode_answer<R: Serialize, E: Serialize>(
    outcome: Result<Written<R>, ExecuteError<E>>,
) -> Vec<u8> {
    answer_of(outcome).and_then(|answer| codec::encode_open(ANSWER_FORMAT, &answer)).unwrap_or_default()
}

fn answer_of<R: Serialize, E: Serialize>(
    outcome: Result<Written<R>, ExecuteError<E>>,
) -> Result<Answer, CodecError> {
    Ok(match outcome {
        Ok(written) => Answer::Done {
            reply: ByteBuf::from(codec::encode_open(VALUE_FORMAT, &written.reply)?),
            consistency: written.consistency.to_string(),
            replayed: written.replayed,
        },
        Err(ExecuteError::Refused(refusal)) => {
            Answer::Refused(ByteBuf::from(codec::encode_open(VALUE_FORMAT, &refusal)?))
        }
        Err(ExecuteError::IdempotencyMismatch) => Answer::IdempotencyMismatch,
        Err(ExecuteError::Unavailable { retry_after_s, .. }) => {
            Answer::Unavailable { retry_after_s, full: None }
        }
        Err(ExecuteError::NotLeader { leader, .. }) => Answer::NotLeader { leader },
        Err(ExecuteError::Unknown) => Answer::Unknown,
        Err(ExecuteError::Overloaded(what)) => {
            Answer::Unavailable { retry_after_s: FULL_RETRY_S, full: Some(what.to_owned()) }
        }
        Err(ExecuteError::Fault(cause)) => Answer::Fault(cause),
        Err(ExecuteError::TenantErased) => Answer::TenantErased,
        Err(ExecuteError::KeyGone) => Answer::KeyGone,
    })
}

/// The outcome in an answer. One that cannot be read may stand for a step that was done.
pub(super) fn decode_answer<R: DeserializeOwned, E: DeserializeOwned>(
    partition: PartitionId,
    bytes: &[u8],
) -> Result<Written<R>, ExecuteError<E>> {
    let read = || -> Result<Answer, CodecError> {
        codec::decode_open(codec::split_format(bytes, &[ANSWER_FORMAT])?.1)
    };
    match read().map_err(|_| ExecuteError::Unknown)? {
        Answer::Done { reply, consistency, replayed } => {
            let reply = value(&reply).map_err(|_| ExecuteError::Unknown)?;
            let consistency = consistency.parse().map_err(|_| ExecuteError::Unknown)?;
            Ok(Written { reply, consistency, replayed })
        }
        Answer::Refused(refusal) => match value(&refusal) {
            Ok(refusal) => Err(ExecuteError::Refused(refusal)),
            Err(_) => Err(ExecuteError::Fault("another node refused for a reason unknown here".to_owned())),
        },
        Answer::IdempotencyMismatch => Err(ExecuteError::IdempotencyMismatch),
        Answer::Unavailable { retry_after_s, full: None } => {
            Err(ExecuteError::Unavailable { retry_after_s, reason: "the partition's leader could not" })
        }
        Answer::Unavailable { full: Some(what), .. } => Err(ExecuteError::Overloaded(bound_named(&what))),
        Answer::NotLeader { leader } => Err(ExecuteError::NotLeader { partition, leader }),
        Answer::Unknown => Err(ExecuteError::Unknown),
        Answer::Overloaded => Err(ExecuteError::Overloaded(OVERLOADED)),
        Answer::Fault(cause) => Err(ExecuteError::Fault(cause)),
        Answer::TenantErased => Err(ExecuteError::TenantErased),
        Answer::KeyGone => Err(ExecuteError::KeyGone),
    }
}

/// A bound in our own words: what another node wrote is not repeated to callers.
fn bound_named(what: &str) -> &'static str {
    BOUNDS.into_iter().find(|known| *known == what).unwrap_or(OVERLOADED)
}

fn value<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    codec::decode_open(codec::split_format(bytes, &[VALUE_FORMAT])?.1)
}
