//! What operators change of a cluster that runs, through whichever node they ask.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "real processes are waited for in real time"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod cluster_support;

use std::time::{Duration, Instant};

use cluster_support::{Cluster, LOOK, TOKEN, partition, settled};
use reqwest::Method;
use serde_json::{Value, json};

/// A leader may have just been replaced.
const ANSWER_MAX: Duration = Duration::from_mins(1);
/// It need not vote in the directory.
const OUTSIDE: usize = 3;

struct Reply {
    status: u16,
    tag: String,
    consistency: String,
    replayed: bool,
    body: Value,
}

/// Asks until there is an answer that is one.
async fn ask(
    cluster: &Cluster,
    turn: usize,
    method: Method,
    path: &str,
    heads: &[(&str, &str)],
    body: Option<&Value>,
) -> Reply {
    let began = Instant::now();
    loop {
        let url = format!("{}{path}", cluster.admin(turn));
        let mut request = cluster.http.request(method.clone(), url).bearer_auth(TOKEN);
        for (name, value) in heads {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap();
        let head = |name: &str| {
            answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        let (tag, consistency) = (head("etag"), head("domicile-consistency"));
        let (status, replayed) = (answer.status().as_u16(), head("idempotency-replayed") == "true");
        let body = answer.json().await.unwrap_or(Value::Null);
        if status != 503 {
            return Reply { status, tag, consistency, replayed, body };
        }
        assert!(began.elapsed() < ANSWER_MAX, "{path}: {body}");
        tokio::time::sleep(LOOK).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_laws_and_placements_are_changed_through_any_node() {
    let mut cluster = Cluster::hosts(&["eu-central/a", "eu-central/b", "eu-central/c", "us-east/a"]);
    cluster.assemble().await;
    settings(&cluster).await;
    orders(&cluster).await;
    laws(&cluster).await;
    placements(&cluster).await;
}

async fn settings(cluster: &Cluster) {
    let path = "/v1/cluster/settings";
    let first = ask(cluster, OUTSIDE, Method::GET, path, &[], None).await;
    assert_eq!(first.status, 200, "{}", first.body);
    let change = json!({"name": "Example", "dead_after_ms": 90_000});
    let heads = [("if-match", first.tag.as_str()), ("idempotency-key", "settings-1")];
    let changed = ask(cluster, OUTSIDE, Method::PATCH, path, &heads, Some(&change)).await;
    assert_eq!((changed.status, &changed.body["name"]), (200, &json!("Example")), "{}", changed.body);
    assert_eq!(changed.body["default_placement"], first.body["default_placement"]);
    let again = ask(cluster, 0, Method::PATCH, path, &heads, Some(&change)).await;
    assert!(again.status == 200 && again.replayed, "{}", again.body);
    for turn in 0..cluster.hosts.len() {
        let heads = [("domicile-consistency", changed.consistency.as_str())];
        let seen = ask(cluster, turn, Method::GET, path, &heads, None).await;
        assert_eq!((&seen.body, &seen.tag), (&changed.body, &changed.tag), "host {turn}");
    }
    let late = [("if-match", first.tag.as_str()), ("idempotency-key", "settings-2")];
    let late = ask(cluster, 1, Method::PATCH, path, &late, Some(&change)).await;
    assert_eq!((late.status, &late.body["current_revision"]), (412, &changed.body["revision"]));

    let impossible = json!({"default_placement": {"regions": "any", "survive": "region"}});
    for (wrong, reason) in [
        (impossible, "2 regions with nodes; survive=region needs 3"),
        (json!({"dead_after_ms": 1}), "5 s to 7 days"),
        (json!({"dead_aftr_ms": 60_000}), "did you mean `dead_after_ms`"),
    ] {
        let refused = ask(cluster, 2, Method::PATCH, path, &[], Some(&wrong)).await;
        assert_eq!(refused.status, 422, "{}", refused.body);
        assert!(refused.body["detail"].as_str().unwrap().contains(reason), "{}", refused.body);
    }
    let set = cluster.ok(1, &["cluster", "set", "--dead-after", "120"]);
    assert!(set.contains("120000"), "{set}");
    let shown = cluster.ok(1, &["cluster", "show"]);
    assert!(shown.contains("Example"), "{shown}");
}

/// Only voters of the directory are believed; who has no vote hands the whole request to one that has.
async fn orders(cluster: &Cluster) {
    let seen = cluster.get(0, "/v1/cluster").await.unwrap();
    let voters = partition(&seen, 0)["voters"].as_array().unwrap();
    let has_vote = |turn: &usize| voters.contains(&json!(cluster.node_of(&seen, *turn)));
    assert!(!(0..cluster.hosts.len()).all(|turn| has_vote(&turn)), "every node votes: {voters:?}");
    let node = cluster.node_of(&seen, OUTSIDE);
    for turn in 0..cluster.hosts.len() {
        for order in ["drain", "activate"] {
            let path = format!("/v1/nodes/{node}/{order}");
            let taken = ask(cluster, turn, Method::POST, &path, &[], None).await;
            assert_eq!(taken.status, 202, "{order} at host {turn}: {}", taken.body);
        }
        for region in ["eu-central", "us-east"] {
            let wanted = json!({ "region": region });
            let made = ask(cluster, turn, Method::POST, "/v1/join-tokens", &[], Some(&wanted)).await;
            assert_eq!(made.status, 201, "a token for {region} of host {turn}: {}", made.body);
        }
    }
}

async fn laws(cluster: &Cluster) {
    cluster.ok(0, &["region", "set-jurisdiction", "us-east", "mx"]);
    let law = json!({"jurisdiction": "ca"});
    let set = ask(cluster, OUTSIDE, Method::PATCH, "/v1/regions/us-east", &[], Some(&law)).await;
    assert_eq!(set.status, 204, "{}", set.body);
    let heads = [("domicile-consistency", set.consistency.as_str())];
    let seen = ask(cluster, 0, Method::GET, "/v1/regions", &heads, None).await;
    let laws: Vec<&Value> =
        seen.body["items"].as_array().unwrap().iter().map(|region| &region["jurisdiction"]).collect();
    assert_eq!(laws, [&json!("eu"), &json!("ca")]);
    let unknown = json!({"jurisdiction": "eu"});
    let unknown = ask(cluster, 0, Method::PATCH, "/v1/regions/mars", &[], Some(&unknown)).await;
    assert_eq!(unknown.status, 404, "{}", unknown.body);
}

/// The leader goes where it comes to be preferred, and a reader to where there is no voter.
async fn placements(cluster: &Cluster) {
    let wanted = json!({
        "regions": ["eu-central", "us-east"], "survive": "zone",
        "preferred_leader_regions": ["eu-central"], "read_replicas": false,
    });
    cluster.write(&[0, 1, 2], "/v1/tenants", &json!({"slug": "acme", "placement": wanted})).await;
    let tenant = ask(cluster, 0, Method::GET, "/v1/tenants/acme", &[], None).await;
    let id = tenant.body["partition"].as_u64().unwrap();
    let led_from = |seen: &Value, region: &str| {
        let leader = &partition(seen, id)["leader"];
        let node = seen["nodes"].as_array().unwrap().iter().find(|node| node["id"] == *leader);
        settled(seen, id) && node.is_some_and(|node| node["region"] == region)
    };
    let whole = |seen: &Value| partition(seen, id)["voters"].as_array().unwrap().len() == 3;
    cluster.until(0, |seen| whole(seen) && led_from(seen, "eu-central")).await;

    let path = format!("/v1/partitions/{id}/placement");
    let first = ask(cluster, OUTSIDE, Method::GET, &path, &[], None).await;
    let moved = json!({"regions": ["eu-central"]});
    let refused = ask(cluster, OUTSIDE, Method::PATCH, &path, &[], Some(&moved)).await;
    assert_eq!(refused.status, 422, "{}", refused.body);
    assert!(refused.body["detail"].as_str().unwrap().contains("moving to other regions comes later"));
    let change = json!({"preferred_leader_regions": ["us-east"]});
    let heads = [("if-match", first.tag.as_str()), ("idempotency-key", "placement-1")];
    let changed = ask(cluster, OUTSIDE, Method::PATCH, &path, &heads, Some(&change)).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert!(changed.body["generation"].as_u64() > first.body["generation"].as_u64(), "{}", changed.body);
    let again = ask(cluster, 1, Method::PATCH, &path, &heads, Some(&change)).await;
    assert!(again.status == 200 && again.replayed, "{}", again.body);
    let late = [("if-match", first.tag.as_str()), ("idempotency-key", "placement-2")];
    let other = json!({"read_replicas": true});
    assert_eq!(ask(cluster, 1, Method::PATCH, &path, &late, Some(&other)).await.status, 412);
    cluster.until(0, |seen| led_from(seen, "us-east")).await;

    // Back again, us-east has no voter, and gets a replica to read from.
    cluster.ok(2, &["partition", "set-placement", &id.to_string(), "--prefer", "eu-central"]);
    cluster.ok(2, &["partition", "set-placement", &id.to_string(), "--read-replicas", "true"]);
    cluster
        .until(0, |seen| {
            let learners = partition(seen, id)["learners"].as_array().unwrap();
            led_from(seen, "eu-central") && learners.len() == 1
        })
        .await;
}
