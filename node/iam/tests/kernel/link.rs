//! A further executor on a world's partition, with something on the way to it.

use std::sync::Arc;
use std::time::Duration;

use domicile_iam::execute::{Executor, ExecutorConfig};
use domicile_raft::{
    BoxFuture, Clock, Consistency, Incarnation, Leadership, Outcome, Partition, PartitionId, PartitionStatus,
    ReadError,
};
use domicile_storage::Engine;
use tokio::sync::watch;

use crate::world::World;

/// What is on the way.
pub trait Link: Send + Sync + 'static {
    /// Before a read index is asked for; it is not where this fails.
    fn before_read(&self) -> BoxFuture<'_, Result<(), ReadError>>;

    /// Why no proposal arrives; none: it does.
    fn cut(&self) -> Option<Outcome> {
        None
    }
}

/// An executor of the same partition, keys and clock, with latches of its own.
pub fn beside(world: &World, link: impl Link) -> Arc<Executor> {
    let replica = Replica { inner: Arc::clone(&world.partition) as _, link };
    let keyring = Arc::clone(world.executor.keyring());
    let clock = Arc::clone(&world.clock) as Arc<dyn Clock>;
    Executor::new(Arc::new(replica), keyring, clock, ExecutorConfig::default())
}

struct Replica<L> {
    inner: Arc<dyn Partition>,
    link: L,
}

impl<L: Link> Partition for Replica<L> {
    fn id(&self) -> PartitionId {
        self.inner.id()
    }

    fn incarnation(&self) -> Incarnation {
        self.inner.incarnation()
    }

    fn propose(&self, body: Vec<u8>, deadline: Duration) -> BoxFuture<'_, Outcome> {
        match self.link.cut() {
            Some(outcome) => Box::pin(async { outcome }),
            None => self.inner.propose(body, deadline),
        }
    }

    fn read(&self, consistency: Consistency, deadline: Duration) -> BoxFuture<'_, Result<u64, ReadError>> {
        Box::pin(async move {
            self.link.before_read().await?;
            self.inner.read(consistency, deadline).await
        })
    }

    fn state(&self) -> Arc<dyn Engine> {
        self.inner.state()
    }

    fn applied(&self) -> u64 {
        self.inner.applied()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership()
    }

    fn status(&self) -> PartitionStatus {
        self.inner.status()
    }
}
