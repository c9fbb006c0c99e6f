//! Nodes that stop, crash and come back while clients are at work.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::Value;

use crate::cluster_guest::{Guest, ada, browser};
use crate::cluster_load::Load;
use crate::cluster_support::{Cluster, LOOK, partition, whole};
use crate::{alone, zones};

/// A node that is asked to stop ends in this time.
const STOP_MAX: Duration = Duration::from_secs(10);
const ALL: [usize; 3] = [0, 1, 2];
/// Where operators live.
const FIRST_HOME: u64 = 1;
/// So few that a node that is away misses more.
const LOG_ENTRIES: u64 = 100;
const TELL_MAX: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn nodes_stop_crash_and_come_back_under_load_and_an_old_disk_is_not_taken_for_the_node() {
    let _one = alone().await;
    let mut cluster = Cluster::hosts(&["eu-central/a", "eu-central/b", "eu-central/c"]);
    for turn in ALL {
        cluster.set(turn, "DOMICILE__STORAGE__LOG_ENTRIES", &LOG_ENTRIES.to_string());
    }
    cluster.assemble().await;
    let guest = Guest::create(&cluster, "acme", &zones(), 3, &ada()).await;
    let mut visitor = browser(&cluster, &guest, &ALL);
    guest.log_in(&mut visitor, "").await;
    // The first home was made while there was one node, which could hand it to nobody.
    cluster.until(0, |seen| partition(seen, FIRST_HOME)["voters"].as_array().unwrap().len() == 3).await;

    let mut load = Load::start(&cluster, &guest, &ALL).await;
    for turn in ALL {
        restarted(&mut cluster, &guest, turn).await;
        load.goes_on(3).await;
    }
    let done = load.stop().await;
    assert!(done.failures.is_empty(), "{:#?}", done.failures);
    println!("the longest wait in a rolling restart was {:?}", done.longest);
    done.holds(&cluster, &guest, &ALL).await;
    guest.go_on(&mut visitor).await;

    let mut load = Load::start(&cluster, &guest, &ALL).await;
    let away = *guest.voters(&cluster, 0).await.last().unwrap();
    let old = image(&mut cluster, &guest, away).await;
    caught_up_by_snapshot(&mut cluster, &guest, &mut load, away).await;
    went_back(&mut cluster, &guest, away, &old, &mut load).await;
    let done = load.stop().await;
    done.holds(&cluster, &guest, &others(away)).await;
}

fn others(turn: usize) -> Vec<usize> {
    ALL.into_iter().filter(|other| *other != turn).collect()
}

/// Stops a node in order and starts it again; returns once the next one could go.
async fn restarted(cluster: &mut Cluster, guest: &Guest, turn: usize) {
    let began = Instant::now();
    assert_eq!(cluster.stop(turn).await, Some(0), "host {turn}");
    assert!(began.elapsed() < STOP_MAX, "host {turn} took {:?}", began.elapsed());
    println!("host {turn} stopped within {:?}", began.elapsed());
    // It led nothing in the end: others do already.
    let log = cluster.log(turn);
    assert!(!log.contains("leaderships that nobody could take over"), "host {turn}");
    cluster.start(turn);
    cluster.ready(turn).await;
    cluster.until(turn, |seen| [0, FIRST_HOME, guest.partition].iter().all(|id| whole(seen, *id))).await;
}

/// A copy of a node's data directory, from between two starts.
async fn image(cluster: &mut Cluster, guest: &Guest, turn: usize) -> PathBuf {
    assert_eq!(cluster.stop(turn).await, Some(0));
    let copy = cluster.folder(turn).join("image");
    put(&cluster.data(turn), &copy);
    cluster.start(turn);
    cluster.ready(turn).await;
    cluster.until(turn, |seen| [0, guest.partition].iter().all(|id| whole(seen, *id))).await;
    copy
}

fn put(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// Which state of the partition counts on a host; another one after a snapshot was installed.
fn state(cluster: &Cluster, turn: usize, id: u64) -> String {
    std::fs::read_to_string(cluster.data(turn).join(format!("partitions/{id}/CURRENT"))).unwrap()
}

/// Crashes a node and keeps it away until the others have cut what it misses from their logs.
async fn caught_up_by_snapshot(cluster: &mut Cluster, guest: &Guest, load: &mut Load, away: usize) {
    let from = others(away)[0];
    let before = state(cluster, away, guest.partition);
    cluster.kill(away);
    let seen = cluster.until(from, |seen| partition(seen, guest.partition)["leader"].is_u64()).await;
    let missed = partition(&seen, guest.partition)["committed"].as_u64().unwrap();
    let enough = missed + 3 * LOG_ENTRIES;
    cluster
        .until(from, |seen| partition(seen, guest.partition)["committed"].as_u64().unwrap() > enough)
        .await;
    cluster.start(away);
    cluster.ready(away).await;
    cluster.until(from, |seen| here(cluster, seen, guest.partition, away) > Some(enough)).await;
    assert_ne!(state(cluster, away, guest.partition), before, "it was caught up by log");
    load.goes_on(2).await;
}

/// What the replica of a host has applied.
fn here(cluster: &Cluster, seen: &Value, id: u64, turn: usize) -> Option<u64> {
    let replicas = partition(seen, id)["replicas"].as_array().unwrap();
    let replica = replicas.iter().find(|replica| cluster.host_of(seen, &replica["node"]) == turn)?;
    replica["applied"].as_u64()
}

/// Puts the old copy in place of a crashed node's disk: it has forgotten what it acknowledged, and is told
/// so instead of being believed. Its host comes back under a new id.
async fn went_back(cluster: &mut Cluster, guest: &Guest, turn: usize, old: &Path, load: &mut Load) {
    let from = others(turn)[0];
    let id = cluster.node_of(&cluster.get(from, "/v1/cluster").await.unwrap(), turn);
    cluster.kill(turn);
    std::fs::remove_dir_all(cluster.data(turn)).unwrap();
    put(old, &cluster.data(turn));
    let applied = cluster.log(turn).len();
    cluster.start(turn);
    let telling = async {
        let is_told = |log: &str| log.contains("went back") || log.contains("is a copy");
        while !is_told(&cluster.log(turn)[applied..]) {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(TELL_MAX, telling).await.expect("it is not told");
    load.goes_on(2).await;
    let seen = cluster.get(from, "/v1/cluster").await.unwrap();
    let node = seen["nodes"].as_array().unwrap().iter().find(|node| node["id"] == id).unwrap();
    assert_eq!(node["alive"], false, "{node}");
    let told = cluster.log(turn)[applied..].to_owned();
    assert!(told.contains("decommission") && told.contains("join"), "{told}");

    cluster.kill(turn);
    cluster.ok(from, &["node", "decommission", &id.to_string()]);
    std::fs::remove_dir_all(cluster.data(turn)).unwrap();
    let token = cluster.token(from, "eu-central");
    cluster.ok(turn, &["join", &token]);
    cluster.start(turn);
    cluster.ready(turn).await;
    let partition_of = guest.partition;
    cluster
        .until(from, |seen| {
            let voters = partition(seen, partition_of)["voters"].as_array().unwrap();
            voters.len() == 3
                && !voters.iter().any(|voter| *voter == id)
                && [0, partition_of].iter().all(|id| whole(seen, *id))
        })
        .await;
    let user = serde_json::json!({"username": "late"});
    let made = guest.admin(cluster, turn, reqwest::Method::POST, "/users", None, Some(&user)).await.unwrap();
    made.expect(StatusCode::CREATED);
}
