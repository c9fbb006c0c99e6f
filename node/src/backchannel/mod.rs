//! Tells clients that a login is over (OpenID Connect Back-Channel Logout 1.0; docs/adr/0018).
//!
//! What is to be told lies in each tenant's home partition, written with the event that ended the session. The
//! node that leads the partition tells it, so it is told from inside the tenant's placement and by one node at a
//! time; the next leader goes on with what is left. A client may hear of one logout more than once.
//!
//! Only tries are kept in memory here. What happens when is in `schedule`, one try in `delivery`.

mod delivery;
mod schedule;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use domicile_iam::commands::SettledLogout;
use domicile_iam::execute::ExecuteError;
use domicile_iam::ids::TenantId;
use domicile_iam::service::{PendingLogout, Search};
use domicile_raft::PartitionId;
use tokio::task::{JoinError, JoinSet};

use crate::egress::Fetch;
use crate::public::PublicState;
use crate::telemetry::LogoutMetrics;
use schedule::Schedule;

/// How often new notices are looked for where a command of this node left some; also how much is settled at once.
const ROUND: Duration = Duration::from_millis(200);
/// How often everything is looked through, for notices that nobody here was seen to leave.
const SEARCH_ALL: Duration = Duration::from_secs(30);
/// Pause after notices of a tenant could not be settled.
const SETTLE_AGAIN: Duration = Duration::from_secs(2);

/// Tells what is to be told by this node.
pub(crate) struct Backchannel {
    state: PublicState,
    fetch: Arc<dyn Fetch>,
    metrics: LogoutMetrics,
    schedule: Schedule,
    /// Partitions led here: the term, and when all of it was last looked through.
    led: BTreeMap<PartitionId, (u64, Duration)>,
    /// Tenants with a settling write on its way, or that have to wait until then.
    settling: BTreeMap<TenantId, Option<Duration>>,
    tasks: JoinSet<Done>,
}

enum Done {
    Tried(PendingLogout, delivery::Outcome),
    Settled(TenantId, Vec<SettledLogout>, Settling),
}

/// What a settling write came to.
enum Settling {
    Done,
    /// The tenant is gone with all that was to be told.
    Gone,
    /// To be tried again.
    Failed,
}

impl Backchannel {
    /// With nothing known yet.
    pub(crate) fn new(state: PublicState, fetch: Arc<dyn Fetch>, metrics: LogoutMetrics) -> Self {
        Self {
            state,
            fetch,
            metrics,
            schedule: Schedule::default(),
            led: BTreeMap::new(),
            settling: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Until the task is dropped.
    pub(crate) async fn run(mut self) {
        let mut round = tokio::time::interval(ROUND);
        round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = round.tick() => {
                    self.look();
                    self.settle();
                }
                Some(done) = self.tasks.join_next() => self.take(done),
            }
            self.start();
        }
    }

    /// Finds new notices, and forgets those of partitions that another node leads now.
    fn look(&mut self) {
        let now = self.state.clock.monotonic();
        let led: BTreeMap<PartitionId, u64> = self.state.iam.homes_led().into_iter().collect();
        self.led.retain(|home, (term, _)| led.get(home) == Some(&*term));
        self.schedule.keep_only(&self.led.keys().copied().collect::<BTreeSet<_>>());
        for (home, term) in led {
            let searched = self.led.get(&home).map(|(_, at)| *at);
            let all = searched.is_none_or(|at| now >= at + SEARCH_ALL);
            let search = if all { Search::Everywhere } else { Search::WhereNoted };
            match self.state.iam.pending_logouts(home, search) {
                Ok(found) => self.schedule.learn(home, found, now),
                Err(error) => {
                    tracing::warn!(%error, "logouts to be told could not be read; the next round tries again");
                    continue;
                }
            }
            if all {
                self.led.insert(home, (term, now));
            }
        }
        self.metrics.pending(self.schedule.len());
    }

    /// Starts what is due.
    fn start(&mut self) {
        let (now, wall) = (self.state.clock.monotonic(), self.state.clock.now());
        for pending in self.schedule.due(now, wall) {
            let (state, fetch) = (self.state.clone(), self.fetch.clone());
            self.tasks.spawn(async move {
                let outcome = delivery::deliver(&state, fetch.as_ref(), &pending).await;
                Done::Tried(pending, outcome)
            });
        }
    }

    /// Takes away what needs no more tries: one write for each tenant.
    fn settle(&mut self) {
        let now = self.state.clock.monotonic();
        self.settling.retain(|_, until| until.is_none_or(|until| now < until));
        for (tenant, settled) in self.schedule.settled() {
            if self.settling.contains_key(&tenant) {
                continue;
            }
            self.settling.insert(tenant, None);
            let iam = self.state.iam.clone();
            self.tasks.spawn(async move {
                let outcome = match iam.settle_logouts(tenant, settled.clone()).await {
                    Ok(()) => Settling::Done,
                    Err(ExecuteError::TenantErased | ExecuteError::KeyGone) => Settling::Gone,
                    Err(error) => {
                        tracing::debug!(%tenant, %error, "told logouts could not be settled; tried again");
                        Settling::Failed
                    }
                };
                Done::Settled(tenant, settled, outcome)
            });
        }
    }

    fn take(&mut self, done: Result<Done, JoinError>) {
        let now = self.state.clock.monotonic();
        match done {
            Ok(Done::Tried(pending, outcome)) => {
                self.metrics.tried(outcome.label());
                let mut random = [0_u8; 2];
                self.state.clock.fill_random(&mut random);
                self.schedule.tried(&pending, outcome, now, u16::from_be_bytes(random));
            }
            Ok(Done::Settled(tenant, _, Settling::Failed)) => {
                self.settling.insert(tenant, Some(now + SETTLE_AGAIN));
            }
            Ok(Done::Settled(tenant, settled, outcome)) => {
                self.settling.remove(&tenant);
                if matches!(outcome, Settling::Done) {
                    self.note_failures(tenant, &settled);
                }
                self.schedule.forget(tenant, &settled);
            }
            Err(error) => {
                // A try that panicked stays in flight here until the next leader or start.
                tracing::error!(%error, "telling of a logout failed");
            }
        }
    }

    fn note_failures(&self, tenant: TenantId, settled: &[SettledLogout]) {
        for SettledLogout { notice, failure } in settled {
            let Some(reason) = failure else { continue };
            let client = notice.client;
            tracing::warn!(%tenant, %client, ?reason, "a client could not be told of a logout");
            self.metrics.given_up(*reason);
        }
    }
}
