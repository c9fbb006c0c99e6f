//! What is done in a run: faults as planned, then everything whole again, and the last reads. What was seen is written
//! down after each fault, so that a run that is killed can be judged.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::monitor::Monitor;
use super::outcry::{self, Mark};
use super::told::Told;
use super::{fault, live};
use crate::clock::Stopwatch;
use crate::nemesis::Nemesis;
use crate::schedule::Schedule;
use crate::workload::{self, Ground};

/// Everything must work again so soon after all was healed; processes that start are waited for first.
const RECOVER_MAX: Duration = Duration::from_mins(1);
/// Processes that were killed serve again so soon after all was healed.
const HEAL_MAX: Duration = Duration::from_secs(45);
/// Between a fault that lasted longer than planned and the next.
const REST_MIN: Duration = Duration::from_secs(1);
/// For clients to finish what they do.
const FINISH_MAX: Duration = Duration::from_secs(45);

/// All that it is done with.
pub(super) struct Script<'a> {
    pub(super) ground: &'a Arc<Ground>,
    pub(super) nemesis: &'a Nemesis,
    pub(super) schedule: &'a Schedule,
    pub(super) monitor: &'a Monitor,
    pub(super) line: &'a live::Line,
    pub(super) dir: &'a Path,
}

impl Script<'_> {
    /// Does all of it.
    ///
    /// # Errors
    /// The harness could not do what it should, which says nothing of the nodes.
    pub(super) async fn run(&self, told: &mut Told, clients: &mut JoinSet<()>) -> anyhow::Result<()> {
        self.keep(told)?;
        self.faults(told).await?;
        if !self.heal(told).await? {
            // The last reads would wait for it in vain.
            return Ok(());
        }
        self.keep(told)?;
        self.line.phase("liveness");
        told.recovered_ms = recovered(self.ground).await;
        tokio::time::sleep(Duration::from_millis(self.schedule.phases.liveness_ms)).await;
        self.line.phase("finishing");
        self.ground.close();
        let finished = async { while clients.join_next().await.is_some() {} };
        if tokio::time::timeout(FINISH_MAX, finished).await.is_err() {
            clients.abort_all();
        }
        self.line.phase("final reads");
        self.last_reads(told).await;
        Ok(())
    }

    async fn faults(&self, told: &mut Told) -> anyhow::Result<()> {
        let start = Instant::now();
        let mut rested = start;
        self.line.phase("healthy");
        for step in &self.schedule.steps {
            let planned = start + Duration::from_millis(step.at_ms);
            tokio::time::sleep_until(planned.max(rested)).await;
            self.line.phase(&format!("{}", step.fault));
            fault::one(self.ground, self.nemesis, step, self.dir, told).await;
            self.keep(told)?;
            rested = Instant::now() + REST_MIN;
            self.line.phase("recovering");
        }
        let phases = self.schedule.phases;
        let chaos_ends = Duration::from_millis(phases.healthy_ms + phases.chaos_ms);
        tokio::time::sleep_until(start + chaos_ends).await;
        Ok(())
    }

    /// Everything as it was. `false` if a node does not come back though nothing is wrong any more: then it has broken
    /// its promise.
    async fn heal(&self, told: &mut Told) -> anyhow::Result<bool> {
        let ground = self.ground;
        self.line.phase("healing");
        ground.journal.fault("heal-all", "");
        self.nemesis.mend().await.context("what was done to the machines cannot be undone")?;
        let back = tokio::time::timeout(HEAL_MAX, self.nemesis.all_serve()).await;
        told.excuses.close(&Mark::of(ground));
        ground.set_disk_fails(false);
        let Err(why) = back.map_err(anyhow::Error::from).flatten() else { return Ok(true) };
        let limit_s = HEAL_MAX.as_secs();
        told.unreachable.push(format!("not everything is back {limit_s} s after all was healed: {why:#}"));
        Ok(false)
    }

    async fn last_reads(&self, told: &mut Told) {
        let ground = self.ground;
        if let Err(error) = workload::final_reads(ground).await {
            told.unreachable.push(format!("{error:#}"));
        }
        let compared = workload::compare(ground, self.dir).await;
        told.compared += compared.looked_at;
        told.differs.extend(compared.differs);
        told.unreachable.extend(compared.unreadable);
        told.broken.extend(compared.broken);
        told.digests = workload::compare_digests(ground).await;
        let Some(view) = ground.cluster.view(0).await else { return };
        let broken =
            view.partitions.iter().flat_map(|one| one.broken.iter().map(move |broken| (one.id, broken)));
        told.unreachable
            .extend(broken.map(|(id, (node, why))| {
                format!("node {node} does not have partition {id} any more: {why}")
            }));
    }

    /// Writes down what was seen by now.
    fn keep(&self, told: &Told) -> anyhow::Result<()> {
        let mut now = told.clone();
        now.see(self.monitor.so_far());
        now.odd = self.ground.odd_answers();
        now.died = outcry::fallen(self.ground, &told.excuses);
        self.line.told(&now);
        now.write(self.dir)
    }
}

/// How long each node that serves the tenant took until a write went well through it; `None` for one that did not in time.
async fn recovered(ground: &Arc<Ground>) -> Vec<Option<u64>> {
    let watch = Stopwatch::start();
    let one = |node: usize| {
        let ground = ground.clone();
        async move {
            let trying = async {
                while !ground.write_goes_well(node).await {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            let done = tokio::time::timeout(RECOVER_MAX, trying).await;
            done.ok().map(|()| watch.elapsed_ns() / 1_000_000)
        }
    };
    futures::future::join_all(ground.tenant.doors.iter().copied().map(one)).await
}
