//! A tenant with a user and a client, and what people and programs do there through any host.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::cluster_support::{self, Cluster, Doors, LOOK, TOKEN, settled};
use crate::oidc_support::browser::{Browser, Callback, Stop};
use crate::oidc_support::node::Person;

pub const CALLBACK: &str = "http://127.0.0.1:9999/cb";

/// How long a step may be tried while the cluster is put together.
const MAKE_MAX: Duration = Duration::from_mins(2);

/// A tenant and who is in it.
#[derive(Clone, Debug)]
pub struct Guest {
    pub slug: String,
    pub id: String,
    pub issuer: String,
    pub partition: u64,
    pub user: String,
    pub person: (String, String),
    pub client: (String, String),
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Reply {
    pub async fn of(response: reqwest::Response) -> Result<Self, reqwest::Error> {
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await?;
        Ok(Self { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
    }

    pub fn text(&self, name: &str) -> String {
        self.body[name]
            .as_str()
            .unwrap_or_else(|| panic!("no `{name}`: {} {}", self.status, self.body))
            .to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// It, if it has this status.
    pub fn expect(self, status: StatusCode) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }
}

/// A browser that only reaches these hosts, each in turn.
pub fn browser(doors: &Doors, guest: &Guest, through: &[usize]) -> Browser {
    let origin = url::Url::parse(&guest.issuer).unwrap().origin().ascii_serialization();
    let nodes: Vec<String> = through.iter().map(|turn| doors.public(*turn)).collect();
    Browser::balanced(&origin, &nodes.iter().map(String::as_str).collect::<Vec<_>>())
}

impl Guest {
    /// A tenant placed as said with `user` (the document of a user, with a password) in it. Returns once
    /// its partition has `voters` voters that all caught up.
    pub async fn create(
        cluster: &Cluster,
        slug: &str,
        placement: &Value,
        voters: usize,
        user: &Value,
    ) -> Self {
        let body = json!({"slug": slug, "display_name": slug, "placement": placement});
        persist(cluster, "/v1/tenants", &body).await;
        let tenant = cluster.get(0, &format!("/v1/tenants/{slug}")).await.unwrap();
        let partition = tenant["partition"].as_u64().unwrap();
        let made = persist(cluster, &format!("/v1/tenants/{slug}/users"), user).await;
        let client = json!({
            "client_name": "Application of the test",
            "redirect_uris": [CALLBACK],
            "response_types": ["code"],
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "client_secret_basic",
            "require_pkce": false,
        });
        let client = persist(cluster, &format!("/v1/tenants/{slug}/clients"), &client).await;
        cluster
            .until(0, |cluster| {
                let found =
                    cluster["partitions"].as_array().unwrap().iter().find(|one| one["id"] == partition);
                found.is_some_and(|found| found["voters"].as_array().unwrap().len() == voters)
                    && settled(cluster, partition)
            })
            .await;
        let text = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
        let guest = Self {
            slug: slug.to_owned(),
            id: text(&tenant, "id"),
            issuer: text(&tenant, "issuer"),
            partition,
            user: text(&made, "id"),
            person: (text(user, "username"), text(user, "password")),
            client: (text(&client, "client_id"), text(&client, "client_secret")),
        };
        let published = guest.keys_everywhere(cluster);
        tokio::time::timeout(MAKE_MAX, published).await.unwrap_or_else(|_| panic!("{slug} has no keys"));
        guest
    }

    /// Until every host shows all three keys, and signs with them: an RSA key is made in the background,
    /// and a client that is to be signed for with it is asked to wait until then.
    async fn keys_everywhere(&self, cluster: &Cluster) {
        for turn in 0..cluster.hosts.len() {
            loop {
                let jwks = self.fetch(cluster, turn, "/oauth2/jwks", None).await;
                let shown = jwks.body["keys"].as_array().is_some_and(|keys| keys.len() == 3);
                let phases = self.admin(cluster, turn, Method::GET, "/keys", None, None).await.unwrap();
                let active = |key: &&Value| key["phase"] == "active";
                let sign = |keys: &Vec<Value>| keys.iter().filter(active).count() == 3;
                if shown && phases.body["items"].as_array().is_some_and(sign) {
                    break;
                }
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// The hosts with a voter of the home partition, the leader first.
    pub async fn voters(&self, cluster: &Cluster, from: usize) -> Vec<usize> {
        let partition = self.partition;
        let seen = cluster
            .until(from, |cluster| {
                let found = cluster_support::partition(cluster, partition);
                found["available"] == true && found["leader"].is_u64()
            })
            .await;
        let found = cluster_support::partition(&seen, partition);
        let leader = cluster.host_of(&seen, &found["leader"]);
        let voters = found["voters"].as_array().unwrap();
        let mut hosts: Vec<usize> = voters.iter().map(|node| cluster.host_of(&seen, node)).collect();
        hosts.sort_by_key(|host| *host != leader);
        hosts
    }

    /// The id of a session of the user.
    pub async fn a_session(&self, cluster: &Cluster, turn: usize) -> String {
        let path = format!("/users/{}/sessions", self.user);
        let found = self.admin(cluster, turn, Method::GET, &path, None, None).await.unwrap();
        found.body["items"][0]["id"].as_str().unwrap_or_else(|| panic!("{}", found.body)).to_owned()
    }

    /// The URL of an authorization request.
    pub fn authorize(&self, more: &str) -> String {
        let (issuer, client) = (&self.issuer, &self.client.0);
        format!(
            "{issuer}/oauth2/authorize?response_type=code&client_id={client}&redirect_uri={CALLBACK}\
             &scope=openid%20profile%20email%20offline_access&nonce=n{more}"
        )
    }

    /// All the way to the callback.
    pub async fn log_in(&self, browser: &mut Browser, more: &str) -> Callback {
        let person = Person { username: self.person.0.clone(), password: self.person.1.clone() };
        let callback = browser.approve(&self.authorize(&format!("&prompt=consent{more}")), &person).await;
        assert_eq!(callback.uri, CALLBACK);
        assert!(!callback.get("code").is_empty(), "{callback:?}");
        callback
    }

    /// A code for who is logged in already, without a page.
    pub async fn go_on(&self, browser: &mut Browser) -> Callback {
        match browser.open(&self.authorize("&prompt=none")).await {
            Stop::Callback(callback) => callback,
            Stop::Page(page) => panic!("{:?} {} {}", page.kind, page.status, page.html),
        }
    }

    /// A request of the tenant's client to an endpoint below `/oauth2/`.
    pub async fn form(
        &self,
        doors: &Doors,
        turn: usize,
        endpoint: &str,
        fields: &[(&str, &str)],
    ) -> Result<Reply, reqwest::Error> {
        let url = format!("{}/t/{}/oauth2/{endpoint}", doors.public(turn), self.slug);
        let request = doors.http.post(url).basic_auth(&self.client.0, Some(&self.client.1)).form(fields);
        Reply::of(request.send().await?).await
    }

    /// Tokens for a code.
    pub async fn redeem(&self, doors: &Doors, turn: usize, callback: &Callback) -> Reply {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", callback.get("code")),
            ("redirect_uri", CALLBACK),
        ];
        self.form(doors, turn, "token", &fields).await.unwrap().expect(StatusCode::OK)
    }

    pub async fn refresh(&self, doors: &Doors, turn: usize, token: &str) -> Result<Reply, reqwest::Error> {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
        self.form(doors, turn, "token", &fields).await
    }

    pub async fn introspect(&self, doors: &Doors, turn: usize, token: &str) -> Reply {
        self.form(doors, turn, "introspect", &[("token", token)]).await.unwrap()
    }

    /// `GET` below the tenant's path, as anyone, or with an access token.
    pub async fn fetch(&self, doors: &Doors, turn: usize, path: &str, bearer: Option<&str>) -> Reply {
        let request = doors.http.get(format!("{}/t/{}{path}", doors.public(turn), self.slug));
        let request = match bearer {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        Reply::of(request.send().await.unwrap()).await.unwrap()
    }

    /// A request to the admin API below the tenant's path, with an idempotency key if there is one.
    pub async fn admin(
        &self,
        doors: &Doors,
        turn: usize,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Reply, reqwest::Error> {
        let url = format!("{}/v1/tenants/{}{path}", doors.admin(turn), self.slug);
        let mut request = doors.http.request(method, url).bearer_auth(TOKEN);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        Reply::of(request.send().await?).await
    }
}

/// Any user.
pub fn ada() -> Value {
    json!({"username": "ada", "password": "correct horse battery staple", "email": "ada@example.org", "name": "Ada King"})
}

/// Makes something while the cluster may still be finding itself; with a key, so that it is made once.
async fn persist(cluster: &Cluster, path: &str, body: &Value) -> Value {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let key = format!("make-{}", MADE.fetch_add(1, Ordering::Relaxed));
    let mut last = String::new();
    let making = async {
        loop {
            let request = cluster.http.post(format!("{}{path}", cluster.admin(0))).bearer_auth(TOKEN);
            let reply = request.header("idempotency-key", &key).json(body).send().await.unwrap();
            let reply = Reply::of(reply).await.unwrap();
            if reply.status.is_success() {
                return reply.body;
            }
            let passing = reply.status.is_server_error()
                || [StatusCode::NOT_FOUND, StatusCode::UNPROCESSABLE_ENTITY].contains(&reply.status);
            last = format!("{path}: {} {}", reply.status, reply.body);
            assert!(passing, "{last}");
            tokio::time::sleep(LOOK).await;
        }
    };
    let made = tokio::time::timeout(MAKE_MAX, making).await;
    made.unwrap_or_else(|_| panic!("{last}"))
}
