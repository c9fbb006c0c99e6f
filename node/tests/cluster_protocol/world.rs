//! What all steps share: where the nodes are, whose tenant it is, clients, and how they ask.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use url::Url;

use crate::cluster_guest::{CALLBACK, Guest, Reply, browser};
use crate::cluster_support::{Cluster, Doors, LOOK};
use crate::oidc_support::assertion::Key;
use crate::oidc_support::browser::Browser;
use crate::oidc_support::dpop;
use crate::oidc_support::node::Person;

/// Within which a revocation counts everywhere: `token_staleness_ms` as it is unless set.
pub const BOUND: Duration = Duration::from_secs(5);
/// How long a write may be new to a follower on a machine that does much else.
pub const CATCH_UP_MAX: Duration = Duration::from_secs(10);
/// A failover takes a part of it.
const PROGRESS_MAX: Duration = Duration::from_mins(1);
/// Between two tries, so that those who wait do not take the processor from those who elect.
pub const PAUSE: Duration = Duration::from_millis(20);
/// What a 503 says that does not mean that nothing was done (docs/consistency.md).
const OUTCOME_UNKNOWN: &str = "urn:domicile:problem:outcome-unknown";

/// RFC 7636 appendix B.
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// A tenant on nodes.
pub struct World {
    pub doors: Doors,
    pub guest: Guest,
    /// The leader of the tenant's home, then the others with a replica, last the one without.
    pub hosts: Vec<usize>,
}

/// A client; without a secret it says who it is in the form.
#[derive(Clone, Debug)]
pub struct App {
    pub id: String,
    pub secret: String,
}

/// What a client was told in the end.
pub struct Told {
    pub reply: Reply,
    /// Whether an earlier try may have done it.
    pub unsure: bool,
}

impl World {
    pub async fn new(cluster: &Cluster, guest: Guest) -> Self {
        let mut hosts = guest.voters(cluster, 0).await;
        assert_eq!(hosts.len(), 3, "{hosts:?}");
        hosts.extend((0..cluster.hosts.len()).filter(|host| !hosts.contains(host)).collect::<Vec<_>>());
        Self { doors: (**cluster).clone(), guest, hosts }
    }

    /// All four, beginning with that one.
    pub fn order(&self, first: usize) -> [usize; 4] {
        [0, 1, 2, 3].map(|turn| self.hosts[(first + turn) % 4])
    }

    /// A browser whose requests go to these nodes in turn.
    pub fn browser(&self, through: &[usize]) -> Browser {
        browser(&self.doors, &self.guest, through)
    }

    pub fn person(&self) -> Person {
        Person { username: self.guest.person.0.clone(), password: self.guest.person.1.clone() }
    }

    /// A URL of the tenant's issuer.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.guest.issuer)
    }

    /// Has an operator make a client.
    pub async fn register(&self, host: usize, metadata: &Value) -> App {
        let made = self.guest.admin(&self.doors, host, Method::POST, "/clients", None, Some(metadata)).await;
        App::of(&made.unwrap().expect(StatusCode::CREATED))
    }

    /// A client that people log in to, with these members in place of its own.
    pub async fn app(&self, host: usize, more: &Value) -> App {
        let mut metadata = json!({
            "client_name": "App", "redirect_uris": [CALLBACK], "require_pkce": false,
            "grant_types": ["authorization_code", "refresh_token"],
        });
        metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.register(host, &metadata).await
    }

    /// A resource server, and what it is called.
    pub async fn resource_server(&self, host: usize) -> (App, String) {
        let name = format!("https://api{}.example.org", number());
        let metadata = json!({
            "client_name": "API", "grant_types": ["client_credentials"], "response_types": [],
            "resource_identifiers": [name],
        });
        (self.register(host, &metadata).await, name)
    }

    /// A POST to an endpoint below `/oauth2/`.
    pub async fn ask(
        &self,
        host: usize,
        app: &App,
        endpoint: &str,
        fields: &[(&str, &str)],
        proof: Option<&str>,
    ) -> Result<Reply, reqwest::Error> {
        let mut fields: Vec<(&str, &str)> = fields.to_vec();
        let request = self.doors.http.post(self.at(host, endpoint));
        let request = if app.secret.is_empty() {
            fields.push(("client_id", app.id.as_str()));
            request
        } else {
            request.basic_auth(&app.id, Some(&app.secret))
        };
        let request =
            proof.into_iter().fold(request.form(&fields), |request, proof| request.header("dpop", proof));
        Reply::of(request.send().await?).await
    }

    /// The same where the node must answer.
    pub async fn post(&self, host: usize, app: &App, endpoint: &str, fields: &[(&str, &str)]) -> Reply {
        self.ask(host, app, endpoint, fields, None).await.unwrap()
    }

    /// An endpoint of this node under its own address.
    pub fn at(&self, host: usize, endpoint: &str) -> String {
        format!("{}/t/{}/oauth2/{endpoint}", self.doors.public(host), self.guest.slug)
    }

    /// The URL of an authorization request of this client.
    pub fn authorize(&self, app: &App, more: &[(&str, &str)]) -> String {
        let usual = [
            ("response_type", "code"),
            ("client_id", app.id.as_str()),
            ("redirect_uri", CALLBACK),
            ("scope", "openid offline_access"),
            ("prompt", "consent"),
        ];
        let rest = usual.iter().filter(|(name, _)| more.iter().all(|(known, _)| known != name));
        let url = self.url("/oauth2/authorize");
        Url::parse_with_params(&url, more.iter().chain(rest)).unwrap().to_string()
    }

    /// A code, all of its pages from this node.
    pub async fn code(&self, host: usize, app: &App, more: &[(&str, &str)]) -> String {
        let url = self.authorize(app, more);
        let callback = self.browser(&[host]).approve(&url, &self.person()).await;
        assert!(!callback.get("code").is_empty(), "{callback:?}");
        callback.get("code").to_owned()
    }

    pub async fn redeem(
        &self,
        host: usize,
        app: &App,
        code: &str,
        proof: Option<&str>,
    ) -> Result<Reply, reqwest::Error> {
        let fields = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CALLBACK)];
        self.ask(host, app, "token", &fields, proof).await
    }

    /// Tokens of a login at this node.
    pub async fn tokens(&self, host: usize, app: &App) -> Reply {
        let code = self.code(host, app, &[]).await;
        self.redeem(host, app, &code, None).await.unwrap().expect(StatusCode::OK)
    }

    pub async fn refresh(
        &self,
        host: usize,
        app: &App,
        token: &str,
        proof: Option<&str>,
    ) -> Result<Reply, reqwest::Error> {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
        self.ask(host, app, "token", &fields, proof).await
    }

    /// A proof of possession for an endpoint (RFC 9449 §4.2), whichever node it is for.
    pub fn proof(&self, key: &Key, endpoint: &str, nonce: &str) -> String {
        dpop::proof(key, "POST", &self.url(&format!("/oauth2/{endpoint}")), &json!({ "nonce": nonce }))
    }

    /// The nonce that this node gives.
    pub async fn nonce(&self, host: usize, app: &App, key: &Key) -> String {
        let bare = dpop::proof(key, "POST", &self.url("/oauth2/token"), &json!({}));
        let asked = self.ask(host, app, "token", &[("grant_type", "refresh_token")], Some(&bare)).await;
        let asked = asked.unwrap();
        refused(&asked, "use_dpop_nonce");
        asked.header("dpop-nonce").to_owned()
    }

    /// Whether this node shows a token as one that counts.
    pub async fn is_active(&self, host: usize, app: &App, token: &str) -> bool {
        self.post(host, app, "introspect", &[("token", token)]).await.body["active"] == true
    }

    /// Until each of these nodes shows the token so, or the time is over.
    pub async fn shows(&self, hosts: &[usize], app: &App, token: &str, active: bool, within: Duration) {
        let since = Instant::now();
        for host in hosts {
            let told = format!("host {host} does not show active = {active}");
            until(since, within, &told, async || self.is_active(*host, app, token).await == active).await;
        }
    }

    /// Asks one node after another, beginning with `first`, until one says something else than 503.
    pub async fn insist(
        &self,
        first: usize,
        ask: impl AsyncFn(usize) -> Result<Reply, reqwest::Error>,
    ) -> Told {
        let (began, mut unsure) = (Instant::now(), false);
        for turn in first.. {
            let host = self.hosts[turn % self.hosts.len()];
            match ask(host).await {
                Ok(reply) if reply.status != StatusCode::SERVICE_UNAVAILABLE => {
                    return Told { reply, unsure };
                }
                Ok(reply) => unsure |= reply.body["type"] == OUTCOME_UNKNOWN,
                // Who is not reached does nothing.
                Err(error) => unsure |= !error.is_connect(),
            }
            assert!(began.elapsed() < PROGRESS_MAX, "nobody does it");
            tokio::time::sleep(PAUSE).await;
        }
        unreachable!("numbers do not end")
    }
}

impl App {
    /// As its registration answered.
    pub fn of(made: &Reply) -> Self {
        let secret = made.body["client_secret"].as_str().unwrap_or_default().to_owned();
        Self { id: made.text("client_id"), secret }
    }
}

/// Counts, over the whole test.
pub fn number() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// An error of RFC 6749 §5.2.
pub fn refused(reply: &Reply, error: &str) {
    assert_eq!((reply.status.as_u16(), reply.body["error"].as_str()), (400, Some(error)), "{}", reply.body);
}

/// Until it holds; it must in an answer to a question that is asked `within` of `since`.
pub async fn until(since: Instant, within: Duration, told: &str, holds: impl AsyncFn() -> bool) {
    loop {
        let asked = Instant::now();
        if holds().await {
            return;
        }
        assert!(asked.duration_since(since) < within, "{told} after {within:?}");
        tokio::time::sleep(LOOK).await;
    }
}

/// Texts of a list, in order.
pub fn texts(list: &Value) -> BTreeSet<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}
