//! A replica that takes itself for the leader but reaches no quorum says nothing, whatever it holds.

use std::sync::Arc;
use std::time::Duration;

use domicile_iam::execute::{Command, ExecuteError, Executor, ExecutorConfig, RequestContext};
use domicile_raft::{
    BoxFuture, Clock, Consistency, Incarnation, Leadership, Outcome, Partition, PartitionId, PartitionStatus,
    ReadError,
};
use domicile_storage::Engine;
use tokio::sync::watch;

use crate::world::{Add, Erase, Name, No, World};

/// Leads, as far as it knows; no read is confirmed and no proposal arrives.
struct CutOff(Arc<dyn Partition>);

impl Partition for CutOff {
    fn id(&self) -> PartitionId {
        self.0.id()
    }

    fn incarnation(&self) -> Incarnation {
        self.0.incarnation()
    }

    fn propose(&self, _body: Vec<u8>, _deadline: Duration) -> BoxFuture<'_, Outcome> {
        Box::pin(async { Outcome::Overloaded("cut off") })
    }

    fn read(&self, _consistency: Consistency, _deadline: Duration) -> BoxFuture<'_, Result<u64, ReadError>> {
        Box::pin(async { Err(ReadError::Timeout) })
    }

    fn state(&self) -> Arc<dyn Engine> {
        self.0.state()
    }

    fn applied(&self) -> u64 {
        self.0.applied()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.0.leadership()
    }

    fn status(&self) -> PartitionStatus {
        self.0.status()
    }
}

async fn is_silent<C: Command>(world: &World, context: &RequestContext, command: &C) {
    let partition: Arc<dyn Partition> = Arc::new(CutOff(Arc::clone(&world.partition) as _));
    let keyring = Arc::clone(world.executor.keyring());
    let clock = Arc::clone(&world.clock) as Arc<dyn Clock>;
    let executor = Executor::new(partition, keyring, clock, ExecutorConfig::default());
    let outcome = executor.execute(context, command).await;
    assert!(matches!(outcome, Err(ExecuteError::Unavailable { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_kept_reply_is_not_given_without_a_quorum() {
    let world = World::new().await;
    let user = world.opened("ada").await;
    let context = world.idempotent("k", 1);
    world.executor.execute(&context, &Add { user, by: 1 }).await.unwrap();
    is_silent(&world, &context, &Add { user, by: 1 }).await;
}

#[tokio::test]
async fn a_reused_idempotency_key_is_not_named_without_a_quorum() {
    let world = World::new().await;
    let user = world.opened("ada").await;
    world.executor.execute(&world.idempotent("k", 1), &Add { user, by: 1 }).await.unwrap();
    is_silent(&world, &world.idempotent("k", 2), &Add { user, by: 1 }).await;
}

#[tokio::test]
async fn that_a_key_is_gone_is_not_said_without_a_quorum() {
    let world = World::new().await;
    let user = world.opened("ada").await;
    world.run(&Erase { user }).await.unwrap();
    is_silent(&world, &world.context(), &Name { user }).await;
    let with_quorum = world.run(&Name { user }).await;
    assert!(matches!(with_quorum, Err(ExecuteError::KeyGone)), "{with_quorum:?}");
    let refused = world.run(&Erase { user: domicile_iam::ids::Id::from_bytes([9; 16]) }).await;
    assert!(matches!(refused, Err(ExecuteError::Refused(No::NotFound))));
}
