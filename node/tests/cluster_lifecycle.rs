//! Nodes that come and go: restarts in turn, a voter that is gone for good, one that is sent away, and one
//! that lost its disk.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod cluster_guest;
mod cluster_load;
mod cluster_support;
mod oidc_support;

use std::time::{Duration, Instant};

use cluster_guest::{Guest, ada, browser};
use cluster_load::Load;
use cluster_support::{Cluster, partition};
use reqwest::StatusCode;
use serde_json::{Value, json};

/// A node that is asked to stop ends in this time.
const STOP_MAX: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_repeat_refused_connections_do_not_notice_a_rolling_restart() {
    let mut cluster = Cluster::hosts(&["eu-central/a", "eu-central/b", "eu-central/c"]);
    cluster.assemble().await;
    let placement = json!({"regions": ["eu-central"], "survive": "zone"});
    let guest = Guest::create(&cluster, "acme", &placement, 3, &ada()).await;
    let all = [0, 1, 2];
    let mut visitor = browser(&cluster, &guest, &all);
    guest.log_in(&mut visitor, "").await;
    let mut load = Load::start(&cluster, &guest, &all).await;
    for turn in all {
        let began = Instant::now();
        assert_eq!(cluster.stop(turn).await, Some(0), "host {turn}");
        assert!(began.elapsed() < STOP_MAX, "host {turn} took {:?}", began.elapsed());
        cluster.start(turn);
        cluster.ready(turn).await;
        // The next one goes once this one is a voter that others can do without.
        cluster.until(turn, |seen| [0, guest.partition].iter().all(|id| all_alive(seen, *id))).await;
        load.goes_on(3).await;
    }
    let done = load.stop().await;
    assert!(done.failures.is_empty(), "{:#?}", done.failures);
    println!("the longest wait was {:?}", done.longest);
    done.holds(&cluster, &guest, &all).await;
    guest.go_on(&mut visitor).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn voters_that_are_dead_or_sent_away_are_replaced_and_a_lost_disk_is_not_taken_for_the_old_node() {
    let places = ["eu-central/a", "eu-central/b", "eu-central/c", "eu-central/d"];
    let mut cluster = Cluster::hosts_with(&places, "[cluster]\ndead_after = \"5s\"\n");
    cluster.assemble().await;
    let placement = json!({"regions": ["eu-central"], "survive": "zone"});
    let guest = Guest::create(&cluster, "acme", &placement, 3, &ada()).await;
    let callback = guest.log_in(&mut browser(&cluster, &guest, &[0, 1, 2, 3]), "").await;
    let tokens = guest.redeem(&cluster, 0, &callback).await;

    let dead = replaced_when_dead(&mut cluster, &guest).await;
    a_lost_disk_is_refused(&cluster, dead);
    let rest: Vec<usize> = (0..places.len()).filter(|turn| *turn != dead).collect();
    sent_away(&mut cluster, &guest, dead, rest[0]).await;
    // All that time nothing was lost.
    let next = guest.refresh(&cluster, rest[0], &tokens.text("refresh_token")).await.unwrap();
    next.expect(StatusCode::OK);
}

/// Kills a voter; gives its host once another has its place.
async fn replaced_when_dead(cluster: &mut Cluster, guest: &Guest) -> usize {
    let voters = guest.voters(cluster, 0).await;
    let dead = *voters.iter().rev().find(|host| **host != 0).unwrap();
    cluster.kill(dead);
    let seen = cluster
        .until(0, |seen| {
            let hosts = hosts(cluster, seen, guest.partition);
            hosts.len() == 3
                && !hosts.contains(&dead)
                && partition(seen, guest.partition)["available"] == true
        })
        .await;
    dead
}

/// An emptied directory is nobody's, whatever the host was before; what to do instead is told.
fn a_lost_disk_is_refused(cluster: &Cluster, turn: usize) {
    std::fs::remove_dir_all(cluster.data(turn)).unwrap();
    let told = cluster.fails(turn, &["start"]);
    assert!(told.contains("holds no node") && told.contains("join"), "{told}");
}

/// The dead one is removed for good, a new one takes its host; another is drained, then removed.
async fn sent_away(cluster: &mut Cluster, guest: &Guest, dead: usize, from: usize) {
    let seen = cluster.get(from, "/v1/cluster").await.unwrap();
    let id = id_of(cluster, &seen, dead);
    cluster.ok(from, &["node", "decommission", &id.to_string()]);
    let token = cluster.token(from, "eu-central");
    cluster.ok(dead, &["join", &token]);
    cluster.start(dead);
    cluster.ready(dead).await;

    let drained = *guest.voters(cluster, from).await.iter().find(|host| **host != from).unwrap();
    let id = id_of(cluster, &cluster.get(from, "/v1/cluster").await.unwrap(), drained);
    cluster.ok(from, &["node", "drain", &id.to_string()]);
    cluster
        .until(from, |seen| {
            let hosts = hosts(cluster, seen, guest.partition);
            hosts.len() == 3 && !hosts.contains(&drained) && all_alive(seen, guest.partition)
        })
        .await;
    cluster.ok(from, &["node", "decommission", &id.to_string()]);
    cluster
        .until(from, |seen| {
            let partitions = seen["partitions"].as_array().unwrap();
            partitions.iter().all(|one| !members(one).contains(&json!(id)) && one["available"] == true)
        })
        .await;
    cluster.kill(drained);
    guest.log_in(&mut browser(cluster, guest, &[from, dead]), "").await;
}

fn members(partition: &Value) -> Vec<Value> {
    ["voters", "learners"].iter().flat_map(|name| partition[name].as_array().unwrap().clone()).collect()
}

/// Where the voters are; one whose node is not listed any more is nowhere.
fn hosts(cluster: &Cluster, seen: &Value, id: u64) -> Vec<usize> {
    let voters = partition(seen, id)["voters"].as_array().unwrap();
    voters.iter().map(|node| cluster.host_of(seen, node)).collect()
}

/// The node of a host; the latest, if it had several.
fn id_of(cluster: &Cluster, seen: &Value, turn: usize) -> u64 {
    let nodes = seen["nodes"].as_array().unwrap();
    let here = nodes.iter().filter(|node| cluster.host_of(seen, &node["id"]) == turn);
    here.map(|node| node["id"].as_u64().unwrap()).max().unwrap()
}

fn all_alive(seen: &Value, id: u64) -> bool {
    let partition = partition(seen, id);
    let (replicas, members) = (partition["replicas"].as_array().unwrap(), members(partition));
    partition["available"] == true
        && replicas.len() == members.len()
        && replicas.iter().all(|replica| replica["health"]["state"] == "running")
}
