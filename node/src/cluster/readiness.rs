//! Whether this node takes requests, and what does not hold. A balancer takes it out only when it could serve
//! no tenant: one partition without a quorum, the directory too, is no reason to send the others' tenants away.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use domicile_raft::{Consistency, Health, NodeId, Partition, PartitionId, PartitionStatus};
use futures::future::join_all;

use super::catalog::{Catalog, CatalogPartition};
use super::messages::Ask;
use super::service::LocalNode;
use crate::serve::{Check, Readiness, ReadinessSource};

/// How long a quorum may take to confirm the leader, and another node to answer.
const CONFIRM: Duration = Duration::from_secs(1);
/// A node that was just started is not ready before its replicas have leaders; later it is, without those that
/// have none: a quorum that is gone for long must not keep it from serving the others.
const STARTING_MAX: Duration = Duration::from_secs(15);
/// Nodes that are asked whether they answer, where this one has no replica that serves.
const ASKED_MAX: usize = 16;

/// What the last questions brought. Asking brings the next answer up to date.
#[derive(Default)]
struct Seen {
    /// Partitions whose leader no quorum confirmed: a follower goes on naming a leader that is gone while
    /// nobody else can be elected.
    unconfirmed: BTreeSet<PartitionId>,
    /// Nodes that did not answer.
    silent: BTreeSet<NodeId>,
}

type Shared = Arc<Mutex<Seen>>;

fn lock(seen: &Shared) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right to ask, of one round at a time: however often and by whomever `/readyz` is called, a quorum and another
/// node have one question of this node to answer. Given back when dropped, also by a round that was cut short.
struct Turn(Arc<AtomicBool>);

impl Turn {
    fn take(taken: &Arc<AtomicBool>) -> Option<Self> {
        (!taken.swap(true, Ordering::AcqRel)).then(|| Self(Arc::clone(taken)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Asked at each call of `/readyz`: answers by what the last round brought, and begins another if none is under way.
pub(crate) fn source(local: Arc<LocalNode>) -> ReadinessSource {
    let (seen, started) = (Shared::default(), Arc::new(AtomicBool::new(false)));
    let asking = Arc::<AtomicBool>::default();
    Arc::new(move || {
        let readiness = look(&local, &seen, &started);
        if let Some(turn) = Turn::take(&asking) {
            tokio::spawn(ask(turn, Arc::clone(&local), Arc::clone(&seen)));
        }
        readiness
    })
}

async fn ask(turn: Turn, local: Arc<LocalNode>, seen: Shared) {
    let partitions = local.replicas.raft.partitions().into_iter();
    let confirmed = join_all(partitions.map(|partition| confirm(partition, Arc::clone(&seen))));
    tokio::join!(confirmed, ask_others(Arc::clone(&local), Arc::clone(&seen)));
    drop(turn);
}

fn look(local: &LocalNode, seen: &Shared, started: &AtomicBool) -> Readiness {
    let raft = &local.replicas.raft;
    let replicas: Vec<PartitionStatus> =
        raft.partitions().iter().map(|partition| partition.status()).collect();
    let (catalog, seen) = (local.catalog.load(), lock(seen));
    let here = Here { own: raft.identity().id, replicas: &replicas, catalog: &catalog, seen: &seen };
    let mut checks = here.checks();
    let age = local.clock.monotonic().saturating_sub(local.started);
    if checks.iter().all(|check| check.ok) || age >= STARTING_MAX {
        started.store(true, Ordering::Relaxed);
    }
    let wrong = |name: &str, detail: String| Check { name: name.to_owned(), ok: false, detail };
    // Of the whole node: while one of these holds it takes nothing.
    let mut whole: Vec<Check> = Vec::new();
    if !started.load(Ordering::Relaxed) {
        whole.push(wrong("start", "replicas here wait for their leaders".to_owned()));
    }
    if local.stopping.load(Ordering::Relaxed) {
        whole.push(wrong("stop", "this node is stopping".to_owned()));
    }
    whole.extend(local.times.complaint().map(|detail| wrong("clock", detail)));
    whole.extend(raft.banished().map(|detail| wrong("node", detail)));
    if !here.serves_any() {
        whole.push(wrong("tenants", "no partition of tenants can be served here or elsewhere".to_owned()));
    }
    let ready = whole.is_empty();
    let unopened = local.replicas.unopened().into_iter();
    checks.extend(unopened.map(|(id, reason)| wrong(&name(id), format!("failed: {reason}"))));
    let full = || wrong("disk", "full: writes are refused until there is room".to_owned());
    checks.extend(raft.disk_is_full().then(full));
    checks.extend(whole);
    Readiness { ready, checks }
}

async fn confirm(partition: Arc<dyn Partition>, seen: Shared) {
    let confirmed = partition.read(Consistency::Linearizable, CONFIRM).await.is_ok();
    let mut seen = lock(&seen);
    if confirmed {
        seen.unconfirmed.remove(&partition.id());
    } else {
        seen.unconfirmed.insert(partition.id());
    }
}

/// Whether the voters of partitions that are not here answer.
async fn ask_others(local: Arc<LocalNode>, seen: Shared) {
    let Some(links) = local.links.get().and_then(Weak::upgrade) else { return };
    let own = local.replicas.raft.identity().id;
    let others = voters_elsewhere(&local.catalog.load(), own);
    let asked = others.into_iter().map(|node| {
        let links = Arc::clone(&links);
        async move { (node, links.ask(node, Ask::Time, CONFIRM).await.is_ok()) }
    });
    let answers = join_all(asked).await;
    let mut seen = lock(&seen);
    seen.silent = answers.into_iter().filter(|(_, answered)| !answered).map(|(node, _)| node).collect();
}

fn voters_elsewhere(catalog: &Catalog, own: NodeId) -> Vec<NodeId> {
    let homes = catalog.partitions.iter().filter(|(id, _)| **id != PartitionId::DIRECTORY);
    let voters: BTreeSet<NodeId> =
        homes.flat_map(|(_, home)| home.voters.iter().copied()).filter(|voter| *voter != own).collect();
    voters.into_iter().take(ASKED_MAX).collect()
}

fn name(id: PartitionId) -> String {
    format!("partition {}", id.0)
}

/// What this node holds and knows.
struct Here<'a> {
    own: NodeId,
    replicas: &'a [PartitionStatus],
    catalog: &'a Catalog,
    seen: &'a Seen,
}

impl Here<'_> {
    fn checks(&self) -> Vec<Check> {
        let directory = self.replicas.iter().any(|status| status.id == PartitionId::DIRECTORY);
        let missing = (!directory).then(|| Check {
            name: name(PartitionId::DIRECTORY),
            ok: false,
            detail: "the directory is not here yet".to_owned(),
        });
        missing.into_iter().chain(self.replicas.iter().map(|status| self.check(status))).collect()
    }

    fn check(&self, status: &PartitionStatus) -> Check {
        let term = status.term;
        let (ok, detail) = match (&status.health, status.leader, status.leader_silent_ms) {
            (Health::Quarantined(reason), ..) => (false, format!("quarantined: {reason}")),
            (Health::Failed(reason), ..) => (false, format!("failed: {reason}")),
            (Health::Running, None, _) => (false, format!("no leader known in term {term}")),
            (Health::Running, Some(_), _) if status.applied == 0 => {
                (false, "nothing is applied yet".to_owned())
            }
            // Known without a question, so it is told at the first call too.
            (Health::Running, Some(leader), Some(silent_ms)) => {
                let silent = silent_ms / 1_000;
                (false, format!("no leader: node {} of term {term} is silent for {silent} s", leader.0))
            }
            (Health::Running, Some(leader), None) if self.seen.unconfirmed.contains(&status.id) => {
                (false, format!("no quorum confirms leader {} of term {term}", leader.0))
            }
            (Health::Running, Some(leader), None) => {
                (true, format!("leader {}, term {term}, applied {}", leader.0, status.applied))
            }
        };
        Check { name: name(status.id), ok, detail }
    }

    /// Whether a tenant can be found, and the home of one works here or at others.
    fn serves_any(&self) -> bool {
        let works = |status: &&PartitionStatus| status.health == Health::Running && status.applied > 0;
        let here = |id: PartitionId| self.replicas.iter().find(|status| status.id == id);
        let Some(directory) = here(PartitionId::DIRECTORY).filter(works) else { return false };
        let mut homes = self.catalog.partitions.iter().filter(|(id, _)| **id != PartitionId::DIRECTORY);
        if homes.clone().next().is_none() {
            return self.check(directory).ok;
        }
        homes.any(|(id, home)| match here(*id).filter(works) {
            Some(replica) => self.check(replica).ok,
            None => self.is_elsewhere(home),
        })
    }

    /// Whether most of its voters answer, as far as they were asked.
    fn is_elsewhere(&self, home: &CatalogPartition) -> bool {
        let others = home.voters.iter().filter(|voter| **voter != self.own);
        let answering = others.filter(|voter| !self.seen.silent.contains(voter)).count();
        answering > home.voters.len() / 2
    }
}

#[cfg(test)]
mod tests {
    use domicile_raft::TimerProfile;
    use domicile_raft::placement::GroupSettings;

    use super::*;

    fn led(id: u64) -> PartitionStatus {
        PartitionStatus { leader: Some(NodeId(1)), applied: 3, ..PartitionStatus::new(PartitionId(id)) }
    }

    fn home(voters: [u64; 3]) -> CatalogPartition {
        CatalogPartition {
            placement: GroupSettings::anywhere(TimerProfile::Zone).placement,
            generation: 1,
            ready: true,
            founder: None,
            voters: voters.map(NodeId).into(),
            learners: BTreeSet::new(),
        }
    }

    /// This is node 1. It votes in partition 1; partition 2 is on others.
    fn catalog() -> Catalog {
        let homes = [(PartitionId(1), home([1, 2, 3])), (PartitionId(2), home([4, 5, 6]))];
        Catalog { partitions: homes.into(), ..Catalog::default() }
    }

    fn serves(replicas: &[PartitionStatus], catalog: &Catalog, seen: &Seen) -> bool {
        Here { own: NodeId(1), replicas, catalog, seen }.serves_any()
    }

    fn failing(replicas: &[PartitionStatus], seen: &Seen) -> Vec<String> {
        let here = Here { own: NodeId(1), replicas, catalog: &Catalog::default(), seen };
        let failing = here.checks().into_iter().filter(|check| !check.ok);
        failing.map(|check| format!("{}: {}", check.name, check.detail)).collect()
    }

    #[test]
    fn each_replica_that_does_not_work_is_named_with_the_reason() {
        let seen = Seen::default();
        assert_eq!(failing(&[led(0), led(1)], &seen), Vec::<String>::new());
        assert_eq!(failing(&[led(1)], &seen), ["partition 0: the directory is not here yet"]);
        let unled = PartitionStatus::new(PartitionId(1));
        assert_eq!(failing(&[led(0), unled], &seen), ["partition 1: no leader known in term 0"]);
        let broken = PartitionStatus { health: Health::Failed("x".to_owned()), ..led(0) };
        assert_eq!(failing(&[broken], &seen), ["partition 0: failed: x"]);
        let silent = PartitionStatus { leader_silent_ms: Some(7_900), ..led(0) };
        let told = "partition 0: no leader: node 1 of term 0 is silent for 7 s";
        assert_eq!(failing(&[silent], &seen), [told], "whatever was answered before");
        let empty = PartitionStatus { applied: 0, ..led(0) };
        assert_eq!(failing(&[empty], &seen), ["partition 0: nothing is applied yet"]);
        let seen = Seen { unconfirmed: [PartitionId(1)].into(), ..Seen::default() };
        assert_eq!(failing(&[led(0), led(1)], &seen), ["partition 1: no quorum confirms leader 1 of term 0"]);
    }

    #[test]
    fn a_node_serves_while_the_directory_is_here_and_one_partition_works_anywhere() {
        let lost = |partitions: &[u64], nodes: &[u64]| Seen {
            unconfirmed: partitions.iter().copied().map(PartitionId).collect(),
            silent: nodes.iter().copied().map(NodeId).collect(),
        };
        let both = [led(0), led(1)];
        assert!(serves(&both, &catalog(), &Seen::default()));
        assert!(!serves(&[led(1)], &catalog(), &Seen::default()), "it finds no tenant");
        assert!(serves(&both, &catalog(), &lost(&[0], &[])), "the directory answers as it was");
        assert!(serves(&both, &catalog(), &lost(&[1], &[])), "tenants elsewhere are untouched");
        assert!(serves(&both, &catalog(), &lost(&[0, 1], &[6])));
        assert!(serves(&both, &catalog(), &lost(&[0], &[4, 5, 6])), "its own are untouched");
        assert!(!serves(&both, &catalog(), &lost(&[0, 1], &[5, 6])), "cut off");
        assert!(!serves(&[led(0)], &catalog(), &lost(&[], &[2, 3, 5, 6])), "nobody to forward to");
    }

    #[test]
    fn a_replica_that_stopped_is_served_by_the_others() {
        let stopped = PartitionStatus { health: Health::Quarantined("x".to_owned()), ..led(1) };
        let replicas = [led(0), stopped];
        let only = Catalog { partitions: [(PartitionId(1), home([1, 2, 3]))].into(), ..Catalog::default() };
        let silent =
            |nodes: &[u64]| Seen { silent: nodes.iter().copied().map(NodeId).collect(), ..Seen::default() };
        assert!(serves(&replicas, &only, &silent(&[])));
        assert!(!serves(&replicas, &only, &silent(&[3])));
    }

    #[tokio::test]
    async fn one_round_asks_at_a_time_and_the_next_may_when_it_ended_however_it_did() {
        let asking = Arc::<AtomicBool>::default();
        let turn = Turn::take(&asking).unwrap();
        assert!(Turn::take(&asking).is_none());
        let round = tokio::spawn(async move {
            std::future::pending::<()>().await;
            drop(turn);
        });
        assert!(Turn::take(&asking).is_none());
        round.abort();
        assert!(round.await.is_err());
        assert!(Turn::take(&asking).is_some());
    }

    #[test]
    fn before_homes_are_known_the_directory_decides() {
        let none = Catalog::default();
        assert!(serves(&[led(0)], &none, &Seen::default()));
        assert!(!serves(&[PartitionStatus::new(PartitionId::DIRECTORY)], &none, &Seen::default()));
    }
}
