//! A client of the admin API.

use std::path::Path;

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use serde_json::Value;

use super::site::Site;
use crate::config::Secret;

/// A call that gave no result.
#[derive(Debug, thiserror::Error)]
pub enum AdminClientError {
    /// The admin URL cannot be used.
    #[error("`{0}` is not an http or https URL")]
    Url(String),
    /// An https URL needs to know whom to trust.
    #[error("an https admin URL needs --admin-ca with the certificate to trust")]
    NoTrust,
    /// The file of trusted certificates cannot be used.
    #[error("cannot read certificates from {0}")]
    Trust(String),
    /// Nobody answers there.
    #[error("cannot reach {0}")]
    Connect(String, #[source] std::io::Error),
    /// The connection broke.
    #[error("the connection to the node broke")]
    Transport(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No answer within 30 s. What was asked may still happen.
    #[error("the node did not answer in time")]
    Timeout,
    /// The node refused; the text is of its problem document.
    #[error("{status}: {text}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// Title and detail.
        text: String,
    },
    /// The answer is no JSON.
    #[error("the node's answer is not JSON")]
    Answer(#[source] serde_json::Error),
}

/// Where the admin API is, and the token for it.
pub struct AdminClient {
    site: Site,
    token: Secret,
}

impl AdminClient {
    /// `url` is the admin URL without `/v1`. `trust` holds the certificates (PEM) to trust for https.
    ///
    /// # Errors
    /// [`AdminClientError`]: `Url`, `NoTrust`, `Trust`.
    pub fn new(url: &str, token: Secret, trust: Option<&Path>) -> Result<Self, AdminClientError> {
        Ok(Self { site: Site::new(url, trust)?, token })
    }

    /// Sends a request; gives the JSON of a 2xx answer (`null` if it has none).
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, AdminClientError> {
        let headers = [
            (header::AUTHORIZATION, format!("Bearer {}", self.token.expose())),
            (header::CONTENT_TYPE, "application/json".to_owned()),
        ];
        let body = body.map_or_else(Body::empty, |value| Body::from(value.to_string()));
        let (status, bytes) = self.site.send(method, path, &headers, body).await?;
        if !status.is_success() {
            return Err(AdminClientError::Refused { status, text: problem_text(&bytes) });
        }
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(AdminClientError::Answer)
    }
}

/// Title and detail of a problem document, or the first line of whatever came.
fn problem_text(bytes: &[u8]) -> String {
    let Ok(Value::Object(problem)) = serde_json::from_slice(bytes) else {
        return String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().chars().take(200).collect();
    };
    let text = |name: &str| problem.get(name).and_then(Value::as_str).map(str::to_owned);
    [text("title"), text("detail")].into_iter().flatten().collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str, trust: Option<&Path>) -> Result<(), String> {
        AdminClient::new(url, Secret::new("t"), trust).map(|_| ()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_url_decides_what_is_needed() {
        assert_eq!(client("http://127.0.0.1:8080", None), Ok(()));
        assert_eq!(client("ftp://x", None), Err("`ftp://x/` is not an http or https URL".to_owned()));
        assert_eq!(client("nowhere", None), Err("`nowhere` is not an http or https URL".to_owned()));
        let message = "an https admin URL needs --admin-ca with the certificate to trust";
        assert_eq!(client("https://x", None), Err(message.to_owned()));
        assert_eq!(
            client("https://x", Some(Path::new("/nope"))),
            Err("cannot read certificates from /nope".to_owned())
        );
    }

    #[test]
    fn rfc9457_a_problem_is_told_by_title_and_detail() {
        assert_eq!(problem_text(br#"{"title":"Conflict","detail":"slug taken"}"#), "Conflict: slug taken");
        assert_eq!(problem_text(br#"{"title":"Gone"}"#), "Gone");
        assert_eq!(problem_text(b"Bad Gateway\n<html>"), "Bad Gateway");
        assert_eq!(problem_text(b""), "");
    }
}
