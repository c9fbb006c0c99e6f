//! A cluster of real processes, put together as an operator would: `init`, `token create`, `join`, `start`.

mod process;
mod rebuild;
mod running;
mod settings;
mod start;
mod tenant;
mod view;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

pub use process::{Processes, RunError, Signal};
pub use running::Fallen;
pub use start::{Start, can_be_looked_into, faketime};
pub use tenant::{CANARIES, Home, Tenant};
pub use view::{PartitionView, View};

use crate::client::{Answer, Door, Http, Lost};
use crate::disk::Disk;
use crate::net::{Net, NetKind};
use crate::topology::Topology;

const LOOK: Duration = Duration::from_millis(100);
/// How long a step of putting it together may take; debug builds on busy machines are slow.
const STEP_MAX: Duration = Duration::from_mins(3);
/// Below where traces go: a folder for what each node sent, and one for what was on the wire.
pub(crate) const SENT: &str = "sent";
pub(crate) const TAPES: &str = "wire";
/// Opens the admin API. The cluster lives on loopback and dies with the run.
const TOKEN: &str = "harness-0123456789abcdef0123456789abcdef";

/// Where a node is.
#[derive(Clone, Debug)]
pub struct Node {
    /// `n1`, `n2`, ...
    pub name: String,
    region: String,
    zone: String,
    /// Where browsers and apps reach it.
    pub public: Url,
    /// Where operators reach it.
    pub admin: Url,
    /// Where its metrics are.
    pub management: Url,
    peer: SocketAddr,
    folder: PathBuf,
    data: PathBuf,
}

/// Nodes, and how to reach them. Copies are of the same cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// By number.
    pub nodes: Vec<Node>,
    /// What joins them.
    pub net: Net,
    /// Their processes.
    pub processes: Processes,
    /// For everything but the workloads.
    pub http: Http,
    /// One a node, or none at all.
    disks: Arc<Vec<Disk>>,
}

/// What a cluster is made of.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Its nodes.
    pub topology: &'a Topology,
    /// How they are joined. In namespaces each has a disk of its own.
    pub net: NetKind,
    /// What chance draws for packets.
    pub seed: u64,
    /// Whether their clocks can be moved.
    pub clocks: bool,
    /// Whether their certificates end soon.
    pub renews: bool,
    /// Where they keep what they send, in builds that can, and proxies what is on the wire.
    pub traces: Option<&'a Path>,
    /// Whether their links are in the clear, which takes such a build; the wire is kept then.
    pub in_clear: bool,
    /// The program under test.
    pub binary: &'a Path,
    /// Where its files go.
    pub root: &'a Path,
}

impl Cluster {
    /// Puts a cluster together; returns once every node has the directory.
    ///
    /// # Errors
    /// What kept it from coming up.
    pub async fn bring_up(wanted: &Wanted<'_>) -> anyhow::Result<Self> {
        let tapes = wanted.traces.filter(|_| wanted.in_clear).map(|traces| traces.join(TAPES));
        let net = Net::start(wanted.net, wanted.topology, wanted.seed, tapes.as_deref()).await?;
        let (mut nodes, mut disks, mut starts) = (Vec::new(), Vec::new(), Vec::new());
        for (turn, (region, zone)) in wanted.topology.places().into_iter().enumerate() {
            let listens = net.addresses().get(turn).context("too few addresses")?;
            let name = format!("n{}", turn + 1);
            let url = |address: SocketAddr| Url::parse(&format!("http://{address}"));
            let folder = wanted.root.join(&name);
            std::fs::create_dir_all(&folder)?;
            let mut data = folder.join("data");
            if wanted.net == NetKind::Spaces {
                let disk = Disk::make(&folder).with_context(|| format!("the disk of {name}"))?;
                data = disk.mount.join("data");
                disks.push(disk);
            }
            let node = Node {
                name,
                region,
                zone,
                public: url(listens.public)?,
                admin: url(listens.admin)?,
                management: url(listens.management)?,
                peer: listens.peer,
                folder,
                data,
            };
            let clock = wanted.clocks.then(|| node.clock());
            if let Some(clock) = &clock {
                std::fs::write(clock, "+0\n")?;
            }
            let space = net.space_of(turn).map(Path::to_owned);
            let sent = wanted.traces.map(|traces| traces.join(SENT).join(&node.name));
            if let Some(sent) = &sent {
                std::fs::create_dir_all(sent)?;
            }
            starts.push(Start { config: node.config(), space, clock, sent, in_clear: wanted.in_clear });
            nodes.push(node);
        }
        for (node, listens) in nodes.iter().zip(net.addresses()) {
            std::fs::write(
                node.config(),
                settings::text(node, listens.door, &nodes[0].public, wanted.renews),
            )?;
        }
        let processes = Processes::new(wanted.binary, starts)?;
        let http = Http::new(Duration::from_secs(20))?;
        let cluster = Self { nodes, net, processes, http, disks: Arc::new(disks) };
        cluster.assemble().await?;
        Ok(cluster)
    }

    async fn assemble(&self) -> anyhow::Result<()> {
        self.processes.run(0, &["init"], None).await?;
        self.start(0)?;
        self.ready(0).await?;
        for turn in 1..self.nodes.len() {
            let region = self.nodes[turn].region.clone();
            let made = self.persist(0, "/v1/join-tokens", &json!({ "region": region })).await?;
            let token = made.get("token").and_then(Value::as_str).context("no join token came back")?;
            self.processes.run(turn, &["join", "-"], Some(token.to_owned())).await?;
            self.start(turn)?;
            self.ready(turn).await?;
        }
        let total = self.nodes.len();
        self.until("the directory to spread", |view| {
            view.alive >= total
                && view.partitions.iter().all(|one| one.available && (one.id != 0 || one.members >= total))
        })
        .await
    }

    /// A node's own disk, if it has one.
    pub(crate) fn disk(&self, turn: usize) -> Option<&Disk> {
        self.disks.get(turn)
    }

    /// Starts a node's process.
    ///
    /// # Errors
    /// It runs already, or cannot be started.
    pub fn start(&self, turn: usize) -> anyhow::Result<()> {
        let process = self.processes.start(turn)?;
        self.net.set_process(turn, Some(process));
        Ok(())
    }

    /// Waits until a node serves.
    ///
    /// # Errors
    /// It ended, or does not within 3 min.
    pub async fn ready(&self, turn: usize) -> anyhow::Result<()> {
        let node = &self.nodes[turn];
        let url = node.management.join("/readyz")?;
        let waiting = async {
            loop {
                let asked = self.http.send(self.http.request(Method::GET, &url, &Door::Named)).await;
                if asked.is_ok_and(|answer| answer.is_success()) {
                    return anyhow::Ok(());
                }
                if let Some(status) = self.processes.ended(turn) {
                    bail!("{} ended: {status}; see {}", node.name, node.log().display());
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(STEP_MAX, waiting)
            .await
            .with_context(|| format!("{} does not serve", node.name))?
    }

    /// Asks the admin API of a node.
    ///
    /// # Errors
    /// [`Lost`].
    pub async fn admin(&self, http: &Http, turn: usize, request: AdminRequest<'_>) -> Result<Answer, Lost> {
        let url =
            self.nodes[turn].admin.join(request.path).map_err(|error| Lost::NotSent(error.to_string()))?;
        let mut sent = http.request(request.method, &url, &Door::Named).bearer_auth(TOKEN);
        if let Some(key) = request.key {
            sent = sent.header("idempotency-key", key);
        }
        if let Some(token) = request.consistency {
            sent = sent.header("domicile-consistency", token);
        }
        if let Some(body) = request.body {
            sent = sent.json(body);
        }
        http.send(sent).await
    }

    /// Makes something through node `turn`, until it is made or was there.
    ///
    /// # Errors
    /// A refusal that will not pass.
    pub async fn persist(&self, turn: usize, path: &str, body: &Value) -> anyhow::Result<Value> {
        let mut told = String::new();
        // A tenant whose making was not answered is finished by the same request.
        let key = URL_SAFE_NO_PAD.encode(digest(&SHA256, format!("{path} {body}").as_bytes()));
        let key = path.starts_with("/v1/tenants").then_some(key.as_str());
        let making = async {
            loop {
                let request =
                    AdminRequest { method: Method::POST, path, key, consistency: None, body: Some(body) };
                match self.admin(&self.http, turn, request).await {
                    Ok(answer) if answer.is_success() => return Ok(answer.json()),
                    Ok(answer) if answer.status == 409 => return Ok(Value::Null),
                    Ok(answer) if answer.status >= 500 || matches!(answer.status, 404 | 422) => {
                        told = answer.told();
                    }
                    Ok(answer) => bail!("{path}: {} {}", answer.status, answer.text),
                    Err(lost) => told = lost.to_string(),
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(STEP_MAX, making).await {
            Ok(made) => made,
            Err(_) => bail!("{path} cannot be made: {told}"),
        }
    }

    /// The cluster as a node sees it.
    pub async fn view(&self, turn: usize) -> Option<View> {
        let request = AdminRequest {
            method: Method::GET,
            path: "/v1/cluster",
            key: None,
            consistency: None,
            body: None,
        };
        let answer = self.admin(&self.http, turn, request).await.ok()?;
        answer.is_success().then(|| View::of(&answer.json()))
    }

    /// The node with this admin URL.
    pub fn turn_of(&self, admin_url: &str) -> Option<usize> {
        let wanted = admin_url.trim_end_matches('/');
        self.nodes.iter().position(|node| node.admin.as_str().trim_end_matches('/') == wanted)
    }

    /// Waits until the cluster, as some node sees it, is as wanted.
    ///
    /// # Errors
    /// It does not become so within 3 min.
    pub async fn until(&self, what: &str, wanted: impl Fn(&View) -> bool) -> anyhow::Result<()> {
        let waiting = async {
            loop {
                for turn in 0..self.nodes.len() {
                    if self.view(turn).await.is_some_and(|view| wanted(&view)) {
                        return;
                    }
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(STEP_MAX, waiting).await.with_context(|| format!("waited in vain for {what}"))
    }
}

/// A request to the admin API.
#[derive(Clone, Debug)]
pub struct AdminRequest<'a> {
    /// Method.
    pub method: Method,
    /// Path with its query.
    pub path: &'a str,
    /// `Idempotency-Key`
    pub key: Option<&'a str>,
    /// `Domicile-Consistency`
    pub consistency: Option<&'a str>,
    /// JSON.
    pub body: Option<&'a Value>,
}

impl Node {
    /// Its settings.
    pub fn config(&self) -> PathBuf {
        self.folder.join("domicile.toml")
    }

    /// What it writes.
    pub fn log(&self) -> PathBuf {
        self.folder.join("node.log")
    }

    /// Whether it stands in a region.
    pub fn is_in(&self, region: &str) -> bool {
        self.region == region
    }

    /// Where its settings, its log and its data or its disk are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What says how its wall clock goes.
    pub fn clock(&self) -> PathBuf {
        self.folder.join("clock")
    }
}
