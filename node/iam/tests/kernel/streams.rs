//! The smallest domain that has everything: an account with a personal name and a count.

use domicile_iam::ids::UserId;
use domicile_iam::personal::Personal;
use domicile_iam::streams::{Aggregate, DomainEvent, EventMeta, RawEvent, StreamKind, Streams, step};
use domicile_raft::ApplyFault;
use domicile_storage::Transaction;
use domicile_storage::codec::{CodecError, decode_open};
use serde::{Deserialize, Serialize};

/// A hit that is written but cannot be read: stands for a codec that is not symmetric.
pub const UNREADABLE_HIT: u64 = 666;
/// Likewise a state, from here on.
pub const UNREADABLE_HITS: u64 = 1 << 40;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    pub name: Option<Personal>,
    pub hits: u64,
}

#[derive(Clone, Debug)]
pub enum AccountEvent {
    Opened(Opened),
    Hit(Hit),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Opened {
    pub name: Personal,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hit {
    pub by: u64,
}

impl Serialize for AccountEvent {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Opened(payload) => payload.serialize(serializer),
            Self::Hit(payload) => payload.serialize(serializer),
        }
    }
}

impl DomainEvent for AccountEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Opened(_) => "account.opened",
            Self::Hit(_) => "account.hit",
        }
    }

    fn schema(&self) -> u16 {
        1
    }

    fn decode(event_type: &str, _schema: u16, body: &[u8]) -> Result<Self, CodecError> {
        match event_type {
            "account.opened" => decode_open(body).map(Self::Opened),
            "account.hit" => match decode_open(body)? {
                Hit { by: UNREADABLE_HIT } => {
                    Err(CodecError::Malformed("a hit that no one reads".to_owned()))
                }
                hit => Ok(Self::Hit(hit)),
            },
            other => Err(CodecError::Malformed(format!("unknown event type `{other}`"))),
        }
    }

    fn personal_mut(&mut self, visit: &mut dyn FnMut(&str, &mut Personal)) {
        match self {
            Self::Opened(payload) => visit("name", &mut payload.name),
            Self::Hit(_) => {}
        }
    }
}

impl Aggregate for Account {
    const KIND: StreamKind = StreamKind::User;
    const STATE_FORMAT: u8 = 1;
    type Id = UserId;
    type Event = AccountEvent;

    fn evolve(state: Option<Self>, event: &AccountEvent, _meta: &EventMeta) -> Self {
        let mut state = state.unwrap_or(Self { name: None, hits: 0 });
        match event {
            AccountEvent::Opened(opened) => state.name = Some(opened.name.clone()),
            AccountEvent::Hit(hit) => state.hits = state.hits.wrapping_add(hit.by),
        }
        state
    }

    fn decode_state(_format: u8, body: &[u8]) -> Result<Self, CodecError> {
        let state: Self = decode_open(body)?;
        if state.hits >= UNREADABLE_HITS {
            return Err(CodecError::Malformed("a state that no one reads".to_owned()));
        }
        Ok(state)
    }
}

pub struct TestStreams;

impl Streams for TestStreams {
    fn apply(
        &self,
        _transaction: &mut Transaction<'_>,
        _apply_version: u16,
        state: Option<&[u8]>,
        event: RawEvent<'_>,
        meta: &EventMeta,
    ) -> Result<Vec<u8>, ApplyFault> {
        step::<Account>(state, event, meta)?.encode_after()
    }
}
