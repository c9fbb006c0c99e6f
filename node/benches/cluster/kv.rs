//! Three processes of [`crate::kv_server`], and clients of them.

use std::process::Command;

use bytes::Bytes;
use domicile_raft::peer::tls::RegionAuthority;
use domicile_raft::{Clock as _, SystemClock};
use tempfile::TempDir;

use crate::http2::{self, Http2};
use crate::kv_server::{CLUSTER, REGION};
use crate::load::Client;
use crate::process::{self, Running};
use crate::{VALUE_BYTES, etcd, wait_for};

/// The first node leads at the start.
pub struct Kv {
    pub addresses: Vec<String>,
    /// `host:port` between nodes.
    pub peers: Vec<String>,
    nodes: Vec<Running>,
    _home: TempDir,
}

impl Kv {
    /// With one group.
    pub async fn start(clock: &SystemClock) -> Self {
        let home = process::home();
        let authority = RegionAuthority::generate(CLUSTER, REGION, clock.now()).unwrap();
        authority.store(&home.path().join("ca.pem")).unwrap();
        let addresses: Vec<String> =
            process::free_ports(6).into_iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let (clients, peers) = addresses.split_at(3);
        let start = |(id, address): (u64, &String)| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.arg("--kv").arg(id.to_string()).arg(home.path()).arg(address).args(peers);
            Running::start(&mut command, &home.path().join(format!("{id}.log")))
        };
        let nodes = (1..).zip(clients).map(start).collect();
        let kv = Self { addresses: clients.to_vec(), peers: peers.to_vec(), nodes, _home: home };
        kv.grow(1).await;
        kv
    }

    pub fn pids(&self) -> Vec<u32> {
        self.nodes.iter().map(Running::pid).collect()
    }

    /// Opens groups until there are `count`, all with three voters and a leader.
    pub async fn grow(&self, count: u64) {
        for (turn, address) in self.addresses.iter().enumerate() {
            let how = if turn == 0 { "bootstrap" } else { "join" };
            post(address, &format!("/groups/{count}/{how}")).await;
        }
        wait_for("every group is whole", async || {
            let mut whole = true;
            for (turn, address) in self.addresses.iter().enumerate() {
                post(address, "/members").await;
                whole &= self.status(turn).await?.1 >= count;
            }
            whole.then_some(())
        })
        .await;
    }

    /// Whether it leads the first group, and how many groups are whole as it knows.
    async fn status(&self, turn: usize) -> Option<(bool, u64)> {
        let answer = reqwest::get(format!("http://{}/status", self.addresses[turn])).await.ok()?;
        let text = answer.text().await.ok()?;
        let (leads, whole) = text.split_once(' ')?;
        Some((leads == "true", whole.parse().ok()?))
    }

    pub async fn leader(&self) -> usize {
        wait_for("the first group has a leader", async || {
            for turn in 0..self.addresses.len() {
                if self.status(turn).await.is_some_and(|status| status.0) {
                    return Some(turn);
                }
            }
            None
        })
        .await
    }
}

async fn post(address: &str, path: &str) {
    let url = format!("http://{address}{path}");
    wait_for("a node of the cluster without users", async || {
        match reqwest::Client::new().post(&url).send().await {
            Ok(answer) if answer.status().is_success() => Some(()),
            // It may not listen yet.
            Ok(_) | Err(_) => None,
        }
    })
    .await;
}

/// What a client does.
#[derive(Clone, Copy)]
pub enum Call {
    Put,
    Linearizable,
    Bounded,
}

/// A client of one node.
pub struct KvClient {
    connection: Http2,
    place: u64,
    call: Call,
    value: Bytes,
}

/// As many as `count`, `each` on a connection.
pub async fn clients(address: &str, count: usize, each: usize, call: Call) -> Vec<KvClient> {
    let value = Bytes::from_static(&[0x5a; VALUE_BYTES]);
    let connections = http2::share(address, count, each).await;
    let client = |(place, connection)| KvClient { connection, place, call, value: value.clone() };
    (0..).zip(connections).map(client).collect()
}

impl Client for KvClient {
    async fn step(&mut self, round: u64) -> Result<(), String> {
        let key = etcd::key(self.place * 7 + round).replace('/', "-");
        let how = match self.call {
            Call::Put => {
                return self.connection.put(&format!("/kv/{key}"), self.value.clone()).await.map(drop);
            }
            Call::Linearizable => "linearizable",
            Call::Bounded => "bounded",
        };
        let found = self.connection.get(&format!("/kv/{how}/{key}")).await?;
        if found.len() == VALUE_BYTES { Ok(()) } else { Err("a value of another size".to_owned()) }
    }
}
