//! The last reads, after everything was healed: the whole log at every node, and who has which name.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::Method;
use serde_json::Value;

use super::ground::Ground;
use super::{claims, registers};
use crate::check::APPLIED;
use crate::cluster::AdminRequest;
use crate::history::{Call, Class, Outcome, Reply};

/// The one log of the tenant.
const LOG: u64 = 1;
const PAGE: &str = "page_size=200";
/// How long a page may be asked for.
const PATIENCE: Duration = Duration::from_mins(1);
const CHANGED: &str = "user.profile.changed";

/// Reads the log at every node and all users at one.
///
/// # Errors
/// A node does not answer, though nothing is wrong any more.
pub async fn final_reads(ground: &Ground) -> anyhow::Result<()> {
    for node in 0..ground.cluster.nodes.len() {
        log(ground, node).await.with_context(|| format!("n{} does not give its log", node + 1))?;
    }
    owners(ground).await.context("the users cannot be listed")
}

async fn log(ground: &Ground, node: usize) -> anyhow::Result<()> {
    let name = &ground.cluster.nodes[node].name;
    let invoke = |call| ground.journal.invoke(ground.fresh(), name, Some(Class::Strong), call);
    let (whole, applied) = (invoke(Call::Log { log: LOG }), invoke(Call::Members { set: APPLIED }));
    let (mut entries, mut values) = (Vec::new(), Vec::new());
    for event in pages(ground, node, "/events").await? {
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
    Ok(())
}

async fn owners(ground: &Ground) -> anyhow::Result<()> {
    let node = &ground.cluster.nodes[0].name;
    let history = ground.journal.history()?;
    let claimed = history
        .operations
        .iter()
        .filter_map(|one| if let Call::Claim { name, .. } = one.call { Some(name) } else { None });
    let names: std::collections::BTreeSet<u64> = claimed.collect();
    let invoke = |name: &u64| {
        let call = Call::Owner { name: *name };
        (*name, ground.journal.invoke(ground.fresh(), node, Some(Class::Strong), call))
    };
    let tickets: Vec<_> = names.iter().map(invoke).collect();
    let owner = |user: &Value| {
        let name = claims::number(user.get("username")?.as_str()?)?;
        Some((name, registers::value(user)?))
    };
    let users = pages(ground, 0, "/users").await?;
    let owners: std::collections::BTreeMap<u64, u64> = users.iter().filter_map(owner).collect();
    for (name, ticket) in tickets {
        ground.journal.complete(ticket, Outcome::Ok(Reply::Value(owners.get(&name).copied())));
    }
    Ok(())
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
async fn pages(ground: &Ground, node: usize, rest: &str) -> anyhow::Result<Vec<Value>> {
    let (mut items, mut more) = (Vec::new(), String::new());
    loop {
        let page = page(ground, node, &format!("{rest}?{PAGE}{more}")).await?;
        items.extend(page.get("items").and_then(Value::as_array).cloned().unwrap_or_default());
        match page.get("next_page_token").and_then(Value::as_str) {
            Some(next) => more = format!("&page_token={next}"),
            None => return Ok(items),
        }
    }
}

async fn page(ground: &Ground, node: usize, rest: &str) -> anyhow::Result<Value> {
    let path = ground.tenant.path(rest);
    let asking = async {
        loop {
            let request =
                AdminRequest { method: Method::GET, path: &path, key: None, consistency: None, body: None };
            let answer = ground.cluster.admin(&ground.http, node, request).await;
            if let Some(answer) = answer.ok().filter(crate::client::Answer::is_success) {
                return answer.json();
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.with_context(|| format!("no answer to {path}"))
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
