//! Does faults and takes them back. Each says what it hit and whether it took; a fault that could not be
//! done is skipped and told, and is never a violation.

mod clocks;
mod cuts;
mod flip;
mod limits;
mod machine;
mod members;
mod packets;
mod renewal;

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::cluster::{AdminRequest, Cluster, Signal};
use crate::schedule::{Fault, Kind, Who};

/// How long a node may take to stop in order.
const STOP_MAX: Duration = Duration::from_secs(15);
const TRANSFER_MAX: Duration = Duration::from_secs(8);
const VIEW_MAX: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(100);

/// Whether a fault took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    /// It did.
    Installed,
    /// There was nothing to hit, or the node refused.
    Skipped,
    /// Nobody knows.
    Unknown,
}

/// A fault that began.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Of which kind.
    pub kind: Kind,
    /// Whether it took.
    pub took: Took,
    /// What it hit, for people.
    pub told: String,
    hit: Vec<usize>,
    /// Packets that faults of this kind hit before.
    before: u64,
    machine: machine::Done,
}

/// What does it.
#[derive(Clone, Debug)]
pub struct Nemesis {
    cluster: Cluster,
    /// Whose leader is hit.
    partition: u64,
}

impl Nemesis {
    /// For the leader of `partition`, and everybody.
    pub fn new(cluster: &Cluster, partition: u64) -> Self {
        Self { cluster: cluster.clone(), partition }
    }

    /// Begins a fault. A restart is over when this returns.
    pub async fn begin(&self, fault: &Fault) -> Begun {
        let mut before = 0;
        let mut wrong = machine::Done::default();
        let (took, told, hit) = match fault {
            Fault::Kill(who) => self.signal(who, Signal::Kill).await,
            Fault::Pause(who) => self.signal(who, Signal::Stop).await,
            Fault::Slow { who, ms } => {
                let hit = self.resolve(who).await;
                for node in &hit {
                    for other in 0..self.cluster.nodes.len() {
                        self.cluster.net.links.slow(*node, other, *ms);
                        self.cluster.net.links.slow(other, *node, *ms);
                    }
                }
                (took(!hit.is_empty()), names(&hit), hit)
            }
            Fault::Partition(shape) => {
                let links = &self.cluster.net.links;
                let whom = match cuts::target(shape) {
                    Some(who) => self.resolve(who).await,
                    None => Vec::new(),
                };
                let nodes = self.cluster.nodes.len();
                // Packets of clients go through the router; proxies do not have them.
                let has_clients = self.cluster.net.counts().is_some();
                let ends = if has_clients { links.ends() - 1 } else { nodes };
                let order = cuts::of(shape, &whom, |region| self.ends_of(region, ends), nodes, ends);
                for (from, to) in order {
                    links.cut(from, to);
                    if cuts::is_gradual(shape) {
                        tokio::time::sleep(LOOK).await;
                    }
                }
                let told = format!("{} {} links cut", names(&whom), links.cuts());
                (took(links.cuts() > 0), told, whom)
            }
            Fault::Restart(nodes) => self.restart(nodes).await,
            Fault::Transfer => self.transfer().await,
            Fault::Replace(who) => self.replace(who).await,
            Fault::Renewal => self.renewal().await,
            Fault::Packets(bad) => {
                let hit = self.resolve(&bad.who).await;
                let (took, told, so_far) = packets::begin(&self.cluster, &hit, bad.harm);
                before = so_far;
                (took, told, hit)
            }
            Fault::Machine(fault) => {
                let whom = self.resolve(fault.who()).await;
                wrong = machine::begin(&self.cluster, &whom, fault).await;
                let took = wrong.took.unwrap_or_else(|| took(!wrong.hit.is_empty()));
                (took, wrong.told.clone(), wrong.hit.clone())
            }
        };
        Begun { kind: fault.kind(), took, told, hit, before, machine: wrong }
    }

    /// Takes a fault back; says what was done. Some faults are known to have taken only now.
    pub async fn end(&self, fault: &Fault, begun: &mut Begun) -> String {
        match fault {
            Fault::Replace(_) => self.activate(&begun.hit).await,
            Fault::Kill(_) => {
                let failed = begun.hit.iter().filter_map(|node| self.cluster.start(*node).err());
                let failed: Vec<String> = failed.map(|error| error.to_string()).collect();
                format!("started {} {}", names(&begun.hit), failed.join(", "))
            }
            Fault::Pause(_) => {
                for node in &begun.hit {
                    self.cluster.processes.signal(*node, Signal::Continue);
                }
                format!("continued {}", names(&begun.hit))
            }
            Fault::Slow { .. } => {
                self.cluster.net.links.heal_all();
                "healed".to_owned()
            }
            Fault::Partition(shape) => {
                if cuts::is_gradual(shape) {
                    for node in (0..self.cluster.nodes.len()).rev() {
                        for other in 0..self.cluster.nodes.len() {
                            self.cluster.net.links.heal(node, other);
                        }
                        tokio::time::sleep(LOOK).await;
                    }
                }
                self.cluster.net.links.heal_all();
                "healed".to_owned()
            }
            Fault::Restart(_) | Fault::Transfer | Fault::Renewal => String::new(),
            Fault::Packets(bad) => {
                let (took, told) = packets::end(&self.cluster, bad.harm, begun.before);
                begun.took = took;
                told
            }
            Fault::Machine(fault) => {
                let told = machine::end(&self.cluster, fault, &mut begun.machine).await;
                begun.took = begun.machine.took.unwrap_or(begun.took);
                told
            }
        }
    }

    /// Everything as it was: links whole, processes running.
    ///
    /// # Errors
    /// A process cannot be started, or does not serve.
    pub async fn heal(&self) -> anyhow::Result<()> {
        self.cluster.net.links.heal_all();
        machine::heal(&self.cluster)?;
        for node in 0..self.cluster.nodes.len() {
            if self.cluster.processes.is_running(node) {
                self.cluster.processes.signal(node, Signal::Continue);
            } else {
                self.cluster.start(node)?;
            }
        }
        for node in 0..self.cluster.nodes.len() {
            self.cluster.ready(node).await?;
        }
        Ok(())
    }

    /// The nodes of a region, and its clients if they are among the ends.
    fn ends_of(&self, region: &str, ends: usize) -> Vec<usize> {
        let nodes = self.cluster.nodes.iter().enumerate();
        let nodes = nodes.filter(|(_, node)| node.is_in(region)).map(|(turn, _)| turn);
        let clients = self.cluster.net.links.clients_of(region).filter(|end| *end < ends);
        nodes.chain(clients).collect()
    }

    async fn resolve(&self, who: &Who) -> Vec<usize> {
        match who {
            Who::Nodes(nodes) => nodes.clone(),
            Who::Leader => self.leader().await.into_iter().collect(),
        }
    }

    /// Who leads, by the word of the newest term.
    pub async fn leader(&self) -> Option<usize> {
        let running = (0..self.cluster.nodes.len()).filter(|turn| self.cluster.processes.is_running(*turn));
        // All at once, and not for long: some may stand still.
        let asked = running.map(|turn| tokio::time::timeout(VIEW_MAX, self.cluster.view(turn)));
        let mut newest: Option<(u64, usize)> = None;
        for view in futures::future::join_all(asked).await {
            let Ok(Some(view)) = view else { continue };
            let Some(found) = view.partition(self.partition) else { continue };
            let door = found.leader.and_then(|leader| view.admin_url(leader));
            let Some(node) = door.and_then(|door| self.cluster.turn_of(door)) else { continue };
            if newest.is_none_or(|(term, _)| term < found.term) {
                newest = Some((found.term, node));
            }
        }
        newest.map(|(_, node)| node)
    }

    async fn signal(&self, who: &Who, signal: Signal) -> (Took, String, Vec<usize>) {
        let wanted = self.resolve(who).await;
        let hit: Vec<usize> =
            wanted.into_iter().filter(|node| self.cluster.processes.signal(*node, signal)).collect();
        if signal == Signal::Kill {
            for node in &hit {
                self.cluster.net.set_process(*node, None);
            }
        }
        (took(!hit.is_empty()), names(&hit), hit)
    }

    async fn restart(&self, nodes: &[usize]) -> (Took, String, Vec<usize>) {
        let (mut told, mut done) = (Vec::new(), Vec::new());
        for node in nodes {
            if !self.cluster.processes.signal(*node, Signal::Terminate) {
                continue;
            }
            let in_order = self.cluster.processes.gone(*node, STOP_MAX).await;
            told.push(format!("n{}{}", node + 1, if in_order { "" } else { " (killed: it did not stop)" }));
            if self.cluster.start(*node).is_err() || self.cluster.ready(*node).await.is_err() {
                return (Took::Unknown, format!("{} did not come back", told.join(" ")), done);
            }
            done.push(*node);
        }
        (took(!done.is_empty()), told.join(" "), done)
    }

    async fn transfer(&self) -> (Took, String, Vec<usize>) {
        let Some(before) = self.leader().await else {
            return (Took::Skipped, "nobody leads".to_owned(), Vec::new());
        };
        let (path, body) = (format!("/v1/partitions/{}/transfer-leader", self.partition), json!({}));
        let request = AdminRequest {
            method: Method::POST,
            path: &path,
            key: None,
            consistency: None,
            body: Some(&body),
        };
        match self.cluster.admin(&self.cluster.http, before, request).await {
            Ok(answer) if !answer.is_success() => return (Took::Skipped, answer.told(), Vec::new()),
            Ok(_) | Err(_) => {}
        }
        let changed = async {
            loop {
                match self.leader().await {
                    Some(after) if after != before => return after,
                    Some(_) | None => tokio::time::sleep(LOOK).await,
                }
            }
        };
        match tokio::time::timeout(TRANSFER_MAX, changed).await {
            Ok(after) => (Took::Installed, format!("n{} to n{}", before + 1, after + 1), vec![before]),
            Err(_) => (Took::Unknown, format!("n{} still leads", before + 1), Vec::new()),
        }
    }
}

fn took(did: bool) -> Took {
    if did { Took::Installed } else { Took::Skipped }
}

fn names(nodes: &[usize]) -> String {
    nodes.iter().map(|node| format!("n{}", node + 1)).collect::<Vec<_>>().join(" ")
}
