//! The `at+jwt` of a token, for a gateway that a token is meant for: in the body, and in a header for gateways that
//! pass headers on and bodies not.

use domicile_iam::model::{AccessTokenClaims, ClientView, TenantSettings};
use serde_json::json;

use crate::Timestamp;
use crate::error::ErrorCode;
use crate::response::Response;

/// The media type that asks for it, and that it has.
pub const JWT: &str = "application/jwt";

/// How fresh a token's validity is read for an answer that may be kept, in milliseconds. The rest of the tenant's
/// bound is for keeping it: both together are what a revocation takes to count.
#[must_use]
pub fn read_bound_ms(settings: &TenantSettings) -> u64 {
    settings.token_staleness_ms / 2
}

/// Whether `caller` is a resource server that the token is meant for. Its client is not: it holds the opaque one.
#[must_use]
pub fn is_for(claims: &AccessTokenClaims, caller: &ClientView) -> bool {
    claims.aud.iter().any(|aud| caller.metadata.resource_identifiers.contains(aud))
}

/// The answer. A token that is bound to a key is in the body only: who takes it from there checks the proof.
#[must_use]
pub fn response(
    token: String,
    claims: &AccessTokenClaims,
    settings: &TenantSettings,
    now: Timestamp,
) -> Response {
    let kept_ms = settings.token_staleness_ms.saturating_sub(read_bound_ms(settings));
    let max_age_s = (kept_ms / 1_000).min(claims.exp.saturating_sub(now.seconds()));
    let caching = if max_age_s == 0 { "no-store".into() } else { format!("max-age={max_age_s}").into() };
    let mut headers = vec![("content-type", JWT.into()), ("cache-control", caching)];
    if claims.confirmation.is_none() {
        headers.push(("authorization", format!("Bearer {token}").into()));
    }
    Response { status: 200, headers, body: token.into_bytes() }
}

/// There is no JWT of a token that does not count. Gateways refuse on 403.
#[must_use]
pub fn none() -> Response {
    Response::json(403, &json!({ "active": false }))
}

/// The JWT is not `caller`'s to have. The token's own client, which may see in JSON whether the token is active, is
/// told that and nothing of the token; to everybody else the token does not exist (RFC 7662 §2.2).
#[must_use]
pub fn withheld(claims: &AccessTokenClaims, caller: &ClientView) -> Response {
    if claims.client != caller.id {
        return none();
    }
    let body = json!({
        "error": ErrorCode::AccessDenied.as_str(),
        "error_description": "the JWT is for the resource servers of the token; introspect as application/json",
    });
    Response::json(403, &body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access_token::{self, Terms};
    use crate::testing::{NOW, client, issue, other_client, set, tenant, user};

    const API: &str = "https://api.example";

    fn claims() -> AccessTokenClaims {
        let claims = access_token::for_user(&tenant(), &client(), &issue(&["openid"]), &user());
        Terms { dpop_jkt: None, resources: set(&[API]) }.apply(claims)
    }

    #[test]
    fn an_answer_is_kept_no_longer_than_the_bound_and_the_token_allow() {
        let settings =
            |bound_ms| TenantSettings { token_staleness_ms: bound_ms, ..TenantSettings::default() };
        let ends = claims().exp;
        for (bound_ms, now_s, expects) in [
            (5_000, ends - 600, "max-age=2"),
            (60_000, ends - 600, "max-age=30"),
            (60_000, ends - 7, "max-age=7"),
            (60_000, ends, "no-store"),
            (1_000, ends - 600, "no-store"),
            (0, ends - 600, "no-store"),
        ] {
            let settings = settings(bound_ms);
            let answer = response("a.b.c".to_owned(), &claims(), &settings, Timestamp(now_s * 1_000));
            assert_eq!(answer.header("cache-control"), Some(expects), "{bound_ms} {now_s}");
            let kept_ms = expects.strip_prefix("max-age=").map_or(0, |s| s.parse::<u64>().unwrap() * 1_000);
            assert!(kept_ms + read_bound_ms(&settings) <= bound_ms, "{bound_ms}");
        }
    }

    #[test]
    fn only_a_resource_server_of_the_audience_gets_the_jwt() {
        let mut api = other_client();
        api.metadata.resource_identifiers = vec!["https://else.example".to_owned(), API.to_owned()];
        assert!(is_for(&claims(), &api));
        assert!(!is_for(&claims(), &other_client()) && !is_for(&claims(), &client()));
    }

    #[test]
    fn rfc7662_s2_2_a_refusal_of_the_jwt_calls_no_token_inactive_that_its_client_may_see() {
        let own = withheld(&claims(), &client());
        assert_eq!((own.status, own.header("cache-control")), (403, Some("no-store")));
        let told: serde_json::Value = serde_json::from_slice(&own.body).unwrap();
        assert_eq!((&told["error"], told.get("active")), (&json!("access_denied"), None));
        assert_eq!(withheld(&claims(), &other_client()), none(), "strangers learn nothing");
    }

    #[test]
    fn rfc9449_s7_2_a_bound_token_is_not_passed_on_as_one_for_anybody() {
        let settings = TenantSettings::default();
        let plain = response("a.b.c".to_owned(), &claims(), &settings, NOW);
        assert_eq!(plain.header("authorization"), Some("Bearer a.b.c"));
        assert_eq!((plain.header("content-type"), plain.body.as_slice()), (Some(JWT), &b"a.b.c"[..]));
        let bound = Terms { dpop_jkt: Some("k".to_owned()), ..Terms::default() }.apply(claims());
        assert_eq!(response("a.b.c".to_owned(), &bound, &settings, NOW).header("authorization"), None);
        assert_eq!((none().status, none().header("cache-control")), (403, Some("no-store")));
    }
}
