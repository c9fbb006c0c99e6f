//! What a decision wants to write, in clear; `finish` seals it into a proposal.

use std::fmt;

use domicile_raft::Timestamp;
use domicile_storage::codec::{self, CodecError};
use serde::Serialize;
use zeroize::Zeroizing;

use super::rehearsal::{Evolve, evolve};
use crate::ids::{DataKeyId, Id, TenantId, UserId};
use crate::personal::Personal;
use crate::proposal::{ClaimKind, RangeKey, RecordKey, RecordKind};
use crate::seal::KeyPurpose;
use crate::streams::{Aggregate, DomainEvent, StreamKind, StreamRef, encode_event};
use crate::tables::RECORD_FORMAT;

/// An event without its type.
pub(super) trait PendingEvent: Send {
    fn event_type(&self) -> &'static str;
    fn schema(&self) -> u16;
    fn personal_mut(&mut self, visit: &mut dyn FnMut(&str, &mut Personal));
    fn encode(&self) -> Result<Vec<u8>, CodecError>;
}

impl<E: DomainEvent> PendingEvent for E {
    fn event_type(&self) -> &'static str {
        DomainEvent::event_type(self)
    }

    fn schema(&self) -> u16 {
        DomainEvent::schema(self)
    }

    fn personal_mut(&mut self, visit: &mut dyn FnMut(&str, &mut Personal)) {
        DomainEvent::personal_mut(self, visit);
    }

    fn encode(&self) -> Result<Vec<u8>, CodecError> {
        encode_event(self)
    }
}

pub(super) struct DraftEvent {
    /// Whose key seals its personal values; None for the tenant's data key.
    pub subject: Option<DataKeyId>,
    pub event: Box<dyn PendingEvent>,
}

pub(super) struct DraftAppend {
    pub stream: StreamRef,
    pub expected: u64,
    pub events: Vec<DraftEvent>,
    pub evolve: Evolve,
}

pub(super) struct DraftClaim {
    pub kind: ClaimKind,
    pub value: Zeroizing<String>,
    pub owner: StreamRef,
    pub take: bool,
}

pub(super) enum DraftRecord {
    Put { key: RecordKey, body: Result<Vec<u8>, CodecError>, expires_at: Timestamp },
    Take { key: RecordKey },
}

pub(super) enum DraftKey {
    Put { id: DataKeyId, purpose: KeyPurpose, plain: Zeroizing<Vec<u8>> },
    Destroy { id: DataKeyId },
}

/// The writes of one decision. All of them happen, or none.
#[derive(Default)]
pub struct Draft {
    pub(super) appends: Vec<DraftAppend>,
    pub(super) claims: Vec<DraftClaim>,
    pub(super) records: Vec<DraftRecord>,
    pub(super) ranges: Vec<RangeKey>,
    pub(super) shared_ranges: Vec<RangeKey>,
    pub(super) keys: Vec<DraftKey>,
    pub(super) about: Option<UserId>,
    pub(super) inconsistent: Option<StreamRef>,
    pub(super) untold: Untold,
}

/// What a write that logs somebody out has no room to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Untold {
    /// Sessions that were not looked at.
    pub sessions: usize,
    /// Clients that are not told of the end of a session that was.
    pub clients: usize,
}

impl Untold {
    /// Logs it, if there is any.
    pub(super) fn log(self, tenant: TenantId) {
        let Self { sessions, clients } = self;
        if self != Self::default() {
            tracing::warn!(%tenant, sessions, clients, "a logout is too large: some clients are not told of it");
        }
    }
}

/// The key that seals what is about this user: the id has the user id's bytes.
#[must_use]
pub fn user_key(user: UserId) -> DataKeyId {
    DataKeyId::from_bytes(user.bytes())
}

impl Draft {
    /// Writes nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says whom the write is about. Where no person is known to act (an anonymous caller, a client),
    /// the address and agent in the audit log may be this user's, so the user's key seals them and
    /// erasure takes them. Without it, the first event with a user's key decides.
    pub fn about(&mut self, user: UserId) {
        self.about = Some(user);
    }

    /// Says what had no room: sessions that were not looked at, and clients that are not told of others. It is logged
    /// with the write.
    pub fn leave_untold(&mut self, sessions: usize, clients: usize) {
        self.untold.sessions += sessions;
        self.untold.clients += clients;
    }

    /// The key of whom the write is about.
    pub(super) fn subject(&self) -> Option<DataKeyId> {
        let of_events = || self.appends.iter().flat_map(|append| &append.events).find_map(|e| e.subject);
        self.about.map(user_key).or_else(of_events)
    }

    /// Appends an event. `expected` is the version that was read (0: the stream is new), the same
    /// for every append to one stream. Personal values of user streams are sealed under the user's
    /// key, others under the tenant's.
    pub fn append<A: Aggregate>(&mut self, id: A::Id, expected: u64, event: A::Event) {
        let subject = (A::KIND == StreamKind::User).then(|| DataKeyId::from_bytes(id.bytes()));
        self.push::<A>(id, expected, DraftEvent { subject, event: Box::new(event) });
    }

    /// As [`Draft::append`], with personal values about `user`.
    pub fn append_about<A: Aggregate>(&mut self, id: A::Id, expected: u64, user: UserId, event: A::Event) {
        let subject = Some(user_key(user));
        self.push::<A>(id, expected, DraftEvent { subject, event: Box::new(event) });
    }

    fn push<A: Aggregate>(&mut self, id: A::Id, expected: u64, event: DraftEvent) {
        let stream = StreamRef::of::<A>(id);
        if let Some(append) = self.appends.iter_mut().find(|append| append.stream == stream) {
            if append.expected != expected {
                self.inconsistent = Some(stream);
            }
            append.events.push(event);
        } else {
            let (events, evolve) = (vec![event], evolve::<A> as Evolve);
            self.appends.push(DraftAppend { stream, expected, events, evolve });
        }
    }

    /// Reserves a value; it must be free or already the owner's.
    pub fn take_claim(&mut self, kind: ClaimKind, value: &str, owner: StreamRef) {
        self.claims.push(DraftClaim { kind, value: Zeroizing::new(value.to_owned()), owner, take: true });
    }

    /// Frees a value; it must be the owner's.
    pub fn release_claim(&mut self, kind: ClaimKind, value: &str, owner: StreamRef) {
        self.claims.push(DraftClaim { kind, value: Zeroizing::new(value.to_owned()), owner, take: false });
    }

    /// Writes a record over the version that was read (or that is there, if it was not read).
    pub fn put_record<T: Serialize>(
        &mut self,
        kind: RecordKind,
        key: [u8; 32],
        body: &T,
        expires_at: Timestamp,
    ) {
        let body = codec::encode_open(RECORD_FORMAT, body);
        self.records.push(DraftRecord::Put { key: RecordKey { kind, key }, body, expires_at });
    }

    /// Takes a record: of all proposals that take it, one is applied.
    pub fn take_record(&mut self, kind: RecordKind, key: [u8; 32]) {
        self.records.push(DraftRecord::Take { key: RecordKey { kind, key } });
    }

    /// Tells readers of the range that it changed.
    pub fn touch_range(&mut self, key: RangeKey) {
        self.ranges.push(key);
    }

    /// The same beside others that do so at the same time: for what each adds to, and few read.
    pub fn touch_range_shared(&mut self, key: RangeKey) {
        self.shared_ranges.push(key);
    }

    /// Stores a key, wrapped by the tenant's.
    pub fn put_key(&mut self, id: DataKeyId, purpose: KeyPurpose, plain: Zeroizing<Vec<u8>>) {
        self.keys.push(DraftKey::Put { id, purpose, plain });
    }

    /// Stores a new user's data key (32 bytes of `Fresh::secret`), before the first event about them.
    pub fn put_user_key(&mut self, user: UserId, plain: &Zeroizing<[u8; 32]>) {
        self.put_key(user_key(user), KeyPurpose::Data, Zeroizing::new(plain.to_vec()));
    }

    /// Destroys a key: what it sealed can never be opened again.
    pub fn destroy_key(&mut self, id: DataKeyId) {
        self.keys.push(DraftKey::Destroy { id });
    }

    /// Whether nothing would be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.appends.is_empty()
            && self.claims.is_empty()
            && self.records.is_empty()
            && self.ranges.is_empty()
            && self.shared_ranges.is_empty()
            && self.keys.is_empty()
    }

    /// The wire names of the events, for tests that say "given, when, then".
    pub fn event_types(&self) -> Vec<&'static str> {
        self.appends.iter().flat_map(|append| append.events.iter().map(|e| e.event.event_type())).collect()
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").field("events", &self.event_types()).finish_non_exhaustive()
    }
}
