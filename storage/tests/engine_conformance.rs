//! One suite for every state engine: what callers may rely on whatever is below.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domicile_storage::{
    Batch, Engine, EngineError, KEY_BYTES_MAX, KeyRange, MemoryEngine, Monotonic, Order, Pair, SledEngine,
    SledOptions, Stamp, Transaction, ViewBounds, ViewedEngine, Write,
};
use proptest::prelude::*;

fn put(key: &[u8], value: &[u8]) -> Write {
    Write::Put { key: key.to_vec(), value: value.to_vec() }
}

fn delete(key: &[u8]) -> Write {
    Write::Delete { key: key.to_vec() }
}

fn commit(engine: &dyn Engine, writes: Vec<Write>) {
    engine.commit(Batch { writes }).unwrap();
}

fn all() -> KeyRange {
    KeyRange::prefix(&[])
}

fn keys(engine: &dyn Engine, range: &KeyRange, order: Order) -> Vec<Vec<u8>> {
    engine.scan(range, order, usize::MAX).unwrap().into_iter().map(|(key, _)| key).collect()
}

/// Every batch goes through at once, some wait, and all wait for the sync.
const WRITE_BEHIND_BYTES: [u64; 3] = [0, 40, u64::MAX];

/// Runs `check` on an empty engine of each kind.
fn on_each(check: impl Fn(&dyn Engine)) {
    check(&MemoryEngine::new());
    let still: Monotonic = Arc::new(|| std::time::Duration::ZERO);
    let open = |inner| ViewedEngine::open(inner, ViewBounds::default(), Arc::clone(&still)).unwrap();
    check(&*open(Arc::new(MemoryEngine::new())));
    let with_views = open(Arc::new(MemoryEngine::new()));
    let _views = [with_views.view().unwrap(), with_views.view().unwrap()];
    check(&*with_views);
    for write_behind_bytes in WRITE_BEHIND_BYTES {
        let dir = tempfile::tempdir().unwrap();
        let options = SledOptions { write_behind_bytes, ..SledOptions::default() };
        check(&SledEngine::open(dir.path().join("state"), &options).unwrap());
    }
}

#[test]
fn a_value_is_read_back_replaced_and_removed() {
    on_each(|engine| {
        assert_eq!(engine.get(b"k").unwrap(), None);
        commit(engine, vec![put(b"k", b"one")]);
        assert_eq!(engine.get(b"k").unwrap().unwrap(), b"one");
        commit(engine, vec![put(b"k", b"two")]);
        assert_eq!(engine.get(b"k").unwrap().unwrap(), b"two");
        commit(engine, vec![delete(b"k"), delete(b"absent")]);
        assert_eq!(engine.get(b"k").unwrap(), None);
        commit(engine, vec![]);
        assert_eq!(keys(engine, &all(), Order::Ascending), Vec::<Vec<u8>>::new());
    });
}

#[test]
fn empty_keys_and_empty_values_are_keys_and_values() {
    on_each(|engine| {
        commit(engine, vec![put(b"", b"no key"), put(b"a", b"")]);
        assert_eq!(engine.get(b"").unwrap().unwrap(), b"no key");
        assert_eq!(engine.get(b"a").unwrap().unwrap(), b"");
        assert_eq!(keys(engine, &all(), Order::Ascending), [b"".to_vec(), b"a".to_vec()]);
        commit(engine, vec![delete(b"")]);
        assert_eq!(keys(engine, &all(), Order::Ascending), [b"a".to_vec()]);
    });
}

#[test]
fn what_is_read_in_place_is_what_is_got() {
    on_each(|engine| {
        let long = vec![7; 9_000];
        commit(engine, vec![put(b"a", b"one"), put(b"long", &long), put(b"", b""), put(b"gone", b"x")]);
        commit(engine, vec![delete(b"gone")]);
        for sync in [false, true] {
            if sync {
                engine.sync().unwrap();
            }
            for key in [&b"a"[..], b"long", b"", b"gone", b"absent"] {
                let mut shown = None;
                let there = engine.read(key, &mut |value| shown = Some(value.to_vec())).unwrap();
                let stored = engine.get(key).unwrap();
                assert_eq!((there, &shown), (stored.is_some(), &stored));
            }
        }
    });
}

#[test]
fn a_stamp_stays_while_nothing_is_committed_and_never_comes_again() {
    on_each(|engine| {
        let mut given = vec![engine.stamp().unwrap()];
        for n in 0..5u8 {
            commit(engine, vec![put(b"k", &[n])]);
            let stamp = engine.stamp().unwrap();
            assert!(!given.contains(&stamp));
            engine.get(b"k").unwrap();
            engine.sync().unwrap();
            assert_eq!(engine.stamp(), Some(stamp));
            given.push(stamp);
        }
    });
}

#[test]
fn whoever_was_told_of_a_commit_gets_another_stamp_than_before_it() {
    on_each(|engine| {
        let write = |n: u64| commit(engine, vec![put(b"n", &n.to_be_bytes())]);
        let read = || u64::from_be_bytes(engine.get(b"n").unwrap().unwrap().try_into().unwrap());
        write(0);
        let done = AtomicU64::new(0);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for n in 1..=500 {
                    write(n);
                    done.store(n, Ordering::Release);
                }
            });
            let mut known: Option<(Stamp, u64)> = None;
            while !writer.is_finished() {
                let told = done.load(Ordering::Acquire);
                let stamp = engine.stamp();
                match known {
                    Some((at, n)) if stamp == Some(at) => assert!(n >= told, "{n} was kept past {told}"),
                    Some(_) | None => known = stamp.map(|stamp| (stamp, read())),
                }
            }
            writer.join().unwrap();
        });
    });
}

#[test]
fn later_writes_of_a_batch_win() {
    on_each(|engine| {
        commit(engine, vec![put(b"a", b"1"), delete(b"a"), put(b"b", b"1"), put(b"b", b"2"), delete(b"c")]);
        assert_eq!(engine.get(b"a").unwrap(), None);
        assert_eq!(engine.get(b"b").unwrap().unwrap(), b"2");
        commit(engine, vec![delete(b"b"), put(b"b", b"3")]);
        assert_eq!(engine.get(b"b").unwrap().unwrap(), b"3");
    });
}

#[test]
fn scans_go_both_ways_and_stop_at_the_limit() {
    on_each(|engine| {
        commit(engine, (0..50u8).map(|n| put(&[n], &[n, n])).collect());
        let range = KeyRange { start: Bound::Excluded(vec![3]), end: Bound::Included(vec![9]) };
        let pair = |n: u8| (vec![n], vec![n, n]);
        let up: Vec<Pair> = (4..=9).map(pair).collect();
        assert_eq!(engine.scan(&range, Order::Ascending, usize::MAX).unwrap(), up);
        let down: Vec<Pair> = (4..=9).rev().map(pair).collect();
        assert_eq!(engine.scan(&range, Order::Descending, usize::MAX).unwrap(), down);
        assert_eq!(engine.scan(&range, Order::Ascending, 2).unwrap(), up[..2]);
        assert_eq!(engine.scan(&range, Order::Descending, 2).unwrap(), down[..2]);
        assert_eq!(engine.scan(&range, Order::Ascending, 0).unwrap(), []);
        assert_eq!(keys(engine, &all(), Order::Descending).len(), 50);
    });
}

#[test]
fn a_bounded_scan_ends_with_the_pair_that_reaches_the_bound() {
    on_each(|engine| {
        commit(engine, (0..40u8).map(|n| put(&[n], &[n; 9])).collect());
        for order in [Order::Ascending, Order::Descending] {
            let whole = engine.scan(&all(), order, usize::MAX).unwrap();
            for (bytes_max, wanted) in [(1, 1), (10, 1), (11, 2), (300, 30), (399, 40), (10_000, 40)] {
                let found = engine.scan_within(&all(), order, usize::MAX, bytes_max).unwrap();
                assert_eq!(found, whole[..wanted], "{bytes_max} bytes");
            }
            assert_eq!(engine.scan_within(&all(), order, 3, 10_000).unwrap(), whole[..3]);
        }
    });
}

#[test]
fn empty_and_inverted_ranges_hold_nothing() {
    on_each(|engine| {
        commit(engine, vec![put(b"a", b""), put(b"b", b"")]);
        let bounds = [
            (Bound::Included(b"b".to_vec()), Bound::Excluded(b"b".to_vec())),
            (Bound::Excluded(b"a".to_vec()), Bound::Excluded(b"a".to_vec())),
            (Bound::Included(b"b".to_vec()), Bound::Included(b"a".to_vec())),
            (Bound::Excluded(b"z".to_vec()), Bound::Unbounded),
            (Bound::Unbounded, Bound::Excluded(b"".to_vec())),
        ];
        for (start, end) in bounds {
            let range = KeyRange { start, end };
            for order in [Order::Ascending, Order::Descending] {
                assert_eq!(keys(engine, &range, order), Vec::<Vec<u8>>::new(), "{range:?}");
            }
        }
    });
}

#[test]
fn prefixes_of_the_largest_byte_end_where_the_keys_end() {
    on_each(|engine| {
        let wanted: [&[u8]; 4] = [b"\xff", b"\xff\x00", b"\xff\xff", b"\xff\xff\xff"];
        commit(engine, wanted.iter().map(|key| put(key, b"")).chain([put(b"\xfe\xff", b"")]).collect());
        assert_eq!(keys(engine, &KeyRange::prefix(b"\xff"), Order::Ascending), wanted);
        assert_eq!(keys(engine, &KeyRange::prefix(b"\xff\xff"), Order::Descending), [wanted[3], wanted[2]]);
        assert_eq!(keys(engine, &KeyRange::prefix(b"\xfe"), Order::Ascending), [b"\xfe\xff"]);
    });
}

#[test]
fn values_beyond_a_mebibyte_are_whole_and_leave_nothing_behind() {
    on_each(|engine| {
        let value = |seed: u8, len: usize| -> Vec<u8> {
            (0..len).map(|n| u8::try_from((n * 31 + n / 4000) % 251).unwrap() ^ seed).collect()
        };
        for (seed, len) in
            [(1, 3 * 1024 * 1024 + 17), (2, 4001), (3, 4000), (4, 8000), (5, 1_100_000), (6, 1)]
        {
            commit(engine, vec![put(b"big", &value(seed, len)), put(b"bih", b"next")]);
            assert!(engine.get(b"big").unwrap().unwrap() == value(seed, len), "{len} bytes");
            let pairs = engine.scan(&all(), Order::Descending, usize::MAX).unwrap();
            assert!(pairs == [(b"bih".to_vec(), b"next".to_vec()), (b"big".to_vec(), value(seed, len))]);
        }
        commit(engine, vec![put(b"big", &value(7, 2_000_000)), delete(b"big")]);
        assert_eq!(keys(engine, &all(), Order::Ascending), [b"bih"]);
    });
}

#[test]
fn a_key_that_is_too_long_is_refused_and_its_batch_with_it() {
    on_each(|engine| {
        let longest = vec![0xab; KEY_BYTES_MAX];
        commit(engine, vec![put(&longest, b"fits")]);
        let too_long = vec![0xab; KEY_BYTES_MAX + 1];
        let refused = engine.commit(Batch { writes: vec![put(b"other", b""), put(&too_long, b"")] });
        assert!(matches!(refused, Err(EngineError::Io { .. })), "{refused:?}");
        assert_eq!(keys(engine, &all(), Order::Ascending), [longest]);
        commit(engine, vec![put(b"other", b"")]);
    });
}

#[test]
fn a_batch_is_seen_whole_or_not_at_all() {
    on_each(|engine| {
        let rounds = 60u32;
        let write = |round: u32| {
            let tag = round.to_be_bytes();
            // One value of many pieces, many of one.
            let mut writes: Vec<Write> = (0..20u8).map(|n| put(&[n], &tag)).collect();
            writes.push(put(b"long", &tag.repeat(3000)));
            commit(engine, writes);
        };
        write(0);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| (1..rounds).for_each(write));
            while !writer.is_finished() {
                let pairs = engine.scan(&all(), Order::Ascending, usize::MAX).unwrap();
                assert_eq!(pairs.len(), 21);
                let tag = pairs[0].1.clone();
                assert!(pairs.iter().all(|(_, value)| value[..4] == tag[..]), "a scan saw two batches");
            }
            writer.join().unwrap();
        });
    });
}

#[test]
fn a_transaction_reads_its_own_writes_over_the_engine() {
    on_each(|engine| {
        commit(engine, vec![put(b"a", b"1"), put(b"b", b"1"), put(b"c", b"1")]);
        let mut transaction = Transaction::new(engine);
        transaction.put(b"b".to_vec(), b"2".to_vec());
        transaction.delete(b"a".to_vec());
        transaction.put(b"d".to_vec(), b"2".to_vec());
        assert_eq!(transaction.get(b"a").unwrap(), None);
        assert_eq!(transaction.get(b"b").unwrap().unwrap(), b"2");
        assert_eq!(transaction.get(b"c").unwrap().unwrap(), b"1");
        for key in [b"a", b"b", b"c", b"d", b"e"] {
            let mut shown = None;
            transaction.read(key, &mut |value| shown = Some(value.to_vec())).unwrap();
            assert_eq!(shown, transaction.get(key).unwrap());
        }
        let seen = transaction.scan(&all(), Order::Ascending, 2).unwrap();
        assert_eq!(seen, [(b"b".to_vec(), b"2".to_vec()), (b"c".to_vec(), b"1".to_vec())]);
        let inverted = KeyRange { start: Bound::Included(vec![9]), end: Bound::Excluded(vec![1]) };
        assert_eq!(transaction.scan(&inverted, Order::Ascending, 2).unwrap(), []);
        engine.commit(transaction.into_batch()).unwrap();
        assert_eq!(keys(engine, &all(), Order::Descending), [b"d", b"c", b"b"]);
    });
}

#[test]
fn a_transaction_takes_back_what_it_wrote_since_its_savepoint() {
    on_each(|engine| {
        commit(engine, vec![put(b"a", b"stored")]);
        let mut transaction = Transaction::new(engine);
        transaction.put(b"b".to_vec(), b"kept".to_vec());
        transaction.rollback();
        transaction.savepoint();
        transaction.put(b"b".to_vec(), b"dropped".to_vec());
        transaction.delete(b"a".to_vec());
        transaction.put(b"c".to_vec(), b"dropped".to_vec());
        transaction.put(b"c".to_vec(), b"dropped again".to_vec());
        transaction.rollback();
        let batch = transaction.into_batch();
        assert_eq!(batch.writes, [put(b"b", b"kept")]);
    });
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Write>),
    Scan { start: Bound<Vec<u8>>, end: Bound<Vec<u8>>, order: Order, limit: usize },
    Reopen,
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(vec![0u8, 1, 0x7f, 0xff]), 0..4)
}

fn write() -> impl Strategy<Value = Write> {
    let value = (any::<u8>(), prop_oneof![0..9usize, 3990..4010usize, Just(9000usize)])
        .prop_map(|(byte, len)| vec![byte; len]);
    prop_oneof![
        3 => (key(), value).prop_map(|(key, value)| Write::Put { key, value }),
        1 => key().prop_map(|key| Write::Delete { key }),
    ]
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![
        key().prop_map(Bound::Included),
        key().prop_map(Bound::Excluded),
        Just(Bound::<Vec<u8>>::Unbounded),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let order = prop::sample::select(vec![Order::Ascending, Order::Descending]);
    prop_oneof![
        6 => prop::collection::vec(write(), 0..12).prop_map(Step::Commit),
        4 => (bound(), bound(), order, 0..20usize)
            .prop_map(|(start, end, order, limit)| Step::Scan { start, end, order, limit }),
        1 => Just(Step::Reopen),
    ]
}

fn apply(model: &mut Model, writes: &[Write]) {
    for write in writes {
        match write {
            Write::Put { key, value } => model.insert(key.clone(), value.clone()),
            Write::Delete { key } => model.remove(key),
        };
    }
}

fn expected(
    model: &Model,
    start: &Bound<Vec<u8>>,
    end: &Bound<Vec<u8>>,
    order: Order,
    limit: usize,
) -> Vec<Pair> {
    let after_start = |key: &Vec<u8>| match start {
        Bound::Included(start) => key >= start,
        Bound::Excluded(start) => key > start,
        Bound::Unbounded => true,
    };
    let before_end = |key: &Vec<u8>| match end {
        Bound::Included(end) => key <= end,
        Bound::Excluded(end) => key < end,
        Bound::Unbounded => true,
    };
    let mut pairs: Vec<Pair> = model
        .iter()
        .filter(|(key, _)| after_start(key) && before_end(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if order == Order::Descending {
        pairs.reverse();
    }
    pairs.truncate(limit);
    pairs
}

/// Runs `steps` against the model; `reopen` closes and opens the engine again.
fn agrees_with_model<E: Engine>(mut engine: E, reopen: impl Fn(E) -> E, steps: Vec<Step>) {
    let mut model = Model::new();
    for step in steps {
        match step {
            Step::Commit(writes) => {
                apply(&mut model, &writes);
                engine.commit(Batch { writes }).unwrap();
            }
            Step::Scan { start, end, order, limit } => {
                let want = expected(&model, &start, &end, order, limit);
                let range = KeyRange { start, end };
                assert_eq!(engine.scan(&range, order, limit).unwrap(), want);
            }
            Step::Reopen => engine = reopen(engine),
        }
        for (key, value) in &model {
            assert_eq!(engine.get(key).unwrap().as_ref(), Some(value));
        }
    }
    let all: Vec<Pair> = model.into_iter().collect();
    assert_eq!(engine.scan(&KeyRange::prefix(&[]), Order::Ascending, usize::MAX).unwrap(), all);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn any_sequence_agrees_with_a_sorted_map(steps in prop::collection::vec(step(), 1..20)) {
        agrees_with_model(MemoryEngine::new(), |engine| engine, steps.clone());
        for write_behind_bytes in WRITE_BEHIND_BYTES {
            let dir = tempfile::tempdir().unwrap();
            let options = SledOptions { write_behind_bytes, ..SledOptions::default() };
            let open = || SledEngine::open(dir.path().join("state"), &options).unwrap();
            let reopen = |engine: SledEngine| {
                drop(engine);
                open()
            };
            agrees_with_model(open(), reopen, steps.clone());
        }
    }
}

#[test]
fn memory_loses_what_was_not_synced_and_nothing_else() {
    let engine = MemoryEngine::new();
    commit(&engine, vec![put(b"a", b"1"), put(b"b", b"1")]);
    engine.sync().unwrap();
    commit(&engine, vec![put(b"a", b"2"), delete(b"b"), put(b"c", b"2")]);
    commit(&engine, vec![put(b"a", b"3")]);
    let stamp = engine.stamp();
    engine.lose_unsynced();
    assert_ne!(engine.stamp(), stamp);
    let pairs = engine.scan(&all(), Order::Ascending, usize::MAX).unwrap();
    assert_eq!(pairs, [(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"1".to_vec())]);
}

/// sled holds its log back while a batch goes in; a sync and its own flusher must not wait for ever.
#[test]
fn large_batches_go_in_while_syncs_run() {
    let dir = tempfile::tempdir().unwrap();
    let options = SledOptions { flush_every_ms: 5, ..SledOptions::default() };
    let engine = SledEngine::open(dir.path().join("state"), &options).unwrap();
    let finished = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !finished.load(std::sync::atomic::Ordering::Acquire) {
                engine.sync().unwrap();
            }
        });
        for round in 0..60u8 {
            let row = |n: u16| put(&(n * 7 % 3000).to_be_bytes(), &[round; 600]);
            commit(&engine, (0..1000).map(|n| row(n + u16::from(round) * 13)).collect());
        }
        finished.store(true, std::sync::atomic::Ordering::Release);
    });
    let last = engine.get(&(59 * 13 * 7 % 3000u16).to_be_bytes()).unwrap();
    assert_eq!(last.unwrap(), vec![59; 600]);
}
