//! A cluster of etcd with TLS between its members, and puts and ranges over gRPC.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http2::{self, Http2};
use crate::load::Client;
use crate::process::{self, Running};
use crate::{KEYS, VALUE_BYTES, wait_for};

const PROGRAM: &str = "etcd";

/// Three members on loopback.
pub struct Etcd {
    pub members: Vec<Member>,
    initial: String,
    home: TempDir,
}

/// One of them.
pub struct Member {
    name: String,
    /// For clients.
    pub address: String,
    peer: String,
    pub process: Option<Running>,
}

impl Etcd {
    pub async fn start() -> Self {
        let home = process::home();
        let ports = process::free_ports(6);
        let mut etcd = Self { members: Vec::new(), initial: String::new(), home };
        for (turn, pair) in ports.chunks(2).enumerate() {
            let (address, peer) =
                (format!("127.0.0.1:{}", pair[0]), format!("https://127.0.0.1:{}", pair[1]));
            etcd.members.push(Member { name: format!("e{}", turn + 1), address, peer, process: None });
        }
        let named = |member: &Member| format!("{}={}", member.name, member.peer);
        etcd.initial = etcd.members.iter().map(named).collect::<Vec<_>>().join(",");
        for turn in 0..etcd.members.len() {
            etcd.bring_back(turn);
        }
        etcd.leader().await;
        etcd
    }

    /// Starts a member that does not run.
    pub fn bring_back(&mut self, turn: usize) {
        let member = &mut self.members[turn];
        let mut command = Command::new(PROGRAM);
        let client = format!("http://{}", member.address);
        command.args([
            "--name",
            &member.name,
            "--initial-cluster",
            &self.initial,
            "--initial-cluster-state",
            "new",
        ]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &member.peer, "--initial-advertise-peer-urls", &member.peer]);
        command.args(["--peer-auto-tls", "--logger", "zap", "--data-dir"]);
        command.arg(self.home.path().join(&member.name));
        let log = self.home.path().join(format!("{}.log", member.name));
        member.process = Some(Running::start(&mut command, &log));
    }

    pub fn kill(&mut self, turn: usize) {
        self.members[turn].process = None;
    }

    pub fn pids(&self) -> Vec<u32> {
        self.members.iter().flat_map(|member| &member.process).map(Running::pid).collect()
    }

    /// Which member leads, once all that run agree on one that runs.
    pub async fn leader(&self) -> usize {
        wait_for("etcd has a leader", async || {
            let mut ids = Vec::new();
            let mut leaders = Vec::new();
            for member in &self.members {
                let status = status(&member.address).await.unwrap_or(Value::Null);
                ids.push(status["header"]["member_id"].clone());
                if member.process.is_some() {
                    leaders.push(status["leader"].clone());
                }
            }
            let first = leaders.first().filter(|first| leaders.iter().all(|leader| leader == *first))?;
            ids.iter().position(|id| id == first && first.is_string())
        })
        .await
    }
}

async fn status(address: &str) -> Result<Value, reqwest::Error> {
    let url = format!("http://{address}/v3/maintenance/status");
    let request = reqwest::Client::new().post(url).timeout(Duration::from_secs(1)).json(&json!({}));
    request.send().await?.json().await
}

/// Whether the program is here, and which version.
pub fn version() -> Option<String> {
    let output = Command::new(PROGRAM).arg("--version").output().ok()?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
}

/// What a client does at a member.
#[derive(Clone, Copy)]
pub enum Call {
    Put,
    /// A range of one key; `true` for one that may be stale.
    Range {
        serializable: bool,
    },
}

/// A client of one member.
pub struct EtcdClient {
    connection: Http2,
    place: u64,
    call: Call,
}

/// As many as `count`, `each` on a connection.
pub async fn clients(address: &str, count: usize, each: usize, call: Call) -> Vec<EtcdClient> {
    let connections = http2::share(address, count, each).await;
    let client = |(place, connection)| EtcdClient { connection, place, call };
    (0..).zip(connections).map(client).collect()
}

impl Client for EtcdClient {
    async fn step(&mut self, round: u64) -> Result<(), String> {
        let key = key(self.place * 7 + round);
        match self.call {
            Call::Put => {
                let message = [bytes_field(1, key.as_bytes()), bytes_field(2, &[0x5a; VALUE_BYTES])].concat();
                self.connection.grpc("/etcdserverpb.KV/Put", &message).await.map(drop)
            }
            Call::Range { serializable } => {
                let mut message = bytes_field(1, key.as_bytes());
                if serializable {
                    // Field 7, a varint: true.
                    message.extend([7 << 3, 1]);
                }
                let answer = self.connection.grpc("/etcdserverpb.KV/Range", &message).await?;
                if answer.len() > VALUE_BYTES { Ok(()) } else { Err("the key is not there".to_owned()) }
            }
        }
    }
}

/// One of a thousand.
pub fn key(number: u64) -> String {
    format!("bench/{:08}", number % KEYS)
}

/// A length-delimited field of a protocol buffer.
fn bytes_field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap());
    out.extend_from_slice(bytes);
    out
}
