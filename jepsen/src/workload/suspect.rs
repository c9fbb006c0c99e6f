//! A node whose files were damaged, and which says nothing of it: its log and its lists are compared with another node's
//! before it joins anew, while clients go on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::ends;
use super::ground::Ground;
use super::replicas::{Chain, Compared, LISTS, NoChain, chain, items};

/// For all of it: who answers no more has noticed.
const COMPARE_MAX: Duration = Duration::from_secs(45);
const TOLD_MAX: usize = 5;

/// Compares the node with another one. Exports are left below `dir`. What it does not give is no finding.
pub async fn compare_suspect(ground: &Ground, dir: &Path, turn: usize) -> Compared {
    let mut out = Compared::default();
    let doors = &ground.tenant.doors;
    let other =
        doors.iter().copied().find(|door| *door != turn && ground.cluster.processes.is_running(*door));
    let Some(other) = other.filter(|_| doors.contains(&turn)) else {
        out.unreadable.push("there is no other node to compare it with".to_owned());
        return out;
    };
    let dir = dir.join(format!("suspect-n{}", turn + 1));
    if let Err(why) = std::fs::create_dir_all(&dir) {
        out.broken.push(format!("{}: {why}", dir.display()));
        return out;
    }
    let comparing = async {
        logs(ground, &dir, (turn, other), &mut out).await;
        lists(ground, (turn, other), &mut out).await;
    };
    if tokio::time::timeout(COMPARE_MAX, comparing).await.is_err() {
        out.unreadable.push(format!("it did not answer within {} s", COMPARE_MAX.as_secs()));
    }
    out
}

async fn logs(ground: &Ground, dir: &Path, (turn, other): (usize, usize), out: &mut Compared) {
    let mut read = Vec::new();
    for node in [turn, other] {
        match chain(ground, dir, node).await {
            Ok(chain) => read.push(chain),
            Err(NoChain::Unread(why)) => out.unreadable.push(why),
            Err(NoChain::Unjudged(why)) => out.broken.push(why),
        }
    }
    let [Chain { links, broken, .. }, Chain { links: known, .. }] = read.as_slice() else { return };
    out.looked_at += 1;
    let node = turn + 1;
    out.differs.extend(
        broken.iter().map(|why| format!("n{node} did not notice that its files were damaged: {why}")),
    );
    let found = other_hashes(links, known);
    out.differs.extend(found.into_iter().take(TOLD_MAX).map(|sequence| {
        format!("n{node} did not notice that its files were damaged: event {sequence} has another hash")
    }));
}

/// Events that are in both logs with different hashes.
fn other_hashes(links: &[(u64, String)], known: &[(u64, String)]) -> Vec<u64> {
    let known: BTreeMap<u64, &String> = known.iter().map(|(sequence, hash)| (*sequence, hash)).collect();
    let differs = |(sequence, hash): &&(u64, String)| known.get(sequence).is_some_and(|known| *known != hash);
    links.iter().filter(differs).map(|(sequence, _)| *sequence).collect()
}

/// Clients go on, so that what another node lists is read before and after: what is in both was there all the time.
async fn lists(ground: &Ground, (turn, other): (usize, usize), out: &mut Compared) {
    for list in LISTS {
        let (Some(before), Some(seen), Some(after)) = (
            listed(ground, other, list, other).await,
            listed(ground, turn, list, other).await,
            listed(ground, other, list, other).await,
        ) else {
            out.unreadable.push(format!("{list} could not be compared"));
            continue;
        };
        out.looked_at += 1;
        let lacks = lacks(&before, &seen, &after).len();
        if lacks > 0 {
            out.differs.push(format!(
                "n{} did not notice that its files were damaged: {lacks} items of {list} are others than on n{}",
                turn + 1,
                other + 1
            ));
        }
    }
}

/// A list as the replica of `turn` has it, with all that was written when this was asked. `by` takes a write for it.
async fn listed(ground: &Ground, turn: usize, list: &str, by: usize) -> Option<BTreeSet<String>> {
    let token = ends::token_of(ground, by).await?;
    let items = items(ground, turn, list, &token).await?;
    Some(items.iter().map(ToString::to_string).collect())
}

/// What was there before and after, and was not seen between.
fn lacks<'a>(
    before: &'a BTreeSet<String>,
    seen: &BTreeSet<String>,
    after: &BTreeSet<String>,
) -> Vec<&'a String> {
    before.iter().filter(|item| after.contains(*item) && !seen.contains(*item)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_there_all_the_time_must_be_seen() {
        let set = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<BTreeSet<String>>();
        let (before, after) = (set(&["a", "b 1", "c"]), set(&["a", "b 2", "c", "d"]));
        assert!(lacks(&before, &set(&["a", "c"]), &after).is_empty());
        assert_eq!(lacks(&before, &set(&["a", "b 2", "d"]), &after), ["c"]);
    }

    #[test]
    fn an_event_with_another_hash_is_found_and_one_that_only_one_log_has_is_none() {
        let log = |links: &[(u64, &str)]| -> Vec<(u64, String)> {
            links.iter().map(|(sequence, hash)| (*sequence, (*hash).to_owned())).collect()
        };
        let known = log(&[(1, "a"), (2, "b"), (3, "c")]);
        assert_eq!(other_hashes(&log(&[(1, "a"), (2, "x")]), &known), [2]);
        assert!(other_hashes(&log(&[(1, "a"), (2, "b"), (3, "c"), (4, "d")]), &known).is_empty());
    }
}
