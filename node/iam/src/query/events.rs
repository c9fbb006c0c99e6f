//! The audit log as the admin API shows it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_raft::Timestamp;
use domicile_storage::{KeyRange, Order};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::view::View;
use super::{QueryError, fault};
use crate::event::{CHAIN_START, StoredEvent, chain};
use crate::ids::{
    ClientId, ClusterStreamId, DataKeyId, FamilyId, GrantId, Id, InitialAccessTokenId, JoinTokenId,
    NodeStreamId, PartitionStreamId, RegionStreamId, SessionId, SigningKeyId, TenantId, UserId,
};
use crate::model::{Page, PageRequest};
use crate::personal::{Personal, Sealed};
use crate::seal::{Place, decode_sealed};
use crate::streams::client::ClientEvent;
use crate::streams::cluster::{
    ClusterEvent, ClusterNodeEvent, ClusterPartitionEvent, JoinTokenEvent, RegionEvent,
};
use crate::streams::directory::DirectoryTenantEvent;
use crate::streams::family::FamilyEvent;
use crate::streams::grant::GrantEvent;
use crate::streams::initial_access_token::InitialAccessTokenEvent;
use crate::streams::session::SessionEvent;
use crate::streams::signing_key::SigningKeyEvent;
use crate::streams::tenant::TenantEvent;
use crate::streams::user::UserEvent;
use crate::streams::{DomainEvent, StreamKind, StreamRef, decode_event};
use crate::tables::{Table, event_key, tenant_table_prefix};

/// Events looked at for one page; over that the page ends early with a token.
const LOOKED_AT_MAX: usize = 2_000;

/// Which events are wanted; what is `None` does not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// One stream, by its id's text (`usr_...`).
    pub stream: Option<String>,
    /// One type, such as `user.created`.
    pub event_type: Option<String>,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventView {
    /// Its number in the tenant's chain, from 1.
    pub sequence: u64,
    /// Such as `user.created`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Schema it was written in; `data` is in the current one.
    pub schema: u16,
    /// The stream's id (`usr_...`).
    pub stream: String,
    /// Its number in the stream, from 1.
    pub revision: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// Who did it: `kind`, `id`, and `details` where they can be opened.
    pub actor: Value,
    /// In which request.
    pub request_id: String,
    /// Its content; sealed values are opened where the key exists, else `{"sealed":true}`.
    pub data: Value,
}

impl View {
    /// A page of events, oldest first.
    pub(crate) fn events(
        &self,
        page: &PageRequest,
        filter: &EventFilter,
    ) -> Result<Page<EventView>, QueryError> {
        let after = page.page_token.as_deref().map(parse_sequence).transpose()?.unwrap_or(0);
        let mut range = KeyRange::prefix(&tenant_table_prefix(Table::Events, self.tenant));
        range.start = std::ops::Bound::Excluded(event_key(self.tenant, after));
        let mut listed = Page { items: Vec::new(), next_page_token: None };
        let wanted = if *filter == EventFilter::default() { page.size() } else { LOOKED_AT_MAX };
        let rows = self.engine.scan(&range, Order::Ascending, wanted + 1).map_err(fault)?;
        let mut last = after;
        for (looked_at, (_, stored)) in rows.iter().enumerate() {
            if listed.items.len() == page.size() || looked_at == wanted {
                listed.next_page_token = Some(URL_SAFE_NO_PAD.encode(last.to_be_bytes()));
                return Ok(listed);
            }
            let event = StoredEvent::decode(stored).map_err(fault)?;
            last = event.sequence;
            if filter.event_type.as_ref().is_some_and(|wanted| *wanted != event.event_type)
                || filter.stream.as_ref().is_some_and(|wanted| *wanted != stream_text(event.stream))
            {
                continue;
            }
            listed.items.push(self.event_view(&event, stored)?);
        }
        Ok(listed)
    }

    fn event_view(&self, event: &StoredEvent, stored: &[u8]) -> Result<EventView, QueryError> {
        let mark = Mark::new(stored);
        let data = match event.stream.kind {
            StreamKind::Tenant => self.data::<TenantEvent>(event, &mark),
            StreamKind::User => self.data::<UserEvent>(event, &mark),
            StreamKind::Client => self.data::<ClientEvent>(event, &mark),
            StreamKind::Session => self.data::<SessionEvent>(event, &mark),
            StreamKind::Grant => self.data::<GrantEvent>(event, &mark),
            StreamKind::Family => self.data::<FamilyEvent>(event, &mark),
            StreamKind::SigningKey => self.data::<SigningKeyEvent>(event, &mark),
            StreamKind::DirectoryTenant => self.data::<DirectoryTenantEvent>(event, &mark),
            StreamKind::Cluster => self.data::<ClusterEvent>(event, &mark),
            StreamKind::Region => self.data::<RegionEvent>(event, &mark),
            StreamKind::ClusterNode => self.data::<ClusterNodeEvent>(event, &mark),
            StreamKind::ClusterPartition => self.data::<ClusterPartitionEvent>(event, &mark),
            StreamKind::JoinToken => self.data::<JoinTokenEvent>(event, &mark),
            StreamKind::InitialAccessToken => self.data::<InitialAccessTokenEvent>(event, &mark),
        }?;
        Ok(EventView {
            sequence: event.sequence,
            event_type: event.event_type.clone(),
            schema: event.schema,
            stream: stream_text(event.stream),
            revision: event.revision,
            at: event.at,
            actor: self.actor(event),
            request_id: event.request_id.to_string(),
            data,
        })
    }

    /// The body as JSON. Every sealed value is first replaced by a mark, which the JSON then shows
    /// where the value belongs.
    fn data<E: DomainEvent>(&self, event: &StoredEvent, mark: &Mark) -> Result<Value, QueryError> {
        let mut decoded: E = decode_event(event.raw()).map_err(fault)?;
        let mut opened = Vec::new();
        decoded.personal_mut(&mut |field, value| {
            let shown = match self.open(event.stream, field, value) {
                Ok(Some(text)) if field == "password" => json!({"password_hash": kind_of_hash(&text)}),
                Ok(Some(text)) => text_or_json(&text),
                Ok(None) | Err(_) => json!({"sealed": true}),
            };
            *value = Personal::Sealed(mark.at(opened.len()));
            opened.push(shown);
        });
        let mut data = serde_json::to_value(&decoded).map_err(fault)?;
        mark.put_opened(&mut data, &opened);
        Ok(data)
    }

    fn actor(&self, event: &StoredEvent) -> Value {
        let mut actor = Map::new();
        actor.insert("kind".to_owned(), json!(format!("{:?}", event.actor.kind).to_lowercase()));
        if !event.actor.id.is_empty() {
            actor.insert("id".to_owned(), json!(event.actor.id));
        }
        if let Some(sealed) = event.actor_details.as_deref().and_then(|bytes| decode_sealed(bytes).ok()) {
            let place = Place::Actor { proposal: event.proposal };
            let details = match self.keys.open(&place, &sealed) {
                Ok(Some(text)) => text_or_json(&text),
                Ok(None) | Err(_) => json!({"sealed": true}),
            };
            actor.insert("details".to_owned(), details);
        }
        Value::Object(actor)
    }
}

fn parse_sequence(token: &str) -> Result<u64, QueryError> {
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| QueryError::InvalidPageToken)?;
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| QueryError::InvalidPageToken)
}

/// Only what a hash was made with is shown, never the hash.
fn kind_of_hash(hash: &str) -> &str {
    hash.split('$').nth(1).unwrap_or("unknown")
}

fn text_or_json(text: &str) -> Value {
    if text.starts_with(['{', '[']) {
        serde_json::from_str(text).unwrap_or_else(|_| json!(text))
    } else {
        json!(text)
    }
}

/// Stands in for the opened values of one event. It is a hash of the stored event: text inside the
/// event that looked like it would have to contain its own hash.
struct Mark {
    key: DataKeyId,
    nonce: [u8; 12],
}

impl Mark {
    fn new(stored: &[u8]) -> Self {
        let hash = chain(&CHAIN_START, stored);
        let (mut key, mut nonce) = ([0; 16], [0; 12]);
        key.iter_mut().chain(&mut nonce).zip(hash).for_each(|(to, from)| *to = from);
        Self { key: DataKeyId::from_bytes(key), nonce }
    }

    /// The mark of the opened value at `place`.
    fn at(&self, place: usize) -> Sealed {
        let revision = u64::try_from(place).unwrap_or(u64::MAX);
        Sealed { key: self.key, revision, nonce: self.nonce, ciphertext: Vec::new() }
    }

    /// Replaces each mark by what it stands for.
    fn put_opened(&self, data: &mut Value, opened: &[Value]) {
        if let Some(place) = self.place(data) {
            *data = opened.get(place).cloned().unwrap_or(Value::Null);
            return;
        }
        if let Value::Object(members) = data {
            for member in members.values_mut() {
                self.put_opened(member, opened);
            }
        } else if let Value::Array(items) = data {
            for item in items {
                self.put_opened(item, opened);
            }
        }
    }

    fn place(&self, data: &Value) -> Option<usize> {
        let members = data.as_object().filter(|members| members.len() == 4)?;
        let is_key = members.get("k")?.as_str()? == self.key.to_string();
        let nonce = members.get("n")?.as_array().filter(|bytes| is_key && bytes.len() == self.nonce.len())?;
        let is_mark = nonce.iter().zip(self.nonce).all(|(byte, own)| byte.as_u64() == Some(u64::from(own)));
        members.get("r")?.as_u64().filter(|_| is_mark).and_then(|place| usize::try_from(place).ok())
    }
}

/// A stream's id as people see it.
fn stream_text(stream: StreamRef) -> String {
    match stream.kind {
        StreamKind::Tenant | StreamKind::DirectoryTenant => TenantId::from_bytes(stream.id).to_string(),
        StreamKind::User => UserId::from_bytes(stream.id).to_string(),
        StreamKind::Client => ClientId::from_bytes(stream.id).to_string(),
        StreamKind::Session => SessionId::from_bytes(stream.id).to_string(),
        StreamKind::Grant => GrantId::from_bytes(stream.id).to_string(),
        StreamKind::Family => FamilyId::from_bytes(stream.id).to_string(),
        StreamKind::SigningKey => SigningKeyId::from_bytes(stream.id).to_string(),
        StreamKind::Cluster => ClusterStreamId::from_bytes(stream.id).to_string(),
        StreamKind::Region => RegionStreamId::from_bytes(stream.id).to_string(),
        StreamKind::ClusterNode => NodeStreamId::from_bytes(stream.id).to_string(),
        StreamKind::ClusterPartition => PartitionStreamId::from_bytes(stream.id).to_string(),
        StreamKind::JoinToken => JoinTokenId::from_bytes(stream.id).to_string(),
        StreamKind::InitialAccessToken => InitialAccessTokenId::from_bytes(stream.id).to_string(),
    }
}
