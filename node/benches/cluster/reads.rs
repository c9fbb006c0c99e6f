//! Reads of each consistency, on the leader and on a follower.

use crate::etcd::{self, Call};
use crate::http1::{Http1, Request};
use crate::kv;
use crate::load::{self, Client, Load};
use crate::tenant::{Repeater, registration};
use crate::writes::{Bench, EACH, row};

const IN_FLIGHT: [usize; 2] = [8, 64];

/// What is read, on the leader (false) or a follower (true).
#[derive(Clone, Copy)]
enum Read {
    Etcd {
        serializable: bool,
    },
    Kv(kv::Call),
    /// A client's document from the admin API; with a consistency token or without.
    Document {
        token: bool,
    },
    Introspection,
    Userinfo,
}

const READS: [(&str, Read); 8] = [
    ("etcd range, linearizable", Read::Etcd { serializable: false }),
    ("our groups alone: the same, linearizable", Read::Kv(kv::Call::Linearizable)),
    ("admin API: a client, linearizable", Read::Document { token: false }),
    ("admin API: a client, at a consistency token", Read::Document { token: true }),
    ("etcd range, serializable (any age)", Read::Etcd { serializable: true }),
    ("our groups alone: the same, at most 5 s old", Read::Kv(kv::Call::Bounded)),
    ("introspection, at most 5 s old", Read::Introspection),
    ("userinfo, at most 5 s old", Read::Userinfo),
];

/// What the demo's reads need.
struct Given {
    path: String,
    consistency: String,
    access: String,
}

pub async fn run(bench: &Bench) {
    let given = given(bench).await;
    put_all(bench).await;
    println!("\n| read | on | in flight | reads/s | p50 | p99 | CPU of all nodes | of etcd | failed |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for follower in [false, true] {
        let at = if follower { "follower" } else { "leader" };
        for in_flight in IN_FLIGHT {
            let mut all: Vec<Vec<Load>> = READS.iter().map(|_| Vec::new()).collect();
            for _ in 0..bench.sizes.turns {
                for ((_, read), loads) in READS.iter().zip(&mut all) {
                    loads.push(one(bench, &given, *read, follower, in_flight).await);
                }
            }
            let mut base = 0.0;
            for ((name, read), loads) in READS.iter().zip(all) {
                let load = load::median(loads);
                if matches!(read, Read::Etcd { .. }) {
                    base = load.per_second();
                }
                row(&format!("{name} | {at}"), in_flight, &load, base);
            }
        }
    }
}

async fn one(bench: &Bench, given: &Given, read: Read, follower: bool, count: usize) -> Load {
    let other = |leader: usize| if follower { (leader + 1) % 3 } else { leader };
    match read {
        Read::Etcd { serializable } => {
            let address = &bench.etcd.members[other(bench.etcd.leader().await)].address;
            let clients = etcd::clients(address, count, EACH, Call::Range { serializable }).await;
            bench.turn(&bench.etcd.pids(), clients).await.0
        }
        Read::Kv(call) => {
            let address = &bench.kv.addresses[other(bench.kv.leader().await)];
            let clients = kv::clients(address, count, EACH, call).await;
            bench.turn(&bench.kv.pids(), clients).await.0
        }
        Read::Document { .. } | Read::Introspection | Read::Userinfo => {
            let node = other(bench.demo.leader(0, &bench.tenant.slug).await);
            let client = |_| repeater(bench, given, read, node);
            bench.turn(&bench.demo.pids(), (0..count).map(client).collect()).await.0
        }
    }
}

fn repeater(bench: &Bench, given: &Given, read: Read, node: usize) -> Repeater {
    let (public, admin) = (bench.demo.public(node), bench.demo.admin(node));
    match read {
        Read::Introspection => {
            let form = format!("token={}", given.access);
            let request = bench.tenant.form("introspect", public, &form);
            Repeater { to: Http1::to(public), request, wanted: "\"active\":true" }
        }
        Read::Userinfo => {
            let request = bench.tenant.userinfo(public, &given.access);
            Repeater { to: Http1::to(public), request, wanted: "\"sub\":" }
        }
        Read::Document { token } => {
            let mut headers = format!("authorization: Bearer {}\r\n", bench.demo.token());
            if token {
                headers = format!("{headers}domicile-consistency: {}\r\n", given.consistency);
            }
            let request = Request::get(&given.path, admin, &headers);
            Repeater { to: Http1::to(admin), request, wanted: "\"client_id\":" }
        }
        Read::Etcd { .. } | Read::Kv(_) => unreachable!("not read from the demo"),
    }
}

/// A client to read, the token of its registration, and an access token.
async fn given(bench: &Bench) -> Given {
    let leader = bench.demo.leader(0, &bench.tenant.slug).await;
    let clients = format!("/v1/tenants/{}/clients", bench.tenant.slug);
    let mut to = Http1::to(bench.demo.admin(leader));
    let request = Request::json(&clients, &to.address, &registration("to be read"), bench.demo.token());
    let made = to.send(&request).await.unwrap().good().unwrap();
    let id = made.json()["client_id"].as_str().unwrap().to_owned();
    let consistency = made.header("domicile-consistency").unwrap().to_owned();
    let tokens = bench.tenant.families(&bench.demo, leader, 1).await;
    Given { path: format!("{clients}/{id}"), consistency, access: tokens[0].access.clone() }
}

/// So that every key that is read is there.
async fn put_all(bench: &Bench) {
    let etcd = &bench.etcd.members[bench.etcd.leader().await].address;
    let kv = &bench.kv.addresses[bench.kv.leader().await];
    for mut client in etcd::clients(etcd, 1, 1, Call::Put).await {
        for round in 0..crate::KEYS {
            client.step(round).await.unwrap();
        }
    }
    for mut client in kv::clients(kv, 1, 1, kv::Call::Put).await {
        for round in 0..crate::KEYS {
            client.step(round).await.unwrap();
        }
    }
}
