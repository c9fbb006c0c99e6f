//! Sessions and grants of a user who logged in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod admin_support;
mod oidc_support;

use admin_support::Caller;
use oidc_support::browser::Browser;
use oidc_support::node::{Person, shared};
use oidc_support::relying_party::{Method as ClientAuth, RelyingParty};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn an_operator_sees_and_ends_sessions_and_grants() {
    let caller = Caller::new().await;
    let node = shared().await;
    let person = Person { username: "visitor".to_owned(), password: "a long enough password".to_owned() };
    let body = json!({ "username": person.username, "password": person.password });
    let created = caller.post(&caller.at("/users"), body).await.expect(201);
    let user = caller.at(&format!("/users/{}", created.text_of("id")));

    let party = RelyingParty::discover(&node.ready.issuer, &node.basic, ClientAuth::Basic).await;
    let request = party.request(&[("scope", "openid offline_access"), ("prompt", "consent")]);
    let mut browser = Browser::new(&node.ready.public_url);
    let callback = browser.approve(&request, &person).await;
    let tokens = party.redeem(&callback, &[]).await;
    let refresh_token = tokens.text("refresh_token").to_owned();

    let sessions = caller.get(&format!("{user}/sessions")).await.expect(200).json;
    assert_eq!(sessions["items"].as_array().unwrap().len(), 1, "{sessions}");
    let session = &sessions["items"][0];
    assert_eq!(
        (&session["user"], &session["authentications"][0]["method"]),
        (&created.json["id"], &json!("pwd"))
    );
    let grants = caller.get(&format!("{user}/grants")).await.expect(200).json;
    assert_eq!(grants["items"].as_array().unwrap().len(), 1, "{grants}");
    assert_eq!(grants["items"][0]["scopes"], json!(["offline_access", "openid"]));

    let session = caller.at(&format!("/sessions/{}", session["id"].as_str().unwrap()));
    let tagged = caller.send(Method::DELETE, &session, &[("if-match", "\"1\"")], None).await;
    tagged.problem(400, "bad-request");
    caller.delete(&session).await.expect(204);
    caller.delete(&session).await.expect(204);
    let sessions = caller.get(&format!("{user}/sessions")).await.expect(200).json;
    assert_eq!(sessions["items"], json!([]));

    let grant = format!("{user}/grants/{}", node.basic.client_id);
    caller.delete(&grant).await.expect(204);
    party.refresh(&refresh_token).await.assert_error(400, "invalid_grant");
    // A grant may stay as an empty one: what matters is that nothing is allowed any more.
    let grants = caller.get(&format!("{user}/grants")).await.expect(200).json;
    let allowed = grants["items"].as_array().unwrap().iter().any(|grant| grant["scopes"] != json!([]));
    assert!(!allowed, "{grants}");
}
