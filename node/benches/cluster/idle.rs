//! Clusters that do nothing, with more and more partitions.

use std::time::Duration;

use serde_json::{Value, json};

use crate::demo::{Demo, list};
use crate::kv::Kv;
use crate::resources::Idle;
use crate::{Sizes, wait_for};

const PARTITIONS: [u64; 3] = [1, 16, 64];
/// Three regions give placements enough: a partition is made for each that differs.
const REGIONS: [&str; 3] = ["eu-central", "eu-west", "eu-north"];
/// What follows the making of a partition is over by then.
const CALM: Duration = Duration::from_secs(5);

pub async fn run(sizes: &Sizes) {
    println!("\n| idle | partitions | CPU | memory | threads | syncs/s | disk/s | between nodes/s |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let kv = Kv::start(&sizes.clock).await;
    for partitions in PARTITIONS {
        kv.grow(partitions).await;
        tokio::time::sleep(CALM).await;
        Idle::of(&kv.pids(), &kv.peers, sizes.idle).await.row("our groups alone, zone timers", partitions);
    }
    drop(kv);
    let demo = Demo::start(&["--regions", &REGIONS.join(",")]).await;
    let peers = peers(&demo).await;
    let mut wanted = placements().into_iter();
    for partitions in PARTITIONS {
        grow(&demo, &mut wanted, partitions).await;
        tokio::time::sleep(CALM).await;
        Idle::of(&demo.pids(), &peers, sizes.idle).await.row("nodes, wide timers", partitions);
    }
}

async fn peers(demo: &Demo) -> Vec<String> {
    let cluster = demo.get(0, "/v1/cluster").await.unwrap();
    list(&cluster, "nodes").iter().map(|node| node["peer_address"].as_str().unwrap().to_owned()).collect()
}

/// Makes tenants with placements of their own until there are so many partitions beside the directory,
/// all with three voters and a leader.
async fn grow(demo: &Demo, wanted: &mut impl Iterator<Item = Value>, partitions: u64) {
    loop {
        let cluster = demo.get(0, "/v1/cluster").await.unwrap();
        if list(&cluster, "partitions").len() as u64 > partitions {
            break;
        }
        let (number, placement) = (list(&cluster, "partitions").len(), wanted.next().unwrap());
        let body = json!({ "slug": format!("idle-{number}"), "placement": placement });
        wait_for("a tenant is made", async || match demo.post("/v1/tenants", &body).await {
            Ok(_) => Some(()),
            Err(told) if told.starts_with("409") => Some(()),
            Err(_) => None,
        })
        .await;
    }
    wait_for("every partition is whole", async || {
        let cluster = demo.get(0, "/v1/cluster").await.ok()?;
        let whole = |partition: &Value| {
            partition["available"] == true && list(partition, "voters").len() == REGIONS.len()
        };
        list(&cluster, "partitions").iter().all(whole).then_some(())
    })
    .await;
}

/// Placements that three regions of one zone each can give, no two alike.
fn placements() -> Vec<Value> {
    let mut orders: Vec<Vec<&str>> = vec![Vec::new()];
    for first in REGIONS {
        orders.push(vec![first]);
        for second in REGIONS.into_iter().filter(|second| *second != first) {
            orders.push(vec![first, second]);
            let last = REGIONS.into_iter().find(|last| ![first, second].contains(last));
            orders.push([first, second].into_iter().chain(last).collect());
        }
    }
    let mut out = Vec::new();
    for preferred in &orders {
        for regions in [json!("any"), json!(REGIONS)] {
            for read_replicas in [false, true] {
                out.push(json!({
                    "regions": regions,
                    "survive": "zone",
                    "preferred_leader_regions": preferred,
                    "read_replicas": read_replicas,
                }));
            }
        }
    }
    out
}
