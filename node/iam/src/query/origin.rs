//! Where a session was begun: what its first event says of who asked.
//!
//! The event has it for the audit log, under the user's key; so nothing more is kept, and erasing the user takes it.

use super::view::View;
use super::{QueryError, fault};
use crate::event::StoredEvent;
use crate::ids::SessionId;
use crate::model::SessionOrigin;
use crate::proposal::ActorKind;
use crate::seal::{Place, decode_sealed};
use crate::streams::StreamRef;
use crate::streams::session::Session;
use crate::tables::{event_key, stream_event_key};

impl View {
    /// Nothing where the event is gone, where its key is, and where no person's browser began the session.
    pub(crate) fn session_origin(&self, id: SessionId) -> Result<SessionOrigin, QueryError> {
        let nothing = || Ok::<_, QueryError>(SessionOrigin::default());
        let first = stream_event_key(self.tenant, StreamRef::of::<Session>(id), 1);
        let sequence = self.engine.get(&first).map_err(fault)?.and_then(|row| row.try_into().ok());
        let Some(sequence) = sequence.map(u64::from_be_bytes) else { return nothing() };
        let stored = self.engine.get(&event_key(self.tenant, sequence)).map_err(fault)?;
        let Some(stored) = stored else { return nothing() };
        let event = StoredEvent::decode(&stored).map_err(fault)?;
        if !matches!(event.actor.kind, ActorKind::User | ActorKind::Anonymous) {
            return nothing();
        }
        let Some(sealed) = event.actor_details.as_deref() else { return nothing() };
        let sealed = decode_sealed(sealed).map_err(fault)?;
        let opened = self.keys.open(&Place::Actor { proposal: event.proposal }, &sealed).map_err(fault)?;
        opened.map_or_else(nothing, |text| serde_json::from_str(&text).map_err(fault))
    }
}
