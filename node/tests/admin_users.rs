//! Users, their sessions and their grants.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod admin_support;
mod oidc_support;

use admin_support::Caller;
use reqwest::Method;
use serde_json::{Value, json};

fn every_claim() -> Value {
    json!({
        "username": "grace", "email": "grace@example.org", "email_verified": true,
        "phone_number": "+14255551212", "phone_number_verified": true,
        "name": "Grace Hopper", "given_name": "Grace", "family_name": "Hopper", "family_name#ja": "ホッパー",
        "middle_name": "Brewster", "nickname": "Amazing Grace", "preferred_username": "ghopper",
        "profile": "https://example.org/grace", "picture": "https://example.org/grace.png",
        "website": "https://grace.example.org", "gender": "female", "birthdate": "1906-12-09",
        "zoneinfo": "America/New_York", "locale": "en-US",
        "address": { "formatted": "1 Navy Yard", "country": "US" },
    })
}

#[tokio::test]
async fn core_s5_1_every_standard_claim_is_kept() {
    let caller = Caller::new().await;
    let mut sent = every_claim();
    sent["password"] = json!("correct horse battery");
    sent["sub"] = json!("imported-subject-1");
    let created = caller.post(&caller.at("/users"), sent).await.expect(201);
    let id = created.text_of("id");
    assert!(id.starts_with("usr_"));
    assert_eq!(created.header("location"), caller.at(&format!("/users/{id}")));
    assert_eq!(
        (&created.json["subject"], &created.json["has_password"]),
        (&json!("imported-subject-1"), &json!(true))
    );
    assert!(!created.text.contains("correct horse"));

    let read = caller.get(&caller.at(&format!("/users/{id}"))).await.expect(200);
    assert_eq!(read.json, created.json);
    for (name, value) in every_claim().as_object().unwrap() {
        assert_eq!(&read.json[name], value, "{name}");
    }
}

#[tokio::test]
async fn names_are_unique_and_values_are_checked() {
    let caller = Caller::new().await;
    let users = caller.at("/users");
    let first = json!({ "username": "unique", "email": "unique@example.org" });
    caller.post(&users, first).await.expect(201);
    for (body, status, kind, member) in [
        (json!({ "username": "UNIQUE" }), 409, "taken", "username"),
        (json!({ "username": "unique2", "email": "Unique@EXAMPLE.org" }), 409, "taken", "email"),
        (json!({ "username": "" }), 422, "unprocessable", "username"),
        (json!({ "username": "u3", "email": "nowhere" }), 422, "unprocessable", "email"),
        (json!({ "username": "u3", "birthdate": "yesterday" }), 422, "unprocessable", "birthdate"),
        (json!({ "username": "u3", "password": "short" }), 422, "unprocessable", "password"),
    ] {
        let refused = caller.post(&users, body).await.problem(status, kind);
        assert_eq!(refused.json["member"], member, "{refused:?}");
    }
    let refused = caller.post(&users, json!({ "username": "u3", "emial": "a@b.example" })).await;
    let refused = refused.problem(422, "unprocessable");
    assert_eq!(refused.json["unknown_members"], json!([{ "name": "emial", "nearest": "email" }]));
}

#[tokio::test]
async fn a_change_sets_removes_and_leaves() {
    let caller = Caller::new().await;
    let created = caller
        .post(
            &caller.at("/users"),
            json!({ "username": "changing", "nickname": "C", "email": "c@example.org" }),
        )
        .await
        .expect(201);
    let user = caller.at(&format!("/users/{}", created.text_of("id")));
    let change = json!({ "nickname": null, "given_name": "Chang", "disabled": true });
    let changed = caller.patch(&user, change).await.expect(200);
    assert_eq!(changed.json["given_name"], "Chang");
    assert_eq!(changed.json["email"], "c@example.org");
    assert_eq!((changed.json.get("nickname"), &changed.json["disabled"]), (None, &json!(true)));
    assert_eq!(caller.get(&user).await.expect(200).json, changed.json);

    let stale = [("if-match", created.header("etag"))];
    let refused = caller.send(Method::PATCH, &user, &stale, Some(&json!({ "disabled": false }))).await;
    refused.problem(412, "precondition-failed");
    let fresh = [("if-match", changed.header("etag"))];
    let enabled =
        caller.send(Method::PATCH, &user, &fresh, Some(&json!({ "disabled": false }))).await.expect(200);
    assert_eq!(enabled.json["disabled"], false);
    caller.patch(&user, json!({ "subject": "other" })).await.problem(422, "unprocessable");
}

#[tokio::test]
async fn a_user_is_found_by_login_name_or_address_in_any_spelling_of_it() {
    let caller = Caller::new().await;
    let new = |username: &str, email: &str| json!({ "username": username, "email": email });
    let users = caller.at("/users");
    let sought = caller.post(&users, new("Sought", "sought@example.org")).await.expect(201);
    caller.post(&users, new("unsought", "unsought@example.org")).await.expect(201);
    for (query, found) in [
        ("username=Sought", true),
        ("username=sOUGHT", true),
        ("email=SOUGHT%40EXAMPLE.ORG", true),
        ("username=sought&email=sought%40example.org&page_size=1", true),
        ("username=sought&email=unsought%40example.org", false),
        ("username=sough", false),
        ("username=", false),
        ("username=two+words", false),
        ("email=sought", false),
    ] {
        let page = caller.get(&format!("{users}?{query}")).await.expect(200);
        let expected = if found { json!([sought.json]) } else { json!([]) };
        assert_eq!(page.json, json!({ "items": expected, "next_page_token": null }), "{query}");
    }
    let token = caller.get(&format!("{users}?page_size=1")).await.expect(200).text_of("next_page_token");
    let both = format!("{users}?username=sought&page_token={token}");
    caller.get(&both).await.problem(400, "bad-request");

    let settings = json!({ "email_unique": false });
    caller.post("/v1/tenants", json!({ "slug": "shared-mail", "settings": settings })).await.expect(201);
    let shared = caller.get("/v1/tenants/shared-mail/users?email=a%40example.org").await;
    shared.problem(409, "conflict");
}

#[tokio::test]
async fn rfc9110_s13_1_a_user_is_changed_and_read_under_what_its_caller_has() {
    let caller = Caller::new().await;
    let created = caller.post(&caller.at("/users"), json!({ "username": "conditional" })).await.expect(201);
    let user = caller.at(&format!("/users/{}", created.text_of("id")));
    let tag = created.header("etag").to_owned();
    let had = [("if-none-match", tag.as_str())];
    let not_modified = caller.send(Method::GET, &user, &had, None).await.expect(304);
    assert_eq!((not_modified.header("etag"), not_modified.text.as_str()), (tag.as_str(), ""));
    let other = [("if-none-match", "\"99\"")];
    assert_eq!(caller.send(Method::GET, &user, &other, None).await.expect(200).json, created.json);

    let change = json!({ "nickname": "C" });
    let patch =
        async |headers: &[(&str, &str)]| caller.send(Method::PATCH, &user, headers, Some(&change)).await;
    for refused in [("if-none-match", "*"), ("if-none-match", tag.as_str()), ("if-match", "\"98\", \"99\"")] {
        patch(&[refused]).await.problem(412, "precondition-failed");
    }
    patch(&[("if-match", "foo")]).await.problem(400, "bad-request");
    assert_eq!(caller.get(&user).await.expect(200).json, created.json, "nothing was written");

    let changed = patch(&[("if-match", &format!("\"99\", {tag}"))]).await.expect(200);
    assert_eq!(changed.json["nickname"], "C");
    patch(&other).await.expect(200);
    let erased = caller.send(Method::DELETE, &user, &[("if-none-match", "*")], None).await;
    erased.problem(412, "precondition-failed");
    caller.delete(&user).await.expect(204);
    patch(&[("if-none-match", "*")]).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_password_is_set_and_never_shown() {
    let caller = Caller::new().await;
    let created = caller.post(&caller.at("/users"), json!({ "username": "locksmith" })).await.expect(201);
    let user = caller.at(&format!("/users/{}", created.text_of("id")));
    assert_eq!(created.json["has_password"], false);
    let password = format!("{user}/password");
    caller.post(&password, json!({ "password": "short" })).await.problem(422, "unprocessable");
    let set = caller.post(&password, json!({ "password": "open sesame, please" })).await.expect(204);
    assert!(!set.header("domicile-consistency").is_empty());
    let read = caller.get(&user).await.expect(200);
    assert_eq!(read.json["has_password"], true);
    assert!(!read.text.contains("sesame"));
}

#[tokio::test]
async fn an_erased_user_is_gone_and_the_name_is_free() {
    let caller = Caller::new().await;
    let body = json!({ "username": "leaver", "email": "leaver@example.org" });
    let created = caller.post(&caller.at("/users"), body.clone()).await.expect(201);
    let user = caller.at(&format!("/users/{}", created.text_of("id")));
    let erased = caller.delete(&user).await.expect(204);
    assert!(!erased.header("domicile-consistency").is_empty());
    caller.get(&user).await.problem(404, "not-found");
    caller.patch(&user, json!({ "disabled": true })).await.problem(404, "not-found");
    caller.delete(&user).await.problem(404, "not-found");
    let again = caller.post(&caller.at("/users"), body).await.expect(201);
    assert_ne!(again.json["id"], created.json["id"]);

    let listed = caller.all(&caller.at("/users"), 3).await;
    let ids: Vec<&Value> = listed.iter().map(|user| &user["id"]).collect();
    assert!(!ids.contains(&&created.json["id"]) && ids.contains(&&again.json["id"]));
}

#[tokio::test]
async fn a_user_who_never_logged_in_has_no_sessions_and_no_grants() {
    let caller = Caller::new().await;
    let created = caller.post(&caller.at("/users"), json!({ "username": "newcomer" })).await.expect(201);
    let user = caller.at(&format!("/users/{}", created.text_of("id")));
    for list in ["sessions", "grants"] {
        let page = caller.get(&format!("{user}/{list}")).await.expect(200);
        assert_eq!(page.json, json!({ "items": [], "next_page_token": null }));
    }
    let client =
        caller.post(&caller.at("/clients"), json!({ "redirect_uris": ["https://rp.example.org/cb"] })).await;
    let grant = format!("{user}/grants/{}", client.expect(201).text_of("client_id"));
    caller.delete(&grant).await.problem(404, "not-found");
}
