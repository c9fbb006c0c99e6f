//! Nodes that come and go, on real processes: restarts in turn, crashes, voters that are gone for good or sent
//! away, disks that lost something, a clock that is wrong.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "real processes are waited for in real time"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

#[path = "../cluster_guest/mod.rs"]
mod cluster_guest;
#[path = "../cluster_load/mod.rs"]
mod cluster_load;
#[path = "../cluster_support/mod.rs"]
mod cluster_support;
#[path = "../oidc_support/mod.rs"]
mod oidc_support;

mod clocks;
mod come_and_go;
mod ipv6;
mod replaced;
mod taken_back;

use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

/// One cluster at a time: each is as many processes as the machine can run.
async fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::const_new(());
    ONE.lock().await
}

/// Three voters in three zones.
fn zones() -> Value {
    json!({"regions": ["eu-central"], "survive": "zone"})
}
