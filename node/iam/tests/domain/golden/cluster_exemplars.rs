//! One event of each type about the cluster, with every field set.

use std::collections::BTreeSet;

use domicile_iam::model::{MemberHints, NodeAddresses, NodeState};
use domicile_iam::streams::cluster::{
    ClusterEvent, ClusterInitialised, ClusterNodeEvent, ClusterPartitionEvent, ClusterSettingsChanged,
    JoinTokenCreated, JoinTokenEvent, JoinTokenRedeemed, JoinTokenRevoked, NodeDutyChanged, NodeJoined,
    NodeUpdated, PartitionFounderChosen, PartitionMembersChanged, PartitionPlacementChanged,
    PartitionReadied, PartitionRequested, RegionAdded, RegionCertificateAdded, RegionCertificateRemoved,
    RegionEvent, RegionJurisdictionChanged,
};
use domicile_iam::streams::event_set::Change;
use domicile_raft::placement::{Placement, Regions, SurvivalGoal};
use domicile_raft::{Incarnation, NodeId, Timestamp};

use super::exemplars::Exemplar;

pub fn placement() -> Placement {
    Placement {
        regions: Regions::Only(BTreeSet::from(["eu-central".to_owned(), "eu-west".to_owned()])),
        survive: SurvivalGoal::Zone,
        preferred_leader_regions: vec!["eu-central".to_owned()],
        read_replicas: true,
    }
}

fn everywhere() -> Placement {
    Placement { regions: Regions::Any, survive: SurvivalGoal::Region, ..placement() }
}

fn addresses(host: &str) -> NodeAddresses {
    NodeAddresses {
        peer: vec![format!("{host}:8445")],
        public: Some(format!("https://{host}")),
        admin: Some(format!("https://{host}:8444")),
        management: Some(format!("http://{host}:9090")),
    }
}

fn members(voters: &[u64], learners: &[u64]) -> MemberHints {
    let ids = |ids: &[u64]| ids.iter().copied().map(NodeId).collect();
    MemberHints { voters: ids(voters), learners: ids(learners) }
}

fn cluster() -> [ClusterEvent; 2] {
    [
        ClusterEvent::Initialised(ClusterInitialised {
            cluster_id: "c0ffee".to_owned(),
            name: "Example".to_owned(),
            public_origin: "https://id.example".to_owned(),
            default_placement: everywhere(),
            dead_after_ms: 300_000,
        }),
        ClusterEvent::SettingsChanged(ClusterSettingsChanged {
            name: Some(Change { before: "Example".to_owned(), after: "Other".to_owned() }),
            public_origin: Some(Change {
                before: "https://id.example".to_owned(),
                after: "https://login.example".to_owned(),
            }),
            default_placement: Some(Change { before: everywhere(), after: placement() }),
            dead_after_ms: Some(Change { before: 300_000, after: 60_000 }),
        }),
    ]
}

fn region() -> [RegionEvent; 4] {
    [
        RegionEvent::Added(RegionAdded {
            name: "eu-central".to_owned(),
            jurisdiction: "eu".to_owned(),
            certificate: vec![1; 40],
        }),
        RegionEvent::CertificateAdded(RegionCertificateAdded { certificate: vec![2; 40] }),
        RegionEvent::CertificateRemoved(RegionCertificateRemoved { sha256: [3; 32] }),
        RegionEvent::JurisdictionChanged(RegionJurisdictionChanged {
            jurisdiction: Change { before: "eu".to_owned(), after: "de".to_owned() },
        }),
    ]
}

fn node() -> [ClusterNodeEvent; 3] {
    [
        ClusterNodeEvent::Joined(NodeJoined {
            region: "eu-central".to_owned(),
            zone: "a".to_owned(),
            addresses: addresses("n1.example"),
            version: "0.1.0".to_owned(),
        }),
        ClusterNodeEvent::Updated(NodeUpdated {
            addresses: Some(Change { before: addresses("n1.example"), after: addresses("n2.example") }),
            version: Some(Change { before: "0.1.0".to_owned(), after: "0.2.0".to_owned() }),
            boot_counter: Some(Change { before: 0, after: 1 }),
        }),
        ClusterNodeEvent::DutyChanged(NodeDutyChanged {
            state: Change { before: NodeState::Active, after: NodeState::Draining },
        }),
    ]
}

fn partition() -> [ClusterPartitionEvent; 5] {
    [
        ClusterPartitionEvent::Requested(PartitionRequested {
            incarnation: Incarnation(1),
            placement: placement(),
            generation: 1,
        }),
        ClusterPartitionEvent::Readied(PartitionReadied { members: members(&[1, 2, 3], &[4]) }),
        ClusterPartitionEvent::MembersChanged(PartitionMembersChanged {
            members: Change { before: members(&[1, 2, 3], &[4]), after: members(&[1, 2, 4], &[]) },
        }),
        ClusterPartitionEvent::PlacementChanged(PartitionPlacementChanged {
            placement: Change { before: placement(), after: everywhere() },
            generation: 2,
        }),
        ClusterPartitionEvent::FounderChosen(PartitionFounderChosen { node: NodeId(3) }),
    ]
}

fn join_token() -> [JoinTokenEvent; 3] {
    [
        JoinTokenEvent::Created(JoinTokenCreated {
            secret_sha256: [1; 32],
            region: "eu-central".to_owned(),
            new_region: true,
            expires_at: Timestamp(1_800_000_900_000),
        }),
        JoinTokenEvent::Redeemed(JoinTokenRedeemed { node: NodeId(2), joiner: [2; 32] }),
        JoinTokenEvent::Revoked(JoinTokenRevoked {}),
    ]
}

pub fn all() -> Vec<Exemplar> {
    let mut all: Vec<Exemplar> = cluster().into_iter().map(Exemplar::Cluster).collect();
    all.extend(region().into_iter().map(Exemplar::Region));
    all.extend(node().into_iter().map(Exemplar::Node));
    all.extend(partition().into_iter().map(Exemplar::Partition));
    all.extend(join_token().into_iter().map(Exemplar::JoinToken));
    all
}
