//! A group as the layers above hold it: the handle stays while Raft is started again under it.

use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use domicile_storage::Engine;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use crate::config::GroupConfig;
use crate::faults::{Lifecycle, chain};
use crate::group::Group;
use crate::group_start::{GroupStarter, Opened, Under};
use crate::orders;
use crate::turns;
use crate::{
    BoxFuture, Consistency, Incarnation, Leadership, Outcome, Partition, PartitionId, PartitionStatus,
    ReadError,
};

/// How long a leader looks for another before it starts again with new timers.
const HAND_OVER_WAIT: Duration = Duration::from_secs(3);
/// Between attempts to start again: the first wait, then twice as long each time.
const AGAIN_FIRST: Duration = Duration::from_millis(500);
const ATTEMPTS_MAX: u32 = 6;

/// One partition's running replica.
pub(crate) struct Hosted {
    config: GroupConfig,
    current: RwLock<Arc<Group>>,
    leadership: watch::Receiver<Leadership>,
    /// One start or stop at a time; true once it was closed by order.
    changing: Mutex<bool>,
}

impl Hosted {
    pub(crate) fn new(
        config: GroupConfig,
        group: Arc<Group>,
        leadership: watch::Receiver<Leadership>,
    ) -> Arc<Self> {
        Arc::new(Self { config, current: RwLock::new(group), leadership, changing: Mutex::default() })
    }

    pub(crate) fn group(&self) -> Arc<Group> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Stops the group for good. False if something in Raft still holds the state then: neither may be
    /// opened again nor removed.
    pub(crate) async fn close(&self) -> bool {
        let mut closed = self.changing.lock().await;
        *closed = true;
        stopped(&self.group()).await
    }

    /// Starts Raft again with the timers of new settings: openraft takes them at its start only.
    async fn restart(
        &self,
        starter: &GroupStarter,
        leadership: &watch::Sender<Leadership>,
        stopping: &CancellationToken,
    ) {
        let closed = self.changing.lock().await;
        let before = self.group();
        if *closed || !is_running(&before) {
            return;
        }
        let partition = before.id.0;
        if before.claims_leadership() {
            let handed = stopping.run_until_cancelled(orders::hand_over(&before, HAND_OVER_WAIT)).await;
            match handed {
                Some(true) => {}
                Some(false) => {
                    tracing::info!(partition, "no other voter takes over while the timers change");
                }
                None => return,
            }
        }
        if !stopped(&before).await {
            return;
        }
        if let Err(why) = self.start_again(&before, starter, leadership, stopping).await {
            tracing::error!(partition, why, "not started again with new timers");
            let why = format!("not started again with new timers: {why}");
            before.faults.lifecycle.send_replace(Lifecycle::Failed(why));
        }
    }

    async fn start_again(
        &self,
        before: &Group,
        starter: &GroupStarter,
        leadership: &watch::Sender<Leadership>,
        stopping: &CancellationToken,
    ) -> Result<(), String> {
        let mut attempt = 1;
        loop {
            let under = Under { engine: Some(before.engine.get()), leadership: leadership.clone() };
            match starter.start(&self.config, under).await {
                Ok(Opened::Running(group)) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = group;
                    return Ok(());
                }
                Ok(Opened::Quarantined(group)) => return Err(group.reason),
                Err(cause) if attempt >= ATTEMPTS_MAX => return Err(chain(&cause)),
                Err(cause) => {
                    let (partition, why) = (before.id.0, chain(&cause));
                    tracing::warn!(partition, why, "not started with new timers yet");
                }
            }
            let wait = AGAIN_FIRST * 2u32.saturating_pow(attempt - 1);
            attempt += 1;
            if stopping.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return Err("the node is stopping".to_owned());
            }
        }
    }
}

fn is_running(group: &Group) -> bool {
    matches!(*group.faults.lifecycle.borrow(), Lifecycle::Running)
}

/// Stops a group; false, and the group has failed, if its state is still in use.
async fn stopped(group: &Group) -> bool {
    group.stop().await;
    let closed = group.wait_closed().await;
    if !closed {
        let why = "its state is still in use after the stop".to_owned();
        group.faults.lifecycle.send_replace(Lifecycle::Failed(why));
    }
    closed
}

/// Starts Raft again whenever the group's settings name other timers. Ends with the group, and
/// with it what tells who leads.
pub(crate) async fn follow_timers(
    hosted: Weak<Hosted>,
    starter: GroupStarter,
    leadership: watch::Sender<Leadership>,
    stopping: CancellationToken,
) {
    loop {
        let Some(group) = hosted.upgrade().map(|hosted| hosted.group()) else { return };
        let (timers, mut settings) = (group.timers, group.settings.clone());
        let mut lifecycle = group.faults.lifecycle.subscribe();
        drop(group);
        let differ = settings.wait_for(|settings| settings.as_ref().is_some_and(|s| s.timers != timers));
        tokio::select! {
            changed = differ => if changed.is_err() { return },
            _ = lifecycle.wait_for(|lifecycle| !matches!(lifecycle, Lifecycle::Running)) => return,
            () = stopping.cancelled() => return,
        }
        let find = || hosted.upgrade().map(|hosted| hosted.group());
        if stopping.run_until_cancelled(turns::wait(find)).await.is_none() {
            return;
        }
        let Some(hosted) = hosted.upgrade() else { return };
        hosted.restart(&starter, &leadership, &stopping).await;
        if !is_running(&hosted.group()) {
            return;
        }
    }
}

impl Partition for Hosted {
    fn id(&self) -> PartitionId {
        self.config.partition
    }

    fn incarnation(&self) -> Incarnation {
        self.config.incarnation
    }

    fn propose(&self, body: Vec<u8>, deadline: Duration) -> BoxFuture<'_, Outcome> {
        let group = self.group();
        Box::pin(async move { group.propose(body, deadline).await })
    }

    fn read(&self, consistency: Consistency, deadline: Duration) -> BoxFuture<'_, Result<u64, ReadError>> {
        let group = self.group();
        Box::pin(async move { group.read(consistency, deadline).await })
    }

    fn state(&self) -> Arc<dyn Engine> {
        self.group().state()
    }

    fn applied(&self) -> u64 {
        self.group().applied()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    fn status(&self) -> PartitionStatus {
        self.group().status()
    }

    fn staleness_ms(&self) -> Option<u64> {
        self.group().staleness_ms()
    }
}
