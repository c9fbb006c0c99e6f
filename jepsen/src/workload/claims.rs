//! Login names: several clients want the same one at about the same time, through different nodes.

use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::Method;
use serde_json::json;

use super::worker::Worker;
use crate::history::{Call, Outcome, Reply};

/// Claims of each name.
const EACH: u64 = 3;
/// Of all clients; their names differ from run to run anyway.
static TURN: AtomicU64 = AtomicU64::new(0);

pub(super) async fn work(mut worker: Worker) {
    while worker.goes_on().await {
        let name = TURN.fetch_add(1, Ordering::Relaxed) / EACH + 1;
        let (by, node) = (worker.ground.fresh(), worker.node());
        let body = json!({ "username": login_name(name), "name": format!("v{by}") });
        let ticket = worker.invoke(node, None, Call::Claim { name, by });
        let answer = worker.admin(node, Method::POST, "/users", None, None, Some(&body)).await;
        let outcome = worker.outcome(answer, &[409], |_| Some(Reply::Done));
        let again = matches!(outcome, Outcome::Fail(_));
        worker.complete(ticket, outcome);
        if again && worker.ground.is_closed() {
            return;
        }
    }
}

/// The login name of a number.
pub(super) fn login_name(name: u64) -> String {
    format!("name-{name}")
}

/// The number of a login name.
pub(super) fn number(login_name: &str) -> Option<u64> {
    login_name.strip_prefix("name-")?.parse().ok()
}
