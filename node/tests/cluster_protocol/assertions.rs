//! Assertions: of clients (RFC 7523 §2.2) and of issuers that a client trusts (§2.1).

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::cluster_guest::{CALLBACK, Reply};
use crate::cluster_support::{Cluster, partition};
use crate::oidc_support::assertion::{ASSERTION_TYPE, Key, claims};
use crate::oidc_support::relying_party::part;
use crate::world::{App, CATCH_UP_MAX, World, refused};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const IDP: &str = "https://idp.example.org";
/// Until the partition keeps its leader for as long as three requests take.
const TRIES: usize = 10;

/// Who leads the tenant's home, and since which term: uses are remembered by that node, for that long.
async fn leadership(world: &World, cluster: &Cluster) -> (Value, Value) {
    let seen = cluster.get(world.hosts[0], "/v1/cluster").await.unwrap();
    let home = partition(&seen, world.guest.partition);
    (home["leader"].clone(), home["term"].clone())
}

pub async fn a_trusted_issuer_is_believed_once(world: &World, at: [usize; 4]) {
    let [a, b, c, d] = at;
    let key = Key::new("idp");
    let metadata = json!({
        "client_name": "Trades assertions", "grant_types": [GRANT], "response_types": [], "scope": "read",
        "trusted_assertion_issuers": [{
            "issuer": IDP, "jwks": {"keys": [key.jwk()]}, "subject": "username", "scope": "read",
        }],
    });
    let app = world.register(a, &metadata).await;
    let assertion_of_it = || {
        let mut claims = claims(IDP, &world.guest.issuer);
        claims["sub"] = json!(world.guest.person.0);
        key.sign(&claims)
    };
    let trade = async |host: usize, assertion: &str| {
        world.post(host, &app, "token", &[("grant_type", GRANT), ("assertion", assertion)]).await
    };
    let once = assertion_of_it();
    let issued = trade(c, &once).await.expect(StatusCode::OK);
    refused(&trade(b, &once).await, "invalid_grant");
    let token = issued.text("access_token");
    assert_ne!(part(&token, 1)["sub"], app.id.as_str(), "it is a user's");
    world.shows(&at, &app, &token, true, CATCH_UP_MAX).await;
    trade(d, &assertion_of_it()).await.expect(StatusCode::OK);
}

/// A client that has a key in place of a secret.
pub struct Signer {
    key: Key,
    id: String,
}

impl Signer {
    pub async fn new(world: &World, host: usize) -> Self {
        let key = Key::new("client");
        let metadata = json!({
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
            "redirect_uris": [CALLBACK], "require_pkce": false, "jwks": {"keys": [key.jwk()]},
            "token_endpoint_auth_method": "private_key_jwt",
        });
        let made = world.guest.admin(&world.doors, host, Method::POST, "/clients", None, Some(&metadata));
        let made = made.await.unwrap().expect(StatusCode::CREATED);
        Self { key, id: made.text("client_id") }
    }

    /// A new assertion. Its audience is the issuer, whichever node it is for.
    pub fn assertion(&self, world: &World) -> String {
        self.key.sign(&claims(&self.id, &world.guest.issuer))
    }

    pub async fn post(
        &self,
        world: &World,
        host: usize,
        endpoint: &str,
        assertion: &str,
        fields: &[(&str, &str)],
    ) -> Result<Reply, reqwest::Error> {
        let mut all = vec![("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion)];
        all.extend(fields);
        // Whoever has no secret names itself in the form.
        let app = App { id: self.id.clone(), secret: String::new() };
        world.ask(host, &app, endpoint, &all, None).await
    }

    pub async fn own_token(
        &self,
        world: &World,
        host: usize,
        assertion: &str,
    ) -> Result<Reply, reqwest::Error> {
        self.post(world, host, "token", assertion, &[("grant_type", "client_credentials")]).await
    }
}

/// What writes, and all of the token endpoint, is served by the leader: it knows each use (docs/adr/0014).
pub async fn a_client_proves_itself_once(world: &World, cluster: &Cluster, at: [usize; 4]) {
    let [a, b, c, d] = at;
    let signer = Signer::new(world, d).await;
    let before = signer.own_token(world, a, &signer.assertion(world)).await.unwrap();
    let token = before.expect(StatusCode::OK).text("access_token");
    for _ in 0..TRIES {
        let led = leadership(world, cluster).await;
        let used = signer.assertion(world);
        let first = signer.own_token(world, a, &used).await.unwrap();
        let second = signer.own_token(world, b, &used).await.unwrap();
        let revoked = signer.post(world, c, "revoke", &used, &[("token", token.as_str())]).await.unwrap();
        if leadership(world, cluster).await != led {
            continue;
        }
        first.expect(StatusCode::OK);
        for reply in [second, revoked] {
            assert_eq!(
                (reply.status, reply.text("error")),
                (StatusCode::UNAUTHORIZED, "invalid_client".to_owned())
            );
        }
        let fresh = signer.assertion(world);
        let done = signer.post(world, c, "revoke", &fresh, &[("token", token.as_str())]).await.unwrap();
        done.expect(StatusCode::OK);
        return;
    }
    panic!("the leader changes all the time");
}
