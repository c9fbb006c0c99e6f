//! Searches what is outside a placement for what belongs inside: files, logs, metrics and a core file of nodes
//! there, and what was sent to them (docs/adr/0029).
//!
//! Two kinds of needle: words (personal values, codes, tokens, ids as callers see them, wrapped keys), in every way in
//! which they may be written as text, and pieces of the state
//! files of a node inside: ciphertexts, wrapped keys, blind-index values and ids, without knowing their format.
//! What the directory holds, which is everywhere, is left out. Each search must find its needles among nodes
//! inside, or it shows nothing.

mod cores;
mod scanner;
mod traces;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use reqwest::Method;

pub(super) use cores::{Core, cores_in, leave_core};
use scanner::{Scanner, Window, each_file};
use traces::Traces;

use super::told::Told;
use crate::client::Door;
use crate::cluster::{AdminRequest, CANARIES, Cluster, Node};
use crate::workload::{self, Ground};

/// Pieces that a second node inside must have in common with the first.
const COMMON_MIN: usize = 20;

/// What is looked for in clear, and where else than in files.
#[derive(Debug)]
pub(super) struct Needles {
    words: Vec<String>,
    /// By node; none of one that did not answer.
    metrics: Vec<Option<String>>,
    /// Whether words are missing, and why.
    blind: Vec<String>,
}

/// A search, after the processes of all nodes have ended.
#[derive(Debug)]
pub(super) struct Search<'a> {
    pub(super) cluster: &'a Cluster,
    /// Where the tenant may be.
    pub(super) region: &'a str,
    /// The tenant's.
    pub(super) partition: u64,
    pub(super) needles: &'a Needles,
    /// Where nodes and proxies kept what was sent.
    pub(super) traces: &'a Path,
    /// Whether links are in the clear, and nodes outside handle nothing of the tenant: then nothing of it may go
    /// there at all, and nothing of it be in their memory.
    pub(super) is_sealed: bool,
    pub(super) core: Option<Core>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Residency {
    found: Vec<String>,
    looked_for: u64,
    blind: Vec<String>,
    searched: Vec<String>,
}

impl Needles {
    pub(super) fn of(ground: &Ground) -> Self {
        let canaries = CANARIES.iter().map(|word| (*word).to_owned());
        Self { words: canaries.chain(ground.secrets()).collect(), metrics: Vec::new(), blind: Vec::new() }
    }

    /// Ids of users, as the admin API tells them.
    pub(super) async fn read_ids(&mut self, ground: &Ground) {
        match workload::users(ground).await {
            Ok(users) => {
                self.words
                    .extend(users.iter().filter_map(|user| user.get("id")?.as_str().map(str::to_owned)));
            }
            Err(why) => self.blind.push(format!("the ids of users are not known: {why:#}")),
        }
    }

    /// Has nodes inside bring the directory to their disks (a snapshot is the barrier for that): what it holds of a tenant, such
    /// as the key of its root, is public and looked for nowhere, and until then it may stand in their logs alone.
    pub(super) async fn settle_directory(&mut self, cluster: &Cluster, region: &str) {
        for (turn, node) in cluster.nodes.iter().enumerate().filter(|(_, node)| node.is_in(region)) {
            let path = "/v1/partitions/0/snapshot";
            let order = AdminRequest { method: Method::POST, path, key: None, consistency: None, body: None };
            let told = match cluster.admin(&cluster.http, turn, order).await {
                Ok(answer) if answer.is_success() => continue,
                Ok(answer) => answer.told(),
                Err(lost) => lost.to_string(),
            };
            self.blind.push(format!("{} did not bring the directory to its disk: {told}", node.name));
        }
    }

    pub(super) async fn read_metrics(&mut self, cluster: &Cluster) {
        for node in &cluster.nodes {
            let mut text = Some(String::new());
            for path in ["/metrics", "/readyz?verbose"] {
                let told = said(cluster, node, path).await;
                text = text.zip(told).map(|(before, told)| before + &told);
            }
            self.metrics.push(text);
        }
    }
}

/// What a node says of itself; nothing if it does not.
async fn said(cluster: &Cluster, node: &Node, path: &str) -> Option<String> {
    let url = node.management.join(path).ok()?;
    let asked = cluster.http.send(cluster.http.request(Method::GET, &url, &Door::Named)).await;
    asked.ok().map(|answer| answer.text)
}

impl Residency {
    pub(super) fn tell(self, told: &mut Told) {
        told.misplaced.extend(self.found);
        told.in_place += self.looked_for;
        told.blind.extend(self.blind);
        told.searched.extend(self.searched);
    }

    /// Needles that were found in a place outside.
    fn report(&mut self, sought: &Scanner, found: &BTreeSet<Window>, place: &str, region: &str) {
        let words = sought.names(found).into_iter();
        self.found.extend(words.map(|word| format!("{place} has a word of {region}: {word}")));
        let pieces = sought.pieces(found);
        if let Some(first) = pieces.first() {
            let count = pieces.len();
            let told = format!("{place} has {count} pieces of the state of {region}, such as {first:02x?}");
            self.found.push(told);
        }
    }
}

impl Search<'_> {
    /// Searches everything.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn run(&self) -> anyhow::Result<Residency> {
        let mut out = Residency { blind: self.needles.blind.clone(), ..Residency::default() };
        let Some(sought) = self.sought(&mut out)? else { return Ok(out) };
        for (turn, node) in self.cluster.nodes.iter().enumerate() {
            if !node.is_in(self.region) {
                self.outside(&sought, turn, node, &mut out)?;
            }
        }
        if let Some(core) = &self.core {
            out.searched.push(core.told.clone());
            out.blind.extend(core.blind.clone());
        }
        let sent = Traces::sent(self.traces, self.cluster, self.region, self.is_sealed)?;
        if sent.is_empty() && !self.is_sealed {
            out.searched.push("what was sent: nothing; the program was not built to keep it".to_owned());
        } else {
            sent.search(&sought, self.region, &mut out)?;
        }
        if self.is_sealed {
            let taped = Traces::taped(self.traces, self.cluster, self.region)?;
            taped.search(&sought, self.region, &mut out)?;
        }
        Ok(out)
    }

    /// What is looked for; `None` where the search cannot be tried.
    fn sought(&self, out: &mut Residency) -> anyhow::Result<Option<Scanner>> {
        let mut sought = Scanner::default();
        for word in &self.needles.words {
            sought.add_text(word);
        }
        let inside: Vec<&Node> = self.cluster.nodes.iter().filter(|node| node.is_in(self.region)).collect();
        let [first, second, ..] = inside[..] else {
            out.blind.push(format!("fewer than two nodes in {}: the search cannot be tried", self.region));
            return Ok(None);
        };
        each_file(&replica(first, self.partition), &mut |_, bytes| sought.add_pieces(bytes))?;
        for node in &inside {
            each_file(&replica(node, 0), &mut |_, bytes| sought.forget(bytes))?;
        }
        let mut common = BTreeSet::new();
        each_file(&replica(second, self.partition), &mut |_, bytes| common.extend(sought.found(bytes)))?;
        let (common, total) = (sought.pieces(&common).len(), sought.total().pieces);
        if common < COMMON_MIN {
            out.blind.push(format!("{common} of {total} pieces are on a second node inside"));
        }
        // Each node wraps the partition's key by a key of its own.
        for node in &inside {
            sought.add_whole(&std::fs::read(replica(node, self.partition).join("KEY")).unwrap_or_default());
        }
        let total = sought.total();
        out.looked_for = u64::try_from(total.canaries + total.words + total.pieces).unwrap_or(u64::MAX);
        Ok(Some(sought))
    }

    /// Everything that a node outside has and told; with the image of its disk, if it has one of its own: what was
    /// deleted is still there.
    fn outside(&self, sought: &Scanner, turn: usize, node: &Node, out: &mut Residency) -> anyhow::Result<()> {
        let metrics = self.needles.metrics.get(turn).cloned().flatten();
        if metrics.is_none() {
            out.blind.push(format!("{} did not give its metrics", node.name));
        }
        let metrics = metrics.unwrap_or_default();
        let place = format!("what {} says of itself", node.name);
        out.report(sought, &sought.found(metrics.as_bytes()), &place, self.region);
        let (folder, mut bytes) = (node.folder(), 0);
        each_file(folder, &mut |path, part| {
            // A node that forwards has the words that pass in its memory.
            if !self.is_sealed && cores::is_core(path) {
                return;
            }
            bytes += part.len();
            let place = format!("{}: {}", node.name, path.strip_prefix(folder).unwrap_or(path).display());
            out.report(sought, &sought.found(part), &place, self.region);
        })?;
        let told = format!("files, log and metrics of {}: {} KiB", node.name, (bytes + metrics.len()) >> 10);
        out.searched.push(told);
        Ok(())
    }
}

fn replica(node: &Node, partition: u64) -> PathBuf {
    node.data().join("partitions").join(partition.to_string())
}
