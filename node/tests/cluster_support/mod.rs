//! Real processes on loopback, made as an operator makes them: `init`, `token create`, `join`, `start`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]
#![allow(dead_code, reason = "each test file uses a part")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A debug build on a busy machine takes its time.
const WAIT_MAX: Duration = Duration::from_mins(3);
pub const LOOK: Duration = Duration::from_millis(100);
pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Where a node is.
#[derive(Clone, Debug)]
pub struct Host {
    pub region: String,
    pub zone: String,
    pub public: u16,
    pub admin: u16,
    pub management: u16,
    pub peer: u16,
}

/// Where all hosts are, for those who ask while others start and stop them.
#[derive(Clone)]
pub struct Doors {
    pub hosts: Vec<Host>,
    pub http: reqwest::Client,
    /// Where all listen.
    pub ip: IpAddr,
}

impl Doors {
    pub fn public(&self, turn: usize) -> String {
        format!("http://{}", self.at(self.hosts[turn].public))
    }

    pub fn admin(&self, turn: usize) -> String {
        format!("http://{}", self.at(self.hosts[turn].admin))
    }

    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip, port)
    }
}

/// Hosts, of which some are nodes, of which some run.
pub struct Cluster {
    doors: Doors,
    running: Vec<Option<Child>>,
    /// Further variables of each host's programs.
    environment: Vec<Vec<(String, String)>>,
    dir: TempDir,
}

impl std::ops::Deref for Cluster {
    type Target = Doors;

    fn deref(&self) -> &Doors {
        &self.doors
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for turn in 0..self.hosts.len() {
            self.kill(turn);
        }
        if std::thread::panicking() {
            for turn in 0..self.hosts.len() {
                let log = std::fs::read_to_string(self.folder(turn).join("node.log")).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(25).collect();
                eprintln!("--- host {turn}, last lines first\n{}", tail.join("\n"));
            }
        }
    }
}

impl Cluster {
    /// One host for each `region/zone`, with settings and nothing else.
    pub fn hosts(places: &[&str]) -> Self {
        Self::hosts_with(places, "")
    }

    /// The same with further settings, as a table of TOML.
    pub fn hosts_with(places: &[&str], settings: &str) -> Self {
        Self::hosts_on(IpAddr::V4(Ipv4Addr::LOCALHOST), places, settings)
    }

    /// The same, listening on `ip` and nowhere else.
    pub fn hosts_on(ip: IpAddr, places: &[&str], settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let held: Vec<TcpListener> =
            (0..places.len() * 4).map(|_| TcpListener::bind((ip, 0)).unwrap()).collect();
        let ports: Vec<u16> = held.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
        let hosts: Vec<Host> = places
            .iter()
            .zip(ports.chunks(4))
            .map(|(place, ports)| {
                let (region, zone) = place.split_once('/').unwrap();
                let (region, zone) = (region.to_owned(), zone.to_owned());
                Host { region, zone, public: ports[0], admin: ports[1], management: ports[2], peer: ports[3] }
            })
            .collect();
        let running = hosts.iter().map(|_| None).collect();
        let environment = vec![Vec::new(); hosts.len()];
        let doors = Doors { hosts, http: reqwest::Client::new(), ip };
        let cluster = Self { doors, running, environment, dir };
        for turn in 0..cluster.hosts.len() {
            std::fs::create_dir_all(cluster.folder(turn)).unwrap();
            std::fs::write(cluster.config(turn), cluster.settings(turn) + settings).unwrap();
        }
        cluster
    }

    /// A variable of all that is run on a host from here on.
    pub fn set(&mut self, turn: usize, name: &str, value: &str) {
        self.environment[turn].push((name.to_owned(), value.to_owned()));
    }

    pub fn folder(&self, turn: usize) -> PathBuf {
        self.dir.path().join(format!("h{turn}"))
    }

    pub fn config(&self, turn: usize) -> PathBuf {
        self.folder(turn).join("domicile.toml")
    }

    pub fn data(&self, turn: usize) -> PathBuf {
        self.folder(turn).join("data")
    }

    /// Damages a replica of a host that does not run, so that it is noticed at the start.
    pub fn damage(&self, turn: usize, partition: u64) {
        let replica = self.data(turn).join("partitions").join(partition.to_string());
        let states = std::fs::read_dir(replica).unwrap().map(|entry| entry.unwrap().path());
        for state in states.filter(|path| path.is_dir()) {
            std::fs::write(state.join("SYNCED"), "damaged").unwrap();
        }
    }

    /// What the management listener says.
    pub async fn management(&self, turn: usize, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.at(self.hosts[turn].management));
        let answer = self.http.get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    fn settings(&self, turn: usize) -> String {
        let Host { region, zone, public, admin, management, peer } = &self.hosts[turn];
        let first = self.public(0);
        let [public, admin, management, peer] =
            [*public, *admin, *management, *peer].map(|port| self.at(port));
        format!(
            "public_origin = \"{first}\"\naliases = [\"http://{public}\"]\n\
             [node]\nregion = \"{region}\"\nzone = \"{zone}\"\n\
             [listen]\npublic = \"{public}\"\nadmin = \"{admin}\"\n\
             management = \"{management}\"\npeer = \"{peer}\"\n\
             [storage]\ndata_dir = {data:?}\ncache = \"8MiB\"\n\
             [admin]\ntoken = \"{TOKEN}\"\n[limits]\nrates = \"off\"\n\
             [log]\nformat = \"text\"\nfilter = \"info,openraft=error\"\n",
            data = self.data(turn).display().to_string(),
        )
    }

    /// Runs this program to its end.
    pub fn run(&self, turn: usize, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_domicile"));
        command.args(arguments).env("DOMICILE_CONFIG", self.config(turn));
        command.env("DOMICILE_ADMIN_URL", self.admin(turn));
        command.env("DOMICILE_ADMIN_TOKEN", TOKEN).envs(self.environment[turn].clone());
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// What a command that must go well prints.
    pub fn ok(&self, turn: usize, arguments: &[&str]) -> String {
        let output = self.run(turn, arguments);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {out}{err}");
        out
    }

    /// What a command that must fail says.
    pub fn fails(&self, turn: usize, arguments: &[&str]) -> String {
        let output = self.run(turn, arguments);
        assert!(!output.status.success(), "{arguments:?} went well: {}", text(&output.stdout));
        text(&output.stderr)
    }

    pub fn start(&mut self, turn: usize) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder(turn).join("node.log"))
            .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_domicile"));
        command.args(["start", "--stop-with-stdin"]).env("DOMICILE_CONFIG", self.config(turn));
        command.envs(self.environment[turn].clone());
        command.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        self.running[turn] = Some(command.spawn().unwrap());
    }

    /// `kill -9`.
    pub fn kill(&mut self, turn: usize) {
        if let Some(mut child) = self.running[turn].take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// `STOP` (the process stands still), `CONT`, and others.
    pub fn signal(&self, turn: usize, signal: Signal) {
        kill_process(Pid::from_child(self.running[turn].as_ref().unwrap()), signal).unwrap();
    }

    /// `TERM`; gives its exit code.
    pub async fn stop(&mut self, turn: usize) -> Option<i32> {
        self.signal(turn, Signal::TERM);
        let mut child = self.running[turn].take().unwrap();
        // Held, or its end would be another reason to stop.
        let _stdin = child.stdin.take();
        tokio::task::spawn_blocking(move || child.wait().unwrap().code()).await.unwrap()
    }

    /// A token for `region`, from the node of host `turn`.
    pub fn token(&self, turn: usize, region: &str) -> String {
        let began = Instant::now();
        loop {
            let output = self.run(turn, &["token", "create", "--region", region, "--json"]);
            if output.status.success() {
                return serde_json::from_slice::<Value>(&output.stdout).unwrap()["token"]
                    .as_str()
                    .unwrap()
                    .to_owned();
            }
            // While the directory spreads over the node that joined last, it may have no leader for a moment.
            let told = text(&output.stderr);
            assert!(told.contains("503") && began.elapsed() < WAIT_MAX, "{told}");
            std::thread::sleep(LOOK);
        }
    }

    /// `init`, then `join` for all others, each started; returns once the directory and every partition
    /// have reached `voters` voters and answer.
    pub async fn up(&mut self, voters: usize) {
        self.assemble().await;
        self.until(0, |cluster| {
            cluster["partitions"].as_array().unwrap().iter().all(|partition| {
                partition["available"] == true && partition["voters"].as_array().unwrap().len() == voters
            })
        })
        .await;
    }

    /// `init`, then `join` for all others, each started; returns once all are alive and each has the
    /// directory.
    pub async fn assemble(&mut self) {
        self.ok(0, &["init"]);
        self.start(0);
        self.ready(0).await;
        for turn in 1..self.hosts.len() {
            let token = self.token(0, &self.hosts[turn].region.clone());
            self.ok(turn, &["join", &token]);
            self.start(turn);
        }
        for turn in 1..self.hosts.len() {
            self.ready(turn).await;
        }
        let total = self.hosts.len();
        self.until(0, |cluster| {
            let replicas = partition(cluster, 0)["replicas"].as_array().unwrap();
            cluster["nodes"].as_array().unwrap().iter().filter(|node| node["alive"] == true).count() == total
                && replicas.len() == total
                && settled(cluster, 0)
        })
        .await;
    }

    /// Waits until the node says that it is ready.
    pub async fn ready(&mut self, turn: usize) {
        let url = format!("http://{}/readyz", self.at(self.hosts[turn].management));
        let waiting = async {
            loop {
                if self.http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                    return;
                }
                if let Some(status) = self.running[turn].as_mut().and_then(|child| child.try_wait().unwrap())
                {
                    panic!("host {turn} ended: {status}");
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(WAIT_MAX, waiting).await.expect("a node is not ready");
    }

    /// `GET` on the admin API.
    pub async fn get(&self, turn: usize, path: &str) -> Result<Value, String> {
        self.call(turn, reqwest::Method::GET, path, None).await
    }

    pub async fn post(&self, turn: usize, path: &str, body: &Value) -> Result<Value, String> {
        self.call(turn, reqwest::Method::POST, path, Some(body)).await
    }

    async fn call(
        &self,
        turn: usize,
        method: reqwest::Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, String> {
        let url = format!("{}{path}", self.admin(turn));
        let mut request = self.http.request(method, url).bearer_auth(TOKEN);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or(Value::Null);
        if status.is_success() { Ok(body) } else { Err(format!("{status}: {body}")) }
    }

    /// The cluster as host `turn` sees it, once it is as wanted.
    pub async fn until(&self, turn: usize, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let waiting = async {
            loop {
                if let Ok(cluster) = self.get(turn, "/v1/cluster").await {
                    if wanted(&cluster) {
                        return cluster;
                    }
                    last = cluster;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let seen = tokio::time::timeout(WAIT_MAX, waiting).await;
        seen.unwrap_or_else(|_| panic!("the cluster does not become as wanted: {last:#}"))
    }

    /// Writes through whichever node takes it; the hosts in `among` are tried in turn.
    pub async fn write(&self, among: &[usize], path: &str, body: &Value) -> Value {
        let writing = async {
            loop {
                for turn in among {
                    match self.post(*turn, path, body).await {
                        Ok(made) => return made,
                        Err(error) if error.starts_with("409") => return json!({ "there": true }),
                        Err(_) => {}
                    }
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(WAIT_MAX, writing).await.expect("nobody takes the write")
    }

    /// What the node wrote so far, in all its starts.
    pub fn log(&self, turn: usize) -> String {
        std::fs::read_to_string(self.folder(turn).join("node.log")).unwrap_or_default()
    }

    /// The node of a host; the latest, if it had several.
    pub fn node_of(&self, cluster: &Value, turn: usize) -> u64 {
        let nodes = cluster["nodes"].as_array().unwrap();
        let here = nodes.iter().filter(|node| self.host_of(cluster, &node["id"]) == turn);
        here.map(|node| node["id"].as_u64().unwrap()).max().unwrap()
    }

    /// The host of a node id.
    pub fn host_of(&self, cluster: &Value, node: &Value) -> usize {
        let nodes = cluster["nodes"].as_array().unwrap();
        let found = nodes.iter().find(|one| one["id"] == *node).unwrap();
        let admin = found["admin_url"].as_str().unwrap();
        self.hosts.iter().position(|host| admin.ends_with(&format!(":{}", host.admin))).unwrap()
    }
}

/// Whether a partition answers, with all replicas caught up and nobody on the way in.
pub fn settled(cluster: &Value, id: u64) -> bool {
    let partition = partition(cluster, id);
    let replicas = partition["replicas"].as_array().unwrap();
    partition["available"] == true
        && replicas.len() == members(partition).len()
        && replicas.iter().all(|replica| replica["lag"] == 0)
}

/// Whether a partition answers and each of its members runs.
pub fn whole(cluster: &Value, id: u64) -> bool {
    let partition = partition(cluster, id);
    let replicas = partition["replicas"].as_array().unwrap();
    partition["available"] == true
        && replicas.len() == members(partition).len()
        && replicas.iter().all(|replica| replica["health"]["state"] == "running")
}

/// The ids of a partition's members, with a vote and without.
pub fn members(partition: &Value) -> Vec<Value> {
    ["voters", "learners"].iter().flat_map(|name| partition[name].as_array().unwrap().clone()).collect()
}

/// The partition of that id.
pub fn partition(cluster: &Value, id: u64) -> &Value {
    cluster["partitions"].as_array().unwrap().iter().find(|partition| partition["id"] == id).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
