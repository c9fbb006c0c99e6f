//! Where a tenant is served: one that keeps to its regions, and one that is everywhere.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "real processes are waited for in real time"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod cluster_guest;
mod cluster_support;
mod oidc_support;

use std::time::{Duration, Instant};

use cluster_guest::{Guest, Reply, ada, browser};
use cluster_support::{Cluster, LOOK, Signal, partition, settled};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// The only node of its region.
const READER: usize = 4;
/// Tokens are read at most this old.
const BOUND: Duration = Duration::from_secs(5);
/// A request ends within this, whatever is out of reach.
const ANSWER_MAX: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_may_keep_to_its_regions_or_be_everywhere_with_a_replica_to_read_in_each() {
    let places = ["eu-central/a", "eu-central/b", "eu-central/c", "us-east/a", "ap-south/a", "us-east/b"];
    let mut cluster = Cluster::hosts(&places);
    cluster.assemble().await;

    let pinned = json!({"regions": ["eu-central"], "survive": "zone"});
    let home = Guest::create(&cluster, "homely", &pinned, 3, &ada()).await;
    keeps_to_its_regions(&cluster, &home).await;

    let any = json!({"regions": "any", "survive": "region", "preferred_leader_regions": ["us-east"]});
    let world = Guest::create(&cluster, "worldly", &any, 5, &ada()).await;
    is_everywhere(&mut cluster, &world).await;

    let near = json!({"regions": "any", "survive": "zone", "preferred_leader_regions": ["eu-central"]});
    let far = Guest::create(&cluster, "distant", &near, 3, &ada()).await;
    is_read_where_nobody_votes(&cluster, &far).await;
}

/// `edge = placement`: a node elsewhere serves documents only and says where the tenant is at home.
async fn keeps_to_its_regions(cluster: &Cluster, guest: &Guest) {
    let tokens = guest.redeem(cluster, 0, &guest.log_in(&mut browser(cluster, guest, &[0]), "").await).await;
    let access = tokens.text("access_token");
    // Until it is said, any node serves it.
    assert_eq!(guest.introspect(cluster, 3, &access).await.expect(StatusCode::OK).body["active"], true);
    let settings = json!({"settings": {"edge": "placement"}});
    guest.admin(cluster, 0, Method::PATCH, "", None, Some(&settings)).await.unwrap().expect(StatusCode::OK);

    let began = Instant::now();
    let told = loop {
        let told = guest.introspect(cluster, 3, &access).await;
        if told.status == StatusCode::MISDIRECTED_REQUEST {
            break told;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{} {}", told.status, told.body);
        tokio::time::sleep(LOOK).await;
    };
    elsewhere(cluster, &told);
    let refused: [Reply; 3] = [
        guest.refresh(cluster, 3, &tokens.text("refresh_token")).await.unwrap(),
        guest.fetch(cluster, 4, "/oauth2/userinfo", Some(&access)).await,
        guest.admin(cluster, 5, Method::GET, "/users", None, None).await.unwrap(),
    ];
    for reply in &refused {
        elsewhere(cluster, reply);
    }
    for turn in [3, 4, 5] {
        let discovery = guest.fetch(cluster, turn, "/.well-known/openid-configuration", None).await;
        assert_eq!(discovery.expect(StatusCode::OK).text("issuer"), guest.issuer);
        let jwks = guest.fetch(cluster, turn, "/oauth2/jwks", None).await.expect(StatusCode::OK);
        assert_eq!(jwks.body["keys"].as_array().unwrap().len(), 3);
    }
    // Inside, every node serves.
    for turn in [0, 1, 2] {
        let shown = guest.introspect(cluster, turn, &access).await.expect(StatusCode::OK);
        assert_eq!(shown.body["active"], true);
    }
    let next = guest.refresh(cluster, 1, &tokens.text("refresh_token")).await.unwrap();
    next.expect(StatusCode::OK);
}

/// 421 with an origin that is inside.
fn elsewhere(cluster: &Cluster, reply: &Reply) {
    assert_eq!(reply.status, StatusCode::MISDIRECTED_REQUEST, "{}", reply.body);
    let origin = reply.text("home_origin");
    assert!((0..3).any(|turn| origin == cluster.public(turn)), "{origin} is not in eu-central");
    assert!(reply.header("link").starts_with(&format!("<{origin}/")), "{:?}", reply.headers);
}

/// Five voters over three regions, led from where it was wished, with a replica to read on every other
/// node's region; a replica that lost its leader answers until the bound, then refuses.
async fn is_everywhere(cluster: &mut Cluster, guest: &Guest) {
    let seen = cluster
        .until(0, |seen| {
            let found = partition(seen, guest.partition);
            found["voters"].as_array().unwrap().len() == 5 && settled(seen, guest.partition) && {
                let leader = found["leader"].as_u64();
                let nodes = seen["nodes"].as_array().unwrap();
                nodes.iter().any(|node| node["id"].as_u64() == leader && node["region"] == "us-east")
            }
        })
        .await;
    let regions = |ids: &Value| -> std::collections::BTreeSet<String> {
        let hosts = ids.as_array().unwrap().iter().map(|id| cluster.host_of(&seen, id));
        hosts.map(|host| cluster.hosts[host].region.clone()).collect()
    };
    assert_eq!(regions(&partition(&seen, guest.partition)["voters"]).len(), 3);

    let voters = guest.voters(cluster, 0).await;
    let tokens = guest.redeem(cluster, 4, &guest.log_in(&mut browser(cluster, guest, &[4]), "").await).await;
    let access = tokens.text("access_token");
    for turn in 0..cluster.hosts.len() {
        let shown = guest.introspect(cluster, turn, &access).await.expect(StatusCode::OK);
        assert_eq!(shown.body["active"], true, "host {turn}");
    }

    // Three of five voters stand still, the leader among them.
    let reader = *voters.last().unwrap();
    let still: Vec<usize> = voters.iter().copied().filter(|turn| *turn != reader).take(3).collect();
    let began = Instant::now();
    for turn in &still {
        cluster.signal(*turn, Signal::STOP);
    }
    let shown = guest.introspect(cluster, reader, &access).await;
    assert_eq!(shown.expect(StatusCode::OK).body["active"], true, "within the bound the replica answers");
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    let refused = loop {
        let asked = Instant::now();
        let shown = guest.introspect(cluster, reader, &access).await;
        assert!(asked.elapsed() <= ANSWER_MAX, "{:?}", asked.elapsed());
        if shown.status != StatusCode::OK {
            break shown;
        }
        assert!(
            asked.duration_since(began) <= BOUND,
            "answered {:?} after the leader was gone",
            began.elapsed()
        );
        tokio::time::sleep(LOOK).await;
    };
    refused.expect(StatusCode::SERVICE_UNAVAILABLE);
    for turn in &still {
        cluster.signal(*turn, Signal::CONT);
    }
    let began = Instant::now();
    while guest.introspect(cluster, reader, &access).await.status != StatusCode::OK {
        assert!(began.elapsed() < Duration::from_secs(30), "not back");
        tokio::time::sleep(LOOK).await;
    }
}

/// All votes are in eu-central. The replica without one answers by itself: all others stand still.
async fn is_read_where_nobody_votes(cluster: &Cluster, guest: &Guest) {
    let seen = cluster
        .until(0, |seen| {
            let learners = partition(seen, guest.partition)["learners"].as_array().unwrap();
            let reader = json!(cluster.node_of(seen, READER));
            learners.len() == 2 && learners.contains(&reader) && settled(seen, guest.partition)
        })
        .await;
    for voter in partition(&seen, guest.partition)["voters"].as_array().unwrap() {
        assert_eq!(cluster.hosts[cluster.host_of(&seen, voter)].region, "eu-central");
    }

    let callback = guest.log_in(&mut browser(cluster, guest, &[READER]), "").await;
    let access = guest.redeem(cluster, READER, &callback).await.text("access_token");
    // It has the token, and goes on showing that it is fresh once it was asked.
    let began = Instant::now();
    while guest.introspect(cluster, READER, &access).await.expect(StatusCode::OK).body["active"] != true {
        assert!(began.elapsed() < Duration::from_secs(30), "the token did not come");
        tokio::time::sleep(LOOK).await;
    }

    let began = Instant::now();
    for turn in (0..cluster.hosts.len()).filter(|turn| *turn != READER) {
        cluster.signal(turn, Signal::STOP);
    }
    let shown = guest.introspect(cluster, READER, &access).await.expect(StatusCode::OK);
    assert_eq!(shown.body["active"], true);
    let person = guest.fetch(cluster, READER, "/oauth2/userinfo", Some(&access)).await.expect(StatusCode::OK);
    assert_eq!(person.text("email"), "ada@example.org");
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
}
