//! The OpenID Foundation's Dynamic certification plan (its `code` modules) and the plan for third-party
//! initiated login, module by module: each test bears the name of its module and makes the module's
//! assertions about the node (docs/conformance.md). Clients register themselves and prove themselves by
//! `private_key_jwt`, as the plan has it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

#[path = "../oidc_support/mod.rs"]
mod oidc_support;
mod steps;

use oidc_support::assertion::seconds;
use oidc_support::browser::{Browser, Page, PageKind};
use oidc_support::documents::Documents;
use oidc_support::node::{Admin, CALLBACK, Shared};
use oidc_support::registration::{Managed, party, register};
use oidc_support::relying_party::part;
use reqwest::Method;
use serde_json::{Value, json};
use steps::{Dynamic, RsaKey, request, start};

#[tokio::test]
async fn oidcc_server() {
    let (shared, mut browser) = start().await;
    let client = Dynamic::register(shared, json!({})).await;
    let (tokens, claims) = client.sign_in(shared, &mut browser, &[]).await;
    assert_eq!(claims["nonce"], "no-0123456789");
    let info = client.party.userinfo(tokens.text("access_token")).await;
    assert_eq!((info.status, &info.body["sub"]), (200, &claims["sub"]));
    // The suite removes what it registered.
    assert_eq!(Managed::of(&client.body).send(Method::DELETE, None).await.status, 204);
}

#[tokio::test]
async fn oidcc_discovery_endpoint_verification() {
    let (shared, _) = start().await;
    let issuer = &shared.ready.issuer;
    let document: Value = reqwest::get(format!("{issuer}/.well-known/openid-configuration"))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(document["registration_endpoint"], format!("{issuer}/oauth2/register"));
    for (list, needed) in [
        ("token_endpoint_auth_methods_supported", "private_key_jwt"),
        ("token_endpoint_auth_signing_alg_values_supported", "RS256"),
        ("userinfo_signing_alg_values_supported", "RS256"),
        ("subject_types_supported", "pairwise"),
        ("grant_types_supported", "refresh_token"),
        ("scopes_supported", "offline_access"),
    ] {
        assert!(document[list].as_array().unwrap().contains(&json!(needed)), "{list}: {}", document[list]);
    }
}

#[tokio::test]
async fn oidcc_idtoken_rs256() {
    let (shared, mut browser) = start().await;
    let client = Dynamic::register(shared, json!({"id_token_signed_response_alg": "RS256"})).await;
    let (tokens, _) = client.sign_in(shared, &mut browser, &[]).await;
    let header = part(tokens.text("id_token"), 0);
    assert_eq!(header["alg"], "RS256");
    assert!(header["kid"].is_string());
}

#[tokio::test]
async fn oidcc_idtoken_unsigned() {
    let (shared, _) = start().await;
    let unsigned = request(&RsaKey::new("k1"), &json!({"id_token_signed_response_alg": "none"}));
    register(&shared.ready, None, &unsigned).await.assert_error(400, "invalid_client_metadata");
}

#[tokio::test]
async fn oidcc_userinfo_rs256() {
    let (shared, mut browser) = start().await;
    let client = Dynamic::register(shared, json!({"userinfo_signed_response_alg": "RS256"})).await;
    let (tokens, claims) = client.sign_in(shared, &mut browser, &[]).await;
    let url = client.party.endpoint("userinfo_endpoint");
    let answer = client.party.http.get(url).bearer_auth(tokens.text("access_token")).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/jwt");
    let signed = answer.text().await.unwrap();
    assert_eq!(part(&signed, 0)["alg"], "RS256");
    let info = part(&signed, 1);
    assert_eq!((&info["sub"], &info["iss"]), (&claims["sub"], &json!(shared.ready.issuer)));
}

/// An error page of ours: the browser was not sent anywhere.
async fn assert_error_page(browser: &mut Browser, url: &str) {
    let page = browser.open(url).await.page();
    assert_eq!((page.status, page.kind), (400, PageKind::Other), "{}", page.html);
}

#[tokio::test]
async fn oidcc_ensure_redirect_uri_in_authorization_request() {
    let (shared, mut browser) = start().await;
    let client = Dynamic::register(shared, json!({})).await;
    assert_error_page(&mut browser, &client.party.request(&[("redirect_uri", "")])).await;
}

const WITH_QUERY: &str = "https://rp.example.org/callback?foo=bar";

#[tokio::test]
async fn oidcc_redirect_uri_query_ok() {
    let (shared, mut browser) = start().await;
    let client = Dynamic::register(shared, json!({"redirect_uris": [WITH_QUERY]})).await;
    let callback =
        browser.approve(&client.party.request(&[("redirect_uri", WITH_QUERY)]), &shared.person).await;
    assert_eq!(callback.get("foo"), "bar", "the query stays");
    let tokens = client.redeem(&callback, WITH_QUERY).await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
}

#[tokio::test]
async fn oidcc_redirect_uri_query_mismatch() {
    let (shared, mut browser) = start().await;
    let client = Dynamic::register(shared, json!({"redirect_uris": [WITH_QUERY]})).await;
    for other in ["https://rp.example.org/callback?bar=foo", CALLBACK] {
        assert_error_page(&mut browser, &client.party.request(&[("redirect_uri", other)])).await;
    }
}

#[tokio::test]
async fn oidcc_redirect_uri_query_added() {
    let (shared, mut browser) = start().await;
    let client = Dynamic::register(shared, json!({})).await;
    assert_error_page(&mut browser, &client.party.request(&[("redirect_uri", WITH_QUERY)])).await;
}

#[tokio::test]
async fn oidcc_redirect_uri_regfrag() {
    let (shared, _) = start().await;
    let with_fragment = json!({"redirect_uris": ["https://rp.example.org/callback#foobar"]});
    let refused = register(&shared.ready, None, &request(&RsaKey::new("k1"), &with_fragment)).await;
    refused.assert_error(400, "invalid_redirect_uri");
}

async fn login_page(shared: &Shared, browser: &mut Browser, more: Value) -> Page {
    let client = Dynamic::register(shared, more).await;
    let page = browser.open(&client.party.request(&[])).await.page();
    assert_eq!(page.kind, PageKind::Login);
    page
}

#[tokio::test]
async fn oidcc_registration_logo_uri() {
    let (shared, mut browser) = start().await;
    let documents = Documents::start().await;
    let logo = documents.bytes("/logo.png", b"\x89PNG\r\n\x1a\n...");
    let page = login_page(shared, &mut browser, json!({"logo_uri": logo})).await;
    assert!(page.html.contains("<img src=\"data:image/png;base64,"), "{}", page.html);
    assert!(!page.html.contains(&documents.origin), "the browser is sent nowhere for it");
    // What is no picture is not shown, and neither is one that cannot be had.
    let script = documents.bytes("/logo.svg", b"<svg onload='alert(1)'/>");
    for other in [script, format!("{}/nothing", documents.origin)] {
        let page = login_page(shared, &mut browser, json!({"logo_uri": other})).await;
        assert!(!page.html.contains("<img"), "{}", page.html);
    }
}

#[tokio::test]
async fn oidcc_registration_policy_uri() {
    let (shared, mut browser) = start().await;
    let more = json!({"policy_uri": "https://rp.example.org/policy?a=1&b=2"});
    let page = login_page(shared, &mut browser, more).await;
    let link = "<a href=\"https://rp.example.org/policy?a=1&#38;b=2\" rel=\"noopener noreferrer\"";
    assert!(page.html.contains(link), "{}", page.html);
    let consent = browser.log_in(&page, &shared.person).await.page();
    assert_eq!(consent.kind, PageKind::Consent);
    assert!(consent.html.contains(link) && consent.html.contains("registered itself"), "{}", consent.html);
}

#[tokio::test]
async fn oidcc_registration_tos_uri() {
    let (shared, mut browser) = start().await;
    let page = login_page(shared, &mut browser, json!({"tos_uri": "https://rp.example.org/tos"})).await;
    assert!(page.html.contains("<a href=\"https://rp.example.org/tos\""), "{}", page.html);
}

#[tokio::test]
async fn oidcc_registration_jwks_uri() {
    let (shared, mut browser) = start().await;
    let documents = Documents::start().await;
    let key = RsaKey::new("k1");
    let uri = documents.json("/jwks", &json!({"keys": [key.jwk()]}));
    let client = Dynamic::with_key(shared, key, json!({"jwks": null, "jwks_uri": uri})).await;
    client.sign_in(shared, &mut browser, &[]).await;
}

#[tokio::test]
async fn oidcc_registration_sector_uri() {
    let (shared, mut browser) = start().await;
    let documents = Documents::start().await;
    let uri = documents.json("/redirect_uris.json", &json!([CALLBACK, "https://other.example.org/cb"]));
    let sector = json!({
        "subject_type": "pairwise", "sector_identifier_uri": uri,
        "redirect_uris": [CALLBACK, "https://other.example.org/cb"],
    });
    let one = Dynamic::register(shared, sector.clone()).await;
    let two = Dynamic::register(shared, sector).await;
    let (_, first) = one.sign_in(shared, &mut browser, &[]).await;
    let (_, second) = two.sign_in(shared, &mut browser, &[]).await;
    assert_eq!(first["sub"], second["sub"], "OpenID Connect Core §8.1: one sector, one subject");
    // An operator's client is held to the same.
    let mut body = json!({"redirect_uris": ["https://elsewhere.example.org/cb"], "subject_type": "pairwise"});
    body["sector_identifier_uri"] = json!(uri);
    let refused = Admin::of(&shared.ready).refused("clients", body).await;
    assert_eq!(
        (&refused["member"], &refused["error"]),
        (&json!("sector_identifier_uri"), &json!("invalid_client_metadata"))
    );
}

#[tokio::test]
async fn oidcc_registration_sector_bad() {
    let (shared, _) = start().await;
    let documents = Documents::start().await;
    let bad = documents.json("/bad.json", &json!(["https://not.example.org/cb"]));
    let odd = documents.json("/odd.json", &json!({"redirect_uris": [CALLBACK]}));
    for uri in [bad, odd, format!("{}/nothing", documents.origin), "http://sector.example/x".to_owned()] {
        for kind in ["pairwise", "public"] {
            let more = json!({"subject_type": kind, "sector_identifier_uri": uri});
            let refused = register(&shared.ready, None, &request(&RsaKey::new("k1"), &more)).await;
            refused.assert_error(400, "invalid_client_metadata");
        }
    }
}

#[tokio::test]
async fn oidcc_server_rotate_keys() {
    let (shared, _) = start().await;
    let client = Dynamic::register(shared, json!({})).await;
    let kids = async || {
        let jwks = client.party.get(client.party.endpoint("jwks_uri")).await.body;
        let keys = jwks["keys"].as_array().unwrap().clone();
        let kids: Vec<String> = keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect();
        let distinct: std::collections::BTreeSet<&String> = kids.iter().collect();
        assert_eq!(distinct.len(), kids.len(), "RFC 7517 §4.5");
        kids
    };
    let before = kids().await;
    Admin::of(&shared.ready).create("keys/rotate", json!({"alg": "RS256"})).await;
    let after = kids().await;
    assert!(after.iter().any(|kid| !before.contains(kid)), "there is a new key");
    assert!(before.iter().all(|kid| after.contains(kid)), "and the old ones are still there");
}

#[tokio::test]
async fn oidcc_refresh_token_rp_key_rotation() {
    let (shared, mut browser) = start().await;
    let documents = Documents::start().await;
    let key = RsaKey::new("k1");
    let uri = documents.json("/jwks", &json!({"keys": [key.jwk()]}));
    let more = json!({
        "jwks": null, "jwks_uri": uri, "grant_types": ["authorization_code", "refresh_token"],
    });
    let mut client = Dynamic::with_key(shared, key, more).await;
    let wanted = [("scope", "openid offline_access"), ("prompt", "consent")];
    let (tokens, _) = client.sign_in(shared, &mut browser, &wanted).await;
    client.key = RsaKey::new("k2");
    documents.json("/jwks", &json!({"keys": [client.key.jwk()]}));
    // The module waits 60 s; here the set may be asked for again once the key is missed and 10 s are over.
    let mut poll = tokio::time::interval(std::time::Duration::from_millis(500));
    let refreshed = async {
        loop {
            poll.tick().await;
            let answer = client.refresh(tokens.text("refresh_token")).await;
            if answer.status == 200 {
                return answer;
            }
            answer.assert_error(401, "invalid_client");
        }
    };
    let refreshed = tokio::time::timeout(std::time::Duration::from_mins(1), refreshed).await.unwrap();
    assert_eq!(client.party.userinfo(refreshed.text("access_token")).await.status, 200);
}

#[tokio::test]
async fn oidcc_ensure_request_object_with_redirect_uri() {
    let (shared, mut browser) = start().await;
    let client = Dynamic::register(shared, json!({})).await;
    let bad =
        [("request", "eyJhbGciOiJub25lIn0.e30."), ("redirect_uri", "https://rp.example.org/unregistered")];
    assert_error_page(&mut browser, &client.party.request(&bad)).await;
}

#[tokio::test]
async fn oidcc_refresh_token() {
    let (shared, mut browser) = start().await;
    let grants = json!({"grant_types": ["authorization_code", "refresh_token"]});
    let client = Dynamic::register(shared, grants.clone()).await;
    let other = Dynamic::register(shared, grants).await;
    let wanted = [("scope", "openid offline_access"), ("prompt", "consent")];
    let (tokens, claims) = client.sign_in(shared, &mut browser, &wanted).await;
    other.refresh(tokens.text("refresh_token")).await.assert_error(400, "invalid_grant");
    // The suite waits as well, to see another `iat`.
    let mut poll = tokio::time::interval(std::time::Duration::from_millis(20));
    while seconds() <= claims["iat"].as_u64().unwrap() {
        poll.tick().await;
    }
    let refreshed = client.refresh(tokens.text("refresh_token")).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.body);
    assert_ne!(refreshed.text("access_token"), tokens.text("access_token"));
    let again = client.party.verified(refreshed.text("id_token"), None).await;
    for same in ["iss", "sub", "aud", "auth_time", "azp"] {
        assert_eq!(again[same], claims[same], "{same}");
    }
    assert!(again["iat"].as_u64() > claims["iat"].as_u64(), "{again} {claims}");
    assert_eq!(client.party.userinfo(refreshed.text("access_token")).await.status, 200);
}

/// What the two `request_uri` modules of the plan meet: a client that is registered without them, and a refusal.
#[tokio::test]
async fn oidc_core_s6_2_request_uris_are_left_out_and_not_fetched() {
    let (shared, mut browser) = start().await;
    let documents = Documents::start().await;
    let uri = documents.bytes("/request.jwt", b"eyJhbGciOiJub25lIn0.e30.");
    let sent = request(&RsaKey::new(""), &json!({ "request_uris": [uri] }));
    let made = register(&shared.ready, None, &sent).await;
    assert_eq!((made.status, made.body.get("request_uris")), (201, None), "{}", made.body);
    let client = party(&shared.ready, &made.body).await;
    let refused = browser.open(&client.request(&[("request_uri", &uri)])).await.callback();
    assert_eq!((refused.uri.as_str(), refused.get("error")), (CALLBACK, "request_uri_not_supported"));
}

#[tokio::test]
async fn oidcc_ensure_client_assertion_with_iss_aud_succeeds() {
    let (shared, mut browser) = start().await;
    let client = Dynamic::register(shared, json!({})).await;
    let callback = browser.approve(&client.party.request(&[]), &shared.person).await;
    let assertion = client.assertion(&shared.ready.issuer);
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", callback.get("code")),
        ("redirect_uri", CALLBACK),
        ("client_assertion_type", oidc_support::assertion::ASSERTION_TYPE),
        ("client_assertion", &assertion),
    ];
    let tokens = client.party.post("token_endpoint", &fields).await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
}

const START: &str = "https://rp.example.org/start";

#[tokio::test]
async fn oidcc_3rd_party_init_login() {
    let (shared, _) = start().await;
    let client = Dynamic::register(shared, json!({"initiate_login_uri": START})).await;
    let read = Managed::of(&client.body).send(Method::GET, None).await;
    assert_eq!((read.status, read.header("content-type")), (200, "application/json"));
    assert_eq!(read.body["initiate_login_uri"], START);
}

#[tokio::test]
async fn oidcc_3rd_party_init_login_nohttps() {
    let (shared, _) = start().await;
    let plain = request(&RsaKey::new("k1"), &json!({"initiate_login_uri": START.replace("https", "http")}));
    register(&shared.ready, None, &plain).await.assert_error(400, "invalid_client_metadata");
}
