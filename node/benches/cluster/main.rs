//! Three nodes on this machine against etcd, in one run (docs/performance.md).
//!
//!     cargo bench -p domicile --bench cluster [-- SECTION... [--quick]]
//!
//! Sections: `writes`, `reads`, `failover`, `wide`, `idle`; all without one. The real binary (`domicile
//! demo`), etcd from the path with TLS between its members, and between them a cluster of our groups
//! without users (`kv`), which does what an etcd put does. All take the same closed-loop load in turn.
//! Tables are those of the page. `--quick` is for trying it: shorter and fewer turns.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "a benchmark stops at the first surprise"
)]
#![allow(clippy::expect_used, reason = "a benchmark stops at the first surprise")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts far below 2^52"
)]

mod demo;
mod etcd;
mod failover;
mod http1;
mod http2;
mod idle;
mod kv;
mod kv_server;
mod load;
#[path = "../../tests/oidc_support/mod.rs"]
mod oidc_support;
#[path = "../first_node/process.rs"]
mod proc;
mod process;
mod reads;
mod resources;
mod tenant;
mod wide;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use domicile_raft::SystemClock;

/// Bytes of a value that is put.
const VALUE_BYTES: usize = 512;
/// How many keys are put again and again.
const KEYS: u64 = 1_000;
/// How long anything may take until it is as it should be.
const WAIT_MAX: Duration = Duration::from_mins(4);
const LOOK: Duration = Duration::from_millis(50);

/// How much of everything.
#[derive(Clone)]
struct Sizes {
    clock: Arc<SystemClock>,
    turn: Duration,
    turns: usize,
    kills: usize,
    /// Samples of each operation over a wide area.
    samples: usize,
    idle: Duration,
}

impl Sizes {
    fn new(quick: bool) -> Self {
        let clock = Arc::new(SystemClock::new());
        let second = Duration::from_secs(1);
        if quick {
            Self { clock, turn: second, turns: 1, kills: 3, samples: 5, idle: 5 * second }
        } else {
            Self { clock, turn: 2 * second, turns: 3, kills: 30, samples: 40, idle: 10 * second }
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("--kv", [id, root, address, peers @ ..])) =
        arguments.split_first().map(|(first, rest)| (first.as_str(), rest))
    {
        return kv_server::serve(id.parse().unwrap(), root.as_ref(), address, peers);
    }
    // Cargo adds `--bench`.
    let sections: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|argument| !argument.starts_with("--")).collect();
    let sizes = Sizes::new(arguments.iter().any(|argument| argument == "--quick"));
    let wanted = |name: &str| sections.is_empty() || sections.contains(&name);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap();
        println!("load average before: {}", load.trim());
        println!("{}", etcd::version().expect("etcd is on the path"));
        if wanted("writes") || wanted("reads") {
            writes::run(&sizes, wanted("writes"), wanted("reads")).await;
        }
        if wanted("failover") {
            failover::run(&sizes).await;
        }
        if wanted("wide") {
            wide::run(&sizes).await;
        }
        if wanted("idle") {
            idle::run(&sizes).await;
        }
    });
}

/// What `look` finds, once it finds something.
async fn wait_for<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(WAIT_MAX, waiting).await.unwrap_or_else(|_| panic!("never: {what}"))
}
