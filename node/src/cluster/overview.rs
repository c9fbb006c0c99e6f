//! From what nodes report to what operators see. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domicile_raft::placement::{
    Duty, GroupSettings, Liveness, Members, PlanNode, Readers, Situation, survival_of,
};
use domicile_raft::{Health, MemberStatus, NodeId, PartitionId, PartitionStatus};

use super::catalog::{Catalog, CatalogNode};
use super::messages::NodeReport;
use crate::admin::{ClusterDocument, NodeDocument, PartitionDocument, PlacementDocument, ReplicaDocument};

/// What asking a node brought.
pub(crate) enum Asked {
    /// It answered.
    Told {
        /// Of itself.
        report: NodeReport,
        /// How long that took.
        round_trip: Duration,
    },
    /// It did not; why.
    Silent(String),
}

/// Reports by node.
pub(crate) type Survey = BTreeMap<NodeId, Asked>;

/// The document that operators see.
pub(crate) fn document(
    cluster_id: &str,
    answered_by: NodeId,
    catalog: &Catalog,
    survey: &Survey,
) -> ClusterDocument {
    let nodes = catalog.nodes.iter().map(|(id, node)| node_document(*id, node, survey.get(id)));
    let mut ids: BTreeSet<PartitionId> = catalog.partitions.keys().copied().collect();
    ids.extend(reports(survey).flat_map(|(_, report)| report.partitions.iter().map(|status| status.id)));
    let partitions = ids.into_iter().filter_map(|id| partition_document(id, catalog, survey));
    ClusterDocument {
        cluster_id: Some(cluster_id.to_owned()),
        answered_by: Some(answered_by),
        nodes: nodes.collect(),
        partitions: partitions.collect(),
    }
}

fn reports(survey: &Survey) -> impl Iterator<Item = (NodeId, &NodeReport)> {
    survey.iter().filter_map(|(id, asked)| match asked {
        Asked::Told { report, .. } => Some((*id, report)),
        Asked::Silent(_) => None,
    })
}

/// What each replica of a partition says.
pub(crate) fn replicas_of(survey: &Survey, id: PartitionId) -> Vec<(NodeId, &PartitionStatus)> {
    let told = reports(survey);
    told.filter_map(|(node, report)| {
        report.partitions.iter().find(|status| status.id == id).map(|status| (node, status))
    })
    .collect()
}

/// The word that counts: of who says that it leads, the one of the newest term; unless one of its members
/// heard of another leader since. Without one: whoever knows the newest term, then applied most.
pub(crate) fn best_word<'a>(
    replicas: &[(NodeId, &'a PartitionStatus)],
) -> Option<(NodeId, &'a PartitionStatus)> {
    let claims = replicas.iter().copied().filter(|(node, status)| status.leader == Some(*node));
    if let Some((leader, word)) = claims.max_by_key(|(_, status)| status.term) {
        let deposed = replicas.iter().any(|(node, status)| {
            (word.voters.contains(node) || word.learners.contains(node))
                && status.term > word.term
                && status.leader.is_some_and(|other| other != leader)
        });
        if !deposed {
            return Some((leader, word));
        }
    }
    let rank = |(_, status): &(NodeId, &PartitionStatus)| {
        (status.term, status.leader.is_some(), status.applied, status.health == Health::Running)
    };
    replicas.iter().copied().max_by_key(rank)
}

fn node_document(id: NodeId, node: &CatalogNode, asked: Option<&Asked>) -> NodeDocument {
    let state = match node.duty {
        Duty::Active => "active",
        Duty::Draining => "draining",
        Duty::Decommissioned => "decommissioned",
    };
    let mut document = NodeDocument {
        id: id.0,
        public_url: node.public_url.clone(),
        region: node.region.clone(),
        zone: node.zone.clone(),
        peer_address: Some(node.peer_address.clone()),
        admin_url: node.admin_url.clone(),
        management_url: node.management_url.clone(),
        state: state.to_owned(),
        ..NodeDocument::default()
    };
    match asked {
        Some(Asked::Told { report, round_trip }) => {
            let leads = report.partitions.iter().filter(|status| status.leader == Some(id)).count();
            document.alive = true;
            document.version.clone_from(&report.version);
            document.uptime_s = Some(report.uptime_s);
            document.replicas = u64::try_from(report.partitions.len()).ok();
            document.leads = u64::try_from(leads).ok();
            document.data_bytes = Some(report.data_bytes);
            document.round_trip_ms = u64::try_from(round_trip.as_millis()).ok();
            document.errors.clone_from(&report.errors);
        }
        Some(Asked::Silent(why)) => document.errors.push(why.clone()),
        None => {}
    }
    document
}

fn partition_document(id: PartitionId, catalog: &Catalog, survey: &Survey) -> Option<PartitionDocument> {
    let replicas = replicas_of(survey, id);
    let Some((_, word)) = best_word(&replicas) else {
        // Nobody has it: it is wanted, or all its nodes are silent.
        catalog.partitions.get(&id)?;
        let mut unknown = PartitionDocument::from(PartitionStatus::new(id));
        unknown.health = Health::Failed("no replica answers".to_owned());
        unknown.available = false;
        return Some(unknown);
    };
    let mut document = PartitionDocument::from(word.clone());
    // One follower that hears of it is enough: this one may be cut off, or the asked node from the leader.
    let heard = |status: &PartitionStatus| status.term == word.term && status.leader_heard() == word.leader;
    document.leader = word.leader.filter(|_| replicas.iter().any(|(_, status)| heard(status)));
    let committed = replicas.iter().map(|(_, status)| status.committed).max().unwrap_or(0);
    document.committed = committed;
    let voters: BTreeSet<NodeId> = word.voters.iter().copied().collect();
    let working = replicas.iter().filter(|(_, status)| status.health == Health::Running);
    let answering: BTreeSet<NodeId> =
        working.map(|(node, _)| *node).filter(|node| voters.contains(node)).collect();
    let led = document.leader.is_some_and(|leader| replicas.iter().any(|(node, _)| *node == leader));
    document.available = led && answering.len() > voters.len() / 2 && word.health == Health::Running;
    document.placement = word.settings.as_ref().map(placement_document);
    let situation = situation(catalog, survey, word, None);
    document.tolerance = Some(survival_of(&situation, &voters, &answering).to_string());
    let replicas = replicas.iter().map(|(node, status)| ReplicaDocument {
        node: *node,
        role: role(word, *node, status).to_owned(),
        term: status.term,
        applied: status.applied,
        committed: status.committed,
        lag: committed.saturating_sub(status.applied),
        health: status.health.clone(),
    });
    document.replicas = replicas.collect();
    Some(document)
}

/// A replica leads by its own word, since the term beside it is its own too: others know of a leader before it does,
/// and for longer.
fn role(word: &PartitionStatus, node: NodeId, own: &PartitionStatus) -> &'static str {
    if own.leader == Some(node) {
        "leader"
    } else if word.voters.contains(&node) {
        "voter"
    } else if word.learners.contains(&node) {
        "learner"
    } else {
        "leaving"
    }
}

fn placement_document(settings: &GroupSettings) -> PlacementDocument {
    PlacementDocument::of(&settings.placement, settings.generation)
}

/// What the planner looks at. `since_heard` says how long a silent node has been so, and after how long
/// it counts as dead; without it silent nodes are silent.
pub(crate) fn situation(
    catalog: &Catalog,
    survey: &Survey,
    word: &PartitionStatus,
    dead: Option<&BTreeSet<NodeId>>,
) -> Situation {
    let mut replicas: BTreeMap<NodeId, usize> = BTreeMap::new();
    for (node, report) in reports(survey) {
        replicas.insert(node, report.partitions.len());
    }
    let plan = |(id, node): (&NodeId, &CatalogNode)| -> (NodeId, PlanNode) {
        let liveness = match survey.get(id) {
            Some(Asked::Told { .. }) => Liveness::Alive,
            Some(Asked::Silent(_)) | None if dead.is_some_and(|dead| dead.contains(id)) => Liveness::Dead,
            Some(Asked::Silent(_)) | None => Liveness::Silent,
        };
        (*id, node.plan(liveness, replicas.get(id).copied().unwrap_or(0)))
    };
    let wanted = catalog.partitions.get(&word.id).map(|partition| partition.placement.clone());
    let in_force = word.settings.as_ref().map(|settings| settings.placement.clone());
    let directory = word.id == PartitionId::DIRECTORY;
    Situation {
        nodes: catalog.nodes.iter().map(plan).collect(),
        placement: in_force
            .or(wanted)
            .unwrap_or_else(|| GroupSettings::anywhere(domicile_raft::TimerProfile::Wide).placement),
        readers: if directory { Readers::Everywhere } else { Readers::AsPlaced },
        members: members(word, survey),
    }
}

/// Whether a node says that it is to lead nothing: it is stopping, or its clock is wrong.
pub(crate) fn stops(survey: &Survey, node: NodeId) -> bool {
    let Some(Asked::Told { report, .. }) = survey.get(&node) else { return false };
    report.stopping || report.leads_nothing
}

/// Only the leader's word tells who has caught up. Who is to lead nothing counts as behind.
fn members(word: &PartitionStatus, survey: &Survey) -> Members {
    let near = |matched: Option<u64>| {
        matched.is_some_and(|matched| word.last.saturating_sub(matched) <= domicile_raft::CAUGHT_UP_LAG_MAX)
    };
    // A replica that came back may vote once it holds the membership that brought it in.
    let may_vote = |member: &MemberStatus| {
        member.voter || member.matched >= word.membership.map(|position| position.index)
    };
    let caught_up = word
        .members
        .iter()
        .filter(|member| !member.went_back && !stops(survey, member.node))
        .filter(|member| (near(member.matched) && may_vote(member)) || word.leader == Some(member.node));
    Members {
        leader: word.leader,
        voters: word.voters.iter().copied().collect(),
        joint: word.joint,
        learners: word.learners.iter().copied().collect(),
        caught_up: caught_up.map(|member| member.node).collect(),
    }
}

#[cfg(test)]
mod tests {
    use domicile_raft::TimerProfile;

    use super::*;
    use crate::cluster::catalog::tests::node;

    fn status(leader: Option<u64>, term: u64, applied: u64) -> PartitionStatus {
        PartitionStatus {
            leader: leader.map(NodeId),
            term,
            voters: vec![NodeId(1), NodeId(2), NodeId(3)],
            applied,
            committed: applied,
            settings: Some(GroupSettings::anywhere(TimerProfile::Zone)),
            ..PartitionStatus::new(PartitionId(1))
        }
    }

    fn told(status: PartitionStatus) -> Asked {
        let report =
            NodeReport { version: "9".to_owned(), partitions: vec![status], ..NodeReport::default() };
        Asked::Told { report, round_trip: Duration::from_millis(2) }
    }

    fn catalog() -> Catalog {
        let nodes = [(1, "a"), (2, "b"), (3, "c")];
        Catalog {
            nodes: nodes.into_iter().map(|(id, zone)| (NodeId(id), node("eu", zone))).collect(),
            ..Catalog::default()
        }
    }

    #[test]
    fn the_newest_leaders_word_counts_and_lag_is_behind_the_newest_commit() {
        let survey: Survey = [
            (NodeId(1), told(status(Some(1), 3, 90))),
            (NodeId(2), told(status(Some(2), 4, 100))),
            (NodeId(3), Asked::Silent("node 3 cannot be reached".to_owned())),
        ]
        .into();
        let document = document("c", NodeId(1), &catalog(), &survey);
        let [partition] = &document.partitions[..] else { panic!("one partition") };
        assert_eq!((partition.leader, partition.term, partition.available), (Some(NodeId(2)), 4, true));
        assert_eq!(partition.replicas.iter().map(|replica| replica.lag).collect::<Vec<_>>(), [10, 0]);
        assert_eq!(partition.tolerance.as_deref(), Some("none (whole: 1 zone)"));
        assert!(!document.nodes[2].alive && document.nodes[2].errors.len() == 1);
    }

    /// `run --topology eu3,us3,ap3 --time-limit 1800 --nemesis all --seed 101` saw two leaders of one term here.
    #[test]
    fn a_replica_leads_by_its_own_word_and_in_its_own_term() {
        let survey: Survey = [
            (NodeId(1), told(status(None, 3, 90))),
            (NodeId(2), told(status(Some(1), 4, 90))),
            (NodeId(3), told(status(Some(3), 3, 90))),
        ]
        .into();
        let document = document("c", NodeId(2), &catalog(), &survey);
        let replicas = &document.partitions[0].replicas;
        let roles: Vec<_> = replicas.iter().map(|one| (one.node.0, one.role.as_str(), one.term)).collect();
        assert_eq!(roles, [(1, "voter", 3), (2, "voter", 4), (3, "leader", 3)]);
        assert_eq!(document.partitions[0].leader, Some(NodeId(1)));
    }

    #[test]
    fn a_leader_is_believed_over_a_candidate_and_not_over_its_successor() {
        let teller = |statuses: [PartitionStatus; 2]| {
            let [one, two] = &statuses;
            best_word(&[(NodeId(1), one), (NodeId(2), two)]).map(|(node, status)| (node.0, status.leader))
        };
        let led = status(Some(1), 3, 90);
        assert_eq!(teller([led.clone(), status(None, 9, 80)]), Some((1, Some(NodeId(1)))));
        assert_eq!(teller([led.clone(), status(Some(3), 4, 80)]), Some((2, Some(NodeId(3)))));
        let stranger = PartitionStatus { voters: vec![NodeId(1)], ..led };
        assert_eq!(teller([stranger, status(Some(3), 4, 80)]), Some((1, Some(NodeId(1)))));
    }

    #[test]
    fn without_a_quorum_of_answers_a_partition_is_not_available() {
        let silent = || Asked::Silent("silent".to_owned());
        let survey: Survey =
            [(NodeId(1), told(status(Some(1), 3, 90))), (NodeId(2), silent()), (NodeId(3), silent())].into();
        let document = document("c", NodeId(1), &catalog(), &survey);
        assert!(!document.partitions[0].available);
        assert_eq!(document.partitions[0].tolerance.as_deref(), Some("none (whole: 1 zone)"));
    }

    #[test]
    fn a_leader_that_its_followers_do_not_hear_of_is_none_to_operators_and_stays_one_to_the_planner() {
        let silent = PartitionStatus { leader_silent_ms: Some(7_000), ..status(Some(3), 4, 90) };
        let word = silent.clone();
        let mut survey: Survey = [
            (NodeId(1), told(silent)),
            (NodeId(2), Asked::Silent("gone".to_owned())),
            (NodeId(3), Asked::Silent("stopped".to_owned())),
        ]
        .into();
        let seen = document("c", NodeId(1), &catalog(), &survey);
        assert_eq!((seen.partitions[0].leader, seen.partitions[0].available), (None, false));
        assert_eq!(situation(&catalog(), &survey, &word, None).members.leader, Some(NodeId(3)));
        survey.insert(NodeId(2), told(status(Some(3), 4, 80)));
        let seen = document("c", NodeId(1), &catalog(), &survey);
        assert_eq!(seen.partitions[0].leader, Some(NodeId(3)), "node 2 hears of it");
    }

    #[test]
    fn a_voter_that_stopped_over_a_fault_or_was_decommissioned_helps_nothing_through() {
        let shown = |third: PartitionStatus, catalog: &Catalog| {
            let survey: Survey = [
                (NodeId(1), told(status(Some(1), 3, 90))),
                (NodeId(2), told(status(Some(1), 3, 90))),
                (NodeId(3), told(third)),
            ]
            .into();
            document("c", NodeId(1), catalog, &survey).partitions[0].tolerance.clone().unwrap()
        };
        let third = status(Some(1), 3, 90);
        assert_eq!(shown(third.clone(), &catalog()), "1 zone");
        let stopped = PartitionStatus { health: Health::Failed("x".to_owned()), ..third.clone() };
        assert_eq!(shown(stopped, &catalog()), "none (whole: 1 zone)");
        let mut without = catalog();
        without.nodes.get_mut(&NodeId(3)).unwrap().duty = Duty::Decommissioned;
        assert_eq!(shown(third, &without), "none", "it never comes back");
    }

    #[test]
    fn who_is_silent_for_long_is_dead_to_the_planner() {
        let survey: Survey =
            [(NodeId(1), told(status(Some(1), 3, 90))), (NodeId(2), Asked::Silent(String::new()))].into();
        let word = status(Some(1), 3, 90);
        let liveness = |dead: Option<&BTreeSet<NodeId>>| {
            let seen = situation(&catalog(), &survey, &word, dead).nodes;
            seen.into_values().map(|node| node.liveness).collect::<Vec<_>>()
        };
        assert_eq!(liveness(None), [Liveness::Alive, Liveness::Silent, Liveness::Silent]);
        let dead = BTreeSet::from([NodeId(2)]);
        assert_eq!(liveness(Some(&dead)), [Liveness::Alive, Liveness::Dead, Liveness::Silent]);
    }
}
