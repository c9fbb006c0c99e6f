//! What happens to a client.

use domicile_raft::Timestamp;
use domicile_storage::codec::{self, CodecError};
use serde::{Deserialize, Serialize};

use crate::ids::CredentialId;
use crate::model::{ClientMetadata, Delegation};
use crate::personal::Personal;
use crate::streams::event_set::{Change, Payload, event_set, visit_change};

event_set! {
    /// Events of a client.
    ClientEvent {
        /// The client exists from here on.
        Registered(ClientRegistered) => "client.registered", 2;
        /// Other metadata.
        MetadataChanged(ClientMetadataChanged) => "client.metadata.changed", 2;
        /// A further credential; those before it may be given an end.
        CredentialAdded(ClientCredentialAdded) => "client.credential.added", 2;
        /// Disabled: all that was issued to it is void.
        Disabled(ClientDisabled) => "client.disabled", 1;
        /// Enabled again.
        Enabled(ClientEnabled) => "client.enabled", 1;
        /// Gone for good; its `client_id` is free again.
        Deleted(ClientDeleted) => "client.deleted", 1;
        /// Not an operator had it registered.
        Delegated(ClientDelegated) => "client.delegated", 1;
        /// Its registration is managed by another token from here on (RFC 7592 §1.2).
        RegistrationTokenChanged(ClientRegistrationTokenChanged) => "client.registration_token.changed", 1;
    }
}

/// Field name that seals `contacts`; it can never change.
pub const CONTACTS_FIELD: &str = "contacts";
/// Field name that seals a secret; it can never change.
pub const SECRET_FIELD: &str = "client_secret";

/// Schema 1 knew neither `private_key_jwt` nor `client_secret_jwt` and kept no secret; all of it is read as
/// it is.
fn first_schema<T: serde::de::DeserializeOwned>(schema: u16, body: &[u8]) -> Result<T, CodecError> {
    if schema == 1 {
        codec::decode_open(body)
    } else {
        Err(CodecError::Malformed(format!("unknown event schema {schema}")))
    }
}

/// How a client proves itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Its id.
    pub id: CredentialId,
    /// SHA-256 of the secret.
    #[serde(with = "serde_bytes")]
    pub secret_sha256: [u8; 32],
    /// When it was added.
    pub created_at: Timestamp,
    /// When it stops to work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The secret itself, where HMAC needs it (`client_secret_jwt`), sealed under the tenant's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Personal>,
}

/// `client.registered`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientRegistered {
    /// The OAuth `client_id`.
    pub client_id: String,
    /// Metadata without `contacts`.
    pub metadata: ClientMetadata,
    /// `contacts`: addresses of people, a JSON array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contacts: Option<Personal>,
    /// None for a public client.
    #[serde(default)]
    pub credentials: Vec<Credential>,
}

impl Payload for ClientRegistered {
    fn personal_mut(&mut self, visit: &mut dyn FnMut(&str, &mut Personal)) {
        if let Some(contacts) = &mut self.contacts {
            visit(CONTACTS_FIELD, contacts);
        }
        for secret in self.credentials.iter_mut().filter_map(|credential| credential.secret.as_mut()) {
            visit(SECRET_FIELD, secret);
        }
    }

    fn upcast(schema: u16, body: &[u8]) -> Result<Self, CodecError> {
        first_schema(schema, body)
    }
}

/// `client.metadata.changed`: only what changed is present.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientMetadataChanged {
    /// Metadata without `contacts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Change<ClientMetadata>>,
    /// `contacts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contacts: Option<Change<Option<Personal>>>,
}

impl Payload for ClientMetadataChanged {
    fn personal_mut(&mut self, visit: &mut dyn FnMut(&str, &mut Personal)) {
        visit_change(CONTACTS_FIELD, &mut self.contacts, visit);
    }

    fn upcast(schema: u16, body: &[u8]) -> Result<Self, CodecError> {
        first_schema(schema, body)
    }
}

/// `client.credential.added`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCredentialAdded {
    /// The new one.
    pub credential: Credential,
    /// The ends of those before it, where they changed.
    #[serde(default)]
    pub expiries: Vec<(CredentialId, Change<Option<Timestamp>>)>,
}

impl Payload for ClientCredentialAdded {
    fn personal_mut(&mut self, visit: &mut dyn FnMut(&str, &mut Personal)) {
        if let Some(secret) = &mut self.credential.secret {
            visit(SECRET_FIELD, secret);
        }
    }

    fn upcast(schema: u16, body: &[u8]) -> Result<Self, CodecError> {
        first_schema(schema, body)
    }
}

/// `client.disabled`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientDisabled {}

impl Payload for ClientDisabled {}

/// `client.enabled`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientEnabled {}

impl Payload for ClientEnabled {}

/// `client.deleted`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientDeleted {}

impl Payload for ClientDeleted {}

/// `client.delegated`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientDelegated {
    /// By whom, within which bounds.
    pub delegation: Delegation,
}

impl Payload for ClientDelegated {}

/// `client.registration_token.changed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientRegistrationTokenChanged {
    /// SHA-256 of the new one.
    #[serde(with = "serde_bytes")]
    pub token_sha256: [u8; 32],
}

impl Payload for ClientRegistrationTokenChanged {}
