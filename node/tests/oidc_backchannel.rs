//! Back-channel logout (OpenID Connect Back-Channel Logout 1.0) against the real binary: the suite's plan
//! `oidcc-backchannel-rp-initiated-logout-certification-test-plan`, what ends sessions otherwise, and what
//! happens when somebody is down.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod oidc_support;

use std::path::Path;

use oidc_support::browser::{Browser, Callback};
use oidc_support::logout_receiver::LogoutReceiver;
use oidc_support::node::{Admin, CALLBACK, LOGGED_OUT, Node, Person, Registered};
use oidc_support::relying_party::{Method, RelyingParty, names, part};
use serde_json::{Value, json};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// In `dev` loopback is reached unless the settings say otherwise.
const CLOSED: [(&str, &str); 1] = [("DOMICILE__EGRESS__ALLOW_NETWORKS", "")];

struct World {
    node: Node,
    receiver: LogoutReceiver,
    client: RelyingParty,
    person: Person,
}

/// A browser that is logged in at the client.
struct LoggedIn {
    browser: Browser,
    id_token: String,
    refresh_token: String,
}

impl World {
    async fn new(dir: &Path, more: Value) -> Self {
        Self::on(Node::start(dir, "127.0.0.1:0").await, more).await
    }

    async fn on(node: Node, more: Value) -> Self {
        let receiver = LogoutReceiver::start().await;
        let client = register(&node, &receiver, more).await;
        let person = Person { username: node.ready.username.clone(), password: node.ready.password.clone() };
        Self { node, receiver, client, person }
    }

    async fn log_in(&self) -> LoggedIn {
        let mut browser = Browser::new(&self.node.ready.public_url);
        let request = self.client.request(&[("scope", "openid offline_access"), ("prompt", "consent")]);
        let callback: Callback = browser.approve(&request, &self.person).await;
        let tokens = self.client.redeem(&callback, &[]).await;
        assert_eq!(tokens.status, 200, "{}", tokens.body);
        let text = |name: &str| tokens.text(name).to_owned();
        LoggedIn { browser, id_token: text("id_token"), refresh_token: text("refresh_token") }
    }

    async fn log_out(&self, at: &mut LoggedIn) -> Callback {
        let pairs = [
            ("id_token_hint", at.id_token.as_str()),
            ("post_logout_redirect_uri", LOGGED_OUT),
            ("state", "st-1"),
        ];
        let url = url::Url::parse_with_params(self.client.endpoint("end_session_endpoint"), pairs).unwrap();
        at.browser.open(url.as_str()).await.callback()
    }

    async fn next_claims(&mut self) -> Value {
        self.receiver.next().await.verified(self.client.endpoint("jwks_uri")).await
    }

    fn admin(&self) -> Admin {
        Admin::of(&self.node.ready)
    }

    async fn user_id(&self) -> String {
        let users = self.admin().get("users").await;
        let named = |user: &&Value| user["username"] == self.person.username.as_str();
        users["items"].as_array().unwrap().iter().find(named).unwrap()["id"].as_str().unwrap().to_owned()
    }
}

async fn register(node: &Node, receiver: &LogoutReceiver, more: Value) -> RelyingParty {
    let mut body = json!({
        "client_name": "Listener", "redirect_uris": [CALLBACK], "post_logout_redirect_uris": [LOGGED_OUT],
        "grant_types": ["authorization_code", "refresh_token"],
        "backchannel_logout_uri": receiver.url, "backchannel_logout_session_required": true,
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = Admin::of(&node.ready).create("clients", body).await;
    assert_eq!(made["backchannel_logout_uri"], receiver.url.as_str());
    assert_eq!(made["backchannel_logout_session_required"], true);
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    let registered = Registered { client_id: text("client_id"), client_secret: text("client_secret") };
    RelyingParty::discover(&node.ready.issuer, &registered, Method::Basic).await
}

/// What the suite's module asserts about a logout token.
fn assert_token(claims: &Value, client: &RelyingParty, id_token: &str) {
    let id_token = part(id_token, 1);
    assert_eq!(names(claims), ["aud", "events", "exp", "iat", "iss", "jti", "sid", "sub"], "and no nonce");
    assert_eq!(claims["iss"], client.endpoint("issuer"));
    assert_eq!(claims["aud"], client.client.client_id.as_str());
    assert_eq!((&claims["sub"], &claims["sid"]), (&id_token["sub"], &id_token["sid"]));
    assert_eq!(claims["events"], json!({ EVENT: {} }));
    let time = |name: &str| claims[name].as_u64().unwrap();
    assert!(time("exp") > time("iat") && time("exp") - time("iat") <= 120, "{claims}");
}

#[tokio::test]
async fn oidcc_backchannel_logout_discovery_endpoint_verification() {
    let shared = oidc_support::node::shared().await;
    let client = RelyingParty::discover(&shared.ready.issuer, &shared.basic, Method::Basic).await;
    assert_eq!(client.metadata["backchannel_logout_supported"], true);
    assert_eq!(client.metadata["backchannel_logout_session_supported"], true);
    assert!(client.endpoint("end_session_endpoint").starts_with(&shared.ready.public_url));
}

#[tokio::test]
async fn oidcc_backchannel_rp_initiated_logout() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), json!({})).await;
    let mut at = world.log_in().await;
    let back = world.log_out(&mut at).await;
    assert_eq!((back.uri.as_str(), back.get("state"), back.parameters.len()), (LOGGED_OUT, "st-1", 1));
    let received = world.receiver.next().await;
    assert!(received.head.starts_with("POST /backchannel_logout HTTP/1.1\r\n"), "{}", received.head);
    let form = "content-type: application/x-www-form-urlencoded";
    assert!(received.head.to_ascii_lowercase().contains(form), "{}", received.head);
    assert!(!received.head.to_ascii_lowercase().contains("authorization"), "{}", received.head);
    let claims = received.verified(world.client.endpoint("jwks_uri")).await;
    assert_token(&claims, &world.client, &at.id_token);
    let silent = at.browser.open(&world.client.request(&[("prompt", "none")])).await.callback();
    assert_eq!(silent.get("error"), "login_required");
    // §2.7: a refresh token with `offline_access` is not revoked by a logout.
    assert_eq!(world.client.refresh(&at.refresh_token).await.status, 200);
}

#[tokio::test]
async fn oidc_backchannel_s2_5_whoever_ends_a_session_the_client_hears_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), json!({"subject_type": "pairwise"})).await;
    let user = world.user_id().await;
    // An administrator ends the one session.
    let at = world.log_in().await;
    let sessions = world.admin().get(&format!("users/{user}/sessions")).await;
    let session = sessions["items"][0]["id"].as_str().unwrap().to_owned();
    world.admin().delete(&format!("sessions/{session}")).await;
    let claims = world.next_claims().await;
    assert_token(&claims, &world.client, &at.id_token);
    assert_ne!(claims["sub"], world.admin().get(&format!("users/{user}")).await["subject"], "pairwise");
    // A changed password ends all sessions.
    let (first, second) = (world.log_in().await, world.log_in().await);
    let password = "a brand new password";
    let changed =
        world.admin().post(&format!("users/{user}/password"), json!({ "password": password })).await;
    assert!(changed < 300, "{changed}");
    let mut told = [world.next_claims().await["sid"].clone(), world.next_claims().await["sid"].clone()];
    let mut wanted = [&first, &second].map(|at| part(&at.id_token, 1)["sid"].clone());
    told.sort_by_key(Value::to_string);
    wanted.sort_by_key(Value::to_string);
    assert_eq!(told, wanted);
    world.person.password = password.to_owned();
    // So does disabling the user.
    let at = world.log_in().await;
    world.admin().change(&format!("users/{user}"), json!({ "disabled": true })).await;
    assert_token(&world.next_claims().await, &world.client, &at.id_token);
    world.admin().change(&format!("users/{user}"), json!({ "disabled": false })).await;
    // And erasing, after which nobody knows the subject any more.
    let at = world.log_in().await;
    world.admin().delete(&format!("users/{user}")).await;
    let claims = world.next_claims().await;
    assert_eq!(claims["sid"], part(&at.id_token, 1)["sid"]);
    assert!(claims["sub"].is_null(), "{claims}");
    assert!(world.receiver.is_empty());
}

#[tokio::test]
async fn a_logout_that_was_not_delivered_is_told_after_kill_9_by_a_fresh_token() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), json!({})).await;
    world.receiver.answer(503);
    let mut at = world.log_in().await;
    world.log_out(&mut at).await;
    let first = world.next_claims().await;
    let again = world.next_claims().await;
    assert_ne!(first["jti"], again["jti"], "each try signs afresh");
    world.node.kill();
    while !world.receiver.is_empty() {
        world.receiver.next().await;
    }
    world.receiver.answer(200);
    let listen = world.node.ready.public_url.trim_start_matches("http://").to_owned();
    world.node = Node::start(dir.path(), &listen).await;
    let claims = world.next_claims().await;
    assert_token(&claims, &world.client, &at.id_token);
    assert!(claims["jti"] != first["jti"] && claims["jti"] != again["jti"]);
    // The record goes with the delivery: a further start finds nothing to tell.
    settled(&world).await;
    world.node.kill();
    world.node = Node::start(dir.path(), &listen).await;
    let mut at = world.log_in().await;
    world.log_out(&mut at).await;
    assert_eq!(world.next_claims().await["sid"], part(&at.id_token, 1)["sid"], "that of the last logout");
}

/// Waits until the node has nothing left to tell.
async fn settled(world: &World) {
    let url = format!("{}/metrics", world.node.ready.management_url);
    let mut poll = tokio::time::interval(std::time::Duration::from_millis(50));
    let waiting = async {
        loop {
            poll.tick().await;
            let text = reqwest::get(&url).await.unwrap().text().await.unwrap();
            if text.lines().any(|line| line == "domicile_logout_pending 0") {
                assert!(text.contains("domicile_logout_tries_total{result=\"told\"} 1"), "{text}");
                return;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), waiting).await.expect("it is never settled");
}

#[tokio::test]
async fn a_logout_goes_nowhere_private_that_a_client_names() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start_with(dir.path(), "127.0.0.1:0", &CLOSED).await;
    let world = World::on(node, json!({})).await;
    let mut at = world.log_in().await;
    world.log_out(&mut at).await;
    let url = format!("{}/metrics", world.node.ready.management_url);
    let mut poll = tokio::time::interval(std::time::Duration::from_millis(50));
    let tried = async {
        loop {
            poll.tick().await;
            let text = reqwest::get(&url).await.unwrap().text().await.unwrap();
            if text.contains("domicile_logout_tries_total{result=\"failed\"}") {
                return;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), tried).await.expect("it was never tried");
    assert!(world.receiver.is_empty());
}

#[tokio::test]
async fn oidc_backchannel_s2_5_a_session_that_ends_unused_is_told_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), json!({})).await;
    world.admin().settings(json!({ "session_idle_ms": 1_000 })).await;
    let at = world.log_in().await;
    let claims = world.next_claims().await;
    assert_token(&claims, &world.client, &at.id_token);
}
