//! From `kill -9` of the leader to the next acknowledged write through another node.

use std::time::Duration;

use domicile_raft::{Clock as _, SystemClock};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use crate::Sizes;
use crate::demo::Demo;
use crate::etcd::{self, Etcd};
use crate::http1::{Http1, Request};
use crate::load::{self, Client as _};
use crate::tenant::{Tenant, registration};

const TENANT: &str = "eu-central";
/// Between two probes: as if many clients asked, each once.
const PROBE_EVERY: Duration = Duration::from_millis(25);
/// A probe is given up after this long.
const PROBE_MAX: Duration = Duration::from_secs(10);

/// What the kills of one cluster came to.
#[derive(Default)]
struct Kills {
    took: Vec<Duration>,
    /// Probes that failed before one went well.
    failed: u64,
}

impl Kills {
    /// Probes until one goes well: a new one all the time, whatever became of those before.
    async fn add(
        &mut self,
        clock: &SystemClock,
        killed: Duration,
        probe: impl AsyncFn() -> Result<(), String>,
    ) {
        let mut every = tokio::time::interval(PROBE_EVERY);
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                _ = every.tick() => open.push(tokio::time::timeout(PROBE_MAX, probe())),
                Some(answer) = open.next() => match answer {
                    Ok(Ok(())) => break,
                    Ok(Err(_)) | Err(_) => self.failed += 1,
                },
            }
        }
        self.took.push(clock.monotonic().saturating_sub(killed));
    }

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
    let put = async || -> Result<(), String> {
        let mut client = etcd::clients(&address, 1, 1, etcd::Call::Put).await.remove(0);
        client.step(0).await
    };
    put().await.unwrap();
    etcd.kill(leader);
    let killed = clock.monotonic();
    kills.add(clock, killed, put).await;
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
    let (admin, public) = (demo.admin(other).to_owned(), demo.public(other).to_owned());
    let write = async || Http1::to(&admin).send(&after).await?.good().map(drop);
    let read = async || Http1::to(&public).send(&introspection).await?.good().map(drop);
    Http1::to(&admin).send(&before).await.unwrap().good().unwrap();
    read().await.unwrap();
    demo.kill(leader);
    let killed = clock.monotonic();
    tokio::join!(writes.add(clock, killed, write), reads.add(clock, killed, read));
    demo.bring_back(leader);
    let partition = demo.tenant(TENANT)["partition"].as_u64().unwrap();
    demo.settled(other, partition, 3).await;
}
