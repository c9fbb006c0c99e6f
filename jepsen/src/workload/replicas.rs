//! When all is quiet: every node's log has one chain of hashes, which the program's own `audit verify`
//! accepts, and what replicas list at one applied index is the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use reqwest::Method;
use serde_json::Value;

use super::ends;
use super::everywhere::everywhere;
use super::ground::Ground;
use crate::client::Http;
use crate::cluster::{AdminRequest, RunError};

const TRIES: u32 = 20;
const REST: Duration = Duration::from_millis(300);
pub(super) const LISTS: [&str; 4] = ["/users", "/clients", "/keys", "/initial-access-tokens"];

/// What comparing replicas came to.
#[derive(Debug, Default)]
pub struct Compared {
    /// How many exports and lists were compared.
    pub looked_at: u64,
    /// What differs.
    pub differs: Vec<String>,
    /// What could not be read.
    pub unreadable: Vec<String>,
    /// What could not be compared, for reasons that are not the nodes'.
    pub broken: Vec<String>,
}

/// Compares all nodes that serve the tenant. Exports are left in `dir`.
pub async fn compare(ground: &Ground, dir: &Path) -> Compared {
    let mut out = Compared::default();
    chains(ground, dir, &mut out).await;
    digests(ground, &mut out).await;
    out
}

/// A node's log as it exports it.
pub(super) struct Chain<'a> {
    node: &'a str,
    /// Number and hash of each event.
    pub(super) links: Vec<(u64, String)>,
    /// Why the program's own check does not accept it.
    pub(super) broken: Option<String>,
}

async fn chains(ground: &Ground, dir: &Path, out: &mut Compared) {
    let exported = everywhere(&ground.tenant.doors, |turn| chain(ground, dir, turn)).await;
    let mut known: BTreeMap<u64, (&str, String)> = BTreeMap::new();
    for exported in exported {
        let Chain { node, links, broken } = match exported {
            Ok(chain) => chain,
            Err(NoChain::Unread(why)) => {
                out.unreadable.push(why);
                continue;
            }
            Err(NoChain::Unjudged(why)) => {
                out.broken.push(why);
                continue;
            }
        };
        out.looked_at += 1;
        out.differs.extend(broken);
        for (sequence, hash) in links {
            let (by, first) = known.entry(sequence).or_insert_with(|| (node, hash.clone()));
            if *first != hash {
                out.differs.push(format!("event {sequence} has another hash on {node} than on {by}"));
                break;
            }
        }
    }
}

/// Why there is none.
pub(super) enum NoChain {
    /// The node does not give it.
    Unread(String),
    /// Nobody could look at it.
    Unjudged(String),
}

/// The log of a node; its export is left in `dir`.
pub(super) async fn chain<'a>(ground: &'a Ground, dir: &Path, turn: usize) -> Result<Chain<'a>, NoChain> {
    let node = ground.cluster.nodes.get(turn).map(|node| node.name.as_str());
    let node = node.ok_or_else(|| NoChain::Unjudged(format!("there is no node {turn}")))?;
    let export = get(ground, &ground.patient, turn, "/events/export", None).await;
    let export = export.ok_or_else(|| NoChain::Unread(format!("{node} gives no export of its log")))?;
    let path = dir.join(format!("export-{node}.jsonl"));
    let written = std::fs::write(&path, &export);
    written.map_err(|why| NoChain::Unjudged(format!("{}: {why}", path.display())))?;
    let file = path.display().to_string();
    let broken = verified(ground.cluster.processes.run(turn, &["audit", "verify", &file], None).await)?;
    let broken = broken.map(|said| format!("the log of {node} does not hold: {said}"));
    Ok(Chain { node, links: export.lines().filter_map(link).collect(), broken })
}

/// What the program's own check says against a log, if it was made at all.
fn verified(ended: Result<(), RunError>) -> Result<Option<String>, NoChain> {
    match ended {
        Ok(()) => Ok(None),
        Err(refused @ RunError::Refused { .. }) => Ok(Some(refused.to_string())),
        Err(not_run @ RunError::NotRun { .. }) => Err(NoChain::Unjudged(not_run.to_string())),
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

/// Node, list and digest.
type Digest = (usize, &'static str, Vec<u8>);

/// Digest of each list at each node, read at its replica.
async fn all(ground: &Ground, index: u64, token: &str) -> Option<Vec<Digest>> {
    let lists = everywhere(&ground.tenant.doors, |turn| lists(ground, turn, index, token)).await;
    let lists: Option<Vec<Vec<Digest>>> = lists.into_iter().collect();
    Some(lists?.concat())
}

async fn lists(ground: &Ground, turn: usize, index: u64, token: &str) -> Option<Vec<Digest>> {
    let mut out = Vec::new();
    for list in LISTS {
        let items = items(ground, turn, list, token).await?;
        let hashed = [&index.to_be_bytes()[..], Value::from(items).to_string().as_bytes()].concat();
        out.push((turn, list, digest(&SHA256, &hashed).as_ref().to_vec()));
    }
    Some(out)
}

/// All items of a list, read at a node's replica once that has what the token stands for.
pub(super) async fn items(ground: &Ground, turn: usize, list: &str, token: &str) -> Option<Vec<Value>> {
    let (mut out, mut more) = (Vec::new(), String::new());
    loop {
        let path = format!("{list}?page_size=200{more}");
        let text = get(ground, &ground.http, turn, &path, Some(token)).await?;
        let page: Value = serde_json::from_str(&text).ok()?;
        out.extend(page.get("items")?.as_array()?.iter().cloned());
        match page.get("next_page_token").and_then(Value::as_str) {
            Some(next) => more = format!("&page_token={next}"),
            None => return Some(out),
        }
    }
}

fn differences(ground: &Ground, found: &[Digest], index: u64) -> Vec<String> {
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

async fn get(
    ground: &Ground,
    http: &Http,
    turn: usize,
    rest: &str,
    consistency: Option<&str>,
) -> Option<String> {
    let path = ground.tenant.path(rest);
    for _ in 0..TRIES {
        let request = AdminRequest { method: Method::GET, path: &path, key: None, consistency, body: None };
        let answer = ground.cluster.admin(http, turn, request).await;
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
    fn a_check_that_could_not_be_made_says_nothing_of_a_log() {
        let command = || "`audit verify` on n1".to_owned();
        let refused = RunError::Refused { command: command(), said: "a gap".to_owned() };
        assert!(matches!(verified(Err(refused)), Ok(Some(said)) if said.ends_with(": a gap")));
        let not_run = RunError::NotRun { command: command(), cause: anyhow::anyhow!("no memory") };
        assert!(matches!(verified(Err(not_run)), Err(NoChain::Unjudged(why)) if why.contains("no memory")));
        assert!(matches!(verified(Ok(())), Ok(None)));
    }

    #[test]
    fn a_line_of_an_export_has_a_number_and_a_hash() {
        let line = r#"{"event":{"sequence":7,"stored":"aa","hash":"bb"}}"#;
        assert_eq!(link(line), Some((7, "bb".to_owned())));
        assert_eq!(link(r#"{"footer":{"checkpoint":""}}"#), None);
    }
}
