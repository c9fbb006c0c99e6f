//! The last reads, after everything was healed: the whole log at every node, and who has which name.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::Method;
use serde_json::Value;

use super::claims;
use super::everywhere::everywhere;
use super::ground::Ground;
use crate::check::APPLIED;
use crate::cluster::AdminRequest;
use crate::history::{Call, Class, Outcome, Refusal, Reply};

/// The one log of the tenant.
const LOG: u64 = 1;
const PAGE: &str = "page_size=200";
/// How long a page may be asked for.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long the logs of all nodes may take.
const LOGS_MAX: Duration = Duration::from_mins(5);
const CHANGED: &str = "user.profile.changed";

/// Reads the log, all users and all clients at every node that serves the tenant, at several at once.
///
/// # Errors
/// A node does not answer, though nothing is wrong any more.
pub async fn final_reads(ground: &Ground) -> anyhow::Result<()> {
    let doors = &ground.tenant.doors;
    let reading = everywhere(doors, |node| log(ground, node, Some(PATIENCE)));
    let read = tokio::time::timeout(LOGS_MAX, reading).await;
    let whole = read.with_context(|| format!("not all logs are read after {} s", LOGS_MAX.as_secs()))?;
    if let Some((node, _)) = doors.iter().zip(whole).find(|(_, whole)| !whole) {
        anyhow::bail!("n{} does not give its log", node + 1);
    }
    owners(ground).await.context("users or clients cannot be listed")
}

/// One reading of the whole log; pages are asked for again as long as there is patience. `false` if it did
/// not go well.
pub(super) async fn log(ground: &Ground, node: usize, patience: Option<Duration>) -> bool {
    let name = &ground.cluster.nodes[node].name;
    let invoke = |call| ground.journal.invoke(ground.fresh(), name, Some(Class::Strong), call);
    let (whole, applied) = (invoke(Call::Log { log: LOG }), invoke(Call::Members { set: APPLIED }));
    let (mut entries, mut values) = (Vec::new(), Vec::new());
    let events = match pages(ground, node, "/events", patience).await {
        Ok(events) => events,
        Err(why) => {
            let lost = || Outcome::Fail(Refusal::Other(why.to_string()));
            ground.journal.complete(whole, lost());
            ground.journal.complete(applied, lost());
            return false;
        }
    };
    for event in events {
        let text = |name: &str| event.get(name).map(Value::to_string).unwrap_or_default();
        let mark =
            [text("type"), text("stream"), text("revision"), text("request_id"), text("data")].join(" ");
        entries.push((event["sequence"].as_u64().unwrap_or_default(), ground.number_of(&mark)));
        if event["type"] == CHANGED {
            values.extend(event.get("data").and_then(written));
        }
    }
    ground.journal.complete(whole, Outcome::Ok(Reply::Entries(entries)));
    ground.journal.complete(applied, Outcome::Ok(Reply::Members(values)));
    true
}

/// All users, as the last node that serves the tenant lists them.
///
/// # Errors
/// It does not answer, though nothing is wrong any more.
pub async fn users(ground: &Ground) -> anyhow::Result<Vec<Value>> {
    let node = ground.tenant.doors.last().copied().unwrap_or(0);
    pages(ground, node, "/users", Some(PATIENCE)).await
}

/// Asks every node that serves the tenant who has which name.
async fn owners(ground: &Ground) -> anyhow::Result<()> {
    let history = ground.journal.so_far();
    let claimed = history
        .operations
        .iter()
        .filter_map(|one| if let Call::Claim { name, .. } = one.call { Some(name) } else { None });
    let names: BTreeSet<u64> = claimed.collect();
    let doors = &ground.tenant.doors;
    let read = everywhere(doors, |node| owners_at(ground, node, &names)).await;
    read.into_iter().collect()
}

async fn owners_at(ground: &Ground, node: usize, names: &BTreeSet<u64>) -> anyhow::Result<()> {
    let at = &ground.cluster.nodes[node].name;
    let invoke =
        |name: u64| ground.journal.invoke(ground.fresh(), at, Some(Class::Strong), Call::Owner { name });
    let tickets: Vec<_> = names.iter().map(|name| (*name, invoke(*name))).collect();
    let users = pages(ground, node, "/users", Some(PATIENCE)).await?;
    let clients = pages(ground, node, "/clients", Some(PATIENCE)).await?;
    let owners = claims::owners(&users, &clients);
    for (name, ticket) in tickets {
        let (first, others) = match owners.get(&name).and_then(|all| all.split_first()) {
            Some((first, others)) => (Some(*first), others),
            None => (None, &[][..]),
        };
        ground.journal.complete(ticket, Outcome::Ok(Reply::Value(first)));
        // Each row is an answer: two owners are none that one order explains.
        for other in others {
            ground.journal.complete(invoke(name), Outcome::Ok(Reply::Value(Some(*other))));
            if Some(*other) == first {
                ground.odd(format!("{at} lists name {name} of {other} twice"));
            }
        }
    }
    Ok(())
}

/// A consistency token of now: a replica that has it has everything that was answered before.
pub(super) async fn token(ground: &Ground) -> Option<String> {
    token_of(ground, 0).await
}

/// The same by a write through this node.
pub(super) async fn token_of(ground: &Ground, node: usize) -> Option<String> {
    let path = ground.tenant.path("/users");
    let body = serde_json::json!({ "username": format!("token-{}", ground.fresh()) });
    let request =
        AdminRequest { method: Method::POST, path: &path, key: None, consistency: None, body: Some(&body) };
    let answer = ground.cluster.admin(&ground.http, node, request).await.ok()?;
    answer.header("domicile-consistency").map(str::to_owned)
}

/// The value that a change wrote, wherever it stands in the event.
fn written(data: &Value) -> Option<u64> {
    match data {
        Value::String(text) => text.strip_prefix('v')?.parse().ok(),
        Value::Array(items) => items.iter().find_map(written),
        Value::Object(members) => members.values().find_map(written),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// All items of a list.
async fn pages(
    ground: &Ground,
    node: usize,
    rest: &str,
    patience: Option<Duration>,
) -> anyhow::Result<Vec<Value>> {
    let (mut items, mut more) = (Vec::new(), String::new());
    loop {
        let path = ground.tenant.path(&format!("{rest}?{PAGE}{more}"));
        let page = match patience {
            Some(patience) => persist(ground, node, &path, patience).await?,
            None => page(ground, node, &path).await.with_context(|| format!("no answer to {path}"))?,
        };
        items.extend(page.get("items").and_then(Value::as_array).cloned().unwrap_or_default());
        match page.get("next_page_token").and_then(Value::as_str) {
            Some(next) => more = format!("&page_token={next}"),
            None => return Ok(items),
        }
    }
}

async fn page(ground: &Ground, node: usize, path: &str) -> Option<Value> {
    let request = AdminRequest { method: Method::GET, path, key: None, consistency: None, body: None };
    let answer = ground.cluster.admin(&ground.http, node, request).await.ok()?;
    answer.is_success().then(|| answer.json())
}

async fn persist(ground: &Ground, node: usize, path: &str, patience: Duration) -> anyhow::Result<Value> {
    let asking = async {
        loop {
            if let Some(page) = page(ground, node, path).await {
                return page;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(patience, asking).await.with_context(|| format!("no answer to {path}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_written_value_is_found_wherever_it_stands() {
        assert_eq!(written(&json!({"claims": {"name": {"set": "v17"}}, "other": 1})), Some(17));
        assert_eq!(written(&json!({"name": "ada", "sealed": true})), None);
    }
}
