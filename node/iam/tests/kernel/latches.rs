//! Latches exclude, never deadlock, and are bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use domicile_iam::execute::{LatchBounds, LatchError, LatchKey, LatchMode, LatchSet, Latches};
use domicile_iam::ids::{Id, TenantId, UserId};
use domicile_iam::streams::StreamRef;
use proptest::prelude::*;

use crate::streams::Account;
use crate::world::START;

const LONG: Duration = Duration::from_secs(20);

fn key(n: u8) -> LatchKey {
    LatchKey::Stream(TenantId::new(START, [1; 10]), StreamRef::of::<Account>(UserId::new(START, [n; 10])))
}

fn exclusive(n: u8) -> LatchSet {
    LatchSet::default().exclusive(key(n))
}

fn shared(n: u8) -> LatchSet {
    LatchSet::default().shared(key(n))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn random_sets_exclude_each_other_and_all_get_their_turn(
        sets in prop::collection::vec(prop::collection::btree_map(0..5_u8, any::<bool>(), 1..5), 1..40),
        extends in prop::collection::vec((0..5_u8, any::<bool>()), 40),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
        let latches = Latches::new(LatchBounds::default());
        // Per key: readers counted up, a writer as -1000.
        let held: Arc<[AtomicI64; 5]> = Arc::default();
        let outcome = runtime.block_on(async {
            let tasks: Vec<_> = sets.into_iter().zip(extends).map(|(wanted, extend)| {
                tokio::spawn(hold(Arc::clone(&latches), Arc::clone(&held), wanted, extend))
            }).collect();
            for task in tasks {
                task.await.unwrap().map_err(TestCaseError::fail)?;
            }
            Ok::<(), TestCaseError>(())
        });
        outcome?;
        prop_assert!(held.iter().all(|count| count.load(Ordering::SeqCst) == 0));
    }
}

async fn hold(
    latches: Arc<Latches>,
    held: Arc<[AtomicI64; 5]>,
    mut keys: std::collections::BTreeMap<u8, bool>,
    (extra, alone): (u8, bool),
) -> Result<(), String> {
    let mode_of = |alone| if alone { LatchMode::Exclusive } else { LatchMode::Shared };
    let mut set = LatchSet::default();
    for (n, alone) in &keys {
        set.add(key(*n), mode_of(*alone));
    }
    let mut guard = latches.acquire(&set, LONG).await.map_err(|error| error.to_string())?;
    if guard.try_extend(key(extra), mode_of(alone)) {
        let stronger = keys.get(&extra).copied().unwrap_or(false) || alone;
        keys.insert(extra, stronger);
    }
    for (n, alone) in &keys {
        let weight = if *alone { -1_000 } else { 1 };
        let before = held[usize::from(*n)].fetch_add(weight, Ordering::SeqCst);
        if before < 0 || (*alone && before != 0) {
            return Err(format!("key {n} was held ({before})"));
        }
    }
    tokio::task::yield_now().await;
    for (n, alone) in &keys {
        held[usize::from(*n)].fetch_sub(if *alone { -1_000 } else { 1 }, Ordering::SeqCst);
    }
    Ok(())
}

#[tokio::test]
async fn readers_share_and_a_writer_waits_for_them() {
    let latches = Latches::new(LatchBounds::default());
    let one = latches.acquire(&shared(1), LONG).await.unwrap();
    let two = latches.acquire(&shared(1), LONG).await.unwrap();
    let writer = latches.acquire(&exclusive(1), Duration::from_millis(5)).await;
    assert_eq!(writer.err(), Some(LatchError::Timeout));
    drop((one, two));
    latches.acquire(&exclusive(1), LONG).await.unwrap();
}

#[tokio::test]
async fn a_reader_does_not_overtake_a_waiting_writer() {
    let latches = Latches::new(LatchBounds::default());
    let reader = latches.acquire(&shared(1), LONG).await.unwrap();
    let writer = tokio::spawn({
        let latches = Arc::clone(&latches);
        async move { latches.acquire(&exclusive(1), LONG).await.map(drop) }
    });
    tokio::task::yield_now().await;
    let late = latches.acquire(&shared(1), Duration::from_millis(5)).await;
    assert_eq!(late.err(), Some(LatchError::Timeout));
    drop(reader);
    writer.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_queue_is_bounded() {
    let latches = Latches::new(LatchBounds { per_key_max: 1, waiting_max: 1 });
    let _held = latches.acquire(&exclusive(1), LONG).await.unwrap();
    let wanted = exclusive(1);
    let waiting = latches.acquire(&wanted, LONG);
    tokio::pin!(waiting);
    assert!(futures_poll(waiting.as_mut()).await);
    assert_eq!(latches.acquire(&exclusive(1), LONG).await.err(), Some(LatchError::QueueFull));
}

/// Polls once; true if it is still pending.
async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
    std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending())).await
}

#[tokio::test]
async fn a_waiter_that_gives_up_does_not_block_those_behind_it() {
    let latches = Latches::new(LatchBounds::default());
    let reader = latches.acquire(&shared(1), LONG).await.unwrap();
    {
        let wanted = exclusive(1);
        let writer = latches.acquire(&wanted, LONG);
        tokio::pin!(writer);
        assert!(futures_poll(writer.as_mut()).await);
    }
    latches.acquire(&shared(1), Duration::from_secs(1)).await.unwrap();
    drop(reader);
    latches.acquire(&exclusive(1), LONG).await.unwrap();
}

#[tokio::test]
async fn losing_leadership_drops_what_is_held_and_wakes_who_waits() {
    let latches = Latches::new(LatchBounds::default());
    let stale = latches.acquire(&exclusive(1), LONG).await.unwrap();
    let wanted = exclusive(1);
    let waiting = latches.acquire(&wanted, LONG);
    tokio::pin!(waiting);
    assert!(futures_poll(waiting.as_mut()).await);
    latches.drop_all();
    assert_eq!(waiting.await.err(), Some(LatchError::Dropped));
    let fresh = latches.acquire(&exclusive(1), LONG).await.unwrap();
    // The guard of the earlier term gives back nothing that is not its own.
    drop(stale);
    assert_eq!(
        latches.acquire(&exclusive(1), Duration::from_millis(5)).await.err(),
        Some(LatchError::Timeout)
    );
    drop(fresh);
}
