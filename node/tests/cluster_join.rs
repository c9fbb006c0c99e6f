//! Join tokens: one host, one use, one region, for a time.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "real processes are waited for in real time"
)]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod cluster_support;

use cluster_support::{Cluster, TOKEN, partition, settled};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_bad_used_expired_or_foreign_is_refused_with_the_reason() {
    let mut cluster = Cluster::hosts(&["eu-central/a", "eu-central/b", "eu-central/c", "us-east/a"]);
    let occupied = "holds no node";
    assert!(cluster.fails(0, &["start"]).contains(occupied));
    cluster.ok(0, &["init"]);
    assert!(cluster.fails(0, &["init"]).contains("holds a node already"));
    cluster.start(0);
    cluster.ready(0).await;

    assert!(cluster.fails(1, &["join", "dom_join_nonsense"]).contains("no join token"));
    let token = cluster.token(0, "eu-central");
    let mut other = token.clone();
    other.truncate(token.len() - 4);
    assert!(cluster.fails(1, &["join", &other]).contains("no join token"));

    assert!(cluster.fails(3, &["join", &token]).contains("the token is for region eu-central"));
    cluster.ok(1, &["join", &token]);
    let used = cluster.fails(2, &["join", &token]);
    assert!(used.contains("the join token was used"), "{used}");
    assert!(cluster.fails(1, &["join", &token]).contains("holds a node already"));

    let body = json!({"region": "eu-central", "lifetime_s": 1});
    let short = cluster.post(0, "/v1/join-tokens", &body).await.unwrap();
    past(short["expires_at"].as_str().unwrap());
    let expired = cluster.fails(2, &["join", short["token"].as_str().unwrap()]);
    assert!(expired.contains("expired"), "{expired}");

    let body = json!({"region": "us-east"});
    let token = cluster.post(0, "/v1/join-tokens", &body).await.unwrap();
    cluster.ok(3, &["join", token["token"].as_str().unwrap()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_cluster_at_a_peers_address_is_refused() {
    let mut cluster = Cluster::hosts(&["eu-central/a", "eu-central/b"]);
    cluster.assemble().await;
    // An even number of voters has lost its quorum with one of them; what is told of nodes needs none.
    cluster.kill(1);

    // The same region and the same node id, under another authority.
    let mut foreign = Cluster::hosts(&["eu-central/a"]);
    let settings = std::fs::read_to_string(foreign.config(0)).unwrap();
    let (own, wanted) = (foreign.hosts[0].peer, cluster.hosts[1].peer);
    std::fs::write(foreign.config(0), settings.replace(&format!(":{own}\""), &format!(":{wanted}\"")))
        .unwrap();
    foreign.ok(0, &["init"]);
    foreign.start(0);
    foreign.ready(0).await;
    // What the dialler tells whom it does not believe (RFC 8446 §6.2).
    logs(&foreign, 0, "received fatal alert: CertificateUnknown").await;
    assert_eq!(foreign.get(0, "/v1/cluster").await.unwrap()["nodes"].as_array().unwrap().len(), 1);
    let metrics = foreign.management(0, "/metrics").await.1;
    assert!(!metrics.contains("domicile_peer_accepts_total{"), "{metrics}");

    // The same address serves the node that is meant.
    foreign.kill(0);
    cluster.start(1);
    cluster.until(0, |seen| seen["nodes"].as_array().unwrap().iter().all(|node| node["alive"] == true)).await;
}

/// `POST`s with an idempotency key: the status, the answer's headers, its body.
async fn keyed(cluster: &Cluster, turn: usize, path: &str, key: &str, body: &Value) -> (u16, Heads, Value) {
    let url = format!("{}{path}", cluster.admin(turn));
    let request = cluster.http.post(url).bearer_auth(TOKEN).header("idempotency-key", key).json(body);
    let answer = request.send().await.unwrap();
    let head = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let heads = Heads { consistency: head("domicile-consistency"), replayed: head("idempotency-replayed") };
    (answer.status().as_u16(), heads, answer.json().await.unwrap_or(Value::Null))
}

struct Heads {
    consistency: Option<String>,
    replayed: Option<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_repeated_with_its_key_is_done_once() {
    let mut cluster = Cluster::hosts(&["eu-central/a", "eu-central/b"]);
    cluster.assemble().await;
    let wanted = json!({"region": "eu-central"});
    let (status, heads, first) = keyed(&cluster, 0, "/v1/join-tokens", "join-token-key-k-1", &wanted).await;
    assert_eq!((status, heads.replayed), (201, None), "{first}");
    assert!(heads.consistency.is_some());
    let (status, heads, again) = keyed(&cluster, 0, "/v1/join-tokens", "join-token-key-k-1", &wanted).await;
    assert_eq!((status, heads.replayed.as_deref(), &again), (201, Some("true"), &first));
    let (status, _, other) = keyed(&cluster, 0, "/v1/join-tokens", "join-token-key-k-2", &wanted).await;
    assert!(status == 201 && other["token"] != first["token"], "{other}");
    let elsewhere = json!({"region": "us-east"});
    assert_eq!(keyed(&cluster, 0, "/v1/join-tokens", "join-token-key-k-1", &elsewhere).await.0, 422);

    // Every partition has one voter, on node 1.
    let (status, heads, _) = keyed(&cluster, 0, "/v1/nodes/2/drain", "k-3", &json!({})).await;
    assert_eq!((status, heads.replayed), (202, None));
    let seen = cluster.http.get(format!("{}/v1/nodes", cluster.admin(0))).bearer_auth(TOKEN);
    let seen = seen.header("domicile-consistency", heads.consistency.unwrap()).send().await.unwrap();
    let nodes: Value = seen.json().await.unwrap();
    assert_eq!(nodes["items"][1]["state"], "draining", "{nodes}");
    let (status, heads, _) = keyed(&cluster, 0, "/v1/nodes/2/drain", "k-3", &json!({})).await;
    assert_eq!((status, heads.replayed.as_deref()), (202, Some("true")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_token_is_told_again_for_its_key_by_other_nodes_and_after_a_restart_until_it_is_used() {
    let mut cluster = Cluster::hosts(&["eu-central/a", "eu-central/b", "eu-central/c", "eu-central/d"]);
    cluster.ok(0, &["init"]);
    cluster.start(0);
    cluster.ready(0).await;
    for turn in [1, 2] {
        let token = cluster.token(0, "eu-central");
        cluster.ok(turn, &["join", &token]);
        cluster.start(turn);
        cluster.ready(turn).await;
    }
    // Orders go through nodes that vote in the directory.
    for turn in [0, 1] {
        let voting = |seen: &Value| partition(seen, 0)["voters"].as_array().unwrap().len() == 3;
        cluster.until(turn, |seen| voting(seen) && settled(seen, 0)).await;
    }
    let wanted = json!({"region": "eu-central"});
    let (status, _, first) = keyed(&cluster, 0, "/v1/join-tokens", "join-token-key-k-1", &wanted).await;
    assert_eq!(status, 201, "{first}");
    let (status, heads, elsewhere) =
        keyed(&cluster, 1, "/v1/join-tokens", "join-token-key-k-1", &wanted).await;
    assert_eq!((status, heads.replayed.as_deref(), &elsewhere), (201, Some("true"), &first));
    cluster.kill(0);
    cluster.start(0);
    cluster.ready(0).await;
    cluster.until(0, |seen| settled(seen, 0)).await;
    let (status, heads, restarted) =
        keyed(&cluster, 0, "/v1/join-tokens", "join-token-key-k-1", &wanted).await;
    assert_eq!((status, heads.replayed.as_deref(), &restarted), (201, Some("true"), &first));

    cluster.ok(3, &["join", restarted["token"].as_str().unwrap()]);
    let (status, _, used) = keyed(&cluster, 1, "/v1/join-tokens", "join-token-key-k-1", &wanted).await;
    assert_eq!(status, 409, "{used}");
}

/// Waits until the node has written these words.
async fn logs(cluster: &Cluster, turn: usize, words: &str) {
    let began = std::time::Instant::now();
    while !cluster.log(turn).contains(words) {
        assert!(began.elapsed() < std::time::Duration::from_mins(1), "no `{words}` in {}", cluster.log(turn));
        tokio::time::sleep(cluster_support::LOOK).await;
    }
}

/// Waits until the clock of this host, which all nodes share, shows a later second.
fn past(rfc3339: &str) {
    let end = OffsetDateTime::parse(rfc3339, &Rfc3339).unwrap() + Duration::SECOND;
    while OffsetDateTime::now_utc() < end {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
