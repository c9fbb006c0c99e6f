//! Clients by RFC 7591 metadata.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod admin_support;
mod oidc_support;

use admin_support::Caller;
use reqwest::Method;
use serde_json::{Value, json};

fn shop() -> Value {
    json!({
        "client_name": "Shop", "client_name#de": "Laden",
        "redirect_uris": ["https://shop.example.org/cb"],
        "post_logout_redirect_uris": ["https://shop.example.org/"],
        "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "client_secret_basic",
        "contacts": ["ops@shop.example.org"],
        "client_uri": "https://shop.example.org",
        "software_version": "1.2",
    })
}

#[tokio::test]
async fn rfc7591_s3_2_1_a_registration_returns_all_metadata_and_the_secret_once() {
    let caller = Caller::new().await;
    let created = caller.post(&caller.at("/clients"), shop()).await.expect(201);
    for (name, value) in shop().as_object().unwrap() {
        assert_eq!(&created.json[name], value, "{name}");
    }
    let (id, client_id) = (created.text_of("id"), created.text_of("client_id"));
    assert!(id.starts_with("cli_"));
    assert!(created.text_of("client_secret").len() >= 43);
    assert_eq!(created.json["client_secret_expires_at"], 0);
    assert!(created.json["client_id_issued_at"].as_u64().unwrap() > 1_700_000_000);
    assert_eq!(created.json["require_pkce"], false);

    let by_id = caller.get(&caller.at(&format!("/clients/{id}"))).await.expect(200);
    let by_client_id = caller.get(&caller.at(&format!("/clients/{client_id}"))).await.expect(200);
    assert_eq!(by_id.json, by_client_id.json);
    assert_eq!(by_id.json.get("client_secret"), None);
    assert_eq!(by_id.json["client_name"], "Shop");
    let listed = caller.all(&caller.at("/clients"), 2).await;
    assert!(listed.contains(&by_id.json));
}

#[tokio::test]
async fn rfc7591_s2_a_public_client_has_no_secret_and_always_uses_pkce() {
    let caller = Caller::new().await;
    let body =
        json!({ "redirect_uris": ["https://app.example.org/cb"], "token_endpoint_auth_method": "none" });
    let created = caller.post(&caller.at("/clients"), body).await.expect(201);
    assert_eq!(created.json.get("client_secret"), None);
    assert_eq!(created.json.get("client_secret_expires_at"), None);
    assert_eq!(created.json["require_pkce"], true);
    let client = caller.at(&format!("/clients/{}", created.text_of("id")));
    caller.post(&format!("{client}/secret"), json!({})).await.problem(409, "conflict");
}

#[tokio::test]
async fn rfc7591_s3_2_2_faults_name_the_member_and_the_registered_error() {
    let caller = Caller::new().await;
    for (body, member, error) in [
        (json!({ "redirect_uris": ["/cb"] }), "redirect_uris", "invalid_redirect_uri"),
        (json!({ "redirect_uris": ["https://a.example/cb#x"] }), "redirect_uris", "invalid_redirect_uri"),
        (json!({ "grant_types": ["implicit"] }), "grant_types", "invalid_client_metadata"),
        (json!({ "response_types": ["token"] }), "response_types", "invalid_client_metadata"),
        (
            json!({ "token_endpoint_auth_method": "magic" }),
            "token_endpoint_auth_method",
            "invalid_client_metadata",
        ),
    ] {
        let refused = caller.post(&caller.at("/clients"), body.clone()).await.problem(422, "unprocessable");
        assert_eq!(
            (&refused.json["member"], &refused.json["error"]),
            (&json!(member), &json!(error)),
            "{body}"
        );
    }
    let sent = json!({ "client_secret": "mine", "redirect_uris": ["https://a.example/cb"] });
    let refused = caller.post(&caller.at("/clients"), sent).await.problem(422, "unprocessable");
    assert_eq!(refused.text_of("detail"), "`client_secret` is set by the node");
}

#[tokio::test]
async fn an_import_brings_its_client_id() {
    let caller = Caller::new().await;
    let body = json!({ "client_id": "legacy/app:1", "redirect_uris": ["https://legacy.example/cb"] });
    let created = caller.post(&caller.at("/clients"), body.clone()).await.expect(201);
    assert_eq!(created.json["client_id"], "legacy/app:1");
    let read = caller.get(&caller.at("/clients/legacy%2Fapp:1")).await.expect(200);
    assert_eq!(read.json["id"], created.json["id"]);
    caller.post(&caller.at("/clients"), body).await.problem(409, "taken");
}

#[tokio::test]
async fn a_change_replaces_members_and_keeps_the_rest() {
    let caller = Caller::new().await;
    let created = caller.post(&caller.at("/clients"), shop()).await.expect(201);
    let client = caller.at(&format!("/clients/{}", created.text_of("client_id")));
    let change = json!({ "client_name": "Shop 2", "software_version": null, "disabled": true });
    let changed = caller.patch(&client, change).await.expect(200);
    assert_eq!((&changed.json["client_name"], &changed.json["disabled"]), (&json!("Shop 2"), &json!(true)));
    assert_eq!(changed.json["redirect_uris"], created.json["redirect_uris"]);
    assert_eq!(changed.json.get("software_version"), None);
    assert_eq!(caller.get(&client).await.expect(200).json, changed.json);
    let stale = [("if-match", created.header("etag"))];
    let refused =
        caller.send(Method::PATCH, &client, &stale, Some(&json!({ "client_name": "Shop 3" }))).await;
    refused.problem(412, "precondition-failed");
    caller.patch(&client, json!({ "client_id": "other" })).await.problem(422, "unprocessable");
}

#[tokio::test]
async fn a_new_secret_overlaps_with_the_one_before() {
    let caller = Caller::new().await;
    let created = caller.post(&caller.at("/clients"), shop()).await.expect(201);
    let secret = caller.at(&format!("/clients/{}/secret", created.text_of("client_id")));
    let rotated = caller.send(Method::POST, &secret, &[], None).await.expect(201);
    assert_ne!(rotated.json["client_secret"], created.json["client_secret"]);
    let credentials = rotated.json["credentials"].as_array().unwrap();
    assert_eq!(credentials.len(), 2, "{credentials:?}");
    assert_eq!(credentials.iter().filter(|one| one["expires_at"].is_null()).count(), 1, "{credentials:?}");
    caller
        .post(&secret, json!({ "overlap_ms": 90 * 86_400_000_u64 + 1 }))
        .await
        .problem(422, "unprocessable");
    caller.post(&secret, json!({ "overlap": 1 })).await.problem(422, "unprocessable");
}

#[tokio::test]
async fn a_deleted_client_is_gone_and_a_retry_is_answered_the_same() {
    let caller = Caller::new().await;
    let created = caller.post(&caller.at("/clients"), shop()).await.expect(201);
    let client = caller.at(&format!("/clients/{}", created.text_of("id")));
    let once = [("idempotency-key", "delete-client-1")];
    caller.send(Method::DELETE, &client, &once, None).await.expect(204);
    caller.send(Method::DELETE, &client, &once, None).await.expect(204);
    caller.get(&client).await.problem(404, "not-found");
    caller.delete(&client).await.problem(404, "not-found");
}
