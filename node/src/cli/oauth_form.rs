//! A form for an endpoint of the tenant of operators, from its public client (RFC 6749 §2.1).

use anyhow::Context as _;
use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use domicile_iam::model::CLI_CLIENT_ID;
use serde_json::Value;
use url::Url;

use super::admin_client::AdminClientError;
use super::site::Site;
use super::trust::Trust;

/// Letters of a server's text that are shown at most.
const SHOWN_MAX: usize = 512;

/// Where forms go.
pub(super) struct FormEndpoint {
    site: Site,
    path: String,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// `null` where it was no JSON.
    pub(super) body: Value,
}

impl FormEndpoint {
    /// The endpoint at `url`.
    pub(super) fn at(url: &str, trust: &Trust) -> anyhow::Result<Self> {
        let mut site = Url::parse(url).context("the endpoint is no URL")?;
        let path = site.path().to_owned();
        site.set_path("");
        Ok(Self { site: Site::new(site.as_str(), trust)?, path })
    }

    /// Where that is.
    pub(super) fn url(&self) -> String {
        format!("{}{}", self.site.url().as_str().trim_end_matches('/'), self.path)
    }

    /// Sends `fields` and the client's id.
    pub(super) async fn post(&self, fields: &[(&str, &str)]) -> Result<Answer, AdminClientError> {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("client_id", CLI_CLIENT_ID).extend_pairs(fields);
        let headers = [(header::CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned())];
        let (status, bytes) =
            self.site.send(Method::POST, &self.path, &headers, Body::from(form.finish())).await?;
        Ok(Answer { status, body: serde_json::from_slice(&bytes).unwrap_or_default() })
    }
}

impl Answer {
    /// A member that is text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name).and_then(Value::as_str)
    }

    /// The body of a good answer.
    ///
    /// # Errors
    /// What the server says went wrong (RFC 6749 §5.2).
    pub(super) fn good(self) -> anyhow::Result<Value> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        let text = |name| self.text(name).map(shown).unwrap_or_default();
        anyhow::bail!("{}: {} {}", self.status, text("error"), text("error_description"));
    }
}

/// Text of a server for a terminal: nothing that would steer it.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|letter| letter.is_ascii_graphic() || *letter == ' ').take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_server_says_does_not_steer_the_terminal() {
        let refused = Answer {
            status: StatusCode::BAD_REQUEST,
            body: json!({"error": "invalid_\u{1b}[2Jgrant", "error_description": "not\r\n this one"}),
        };
        let said = refused.good().unwrap_err().to_string();
        assert_eq!(said, "400 Bad Request: invalid_[2Jgrant not this one");
        let good = Answer { status: StatusCode::OK, body: json!({"a": "b"}) };
        assert_eq!((good.text("a"), good.text("c")), (Some("b"), None));
        assert_eq!(good.good().unwrap(), json!({"a": "b"}));
    }
}
