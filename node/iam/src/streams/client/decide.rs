//! What may be done to a client.

use domicile_raft::Timestamp;
use serde_json::Value;

use super::check_metadata;
use super::event::{
    ClientCredentialAdded, ClientDeleted, ClientDisabled, ClientEnabled, ClientEvent, ClientMetadataChanged,
    ClientRegistered, Credential,
};
use super::state::Client;
use crate::commands::ClientRefusal;
use crate::model::{AuthMethod, ClientMetadata};
use crate::personal::Personal;
use crate::streams::event_set::Change;

/// A new client. Its `client_id` and credential were made before.
///
/// # Errors
/// [`ClientRefusal`] for what is malformed; uniqueness is the claims' to say.
pub fn decide_register(
    metadata: &ClientMetadata,
    client_id: &str,
    credential: Option<Credential>,
) -> Result<ClientEvent, ClientRefusal> {
    // VSCHAR of RFC 6749 appendix A.1.
    if !(1..=255).contains(&client_id.len()) || !client_id.bytes().all(|b| matches!(b, 0x20..=0x7e)) {
        return Err(ClientRefusal::InvalidClientId);
    }
    let (metadata, contacts) = split_contacts(check_metadata(metadata.clone())?);
    Ok(ClientEvent::Registered(ClientRegistered {
        client_id: client_id.to_owned(),
        metadata,
        contacts: contacts.map(Personal::plain),
        credentials: credential.into_iter().collect(),
    }))
}

/// Takes `contacts` out, as JSON text: they are addresses of people.
fn split_contacts(mut metadata: ClientMetadata) -> (ClientMetadata, Option<String>) {
    let contacts = metadata.extra.remove("contacts").filter(|list| *list != Value::Array(Vec::new()));
    (metadata, contacts.map(|list| list.to_string()))
}

/// Replaces the metadata; `None` if nothing changes. `contacts` are the current ones in clear.
///
/// # Errors
/// [`ClientRefusal`]. A client cannot become public or confidential afterwards.
pub fn decide_update(
    client: &Client,
    contacts: Option<&str>,
    metadata: &ClientMetadata,
) -> Result<Option<ClientEvent>, ClientRefusal> {
    let registration = client.registration.as_ref().ok_or(ClientRefusal::NotFound)?;
    let is_public = |metadata: &ClientMetadata| metadata.token_endpoint_auth_method == AuthMethod::None;
    if is_public(metadata) != is_public(&registration.metadata) {
        return Err(ClientRefusal::InvalidClientMetadata {
            field: "token_endpoint_auth_method".to_owned(),
            rule: "cannot change between public and confidential",
        });
    }
    let (after, after_contacts) = split_contacts(check_metadata(metadata.clone())?);
    let contacts_change = (contacts != after_contacts.as_deref()).then(|| Change {
        before: registration.contacts.clone(),
        after: after_contacts.map(Personal::plain),
    });
    let metadata_change = Change::between(registration.metadata.clone(), after);
    let changes = metadata_change.is_some() || contacts_change.is_some();
    Ok(changes.then_some(ClientEvent::MetadataChanged(ClientMetadataChanged {
        metadata: metadata_change,
        contacts: contacts_change,
    })))
}

/// Disables or enables; `None` if it is so already.
pub fn decide_switch(client: &Client, disabled: bool) -> Option<ClientEvent> {
    match (client.disabled, disabled) {
        (false, true) => Some(ClientEvent::Disabled(ClientDisabled {})),
        (true, false) => Some(ClientEvent::Enabled(ClientEnabled {})),
        (true, true) | (false, false) => None,
    }
}

/// Adds a secret; those before it end at `others_end` unless they end earlier.
///
/// # Errors
/// [`ClientRefusal::NoSecret`] and [`ClientRefusal::NotFound`].
pub fn decide_add_secret(
    client: &Client,
    credential: Credential,
    others_end: Timestamp,
) -> Result<ClientEvent, ClientRefusal> {
    let registration = client.registration.as_ref().ok_or(ClientRefusal::NotFound)?;
    if !registration.metadata.token_endpoint_auth_method.uses_secret() {
        return Err(ClientRefusal::NoSecret);
    }
    let ends_later = |old: &&Credential| old.expires_at.is_none_or(|end| end > others_end);
    let expiries = registration
        .credentials
        .iter()
        .filter(ends_later)
        .map(|old| (old.id, Change { before: old.expires_at, after: Some(others_end) }))
        .collect();
    Ok(ClientEvent::CredentialAdded(ClientCredentialAdded { credential, expiries }))
}

/// Deletes for good.
///
/// # Errors
/// [`ClientRefusal::NotFound`] if that happened before.
pub fn decide_delete(client: &Client) -> Result<ClientEvent, ClientRefusal> {
    client.registration.as_ref().ok_or(ClientRefusal::NotFound)?;
    Ok(ClientEvent::Deleted(ClientDeleted {}))
}
