//! Pushed requests (RFC 9126), proofs of possession (RFC 9449) and resource indicators (RFC 8707).

use reqwest::StatusCode;
use serde_json::json;
use url::Url;

use crate::cluster_guest::{CALLBACK, Reply};
use crate::oidc_support::assertion::Key;
use crate::oidc_support::dpop;
use crate::oidc_support::relying_party::part;
use crate::world::{App, CATCH_UP_MAX, CHALLENGE, VERIFIER, World, refused, texts, until};

/// Pushes a request with these parameters besides the usual ones.
pub async fn push(
    world: &World,
    host: usize,
    app: &App,
    more: &[(&str, &str)],
    proof: Option<&str>,
) -> Result<Reply, reqwest::Error> {
    let mut fields = vec![
        ("response_type", "code"),
        ("redirect_uri", CALLBACK),
        ("scope", "openid offline_access"),
        ("prompt", "consent"),
    ];
    fields.extend(more);
    world.ask(host, app, "par", &fields, proof).await
}

/// The authorization request of a pushed one: with `client_id` and nothing else (§4).
pub fn link(world: &World, app: &App, pushed: &Reply) -> String {
    let reference = pushed.text("request_uri");
    let pairs = [("client_id", app.id.as_str()), ("request_uri", reference.as_str())];
    Url::parse_with_params(&world.url("/oauth2/authorize"), pairs).unwrap().to_string()
}

/// A request that led to a code leads nowhere any more.
pub async fn is_taken(world: &World, host: usize, link: &str) {
    let again = world.browser(&[host]).open(link).await.page();
    assert_eq!(again.status, 400, "{}", again.html);
    assert!(again.html.contains("invalid_request_uri"), "{}", again.html);
}

/// UserInfo with a bound token.
async fn userinfo(world: &World, host: usize, key: &Key, nonce: &str, token: &str) -> StatusCode {
    let more = json!({ "nonce": nonce, "ath": dpop::token_hash(token) });
    let proof = dpop::proof(key, "GET", &world.url("/oauth2/userinfo"), &more);
    let request = world.doors.http.get(world.at(host, "userinfo"));
    let request = request.header("authorization", format!("DPoP {token}")).header("dpop", proof);
    request.send().await.unwrap().status()
}

pub async fn what_was_pushed_is_opened_redeemed_and_refreshed_elsewhere(world: &World, at: [usize; 4]) {
    let [a, b, c, d] = at;
    let (_, api) = world.resource_server(d).await;
    let strict = json!({ "require_pushed_authorization_requests": true, "dpop_bound_access_tokens": true });
    let (app, key) = (world.app(d, &strict).await, Key::new("holder"));
    // A nonce of each node is good at every other.
    let proof = world.proof(&key, "par", &world.nonce(b, &app, &key).await);
    let resources = [("resource", api.as_str()), ("resource", world.guest.issuer.as_str())];
    let pushed = push(world, a, &app, &resources, Some(&proof)).await.unwrap().expect(StatusCode::CREATED);
    let link = link(world, &app, &pushed);
    let callback = world.browser(&[b]).approve(&link, &world.person()).await;
    let (code, nonce) = (callback.get("code"), world.nonce(a, &app, &key).await);

    // §10.1 of RFC 9449: the code is bound to the key that the push had shown, wherever that was.
    let stranger = world.proof(&Key::new("stranger"), "token", &nonce);
    refused(&world.redeem(d, &app, code, Some(&stranger)).await.unwrap(), "invalid_grant");
    let first = world.proof(&key, "token", &nonce);
    let issued = world.redeem(c, &app, code, Some(&first)).await.unwrap().expect(StatusCode::OK);
    assert_eq!(issued.text("token_type"), "DPoP");
    let token = issued.text("access_token");
    let said = part(&token, 1);
    assert_eq!(texts(&said["aud"]), texts(&json!([world.guest.issuer, api])), "RFC 8707 §2.2");
    assert_eq!(said["cnf"]["jkt"], dpop::thumbprint(&key));
    let since = std::time::Instant::now();
    for host in at {
        let told = format!("the token does not count on host {host}");
        until(since, CATCH_UP_MAX, &told, async || {
            userinfo(world, host, &key, &nonce, &token).await == StatusCode::OK
        })
        .await;
    }

    // A proof that came with a write is remembered with it (docs/adr/0016).
    let refresh = issued.text("refresh_token");
    refused(&world.refresh(b, &app, &refresh, Some(&first)).await.unwrap(), "invalid_dpop_proof");
    let second = world.proof(&key, "token", &nonce);
    let next = world.refresh(b, &app, &refresh, Some(&second)).await.unwrap().expect(StatusCode::OK);
    let refresh = next.text("refresh_token");
    refused(&world.refresh(a, &app, &refresh, Some(&second)).await.unwrap(), "invalid_dpop_proof");
    let third = world.proof(&key, "token", &nonce);
    let narrow =
        [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str()), ("resource", api.as_str())];
    let narrowed = world.ask(d, &app, "token", &narrow, Some(&third)).await.unwrap().expect(StatusCode::OK);
    assert_eq!(part(&narrowed.text("access_token"), 1)["aud"], json!([api]));

    // What was used once is used, and what it gave ends with the second use (RFC 6749 §4.1.2).
    is_taken(world, d, &link).await;
    let fresh = world.proof(&key, "token", &nonce);
    refused(&world.redeem(a, &app, code, Some(&fresh)).await.unwrap(), "invalid_grant");
    let (last, fresh) = (narrowed.text("refresh_token"), world.proof(&key, "token", &nonce));
    refused(&world.refresh(b, &app, &last, Some(&fresh)).await.unwrap(), "invalid_grant");
}

/// A public client that must push.
pub async fn public(world: &World, host: usize) -> App {
    let metadata = json!({
        "token_endpoint_auth_method": "none", "require_pushed_authorization_requests": true,
        "require_pkce": true,
    });
    world.app(host, &metadata).await
}

pub async fn redeem_with_verifier(
    world: &World,
    host: usize,
    app: &App,
    code: &str,
) -> Result<Reply, reqwest::Error> {
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    world.ask(host, app, "token", &fields, None).await
}

/// Nothing is written when a public client pushes (docs/adr/0015).
pub async fn a_request_that_its_reference_carries_is_opened_elsewhere(world: &World, at: [usize; 4]) {
    let [a, b, c, d] = at;
    let app = public(world, d).await;
    let challenge = [("code_challenge", CHALLENGE), ("code_challenge_method", "S256")];
    let pushed = push(world, a, &app, &challenge, None).await.unwrap().expect(StatusCode::CREATED);
    let link = link(world, &app, &pushed);
    let callback = world.browser(&[b, c]).approve(&link, &world.person()).await;
    let code = callback.get("code");
    let issued = redeem_with_verifier(world, c, &app, code).await.unwrap().expect(StatusCode::OK);
    assert!(!issued.text("refresh_token").is_empty());
    is_taken(world, d, &link).await;
    refused(&redeem_with_verifier(world, a, &app, code).await.unwrap(), "invalid_grant");
}
