//! Steps that many modules share.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::oidc_support::browser::{Browser, Callback, Page, PageKind};
use crate::oidc_support::node::{CALLBACK, Shared, shared};
use crate::oidc_support::relying_party::{Answer, Method, RelyingParty, part};

/// A client, and a browser nobody used before.
pub async fn start() -> (&'static Shared, RelyingParty, Browser) {
    let shared = shared().await;
    let client = RelyingParty::discover(&shared.ready.issuer, &shared.basic, Method::Basic).await;
    (shared, client, Browser::new(&shared.ready.public_url))
}

/// An unsigned object that holds the whole request, as the suite makes it.
pub fn request_object(client: &RelyingParty) -> String {
    let of_object = [
        ("iss".to_owned(), client.client.client_id.clone()),
        ("aud".to_owned(), client.endpoint("issuer").to_owned()),
    ];
    let members = client.parameters(&[]).into_iter().chain(of_object);
    let claims: Map<String, Value> = members.map(|(name, value)| (name, Value::String(value))).collect();
    format!("eyJhbGciOiJub25lIn0.{}.", URL_SAFE_NO_PAD.encode(Value::Object(claims).to_string()))
}

/// What every successful authorization response must be.
pub fn assert_code(callback: &Callback) {
    assert_eq!(callback.uri, CALLBACK);
    assert_eq!(callback.get("state"), "st-0123456789");
    assert!(callback.get("code").len() >= 43, "256 bits: {callback:?}");
    assert!(!callback.get("iss").is_empty(), "RFC 9207");
    assert_eq!(callback.parameters.get("error"), None, "{callback:?}");
}

/// What every successful token response must be. Gives the verified ID token's claims.
pub async fn assert_tokens(client: &RelyingParty, answer: &Answer, nonce: Option<&str>) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!((answer.header("cache-control"), answer.header("pragma")), ("no-store", "no-cache"));
    assert!(answer.text("token_type").eq_ignore_ascii_case("bearer"));
    assert!(answer.body["expires_in"].as_u64().unwrap() > 0);
    let id_token = answer.text("id_token");
    assert_eq!(part(id_token, 0)["alg"], "RS256", "the default of id_token_signed_response_alg");
    let claims = client.verified(id_token, nonce).await;
    assert!(claims["sub"].as_str().unwrap().len() <= 255);
    assert!(claims["at_hash"].is_string());
    claims
}

/// A request that must succeed: through our pages, to tokens and userinfo.
pub async fn succeed(given: &[(&str, &str)]) -> (Browser, Answer, Value) {
    let (shared, client, mut browser) = start().await;
    let (tokens, claims) = authorize(shared, &client, &mut browser, given).await;
    (browser, tokens, claims)
}

pub async fn authorize(
    shared: &Shared,
    client: &RelyingParty,
    browser: &mut Browser,
    given: &[(&str, &str)],
) -> (Answer, Value) {
    let callback = browser.approve(&client.request(given), &shared.person).await;
    assert_code(&callback);
    let tokens = client.redeem(&callback, &[]).await;
    let nonce = given.iter().find(|(name, _)| *name == "nonce").map_or(Some("no-0123456789"), |_| None);
    let claims = assert_tokens(client, &tokens, nonce).await;
    let info = client.userinfo(tokens.text("access_token")).await;
    assert_eq!((info.status, &info.body["sub"]), (200, &claims["sub"]));
    (tokens, claims)
}

/// Userinfo for these scopes besides `openid`, and what the token response says was granted.
pub async fn userinfo_for(scope: &str) -> Value {
    let (shared, client, mut browser) = start().await;
    let (tokens, claims) = authorize(shared, &client, &mut browser, &[("scope", scope)]).await;
    let sorted = |text: &str| {
        let mut scopes: Vec<String> = text.split(' ').map(str::to_owned).collect();
        scopes.sort();
        scopes
    };
    assert_eq!(sorted(tokens.text("scope")), sorted(scope));
    for personal in ["name", "email", "address", "phone_number"] {
        assert!(claims.get(personal).is_none(), "OIDC Core §5.4: with an access token, at userinfo");
    }
    client.userinfo(tokens.text("access_token")).await.body
}

/// An error page of ours: the browser was not sent anywhere.
pub fn assert_error_page(page: &Page) {
    assert_eq!((page.status, page.kind), (400, PageKind::Other), "{}", page.html);
}

pub const PROFILE: [&str; 14] = [
    "birthdate",
    "family_name",
    "gender",
    "given_name",
    "locale",
    "middle_name",
    "name",
    "nickname",
    "picture",
    "preferred_username",
    "profile",
    "updated_at",
    "website",
    "zoneinfo",
];

pub fn with_sub(claims: &[&'static str]) -> Vec<&'static str> {
    let mut all: Vec<&str> = claims.iter().copied().chain(["sub"]).collect();
    all.sort_unstable();
    all
}
