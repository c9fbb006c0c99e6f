//! Brings partitions to where they are wanted, one small step after another. Runs on the node that leads
//! the directory; a step that failed, or that two controllers make at once, does no harm: orders are
//! conditional on the membership that they were made from and on the settings' generation.

mod mend;
mod silence;
mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use domicile_raft::placement::{GroupSettings, Step, plan};
use domicile_raft::{Clock, PartitionId, PartitionStatus, TimerProfile};
use tokio::task::{JoinError, JoinSet};

use super::catalog::{Catalog, CatalogPartition};
use super::directory::Directory;
use super::links::Links;
use super::overview::{Survey, best_word, replicas_of, situation};
use super::survey::survey;

use silence::Silence;
use step::Doer;

/// Between two rounds that changed nothing, and after one that did.
const IDLE: Duration = Duration::from_secs(1);
const BUSY: Duration = Duration::from_millis(100);
/// Between two looks of a node that may come to lead the directory and does not.
const WATCH: Duration = Duration::from_secs(5);
/// How long a node may take to answer before it counts as silent.
const ANSWER: Duration = Duration::from_secs(2);
/// Partitions worked on at a time. More would only have the directory's log and the disks wait.
const AT_ONCE: usize = 8;
/// A partition whose step failed waits so long: what keeps one up must not keep the places of others.
const AFTER_FAILURE: Duration = Duration::from_secs(3);

/// The loop's parts.
pub(crate) struct Controller {
    pub(crate) links: Arc<Links>,
    pub(crate) directory: Directory,
    pub(crate) clock: Arc<dyn Clock>,
    /// Until the directory's own is read.
    pub(crate) dead_after: Duration,
}

/// What a round looked at.
struct Round {
    catalog: Catalog,
    survey: Survey,
    silence: Silence,
}

/// What became of a partition's step.
type Worked = (PartitionId, Result<Option<Done>, String>);

/// What the loop remembers while it leads. Dropping it gives up the steps under way, each of which
/// is found half done by the next controller.
struct Memory {
    silence: Silence,
    /// Steps under way; one that takes long holds up no other partition's.
    working: JoinSet<Worked>,
    tasks: Vec<(tokio::task::Id, PartitionId)>,
    busy_with: BTreeSet<PartitionId>,
    /// Not before then, on the monotonic clock.
    rests: BTreeMap<PartitionId, Duration>,
    /// In which round a partition had its last turn.
    turns: BTreeMap<PartitionId, u64>,
    round: u64,
    /// What was told last of a partition, so that a state that lasts is told once.
    told: BTreeMap<PartitionId, String>,
}

impl Memory {
    fn new(dead_after: Duration) -> Self {
        Self {
            silence: Silence::new(dead_after),
            working: JoinSet::new(),
            tasks: Vec::new(),
            busy_with: BTreeSet::new(),
            rests: BTreeMap::new(),
            turns: BTreeMap::new(),
            round: 0,
            told: BTreeMap::new(),
        }
    }

    /// Partitions that get a turn now: the directory first, since all else hangs on it, then those that
    /// waited longest.
    fn turns(&mut self, wanted: impl Iterator<Item = PartitionId>, now: Duration) -> Vec<PartitionId> {
        self.rests.retain(|_, until| *until > now);
        let free = |id: &PartitionId| !self.busy_with.contains(id) && !self.rests.contains_key(id);
        let mut waiting: Vec<PartitionId> = wanted.filter(free).collect();
        waiting
            .sort_by_key(|id| (*id != PartitionId::DIRECTORY, self.turns.get(id).copied().unwrap_or(0), *id));
        waiting.truncate(AT_ONCE.saturating_sub(self.busy_with.len()));
        self.round += 1;
        for id in &waiting {
            self.busy_with.insert(*id);
            self.turns.insert(*id, self.round);
        }
        waiting
    }

    /// Whether the step changed something.
    fn note(&mut self, worked: Result<Worked, JoinError>, now: Duration) -> bool {
        let (id, result) = match worked {
            Ok(worked) => worked,
            Err(cause) => {
                let found = self.tasks.iter().find(|(task, _)| *task == cause.id());
                let Some((_, id)) = found.copied() else { return false };
                (id, Err(format!("the step ended early: {cause}")))
            }
        };
        self.tasks.retain(|(_, of)| *of != id);
        self.busy_with.remove(&id);
        match result {
            Ok(None) => {
                self.told.remove(&id);
                false
            }
            Ok(Some(done)) => {
                if self.told.insert(id, done.text.clone()).as_ref() != Some(&done.text) {
                    tracing::info!(partition = id.0, step = done.text, "placement");
                }
                if !done.waits {
                    // What follows comes first, so that a partition is soon whole however many there are.
                    self.turns.remove(&id);
                }
                !done.waits
            }
            Err(reason) => {
                self.rests.insert(id, now.saturating_add(AFTER_FAILURE));
                if self.told.insert(id, reason.clone()).as_ref() != Some(&reason) {
                    tracing::warn!(partition = id.0, reason, "a placement step failed; it is tried again");
                }
                false
            }
        }
    }
}

impl Controller {
    /// Until the task is dropped.
    pub(crate) async fn run(self) {
        let this = Arc::new(self);
        let mut memory = Memory::new(this.dead_after);
        let mut next = std::pin::pin!(tokio::time::sleep(IDLE));
        loop {
            tokio::select! {
                () = next.as_mut() => {}
                Some(worked) = memory.working.join_next() => {
                    if memory.note(worked, this.clock.monotonic()) {
                        next.set(tokio::time::sleep(BUSY));
                    }
                    continue;
                }
            }
            if this.directory.leads() {
                this.round(&mut memory).await;
            } else {
                if memory.round > 0 {
                    memory = Memory { silence: memory.silence, ..Memory::new(this.dead_after) };
                }
                this.watch(&mut memory.silence).await;
            }
            next.set(tokio::time::sleep(IDLE));
        }
    }

    /// Looks who is silent, to know it where this node comes to lead.
    async fn watch(&self, silence: &mut Silence) {
        let now = self.clock.monotonic();
        let due = silence.looked().is_none_or(|looked| now.saturating_sub(looked) >= WATCH);
        if !due || !self.directory.votes() {
            return;
        }
        let Ok(catalog) = self.directory.catalog().await else { return };
        let survey = survey(&self.links, self.clock.as_ref(), &catalog, ANSWER).await;
        silence.wait_for(catalog.dead_after.unwrap_or(self.dead_after));
        silence.overhear(&survey, self.clock.monotonic());
    }

    /// Looks at everything, and begins what is due.
    async fn round(self: &Arc<Self>, memory: &mut Memory) {
        let catalog = match self.directory.catalog().await {
            Ok(catalog) => catalog,
            Err(error) => {
                tracing::warn!(%error, "the directory cannot be read; the next round tries again");
                return;
            }
        };
        let survey = survey(&self.links, self.clock.as_ref(), &catalog, ANSWER).await;
        let now = self.clock.monotonic();
        memory.silence.wait_for(catalog.dead_after.unwrap_or(self.dead_after));
        memory.silence.hear(&survey, now);
        let due = memory.turns(catalog.partitions.keys().copied(), now);
        let round = Arc::new(Round { catalog, survey, silence: memory.silence.clone() });
        for id in due {
            let (this, round) = (Arc::clone(self), Arc::clone(&round));
            let task = memory.working.spawn(async move {
                let Some(wanted) = round.catalog.partitions.get(&id) else { return (id, Ok(None)) };
                // What was looked at while another led counts for nothing.
                let worked =
                    if this.directory.leads() { this.drive(&round, id, wanted).await } else { Ok(None) };
                (id, worked)
            });
            memory.tasks.push((task.id(), id));
        }
    }

    /// One step for one partition; what was done, if anything was.
    async fn drive(
        &self,
        round: &Round,
        id: PartitionId,
        wanted: &CatalogPartition,
    ) -> Result<Option<Done>, String> {
        let doer = Doer { links: &self.links, directory: &self.directory, round, id, wanted };
        let replicas = replicas_of(&round.survey, id);
        let Some((teller, word)) = best_word(&replicas) else { return doer.found().await };
        if word.leader != Some(teller) {
            return Ok(Some(Done::waiting("waits for a leader that answers")));
        }
        if let Some(settings) = settings_due(&round.catalog, wanted, word) {
            return doer.update_settings(word, settings).await.map(Some);
        }
        let mut situation = situation(&round.catalog, &round.survey, word, Some(round.silence.dead()));
        let broken = if mend::applies_to(id) { round.silence.broken(id) } else { BTreeSet::new() };
        mend::set_aside(&mut situation, &broken);
        let next = mend::or_release(plan(&situation), &situation, &broken);
        let done = match next {
            Step::Nothing => match doer.open_again(word, &replicas).await? {
                Some(done) => Some(done),
                None => doer.settle(word, &replicas).await?,
            },
            Step::Wait(wait) => Some(Done::waiting(&format!("waits: {wait:?}"))),
            Step::AddLearner(node) => Some(doer.add_learner(word, node).await?),
            Step::FinishJoint => Some(doer.finish_joint(word).await?),
            Step::SetVoters(voters) => Some(doer.set_voters(word, voters).await?),
            Step::RemoveLearner(node) => Some(doer.remove_learner(word, node).await?),
            Step::TransferLeader(to) => Some(doer.transfer_leader(word, to).await?),
        };
        Ok(done)
    }
}

/// What a round did for a partition.
struct Done {
    text: String,
    /// Nothing was changed: there is something to wait for.
    waits: bool,
}

impl Done {
    fn step(text: String) -> Self {
        Self { text, waits: false }
    }

    fn waiting(text: &str) -> Self {
        Self { text: text.to_owned(), waits: true }
    }
}

/// The settings that the group should get, if they are not those it has. Voters that are all in one
/// region answer each other soon enough for the short timers, wherever else replicas may be.
fn settings_due(
    catalog: &Catalog,
    wanted: &CatalogPartition,
    word: &PartitionStatus,
) -> Option<GroupSettings> {
    let timers = timers(catalog, wanted);
    let current = word.settings.as_ref();
    let stale = current.is_none_or(|now| now.placement != wanted.placement || now.timers != timers);
    let generation = current.map_or(0, |now| now.generation).max(wanted.generation.saturating_sub(1)) + 1;
    stale.then(|| GroupSettings { generation, timers, placement: wanted.placement.clone() })
}

/// Short ones while all nodes that may vote are in one region.
fn timers(catalog: &Catalog, wanted: &CatalogPartition) -> TimerProfile {
    let mut regions: Vec<&str> = catalog
        .members()
        .map(|(_, node)| node.region.as_str())
        .filter(|region| wanted.placement.allows(region))
        .collect();
    regions.sort_unstable();
    regions.dedup();
    if regions.len() > 1 { TimerProfile::Wide } else { TimerProfile::Zone }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_takes_long_or_fails_holds_up_no_other() {
        let mut memory = Memory::new(IDLE);
        let all = || (0..12).map(PartitionId);
        let now = Duration::from_secs(100);
        let first = memory.turns(all(), now);
        assert_eq!(first, (0..8).map(PartitionId).collect::<Vec<_>>());
        assert_eq!(memory.turns(all(), now), [], "all places are taken");
        for id in first.iter().skip(1) {
            assert!(!memory.note(Ok((*id, Ok(None))), now));
        }
        // The directory's step still runs; the others that waited come before those that had a turn.
        let next = memory.turns(all(), now);
        assert_eq!(next, [8, 9, 10, 11, 1, 2, 3].map(PartitionId));
        assert!(memory.note(Ok((PartitionId(8), Ok(Some(Done::step("done".to_owned()))))), now));
        assert!(!memory.note(Ok((PartitionId(9), Err("no".to_owned()))), now));
        assert!(!memory.note(Ok((PartitionId(0), Ok(None))), now));
        // One that was changed goes on before those that only wait for another look.
        assert_eq!(memory.turns(all(), now), [0, 8, 4].map(PartitionId));
        memory.note(Ok((PartitionId(10), Ok(None))), now);
        memory.note(Ok((PartitionId(11), Ok(None))), now);
        // One that failed rests for a while.
        assert_eq!(memory.turns([9].map(PartitionId).into_iter(), now), []);
        assert_eq!(memory.turns([9].map(PartitionId).into_iter(), now + AFTER_FAILURE), [PartitionId(9)]);
    }
}
