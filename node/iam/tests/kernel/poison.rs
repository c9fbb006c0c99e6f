//! What apply could not take is refused before it is proposed: it would stop the partition for good.

use domicile_iam::execute::ExecuteError;
use domicile_raft::{Health, Partition};

use crate::streams::{UNREADABLE_HIT, UNREADABLE_HITS};
use crate::world::{Add, World};

async fn is_refused_and_harmless(by: u64) {
    let world = World::new().await;
    let user = world.opened("ada").await;
    let (before, applied) = (world.dump(), world.partition.applied());
    let outcome = world.run(&Add { user, by }).await;
    assert!(matches!(outcome, Err(ExecuteError::Fault(_))), "{outcome:?}");
    assert_eq!(world.partition.status().health, Health::Running);
    assert_eq!((world.dump(), world.partition.applied()), (before, applied), "nothing was proposed");
    assert_eq!(world.run(&Add { user, by: 1 }).await.unwrap().reply, 1);
}

#[tokio::test]
async fn an_event_that_apply_cannot_read_is_not_proposed() {
    is_refused_and_harmless(UNREADABLE_HIT).await;
}

#[tokio::test]
async fn an_event_that_leaves_a_state_nobody_can_read_is_not_proposed() {
    is_refused_and_harmless(UNREADABLE_HITS).await;
}
