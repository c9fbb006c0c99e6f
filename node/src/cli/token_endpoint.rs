//! The token endpoint of the tenant of operators, as its public client sees it (RFC 6749 §4.1.3, §6).

use anyhow::Context as _;
use axum::body::Body;
use axum::http::{Method, header};
use domicile_iam::model::{ADMIN_SCOPE, CLI_CLIENT_ID};
use domicile_raft::Timestamp;
use serde_json::Value;
use url::Url;

use super::site::Site;
use super::stored_token::StoredToken;
use super::trust::Trust;

/// Seconds that a token lasts if the answer does not say.
const LIFETIME_S: u64 = 60;

/// Where codes and refresh tokens become access tokens.
pub(super) struct TokenEndpoint {
    site: Site,
    path: String,
}

impl TokenEndpoint {
    /// The endpoint at `url`.
    pub(super) fn at(url: &str, trust: &Trust) -> anyhow::Result<Self> {
        let mut site = Url::parse(url).context("the token endpoint is no URL")?;
        let path = site.path().to_owned();
        site.set_path("");
        Ok(Self { site: Site::new(site.as_str(), trust)?, path })
    }

    /// Redeems a code.
    pub(super) async fn redeem(
        &self,
        code: &str,
        redirect_uri: &str,
        verifier: &str,
        now: Timestamp,
    ) -> anyhow::Result<StoredToken> {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
        ];
        self.ask(&fields, now).await
    }

    /// Exchanges a refresh token.
    pub(super) async fn refresh(&self, token: &str, now: Timestamp) -> anyhow::Result<StoredToken> {
        self.ask(&[("grant_type", "refresh_token"), ("refresh_token", token)], now).await
    }

    async fn ask(&self, fields: &[(&str, &str)], now: Timestamp) -> anyhow::Result<StoredToken> {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("client_id", CLI_CLIENT_ID).extend_pairs(fields);
        let headers = [(header::CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned())];
        let (status, bytes) =
            self.site.send(Method::POST, &self.path, &headers, Body::from(form.finish())).await?;
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if !status.is_success() {
            let text = |name| answer.get(name).and_then(Value::as_str).unwrap_or_default();
            anyhow::bail!("{status}: {} {}", text("error"), text("error_description"));
        }
        let endpoint = format!("{}{}", self.site.url().as_str().trim_end_matches('/'), self.path);
        token(&answer, &endpoint, now)
    }
}

/// What a good answer gives (RFC 6749 §5.1).
fn token(answer: &Value, endpoint: &str, now: Timestamp) -> anyhow::Result<StoredToken> {
    let text = |name| answer.get(name).and_then(Value::as_str).map(str::to_owned);
    let scope = text("scope").unwrap_or_default();
    // A server gives less than was asked for to who may not have it (§3.3), and says so.
    anyhow::ensure!(scope.split(' ').any(|scope| scope == ADMIN_SCOPE), "this user is no operator");
    let access_token = text("access_token").context("the node gave no access token")?;
    let lifetime_s = answer.get("expires_in").and_then(Value::as_u64).unwrap_or(LIFETIME_S);
    let expires_at = now.plus_ms(lifetime_s.saturating_mul(1_000));
    Ok(StoredToken::new(endpoint, access_token, text("refresh_token"), expires_at))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rfc6749_s5_1_a_token_without_the_scope_of_operators_is_not_kept() {
        let answer = |scope| json!({"access_token": "a", "scope": scope, "expires_in": 600});
        let kept = token(&answer("openid domicile:admin"), "http://x/t", Timestamp(1_000)).unwrap();
        assert_eq!((kept.expires_at_s, kept.refresh_token), (601, None));
        let refused = token(&answer("openid"), "http://x/t", Timestamp(1_000)).err().unwrap();
        assert_eq!(refused.to_string(), "this user is no operator");
        assert!(token(&json!({"scope": "domicile:admin"}), "http://x/t", Timestamp(0)).is_err());
    }
}
