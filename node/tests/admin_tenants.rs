//! Tenants, their keys and their audit log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod admin_support;
mod oidc_support;

use std::collections::BTreeSet;

use admin_support::Caller;
use oidc_support::node;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_tenant_is_created_changed_and_deleted() {
    let caller = Caller::new().await;
    let body = json!({ "slug": "acme", "display_name": "Acme" });
    let created = caller.post("/v1/tenants", body.clone()).await.expect(201);
    assert_eq!(created.header("location"), "/v1/tenants/acme");
    assert_eq!(created.header("etag"), format!("\"{}\"", created.json["revision"]));
    assert!(created.text_of("id").starts_with("ten_"));
    assert_eq!(created.text_of("issuer"), format!("{}/t/acme", node::shared().await.ready.public_url));
    assert_eq!(caller.get("/v1/tenants/acme").await.expect(200).json, created.json);
    assert_eq!(caller.post("/v1/tenants", body).await.problem(409, "taken").json["member"], "slug");

    let change = json!({ "display_name": "Acme Corp", "settings": { "password_length_min": 12 } });
    let changed = caller.patch("/v1/tenants/acme", change).await.expect(200);
    assert_eq!(changed.json["display_name"], "Acme Corp");
    assert_eq!(changed.json["settings"]["password_length_min"], 12);
    assert_eq!(changed.json["settings"]["lockout_attempts"], created.json["settings"]["lockout_attempts"]);
    let stale = [("if-match", created.header("etag"))];
    let refused =
        caller.send(Method::PATCH, "/v1/tenants/acme", &stale, Some(&json!({ "disabled": true }))).await;
    assert_eq!(
        refused.problem(412, "precondition-failed").json["current_revision"],
        changed.json["revision"]
    );
    caller.send(Method::DELETE, "/v1/tenants/acme", &stale, None).await.problem(412, "precondition-failed");

    let fresh = [("if-match", changed.header("etag"))];
    caller.send(Method::DELETE, "/v1/tenants/acme", &fresh, None).await.expect(204);
    caller.get("/v1/tenants/acme").await.problem(404, "not-found");
    caller.get("/v1/tenants/acme/users").await.problem(404, "not-found");
}

#[tokio::test]
async fn values_of_a_tenant_are_checked() {
    let caller = Caller::new().await;
    for (body, expected) in [
        (json!({ "display_name": "No slug" }), "`slug` is missing"),
        (json!({ "slug": "UPPER" }), "slug is not 2 to 40"),
        (json!({ "slug": "fine", "settings": { "code_lifetime_ms": 0 } }), "code_lifetime_ms"),
        (json!({ "slug": "fine", "displayname": "x" }), "did you mean `display_name`?"),
    ] {
        let refused = caller.post("/v1/tenants", body.clone()).await.problem(422, "unprocessable");
        assert!(refused.text_of("detail").contains(expected), "{body}: {refused:?}");
    }
    let refused =
        caller.patch(&caller.at(""), json!({ "slug": "other" })).await.problem(422, "unprocessable");
    assert_eq!(refused.text_of("detail"), "`slug` cannot be changed");
}

#[tokio::test]
async fn tenants_are_listed_page_by_page() {
    let caller = Caller::new().await;
    for slug in ["page-one", "page-two"] {
        caller.post("/v1/tenants", json!({ "slug": slug })).await.expect(201);
    }
    let listed: Vec<Value> = caller.all("/v1/tenants", 1).await;
    let slugs: BTreeSet<&str> = listed.iter().map(|tenant| tenant["slug"].as_str().unwrap()).collect();
    assert_eq!(slugs.len(), listed.len(), "{slugs:?}");
    assert!(["page-one", "page-two", &caller.tenant].iter().all(|slug| slugs.contains(slug)), "{slugs:?}");
}

#[tokio::test]
async fn a_rotated_key_is_published_beside_the_one_before() {
    let caller = Caller::new().await;
    let kids = async || -> BTreeSet<String> {
        let keys = caller.get(&caller.at("/keys")).await.expect(200).json;
        keys["items"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    };
    let before = kids().await;
    let rotated = caller.post(&caller.at("/keys/rotate"), json!({ "alg": "ES256" })).await.expect(201);
    let mut expected = before.clone();
    assert!(expected.insert(rotated.text_of("kid")), "{before:?}");
    assert_eq!(kids().await, expected);
    let listed = caller.get(&caller.at("/keys")).await.expect(200).json;
    let phase = |kid: &str| {
        let items = listed["items"].as_array().unwrap();
        let key = items.iter().find(|key| key["kid"] == kid).unwrap();
        let times = [&key["created_at"], &key["phase_since"]].map(|time| time.as_str().unwrap().to_owned());
        assert!(times[0] <= times[1] && times[0].starts_with("20") && times[1].ends_with('Z'), "{key}");
        assert!(key["kty"].is_string() && key.get("d").is_none(), "{key}");
        (key["alg"].as_str().unwrap().to_owned(), key["phase"].as_str().unwrap().to_owned())
    };
    let own = |alg: &str, phase: &str| (alg.to_owned(), phase.to_owned());
    assert_eq!(phase(&rotated.text_of("kid")), own("ES256", "active"));
    let phases: BTreeSet<_> = before.iter().map(|kid| phase(kid)).collect();
    assert!(phases.contains(&own("ES256", "retired")), "{phases:?}");
    assert!(!phases.contains(&own("RS256", "retired")), "another algorithm's key stays: {phases:?}");
    let refused = caller.post(&caller.at("/keys/rotate"), json!({ "alg": "HS256" })).await;
    refused.problem(422, "unprocessable");
}

#[tokio::test]
async fn every_change_is_in_the_audit_log_with_its_request() {
    let caller = Caller::new().await;
    let created = caller
        .post(&caller.at("/users"), json!({ "username": "logged", "name": "Log Ged" }))
        .await
        .expect(201);
    let id = created.text_of("id");
    caller.patch(&caller.at(&format!("/users/{id}")), json!({ "disabled": true })).await.expect(200);

    let page = caller.get(&caller.at(&format!("/events?stream={id}"))).await.expect(200).json;
    let events = page["items"].as_array().unwrap();
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["user.created", "user.disabled"]);
    assert_eq!(events[0]["request_id"], created.header("x-request-id"), "{}", events[0]);
    assert_eq!(events[0]["actor"]["kind"], "operator", "{}", events[0]);

    let all = caller.all(&caller.at("/events"), 7).await;
    let sequences: Vec<u64> = all.iter().map(|event| event["sequence"].as_u64().unwrap()).collect();
    assert!(sequences.iter().copied().eq(1..=sequences.len() as u64), "{sequences:?}");
}

#[tokio::test]
async fn an_export_verifies_and_holds_no_personal_value_in_clear() {
    let caller = Caller::new().await;
    caller.post("/v1/tenants", json!({ "slug": "exported" })).await.expect(201);
    let person = json!({ "username": "hidden.person", "email": "hidden.person@example.org" });
    caller.post("/v1/tenants/exported/users", person).await.expect(201);
    let export = caller.get("/v1/tenants/exported/events/export").await.expect(200);
    assert_eq!(export.header("content-type"), "application/jsonl");
    assert!(!export.text.contains("hidden"));
    assert!(export.text.ends_with('\n') && export.text.lines().all(|line| line.parse::<Value>().is_ok()));

    let report = domicile_iam::audit::verify(&mut export.text.as_bytes(), None).unwrap();
    assert_eq!(report.bad, None);
    assert_eq!(
        report.good,
        export.text.lines().count() as u64 - 2,
        "all lines but header and footer are events"
    );
}
