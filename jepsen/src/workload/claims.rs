//! Names that one may have: several clients want the same one at about the same time, through different nodes. Login names
//! of users and ids of clients take turns.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::Method;
use serde_json::{Value, json};

use super::registers;
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
        let (path, body) = wanted(name, by);
        let ticket = worker.invoke(node, None, Call::Claim { name, by });
        let answer = worker.admin(node, Method::POST, path, None, None, Some(&body)).await;
        let outcome = worker.outcome(answer, &[409], |_| Some(Reply::Done));
        let again = matches!(outcome, Outcome::Fail(_));
        worker.complete(ticket, outcome);
        if again && worker.ground.is_closed() {
            return;
        }
    }
}

/// Where the name of a number is claimed, and how.
fn wanted(name: u64, by: u64) -> (&'static str, Value) {
    let by = format!("v{by}");
    if name % 2 == 1 {
        return ("/users", json!({ "username": format!("name-{name}"), "name": by }));
    }
    let uris = ["https://claims.example/cb"];
    ("/clients", json!({ "client_id": format!("client-{name}"), "client_name": by, "redirect_uris": uris }))
}

/// Who has which name, by lists of users and of clients. One that is there twice has two.
pub(super) fn owners(users: &[Value], clients: &[Value]) -> BTreeMap<u64, Vec<u64>> {
    let of = |row: &Value, member: &str, prefix: &str, by: &str| -> Option<(u64, u64)> {
        let number = row.get(member)?.as_str()?.strip_prefix(prefix)?.parse().ok()?;
        Some((number, registers::number(row.get(by)?)?))
    };
    let users = users.iter().filter_map(|row| of(row, "username", "name-", "name"));
    let clients = clients.iter().filter_map(|row| of(row, "client_id", "client-", "client_name"));
    let mut out: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (name, by) in users.chain(clients) {
        out.entry(name).or_default().push(by);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_claimed_is_found_in_the_lists_and_twice_if_two_have_it() {
        let (users, user) = wanted(3, 17);
        let (clients, client) = wanted(4, 18);
        assert_eq!((users, clients), ("/users", "/clients"));
        let other = wanted(3, 19).1;
        let found = owners(&[user.clone(), json!({"username": "ada"}), other], &[client]);
        assert_eq!(found, [(3, vec![17, 19]), (4, vec![18])].into());
        assert_eq!(owners(&[user], &[]), [(3, vec![17])].into());
    }
}
