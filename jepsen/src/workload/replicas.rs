//! When all is quiet: every node's log has one chain of hashes, which the program's own `audit verify`
//! accepts, and what replicas list at one applied index is the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use reqwest::Method;
use serde_json::Value;

use super::ends;
use super::ground::Ground;
use crate::cluster::AdminRequest;

const TRIES: u32 = 20;
const REST: Duration = Duration::from_millis(300);
const LISTS: [&str; 4] = ["/users", "/clients", "/keys", "/initial-access-tokens"];

/// What comparing replicas came to.
#[derive(Debug, Default)]
pub struct Compared {
    /// How many exports and lists were compared.
    pub looked_at: u64,
    /// What differs.
    pub differs: Vec<String>,
    /// What could not be read.
    pub unreadable: Vec<String>,
}

/// Compares all nodes. Exports are left in `dir`.
pub async fn compare(ground: &Ground, dir: &Path) -> Compared {
    let mut out = Compared::default();
    chains(ground, dir, &mut out).await;
    digests(ground, &mut out).await;
    out
}

async fn chains(ground: &Ground, dir: &Path, out: &mut Compared) {
    let mut known: BTreeMap<u64, (String, String)> = BTreeMap::new();
    for (turn, node) in ground.cluster.nodes.iter().enumerate() {
        let Some(export) = get(ground, turn, "/events/export", None).await else {
            out.unreadable.push(format!("{} gives no export of its log", node.name));
            continue;
        };
        let path = dir.join(format!("export-{}.jsonl", node.name));
        if let Err(why) = std::fs::write(&path, &export) {
            out.unreadable.push(format!("{}: {why}", path.display()));
            continue;
        }
        out.looked_at += 1;
        let file = path.display().to_string();
        if let Err(why) = ground.cluster.processes.run(turn, &["audit", "verify", &file], None).await {
            out.differs.push(format!("the log of {} does not hold: {why:#}", node.name));
        }
        for (sequence, hash) in export.lines().filter_map(link) {
            let (by, first) = known.entry(sequence).or_insert_with(|| (node.name.clone(), hash.clone()));
            if *first != hash {
                out.differs.push(format!("event {sequence} has another hash on {} than on {by}", node.name));
                break;
            }
        }
    }
}

/// Number and hash of an event's line.
fn link(line: &str) -> Option<(u64, String)> {
    let event: Value = serde_json::from_str(line).ok()?;
    let event = event.get("event")?;
    Some((event.get("sequence")?.as_u64()?, event.get("hash")?.as_str()?.to_owned()))
}

/// Applied index of each node's replica, if all are known and alike.
async fn applied(ground: &Ground) -> Option<u64> {
    let view = ground.cluster.view(0).await?;
    let found = view.partition(ground.tenant.partition)?;
    (found.caught_up && found.broken.is_empty()).then_some(found.applied)
}

async fn digests(ground: &Ground, out: &mut Compared) {
    let mut last = Vec::new();
    let Some(token) = ends::token(ground).await else {
        out.unreadable.push("no write goes well when all is quiet".to_owned());
        return;
    };
    for _ in 0..TRIES {
        if let Some(before) = applied(ground).await {
            let Some(found) = all(ground, before, &token).await else { continue };
            // What was written meanwhile would be a difference of time, not of replicas.
            if applied(ground).await == Some(before) {
                out.looked_at += found.len() as u64;
                last = differences(ground, &found, before);
                if last.is_empty() {
                    return;
                }
            }
        }
        tokio::time::sleep(REST).await;
    }
    if last.is_empty() {
        out.unreadable.push("the replicas did not come to one applied index".to_owned());
    }
    out.differs.extend(last);
}

/// Digest of each list at each node, read at its replica.
async fn all(ground: &Ground, index: u64, token: &str) -> Option<Vec<(usize, &'static str, Vec<u8>)>> {
    let mut out = Vec::new();
    for turn in 0..ground.cluster.nodes.len() {
        for list in LISTS {
            let mut hashed = index.to_be_bytes().to_vec();
            let mut more = String::new();
            loop {
                let text = get(ground, turn, &format!("{list}?page_size=200{more}"), Some(token)).await?;
                let page: Value = serde_json::from_str(&text).ok()?;
                hashed.extend(page.get("items")?.to_string().into_bytes());
                match page.get("next_page_token").and_then(Value::as_str) {
                    Some(next) => more = format!("&page_token={next}"),
                    None => break,
                }
            }
            out.push((turn, list, digest(&SHA256, &hashed).as_ref().to_vec()));
        }
    }
    Some(out)
}

fn differences(ground: &Ground, found: &[(usize, &'static str, Vec<u8>)], index: u64) -> Vec<String> {
    let mut first: BTreeMap<&str, (usize, &[u8])> = BTreeMap::new();
    let mut out = Vec::new();
    let name = |turn: usize| ground.cluster.nodes.get(turn).map(|node| node.name.clone()).unwrap_or_default();
    for (turn, list, hash) in found {
        let (by, known) = *first.entry(list).or_insert((*turn, hash));
        if known != hash.as_slice() {
            out.push(format!(
                "{} lists other {list} than {} at applied index {index}",
                name(*turn),
                name(by)
            ));
        }
    }
    out
}

async fn get(ground: &Ground, turn: usize, rest: &str, consistency: Option<&str>) -> Option<String> {
    let path = ground.tenant.path(rest);
    for _ in 0..TRIES {
        let request = AdminRequest { method: Method::GET, path: &path, key: None, consistency, body: None };
        let answer = ground.cluster.admin(&ground.http, turn, request).await;
        if let Some(answer) = answer.ok().filter(crate::client::Answer::is_success) {
            return Some(answer.text);
        }
        tokio::time::sleep(REST).await;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_an_export_has_a_number_and_a_hash() {
        let line = r#"{"event":{"sequence":7,"stored":"aa","hash":"bb"}}"#;
        assert_eq!(link(line), Some((7, "bb".to_owned())));
        assert_eq!(link(r#"{"footer":{"checkpoint":""}}"#), None);
    }
}
