//! Brings partitions to where they are wanted, one small step after another. Runs on the node that leads
//! the directory; a step that failed, or that two controllers make at once, does no harm: orders are
//! conditional on the membership that they were made from and on the settings' generation.

mod silence;
mod step;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domicile_raft::placement::{GroupSettings, Step, plan};
use domicile_raft::{Clock, PartitionId, PartitionStatus, TimerProfile};

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
/// How long a node may take to answer before it counts as silent.
const ANSWER: Duration = Duration::from_secs(2);

/// The loop and what it remembers while it leads.
pub(crate) struct Controller {
    pub(crate) links: Arc<Links>,
    pub(crate) directory: Directory,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) dead_after: Duration,
}

/// What a round looked at.
struct Round<'a> {
    catalog: &'a Catalog,
    survey: &'a Survey,
    silence: &'a Silence,
}

impl Controller {
    /// Until the task is dropped.
    pub(crate) async fn run(self) {
        let mut silence = Silence::new(self.dead_after);
        // What was told last of a partition, so that a state that lasts is told once.
        let mut told: BTreeMap<PartitionId, String> = BTreeMap::new();
        let mut pause = IDLE;
        loop {
            tokio::time::sleep(pause).await;
            if !self.directory.leads() {
                silence = Silence::new(self.dead_after);
                told.clear();
                pause = IDLE;
                continue;
            }
            pause = if self.round(&mut silence, &mut told).await { BUSY } else { IDLE };
        }
    }

    /// Whether anything was done.
    async fn round(&self, silence: &mut Silence, told: &mut BTreeMap<PartitionId, String>) -> bool {
        let catalog = match self.directory.catalog().await {
            Ok(catalog) => catalog,
            Err(error) => {
                tracing::warn!(%error, "the directory cannot be read; the next round tries again");
                return false;
            }
        };
        let survey = survey(&self.links, self.clock.as_ref(), &catalog, ANSWER).await;
        silence.hear(&survey, self.clock.monotonic());
        let round = Round { catalog: &catalog, survey: &survey, silence };
        let mut busy = false;
        // The directory first: all else hangs on it.
        for (id, wanted) in &catalog.partitions {
            if !self.directory.leads() {
                return false;
            }
            match self.drive(&round, *id, wanted).await {
                Ok(None) => {
                    told.remove(id);
                }
                Ok(Some(done)) => {
                    busy |= !done.waits;
                    if told.insert(*id, done.text.clone()).as_ref() != Some(&done.text) {
                        tracing::info!(partition = id.0, step = done.text, "placement");
                    }
                }
                Err(reason) => {
                    if told.insert(*id, reason.clone()).as_ref() != Some(&reason) {
                        tracing::warn!(
                            partition = id.0,
                            reason,
                            "a placement step failed; the next round looks again"
                        );
                    }
                }
            }
        }
        busy
    }

    /// One step for one partition; what was done, if anything was.
    async fn drive(
        &self,
        round: &Round<'_>,
        id: PartitionId,
        wanted: &CatalogPartition,
    ) -> Result<Option<Done>, String> {
        let doer = Doer { links: &self.links, directory: &self.directory, round, id, wanted };
        let replicas = replicas_of(round.survey, id);
        let Some((teller, word)) = best_word(&replicas) else { return doer.found().await };
        if word.leader != Some(teller) {
            return Ok(Some(Done::waiting("waits for a leader that answers")));
        }
        if let Some(settings) = settings_due(round.catalog, wanted, word) {
            return doer.update_settings(word, settings).await.map(Some);
        }
        let situation = situation(round.catalog, round.survey, word, Some(round.silence.dead()));
        let next = plan(&situation);
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
