//! Carries single steps out.

use std::collections::BTreeSet;
use std::time::Duration;

use domicile_raft::placement::{GroupSettings, Situation, target};
use domicile_raft::{Change, JoinPoint, NodeId, Order, OrderError, OrderReply, PartitionId, PartitionStatus};

use super::{Done, Round, timers};
use crate::cluster::catalog::CatalogPartition;
use crate::cluster::directory::Directory;
use crate::cluster::links::Links;
use crate::cluster::messages::{Ask, OpenReplica};
use crate::cluster::overview::{Asked, situation};

/// How long an order or a question may take; a change of voters waits for a sync of a majority.
const DEADLINE: Duration = Duration::from_secs(10);

/// Steps of one partition in one round.
pub(super) struct Doer<'a> {
    pub(super) links: &'a Links,
    pub(super) directory: &'a Directory,
    pub(super) round: &'a Round,
    pub(super) id: PartitionId,
    pub(super) wanted: &'a CatalogPartition,
}

impl Doer<'_> {
    /// A partition that nobody has. The node that founds it is chosen in the directory first, once for
    /// ever: two would found two groups of one name. So it is the directory's answer that is asked, and
    /// only after the directory confirmed that the partition is still to be made.
    pub(super) async fn found(&self) -> Result<Option<Done>, String> {
        if self.wanted.ready {
            return Ok(Some(Done::waiting("no replica answers")));
        }
        let wish = self.wanted.founder.or_else(|| self.choose_founder());
        let wish = wish.ok_or("no node that may hold it answers")?;
        let founder = self.directory.choose_founder(self.id, self.wanted.generation, wish).await?;
        let confirmed = self.directory.confirmed_catalog().await?;
        let wanted = confirmed.partitions.get(&self.id).ok_or("it is not wanted any more")?;
        if wanted.founder != Some(founder) || wanted.ready || wanted.generation != self.wanted.generation {
            return Err("what is wanted changed meanwhile".to_owned());
        }
        let timers = timers(&self.round.catalog, self.wanted);
        let generation = self.wanted.generation.max(1);
        let settings = GroupSettings { generation, timers, placement: self.wanted.placement.clone() };
        self.ask(founder, Ask::FoundPartition { partition: self.id, settings }).await?;
        Ok(Some(Done::step(format!("founded on node {}", founder.0))))
    }

    fn choose_founder(&self) -> Option<NodeId> {
        let nobody = PartitionStatus::new(self.id);
        let mut empty: Situation =
            situation(&self.round.catalog, &self.round.survey, &nobody, Some(self.round.silence.dead()));
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
        Ok(self.order(word, Change::UpdateSettings { settings }).await?.done(text))
    }

    /// The replica is opened first: a member that nobody answers for would only slow the others.
    pub(super) async fn add_learner(&self, word: &PartitionStatus, node: NodeId) -> Result<Done, String> {
        let info = self.round.catalog.nodes.get(&node).ok_or("the node is not in the directory")?.info();
        self.open(word, node).await?;
        let ordered = self.order(word, Change::AddLearner { expected: word.membership, node, info }).await?;
        Ok(ordered.done(format!("node {} was added without a vote", node.0)))
    }

    async fn open(&self, word: &PartitionStatus, node: NodeId) -> Result<(), String> {
        let settings = word.settings.clone().ok_or("the partition's settings are not known")?;
        let mut members: Vec<NodeId> = word.leader.into_iter().collect();
        members.extend(word.voters.iter().filter(|voter| Some(**voter) != word.leader));
        let point = word.leader.map(|leader| {
            let members_since = word.membership.map_or(0, |position| position.index);
            JoinPoint { term: word.term, leader, index: word.committed.max(members_since) }
        });
        let open =
            OpenReplica { partition: self.id, incarnation: word.incarnation, settings, members, point };
        self.ask(node, Ask::OpenReplica(open)).await
    }

    /// A member without a vote that answers and has no replica gets one again. Not one with a vote: what
    /// it promised is gone with its log.
    pub(super) async fn open_again(
        &self,
        word: &PartitionStatus,
        replicas: &[(NodeId, &PartitionStatus)],
    ) -> Result<Option<Done>, String> {
        let answers = |id: &NodeId| matches!(self.round.survey.get(id), Some(Asked::Told { .. }));
        let has_none = |id: &NodeId| replicas.iter().all(|(node, _)| node != id);
        let bare = word.learners.iter().find(|id| answers(id) && has_none(id));
        let Some(bare) = bare else { return Ok(None) };
        self.open(word, *bare).await?;
        Ok(Some(Done::step(format!("the replica on node {} was opened again", bare.0))))
    }

    pub(super) async fn set_voters(
        &self,
        word: &PartitionStatus,
        voters: BTreeSet<NodeId>,
    ) -> Result<Done, String> {
        let text = format!("voters are {}", ids(&voters));
        let ordered = self.order(word, Change::SetVoters { expected: word.membership, voters }).await?;
        Ok(ordered.done(text))
    }

    pub(super) async fn finish_joint(&self, word: &PartitionStatus) -> Result<Done, String> {
        let ordered = self.order(word, Change::FinishJoint { expected: word.membership }).await?;
        Ok(ordered.done("an interrupted change of voters was finished".to_owned()))
    }

    pub(super) async fn transfer_leader(&self, word: &PartitionStatus, to: NodeId) -> Result<Done, String> {
        let ordered = self.order(word, Change::TransferLeader { to }).await?;
        Ok(ordered.done(format!("node {} leads", to.0)))
    }

    pub(super) async fn remove_learner(&self, word: &PartitionStatus, node: NodeId) -> Result<Done, String> {
        let ordered = self.order(word, Change::RemoveLearner { expected: word.membership, node }).await?;
        // One that does not answer is closed in a later round, when it does.
        if matches!(ordered, Ordered::Done)
            && let Err(reason) = self.close(node, word).await
        {
            tracing::debug!(
                partition = self.id.0,
                node = node.0,
                reason,
                "a removed replica stays open for now"
            );
        }
        Ok(ordered.done(format!("node {} is no member any more", node.0)))
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

    /// Closes the replica of a node that the leader, asked again, does not name as a member. What the
    /// round saw may be old.
    async fn close(&self, node: NodeId, word: &PartitionStatus) -> Result<(), String> {
        if self.id == PartitionId::DIRECTORY {
            return Ok(());
        }
        let now = self.tell(word).await?;
        if now.voters.contains(&node) || now.learners.contains(&node) {
            return Err(format!("node {} is still a member", node.0));
        }
        let generation = now.settings.as_ref().map_or(0, |settings| settings.generation);
        let close = Ask::CloseReplica { partition: self.id, generation, membership: now.membership };
        self.ask(node, close).await
    }

    async fn ask(&self, node: NodeId, ask: Ask) -> Result<(), String> {
        self.links.ask(node, ask, DEADLINE).await.map(drop).map_err(|error| error.to_string())
    }

    /// The group as its leader sees it now.
    async fn tell(&self, word: &PartitionStatus) -> Result<PartitionStatus, String> {
        let told = self.send(word, Change::Report).await;
        told.map(|reply| reply.status).map_err(|error| error.to_string())
    }

    async fn send(&self, word: &PartitionStatus, change: Change) -> Result<OrderReply, OrderError> {
        let leader = word.leader.ok_or(OrderError::NotLeader { leader: None })?;
        let generation = word.settings.as_ref().map_or(0, |settings| settings.generation);
        let order = Order { partition: self.id, incarnation: word.incarnation, generation, change };
        self.links.raft.order(leader, order, DEADLINE).await
    }

    async fn order(&self, word: &PartitionStatus, change: Change) -> Result<Ordered, String> {
        match self.send(word, change).await {
            Ok(_) => Ok(Ordered::Done),
            // Somebody else was quicker: the next round sees what came of it.
            Err(OrderError::InProgress | OrderError::StaleMembership { .. }) => Ok(Ordered::TooLate),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// What came of an order that was not refused.
enum Ordered {
    Done,
    /// Nothing: the membership moved, or is moving.
    TooLate,
}

impl Ordered {
    fn done(self, text: String) -> Done {
        match self {
            Self::Done => Done::step(text),
            Self::TooLate => Done::waiting("waits for another change of members"),
        }
    }
}

fn ids(nodes: &BTreeSet<NodeId>) -> String {
    let ids: Vec<String> = nodes.iter().map(|node| node.0.to_string()).collect();
    if ids.is_empty() { "none".to_owned() } else { ids.join(", ") }
}
