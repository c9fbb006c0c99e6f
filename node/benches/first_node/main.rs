//! The first node against the machine's limits, in one run, as ratios (docs/performance.md).
//!
//!     cargo bench -p domicile --bench first_node [-- JWKS]
//!
//! With a word, only the paths whose name holds it, and no writes.
//! Starts the real binary and, for each path, a bare axum handler that sends the same bytes or makes
//! the same signature. Both take the same closed-loop load, in turn; three turns each, medians.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a benchmark stops at the first surprise")]
#![allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]

mod bare;
mod load;
mod process;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use domicile_raft::{Clock, SystemClock};
use load::{Load, Request};
use serde_json::{Value, json};

const CONNECTIONS: &[usize] = &[1, 32];
const TURNS: usize = 3;
const TURN: Duration = Duration::from_secs(3);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|first| first == "--bare") {
        bare::serve(&arguments[2]);
        return;
    }
    // Cargo adds `--bench`.
    let only = arguments.into_iter().skip(1).find(|argument| !argument.starts_with("--"));
    let wanted = |name: &str| only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let clock = SystemClock::new();
    let home = tempfile::tempdir().unwrap();
    let (node, ready) = start_up(&clock, home.path());
    let origin = ready["public_url"].as_str().unwrap().to_owned();
    println!("\nresident memory idle: {:.1} MiB", process::resident_mib(node.0.id()));
    let bare = Bare::start(home.path());
    let issuer_path = ready["issuer"].as_str().unwrap().strip_prefix(&origin).unwrap().to_owned();
    let address = origin.strip_prefix("http://").unwrap().to_owned();

    println!(
        "\n{:<28}{:>5}{:>11}{:>11}{:>8}{:>11}{:>11}{:>9}{:>9}",
        "path", "conns", "node/s", "bare/s", "ratio", "node us", "bare us", "p50 ms", "p99 ms"
    );
    let jwks = Request::get(&format!("{issuer_path}/oauth2/jwks"), &address);
    let body = load::once(&address, &jwks);
    bare.set("/jwks", &body);
    if wanted("JWKS") {
        let same = Request::get("/jwks", &bare.address);
        compare("JWKS", &clock, (&address, node.0.id(), &jwks), &bare, &same);
    }
    for algorithm in ["EdDSA", "ES256", "RS256"] {
        let name = format!("client_credentials {algorithm}");
        if !wanted(&name) {
            continue;
        }
        let (id, secret) = register(&ready, algorithm);
        let path = format!("{issuer_path}/oauth2/token");
        let form = "grant_type=client_credentials";
        let token = Request::form(&path, &address, form, &id, &secret);
        let answer: Value = serde_json::from_slice(&load::once(&address, &token)).unwrap();
        let jwt = answer["access_token"].as_str().unwrap();
        bare.set(&format!("/token/{algorithm}"), jwt.rsplit_once('.').unwrap().0.as_bytes());
        let same = Request::form(&format!("/token/{algorithm}"), &bare.address, form, &id, &secret);
        compare(&name, &clock, (&address, node.0.id(), &token), &bare, &same);
    }
    println!("\nresident memory after load: {:.1} MiB", process::resident_mib(node.0.id()));
    if only.is_none() {
        writes(&clock, &ready, node.0.id());
    }
}

/// A child that ends with the benchmark.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// First and second start: time until the node answers.
fn start_up(clock: &SystemClock, home: &Path) -> (Running, Value) {
    let mut times = Vec::new();
    let mut last = None;
    for start in 0..6 {
        drop(last.take());
        let file = home.join(format!("ready-{start}.json"));
        let began = clock.monotonic();
        let child = Command::new(env!("CARGO_BIN_EXE_domicile"))
            .args(["dev", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(home.join("data"))
            .arg("--ready-file")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let running = Running(child);
        while !file.exists() {
            std::thread::yield_now();
        }
        times.push(clock.monotonic().saturating_sub(began).as_millis());
        last = Some((running, serde_json::from_slice(&fs::read(&file).unwrap()).unwrap()));
    }
    println!("start to serving: first {} ms, later (after kill -9) {:?} ms", times[0], &times[1..]);
    last.unwrap()
}

/// The bare handlers, in a process of their own.
struct Bare {
    child: Running,
    address: String,
}

impl Bare {
    fn start(home: &Path) -> Self {
        let file = home.join("bare-address");
        let child = Command::new(std::env::current_exe().unwrap()).arg("--bare").arg(&file).spawn().unwrap();
        let child = Running(child);
        let address = loop {
            match fs::read_to_string(&file) {
                Ok(address) if address.ends_with('\n') => break address.trim().to_owned(),
                Ok(_) | Err(_) => std::thread::yield_now(),
            }
        };
        Self { child, address }
    }

    fn set(&self, path: &str, body: &[u8]) {
        load::once(&self.address, &Request::put(path, &self.address, body));
    }
}

fn register(ready: &Value, algorithm: &str) -> (String, String) {
    let metadata = json!({
        "client_name": format!("bench {algorithm}"),
        "grant_types": ["client_credentials"],
        "response_types": [],
        "access_token_signed_response_alg": algorithm,
    });
    let created = admin(ready, "clients", &metadata);
    (created["client_id"].as_str().unwrap().to_owned(), created["client_secret"].as_str().unwrap().to_owned())
}

fn admin(ready: &Value, what: &str, body: &Value) -> Value {
    let request = admin_request(ready, what, body);
    let address = ready["admin_url"].as_str().unwrap().strip_prefix("http://").unwrap();
    serde_json::from_slice(&load::once(address, &request)).unwrap()
}

fn admin_request(ready: &Value, what: &str, body: &Value) -> Request {
    let address = ready["admin_url"].as_str().unwrap().strip_prefix("http://").unwrap();
    let path = format!("/v1/tenants/{}/{what}", ready["tenant"].as_str().unwrap());
    Request::json(&path, address, body, ready["admin_token"].as_str().unwrap())
}

struct Figures {
    per_second: f64,
    cpu_us: f64,
    load: Load,
}

fn turn(clock: &SystemClock, address: &str, pid: u32, request: &Request, connections: usize) -> Figures {
    let cpu = process::cpu(pid);
    let load = load::run(clock, address, connections, TURN, |_, _| request.clone());
    let requests = load.latencies_us.len() as f64;
    let cpu_us = process::cpu(pid).saturating_sub(cpu).as_micros() as f64 / requests;
    Figures { per_second: requests / load.elapsed.as_secs_f64(), cpu_us, load }
}

fn compare(name: &str, clock: &SystemClock, node: (&str, u32, &Request), bare: &Bare, same: &Request) {
    for &connections in CONNECTIONS {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            ours.push(turn(clock, node.0, node.1, node.2, connections));
            theirs.push(turn(clock, &bare.address, bare.child.0.id(), same, connections));
        }
        let (ours, theirs) = (median(ours), median(theirs));
        println!(
            "{name:<28}{connections:>5}{:>11.0}{:>11.0}{:>7.0}%{:>11.1}{:>11.1}{:>9.2}{:>9.2}",
            ours.per_second,
            theirs.per_second,
            100.0 * ours.per_second / theirs.per_second,
            ours.cpu_us,
            theirs.cpu_us,
            ours.load.quantile_ms(0.5),
            ours.load.quantile_ms(0.99),
        );
    }
}

fn median(mut figures: Vec<Figures>) -> Figures {
    figures.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    figures.swap_remove(TURNS / 2)
}

/// Durable writes over HTTP: clients registered through the admin API, each acknowledged after its sync.
fn writes(clock: &SystemClock, ready: &Value, pid: u32) {
    println!(
        "\n{:<28}{:>5}{:>11}{:>11}{:>9}{:>9}{:>13}",
        "durable write", "conns", "node/s", "node us", "p50 ms", "p99 ms", "KiB/write"
    );
    let address = ready["admin_url"].as_str().unwrap().strip_prefix("http://").unwrap();
    for connections in [1, 8, 64] {
        let (cpu, bytes) = (process::cpu(pid), process::bytes_written(pid));
        let load = load::run(clock, address, connections, TURN, |connection, round| {
            let name = format!("bench {connections} {connection} {round}");
            let body =
                json!({ "client_name": name, "grant_types": ["client_credentials"], "response_types": [] });
            admin_request(ready, "clients", &body)
        });
        let requests = load.latencies_us.len() as f64;
        println!(
            "{:<28}{connections:>5}{:>11.0}{:>11.1}{:>9.2}{:>9.2}{:>13.1}",
            "register a client",
            requests / load.elapsed.as_secs_f64(),
            process::cpu(pid).saturating_sub(cpu).as_micros() as f64 / requests,
            load.quantile_ms(0.5),
            load.quantile_ms(0.99),
            process::bytes_written(pid).saturating_sub(bytes) as f64 / 1024.0 / requests,
        );
    }
}
