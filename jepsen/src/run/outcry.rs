//! What no node may do, whatever the history says: panic, stop a partition, end though nobody told it to. Only a disk
//! that failed on purpose explains it, on its own node, from then on until all is as it should be again.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::check::{Check, Finding};
use crate::history::FaultEvent;
use crate::schedule::Kind;
use crate::workload::Ground;

/// What the node's own log says, at level ERROR.
const LOGGED: &[&str] = &[
    "panic place=",
    "panic in a partition",
    "partition quarantined",
    "partition stopped",
    "quarantine marker not written",
    "a handler panicked",
    "a log thread panicked",
    "the log stops",
    "a replica cannot be opened",
];
const LEVEL: &str = " ERROR ";
/// What Rust's library says before there is a log, or instead of it.
const RAW: &[&str] =
    &["panicked at", "has overflowed its stack", "memory allocation of", "fatal runtime error"];
const OF_DISKS: [Kind; 3] = [Kind::DiskFull, Kind::ReadOnly, Kind::BitFlip];
/// Lines of one node that are told.
const TOLD_MAX: usize = 20;

/// A node whose disk fails on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Excuse {
    /// From 0.
    node: usize,
    /// In ns since the run began.
    from_ns: u64,
    /// None: it still fails.
    until_ns: Option<u64>,
    /// The same in bytes of its log.
    from_byte: u64,
    until_byte: Option<u64>,
}

/// All that explains an outcry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excuses(Vec<Excuse>);

/// A moment of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Mark {
    now_ns: u64,
    /// How long the log of each node is, in bytes.
    bytes: Vec<u64>,
}

/// What was found in the logs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcry {
    /// Logs that were read.
    pub logs: u64,
    /// Lines that should not be there.
    pub loud: Vec<String>,
    /// Logs that are not there, or empty.
    pub missing: Vec<String>,
}

impl Mark {
    /// Now.
    pub(super) fn of(ground: &Ground) -> Self {
        // Who ended before this moment is seen to have done so before it.
        ground.cluster.processes.fallen();
        let length = |path: PathBuf| std::fs::metadata(path).map_or(0, |about| about.len());
        let bytes = ground.cluster.nodes.iter().map(|node| length(node.log())).collect();
        Self { now_ns: ground.journal.now_ns(), bytes }
    }
}

impl Excuses {
    /// A fault of this kind hits these nodes, and began at `mark`.
    pub(super) fn open(&mut self, kind: Kind, nodes: &[usize], mark: &Mark) {
        if !is_of_disks(kind) {
            return;
        }
        let excuse = |node: &usize| Excuse {
            node: *node,
            from_ns: mark.now_ns,
            until_ns: None,
            from_byte: mark.bytes.get(*node).copied().unwrap_or_default(),
            until_byte: None,
        };
        self.0.extend(nodes.iter().map(excuse));
    }

    /// What failed before explains nothing from now on.
    pub(super) fn close(&mut self, mark: &Mark) {
        for excuse in self.0.iter_mut().filter(|excuse| excuse.until_ns.is_none()) {
            excuse.until_ns = Some(mark.now_ns);
            excuse.until_byte = Some(mark.bytes.get(excuse.node).copied().unwrap_or(u64::MAX));
        }
    }

    fn explain_line(&self, node: usize, byte: u64) -> bool {
        let explains =
            |excuse: &Excuse| excuse.from_byte <= byte && excuse.until_byte.is_none_or(|until| byte < until);
        self.0.iter().any(|excuse| excuse.node == node && explains(excuse))
    }

    fn explain_time(&self, node: usize, now_ns: u64) -> bool {
        let explains =
            |excuse: &Excuse| excuse.from_ns <= now_ns && excuse.until_ns.is_none_or(|until| now_ns < until);
        self.0.iter().any(|excuse| excuse.node == node && explains(excuse))
    }
}

impl Outcry {
    /// Reads the logs of nodes, by their numbers.
    pub(crate) fn of(logs: &[PathBuf], excuses: &Excuses) -> Self {
        let mut out = Self::default();
        for (node, log) in logs.iter().enumerate() {
            match std::fs::read(log) {
                Ok(text) if !text.is_empty() => {
                    out.logs += 1;
                    let explained = |byte: u64| excuses.explain_line(node, byte);
                    let found = loud(&text, explained).take(TOLD_MAX);
                    out.loud.extend(found.map(|line| format!("n{}: {line}", node + 1)));
                }
                Ok(_) => out.missing.push(format!("the log of n{} is empty", node + 1)),
                Err(why) => out.missing.push(format!("the log of n{} cannot be read: {why}", node + 1)),
            }
        }
        out
    }

    /// The same of a run that was killed. What a disk that failed then explains was not written down.
    pub(super) fn of_killed(logs: &[PathBuf], excuses: &Excuses, faults: &[FaultEvent]) -> Self {
        let mut out = Self::of(logs, excuses);
        if ends_with_a_failing_disk(faults) {
            out.loud.clear();
            out.missing.push("it was killed while a disk failed on purpose".to_owned());
        }
        out
    }

    /// What it comes to.
    pub(crate) fn check(&self) -> Check {
        let finding = |what: &String| Finding { checker: "panics", what: what.clone(), window: Vec::new() };
        Check {
            name: "panics",
            looked_at: self.logs,
            findings: self.loud.iter().map(finding).collect(),
            unknown: self.missing.clone(),
        }
    }
}

/// Whether a disk fails in a fault of this kind. One that loses its power does not: what was synced is there.
pub(super) fn is_of_disks(kind: Kind) -> bool {
    OF_DISKS.contains(&kind)
}

/// Whether the last fault of a history is one of disks, and did not end.
fn ends_with_a_failing_disk(faults: &[FaultEvent]) -> bool {
    let is_begin = |event: &FaultEvent| {
        OF_DISKS.iter().any(|kind| event.name.strip_suffix("-begins") == Some(kind.name()))
    };
    let begun = faults.iter().rposition(|event| event.name.ends_with("-begins"));
    let Some((first, after)) = begun.and_then(|at| faults.get(at..)?.split_first()) else { return false };
    is_begin(first) && !after.iter().any(|event| event.name.ends_with("-ends"))
}

/// The logs of a run in this directory.
pub(super) fn logs_in(dir: &Path, nodes: usize) -> Vec<PathBuf> {
    (1..=nodes).map(|node| dir.join("nodes").join(format!("n{node}")).join("node.log")).collect()
}

/// Who ended though nobody told it to, and no disk explains it.
pub(super) fn fallen(ground: &Ground, excuses: &Excuses) -> Vec<String> {
    let (fallen, now_ns) = (ground.cluster.processes.fallen(), ground.journal.now_ns());
    let told = fallen.iter().filter_map(|one| {
        let seen_ns = now_ns.saturating_sub(one.seen.elapsed_ns());
        let name = one.turn + 1;
        (!excuses.explain_time(one.turn, seen_ns))
            .then(|| format!("n{name} ended by itself at {} ms: {}", seen_ns / 1_000_000, one.status))
    });
    told.collect()
}

fn is_loud(line: &str) -> bool {
    let has = |marks: &[&str]| marks.iter().any(|mark| line.contains(mark));
    has(RAW) || (line.contains(LEVEL) && has(LOGGED))
}

/// Lines that should not be there, but for those that begin at a byte that is explained.
fn loud<'a>(text: &'a [u8], is_explained: impl Fn(u64) -> bool + 'a) -> impl Iterator<Item = String> + 'a {
    let mut at = 0_u64;
    text.split(|byte| *byte == b'\n').filter_map(move |line| {
        let begins = at;
        at += line.len() as u64 + 1;
        let line = String::from_utf8_lossy(line);
        (is_loud(&line) && !is_explained(begins)).then(|| line.into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PANIC: &str =
        "2026-01-01T00:00:00.000000Z ERROR domicile::telemetry::log: panic place=\"a.rs:1:2\" odd";
    const STOPPED: &str =
        "2026-01-01T00:00:00.000000Z ERROR domicile_raft::faults: partition stopped partition=2";
    const CALM: &str = "2026-01-01T00:00:00.000000Z  INFO domicile: all is well, no partition stopped";

    fn found(text: &str) -> Vec<String> {
        loud(text.as_bytes(), |_| false).collect()
    }

    #[test]
    fn what_a_node_says_when_it_breaks_is_found() {
        assert_eq!(found(&format!("{CALM}\n{PANIC}\n{STOPPED}\n")), [PANIC, STOPPED]);
        assert_eq!(found(&format!("{CALM}\n")), Vec::<String>::new());
        let early = "thread 'main' panicked at src/main.rs:1:1:";
        assert_eq!(found(&format!("{early}\n")), [early]);
    }

    /// The words are the product's: who changes them there changes them here.
    #[test]
    fn every_line_that_is_looked_for_stands_in_the_product() {
        let sources = [
            ("panic place=", "node/src/telemetry/log.rs", "tracing::error!(place, message, \"panic\")"),
            ("panic in a partition", "raft/src/faults.rs", "\"panic in a partition\""),
            ("partition quarantined", "raft/src/faults.rs", "\"partition quarantined\""),
            ("partition stopped", "raft/src/faults.rs", "\"partition stopped\""),
            ("quarantine marker not written", "raft/src/faults.rs", "\"quarantine marker not written\""),
            ("a handler panicked", "node/src/serve/front.rs", "\"a handler panicked; "),
            ("a handler panicked", "node/src/cluster/forward/inbound.rs", "\"a handler panicked; "),
            ("a log thread panicked", "storage/src/raft_engine_log.rs", "\"a log thread panicked\""),
            ("the log stops", "storage/src/raft_engine_log.rs", "\"the log stops\""),
            ("a replica cannot be opened", "node/src/cluster/start.rs", "\"a replica cannot be opened\""),
        ];
        let home = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for (mark, file, words) in sources {
            assert!(LOGGED.contains(&mark), "{mark}");
            let text = std::fs::read_to_string(home.join(file)).unwrap();
            assert!(text.contains(words), "{file} does not say {words}");
        }
        let known = |mark: &&str| sources.iter().any(|(known, _, _)| known == mark);
        assert!(LOGGED.iter().all(known), "each has its place in the product");
    }

    #[test]
    fn a_failing_disk_explains_what_its_own_node_says_while_it_fails() {
        let folder = tempfile::tempdir().unwrap();
        let logs = logs_in(folder.path(), 3);
        let text = format!("{PANIC}\n{STOPPED}\n{PANIC}\n");
        for log in &logs[..2] {
            std::fs::create_dir_all(log.parent().unwrap()).unwrap();
            std::fs::write(log, &text).unwrap();
        }
        let first = PANIC.len() as u64 + 1;
        let mark = |now_ns, byte| Mark { now_ns, bytes: vec![byte, byte, 0] };
        let mut excuses = Excuses::default();
        excuses.open(Kind::Power, &[0], &mark(1, 0));
        excuses.open(Kind::ReadOnly, &[1], &mark(10, first));
        excuses.close(&mark(20, first + STOPPED.len() as u64 + 1));
        let outcry = Outcry::of(&logs, &excuses);
        let line = |node: usize, line: &str| format!("n{node}: {line}");
        assert_eq!(
            outcry.loud,
            [line(1, PANIC), line(1, STOPPED), line(1, PANIC), line(2, PANIC), line(2, PANIC)]
        );
        assert_eq!((outcry.logs, outcry.missing.len()), (2, 1));
        assert!(excuses.explain_time(1, 10) && !excuses.explain_time(1, 9) && !excuses.explain_time(1, 20));
        assert!(!excuses.explain_time(0, 15));
    }

    #[test]
    fn what_a_disk_explains_in_a_run_that_was_killed_is_left_open() {
        let folder = tempfile::tempdir().unwrap();
        let logs = logs_in(folder.path(), 1);
        std::fs::create_dir_all(logs[0].parent().unwrap()).unwrap();
        std::fs::write(&logs[0], format!("{PANIC}\n")).unwrap();
        let event = |name: &str| FaultEvent { time_ns: 0, name: name.to_owned(), told: String::new() };
        let (begun, ended) = (event("read-only-begins"), event("read-only-ends"));
        let judged = |faults: &[FaultEvent]| {
            let outcry = Outcry::of_killed(&logs, &Excuses::default(), faults);
            (outcry.loud.len(), outcry.missing.len())
        };
        assert_eq!(judged(&[begun.clone(), event("read-only")]), (0, 1));
        assert_eq!(judged(&[begun, ended, event("kill-begins")]), (1, 0));
        assert_eq!(judged(&[event("kill-begins")]), (1, 0));
    }

    #[test]
    fn a_log_that_is_not_there_leaves_the_question_open() {
        let folder = tempfile::tempdir().unwrap();
        let check = Outcry::of(&logs_in(folder.path(), 1), &Excuses::default()).check();
        assert_eq!((check.looked_at, check.findings.len(), check.unknown.len()), (0, 0, 1));
    }
}
