//! A cluster that listens on IPv6 alone.

use std::net::{IpAddr, Ipv6Addr, TcpListener};

use reqwest::StatusCode;

use crate::cluster_guest::{Guest, ada, browser};
use crate::cluster_support::{Cluster, partition};
use crate::{alone, zones};

/// Whether this machine has an IPv6 loopback. With `DOMICILE_TOOLS=required`, as in CI, it has to.
fn has_ipv6() -> bool {
    let found = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    let required = std::env::var("DOMICILE_TOOLS").is_ok_and(|value| value == "required");
    assert!(found || !required, "there is no `::1` here");
    if !found {
        eprintln!("SKIPPED: there is no `::1` here, so no cluster on IPv6 alone was tried");
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_have_ipv6_addresses_only_find_each_other_and_serve() {
    if !has_ipv6() {
        return;
    }
    let _one = alone().await;
    let places = ["eu-central/a", "eu-central/b", "eu-central/c"];
    let mut cluster = Cluster::hosts_on(IpAddr::V6(Ipv6Addr::LOCALHOST), &places, "");
    cluster.assemble().await;
    let seen = cluster.get(0, "/v1/cluster").await.unwrap();
    for node in seen["nodes"].as_array().unwrap() {
        for name in ["peer_address", "public_url", "admin_url", "management_url"] {
            assert!(node[name].as_str().unwrap().contains("[::1]:"), "{name} of {node}");
        }
    }
    let guest = Guest::create(&cluster, "acme", &zones(), 3, &ada()).await;
    assert!(guest.issuer.starts_with("http://[::1]:"), "{}", guest.issuer);
    let dead = guest.voters(&cluster, 0).await[0];
    cluster.kill(dead);
    let rest: Vec<usize> = (0..places.len()).filter(|turn| *turn != dead).collect();
    let seen = cluster.until(rest[0], |seen| partition(seen, guest.partition)["available"] == true).await;
    let leader = cluster.host_of(&seen, &partition(&seen, guest.partition)["leader"]);
    assert!(rest.contains(&leader), "{leader}");
    let callback = guest.log_in(&mut browser(&cluster, &guest, &rest), "").await;
    let tokens = guest.redeem(&cluster, rest[0], &callback).await;
    let shown = guest.introspect(&cluster, rest[1], &tokens.text("access_token")).await;
    assert_eq!(shown.expect(StatusCode::OK).body["active"], true);
    cluster.start(dead);
    cluster.ready(dead).await;
}
