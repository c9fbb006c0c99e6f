//! Carries single steps out.

use std::collections::BTreeSet;
use std::time::Duration;

use domicile_raft::placement::{GroupSettings, Situation, target};
use domicile_raft::{Change, NodeId, Order, OrderError, PartitionId, PartitionStatus};

use super::{Done, Round, timers};
use crate::cluster::catalog::CatalogPartition;
use crate::cluster::directory::Directory;
use crate::cluster::links::Links;
use crate::cluster::messages::{Ask, OpenReplica};
use crate::cluster::overview::situation;

/// How long an order or a question may take; a change of voters waits for a sync of a majority.
const DEADLINE: Duration = Duration::from_secs(10);

/// Steps of one partition in one round.
pub(super) struct Doer<'a> {
    pub(super) links: &'a Links,
    pub(super) directory: &'a Directory,
    pub(super) round: &'a Round<'a>,
    pub(super) id: PartitionId,
    pub(super) wanted: &'a CatalogPartition,
}

impl Doer<'_> {
    /// A partition that nobody has. The node that founds it is written to the directory first, so that
    /// whoever goes on after a crash asks the same one: two would found two groups.
    pub(super) async fn found(&self) -> Result<Option<Done>, String> {
        if self.wanted.ready {
            return Ok(Some(Done::waiting("no replica answers")));
        }
        let founder = if let Some(founder) = self.wanted.voters.first() {
            *founder
        } else {
            let founder = self.choose_founder().ok_or("no node that may hold it answers")?;
            self.directory
                .note_members(self.id, self.wanted.generation, [founder].into(), BTreeSet::new())
                .await?;
            founder
        };
        let timers = timers(self.round.catalog, self.wanted);
        let generation = self.wanted.generation.max(1);
        let settings = GroupSettings { generation, timers, placement: self.wanted.placement.clone() };
        self.ask(founder, Ask::FoundPartition { partition: self.id, settings }).await?;
        Ok(Some(Done::step(format!("founded on node {}", founder.0))))
    }

    fn choose_founder(&self) -> Option<NodeId> {
        let nobody = PartitionStatus::new(self.id);
        let mut empty: Situation =
            situation(self.round.catalog, self.round.survey, &nobody, Some(self.round.silence.dead()));
        empty.placement = self.wanted.placement.clone();
        let wished = |id: &NodeId| {
            let region = self.round.catalog.nodes.get(id).map_or("", |node| node.region.as_str());
            let wishes = &empty.placement.preferred_leader_regions;
            wishes.iter().position(|wish| wish == region).unwrap_or(wishes.len())
        };
        target(&empty).voters.into_iter().min_by_key(|id| (wished(id), *id))
    }

    pub(super) async fn update_settings(
        &self,
        word: &PartitionStatus,
        settings: GroupSettings,
    ) -> Result<Done, String> {
        // What the catalogue says must be what the directory says: a leader that was deposed without
        // knowing it must not put an old placement in force.
        let confirmed = self.directory.confirmed_catalog().await?;
        if confirmed.partitions.get(&self.id) != Some(self.wanted) {
            return Err("what is wanted changed meanwhile".to_owned());
        }
        let text = format!("settings of generation {}, {:?} timers", settings.generation, settings.timers);
        self.order(word, Change::UpdateSettings { settings }).await?;
        Ok(Done::step(text))
    }

    /// The replica is opened first: a member that nobody answers for would only slow the others.
    pub(super) async fn add_learner(&self, word: &PartitionStatus, node: NodeId) -> Result<Done, String> {
        let info = self.round.catalog.nodes.get(&node).ok_or("the node is not in the directory")?.info();
        let settings = word.settings.clone().ok_or("the partition's settings are not known")?;
        let mut members: Vec<NodeId> = word.leader.into_iter().collect();
        members.extend(word.voters.iter().filter(|voter| Some(**voter) != word.leader));
        let open = OpenReplica { partition: self.id, incarnation: word.incarnation, settings, members };
        self.ask(node, Ask::OpenReplica(open)).await?;
        self.order(word, Change::AddLearner { expected: word.membership, node, info }).await?;
        Ok(Done::step(format!("node {} was added without a vote", node.0)))
    }

    pub(super) async fn set_voters(
        &self,
        word: &PartitionStatus,
        voters: BTreeSet<NodeId>,
    ) -> Result<Done, String> {
        let text = format!("voters are {}", ids(&voters));
        self.order(word, Change::SetVoters { expected: word.membership, voters }).await?;
        Ok(Done::step(text))
    }

    pub(super) async fn finish_joint(&self, word: &PartitionStatus) -> Result<Done, String> {
        self.order(word, Change::FinishJoint { expected: word.membership }).await?;
        Ok(Done::step("an interrupted change of voters was finished".to_owned()))
    }

    pub(super) async fn transfer_leader(&self, word: &PartitionStatus, to: NodeId) -> Result<Done, String> {
        self.order(word, Change::TransferLeader { to }).await?;
        Ok(Done::step(format!("node {} leads", to.0)))
    }

    pub(super) async fn remove_learner(&self, word: &PartitionStatus, node: NodeId) -> Result<Done, String> {
        self.order(word, Change::RemoveLearner { expected: word.membership, node }).await?;
        // One that does not answer is closed in a later round, when it does.
        if let Err(reason) = self.close(node, word).await {
            tracing::debug!(
                partition = self.id.0,
                node = node.0,
                reason,
                "a removed replica stays open for now"
            );
        }
        Ok(Done::step(format!("node {} is no member any more", node.0)))
    }

    /// Members are as wanted: tells the directory, and closes what is left over.
    pub(super) async fn settle(
        &self,
        word: &PartitionStatus,
        replicas: &[(NodeId, &PartitionStatus)],
    ) -> Result<Option<Done>, String> {
        let voters: BTreeSet<NodeId> = word.voters.iter().copied().collect();
        let learners: BTreeSet<NodeId> = word.learners.iter().copied().collect();
        if self.wanted.voters != voters || self.wanted.learners != learners {
            let text = format!("members are {} and without a vote {}", ids(&voters), ids(&learners));
            self.directory.note_members(self.id, self.wanted.generation, voters, learners).await?;
            return Ok(Some(Done::step(text)));
        }
        if !self.wanted.ready {
            self.directory.note_ready(self.id, self.wanted.generation, voters, learners).await?;
            return Ok(Some(Done::step("ready for tenants".to_owned())));
        }
        let left = replicas.iter().map(|(node, _)| *node);
        let Some(left) = left.into_iter().find(|node| !voters.contains(node) && !learners.contains(node))
        else {
            return Ok(None);
        };
        self.close(left, word).await?;
        Ok(Some(Done::step(format!("the replica left on node {} was closed", left.0))))
    }

    async fn close(&self, node: NodeId, word: &PartitionStatus) -> Result<(), String> {
        if self.id == PartitionId::DIRECTORY {
            return Ok(());
        }
        let generation = word.settings.as_ref().map_or(0, |settings| settings.generation);
        self.ask(node, Ask::CloseReplica { partition: self.id, generation }).await
    }

    async fn ask(&self, node: NodeId, ask: Ask) -> Result<(), String> {
        self.links.ask(node, ask, DEADLINE).await.map(drop).map_err(|error| error.to_string())
    }

    async fn order(&self, word: &PartitionStatus, change: Change) -> Result<(), String> {
        let leader = word.leader.ok_or("nobody leads")?;
        let generation = word.settings.as_ref().map_or(0, |settings| settings.generation);
        let order = Order { partition: self.id, incarnation: word.incarnation, generation, change };
        match self.links.raft.order(leader, order, DEADLINE).await {
            // Or somebody else was quicker: the next round sees what came of it.
            Ok(_) | Err(OrderError::InProgress | OrderError::StaleMembership { .. }) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn ids(nodes: &BTreeSet<NodeId>) -> String {
    let ids: Vec<String> = nodes.iter().map(|node| node.0.to_string()).collect();
    if ids.is_empty() { "none".to_owned() } else { ids.join(", ") }
}
