//! What was revoked is refused: each of six kinds of revocation, at each kind of endpoint that it concerns, on
//! the leader and on followers, within the stated bound (docs/consistency.md, "How long a revocation takes").
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "real processes are waited for in real time"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod cluster_guest;
mod cluster_support;
mod oidc_support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cluster_guest::{CALLBACK, Guest, Reply, ada, browser};
use cluster_support::{Cluster, LOOK};
use oidc_support::browser::Stop;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// What the tenant of the test promises.
const BOUND: Duration = Duration::from_secs(2);
/// How long a write may be new to a follower on a machine that does much else.
const CATCH_UP_MAX: Duration = Duration::from_secs(10);

/// What is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Session,
    Grant,
    Family,
    Client,
    User,
    Token,
}

/// What an authorization request with `prompt=none` comes to then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silent {
    /// A code: nothing that it stands on was revoked.
    Code,
    /// An error at the redirect URI.
    Error(&'static str),
    /// An error page: the client gets no answer.
    Page,
}

/// Kind, whether its refresh token still counts, and what `prompt=none` gives. Access tokens are void after each.
const TABLE: [(Kind, bool, Silent); 6] = [
    (Kind::Session, false, Silent::Error("login_required")),
    (Kind::Grant, false, Silent::Error("consent_required")),
    (Kind::Family, false, Silent::Code),
    (Kind::Client, false, Silent::Page),
    (Kind::User, false, Silent::Error("login_required")),
    (Kind::Token, true, Silent::Code),
];

/// A login of its own user at its own client, so that kinds do not touch each other.
struct Login {
    guest: Guest,
    client: String,
    cookies: BTreeMap<String, String>,
    access: String,
    refresh: String,
}

async fn admin(
    cluster: &Cluster,
    guest: &Guest,
    turn: usize,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Reply {
    let reply = guest.admin(cluster, turn, method, path, None, body.as_ref()).await.unwrap();
    assert!(reply.status.is_success(), "{path}: {} {}", reply.status, reply.body);
    reply
}

impl Login {
    async fn new(cluster: &Cluster, guest: &Guest, name: &str) -> Self {
        let password = "correct horse battery staple";
        let body = json!({ "username": name, "password": password });
        let user = admin(cluster, guest, 0, Method::POST, "/users", Some(body)).await;
        let body = json!({
            "client_name": name, "redirect_uris": [CALLBACK], "require_pkce": false,
            "grant_types": ["authorization_code", "refresh_token"],
            // Without `offline_access`: what ends the session ends the family.
            "scope": "openid profile email",
        });
        let client = admin(cluster, guest, 0, Method::POST, "/clients", Some(body)).await;
        let guest = Guest {
            user: user.text("id"),
            person: (name.to_owned(), password.to_owned()),
            client: (client.text("client_id"), client.text("client_secret")),
            ..guest.clone()
        };
        let mut visitor = browser(cluster, &guest, &[0, 1, 2]);
        let callback = guest.log_in(&mut visitor, "").await;
        let tokens = guest.redeem(cluster, 0, &callback).await;
        let (access, refresh) = (tokens.text("access_token"), tokens.text("refresh_token"));
        Self { guest, client: client.text("id"), cookies: visitor.cookies, access, refresh }
    }

    async fn revoke(&self, cluster: &Cluster, turn: usize, kind: Kind) {
        let Self { guest, client, .. } = self;
        let user = format!("/users/{}", guest.user);
        let call = |method, path, body| admin(cluster, guest, turn, method, path, body);
        match kind {
            Kind::Session => {
                let id = guest.a_session(cluster, turn).await;
                admin(cluster, guest, turn, Method::DELETE, &format!("/sessions/{id}"), None).await;
            }
            Kind::Grant => {
                admin(cluster, guest, turn, Method::DELETE, &format!("{user}/grants/{client}"), None).await;
            }
            Kind::Client => {
                let path = format!("/clients/{client}");
                call(Method::PATCH, &path, Some(json!({ "disabled": true }))).await;
            }
            Kind::User => {
                call(Method::PATCH, &user, Some(json!({ "disabled": true }))).await;
            }
            Kind::Family | Kind::Token => {
                let token = if kind == Kind::Family { &self.refresh } else { &self.access };
                let revoked = guest.form(cluster, turn, "revoke", &[("token", token)]).await.unwrap();
                assert_eq!(revoked.status, StatusCode::OK, "{}", revoked.body);
            }
        }
    }

    /// Whether introspection (by the token's own client) and userinfo take the access token.
    async fn counts(&self, cluster: &Cluster, turn: usize) -> (bool, bool) {
        let shown = self.guest.introspect(cluster, turn, &self.access).await;
        let introspected = match shown.status {
            StatusCode::OK => shown.body["active"] == true,
            // A client that may do nothing may not ask either; a replica that lags too far says nothing.
            StatusCode::UNAUTHORIZED | StatusCode::SERVICE_UNAVAILABLE => false,
            other => panic!("{other} {}", shown.body),
        };
        let userinfo = self.guest.fetch(cluster, turn, "/oauth2/userinfo", Some(&self.access)).await;
        let known = match userinfo.status {
            StatusCode::OK => true,
            StatusCode::UNAUTHORIZED | StatusCode::SERVICE_UNAVAILABLE => false,
            other => panic!("{other} {}", userinfo.body),
        };
        (introspected, known)
    }

    async fn silent(&self, cluster: &Cluster, turn: usize) -> Silent {
        let mut visitor = browser(cluster, &self.guest, &[turn]);
        visitor.cookies = self.cookies.clone();
        match visitor.open(&self.guest.authorize("&prompt=none")).await {
            Stop::Page(page) => {
                assert!((400..500).contains(&page.status), "{} {}", page.status, page.html);
                Silent::Page
            }
            Stop::Callback(callback) => match callback.get("error") {
                "login_required" => Silent::Error("login_required"),
                "consent_required" => Silent::Error("consent_required"),
                "" if !callback.get("code").is_empty() => Silent::Code,
                _ => panic!("{callback:?}"),
            },
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_revoked_is_refused_on_every_node_within_the_bound() {
    let mut cluster = Cluster::hosts(&["eu-central/a", "eu-central/b", "eu-central/c"]);
    cluster.up(3).await;
    let placement = json!({ "regions": ["eu-central"], "survive": "zone" });
    let guest = Guest::create(&cluster, "acme", &placement, 3, &ada()).await;
    let bound_ms = u64::try_from(BOUND.as_millis()).unwrap();
    let settings = json!({ "token_staleness_ms": bound_ms, "profile_staleness_ms": bound_ms });
    admin(&cluster, &guest, 0, Method::PATCH, "", Some(json!({ "settings": settings }))).await;
    let hosts = guest.voters(&cluster, 0).await;
    let (leader, follower) = (hosts[0], hosts[1]);
    let mut logins = Vec::new();
    for (kind, ..) in TABLE {
        let login = Login::new(&cluster, &guest, &format!("{kind:?}").to_lowercase()).await;
        for turn in &hosts {
            // The login may be new to a follower, whose answers are as of some moment within the bound.
            let began = Instant::now();
            while login.counts(&cluster, *turn).await != (true, true) {
                assert!(began.elapsed() < CATCH_UP_MAX, "{kind:?} does not count on host {turn}");
                tokio::time::sleep(LOOK).await;
            }
            assert_eq!(login.silent(&cluster, *turn).await, Silent::Code, "{kind:?} on host {turn}");
        }
        logins.push(login);
    }
    for ((kind, refreshes, silent), login) in TABLE.into_iter().zip(&mut logins) {
        login.revoke(&cluster, follower, kind).await;
        let answered = Instant::now();
        assert_eq!(login.counts(&cluster, leader).await, (false, false), "{kind:?}: at once on the leader");
        for turn in &hosts {
            let told = format!("{kind:?} on host {turn}, leader {leader}");
            // Linearizable everywhere, so at once.
            assert_eq!(login.silent(&cluster, *turn).await, silent, "{told}");
            let next = login.guest.refresh(&cluster, *turn, &login.refresh).await.unwrap();
            if refreshes {
                login.refresh = next.expect(StatusCode::OK).text("refresh_token");
            } else {
                let refused = [StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED].contains(&next.status);
                assert!(refused, "{told}: {} {}", next.status, next.body);
            }
        }
        for turn in hosts.iter().filter(|turn| **turn != leader) {
            loop {
                let asked = Instant::now();
                if login.counts(&cluster, *turn).await == (false, false) {
                    break;
                }
                assert!(asked.duration_since(answered) < BOUND, "{kind:?} on host {turn}");
                tokio::time::sleep(LOOK).await;
            }
            for _ in 0..3 {
                assert_eq!(login.counts(&cluster, *turn).await, (false, false), "{kind:?}: it stays refused");
            }
        }
    }
}
