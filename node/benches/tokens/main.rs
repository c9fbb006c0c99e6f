//! Every grant, introspection, userinfo, revocation and the key set, beside a bare handler with the same
//! cryptography (docs/performance.md).
//!
//!     cargo bench -p domicile --bench tokens [-- refresh] [-- --quick]
//!
//! With words, only the paths whose name holds one. `--quick` only shows that every path works: a turn is
//! short, and its figures say nothing. All signatures are ES256, so that the bare handler's are the same.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a benchmark stops at the first surprise"
)]
#![allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]

mod assertion;
mod bare;
mod browser;
mod delegation;
#[path = "../first_node/load.rs"]
#[allow(dead_code, reason = "its closed loop has no use here")]
mod http;
mod load;
mod node;
mod paths;
#[path = "../first_node/process.rs"]
#[allow(dead_code, reason = "only CPU is looked at")]
mod process;

use std::time::Duration;

use domicile_raft::SystemClock;

use http::Request;
use load::Load;
use node::{Bare, Node};
use paths::Measured;

/// How long and how often each side is asked.
struct Plan {
    connections: &'static [usize],
    turns: usize,
    turn: Duration,
}

const FULL: Plan = Plan { connections: &[1, 32], turns: 3, turn: Duration::from_secs(3) };
const QUICK: Plan = Plan { connections: &[1, 4], turns: 1, turn: Duration::from_millis(200) };

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|first| first == "--bare") {
        bare::serve(&arguments[2]);
        return;
    }
    let plan = if arguments.iter().any(|argument| argument == "--quick") { QUICK } else { FULL };
    // Cargo adds `--bench`.
    let words: Vec<&String> = arguments.iter().skip(1).filter(|word| !word.starts_with("--")).collect();
    let home = tempfile::tempdir().unwrap();
    let node = Node::start(home.path());
    let bare = Bare::start(home.path());
    println!(
        "\n{:<28}{:>5}{:>10}{:>10}{:>7}{:>10}{:>10}{:>9}{:>9}",
        "path", "conns", "node/s", "bare/s", "ratio", "node us", "bare us", "p50 ms", "p99 ms"
    );
    for path in paths::all(&node) {
        if words.is_empty() || words.iter().any(|word| path.name.contains(word.as_str())) {
            compare(&plan, &node, &bare, &path);
        }
    }
}

struct Figures {
    per_second: f64,
    cpu_us: f64,
    load: Load,
}

fn figures(pid: u32, measure: impl FnOnce() -> Load) -> Figures {
    let before = process::cpu(pid);
    let load = measure();
    let requests = load.latencies_us.len().max(1) as f64;
    let cpu_us = process::cpu(pid).saturating_sub(before).as_micros() as f64 / requests;
    Figures { per_second: requests / load.elapsed.as_secs_f64(), cpu_us, load }
}

fn median(mut figures: Vec<Figures>) -> Figures {
    figures.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    figures.swap_remove(figures.len() / 2)
}

fn compare(plan: &Plan, node: &Node, bare: &Bare, path: &Measured<'_>) {
    let clock = SystemClock::new();
    bare.set(path.name, &path.same);
    let same = Request::put(&format!("/do/{}", path.name.replace(' ', "-")), &bare.address, &path.sent);
    for &connections in plan.connections {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..plan.turns {
            // What a turn uses up is made before it.
            let loops = (path.loops)(connections);
            ours.push(figures(node.pid(), || load::run(&clock, &node.address, plan.turn, loops)));
            let loops = (0..connections)
                .map(|_| -> load::Next<'_> { Box::new(|_: &[u8]| Some(same.clone())) })
                .collect();
            theirs.push(figures(bare.pid(), || load::run(&clock, &bare.address, plan.turn, loops)));
        }
        let (ours, theirs) = (median(ours), median(theirs));
        println!(
            "{:<28}{connections:>5}{:>10.0}{:>10.0}{:>6.0}%{:>10.1}{:>10.1}{:>9.2}{:>9.2}",
            path.name,
            ours.per_second,
            theirs.per_second,
            100.0 * ours.per_second / theirs.per_second,
            ours.cpu_us,
            theirs.cpu_us,
            ours.load.latencies_us.value_at_quantile(0.5) as f64 / 1_000.0,
            ours.load.latencies_us.value_at_quantile(0.99) as f64 / 1_000.0,
        );
    }
}
