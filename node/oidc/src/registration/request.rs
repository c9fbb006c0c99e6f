//! A registration as it was sent: known members are decoded one by one, so that a fault has a name.

use domicile_iam::model::{ClientMetadata, GrantType, SOFTWARE_STATEMENT, StatementIssuer};
use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::respond::RegistrationError;
use super::statement::{StatementFault, statement};
use crate::Timestamp;

/// Bytes of a request's body at most.
pub const BYTES_MAX: usize = 64 * 1024;
/// What we give and nobody sends (RFC 7592 §2.2); a first registration that has it is read without.
const GIVEN: [&str; 4] = [
    "registration_access_token",
    "registration_client_uri",
    "client_secret_expires_at",
    "client_id_issued_at",
];
/// Protection that a client asks for and would not get: better no client than one that believes it has it.
const UNSUPPORTED: [&str; 13] = [
    "id_token_encrypted_response_alg",
    "id_token_encrypted_response_enc",
    "userinfo_encrypted_response_alg",
    "userinfo_encrypted_response_enc",
    "introspection_encrypted_response_alg",
    "introspection_encrypted_response_enc",
    "authorization_signed_response_alg",
    "authorization_encrypted_response_alg",
    "authorization_encrypted_response_enc",
    "tls_client_auth_subject_dn",
    "tls_client_certificate_bound_access_tokens",
    "require_signed_request_object",
    "backchannel_token_delivery_mode",
];

/// What was sent.
pub struct RegistrationRequest {
    members: Map<String, Value>,
    /// `client_id`: in updates only.
    pub client_id: Option<String>,
    /// `client_secret`: in updates only.
    pub client_secret: Option<String>,
    given: Option<&'static str>,
}

impl RegistrationRequest {
    /// Reads a body. Null is the same as absent (RFC 7591 §2).
    ///
    /// # Errors
    /// `invalid_client_metadata` if it is no JSON object.
    pub fn parse(body: &[u8]) -> Result<Self, RegistrationError> {
        let parsed = serde_json::from_slice(body);
        let Ok(Value::Object(mut members)) = parsed else {
            return Err(RegistrationError::metadata("the body", "is not a JSON object"));
        };
        members.retain(|_, value| !value.is_null());
        let mut text = |name: &str| match members.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(RegistrationError::metadata(name, "is not a string")),
        };
        let (client_id, client_secret) = (text("client_id")?, text("client_secret")?);
        // All of them go, whichever is named.
        let given: Vec<&str> = GIVEN.into_iter().filter(|name| members.remove(*name).is_some()).collect();
        Ok(Self { members, client_id, client_secret, given: given.first().copied() })
    }

    /// Refuses what an update must not send, and wants what it must (RFC 7592 §2.2).
    ///
    /// # Errors
    /// `invalid_client_metadata`.
    pub fn check_update(&self, client_id: &str) -> Result<(), RegistrationError> {
        if let Some(name) = self.given {
            return Err(RegistrationError::metadata(name, "is not sent in an update"));
        }
        if self.client_id.as_deref() != Some(client_id) {
            return Err(RegistrationError::metadata("client_id", "is not this client's"));
        }
        Ok(())
    }

    /// The metadata, with what a believed software statement says in place of the same said plainly
    /// (RFC 7591 §2.3).
    ///
    /// # Errors
    /// [`RegistrationError`].
    pub fn metadata(
        mut self,
        issuers: &[StatementIssuer],
        now: Timestamp,
    ) -> Result<ClientMetadata, RegistrationError> {
        if let Some(value) = self.members.get(SOFTWARE_STATEMENT) {
            let text = value.as_str().ok_or(StatementFault::Invalid)?;
            let claims = statement(text, issuers, now)?;
            self.members.extend(claims);
        }
        let off = |name: &str| matches!(self.members.get(name), None | Some(Value::Bool(false)));
        if let Some(name) = UNSUPPORTED.into_iter().find(|name| !off(name)) {
            return Err(RegistrationError::metadata(name, "is not supported"));
        }
        keep_known(&mut self.members, "grant_types", |name| {
            GrantType::deserialize(Value::String(name.to_owned())).is_ok()
        });
        keep_known(&mut self.members, "response_types", |name| name == "code");
        for (name, value) in &self.members {
            let alone = Map::from_iter([(name.clone(), value.clone())]);
            if serde_json::from_value::<ClientMetadata>(Value::Object(alone)).is_err() {
                return Err(RegistrationError::metadata(name, "is not supported, or of another type"));
            }
        }
        serde_json::from_value(Value::Object(self.members))
            .map_err(|_| RegistrationError::metadata("the metadata", "cannot be read"))
    }
}

/// Leaves out what is not supported where something else in the list is: the answer says so.
fn keep_known(members: &mut Map<String, Value>, name: &str, known: impl Fn(&str) -> bool) {
    let Some(Value::Array(values)) = members.get_mut(name) else { return };
    if values.iter().any(|value| value.as_str().is_some_and(&known)) {
        values.retain(|value| value.as_str().is_none_or(&known));
    }
}
