//! Durable writes, each acknowledged by a quorum after its sync; all clients ask the leader.

use crate::demo::Demo;
use crate::etcd::{self, Etcd};
use crate::http1::Http1;
use crate::kv::{self, Kv};
use crate::load::{self, Client, Load};
use crate::tenant::{Registrar, Rotator, Tenant};
use crate::{Sizes, proc, reads};

const IN_FLIGHT: [usize; 4] = [1, 8, 64, 256];
/// Requests that share a connection of HTTP/2.
pub const EACH: usize = 8;
/// The tenant of the region that all nodes are in.
const TENANT: &str = "eu-central";

/// The three clusters, and who leads each.
pub struct Bench {
    pub sizes: Sizes,
    pub etcd: Etcd,
    pub kv: Kv,
    pub demo: Demo,
    pub tenant: Tenant,
}

pub async fn run(sizes: &Sizes, writes: bool, also_reads: bool) {
    let demo = Demo::start(&[]).await;
    let tenant = Tenant::of(&demo, TENANT);
    let (etcd, kv) = (Etcd::start().await, Kv::start(&sizes.clock).await);
    let bench = Bench { sizes: sizes.clone(), etcd, kv, demo, tenant };
    if writes {
        bench.writes().await;
    }
    if also_reads {
        reads::run(&bench).await;
    }
}

impl Bench {
    async fn writes(&self) {
        let most = IN_FLIGHT.into_iter().max().unwrap_or(1);
        let leader = self.demo.leader(0, TENANT).await;
        let mut families: Vec<String> = {
            let made = self.tenant.families(&self.demo, leader, most).await;
            made.into_iter().map(|tokens| tokens.refresh).collect()
        };
        println!(
            "\n| durable write | in flight | writes/s | p50 | p99 | CPU of all nodes | of etcd | failed |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
        for in_flight in IN_FLIGHT {
            let mut turns: [Vec<Load>; 4] = Default::default();
            for turn in 0..self.sizes.turns {
                // Leaders may have changed under the load before.
                let leader = self.demo.leader(0, TENANT).await;
                let etcd = &self.etcd.members[self.etcd.leader().await].address;
                let kv = &self.kv.addresses[self.kv.leader().await];
                let puts = etcd::clients(etcd, in_flight, EACH, etcd::Call::Put).await;
                turns[0].push(self.turn(&self.etcd.pids(), puts).await.0);
                let puts = kv::clients(kv, in_flight, EACH, kv::Call::Put).await;
                turns[1].push(self.turn(&self.kv.pids(), puts).await.0);
                let registrars = self.registrars(leader, in_flight, turn);
                turns[2].push(self.turn(&self.demo.pids(), registrars).await.0);
                let rotators = self.rotators(leader, families.drain(..in_flight));
                let (load, rotators) = self.turn(&self.demo.pids(), rotators).await;
                families.extend(rotators.into_iter().map(|rotator| rotator.refresh));
                turns[3].push(load);
            }
            let [etcd, kv, registrations, rotations] = turns.map(load::median);
            let base = etcd.per_second();
            for (name, load) in [
                ("etcd put, 512 bytes", &etcd),
                ("our groups alone: the same put", &kv),
                ("admin API: register a client", &registrations),
                ("refresh rotation", &rotations),
            ] {
                row(name, in_flight, load, base);
            }
        }
    }

    /// One turn, with the processor time of those who serve it.
    pub async fn turn<C: Client>(&self, pids: &[u32], clients: Vec<C>) -> (Load, Vec<C>) {
        let cpu = || pids.iter().map(|pid| proc::cpu(*pid)).sum::<std::time::Duration>();
        let before = cpu();
        let (mut load, clients) = load::run(&self.sizes.clock, clients, self.sizes.turn).await;
        load.cpu = cpu().saturating_sub(before);
        (load, clients)
    }

    fn registrars(&self, node: usize, count: usize, turn: usize) -> Vec<Registrar> {
        let registrar = |place: usize| Registrar {
            slug: self.tenant.slug.clone(),
            token: self.demo.token().to_owned(),
            to: Http1::to(self.demo.admin(node)),
            name: format!("bench {count} {turn} {place}"),
        };
        (0..count).map(registrar).collect()
    }

    fn rotators(&self, node: usize, refresh: impl Iterator<Item = String>) -> Vec<Rotator> {
        let to = || Http1::to(self.demo.public(node));
        refresh.map(|refresh| Rotator { tenant: self.tenant.clone(), to: to(), refresh }).collect()
    }
}

/// A line of the page. What failed first is told below it.
pub fn row(name: &str, in_flight: usize, load: &Load, base: f64) {
    println!(
        "| {name} | {in_flight} | {:.0} | {:.2} ms | {:.1} ms | {:.0} us | {:.0}% | {} |",
        load.per_second(),
        load.quantile_ms(0.5),
        load.quantile_ms(0.99),
        load.cpu_us(),
        100.0 * load.per_second() / base,
        load.failed,
    );
    if let Some(told) = &load.told {
        eprintln!("{name}, {in_flight} in flight: the first that failed was told: {told}");
    }
}
