//! What a client is told about its registration (RFC 7591 §3.2, RFC 7592 §3).

use domicile_iam::commands::ClientRefusal;
use domicile_iam::model::ClientView;
use serde_json::{Value, json};

use super::statement::StatementFault;
use crate::endpoint;
use crate::error::ErrorCode;
use crate::response::Response;

/// Why a registration is refused (RFC 7591 §3.2.2). Names a member of ours or of the request, never a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {description}", code.as_str())]
pub struct RegistrationError {
    /// The code.
    pub code: ErrorCode,
    /// For the developer.
    pub description: String,
}

impl RegistrationError {
    /// `invalid_client_metadata` for one member.
    #[must_use]
    pub fn metadata(name: &str, rule: &str) -> Self {
        Self { code: ErrorCode::InvalidClientMetadata, description: readable(&format!("`{name}` {rule}")) }
    }

    /// The JSON answer.
    #[must_use]
    pub fn response(&self) -> Response {
        let body = json!({ "error": self.code.as_str(), "error_description": self.description });
        Response::json(self.code.status(), &body)
    }
}

/// In the characters that RFC 6749 §5.2 allows: a member's name may be anything.
fn readable(text: &str) -> String {
    let fits = |c: &char| matches!(c, ' ' | '!' | '#'..='[' | ']'..='~');
    text.chars().filter(fits).take(200).collect()
}

impl From<StatementFault> for RegistrationError {
    fn from(fault: StatementFault) -> Self {
        let code = match fault {
            StatementFault::Invalid => ErrorCode::InvalidSoftwareStatement,
            StatementFault::Unapproved => ErrorCode::UnapprovedSoftwareStatement,
        };
        Self { code, description: fault.to_string() }
    }
}

impl From<&ClientRefusal> for RegistrationError {
    fn from(refusal: &ClientRefusal) -> Self {
        match refusal {
            ClientRefusal::InvalidRedirectUri { rule, .. } => {
                Self { code: ErrorCode::InvalidRedirectUri, description: format!("a redirect URI {rule}") }
            }
            ClientRefusal::InvalidClientMetadata { field, rule } => Self::metadata(field, rule),
            ClientRefusal::NotFound
            | ClientRefusal::Stale { .. }
            | ClientRefusal::InvalidClientId
            | ClientRefusal::ClientIdTaken
            | ClientRefusal::NoSecret => Self::metadata("the metadata", "cannot be registered"),
        }
    }
}

/// What only the client learns.
#[derive(Clone, Copy)]
pub struct Access<'a> {
    /// The secret, where one was made just now.
    pub secret: Option<&'a str>,
    /// The registration access token that counts from now on.
    pub token: &'a str,
}

/// The client information response: 201 for a new client, else 200.
#[must_use]
pub fn information(issuer: &str, client: &ClientView, access: Access<'_>, new: bool) -> Response {
    let mut body = match serde_json::to_value(&client.metadata) {
        Ok(body @ Value::Object(_)) => body,
        Ok(_) | Err(_) => json!({}),
    };
    if let Some(members) = body.as_object_mut() {
        // Operators' alone, so that nobody looks for it here.
        members.remove("resource_identifiers");
        let uri = endpoint::url(issuer, &format!("{}/{}", endpoint::REGISTER, client.client_id));
        for (name, value) in [
            ("client_id", json!(client.client_id)),
            ("client_id_issued_at", json!(client.created_at.seconds())),
            ("registration_client_uri", json!(uri)),
            ("registration_access_token", json!(access.token)),
        ] {
            members.insert(name.to_owned(), value);
        }
        if let Some(secret) = access.secret {
            members.insert("client_secret".to_owned(), json!(secret));
            // 0: never (RFC 7591 §3.2.1).
            members.insert("client_secret_expires_at".to_owned(), json!(0));
        }
    }
    Response::json(if new { 201 } else { 200 }, &body)
}

/// The client is gone (RFC 7592 §2.3).
#[must_use]
pub fn deleted() -> Response {
    Response::empty(204)
}
