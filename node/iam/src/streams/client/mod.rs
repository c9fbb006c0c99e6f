//! A client: registration and credentials.

mod assertion;
mod backchannel;
mod decide;
mod event;
mod exchange;
mod family_mode;
mod metadata;
mod policy;
mod redirect;
mod shown_names;
mod state;
mod trusted_issuer;

use domicile_storage::codec::CodecError;

use super::{Aggregate, EventMeta, StreamKind, decode_first_format};
use crate::ids::ClientId;

pub use decide::{decide_add_secret, decide_delete, decide_register, decide_switch, decide_update};
pub use metadata::check_metadata;
pub use policy::admitted;
pub use redirect::{is_on_loopback, is_open_to_impersonation, web_over_http};

pub use event::{
    CONTACTS_FIELD, ClientCredentialAdded, ClientDelegated, ClientDeleted, ClientDisabled, ClientEnabled,
    ClientEvent, ClientMetadataChanged, ClientRegistered, ClientRegistrationTokenChanged, Credential,
    SECRET_FIELD,
};
pub use state::{Client, Registration};

impl Aggregate for Client {
    const KIND: StreamKind = StreamKind::Client;
    const STATE_FORMAT: u8 = 1;
    type Id = ClientId;
    type Event = ClientEvent;

    fn evolve(state: Option<Self>, event: &Self::Event, meta: &EventMeta) -> Self {
        state.unwrap_or_default().evolve(event, meta.at)
    }

    fn decode_state(format: u8, body: &[u8]) -> Result<Self, CodecError> {
        decode_first_format(format, body)
    }
}
