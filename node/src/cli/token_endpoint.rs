//! The token endpoint of the tenant of operators, as its public client sees it (RFC 6749 §4.1.3, §6; RFC 8628 §3.4).

use anyhow::Context as _;
use domicile_iam::model::ADMIN_SCOPE;
use domicile_oidc::device;
use domicile_raft::Timestamp;
use serde_json::Value;

use super::admin_client::AdminClientError;
use super::oauth_form::FormEndpoint;
use super::stored_token::StoredToken;
use super::trust::Trust;

/// Seconds that a token lasts if the answer does not say.
const LIFETIME_S: u64 = 60;

/// Where codes and refresh tokens become access tokens.
pub(super) struct TokenEndpoint {
    form: FormEndpoint,
}

/// What is known of the user's word on a device (RFC 8628 §3.5).
pub(super) enum Polled {
    /// It was yes.
    Token(StoredToken),
    /// There was none.
    Pending,
    /// There was none, and the question came too soon.
    SlowDown,
    /// Nobody could say now.
    Later,
}

impl TokenEndpoint {
    /// The endpoint at `url`.
    pub(super) fn at(url: &str, trust: &Trust) -> anyhow::Result<Self> {
        Ok(Self { form: FormEndpoint::at(url, trust)? })
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

    /// Asks once whether the user let this device in.
    ///
    /// # Errors
    /// The user said no, nobody said anything in time, or the answer is none.
    pub(super) async fn poll(&self, device_code: &str, now: Timestamp) -> anyhow::Result<Polled> {
        let fields = [("grant_type", device::GRANT_TYPE), ("device_code", device_code)];
        let answer = match self.form.post(&fields).await {
            Ok(answer) => answer,
            // A token that was made and lost is given again.
            Err(
                AdminClientError::Timeout | AdminClientError::Transport(_) | AdminClientError::Connect(..),
            ) => {
                return Ok(Polled::Later);
            }
            Err(error) => return Err(error.into()),
        };
        if answer.status.is_server_error() || answer.status == axum::http::StatusCode::TOO_MANY_REQUESTS {
            return Ok(Polled::Later);
        }
        match answer.text("error") {
            Some("authorization_pending") => Ok(Polled::Pending),
            Some("slow_down") => Ok(Polled::SlowDown),
            Some("access_denied") => anyhow::bail!("the sign-in was refused"),
            Some("expired_token") => anyhow::bail!("nobody signed in while the code was good"),
            Some(_) | None => Ok(Polled::Token(token(&answer.good()?, &self.form.url(), now)?)),
        }
    }

    async fn ask(&self, fields: &[(&str, &str)], now: Timestamp) -> anyhow::Result<StoredToken> {
        token(&self.form.post(fields).await?.good()?, &self.form.url(), now)
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
