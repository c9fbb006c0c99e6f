//! `domicile demo` over three regions as people start it: up, used, stopped with Ctrl-C, and up again as the
//! same cluster.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "real processes are waited for in real time"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Nine debug builds share two cores.
const UP_MAX: Duration = Duration::from_mins(5);
const LOOK: Duration = Duration::from_millis(100);
/// SIGTERM hands leaderships over and ends within 10 s; nine do it at once.
const DOWN_MAX: Duration = Duration::from_secs(30);

struct Demo {
    child: Child,
    folder: PathBuf,
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.said());
        }
    }
}

impl Demo {
    fn start(folder: &Path) -> Self {
        let _ = fs::remove_file(folder.join("ready.json"));
        let log = fs::File::create(folder.join("demo.log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_domicile"))
            .args([
                "demo",
                "--regions",
                "eu-central,us-east,ap-south",
                "--nodes-per-region",
                "3",
                "--latency",
            ])
            .arg("--data-dir")
            .arg(folder.join("data"))
            .arg("--ready-file")
            .arg(folder.join("ready.json"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, folder: folder.to_owned() }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.join("demo.log")).unwrap_or_default()
    }

    async fn ready(&mut self) -> Value {
        let began = Instant::now();
        loop {
            let written = fs::read(self.folder.join("ready.json")).ok();
            if let Some(ready) = written.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
                return ready;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "the demo ended");
            assert!(began.elapsed() < UP_MAX, "the demo is not up");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ctrl-C, as a terminal sends it; gives the exit status.
    async fn interrupt(&mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(began.elapsed() < DOWN_MAX, "it does not stop");
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn texts(list: &Value, member: &str) -> BTreeSet<String> {
    list.as_array().unwrap().iter().map(|one| one[member].as_str().unwrap().to_owned()).collect()
}

fn ids(ready: &Value) -> BTreeSet<u64> {
    ready["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_over_three_regions_comes_up_stops_with_ctrl_c_and_comes_back_the_same() {
    let home = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(home.path());
    let ready = demo.ready().await;
    says_what_programs_rely_on(&ready);
    the_table_names_every_node(&demo.said(), &ready);
    tenants_are_where_they_are_said_to_be(&ready).await;

    let pids: Vec<u64> =
        ready["nodes"].as_array().unwrap().iter().map(|node| node["pid"].as_u64().unwrap()).collect();
    assert_eq!(demo.interrupt().await, Some(0), "{}", demo.said());
    for pid in pids {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "process {pid} is still there");
    }

    drop(demo);
    let mut demo = Demo::start(home.path());
    let again = demo.ready().await;
    assert_eq!(ids(&again), ids(&ready));
    for member in ["slug", "issuer", "username", "password", "client_id", "client_secret"] {
        assert_eq!(texts(&again["tenants"], member), texts(&ready["tenants"], member), "{member}");
    }
    tokens_everywhere(&again).await;
    assert_eq!(demo.interrupt().await, Some(0), "{}", demo.said());
}

/// The members of the file, as its readers know them.
fn says_what_programs_rely_on(ready: &Value) {
    let nodes = ready["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 9);
    for node in nodes {
        assert!(node["id"].is_u64() && node["pid"].is_u64(), "{node}");
        for member in ["region", "zone", "public_url", "admin_url", "management_url", "data_dir", "log_file"]
        {
            assert!(node[member].is_string(), "{member}: {node}");
        }
        assert!(Path::new(node["data_dir"].as_str().unwrap()).is_dir(), "{node}");
        assert!(Path::new(node["log_file"].as_str().unwrap()).is_file(), "{node}");
    }
    let regions = ["ap-south", "eu-central", "us-east"].map(str::to_owned);
    assert_eq!(texts(&ready["nodes"], "region"), BTreeSet::from(regions));
    for region in ["ap-south", "eu-central", "us-east"] {
        let zones: BTreeSet<&str> = nodes
            .iter()
            .filter(|node| node["region"] == region)
            .map(|node| node["zone"].as_str().unwrap())
            .collect();
        assert_eq!(zones.len(), 3, "{region} has its nodes in three zones");
    }
    let tenants = ready["tenants"].as_array().unwrap();
    assert!(tenants.len() >= 4, "one for each region and a global one: {tenants:?}");
    for tenant in tenants {
        assert!(tenant["partition"].is_u64(), "{tenant}");
        assert!(tenant.get("placement").is_some_and(|placement| !placement.is_null()), "{tenant}");
        for member in ["slug", "issuer", "username", "password", "client_id", "client_secret"] {
            assert!(tenant[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {tenant}");
        }
    }
    assert!(ready["admin_token"].as_str().is_some_and(|token| !token.is_empty()));
}

fn the_table_names_every_node(said: &str, ready: &Value) {
    for node in ready["nodes"].as_array().unwrap() {
        let url = node["public_url"].as_str().unwrap();
        assert!(said.lines().any(|line| line.contains(url)), "{url} is not in\n{said}");
    }
}

/// The partition of a tenant that is pinned to a region has its voters in three zones there.
async fn tenants_are_where_they_are_said_to_be(ready: &Value) {
    let http = reqwest::Client::new();
    let admin = ready["nodes"][0]["admin_url"].as_str().unwrap();
    let token = ready["admin_token"].as_str().unwrap();
    let cluster = http.get(format!("{admin}/v1/cluster")).bearer_auth(token).send().await.unwrap();
    let cluster: Value = cluster.json().await.unwrap();
    let nodes = ready["nodes"].as_array().unwrap();
    let region_of = |id: &Value| nodes.iter().find(|node| node["id"] == *id).unwrap()["region"].clone();
    let mut pinned = BTreeSet::new();
    for tenant in ready["tenants"].as_array().unwrap() {
        let partitions = cluster["partitions"].as_array().unwrap();
        let home = partitions.iter().find(|one| one["id"] == tenant["partition"]).unwrap();
        let voters = home["voters"].as_array().unwrap();
        assert!(voters.len() >= 3, "{home}");
        let regions: BTreeSet<String> =
            voters.iter().map(|id| region_of(id).as_str().unwrap().to_owned()).collect();
        let said = tenant["placement"].to_string();
        if said.contains("any") {
            assert!(regions.len() >= 3, "{tenant} {home}");
        } else {
            assert_eq!(regions.len(), 1, "{tenant} {home}");
            let region = regions.first().unwrap();
            assert!(said.contains(region.as_str()), "{tenant} {home}");
            pinned.insert(region.clone());
        }
    }
    assert_eq!(pinned.len(), 3, "a tenant is pinned to each region");
    tokens_everywhere(ready).await;
}

/// Every node serves every tenant under its one issuer.
async fn tokens_everywhere(ready: &Value) {
    let http = reqwest::Client::new();
    for tenant in ready["tenants"].as_array().unwrap() {
        let issuer = tenant["issuer"].as_str().unwrap();
        let path = url::Url::parse(issuer).unwrap().path().to_owned();
        for node in ready["nodes"].as_array().unwrap() {
            let base = format!("{}{path}", node["public_url"].as_str().unwrap());
            let found: Value = answer(http.get(format!("{base}/.well-known/openid-configuration"))).await;
            assert_eq!(found["issuer"], issuer);
            let (id, secret) = (tenant["client_id"].as_str().unwrap(), tenant["client_secret"].as_str());
            // The home answers whom it knows; what it gives and refuses is for other tests.
            let asked = http.post(format!("{base}/oauth2/introspect")).basic_auth(id, secret);
            let shown: Value = answer(asked.form(&[("token", "nothing")])).await;
            assert_eq!(shown, serde_json::json!({"active": false}), "{base}");
        }
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Value {
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.url());
    answer.json().await.unwrap()
}
