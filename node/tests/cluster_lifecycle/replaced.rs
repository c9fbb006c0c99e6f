//! Voters that are gone for good, lost what they held, or are sent away.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster_guest::{Guest, ada, browser};
use crate::cluster_load::Load;
use crate::cluster_support::{Cluster, LOOK, members, partition, whole};
use crate::{alone, zones};

const ALL: [usize; 4] = [0, 1, 2, 3];
const TELL_MAX: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn voters_that_are_dead_emptied_or_drained_are_replaced_and_none_is_sent_away_that_is_needed() {
    let _one = alone().await;
    let places = ["eu-central/a", "eu-central/b", "eu-central/c", "eu-central/d"];
    let mut cluster = Cluster::hosts_with(&places, "[cluster]\ndead_after = \"5s\"\n");
    cluster.assemble().await;
    let guest = Guest::create(&cluster, "acme", &zones(), 3, &ada()).await;

    let mut load = Load::start(&cluster, &guest, &ALL).await;
    let dead = a_dead_voter_is_replaced(&mut cluster, &guest, &mut load).await;
    its_old_replica_is_taken_away(&mut cluster, &guest, dead).await;
    a_damaged_voter_is_replaced(&mut cluster, &guest).await;
    load.stop().await.holds(&cluster, &guest, &ALL).await;

    let emptied = an_emptied_voter_is_refused(&mut cluster, &guest).await;
    let drained = a_drained_node_gives_everything_away(&mut cluster, &guest, emptied).await;
    a_decommissioned_node_is_refused(&mut cluster, drained).await;
    let rest: Vec<usize> = ALL.into_iter().filter(|turn| *turn != drained).collect();
    guest.log_in(&mut browser(&cluster, &guest, &rest), "").await;
}

/// Kills a voter; gives its host once another has its place.
async fn a_dead_voter_is_replaced(cluster: &mut Cluster, guest: &Guest, load: &mut Load) -> usize {
    let dead = another_voter(cluster, guest, &[]).await;
    cluster.kill(dead);
    let (doors, id) = (&*cluster, guest.partition);
    doors.until(0, |seen| three_without(doors, seen, id, dead)).await;
    load.goes_on(3).await;
    dead
}

/// A voter's host that is not among `not`, nor the one that answers for the cluster.
async fn another_voter(cluster: &Cluster, guest: &Guest, not: &[usize]) -> usize {
    let voters = guest.voters(cluster, 0).await;
    *voters.iter().rev().find(|host| **host != 0 && !not.contains(host)).unwrap()
}

fn three_without(cluster: &Cluster, seen: &Value, id: u64, gone: usize) -> bool {
    let members = members(partition(seen, id));
    let voters = partition(seen, id)["voters"].as_array().unwrap();
    voters.len() == 3 && whole(seen, id) && members.iter().all(|node| cluster.host_of(seen, node) != gone)
}

/// It comes back under its old id, after its place was given to another.
async fn its_old_replica_is_taken_away(cluster: &mut Cluster, guest: &Guest, dead: usize) {
    let replica = cluster.data(dead).join(format!("partitions/{}", guest.partition));
    assert!(replica.exists());
    cluster.start(dead);
    cluster.ready(dead).await;
    let closing = async {
        while replica.exists() {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(TELL_MAX, closing).await.expect("what nobody needs is still there");
    cluster.until(dead, |seen| [0, guest.partition].iter().all(|id| whole(seen, *id))).await;
}

/// Its node answers, and its replica stopped over its files: another takes its place without an operator, and
/// what is left of it goes.
async fn a_damaged_voter_is_replaced(cluster: &mut Cluster, guest: &Guest) {
    let damaged = another_voter(cluster, guest, &[]).await;
    cluster.kill(damaged);
    cluster.damage(damaged, guest.partition);
    cluster.start(damaged);
    let (doors, of) = (&*cluster, guest.partition);
    doors.until(damaged, |_| true).await;
    let (_, said) = doors.management(damaged, "/readyz?verbose").await;
    assert!(said.contains("quarantined"), "{said}");
    doors.until(0, |seen| three_without(doors, seen, of, damaged)).await;
    cluster.ready(damaged).await;
}

/// A voter's log, then a partition of it, is removed: in both cases it is told what to do and does not come
/// back as the same node. Does what it is told; gives its host.
async fn an_emptied_voter_is_refused(cluster: &mut Cluster, guest: &Guest) -> usize {
    let emptied = another_voter(cluster, guest, &[]).await;
    let id = cluster.node_of(&cluster.get(0, "/v1/cluster").await.unwrap(), emptied);
    assert_eq!(cluster.stop(emptied).await, Some(0));
    let aside = cluster.folder(emptied).join("aside");
    for lost in ["log".to_owned(), format!("partitions/{}", guest.partition)] {
        let path = cluster.data(emptied).join(lost);
        std::fs::rename(&path, &aside).unwrap();
        let told = cluster.fails(emptied, &["start"]);
        assert!(told.contains(&format!("domicile node decommission {id}")), "{told}");
        assert!(told.contains("join again"), "{told}");
        std::fs::rename(&aside, &path).unwrap_or_else(|_| {
            // The failed start made an empty one.
            std::fs::remove_dir_all(&path).unwrap();
            std::fs::rename(&aside, &path).unwrap();
        });
    }
    // While it is away the other two voters are needed.
    let needed = another_voter(cluster, guest, &[emptied]).await;
    let seen = cluster.get(0, "/v1/cluster").await.unwrap();
    let other = cluster.node_of(&seen, needed);
    let told = cluster.fails(0, &["node", "decommission", &other.to_string()]);
    assert!(told.contains("quorum"), "{told}");

    cluster.ok(0, &["node", "decommission", &id.to_string()]);
    std::fs::remove_dir_all(cluster.data(emptied)).unwrap();
    let token = cluster.token(0, "eu-central");
    cluster.ok(emptied, &["join", &token]);
    cluster.start(emptied);
    cluster.ready(emptied).await;
    let of = guest.partition;
    cluster
        .until(0, |seen| {
            let gone = json!(id);
            let partitions = seen["partitions"].as_array().unwrap();
            let free = partitions.iter().all(|one| !members(one).contains(&gone));
            free && partition(seen, of)["voters"].as_array().unwrap().len() == 3 && whole(seen, of)
        })
        .await;
    emptied
}

/// Drains a voter, which may lead; gives its host once it holds nothing but the directory and is gone.
async fn a_drained_node_gives_everything_away(cluster: &mut Cluster, guest: &Guest, not: usize) -> usize {
    let drained = another_voter(cluster, guest, &[not]).await;
    let id = cluster.node_of(&cluster.get(0, "/v1/cluster").await.unwrap(), drained);
    cluster.ok(0, &["partition", "transfer-leader", &guest.partition.to_string(), "--to", &id.to_string()]);
    cluster.until(0, |seen| partition(seen, guest.partition)["leader"] == id).await;
    let mut load = Load::start(cluster, guest, &ALL).await;
    cluster.ok(0, &["node", "drain", &id.to_string()]);
    let (doors, of) = (&*cluster, guest.partition);
    doors
        .until(0, |seen| {
            let leads = |one: &Value| one["leader"] == id;
            three_without(doors, seen, of, drained)
                && !seen["partitions"].as_array().unwrap().iter().any(leads)
        })
        .await;
    load.goes_on(3).await;
    let done = load.stop().await;
    assert!(done.failures.is_empty(), "{:#?}", done.failures);
    cluster.ok(0, &["node", "decommission", &id.to_string()]);
    cluster
        .until(0, |seen| {
            let partitions = seen["partitions"].as_array().unwrap();
            partitions.iter().all(|one| !members(one).contains(&json!(id)) && one["available"] == true)
        })
        .await;
    done.holds(cluster, guest, &ALL.into_iter().filter(|turn| *turn != drained).collect::<Vec<_>>()).await;
    drained
}

/// It still runs, and is started again: the others do not speak to it.
async fn a_decommissioned_node_is_refused(cluster: &mut Cluster, gone: usize) {
    cluster.kill(gone);
    let before = cluster.log(gone).len();
    cluster.start(gone);
    let telling = async {
        loop {
            let told = cluster.log(gone)[before..].to_owned();
            if told.contains("decommissioned") {
                return told;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(TELL_MAX, telling).await.expect("it is not told");
    let seen = cluster.get(0, "/v1/cluster").await.unwrap();
    let nodes = seen["nodes"].as_array().unwrap();
    assert_eq!(nodes.iter().filter(|node| node["alive"] == true).count(), ALL.len() - 1, "{nodes:#?}");
    cluster.kill(gone);
}
