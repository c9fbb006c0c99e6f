//! Watches one group: tells who leads, and what becomes of a group that stops.

use std::sync::Arc;
use std::time::Duration;

use domicile_storage::{Bug, is_seeded};
use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::Fatal;
use tokio::sync::watch;

use crate::barrier::Applied;
use crate::faults::{Faults, Lifecycle};
use crate::log_store::LogStore;
use crate::type_config::Raft;
use crate::{Leadership, NodeId, quorum};

pub(crate) struct Supervisor {
    pub(crate) node: NodeId,
    pub(crate) election_max: Duration,
    pub(crate) raft: Raft,
    pub(crate) faults: Arc<Faults>,
    pub(crate) applied: watch::Receiver<Applied>,
    pub(crate) leadership: watch::Sender<Leadership>,
    pub(crate) log: LogStore,
    /// The applied index at which a sync of the state was last asked for, to cut the log.
    pub(crate) syncing: Option<u64>,
}

impl Supervisor {
    /// Until the group ends. Woken by changes of role, by a log that is too long, and while it leads once
    /// in an election timeout; not by every commit.
    pub(crate) async fn run(mut self) {
        let (mut server, mut data) = (self.raft.server_metrics(), self.raft.data_metrics());
        loop {
            let acknowledged = data.borrow_and_update().last_quorum_acked;
            let (state, term, followed) = {
                let seen = server.borrow_and_update();
                let left =
                    quorum::time_left(self.node, &seen.membership_config, acknowledged, self.election_max);
                (seen.state, seen.vote.leader_id.term, left)
            };
            let is_leader = state == ServerState::Leader;
            let settled = self.tell(state, term, followed.is_some());
            let more = tokio::select! {
                changed = server.changed() => changed.is_ok(),
                changed = self.applied.changed(), if !settled => changed.is_ok(),
                () = tokio::time::sleep(followed.unwrap_or_default()), if is_leader && followed.is_some() => true,
                changed = data.changed(), if is_leader && followed.is_none() => changed.is_ok(),
                () = self.log.oversized() => {
                    self.bound_log().await;
                    true
                }
            };
            if !more {
                let said = self.raft.metrics().borrow_watched().running_state.clone().err();
                let fatal = match said {
                    Some(fatal) => fatal,
                    None => self.silent_end().await,
                };
                return self.stopped(&fatal);
            }
        }
    }

    /// Why the core ended without saying so: it panicked, or its runtime went away, which is no fault.
    async fn silent_end(&self) -> Fatal<crate::type_config::TypeConfig> {
        self.raft.is_initialized().await.err().unwrap_or(Fatal::Stopped)
    }

    /// INVARIANT: leads only while everything committed in earlier terms is applied here, which an
    /// applied entry of the own term proves: the first one of a term is the leader's blank. And only while
    /// a quorum answers it: else another may lead, of a later term.
    ///
    /// False while it leads but has not applied that entry yet.
    fn tell(&mut self, state: ServerState, term: u64, followed: bool) -> bool {
        let applied_term = self.applied.borrow_and_update().term;
        let complete = applied_term == term;
        let followed = followed || is_seeded(Bug::DeposedRefusal);
        let now = Leadership { term, leads: state == ServerState::Leader && complete && followed };
        self.leadership.send_if_modified(|before| std::mem::replace(before, now) != now);
        complete || state != ServerState::Leader
    }

    /// Cuts a log that holds too many bytes: openraft itself counts entries only.
    async fn bound_log(&mut self) {
        let Some(upto) = self.log.excess() else { return };
        let synced = self.raft.metrics().borrow_watched().snapshot.as_ref().map(openraft::LogId::index);
        let trigger = self.raft.trigger();
        let asked = if synced >= Some(upto) {
            trigger.purge_log(upto).await
        } else if self.syncing <= synced {
            self.syncing = Some(self.applied.borrow().index);
            trigger.snapshot().await
        } else {
            return;
        };
        if let Err(cause) = asked {
            tracing::debug!(%cause, "the group stopped before its log was cut");
        }
    }

    fn stopped(&self, fatal: &Fatal<crate::type_config::TypeConfig>) {
        self.leadership.send_if_modified(|seen| std::mem::take(&mut seen.leads));
        let orderly = !matches!(*self.faults.lifecycle.borrow(), Lifecycle::Running);
        if orderly || self.faults.has_panicked() {
            return;
        }
        match fatal {
            Fatal::StorageError(cause) => self.faults.storage_failed(&cause.to_string()),
            Fatal::Panicked => self.faults.panicked("raft core".to_owned()),
            Fatal::Stopped => self.faults.fail("raft stopped without an order"),
        }
    }
}
