//! A replica that takes itself for the leader but reaches no quorum says nothing, whatever it holds.

use domicile_iam::execute::{Command, ExecuteError, RequestContext};
use domicile_raft::{BoxFuture, Outcome, ReadError};

use crate::link::{Link, beside};
use crate::world::{Add, Erase, Name, No, World};

/// Leads, as far as it knows; no read is confirmed and no proposal arrives.
struct CutOff;

impl Link for CutOff {
    fn before_read(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(async { Err(ReadError::Timeout) })
    }

    fn cut(&self) -> Option<Outcome> {
        Some(Outcome::Overloaded("cut off"))
    }
}

async fn is_silent<C: Command>(world: &World, context: &RequestContext, command: &C) {
    let outcome = beside(world, CutOff).execute(context, command).await;
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
