//! Logout tokens (OpenID Connect Back-Channel Logout 1.0 §2.4).

use domicile_iam::ids::TokenId;
use serde_json::{Map, Value, json};

use crate::Timestamp;
use crate::jws::{self, SignFault, Signer, TokenType};

/// The one event of a logout token.
pub const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// How long one counts (§2.4: preferably at most two minutes), in seconds. Each attempt signs a fresh one.
pub const LIFETIME_S: u64 = 120;

/// What a logout token says.
#[derive(Clone, Copy, Debug)]
pub struct LogoutToken<'a> {
    /// `iss`.
    pub issuer: &'a str,
    /// `aud`: the client that is told.
    pub client_id: &'a str,
    /// `sub`, as that client knows the user; none once the user is erased.
    pub subject: Option<&'a str>,
    /// `sid`, as in its ID tokens.
    pub sid: &'a str,
    /// `jti`.
    pub id: TokenId,
    /// `iat`.
    pub now: Timestamp,
}

impl LogoutToken<'_> {
    /// Its claims. Never a `nonce` (§2.4).
    #[must_use]
    pub fn claims(&self) -> Map<String, Value> {
        let mut claims = Map::new();
        let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        put("iss", self.issuer.into());
        put("aud", self.client_id.into());
        put("iat", self.now.seconds().into());
        put("exp", (self.now.seconds() + LIFETIME_S).into());
        put("jti", self.id.to_string().into());
        put("events", json!({ EVENT: {} }));
        put("sid", self.sid.into());
        if let Some(subject) = self.subject {
            put("sub", subject.into());
        }
        claims
    }
}

/// Signs what [`LogoutToken::claims`] gave.
///
/// # Errors
/// [`SignFault`].
pub fn sign(claims: &Map<String, Value>, key: &dyn Signer) -> Result<String, SignFault> {
    jws::sign(key, TokenType::Logout, claims)
}

/// The body of the request that delivers a token (§2.5). Base64url and points need no escapes.
#[must_use]
pub fn form(token: &str) -> String {
    format!("logout_token={token}")
}

#[cfg(test)]
mod tests {
    use domicile_iam::ids::Id;
    use domicile_iam::model::SigningAlgorithm;

    use super::*;
    use crate::id_token_hint;
    use crate::testing::{ISSUER, NOW, keys};

    fn token(subject: Option<&'static str>) -> LogoutToken<'static> {
        let id = TokenId::from_bytes([7; 16]);
        LogoutToken { issuer: ISSUER, client_id: "app", subject, sid: "sid-1", id, now: NOW }
    }

    #[test]
    fn oidc_backchannel_s2_4_a_logout_token_has_what_it_must_and_no_nonce() {
        let claims = token(Some("ada")).claims();
        let iat = claims["iat"].as_u64().unwrap();
        assert_eq!((claims["iss"].as_str(), claims["aud"].as_str()), (Some(ISSUER), Some("app")));
        assert_eq!((claims["sub"].as_str(), claims["sid"].as_str()), (Some("ada"), Some("sid-1")));
        assert!(claims["exp"].as_u64().unwrap() - iat <= 120 && iat == NOW.seconds());
        assert!(claims["jti"].as_str().is_some_and(|jti| jti.len() > 20));
        assert_eq!(claims["events"], json!({ "http://schemas.openid.net/event/backchannel-logout": {} }));
        assert!(!claims.contains_key("nonce"));
        assert!(!token(None).claims().contains_key("sub"), "an erased user has none");
    }

    #[test]
    fn rfc8725_s3_11_a_logout_token_is_typed_and_no_id_token() {
        for algorithm in SigningAlgorithm::ALL {
            let signed = sign(&token(Some("ada")).claims(), keys().signer(algorithm)).unwrap();
            assert!(jws::verify::<Map<String, Value>>(&signed, TokenType::Logout, &keys().set).is_ok());
            assert!(id_token_hint::open(&signed, ISSUER, &keys().set).is_err());
            assert_eq!(form(&signed), format!("logout_token={signed}"));
        }
    }
}
