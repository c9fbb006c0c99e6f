//! Join tokens: one host, one use, one region, for a time.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "real processes are waited for in real time"
)]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod cluster_support;

use cluster_support::Cluster;
use serde_json::json;
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

/// Waits until the clock of this host, which all nodes share, shows a later second.
fn past(rfc3339: &str) {
    let end = OffsetDateTime::parse(rfc3339, &Rfc3339).unwrap() + Duration::SECOND;
    while OffsetDateTime::now_utc() < end {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
