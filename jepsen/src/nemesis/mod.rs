//! Does faults and takes them back. Each says what it hit and whether it took; a fault that could not be
//! done is skipped and told, and is never a violation.

mod clocks;
mod cut_off;
mod cuts;
mod flip;
mod limits;
mod log_cuts;
mod machine;
mod members;
mod orderly;
mod packets;
mod rejoin;
mod renewal;
mod slow;

use std::time::Duration;

use crate::cluster::{Cluster, Signal};
use crate::net::Seen;
use crate::schedule::{Fault, Kind, Who};

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
    /// Nodes that lost the majority of the others and kept their clients.
    pub astray: Vec<usize>,
    hit: Vec<usize>,
    /// Packets that faults of this kind hit before.
    before: u64,
    /// What was seen on links before.
    links: Seen,
    unstopped: Vec<String>,
    machine: machine::Done,
    /// Which image of the partition's state the node had that was sent away.
    image: Option<String>,
}

impl Begun {
    /// The machines that it was tried on, if it is one of machines.
    pub fn machines(&self) -> &[usize] {
        &self.machine.whom
    }

    /// Nodes whose files were damaged, which run, and say nothing of it.
    pub fn unnoticed(&self) -> &[usize] {
        &self.machine.unnoticed
    }

    /// Nodes that did not stop though they were told to.
    pub fn unstopped(&self) -> &[String] {
        &self.unstopped
    }
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
        let (mut before, mut astray, mut image) = (0, Vec::new(), None);
        let (mut wrong, mut unstopped) = (machine::Done::default(), Vec::new());
        let links = self.cluster.net.seen();
        let (took, told, hit) = match fault {
            Fault::Kill(who) => self.signal(who, Signal::Kill).await,
            Fault::Pause(who) => self.signal(who, Signal::Stop).await,
            Fault::Slow { who, ms } => self.slow(who, *ms).await,
            Fault::Partition(shape) => {
                let (took, told, hit, lost) = self.partition(shape).await;
                astray = lost;
                (took, told, hit)
            }
            Fault::Restart(nodes) => {
                let (took, told, hit, stuck) = self.restart(nodes).await;
                unstopped = stuck;
                (took, told, hit)
            }
            Fault::Transfer => self.transfer().await,
            Fault::Replace(who) => self.replace(who).await,
            Fault::Rejoin(who) => self.send_off(who).await,
            Fault::Renewal => self.renewal().await,
            Fault::Snapshot(who) => {
                let (took, told, hit, had) = self.send_away(who).await;
                image = had;
                (took, told, hit)
            }
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
        let (kind, machine) = (fault.kind(), wrong);
        Begun { kind, took, told, astray, hit, before, links, unstopped, machine, image }
    }

    /// Takes a fault back; says what was done. Some faults are known to have taken only now.
    pub async fn end(&self, fault: &Fault, begun: &mut Begun) -> String {
        match fault {
            Fault::Replace(_) => self.activate(&begun.hit).await,
            Fault::Rejoin(_) => {
                let (took, told) = self.take_in(&begun.hit).await;
                begun.took = took;
                told
            }
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
                let seen = self.cluster.net.seen().since(begun.links);
                begun.took = cut_off::took(begun.took, Some(seen.slowed), seen.stray_bytes);
                self.cluster.net.links.heal_all();
                format!("healed, {} pieces were late{}", seen.slowed, cut_off::strays(seen))
            }
            Fault::Partition(shape) => {
                let seen = self.cluster.net.seen().since(begun.links);
                begun.took = cut_off::took(begun.took, seen.cut, seen.stray_bytes);
                self.join(shape).await + &cut_off::strays(seen)
            }
            Fault::Restart(_) | Fault::Transfer | Fault::Renewal => String::new(),
            Fault::Snapshot(_) => {
                let (took, told) = self.cut_logs_and_take_back(&begun.hit, begun.image.as_deref()).await;
                begun.took = took;
                told
            }
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

    /// Everything as it was: links whole, machines too, processes running.
    ///
    /// # Errors
    /// This machine did not do it, which says nothing of the nodes.
    pub async fn mend(&self) -> anyhow::Result<()> {
        self.cluster.net.links.heal_all();
        machine::heal(&self.cluster).await?;
        for node in 0..self.cluster.nodes.len() {
            if self.cluster.processes.is_running(node) {
                self.cluster.processes.signal(node, Signal::Continue);
            } else {
                self.cluster.start(node)?;
            }
        }
        Ok(())
    }

    /// Waits until all nodes serve.
    ///
    /// # Errors
    /// One ended, or does not.
    pub async fn all_serve(&self) -> anyhow::Result<()> {
        for node in 0..self.cluster.nodes.len() {
            self.cluster.ready(node).await?;
        }
        Ok(())
    }

    async fn resolve(&self, who: &Who) -> Vec<usize> {
        match who {
            Who::Nodes(nodes) => nodes.clone(),
            Who::Leader => self.leader().await.into_iter().collect(),
        }
    }

    /// Who leads, by the word of the newest term.
    pub async fn leader(&self) -> Option<usize> {
        self.leader_told_by(|_| true).await
    }

    /// The same by the word of these nodes.
    async fn leader_told_by(&self, believed: impl Fn(usize) -> bool) -> Option<usize> {
        let all = 0..self.cluster.nodes.len();
        let running = all.filter(|turn| believed(*turn) && self.cluster.processes.is_running(*turn));
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

    async fn slow(&self, who: &Who, ms: u64) -> (Took, String, Vec<usize>) {
        let hit = self.resolve(who).await;
        for node in &hit {
            for other in 0..self.cluster.nodes.len() {
                self.cluster.net.links.slow(*node, other, ms);
                self.cluster.net.links.slow(other, *node, ms);
            }
        }
        (took(!hit.is_empty()), names(&hit), hit)
    }
}

fn took(did: bool) -> Took {
    if did { Took::Installed } else { Took::Skipped }
}

fn names(nodes: &[usize]) -> String {
    nodes.iter().map(|node| format!("n{}", node + 1)).collect::<Vec<_>>().join(" ")
}
