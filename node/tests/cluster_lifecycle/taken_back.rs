//! A node that founded a partition, gave it away and is taken back.

use serde_json::{Value, json};

use crate::alone;
use crate::cluster_guest::{Guest, ada, browser};
use crate::cluster_support::{Cluster, members, partition, whole};

/// Made by node 1, with a spare in its region.
const PLACES: [&str; 4] = ["eu-central/a", "us-east/a", "ap-south/a", "eu-central/b"];
const FOUNDER: usize = 0;
const SPARE: usize = 3;
const ALL: [usize; 4] = [0, 1, 2, 3];

/// The log that comes to it begins with itself as the only voter, and with the timers of one region, for which its
/// group is started again in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn a_founder_that_is_drained_and_taken_back_loses_nothing_that_came_without_it() {
    let _one = alone().await;
    let mut cluster = Cluster::hosts(&PLACES);
    cluster.assemble().await;
    let guest =
        Guest::create(&cluster, "acme", &json!({"regions": "any", "survive": "zone"}), 3, &ada()).await;
    let founder = id_of(&cluster, FOUNDER).await;
    let spare = id_of(&cluster, SPARE).await;
    let of = guest.partition;

    cluster.ok(1, &["node", "drain", &founder]);
    cluster.until(1, |seen| is_without(&cluster, seen, of, FOUNDER)).await;
    guest.log_in(&mut browser(&cluster, &guest, &ALL), "").await;
    let seen = cluster.get(1, "/v1/cluster").await.unwrap();
    let before = partition(&seen, of)["committed"].as_u64().unwrap();

    cluster.ok(FOUNDER, &["node", "drain", "--undo", &founder]);
    cluster.ok(1, &["node", "drain", &spare]);
    let seen = cluster.until(1, |seen| is_without(&cluster, seen, of, SPARE)).await;
    let voters = partition(&seen, of)["voters"].as_array().unwrap();
    assert!(voters.contains(&json!(cluster.node_of(&seen, FOUNDER))), "it votes again: {voters:?}");
    let after = partition(&seen, of)["committed"].as_u64().unwrap();
    assert!(after > before, "{before} entries were committed, then {after}");
    for door in ALL {
        guest.log_in(&mut browser(&cluster, &guest, &[door]), "").await;
    }
}

fn is_without(cluster: &Cluster, seen: &Value, id: u64, gone: usize) -> bool {
    let one = partition(seen, id);
    let voting = one["voters"].as_array().unwrap();
    voting.len() == 3
        && whole(seen, id)
        && members(one).iter().all(|node| cluster.host_of(seen, node) != gone)
}

async fn id_of(cluster: &Cluster, host: usize) -> String {
    cluster.node_of(&cluster.get(1, "/v1/cluster").await.unwrap(), host).to_string()
}
