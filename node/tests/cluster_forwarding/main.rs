//! Any node takes any request: over real processes, with a browser whose every request goes to another
//! node.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a failed step is a failed test")]

#[path = "../oidc_support/assertion.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod assertion;
#[path = "../oidc_support/browser.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod browser;
mod demo;
mod devices;
mod gate;
#[path = "../oidc_support/html.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod html;

/// What the browser needs of its node.
mod node {
    /// Who can log in.
    #[derive(Clone, Debug)]
    pub struct Person {
        pub username: String,
        pub password: String,
    }
}

use std::collections::BTreeMap;
use std::time::Duration;

use browser::Browser;
use demo::{Demo, Node, Tenant};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

const CALLBACK: &str = "http://127.0.0.1:9999/cb";

struct Answer {
    status: StatusCode,
    headers: reqwest::header::HeaderMap,
    body: Value,
}

/// The demo with what tests ask of it.
struct Cluster {
    demo: Demo,
    http: reqwest::Client,
}

impl Cluster {
    async fn start() -> Self {
        Self { demo: Demo::start().await, http: reqwest::Client::new() }
    }

    fn nodes(&self) -> &[Node] {
        &self.demo.ready.nodes
    }

    fn tenant(&self) -> &Tenant {
        &self.demo.ready.tenants[0]
    }

    /// Any node with its own address; the stored issuer stays what it is.
    fn endpoint(&self, node: &Node, path: &str) -> String {
        format!("{}/t/{}{path}", node.public_url, self.tenant().slug)
    }

    async fn form(&self, node: &Node, path: &str, fields: &[(&str, &str)]) -> Answer {
        let tenant = self.tenant();
        let request = self
            .http
            .post(self.endpoint(node, path))
            .basic_auth(&tenant.client_id, Some(&tenant.client_secret))
            .form(fields);
        answer(request).await
    }

    async fn admin(
        &self,
        node: &Node,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let url = format!("{}/v1/tenants/{}{path}", node.admin_url, self.tenant().slug);
        let mut request = self.http.request(method, url).bearer_auth(&self.demo.ready.admin_token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        answer(request).await
    }

    /// The node that leads a partition, as another node sees it.
    async fn leader(&self, from: &Node, partition: u64) -> u64 {
        let url = format!("{}/v1/partitions/{partition}", from.admin_url);
        let answer = answer(self.http.get(url).bearer_auth(&self.demo.ready.admin_token)).await;
        answer.body["leader"].as_u64().unwrap_or_else(|| panic!("{}", answer.body))
    }

    /// Leader first, then the others.
    async fn by_duty(&self) -> Vec<Node> {
        let leader = self.leader(&self.nodes()[0], self.tenant().partition).await;
        let mut nodes = self.nodes().to_vec();
        nodes.sort_by_key(|node| node.id != leader);
        nodes
    }

    /// A login through a browser behind a balancer; gives the code.
    async fn code(&self, order: &[Node]) -> String {
        let tenant = self.tenant();
        let origin = url::Url::parse(&tenant.issuer).unwrap().origin().ascii_serialization();
        let nodes: Vec<&str> = order.iter().map(|node| node.public_url.as_str()).collect();
        let mut browser = Browser::balanced(&origin, &nodes);
        let authorize = format!(
            "{}/oauth2/authorize?response_type=code&client_id={}&redirect_uri={CALLBACK}&scope=openid%20profile%20offline_access&state=s&nonce=n&prompt=consent",
            tenant.issuer, tenant.client_id
        );
        let person = node::Person { username: tenant.username.clone(), password: tenant.password.clone() };
        let callback = browser.approve(&authorize, &person).await;
        assert_eq!((callback.uri.as_str(), callback.get("state")), (CALLBACK, "s"), "{callback:?}");
        callback.get("code").to_owned()
    }

    async fn redeem(&self, node: &Node, code: &str) -> Answer {
        let fields = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CALLBACK)];
        self.form(node, "/oauth2/token", &fields).await
    }

    async fn introspect(&self, node: &Node, token: &str) -> Answer {
        self.form(node, "/oauth2/introspect", &[("token", token)]).await
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.unwrap();
    Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
}

fn header(answer: &Answer, name: &str) -> String {
    answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

fn text<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.body[name].as_str().unwrap_or_else(|| panic!("no `{name}`: {} {}", answer.status, answer.body))
}

/// One cluster for all: starting one takes most of the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_takes_any_request() {
    let cluster = Cluster::start().await;
    every_key_is_published_everywhere(&cluster).await;
    every_node_publishes_the_same_documents(&cluster).await;
    a_login_goes_through_whichever_node(&cluster).await;
    a_write_on_a_follower_is_read_on_another_node(&cluster).await;
    a_revocation_counts_everywhere_within_the_bound(&cluster).await;
    a_client_proves_itself_with_a_key_at_whichever_node(&cluster).await;
    devices::a_device_is_let_in_through_whichever_node(&cluster).await;
    what_only_nodes_say_is_not_believed_from_outside(&cluster).await;
    gate::who_has_no_token_is_refused_from_the_head_alone(&cluster).await;
    let survivors = killing_the_leader_does_nothing_twice(&cluster).await;
    without_a_quorum_each_request_is_refused_in_time(&cluster, &survivors).await;
}

/// A new tenant's RSA key is made in the background; on every node the key set has it in the end.
async fn every_key_is_published_everywhere(cluster: &Cluster) {
    let mut poll = tokio::time::interval(Duration::from_millis(100));
    let published = async {
        for node in cluster.nodes() {
            loop {
                poll.tick().await;
                let jwks = answer(cluster.http.get(cluster.endpoint(node, "/oauth2/jwks"))).await;
                if jwks.body["keys"].as_array().is_some_and(|keys| keys.len() == 3) {
                    break;
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(2), published).await.expect("three keys on every node");
}

async fn every_node_publishes_the_same_documents(cluster: &Cluster) {
    for path in ["/.well-known/openid-configuration", "/oauth2/jwks"] {
        let mut seen = BTreeMap::new();
        for node in cluster.nodes() {
            let answer = answer(cluster.http.get(cluster.endpoint(node, path))).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
            seen.insert(header(&answer, "etag"), node.id);
        }
        assert_eq!(seen.len(), 1, "{path}");
    }
}

async fn a_login_goes_through_whichever_node(cluster: &Cluster) {
    for turn in 0..3 {
        let mut order = cluster.nodes().to_vec();
        order.rotate_left(turn);
        let code = cluster.code(&order).await;
        let tokens = cluster.redeem(&order[0], &code).await;
        assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
        let refresh = [("grant_type", "refresh_token"), ("refresh_token", text(&tokens, "refresh_token"))];
        let next = cluster.form(&order[1], "/oauth2/token", &refresh).await;
        assert_eq!(next.status, StatusCode::OK, "{}", next.body);
        for node in &order {
            let userinfo = cluster.http.get(cluster.endpoint(node, "/oauth2/userinfo"));
            let userinfo = answer(userinfo.bearer_auth(text(&next, "access_token"))).await;
            assert_eq!((userinfo.status, text(&userinfo, "name")), (StatusCode::OK, "Demo User"));
        }
        // A code is used once, wherever it is presented.
        let again = cluster.redeem(&order[2], &code).await;
        assert_eq!((again.status, text(&again, "error")), (StatusCode::BAD_REQUEST, "invalid_grant"));
    }
}

async fn a_write_on_a_follower_is_read_on_another_node(cluster: &Cluster) {
    let nodes = cluster.by_duty().await;
    for turn in 0..6 {
        let user = json!({ "username": format!("reader{turn}"), "password": "correct horse battery" });
        let made = cluster.admin(&nodes[1], Method::POST, "/users", &[], Some(&user)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
        let (path, seen) = (format!("/users/{}", text(&made, "id")), header(&made, "domicile-consistency"));
        for node in &nodes {
            let with =
                cluster.admin(node, Method::GET, &path, &[("domicile-consistency", &seen)], None).await;
            assert_eq!(with.status, StatusCode::OK, "with the token: {}", with.body);
            let without = cluster.admin(node, Method::GET, &path, &[], None).await;
            assert_eq!(without.status, StatusCode::OK, "linearizable: {}", without.body);
        }
        // Uniqueness holds over all nodes.
        let twice = cluster.admin(&nodes[2], Method::POST, "/users", &[], Some(&user)).await;
        assert_eq!(twice.status, StatusCode::CONFLICT, "{}", twice.body);
    }
}

async fn a_revocation_counts_everywhere_within_the_bound(cluster: &Cluster) {
    let nodes = cluster.by_duty().await;
    let code = cluster.code(&nodes).await;
    let tokens = cluster.redeem(&nodes[2], &code).await;
    let token = text(&tokens, "access_token");
    for node in &nodes {
        let shown = cluster.introspect(node, token).await;
        assert_eq!(shown.body["active"], true, "{} {}", shown.status, shown.body);
    }
    let revoked = cluster.form(&nodes[1], "/oauth2/revoke", &[("token", token)]).await;
    assert_eq!(revoked.status, StatusCode::OK, "{}", revoked.body);
    let at = Instant::now();
    assert_eq!(
        cluster.introspect(&nodes[0], token).await.body["active"],
        false,
        "at once where it was written"
    );
    let bound = Duration::from_secs(5);
    for node in &nodes[1..] {
        loop {
            let asked = Instant::now();
            let shown = cluster.introspect(node, token).await;
            if shown.body["active"] == false {
                break;
            }
            assert!(asked.duration_since(at) < bound, "node {} after the bound: {}", node.id, shown.body);
        }
    }
}

/// The audience is the issuer, wherever the request arrives and wherever it is served.
async fn a_client_proves_itself_with_a_key_at_whichever_node(cluster: &Cluster) {
    let key = assertion::Key::new("k1");
    let nodes = cluster.by_duty().await;
    let metadata = json!({
        "grant_types": ["client_credentials"], "response_types": [], "jwks": {"keys": [key.jwk()]},
        "token_endpoint_auth_method": "private_key_jwt",
    });
    let client = cluster.admin(&nodes[1], Method::POST, "/clients", &[], Some(&metadata)).await;
    assert_eq!(client.status, StatusCode::CREATED, "{}", client.body);
    let signed = || key.sign(&assertion::claims(text(&client, "client_id"), &cluster.tenant().issuer));
    let send = async |node: &Node, path: &str, assertion: &str, field: (&str, &str)| {
        let fields =
            [("client_assertion_type", assertion::ASSERTION_TYPE), ("client_assertion", assertion), field];
        answer(cluster.http.post(cluster.endpoint(node, path)).form(&fields)).await
    };
    let grant = ("grant_type", "client_credentials");
    for node in &nodes {
        let token = send(node, "/oauth2/token", &signed(), grant).await;
        assert_eq!(token.status, StatusCode::OK, "{}", token.body);
        let token = ("token", text(&token, "access_token"));
        let seen = send(node, "/oauth2/introspect", &signed(), token).await;
        assert_eq!(seen.body["active"], true, "{} {}", seen.status, seen.body);
        assert_eq!(send(node, "/oauth2/revoke", &signed(), token).await.status, StatusCode::OK);
    }
    // The leader sees all that write; what needs no write, another node may take once more.
    let used = signed();
    for status in [StatusCode::OK, StatusCode::UNAUTHORIZED] {
        let answer = send(&nodes[0], "/oauth2/token", &used, grant).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
}

async fn what_only_nodes_say_is_not_believed_from_outside(cluster: &Cluster) {
    let user = json!({ "username": "outsider", "password": "correct horse battery" });
    for node in cluster.nodes() {
        let headers = [("domicile-peer-envelope", "AYA"), ("domicile-peer-outcome", "AYA")];
        let made = cluster.admin(node, Method::POST, "/users", &headers, Some(&user)).await;
        assert!([StatusCode::CREATED, StatusCode::CONFLICT].contains(&made.status), "{}", made.body);
        assert!(!made.headers.keys().any(|name| name.as_str().starts_with("domicile-peer")));
    }
}

/// Requests with keys go on while the leader is killed: each is answered as done, once.
async fn killing_the_leader_does_nothing_twice(cluster: &Cluster) -> Vec<Node> {
    const USERS: usize = 24;
    let nodes = cluster.by_duty().await;
    let survivors = &nodes[1..];
    let mut ids = Vec::new();
    for turn in 0..USERS {
        if turn == USERS / 3 {
            Demo::kill(&nodes[0]);
        }
        let user = json!({ "username": format!("once{turn}"), "password": "correct horse battery" });
        let key = format!("once-{turn}");
        let begun = Instant::now();
        let made = loop {
            let node = &survivors[turn % survivors.len()];
            let tried = Instant::now();
            let made =
                cluster.admin(node, Method::POST, "/users", &[("idempotency-key", &key)], Some(&user)).await;
            assert!(tried.elapsed() < Duration::from_secs(6), "an answer took {:?}", tried.elapsed());
            if made.status != StatusCode::SERVICE_UNAVAILABLE {
                break made;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{}", made.body);
        };
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
        ids.push((text(&made, "id").to_owned(), user["username"].as_str().unwrap().to_owned()));
    }
    for (id, username) in &ids {
        for node in survivors {
            let found = cluster.admin(node, Method::GET, &format!("/users/{id}"), &[], None).await;
            assert_eq!((found.status, text(&found, "username")), (StatusCode::OK, username.as_str()));
        }
    }
    // Logins go on at the others.
    let code = cluster.code(survivors).await;
    assert_eq!(cluster.redeem(&survivors[0], &code).await.status, StatusCode::OK);
    survivors.to_vec()
}

/// One of three is left: what needs a quorum is refused, what needs none goes on.
async fn without_a_quorum_each_request_is_refused_in_time(cluster: &Cluster, survivors: &[Node]) {
    let (left, lost) = (&survivors[0], &survivors[1]);
    let code = cluster.code(survivors).await;
    let tokens = cluster.redeem(left, &code).await;
    let token = text(&tokens, "access_token");
    assert_eq!(cluster.introspect(left, token).await.body["active"], true);
    Demo::kill(lost);
    let gone = Instant::now();
    // What was proved before may be told until the bound is over, and nothing after it.
    loop {
        let asked = Instant::now();
        let shown = cluster.introspect(left, token).await;
        assert!(asked.elapsed() < Duration::from_secs(6), "an answer took {:?}", asked.elapsed());
        if shown.status == StatusCode::SERVICE_UNAVAILABLE {
            break;
        }
        assert!(asked.duration_since(gone) < Duration::from_secs(5), "{} {}", shown.status, shown.body);
    }
    let user = json!({ "username": "nobody", "password": "correct horse battery" });
    let tenant = json!({ "slug": "late" });
    let url = format!("{}/v1/tenants", left.admin_url);
    let create = || cluster.http.post(&url).bearer_auth(&cluster.demo.ready.admin_token).json(&tenant);
    let asked = Instant::now();
    for refused in [
        cluster.admin(left, Method::POST, "/users", &[], Some(&user)).await,
        cluster.admin(left, Method::GET, "/users", &[], None).await,
        answer(create()).await,
        cluster.introspect(left, token).await,
    ] {
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.body);
        assert_eq!(header(&refused, "content-type"), "application/problem+json", "{}", refused.body);
        assert!(refused.headers.contains_key("retry-after"));
    }
    assert!(asked.elapsed() < Duration::from_secs(4 * 6), "{:?}", asked.elapsed());
    for path in ["/.well-known/openid-configuration", "/oauth2/jwks"] {
        let document = answer(cluster.http.get(cluster.endpoint(left, path))).await;
        assert_eq!(document.status, StatusCode::OK, "{path}: {}", document.body);
    }
    let named = format!("[-] partition {}: no ", cluster.tenant().partition);
    let mut poll = tokio::time::interval(Duration::from_millis(200));
    let told = async {
        loop {
            poll.tick().await;
            let ready = answer(cluster.http.get(format!("{}/readyz?verbose", left.management_url))).await;
            let checks = ready.body.as_str().unwrap_or_default();
            if ready.status == StatusCode::SERVICE_UNAVAILABLE && checks.contains(&named) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), told).await.expect("the partition is named");
}
