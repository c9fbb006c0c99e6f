//! The attacks of RFC 9700 §4, one by one, against the real binary. Where a countermeasure is the client's to
//! take (4.7 `state`, 4.4 `iss`) the test shows that the server gives it what it needs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

#[path = "../oidc_support/mod.rs"]
mod oidc_support;

mod bound;
mod browsers;
mod codes;
mod tokens;

use oidc_support::browser::{Browser, Callback};
use oidc_support::node::{Admin, CALLBACK, Registered, Shared, shared};
use oidc_support::relying_party::{Answer, Method, RelyingParty};
use serde_json::{Value, json};

/// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const PKCE: [(&str, &str); 2] = [("code_challenge", CHALLENGE), ("code_challenge_method", "S256")];

/// The node, and the client that is attacked.
struct World {
    shared: &'static Shared,
    client: RelyingParty,
}

impl World {
    async fn new() -> Self {
        let shared = shared().await;
        let client = RelyingParty::discover(&shared.ready.issuer, &shared.basic, Method::Basic).await;
        Self { shared, client }
    }

    /// The attacker's own client.
    async fn attacker(&self) -> RelyingParty {
        RelyingParty::discover(&self.shared.ready.issuer, &self.shared.other, Method::Basic).await
    }

    /// A client with these members.
    async fn registered(&self, more: Value) -> RelyingParty {
        let mut body = json!({
            "client_name": "Attacked", "redirect_uris": [CALLBACK],
            "token_endpoint_auth_method": "client_secret_post",
            "grant_types": ["authorization_code", "refresh_token"],
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = Admin::of(&self.shared.ready).create("clients", body).await;
        let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
        let registered = Registered { client_id: text("client_id"), client_secret: text("client_secret") };
        RelyingParty::discover(&self.shared.ready.issuer, &registered, Method::Post).await
    }

    fn browser(&self) -> Browser {
        Browser::new(&self.shared.ready.public_url)
    }

    /// What comes back after the victim logged in and allowed.
    async fn approved(&self, client: &RelyingParty, given: &[(&str, &str)]) -> Callback {
        self.browser().approve(&client.request(given), &self.shared.person).await
    }

    async fn tokens(&self, scope: &str) -> Answer {
        let callback = self.approved(&self.client, &[("scope", scope), ("prompt", "consent")]).await;
        self.client.redeem(&callback, &[]).await
    }

    async fn is_active(&self, token: &str) -> bool {
        let seen = self.client.call("introspection_endpoint", &[("token", token)]).await;
        seen.body["active"].as_bool().unwrap()
    }
}
