//! Pushed authorization requests (RFC 9126): the endpoint's request and answer, and what refers to one.

use domicile_iam::model::{AuthMethod, ClientMetadata, ClientView, TenantContext};
use serde_json::json;

use crate::authorize::{self, Context, Refusal};
use crate::dpop;
use crate::error::OAuthError;
use crate::form::Form;
use crate::response::Response;

/// What a `request_uri` of ours begins with (RFC 9126 §2.2).
pub const PREFIX: &str = "urn:ietf:params:oauth:request_uri:";
/// What a client authenticates by, and is no part of the request.
const AUTHENTICATION: [&str; 3] = ["client_secret", "client_assertion", "client_assertion_type"];
/// The same where the key that was shown takes the place of an empty `dpop_jkt`.
const NOT_KEPT: [&str; 4] = ["client_secret", "client_assertion", "client_assertion_type", "dpop_jkt"];

/// Checks what an authenticated client pushes as the authorization endpoint would (§2.1) and gives its
/// parameters as a form. `shown` is the thumbprint of the key that the request showed to hold: the code
/// is then bound to it (RFC 9449 §10.1).
///
/// # Errors
/// `invalid_request` for a `request_uri` (§2.1) and for what would end on an error page; else what the
/// authorization endpoint would tell the client (§2.3).
pub fn request(
    form: &Form,
    client: &ClientView,
    context: Context<'_>,
    shown: Option<&str>,
) -> Result<String, OAuthError> {
    if form.has("request_uri") {
        return Err(OAuthError::invalid_request("request_uri cannot be pushed"));
    }
    let context = Context { pushed: true, ..context };
    match authorize::validate(form, client, context) {
        Ok(request) => match (request.dpop_jkt.as_deref(), shown) {
            (Some(named), Some(shown)) if named != shown => Err(dpop::invalid_proof()),
            (None, Some(shown)) => Ok(format!("{}&dpop_jkt={shown}", form.without(&NOT_KEPT))),
            (Some(_), _) | (None, None) => Ok(form.without(&AUTHENTICATION)),
        },
        Err(Refusal::Fatal(fatal)) => Err(OAuthError::invalid_request(fatal.description())),
        Err(Refusal::Redirect(told)) => Err(told.error),
    }
}

/// Whether a client proves nothing when it pushes.
pub fn is_public(client: &ClientView) -> bool {
    client.metadata.token_endpoint_auth_method == AuthMethod::None
}

/// Whether a client's requests must be pushed (§5, §6).
pub fn required(client: &ClientMetadata, tenant: &TenantContext) -> bool {
    client.require_pushed_authorization_requests || tenant.settings.require_pushed_authorization_requests
}

/// The answer: 201, not cached (§2.2).
pub fn response(reference: &str, lifetime_ms: u64) -> Response {
    let body = json!({ "request_uri": format!("{PREFIX}{reference}"), "expires_in": lifetime_ms / 1_000 });
    Response::json(201, &body)
}

/// What an authorization request refers to, if it is a pushed request (§4): all its other parameters
/// but `client_id` then count for nothing.
pub fn reference(form: &Form) -> Option<&str> {
    form.get("request_uri").ok().flatten()?.strip_prefix(PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use crate::testing::{NOW, client, client_with, form, json as body, keys, tenant};

    const GOOD: [(&str, &str); 5] = [
        ("client_id", "app"),
        ("redirect_uri", "https://app.example/cb"),
        ("response_type", "code"),
        ("scope", "openid"),
        ("client_secret", "s3cret"),
    ];

    fn push(client: &ClientView, changes: &[(&str, &str)]) -> Result<String, ErrorCode> {
        let kept = GOOD.iter().filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        let pairs: Vec<(&str, &str)> = kept.chain(changes).copied().collect();
        let tenant = tenant();
        let context = Context { tenant: &tenant, keys: &keys().set, now: NOW, pushed: false };
        request(&form(&pairs), client, context, None).map_err(|error| error.code)
    }

    #[test]
    fn rfc9126_s2_1_a_pushed_request_is_checked_as_one_at_the_authorization_endpoint() {
        struct Case {
            rfc: &'static str,
            sends: &'static [(&'static str, &'static str)],
            expects: Option<ErrorCode>,
        }
        let cases = [
            Case { rfc: "9126 §2.1", sends: &[], expects: None },
            Case {
                rfc: "9126 §2.1",
                sends: &[("request_uri", "urn:x")],
                expects: Some(ErrorCode::InvalidRequest),
            },
            Case {
                rfc: "9126 §2.1",
                sends: &[("request_uri", "")],
                expects: Some(ErrorCode::InvalidRequest),
            },
            Case {
                rfc: "9126 §2.3",
                sends: &[("redirect_uri", "https://evil.example/")],
                expects: Some(ErrorCode::InvalidRequest),
            },
            Case {
                rfc: "9126 §2.3",
                sends: &[("response_type", "token")],
                expects: Some(ErrorCode::UnsupportedResponseType),
            },
            Case {
                rfc: "9126 §2.3",
                sends: &[("scope", "unheard-of")],
                expects: Some(ErrorCode::InvalidScope),
            },
            Case {
                rfc: "9126 §3",
                sends: &[("request", "e30.e30.")],
                expects: Some(ErrorCode::RequestNotSupported),
            },
        ];
        for Case { rfc, sends, expects } in cases {
            assert_eq!(push(&client(), sends).err(), expects, "RFC {rfc} {sends:?}");
        }
    }

    #[test]
    fn rfc9126_s2_1_what_a_client_authenticates_by_is_not_kept() {
        let kept = push(&client(), &[("client_assertion", "a.b.c"), ("client_assertion_type", "x")]).unwrap();
        assert!(!kept.contains("secret") && !kept.contains("assertion"), "{kept}");
        let kept = Form::parse(kept.as_bytes()).unwrap();
        assert_eq!(kept.get("redirect_uri"), Ok(Some("https://app.example/cb")));
    }

    #[test]
    fn rfc9449_s10_1_a_key_that_is_shown_binds_the_code_and_must_be_the_one_that_is_named() {
        let (mine, other) = (crate::testing::CHALLENGE, "A".repeat(43));
        let pushed = |named: &str, shown: Option<&str>| {
            let pairs: Vec<(&str, &str)> = GOOD.into_iter().chain([("dpop_jkt", named)]).collect();
            let tenant = tenant();
            let context = Context { tenant: &tenant, keys: &keys().set, now: NOW, pushed: false };
            let kept = request(&form(&pairs), &client(), context, shown).map_err(|error| error.code)?;
            Ok(Form::parse(kept.as_bytes()).unwrap().get("dpop_jkt").unwrap().map(str::to_owned))
        };
        assert_eq!(pushed("", Some(mine)), Ok(Some(mine.to_owned())));
        assert_eq!(pushed(mine, Some(mine)), Ok(Some(mine.to_owned())));
        assert_eq!(pushed(mine, None), Ok(Some(mine.to_owned())));
        assert_eq!(pushed(mine, Some(&other)), Err(ErrorCode::InvalidDpopProof));
        assert_eq!(pushed("", None), Ok(None));
    }

    #[test]
    fn rfc9126_s2_2_the_answer_is_201_with_a_urn_and_its_lifetime() {
        let answer = response("abc", 60_000);
        assert_eq!((answer.status, answer.header("cache-control")), (201, Some("no-store")));
        let answer = body(&answer);
        assert_eq!(answer["request_uri"], "urn:ietf:params:oauth:request_uri:abc");
        assert_eq!(answer["expires_in"], 60);
    }

    #[test]
    fn rfc9126_s5_s6_pushing_is_required_by_client_or_tenant() {
        let strict = client_with(|metadata| metadata.require_pushed_authorization_requests = true);
        assert!(required(&strict.metadata, &tenant()) && !required(&client().metadata, &tenant()));
        let mut strict = tenant();
        strict.settings.require_pushed_authorization_requests = true;
        assert!(required(&client().metadata, &strict));
    }

    #[test]
    fn rfc9126_s4_only_our_urn_refers_to_a_pushed_request() {
        let refers = |value: &str| reference(&form(&[("request_uri", value)])).map(str::to_owned);
        assert_eq!(refers("urn:ietf:params:oauth:request_uri:abc").as_deref(), Some("abc"));
        assert_eq!(refers("https://app.example/request"), None);
        assert_eq!(reference(&form(&[("request_uri", PREFIX), ("request_uri", PREFIX)])), None);
    }
}
