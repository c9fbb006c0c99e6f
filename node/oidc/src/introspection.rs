//! Token introspection (RFC 7662).

use std::collections::BTreeSet;

use domicile_iam::ids::ClientId;
use domicile_iam::model::{AccessTokenClaims, AuthMethod, ClientView};
use serde::Serialize;
use serde_json::{Value, json};

use crate::access_token::token_type as access_token_type;
use crate::error::OAuthError;
use crate::form::Form;
use crate::response::Response;
use crate::{Timestamp, scope};

/// Bytes of a token at most; a longer one is none of ours.
const TOKEN_MAX: usize = 16 * 1024;

/// The token to look at. A secret: not for logs.
///
/// `token_type_hint` is read for its form only: our tokens show what they are (§2.1: it may be ignored).
///
/// # Errors
/// `invalid_request` without a token; `invalid_client` for a public client, which proves nothing (§2.1).
pub fn parse<'a>(form: &'a Form, caller: &ClientView) -> Result<&'a str, OAuthError> {
    if caller.metadata.token_endpoint_auth_method == AuthMethod::None {
        return Err(OAuthError::invalid_client());
    }
    form.get_within("token_type_hint", 128)?;
    form.require("token", TOKEN_MAX)
}

/// What is known of a refresh token in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshTokenFacts {
    /// Client it was issued to.
    pub client: ClientId,
    /// `sub` of its user.
    pub subject: String,
    /// Scopes at most.
    pub scopes: BTreeSet<String>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends unless used.
    pub expires_at: Timestamp,
}

/// The answer for every token that is not active, or not the caller's to see (§2.2).
pub fn inactive() -> Response {
    Response::json(200, &json!({ "active": false }))
}

/// What is shown of an access token (RFC 7662 §2.2).
#[derive(Serialize)]
struct Shown<'a> {
    active: bool,
    token_type: &'static str,
    /// RFC 9449 §6.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Value>,
    iss: &'a str,
    sub: &'a str,
    aud: &'a [String],
    client_id: &'a str,
    exp: u64,
    iat: u64,
    jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    amr: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    may_act: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<u64>,
}

/// The answer for a token that `iam` called active: facts for its client and for resource servers that
/// its audience names, nothing for others (§4).
///
/// # Errors
/// That of its serialisation.
pub fn access_token(claims: &AccessTokenClaims, caller: &ClientView) -> Result<Response, serde_json::Error> {
    let own = claims.client == caller.id;
    let served = claims.aud.iter().any(|aud| caller.metadata.resource_identifiers.contains(aud));
    if !own && !served {
        return Ok(inactive());
    }
    let shown = Shown {
        active: true,
        token_type: access_token_type(claims),
        cnf: claims.confirmation.as_ref().map(|confirmation| json!({ "jkt": confirmation.jkt })),
        iss: &claims.iss,
        sub: &claims.sub,
        aud: &claims.aud,
        client_id: &claims.client_id,
        exp: claims.exp,
        iat: claims.iat,
        jti: claims.jti.to_string(),
        scope: claims.scope.as_deref(),
        acr: claims.acr.as_deref(),
        amr: &claims.amr,
        act: claims.act.as_ref(),
        may_act: claims.may_act.as_ref(),
        auth_time: claims.auth_time,
    };
    Response::json_of(200, &shown)
}

/// The answer for a refresh token in use: its client alone may see it.
pub fn refresh_token(facts: &RefreshTokenFacts, issuer: &str, caller: &ClientView) -> Response {
    if facts.client != caller.id {
        return inactive();
    }
    let mut body = json!({
        "active": true,
        "iss": issuer,
        "sub": facts.subject,
        "client_id": caller.client_id,
        "iat": facts.issued_at.seconds(),
        "exp": facts.expires_at.seconds(),
    });
    // RFC 6749 §3.3: there is no empty list.
    if let Some(members) = body.as_object_mut().filter(|_| !facts.scopes.is_empty()) {
        members.insert("scope".to_owned(), scope::text(&facts.scopes).into());
    }
    Response::json(200, &body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use crate::testing::{
        ISSUER, NOW, client, client_with, form, issue, json, other_client, set, tenant, user,
    };

    fn claims() -> AccessTokenClaims {
        crate::access_token::for_user(&tenant(), &client(), &issue(&["openid"]), &user())
    }

    #[test]
    fn rfc7662_s2_2_the_tokens_client_and_its_resource_servers_see_it_and_nobody_else() {
        let mut resource_server = other_client();
        resource_server.metadata.resource_identifiers =
            vec!["https://else.example".to_owned(), ISSUER.to_owned()];
        for caller in [client(), resource_server] {
            let body = json(&access_token(&claims(), &caller).unwrap());
            assert_eq!(body["active"], true);
            assert_eq!(
                (&body["client_id"], &body["sub"], &body["scope"]),
                (&"app".into(), &"sub-ada".into(), &"openid".into())
            );
            assert!(
                body.as_object().unwrap().keys().all(|name| !name.starts_with("dom_")),
                "our ids stay inside"
            );
        }
        let foreign = access_token(&claims(), &other_client()).unwrap();
        assert_eq!(foreign, inactive());
        assert_eq!((foreign.status, foreign.body.as_slice()), (200, &b"{\"active\":false}"[..]));
        assert_eq!(foreign.header("cache-control"), Some("no-store"));
    }

    #[test]
    fn rfc9449_s6_2_a_bound_token_is_shown_with_its_key() {
        let issue = domicile_iam::model::Issue { dpop_jkt: Some("jkt".to_owned()), ..issue(&["openid"]) };
        let claims = crate::access_token::for_user(&tenant(), &client(), &issue, &user());
        let body = json(&access_token(&claims, &client()).unwrap());
        assert_eq!((&body["token_type"], &body["cnf"]), (&"DPoP".into(), &json!({"jkt": "jkt"})));
        assert_eq!(json(&access_token(&self::claims(), &client()).unwrap()).get("cnf"), None);
    }

    #[test]
    fn rfc7662_s2_2_a_refresh_token_is_seen_by_its_client_alone() {
        let facts = RefreshTokenFacts {
            client: client().id,
            subject: "sub-ada".to_owned(),
            scopes: set(&["openid", "email"]),
            issued_at: NOW,
            expires_at: NOW.plus_ms(60_000),
        };
        let body = json(&refresh_token(&facts, ISSUER, &client()));
        let second = NOW.seconds();
        let wanted = json!({
            "active": true, "iss": ISSUER, "sub": "sub-ada", "client_id": "app", "scope": "email openid",
            "iat": second, "exp": second + 60,
        });
        assert_eq!(body, wanted);
        assert_eq!(refresh_token(&facts, ISSUER, &other_client()), inactive());
        let facts = RefreshTokenFacts { scopes: set(&[]), ..facts };
        let body = json(&refresh_token(&facts, ISSUER, &client()));
        assert_eq!((&body["active"], body.get("scope")), (&true.into(), None), "RFC 6749 §3.3");
    }

    #[test]
    fn rfc7662_s2_1_a_caller_authenticates_and_names_one_token() {
        let code = |pairs: &[(&str, &str)], caller| {
            parse(&form(pairs), &caller).map(str::to_owned).map_err(|e| e.code)
        };
        let ask = [("token", "t"), ("token_type_hint", "refresh_token")];
        assert_eq!(code(&ask, client()), Ok("t".to_owned()));
        assert_eq!(code(&[], client()), Err(ErrorCode::InvalidRequest));
        assert_eq!(code(&[("token", "a"), ("token", "b")], client()), Err(ErrorCode::InvalidRequest));
        let public = client_with(|metadata| metadata.token_endpoint_auth_method = AuthMethod::None);
        assert_eq!(code(&ask, public), Err(ErrorCode::InvalidClient));
    }
}
