//! From `kill -9` of the leader to the next acknowledged write through another node.

use std::time::Duration;

use domicile_raft::{Clock as _, SystemClock};

use crate::Sizes;
use crate::demo::Demo;
use crate::etcd::{self, Etcd};
use crate::http1::{Http1, Request};
use crate::load::{self, Client as _};
use crate::tenant::{Tenant, registration};

const TENANT: &str = "eu-central";
/// Longer than any answer should take; the client then asks again.
const ASK_MAX: Duration = Duration::from_secs(6);
/// Between two questions that failed.
const AGAIN: Duration = Duration::from_millis(5);

/// What the kills of one cluster came to.
#[derive(Default)]
struct Kills {
    took: Vec<Duration>,
    /// Questions that failed before one went well.
    failed: u64,
}

impl Kills {
    fn row(mut self, name: &str) {
        let count = self.took.len();
        let (median, ninth) = (load::quantile(&mut self.took, 0.5), load::quantile(&mut self.took, 0.9));
        let worst = load::quantile(&mut self.took, 1.0);
        println!("| {name} | {count} | {median:.0} ms | {ninth:.0} ms | {worst:.0} ms | {} |", self.failed);
    }
}

pub async fn run(sizes: &Sizes) {
    let mut demo = Demo::start(&[]).await;
    let mut etcd = Etcd::start().await;
    let (mut ours, mut introspected, mut theirs) = (Kills::default(), Kills::default(), Kills::default());
    for round in 0..sizes.kills {
        kill_etcd(&sizes.clock, &mut etcd, &mut theirs).await;
        kill_ours(&sizes.clock, &mut demo, round, &mut ours, &mut introspected).await;
    }
    println!("\n| leader killed | kills | median | 90th | worst | refused or lost meanwhile |");
    println!("| --- | --- | --- | --- | --- | --- |");
    theirs.row("etcd: a put at another member");
    ours.row("a client registered at another node");
    introspected.row("introspection at another node");
}

async fn kill_etcd(clock: &SystemClock, etcd: &mut Etcd, kills: &mut Kills) {
    let leader = etcd.leader().await;
    let other = (leader + 1) % etcd.members.len();
    let address = etcd.members[other].address.clone();
    let mut client = etcd::clients(&address, 1, 1, etcd::Call::Put).await.remove(0);
    client.step(0).await.unwrap();
    etcd.kill(leader);
    let killed = clock.monotonic();
    while !matches!(tokio::time::timeout(ASK_MAX, client.step(1)).await, Ok(Ok(()))) {
        kills.failed += 1;
        tokio::time::sleep(AGAIN).await;
    }
    kills.took.push(clock.monotonic().saturating_sub(killed));
    etcd.bring_back(leader);
    etcd.leader().await;
}

async fn kill_ours(
    clock: &SystemClock,
    demo: &mut Demo,
    round: usize,
    writes: &mut Kills,
    reads: &mut Kills,
) {
    let tenant = Tenant::of(demo, TENANT);
    let leader = demo.leader(round % demo.nodes(), TENANT).await;
    let other = (leader + 1) % demo.nodes();
    let path = format!("/v1/tenants/{TENANT}/clients");
    let request = |name: &str| {
        let body = registration(&format!("failover {round} {name}"));
        Request::json(&path, demo.admin(other), &body, demo.token())
    };
    let (before, after) = (request("before"), request("after"));
    let introspection = tenant.form("introspect", demo.public(other), "token=unknown");
    let mut admin = Http1::to(demo.admin(other));
    let mut public = Http1::to(demo.public(other));
    admin.send(&before).await.unwrap().good().unwrap();
    public.send(&introspection).await.unwrap().good().unwrap();
    demo.kill(leader);
    let killed = clock.monotonic();
    let written = until_good(clock, &mut admin, &after, killed);
    let read = until_good(clock, &mut public, &introspection, killed);
    for (kills, (took, failed)) in [writes, reads].into_iter().zip(<[_; 2]>::from(tokio::join!(written, read))) {
        kills.took.push(took);
        kills.failed += failed;
    }
    demo.bring_back(leader);
    let partition = demo.tenant(TENANT)["partition"].as_u64().unwrap();
    demo.settled(other, partition, 3).await;
}

/// Time since `since` of the first good answer, and how many were none.
async fn until_good(
    clock: &SystemClock,
    to: &mut Http1,
    request: &Request,
    since: Duration,
) -> (Duration, u64) {
    let mut failed = 0;
    loop {
        let answer = tokio::time::timeout(ASK_MAX, to.send(request)).await;
        if answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.good().is_ok())) {
            return (clock.monotonic().saturating_sub(since), failed);
        }
        failed += 1;
        tokio::time::sleep(AGAIN).await;
    }
}
