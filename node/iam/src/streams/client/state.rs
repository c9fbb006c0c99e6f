//! A client as its events made it.

use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::{ClientEvent, Credential};
use crate::model::{AuthMethod, ClientMetadata, Delegation};
use crate::personal::Personal;

/// A client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Absent once deleted.
    #[serde(default)]
    pub registration: Option<Registration>,
    /// Whether disabled.
    pub disabled: bool,
    /// Tokens from this time or before are void. 0 when nothing was ever voided.
    pub not_before: Timestamp,
    /// When it was registered.
    pub created_at: Timestamp,
    /// Who had it registered, where that was no operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegation: Option<Delegation>,
    /// SHA-256 of the token that its registration is managed by.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "serde_bytes")]
    pub registration_access_sha256: Option<[u8; 32]>,
}

/// What was registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The OAuth `client_id`.
    pub client_id: String,
    /// Metadata without `contacts`.
    pub metadata: ClientMetadata,
    /// `contacts`, a JSON array.
    #[serde(default)]
    pub contacts: Option<Personal>,
    /// Credentials, oldest first.
    #[serde(default)]
    pub credentials: Vec<Credential>,
}

impl Client {
    /// What is registered, if the client exists and may act.
    pub fn usable(&self) -> Option<&Registration> {
        self.registration.as_ref().filter(|_| !self.disabled)
    }

    /// Applies `event`, which happened at `at`. Total.
    pub(crate) fn evolve(mut self, event: &ClientEvent, at: Timestamp) -> Self {
        match event {
            ClientEvent::Registered(registered) => {
                self.registration = Some(Registration {
                    client_id: registered.client_id.clone(),
                    metadata: registered.metadata.clone(),
                    contacts: registered.contacts.clone(),
                    credentials: registered.credentials.clone(),
                });
                self.created_at = at;
            }
            ClientEvent::MetadataChanged(changed) => {
                if let Some(registration) = &mut self.registration {
                    if let Some(metadata) = &changed.metadata {
                        registration.metadata = metadata.after.clone();
                        if registration.metadata.token_endpoint_auth_method != AuthMethod::ClientSecretJwt {
                            // Kept in a form that can be read only as long as it is needed.
                            registration
                                .credentials
                                .iter_mut()
                                .for_each(|credential| credential.secret = None);
                        }
                    }
                    if let Some(contacts) = &changed.contacts {
                        registration.contacts.clone_from(&contacts.after);
                    }
                }
            }
            ClientEvent::CredentialAdded(added) => {
                if let Some(registration) = &mut self.registration {
                    for (id, expiry) in &added.expiries {
                        registration
                            .credentials
                            .iter_mut()
                            .filter(|credential| credential.id == *id)
                            .for_each(|credential| credential.expires_at = expiry.after);
                    }
                    registration
                        .credentials
                        .retain(|credential| credential.expires_at.is_none_or(|end| end > at));
                    registration.credentials.push(added.credential.clone());
                }
            }
            ClientEvent::Disabled(_) => {
                self.disabled = true;
                self.not_before = at;
            }
            ClientEvent::Enabled(_) => self.disabled = false,
            ClientEvent::Deleted(_) => {
                self.registration = None;
                self.registration_access_sha256 = None;
                self.not_before = at;
            }
            ClientEvent::Delegated(delegated) => self.delegation = Some(delegated.delegation.clone()),
            ClientEvent::RegistrationTokenChanged(changed) => {
                self.registration_access_sha256 = Some(changed.token_sha256);
            }
        }
        self
    }
}
