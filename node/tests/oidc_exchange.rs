//! Token exchange (RFC 8693) over HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod oidc_support;

use oidc_support::assertion::Key;
use oidc_support::browser::Browser;
use oidc_support::dpop;
use oidc_support::node::{Admin, CALLBACK, Registered, Shared, shared};
use oidc_support::relying_party::{Answer, Method, RelyingParty, part};
use serde_json::{Value, json};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const API: &str = "https://api.example.org";

async fn register(shared: &Shared, body: Value) -> RelyingParty {
    let answer = Admin::of(&shared.ready).create("clients", body).await;
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    let registered = Registered { client_id: text("client_id"), client_secret: text("client_secret") };
    RelyingParty::discover(&shared.ready.issuer, &registered, Method::Basic).await
}

/// An app that users log in to.
async fn app(shared: &Shared, more: Value) -> RelyingParty {
    let mut body = json!({
        "client_name": "App", "redirect_uris": [CALLBACK], "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token"], "scope": "openid read write offline_access",
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    register(shared, body).await
}

/// A service that exchanges what `policy` lets it.
async fn gateway(shared: &Shared, policy: Value) -> RelyingParty {
    let body = json!({
        "client_name": "Gateway", "grant_types": [GRANT, "client_credentials"], "response_types": [],
        "scope": "openid read", "token_exchange": policy,
    });
    register(shared, body).await
}

async fn tokens(shared: &Shared, app: &RelyingParty) -> Answer {
    let wanted = [("scope", "openid read write offline_access"), ("prompt", "consent")];
    let mut browser = Browser::new(&shared.ready.public_url);
    let callback = browser.approve(&app.request(&wanted), &shared.person).await;
    let issued = app.redeem(&callback, &[]).await;
    assert_eq!(issued.status, 200, "{}", issued.body);
    issued
}

async fn exchange(client: &RelyingParty, subject: &str, more: &[(&str, &str)]) -> Answer {
    let mut fields =
        vec![("grant_type", GRANT), ("subject_token", subject), ("subject_token_type", ACCESS_TOKEN)];
    fields.extend(more);
    client.call("token_endpoint", &fields).await
}

fn policy(app: &RelyingParty) -> Value {
    json!({"scope": "read", "subject_clients": [app.client.client_id], "audiences": [API]})
}

#[tokio::test]
async fn rfc8693_s2_2_1_a_delegated_token_says_for_whom_by_whom_and_where() {
    let shared = shared().await;
    let app = app(shared, json!({})).await;
    let gateway = gateway(shared, policy(&app)).await;
    let issued = tokens(shared, &app).await;
    let answer = exchange(&gateway, issued.text("access_token"), &[("audience", API)]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!((answer.text("issued_token_type"), answer.text("token_type")), (ACCESS_TOKEN, "Bearer"));
    assert_eq!(answer.text("scope"), "read");
    assert!(answer.body.get("refresh_token").is_none() && answer.body.get("id_token").is_none());
    let (subject, said) = (part(issued.text("access_token"), 1), part(answer.text("access_token"), 1));
    assert_eq!((&said["sub"], &said["aud"]), (&subject["sub"], &json!([API])));
    assert_eq!(said["client_id"], gateway.client.client_id.as_str());
    assert_eq!(said["act"], json!({"sub": gateway.client.client_id}));
    assert!(said["exp"].as_u64().unwrap() <= subject["exp"].as_u64().unwrap());
    let fields = [("token", answer.text("access_token"))];
    let seen = gateway.call("introspection_endpoint", &fields).await;
    assert_eq!((&seen.body["active"], &seen.body["act"]), (&json!(true), &said["act"]), "RFC 8693 §4.1");

    // §2.1: an actor's token may be brought along.
    let own = gateway.call("token_endpoint", &[("grant_type", "client_credentials")]).await;
    let actor = [("actor_token", own.text("access_token")), ("actor_token_type", ACCESS_TOKEN)];
    let again = exchange(&gateway, answer.text("access_token"), &actor).await;
    let said = part(again.text("access_token"), 1);
    let name = gateway.client.client_id.as_str();
    assert_eq!(said["act"], json!({"sub": name, "client_id": name, "act": {"sub": name}}));
}

#[tokio::test]
async fn rfc8693_s2_2_2_what_the_policy_does_not_give_is_refused() {
    let shared = shared().await;
    let (app, other) = (app(shared, json!({})).await, app(shared, json!({})).await);
    let gateway = gateway(shared, policy(&app)).await;
    let issued = tokens(shared, &app).await;
    let token = issued.text("access_token");
    for (more, error) in [
        (&[("audience", "https://other.example")][..], "invalid_target"),
        (&[("scope", "write")], "invalid_scope"),
        (&[("actor_token", token)], "invalid_request"),
        (&[("actor_token", token), ("actor_token_type", ACCESS_TOKEN)], "invalid_request"),
        (&[("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token")], "invalid_request"),
    ] {
        let refused = exchange(&gateway, token, more).await;
        assert_eq!((refused.status, &refused.body["error"]), (400, &json!(error)), "{more:?}");
    }
    let foreign = tokens(shared, &other).await;
    exchange(&gateway, foreign.text("access_token"), &[]).await.assert_error(400, "invalid_request");
    for none in ["garbage", foreign.text("id_token"), foreign.text("refresh_token")] {
        exchange(&gateway, none, &[]).await.assert_error(400, "invalid_request");
    }
    exchange(&app, token, &[]).await.assert_error(400, "unauthorized_client");
    let unregistered = [("resource", API)];
    exchange(&gateway, token, &unregistered).await.assert_error(400, "invalid_target");
    assert_eq!(app.call("revocation_endpoint", &[("token", token)]).await.status, 200);
    exchange(&gateway, token, &[]).await.assert_error(400, "invalid_request");
}

#[tokio::test]
async fn rfc8693_s4_4_may_act_is_issued_as_registered_and_obeyed() {
    let shared = shared().await;
    let open = json!({"scope": "read"});
    let (named, other) = (gateway(shared, open.clone()).await, gateway(shared, open).await);
    let app = app(shared, json!({"token_exchange_actor": named.client.client_id})).await;
    let issued = tokens(shared, &app).await;
    let token = issued.text("access_token");
    assert_eq!(part(token, 1)["may_act"], json!({"sub": named.client.client_id}));
    assert_eq!(exchange(&named, token, &[]).await.status, 200);
    exchange(&other, token, &[]).await.assert_error(400, "invalid_request");
}

#[tokio::test]
async fn an_exchanged_token_ends_with_the_family_it_came_from() {
    let shared = shared().await;
    let app = app(shared, json!({})).await;
    let mut free = policy(&app);
    free["impersonation"] = json!(true);
    let gateway = gateway(shared, free).await;
    let issued = tokens(shared, &app).await;
    let answer = exchange(&gateway, issued.text("access_token"), &[]).await;
    assert!(part(answer.text("access_token"), 1).get("act").is_none(), "RFC 8693 §1.1: impersonation");
    let seen = async || {
        let fields = [("token", answer.text("access_token"))];
        gateway.call("introspection_endpoint", &fields).await.body["active"].clone()
    };
    assert_eq!(seen().await, true);
    let fields = [("token", issued.text("refresh_token"))];
    assert_eq!(app.call("revocation_endpoint", &fields).await.status, 200);
    assert_eq!(seen().await, false);
}

#[tokio::test]
async fn an_exchanged_token_ends_with_the_token_it_was_exchanged_for() {
    let shared = shared().await;
    let app = app(shared, json!({})).await;
    let gateway = gateway(shared, policy(&app)).await;
    let issued = tokens(shared, &app).await;
    let first = exchange(&gateway, issued.text("access_token"), &[]).await;
    let second = exchange(&gateway, first.text("access_token"), &[]).await;
    let fields = [("token", second.text("access_token"))];
    assert_eq!(gateway.call("introspection_endpoint", &fields).await.body["active"], true);
    let revoked = [("token", issued.text("access_token"))];
    assert_eq!(app.call("revocation_endpoint", &revoked).await.status, 200);
    assert_eq!(gateway.call("introspection_endpoint", &fields).await.body["active"], false);
}

#[tokio::test]
async fn rfc8707_s2_2_an_exchanged_token_is_for_registered_resources_of_the_policy() {
    let shared = shared().await;
    let orders = "https://orders.example.org/";
    let server = json!({
        "client_name": "Orders", "grant_types": ["client_credentials"], "response_types": [],
        "resource_identifiers": [orders],
    });
    register(shared, server).await;
    let app = app(shared, json!({})).await;
    let mut wider = policy(&app);
    wider["audiences"] = json!([API, orders]);
    let gateway = gateway(shared, wider).await;
    let issued = tokens(shared, &app).await;
    let answer = exchange(&gateway, issued.text("access_token"), &[("resource", orders)]).await;
    assert_eq!(part(answer.text("access_token"), 1)["aud"], json!([orders]), "{}", answer.body);
}

#[tokio::test]
async fn oidc_core_s8_1_an_exchanged_token_has_the_subject_that_its_client_knows() {
    let shared = shared().await;
    let pairwise = json!({"subject_type": "pairwise"});
    let (app, other) = (app(shared, pairwise).await, app(shared, json!({})).await);
    let gateway = gateway(shared, policy(&app)).await;
    let (issued, public) = (tokens(shared, &app).await, tokens(shared, &other).await);
    let answer = exchange(&gateway, issued.text("access_token"), &[]).await;
    let subject = |answer: &Answer| part(answer.text("access_token"), 1)["sub"].clone();
    assert_ne!(subject(&answer), subject(&issued));
    assert_eq!(subject(&answer), subject(&public), "the gateway is registered for public subjects");
}

#[tokio::test]
async fn rfc9449_s7_a_bound_token_is_not_exchanged_for_one_that_anybody_may_use() {
    let shared = shared().await;
    let app = app(shared, json!({"token_endpoint_auth_method": "client_secret_basic"})).await;
    let constrained = json!({
        "client_name": "Gateway", "grant_types": [GRANT], "response_types": [], "scope": "read",
        "token_exchange": policy(&app), "dpop_bound_access_tokens": true,
    });
    let (loose, strict) = (gateway(shared, policy(&app)).await, register(shared, constrained).await);
    let (holders, own) = (Key::new("app"), Key::new("gateway"));
    let mut browser = Browser::new(&shared.ready.public_url);
    let callback = browser.approve(&app.request(&[("scope", "openid read")]), &shared.person).await;
    let fields =
        [("grant_type", "authorization_code"), ("code", callback.get("code")), ("redirect_uri", CALLBACK)];
    let issued = proven(&app, &holders, &fields).await;
    assert_eq!(issued.text("token_type"), "DPoP", "{}", issued.body);
    let token = issued.text("access_token");
    exchange(&loose, token, &[]).await.assert_error(400, "invalid_request");
    let fields = [("grant_type", GRANT), ("subject_token", token), ("subject_token_type", ACCESS_TOKEN)];
    proven(&loose, &own, &fields).await.assert_error(400, "invalid_request");
    for (client, key) in [(&loose, &holders), (&strict, &own)] {
        let answer = proven(client, key, &fields).await;
        assert_eq!((answer.status, answer.text("token_type")), (200, "DPoP"), "{}", answer.body);
        let bound = part(answer.text("access_token"), 1)["cnf"]["jkt"].clone();
        assert_eq!(bound, dpop::thumbprint(key), "bound to the key of this request");
    }
}

/// A token request with a proof, under the nonce that the node asks for.
async fn proven(client: &RelyingParty, key: &Key, fields: &[(&str, &str)]) -> Answer {
    let url = client.endpoint("token_endpoint");
    let send = async |more: Value| {
        let Registered { client_id, client_secret } = &client.client;
        let request = client.http.post(url).basic_auth(client_id, Some(client_secret)).form(fields);
        let proof = dpop::proof(key, "POST", url, &more);
        Answer::of(request.header("dpop", proof).send().await.unwrap()).await
    };
    let asked = send(json!({})).await;
    asked.assert_error(400, "use_dpop_nonce");
    send(json!({ "nonce": asked.header("dpop-nonce") })).await
}
