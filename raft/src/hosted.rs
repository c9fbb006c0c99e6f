//! A group as the layers above hold it: the handle stays while Raft is started again under it.

use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use domicile_storage::Engine;
use tokio::sync::{Mutex, watch};

use crate::config::GroupConfig;
use crate::faults::{Lifecycle, chain};
use crate::group::Group;
use crate::group_start::{GroupStarter, Opened, Under};
use crate::orders;
use crate::{
    BoxFuture, Consistency, Incarnation, Leadership, Outcome, Partition, PartitionId, PartitionStatus,
    ReadError,
};

/// How long a leader looks for another before it starts again with new timers.
const HAND_OVER_WAIT: Duration = Duration::from_secs(3);

/// One partition's running replica.
pub(crate) struct Hosted {
    config: GroupConfig,
    current: RwLock<Arc<Group>>,
    leadership: watch::Receiver<Leadership>,
}

impl Hosted {
    pub(crate) fn new(
        config: GroupConfig,
        group: Arc<Group>,
        leadership: watch::Receiver<Leadership>,
    ) -> Arc<Self> {
        Arc::new(Self { config, current: RwLock::new(group), leadership })
    }

    pub(crate) fn group(&self) -> Arc<Group> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Starts Raft again with the timers of new settings: openraft takes them at its start only.
    async fn restart(&self, starter: &GroupStarter, leadership: watch::Sender<Leadership>) {
        let before = self.group();
        let partition = before.id.0;
        if before.claims_leadership() && !orders::hand_over(&before, HAND_OVER_WAIT).await {
            tracing::info!(partition, "no other voter takes over while the timers change");
        }
        before.stop().await;
        before.wait_closed().await;
        let under = Under { engine: Some(before.engine.get()), leadership };
        let why = match starter.start(&self.config, under).await {
            Ok(Opened::Running(group)) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = group;
                return;
            }
            Ok(Opened::Quarantined(group)) => group.reason,
            Err(cause) => chain(&cause),
        };
        tracing::error!(partition, why, "not started again with new timers");
        let why = format!("not started again with new timers: {why}");
        before.faults.lifecycle.send_replace(Lifecycle::Failed(why));
    }
}

/// Starts Raft again whenever the group's settings name other timers. Ends with the group, and
/// with it what tells who leads.
pub(crate) async fn follow_timers(
    hosted: Weak<Hosted>,
    starter: GroupStarter,
    one: Arc<Mutex<()>>,
    leadership: watch::Sender<Leadership>,
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
        }
        let _one = one.lock().await;
        let Some(hosted) = hosted.upgrade() else { return };
        if !matches!(*hosted.group().faults.lifecycle.borrow(), Lifecycle::Running) {
            return;
        }
        hosted.restart(&starter, leadership.clone()).await;
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
