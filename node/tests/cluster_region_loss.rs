//! A tenant over three regions goes on, with its sessions, when its leader is killed, when a whole region falls silent
//! and when one is lost.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "real processes are waited for in real time"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod cluster_guest;
mod cluster_load;
mod cluster_support;
mod oidc_support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cluster_guest::{Guest, ada, browser};
use cluster_load::Load;
use cluster_support::{Cluster, Signal, partition, settled};
use reqwest::StatusCode;
use serde_json::{Value, json};

/// Others serve within this after the leader was killed: its port refuses, so that the wide timers are not waited for.
const LEADER_REPLACED_MAX: Duration = Duration::from_secs(3);
/// The bound of the contract for a region; elections over regions take up to 6 s of it.
const SERVES_AGAIN_MAX: Duration = Duration::from_secs(10);
const ALL: [usize; 5] = [0, 1, 2, 3, 4];
/// The region with one voter.
const SMALL: &str = "eu-north";

#[tokio::test(flavor = "multi_thread")]
async fn over_three_regions_logins_go_on_when_the_leader_is_killed_and_when_its_region_is_silent_or_lost() {
    let places = ["eu-central/a", "eu-west/a", "eu-north/a", "eu-central/b", "eu-west/b"];
    let mut cluster = Cluster::hosts(&places);
    cluster.assemble().await;
    let placement = json!({"regions": ["eu-central", "eu-west", "eu-north"], "survive": "region"});
    let guest = Guest::create(&cluster, "acme", &placement, 5, &ada()).await;
    let mut session = Session::begin(&cluster, &guest).await;
    its_leader_is_killed(&mut cluster, &guest, &mut session).await;
    its_region_falls_silent(&cluster, &guest, &mut session).await;
    its_region_is_lost(&mut cluster, &guest, &mut session).await;
}

/// Somebody who is logged in since before.
struct Session {
    cookies: BTreeMap<String, String>,
    refresh: String,
}

impl Session {
    async fn begin(cluster: &Cluster, guest: &Guest) -> Self {
        let mut visitor = browser(cluster, guest, &ALL);
        let callback = guest.log_in(&mut visitor, "").await;
        let tokens = guest.redeem(cluster, 0, &callback).await;
        Self { cookies: visitor.cookies, refresh: tokens.text("refresh_token") }
    }

    /// Nothing is asked again.
    async fn goes_on(&mut self, cluster: &Cluster, guest: &Guest, at: &[usize]) {
        let mut visitor = browser(cluster, guest, at);
        visitor.cookies = self.cookies.clone();
        guest.go_on(&mut visitor).await;
        self.cookies = visitor.cookies;
    }
}

async fn its_leader_is_killed(cluster: &mut Cluster, guest: &Guest, session: &mut Session) {
    let dead = leader(cluster, guest).await;
    let rest: Vec<usize> = ALL.into_iter().filter(|turn| *turn != dead).collect();
    let mut load = Load::start(cluster, guest, &ALL).await;
    cluster.kill(dead);
    let killed = Instant::now();
    guest.log_in(&mut browser(cluster, guest, &rest), "").await;
    let after = killed.elapsed();
    assert!(after < LEADER_REPLACED_MAX, "a login took {after:?}");
    session.goes_on(cluster, guest, &rest).await;
    load.goes_on(3).await;
    let done = load.stop().await;
    println!("a login was done {after:?} after the kill, the longest wait was {:?}", done.longest);
    assert!(done.longest < LEADER_REPLACED_MAX, "somebody waited {:?}", done.longest);

    cluster.start(dead);
    cluster.ready(dead).await;
    leader(cluster, guest).await;
    done.holds(cluster, guest, &ALL).await;
}

/// Its ports do not refuse, and nobody answers there.
async fn its_region_falls_silent(cluster: &Cluster, guest: &Guest, session: &mut Session) {
    let (silent, rest) = region_of(cluster, leader(cluster, guest).await);
    let mut load = Load::start(cluster, guest, &rest).await;
    for turn in &silent {
        cluster.signal(*turn, Signal::STOP);
    }
    others_serve_soon(cluster, guest, session, &rest, "fell silent").await;
    load.goes_on(3).await;

    // Back with what they were sent meanwhile, and with a leader of before.
    for turn in &silent {
        cluster.signal(*turn, Signal::CONT);
    }
    load.goes_on(2).await;
    let done = load.stop().await;
    leader(cluster, guest).await;
    done.holds(cluster, guest, &ALL).await;
}

async fn its_region_is_lost(cluster: &mut Cluster, guest: &Guest, session: &mut Session) {
    let (dead, rest) = region_of(cluster, leader(cluster, guest).await);
    let mut load = Load::start(cluster, guest, &ALL).await;
    for turn in &dead {
        cluster.kill(*turn);
    }
    others_serve_soon(cluster, guest, session, &rest, "was lost").await;
    load.goes_on(3).await;

    for turn in &dead {
        cluster.start(*turn);
    }
    for turn in &dead {
        cluster.ready(*turn).await;
    }
    let done = load.stop().await;
    leader(cluster, guest).await;
    done.holds(cluster, guest, &ALL).await;
}

/// Within the bound: for who is logged in since before, and for who comes anew.
async fn others_serve_soon(
    cluster: &Cluster,
    guest: &Guest,
    session: &mut Session,
    rest: &[usize],
    what: &str,
) {
    let gone = Instant::now();
    let next = loop {
        match guest.refresh(cluster, rest[0], &session.refresh).await.unwrap() {
            next if next.status == StatusCode::OK => break next,
            waits => assert_eq!(waits.status, StatusCode::SERVICE_UNAVAILABLE, "{}", waits.body),
        }
        assert!(gone.elapsed() < SERVES_AGAIN_MAX, "nobody serves after {:?}", gone.elapsed());
    };
    session.refresh = next.text("refresh_token");
    session.goes_on(cluster, guest, rest).await;
    guest.log_in(&mut browser(cluster, guest, rest), "").await;
    let after = gone.elapsed();
    println!("a login was done {after:?} after the leader's region {what}");
    assert!(after < SERVES_AGAIN_MAX, "a login took {after:?}");
    for turn in rest {
        let shown = guest.introspect(cluster, *turn, &next.text("access_token")).await;
        assert_eq!(shown.expect(StatusCode::OK).body["active"], true);
    }
}

/// The host of the leader, once all five voters are even. Without a companion in its region it would hand over.
async fn leader(cluster: &Cluster, guest: &Guest) -> usize {
    let host = |seen: &Value| cluster.host_of(seen, &partition(seen, guest.partition)["leader"]);
    let seen = cluster
        .until(0, |seen| {
            let home = partition(seen, guest.partition);
            home["voters"].as_array().unwrap().len() == ALL.len()
                && home["leader"].is_u64()
                && settled(seen, guest.partition)
                && cluster.hosts[host(seen)].region != SMALL
        })
        .await;
    host(&seen)
}

/// The hosts in the region of a host, and the others.
fn region_of(cluster: &Cluster, host: usize) -> (Vec<usize>, Vec<usize>) {
    let region = &cluster.hosts[host].region;
    ALL.into_iter().partition(|turn| cluster.hosts[*turn].region == *region)
}
