//! The propose loop: retries, replays, barriers, time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use domicile_iam::execute::{
    Command, ConsistencyToken, DecideError, Decision, ExecuteError, Fresh, Reads, RequestContext,
};
use domicile_iam::ids::{Id, RequestId, TenantId, UserId};
use domicile_iam::proposal::{ActorKind, ActorRef, LogCommand, Proposal, ReadSet};
use domicile_raft::testing::Injected;
use domicile_raft::{Partition, Timestamp, UnknownReason};

use crate::streams::{AccountEvent, Hit};
use crate::world::{Add, EndTenant, Erase, Name, No, Open, Peek, PutCode, START, TakeCode, World};

#[tokio::test]
async fn a_write_is_read_back_and_its_token_names_it() {
    let world = World::new().await;
    let user = world.opened("ada").await;
    let written = world.run(&Add { user, by: 3 }).await.unwrap();
    assert_eq!((written.reply, world.hits(user).await), (3, 3));
    let token: ConsistencyToken = written.consistency.to_string().parse().unwrap();
    assert_eq!(token, written.consistency);
    assert_eq!((token.tenant, token.epoch, token.index), (world.tenant, 1, world.partition.applied()));
}

#[tokio::test]
async fn a_lost_reply_is_retried_with_the_same_proposal_and_applies_once() {
    let world = World::new().await;
    let user = world.opened("ada").await;
    world.partition.inject(Injected::UnknownApplied(UnknownReason::ReplyLost));
    world.partition.inject(Injected::UnknownApplied(UnknownReason::Timeout));
    world.partition.inject(Injected::UnknownNotApplied(UnknownReason::Timeout));
    assert_eq!(world.run(&Add { user, by: 1 }).await.unwrap().reply, 1);
    assert_eq!(world.hits(user).await, 1);
}

#[tokio::test]
async fn what_was_never_applied_is_retried_until_it_is() {
    let world = World::new().await;
    let user = world.opened("ada").await;
    world.partition.inject(Injected::UnknownNotApplied(UnknownReason::ReplyLost));
    world.run(&Add { user, by: 1 }).await.unwrap();
    assert_eq!(world.hits(user).await, 1);
}

#[tokio::test]
async fn after_a_lost_reply_only_a_known_outcome_is_reported() {
    let world = World::new().await;
    let user = world.opened("ada").await;
    for then in [Injected::NotLeader(None), Injected::Overloaded] {
        world.partition.inject(Injected::UnknownNotApplied(UnknownReason::Timeout));
        world.partition.inject(then);
        let outcome = world.run(&Add { user, by: 1 }).await;
        assert!(matches!(outcome, Err(ExecuteError::Unknown)), "{outcome:?}");
    }
    world.partition.inject(Injected::NotLeader(None));
    assert!(matches!(world.run(&Add { user, by: 1 }).await, Err(ExecuteError::NotLeader { .. })));
    world.partition.inject(Injected::Overloaded);
    assert!(matches!(world.run(&Add { user, by: 1 }).await, Err(ExecuteError::Overloaded(_))));
}

#[tokio::test]
async fn an_idempotent_retry_gets_the_first_reply_and_applies_once() {
    let world = World::new().await;
    let user = world.opened("ada").await;
    let first = world.executor.execute(&world.idempotent("k", 1), &Add { user, by: 2 }).await.unwrap();
    let again = world.executor.execute(&world.idempotent("k", 1), &Add { user, by: 2 }).await.unwrap();
    assert_eq!((first.reply, first.replayed, again.reply, again.replayed), (2, false, 2, true));
    assert_eq!(first.consistency, again.consistency);
    assert_eq!(world.hits(user).await, 2);
}

#[tokio::test]
async fn an_idempotency_key_with_another_request_is_refused() {
    let world = World::new().await;
    let user = world.opened("ada").await;
    world.executor.execute(&world.idempotent("k", 1), &Add { user, by: 2 }).await.unwrap();
    let other = world.executor.execute(&world.idempotent("k", 2), &Add { user, by: 5 }).await;
    assert!(matches!(other, Err(ExecuteError::IdempotencyMismatch)));
}

#[tokio::test]
async fn the_caller_s_hash_of_a_request_is_not_kept_as_it_came() {
    let world = World::new().await;
    let user = world.opened("ada").await;
    world.executor.execute(&world.idempotent("k", 0xa7), &Add { user, by: 2 }).await.unwrap();
    let holds = |bytes: &[u8]| bytes.windows(32).any(|window| window == [0xa7; 32]);
    assert!(!world.dump().iter().any(|(_, value)| holds(value)));
}

#[tokio::test]
async fn a_kept_reply_is_for_its_caller_only() {
    let world = World::new().await;
    let user = world.opened("ada").await;
    let mine = world.idempotent("k", 1);
    let mut theirs = world.idempotent("k", 1);
    theirs.actor.who = ActorRef { kind: ActorKind::Client, id: "op".to_owned() };
    world.executor.execute(&mine, &Add { user, by: 2 }).await.unwrap();
    let written = world.executor.execute(&theirs, &Add { user, by: 2 }).await.unwrap();
    assert!(!written.replayed);
    assert_eq!(world.hits(user).await, 4);
}

#[tokio::test]
async fn an_idempotency_key_counts_for_a_day_of_log_time() {
    let world = World::new().await;
    let user = world.opened("ada").await;
    let context = world.idempotent("k", 1);
    world.executor.execute(&context, &Add { user, by: 1 }).await.unwrap();
    world.clock.advance(Duration::from_hours(24));
    while world.executor.sweep(100, Duration::from_secs(1)).await.unwrap() == 100 {}
    assert!(!world.executor.execute(&context, &Add { user, by: 1 }).await.unwrap().replayed);
    assert_eq!(world.hits(user).await, 2);
}

#[tokio::test]
async fn a_record_is_taken_once_and_not_past_its_expiry() {
    let world = World::new().await;
    world.run(&PutCode { key: [1; 32], lifetime_ms: 1_000 }).await.unwrap();
    world.run(&PutCode { key: [2; 32], lifetime_ms: 1_000 }).await.unwrap();
    assert_eq!(world.run(&TakeCode { key: [1; 32] }).await.unwrap().reply, "code");
    let again = world.run(&TakeCode { key: [1; 32] }).await;
    assert!(matches!(again, Err(ExecuteError::Refused(No::NotFound))));
    world.clock.advance(Duration::from_secs(1));
    let late = world.run(&TakeCode { key: [2; 32] }).await;
    assert!(matches!(late, Err(ExecuteError::Refused(No::NotFound))));
    // The expired row is still there, and is no obstacle to a new one under the same key.
    world.run(&PutCode { key: [2; 32], lifetime_ms: 1_000 }).await.unwrap();
    assert_eq!(world.run(&TakeCode { key: [2; 32] }).await.unwrap().reply, "code");
}

#[tokio::test]
async fn commands_that_meet_take_turns_and_none_is_lost() {
    let world = Arc::new(World::new().await);
    let user = world.opened("ada").await;
    let tasks: Vec<_> = (0..40)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.run(&Add { user, by: 1 }).await.map(|written| written.reply) })
        })
        .collect();
    let mut replies = Vec::new();
    for task in tasks {
        replies.push(task.await.unwrap().unwrap());
    }
    replies.sort_unstable();
    assert_eq!(replies, (1..=40).collect::<Vec<u64>>());
}

#[tokio::test]
async fn of_two_who_want_one_login_name_the_second_is_refused() {
    let world = World::new().await;
    let (a, b) = (Open { login: "Ada".to_owned() }, Open { login: "aDA".to_owned() });
    let (first, second) = tokio::join!(world.run(&a), world.run(&b));
    assert!(first.is_ok());
    assert!(matches!(second, Err(ExecuteError::Refused(No::Taken))));
}

#[tokio::test]
async fn a_replica_that_does_not_lead_neither_writes_nor_refuses() {
    let world = World::new().await;
    let user = world.opened("ada").await;
    world.partition.lose_leadership();
    assert!(matches!(world.run(&Add { user, by: 1 }).await, Err(ExecuteError::NotLeader { .. })));
    let nobody = UserId::new(START, [9; 10]);
    assert!(matches!(world.run(&Peek { user: nobody }).await, Err(ExecuteError::NotLeader { .. })));
    world.partition.gain_leadership();
    assert!(matches!(world.run(&Peek { user: nobody }).await, Err(ExecuteError::Refused(No::NotFound))));
}

#[tokio::test]
async fn an_unknown_tenant_is_an_answer_too() {
    let world = World::new().await;
    let context = RequestContext { tenant: TenantId::new(START, [8; 10]), ..world.context() };
    let user = UserId::new(START, [9; 10]);
    let outcome = world.executor.execute(&context, &Peek { user }).await;
    assert!(matches!(outcome, Err(ExecuteError::TenantErased)));
}

#[tokio::test]
async fn a_clock_that_jumps_writes_nothing_until_it_is_back() {
    let world = World::new().await;
    let user = world.opened("ada").await;
    for jump in [501, 3_600_000] {
        world.clock.jump_to(START.plus_ms(jump));
        let outcome = world.run(&Add { user, by: 1 }).await;
        assert!(matches!(outcome, Err(ExecuteError::Unavailable { .. })), "{outcome:?}");
    }
    world.clock.jump_to(Timestamp(START.0 - 400));
    world.run(&Add { user, by: 1 }).await.unwrap();
    assert_eq!(domicile_iam::tables::log_time(&*world.executor.engine()).unwrap(), START);
}

#[tokio::test]
async fn erasing_a_key_makes_the_name_unreadable_at_once() {
    let world = World::new().await;
    let user = world.opened("ada").await;
    assert_eq!(world.run(&Name { user }).await.unwrap().reply, "name of ada");
    world.run(&Erase { user }).await.unwrap();
    assert!(matches!(world.run(&Name { user }).await, Err(ExecuteError::KeyGone)));
}

#[tokio::test]
async fn a_retry_after_the_tenant_s_end_says_so_and_is_no_fault() {
    let world = World::new().await;
    let user = world.opened("ada").await;
    let (hit, end) = (world.idempotent("hit", 1), world.idempotent("end", 2));
    world.executor.execute(&hit, &Add { user, by: 1 }).await.unwrap();
    world.executor.execute(&end, &EndTenant).await.unwrap();
    let outcome = world.executor.execute(&end, &EndTenant).await;
    assert!(matches!(outcome, Err(ExecuteError::TenantErased)), "{outcome:?}");
    let outcome = world.executor.execute(&hit, &Add { user, by: 1 }).await;
    assert!(matches!(outcome, Err(ExecuteError::TenantErased)), "{outcome:?}");
}

/// Reads an account and decides, while another leader's write gets in between once.
struct Overtaken<'w> {
    world: &'w World,
    user: UserId,
    runs: AtomicU32,
    answers: bool,
}

impl Overtaken<'_> {
    fn overtake(&self) {
        let stream = domicile_iam::streams::StreamRef::of::<crate::streams::Account>(self.user);
        let event = AccountEvent::Hit(Hit { by: 10 });
        let body = domicile_iam::streams::encode_event(&event).unwrap();
        let version =
            domicile_iam::tables::stream_row(&*self.world.executor.engine(), self.world.tenant, stream)
                .unwrap()
                .unwrap()
                .version;
        let proposal = Proposal {
            tenant: self.world.tenant,
            epoch: 1,
            id: Id::new(START, [77; 10]),
            request_hash: None,
            decided_at: START,
            actor: ActorRef { kind: ActorKind::System, id: String::new() },
            request_id: RequestId::new(START, [0; 10]),
            actor_details: None,
            genesis: None,
            reads: ReadSet::default(),
            appends: vec![domicile_iam::proposal::Append {
                stream,
                expected_version: version,
                events: vec![domicile_iam::proposal::ProposedEvent {
                    event_type: "account.hit".to_owned(),
                    schema: 1,
                    body,
                }],
            }],
            claims: Vec::new(),
            records: Vec::new(),
            ranges: Vec::new(),
            keys: Vec::new(),
            reply: None,
        };
        self.world.partition.apply(&LogCommand::Propose(Box::new(proposal)).encode().unwrap()).unwrap();
    }
}

impl Command for Overtaken<'_> {
    type Reply = u64;
    type Refusal = No;
    const NAME: &'static str = "overtaken";

    fn decide(&self, reads: &mut Reads<'_>, fresh: &mut Fresh) -> Result<Decision<u64>, DecideError<No>> {
        let decided = if self.answers {
            Peek { user: self.user }.decide(reads, fresh)
        } else {
            Add { user: self.user, by: 1 }.decide(reads, fresh)
        };
        if self.runs.fetch_add(1, Ordering::SeqCst) == 0 {
            self.overtake();
        }
        decided
    }
}

#[tokio::test]
async fn a_conflict_runs_decide_again_on_the_new_state() {
    let world = World::new().await;
    let user = world.opened("ada").await;
    let command = Overtaken { world: &world, user, runs: AtomicU32::new(0), answers: false };
    assert_eq!(world.run(&command).await.unwrap().reply, 11);
    assert_eq!(command.runs.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_answer_is_given_again_if_what_it_read_moved_before_the_barrier() {
    let world = World::new().await;
    let user = world.opened("ada").await;
    let command = Overtaken { world: &world, user, runs: AtomicU32::new(0), answers: true };
    assert_eq!(world.run(&command).await.unwrap().reply, 10);
    assert_eq!(command.runs.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_uncertain_write_that_then_conflicts_stays_unknown() {
    let world = World::new().await;
    let user = world.opened("ada").await;
    world.partition.inject(Injected::UnknownNotApplied(UnknownReason::Timeout));
    let command = Overtaken { world: &world, user, runs: AtomicU32::new(0), answers: false };
    assert!(matches!(world.run(&command).await, Err(ExecuteError::Unknown)));
}
