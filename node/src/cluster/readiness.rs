//! What must hold for this node to take requests: each replica here knows a leader and works. A node
//! without the directory cannot route.

use std::sync::Arc;

use domicile_raft::{Health, PartitionId, PartitionStatus, RaftNode};

use crate::serve::{Check, ReadinessSource};

pub(crate) fn source(raft: Arc<RaftNode>) -> ReadinessSource {
    Arc::new(move || {
        checks(&raft.partitions().iter().map(|partition| partition.status()).collect::<Vec<_>>())
    })
}

fn checks(replicas: &[PartitionStatus]) -> Vec<Check> {
    let directory = replicas.iter().any(|status| status.id == PartitionId::DIRECTORY);
    let missing = (!directory).then(|| Check {
        name: "partition 0".to_owned(),
        ok: false,
        detail: "the directory is not here yet".to_owned(),
    });
    missing.into_iter().chain(replicas.iter().map(check)).collect()
}

fn check(status: &PartitionStatus) -> Check {
    let (ok, detail) = match (&status.health, status.leader) {
        (Health::Quarantined(reason), _) => (false, format!("quarantined: {reason}")),
        (Health::Failed(reason), _) => (false, format!("failed: {reason}")),
        (Health::Running, None) => (false, format!("no leader known in term {}", status.term)),
        (Health::Running, Some(_)) if status.applied == 0 => (false, "nothing is applied yet".to_owned()),
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
        checks(replicas).iter().all(|check| check.ok)
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
        assert!(!ready(&[PartitionStatus { health: Health::Failed("x".to_owned()), ..led(0) }]));
    }
}
