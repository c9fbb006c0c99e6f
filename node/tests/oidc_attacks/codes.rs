//! Attacks on authorization codes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::oidc_support::node::CALLBACK;
use crate::oidc_support::relying_party::{Method, RelyingParty, part};
use crate::{CHALLENGE, PKCE, VERIFIER, World};

#[tokio::test]
async fn rfc9700_s4_4_every_answer_names_its_issuer_and_no_two_issuers_are_alike() {
    let world = World::new().await;
    let issuer = world.client.endpoint("issuer");
    assert_eq!(world.client.metadata["authorization_response_iss_parameter_supported"], true);
    let code = world.approved(&world.client, &[]).await;
    let refused = world.browser().open(&world.client.request(&[("prompt", "none")])).await.callback();
    for answer in [&code, &refused] {
        assert_eq!(answer.get("iss"), issuer, "{answer:?}");
    }
    // Another tenant is another issuer with its own endpoints, and takes no code of this one.
    let url = format!("{}/v1/tenants", world.shared.ready.admin_url);
    let made = world.client.http.post(url).bearer_auth(&world.shared.ready.admin_token);
    let made: serde_json::Value =
        made.json(&json!({ "slug": "mixed-up" })).send().await.unwrap().json().await.unwrap();
    let other_issuer = made["issuer"].as_str().unwrap();
    assert_ne!(other_issuer, issuer);
    let other = RelyingParty::discover(other_issuer, &world.client.client, Method::Basic).await;
    other.redeem(&code, &[]).await.assert_error(401, "invalid_client");
    assert_eq!(world.client.redeem(&code, &[]).await.status, 200);
}

#[tokio::test]
async fn rfc9700_s4_5_an_injected_code_fails_for_its_verifier_its_client_and_its_nonce() {
    let world = World::new().await;
    // The victim's code, with the victim's challenge: whoever injects it has another verifier, or none.
    let stolen = world.approved(&world.client, &PKCE).await;
    let other = "e".repeat(43);
    world.client.redeem(&stolen, &[("code_verifier", &other)]).await.assert_error(400, "invalid_grant");
    world.client.redeem(&stolen, &[]).await.assert_error(400, "invalid_grant");
    let attacker = world.attacker().await;
    let theirs = attacker.redeem(&stolen, &[("code_verifier", VERIFIER)]).await;
    theirs.assert_error(400, "invalid_grant");
    let good = world.client.redeem(&stolen, &[("code_verifier", VERIFIER)]).await;
    assert_eq!(part(good.text("id_token"), 1)["nonce"], "no-0123456789", "the client compares it");
}

#[tokio::test]
async fn rfc9700_s4_8_pkce_is_neither_dropped_nor_weakened_on_the_way() {
    let world = World::new().await;
    // The attacker took the challenge out of the request: the honest client's verifier shows it.
    let without = world.approved(&world.client, &[]).await;
    world.client.redeem(&without, &[("code_verifier", VERIFIER)]).await.assert_error(400, "invalid_grant");
    for weak in [
        &[("code_challenge", VERIFIER), ("code_challenge_method", "plain")][..],
        &[("code_challenge", CHALLENGE)],
        &[("code_challenge", "short"), ("code_challenge_method", "S256")],
        &[("code_challenge_method", "S256")],
    ] {
        let refused = world.browser().open(&world.client.request(weak)).await.callback();
        assert_eq!(refused.get("error"), "invalid_request", "{weak:?}");
    }
    let public = world.registered(json!({ "token_endpoint_auth_method": "none" })).await;
    let refused = world.browser().open(&public.request(&[])).await.callback();
    assert_eq!(refused.get("error"), "invalid_request", "a public client always needs it");
    let callback = world.approved(&public, &PKCE).await;
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", public.client.client_id.as_str()),
        ("code", callback.get("code")),
        ("redirect_uri", CALLBACK),
    ];
    public.post("token_endpoint", &fields).await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn rfc9700_s4_6_an_access_token_cannot_be_injected_because_none_comes_through_the_browser() {
    let world = World::new().await;
    let refused = world.browser().open(&world.client.request(&[("response_type", "token")])).await.callback();
    assert_eq!(refused.get("error"), "unsupported_response_type");
    // What comes from the token endpoint belongs together, and says to whom.
    let issued = world.tokens("openid").await;
    let id_token = part(issued.text("id_token"), 1);
    let digest =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, issued.text("access_token").as_bytes());
    let half = URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16]);
    assert_eq!(id_token["at_hash"], half.as_str());
    assert_eq!(id_token["aud"], world.client.client.client_id.as_str());
    let access_token = part(issued.text("access_token"), 1);
    assert_eq!(access_token["client_id"], world.client.client.client_id.as_str());
}
