//! What must hold for this node to take requests: each replica here knows a leader and works. A node
//! without the directory cannot route.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domicile_raft::{Consistency, Health, Partition, PartitionId, PartitionStatus, RaftNode};

use super::replicas::Replicas;
use super::times::Times;
use crate::serve::{Check, ReadinessSource};

/// How long a quorum may take to confirm the leader.
const CONFIRM: Duration = Duration::from_secs(1);

/// Partitions whose leader no quorum confirmed when it was last asked: a follower goes on naming a leader
/// that is gone while nobody else can be elected.
type Unconfirmed = Arc<Mutex<BTreeSet<PartitionId>>>;

/// Asking brings the next answer up to date.
pub(crate) fn source(raft: Arc<RaftNode>, here: Arc<Replicas>, times: Arc<Times>) -> ReadinessSource {
    let unconfirmed = Unconfirmed::default();
    Arc::new(move || {
        let partitions = raft.partitions();
        let known = unconfirmed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let replicas: Vec<PartitionStatus> = partitions.iter().map(|partition| partition.status()).collect();
        for partition in partitions {
            tokio::spawn(confirm(partition, unconfirmed.clone()));
        }
        let unopened = here.unopened().into_iter().map(|(id, reason)| Check {
            name: format!("partition {}", id.0),
            ok: false,
            detail: format!("failed: {reason}"),
        });
        let wrong = |name: &str, detail| Check { name: name.to_owned(), ok: false, detail };
        let clock = times.complaint().map(|detail| wrong("clock", detail));
        let banished = raft.banished().map(|detail| wrong("node", detail));
        checks(&replicas, &known).into_iter().chain(unopened).chain(clock).chain(banished).collect()
    })
}

async fn confirm(partition: Arc<dyn Partition>, unconfirmed: Unconfirmed) {
    let confirmed = partition.read(Consistency::Linearizable, CONFIRM).await.is_ok();
    let mut unconfirmed = unconfirmed.lock().unwrap_or_else(PoisonError::into_inner);
    if confirmed {
        unconfirmed.remove(&partition.id());
    } else {
        unconfirmed.insert(partition.id());
    }
}

fn checks(replicas: &[PartitionStatus], unconfirmed: &BTreeSet<PartitionId>) -> Vec<Check> {
    let directory = replicas.iter().any(|status| status.id == PartitionId::DIRECTORY);
    let missing = (!directory).then(|| Check {
        name: "partition 0".to_owned(),
        ok: false,
        detail: "the directory is not here yet".to_owned(),
    });
    let check = |status: &PartitionStatus| check(status, unconfirmed.contains(&status.id));
    missing.into_iter().chain(replicas.iter().map(check)).collect()
}

fn check(status: &PartitionStatus, unconfirmed: bool) -> Check {
    let (ok, detail) = match (&status.health, status.leader) {
        (Health::Quarantined(reason), _) => (false, format!("quarantined: {reason}")),
        (Health::Failed(reason), _) => (false, format!("failed: {reason}")),
        (Health::Running, None) => (false, format!("no leader known in term {}", status.term)),
        (Health::Running, Some(_)) if status.applied == 0 => (false, "nothing is applied yet".to_owned()),
        (Health::Running, Some(leader)) if unconfirmed => {
            (false, format!("no quorum confirms leader {} of term {}", leader.0, status.term))
        }
        (Health::Running, Some(leader)) => {
            (true, format!("leader {}, term {}, applied {}", leader.0, status.term, status.applied))
        }
    };
    Check { name: format!("partition {}", status.id.0), ok, detail }
}

#[cfg(test)]
mod tests {
    use domicile_raft::NodeId;

    use super::*;

    fn ready(replicas: &[PartitionStatus]) -> bool {
        checks(replicas, &BTreeSet::new()).iter().all(|check| check.ok)
    }

    #[test]
    fn a_node_is_ready_once_the_directory_and_every_replica_follow_a_leader() {
        let led = |id| PartitionStatus {
            leader: Some(NodeId(1)),
            applied: 3,
            ..PartitionStatus::new(PartitionId(id))
        };
        assert!(!ready(&[]));
        assert!(!ready(&[led(1)]));
        assert!(ready(&[led(0), led(1)]));
        assert!(!ready(&[led(0), PartitionStatus::new(PartitionId(1))]));
        assert!(!ready(&[PartitionStatus { applied: 0, ..led(0) }]));
        let lost = checks(&[led(0), led(1)], &BTreeSet::from([PartitionId(1)]));
        assert!(!lost[1].ok && lost[1].detail.contains("no quorum"));
        assert!(!ready(&[PartitionStatus { health: Health::Failed("x".to_owned()), ..led(0) }]));
    }
}
