//! Streams: the events of one aggregate, how they evolve its state, and the set of all of them.
//!
//! INVARIANT: nothing here reads a clock, randomness or a key; `decide` and `evolve` are pure.

pub mod client;
pub mod cluster;
pub mod directory;
pub mod event_set;
pub mod family;
pub mod grant;
pub mod initial_access_token;
pub mod session;
pub mod signing_key;
mod state_format;
pub mod tenant;
pub mod user;
mod wire_enum;

use domicile_raft::{ApplyFault, Timestamp};
use domicile_storage::Transaction;
use domicile_storage::codec::{self, CodecError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ids::{Id, ProposalId, RequestId, TenantId};
use crate::personal::Personal;
use crate::proposal::ActorRef;

pub(crate) use state_format::decode_first_format;
pub(crate) use wire_enum::wire_enum;

wire_enum! {
    /// What a stream is about. The number is stored; it can never change.
    StreamKind {
        /// Name, issuer, settings.
        Tenant = 1,
        /// A person's account.
        User = 2,
        /// An OAuth client.
        Client = 3,
        /// A login.
        Session = 4,
        /// What a user allowed a client.
        Grant = 5,
        /// What one code gave.
        Family = 6,
        /// A key that signs tokens.
        SigningKey = 7,
        /// The directory's view of a tenant.
        DirectoryTenant = 8,
        /// The cluster's settings, in the directory.
        Cluster = 9,
        /// A region, in the directory.
        Region = 10,
        /// A node, in the directory.
        ClusterNode = 11,
        /// A partition, in the directory.
        ClusterPartition = 12,
        /// A token to join the cluster, in the directory.
        JoinToken = 13,
        /// What lets somebody register clients.
        InitialAccessToken = 14,
    }
}

/// Names a stream inside a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, bincode::Encode, bincode::Decode)]
pub struct StreamRef {
    /// What it is about.
    pub kind: StreamKind,
    /// The aggregate's id.
    pub id: [u8; 16],
}

impl StreamRef {
    /// The stream of aggregate `A` with this id.
    pub fn of<A: Aggregate>(id: A::Id) -> Self {
        Self { kind: A::KIND, id: id.bytes() }
    }
}

/// What is known about an event beside its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventMeta {
    /// Whose.
    pub tenant: TenantId,
    /// In which stream.
    pub stream: StreamRef,
    /// Its place in the stream; the first is 1.
    pub revision: u64,
    /// Log time when it was applied.
    pub at: Timestamp,
    /// Who caused it.
    pub actor: ActorRef,
    /// By which request.
    pub request_id: RequestId,
    /// By which proposal.
    pub proposal: ProposalId,
}

/// A state that events build.
pub trait Aggregate: Sized + Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What its streams are about.
    const KIND: StreamKind;
    /// Format of the stored state that this version writes.
    const STATE_FORMAT: u8;
    /// Its id.
    type Id: Id;
    /// Its events.
    type Event: DomainEvent;

    /// The state after `event`. Total: every committed event applies. `state` is None before the
    /// first event.
    fn evolve(state: Option<Self>, event: &Self::Event, meta: &EventMeta) -> Self;

    /// Decodes a stored state (without its format byte), upcasting older formats.
    ///
    /// # Errors
    /// [`CodecError`] for an unknown format or bytes that are no state.
    fn decode_state(format: u8, body: &[u8]) -> Result<Self, CodecError>;
}

/// The closed set of events of one aggregate.
pub trait DomainEvent: Sized + Serialize + Send + 'static {
    /// The wire name, such as `user.password.changed`.
    fn event_type(&self) -> &'static str;

    /// The revision of its shape that this version writes.
    fn schema(&self) -> u16;

    /// Decodes a body (MessagePack, without the format byte), upcasting older schemas. Pure.
    ///
    /// # Errors
    /// [`CodecError`] for a type or schema that never was, or bytes that are no such event.
    fn decode(event_type: &str, schema: u16, body: &[u8]) -> Result<Self, CodecError>;

    /// Visits each personal value with its field name; used to seal before proposing and to open
    /// for audit. The name is part of what seals the value.
    fn personal_mut(&mut self, visit: &mut dyn FnMut(&str, &mut Personal));
}

/// An event as stored, not decoded yet.
#[derive(Clone, Copy, Debug)]
pub struct RawEvent<'e> {
    /// Wire name.
    pub event_type: &'e str,
    /// Shape revision.
    pub schema: u16,
    /// Format byte and body.
    pub body: &'e [u8],
}

/// The format byte of event bodies: a MessagePack map.
pub const EVENT_BODY_FORMAT: u8 = 1;

/// The set of all streams, for `apply`. The one implementation outside of tests matches on
/// [`StreamKind`] exhaustively, evolves and projects.
pub trait Streams: Send + Sync + 'static {
    /// Evolves the stream's state by one event and updates the projections in `transaction`.
    /// Takes and returns the state with its format byte. `apply_version` names the behaviour.
    ///
    /// # Errors
    /// [`ApplyFault`] when a committed event or a stored state does not decode.
    fn apply(
        &self,
        transaction: &mut Transaction<'_>,
        apply_version: u16,
        state: Option<&[u8]>,
        event: RawEvent<'_>,
        meta: &EventMeta,
    ) -> Result<Vec<u8>, ApplyFault>;
}

/// One evolution step, for projections.
pub struct Step<A: Aggregate> {
    /// The state before, None for the first event.
    pub before: Option<A>,
    /// What happened.
    pub event: A::Event,
    /// The state after.
    pub after: A,
}

impl<A: Aggregate> Step<A> {
    /// The state after, as stored.
    ///
    /// # Errors
    /// [`ApplyFault::Invalid`] if the state cannot be encoded.
    pub fn encode_after(&self) -> Result<Vec<u8>, ApplyFault> {
        codec::encode_open(A::STATE_FORMAT, &self.after)
            .map_err(|cause| ApplyFault::Invalid(cause.to_string()))
    }
}

/// Decodes state and event and evolves.
///
/// # Errors
/// [`ApplyFault::Invalid`] names what does not decode.
pub fn step<A: Aggregate>(
    state: Option<&[u8]>,
    event: RawEvent<'_>,
    meta: &EventMeta,
) -> Result<Step<A>, ApplyFault> {
    let invalid = |what: &str, cause: CodecError| {
        ApplyFault::Invalid(format!("{what} of {:?} revision {}: {cause}", meta.stream, meta.revision))
    };
    let before = state.map(decode_state::<A>).transpose().map_err(|cause| invalid("state", cause))?;
    let event = decode_event::<A::Event>(event).map_err(|cause| invalid("event", cause))?;
    let after = A::evolve(before.clone(), &event, meta);
    Ok(Step { before, event, after })
}

/// Decodes a stored state with its format byte.
///
/// # Errors
/// [`CodecError`].
pub fn decode_state<A: Aggregate>(stored: &[u8]) -> Result<A, CodecError> {
    let (&format, body) = stored.split_first().ok_or(CodecError::Empty)?;
    A::decode_state(format, body)
}

/// Decodes a stored event body with its format byte.
///
/// # Errors
/// [`CodecError`].
pub fn decode_event<E: DomainEvent>(event: RawEvent<'_>) -> Result<E, CodecError> {
    let (_, body) = codec::split_format(event.body, &[EVENT_BODY_FORMAT])?;
    E::decode(event.event_type, event.schema, body)
}

/// Encodes an event's body with its format byte.
///
/// # Errors
/// [`CodecError::NotEncodable`] if a personal value is not sealed.
pub fn encode_event<E: DomainEvent>(event: &E) -> Result<Vec<u8>, CodecError> {
    codec::encode_open(EVENT_BODY_FORMAT, event)
}
