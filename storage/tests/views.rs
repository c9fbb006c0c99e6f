//! Views against a copy of the map: whatever is written meanwhile, a view reads what was there.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domicile_storage::{
    Batch, Engine, EngineError, KEY_BYTES_MAX, KeyRange, MemoryEngine, Monotonic, Order, Pair, SledEngine,
    SledOptions, View, ViewBounds, ViewEnd, ViewError, ViewedEngine, Write,
};
use proptest::prelude::*;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn still() -> Monotonic {
    Arc::new(|| Duration::ZERO)
}

fn viewed(inner: Arc<dyn Engine>) -> Arc<ViewedEngine> {
    ViewedEngine::open(inner, ViewBounds::default(), still()).unwrap()
}

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

fn rows(engine: &dyn Engine) -> Vec<Pair> {
    engine.scan(&all(), Order::Ascending, usize::MAX).unwrap()
}

fn read(view: &View) -> Result<Vec<Pair>, ViewError> {
    let (mut scan, mut pairs) = (view.scan(&all()), Vec::new());
    while let Some(chunk) = scan.next_chunk(7, 500)? {
        assert!(!chunk.is_empty());
        pairs.extend(chunk);
    }
    Ok(pairs)
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Write>),
    Open,
    Close(usize),
    Drop(usize),
    /// Reads a view in chunks, with a commit between each two.
    Scan {
        view: usize,
        range: (Bound<Vec<u8>>, Bound<Vec<u8>>),
        limit: usize,
        between: Vec<Vec<Write>>,
    },
    Sync,
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(vec![0u8, 1, 0x7f, 0xff]), 0..4)
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let value = (any::<u8>(), prop_oneof![0..9usize, Just(4100usize)]).prop_map(|(b, len)| vec![b; len]);
    let write = prop_oneof![
        2 => (key(), value).prop_map(|(key, value)| Write::Put { key, value }),
        2 => key().prop_map(|key| Write::Delete { key }),
    ];
    prop::collection::vec(write, 0..10)
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![
        1 => key().prop_map(Bound::Included),
        1 => key().prop_map(Bound::Excluded),
        2 => Just(Bound::<Vec<u8>>::Unbounded),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let scan = (0..2usize, (bound(), bound()), 1..6usize, prop::collection::vec(writes(), 0..6));
    prop_oneof![
        4 => writes().prop_map(Step::Commit),
        2 => Just(Step::Open),
        1 => (0..2usize).prop_map(Step::Close),
        1 => (0..2usize).prop_map(Step::Drop),
        4 => scan.prop_map(|(view, range, limit, between)| Step::Scan { view, range, limit, between }),
        1 => Just(Step::Sync),
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

fn inside(range: &(Bound<Vec<u8>>, Bound<Vec<u8>>), key: &Vec<u8>) -> bool {
    let starts = match &range.0 {
        Bound::Included(start) => key >= start,
        Bound::Excluded(start) => key > start,
        Bound::Unbounded => true,
    };
    starts
        && match &range.1 {
            Bound::Included(end) => key <= end,
            Bound::Excluded(end) => key < end,
            Bound::Unbounded => true,
        }
}

fn agrees_with_copies(inner: &Arc<dyn Engine>, steps: &[Step]) {
    let engine = viewed(Arc::clone(inner));
    let (mut model, mut views) = (Model::new(), Vec::<(View, Model)>::new());
    let write = |model: &mut Model, writes: &Vec<Write>| {
        apply(model, writes);
        commit(&*engine, writes.clone());
    };
    for step in steps {
        match step {
            Step::Commit(writes) => write(&mut model, writes),
            Step::Open if views.len() == 2 => {
                assert!(matches!(engine.view(), Err(ViewError::TooMany(2))));
            }
            Step::Open => views.push((engine.view().unwrap(), model.clone())),
            Step::Close(n) if *n < views.len() => views.remove(*n).0.close().unwrap(),
            Step::Drop(n) if *n < views.len() => drop(views.remove(*n)),
            Step::Scan { view, range, limit, between } if *view < views.len() => {
                let (view, copy) = &views[*view];
                let mut scan = view.scan(&KeyRange { start: range.0.clone(), end: range.1.clone() });
                let (mut found, mut between) = (Vec::new(), between.iter());
                while let Some(chunk) = scan.next_chunk(*limit, 6000).unwrap() {
                    assert!(chunk.len() <= 2 * limit);
                    found.extend(chunk);
                    between.next().into_iter().for_each(|writes| write(&mut model, writes));
                }
                let wanted: Vec<Pair> = copy
                    .iter()
                    .filter(|(k, _)| inside(range, k))
                    .map(|(k, v)| (k.clone(), v.clone()))
                    .collect();
                assert_eq!(found, wanted);
            }
            Step::Close(_) | Step::Drop(_) | Step::Scan { .. } => {}
            Step::Sync => engine.sync().unwrap(),
        }
        for (view, copy) in &views {
            for key in model.keys().chain(copy.keys()) {
                assert_eq!(view.get(key).unwrap().as_ref(), copy.get(key));
            }
        }
    }
    let current: Vec<Pair> = model.clone().into_iter().collect();
    assert_eq!(rows(&*engine), current);
    for (view, copy) in views {
        assert_eq!(read(&view).unwrap(), copy.into_iter().collect::<Vec<Pair>>());
        view.close().unwrap();
    }
    // Dropped views are cleared beside commits.
    commit(&*engine, vec![]);
    commit(&*engine, vec![]);
    assert_eq!(rows(&**inner), current, "history was left behind");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn views_agree_with_copies_taken_when_they_were_opened(steps in prop::collection::vec(step(), 1..30)) {
        let memory: Arc<dyn Engine> = Arc::new(MemoryEngine::new());
        agrees_with_copies(&memory, &steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn views_on_disk_agree_with_copies(steps in prop::collection::vec(step(), 1..30)) {
        for write_behind_bytes in [0, 40, u64::MAX] {
            let dir = tempfile::tempdir().unwrap();
            let options = SledOptions { write_behind_bytes, ..SledOptions::default() };
            let sled = SledEngine::open(dir.path().join("s"), &options).unwrap();
            let sled: Arc<dyn Engine> = Arc::new(sled);
            agrees_with_copies(&sled, &steps);
        }
    }
}

/// Rounds that overwrite, delete and add, so that every batch changes what a scan would meet.
fn churn(round: u32) -> Vec<Write> {
    let key = |n: u32| (n % 300).to_be_bytes();
    let row = |n: u32| match n % 3 {
        0 => delete(&key(round * 7 + n)),
        _ => put(&key(round * 7 + n), &[u8::try_from(round % 250).unwrap(); 40]),
    };
    (0..60).map(row).collect()
}

#[test]
fn a_view_is_read_right_while_another_thread_writes() {
    let dir = tempfile::tempdir().unwrap();
    let sled = SledEngine::open(dir.path().join("s"), &SledOptions::default()).unwrap();
    for inner in [Arc::new(MemoryEngine::new()) as Arc<dyn Engine>, Arc::new(sled)] {
        let engine = viewed(inner);
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut round = 0;
                while !stop.load(Ordering::Acquire) {
                    commit(&*engine, churn(round));
                    round += 1;
                }
            });
            for _ in 0..30 {
                let view = engine.view().unwrap();
                let first = read(&view).unwrap();
                assert_eq!(read(&view).unwrap(), first, "a view changed");
                view.close().unwrap();
            }
            stop.store(true, Ordering::Release);
        });
    }
}

#[test]
fn a_crash_with_a_view_open_leaves_what_was_synced_and_no_history() {
    let memory = Arc::new(MemoryEngine::new());
    let engine = viewed(Arc::clone(&memory) as Arc<dyn Engine>);
    commit(&*engine, (0..40).flat_map(churn).collect());
    let before = rows(&*engine);
    let view = engine.view().unwrap();
    commit(&*engine, churn(50));
    engine.sync().unwrap();
    let synced = rows(&*engine);
    assert!(rows(&*memory).len() > synced.len(), "there is history to lose");
    commit(&*engine, churn(51));
    assert_eq!(read(&view).unwrap(), before);
    // Power fails: the wrapper is gone with all it knew.
    memory.lose_unsynced();
    let again = viewed(Arc::clone(&memory) as Arc<dyn Engine>);
    assert_eq!(rows(&*again), synced);
    assert_eq!(rows(&*memory), synced, "start-up cleared what was left");
    let view = again.view().unwrap();
    commit(&*again, churn(52));
    assert_eq!(read(&view).unwrap(), synced);
}

#[test]
fn history_that_a_killed_process_left_on_disk_is_cleared_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let open = || -> Arc<dyn Engine> {
        Arc::new(SledEngine::open(dir.path().join("s"), &SledOptions::default()).unwrap())
    };
    let inner = open();
    let engine = viewed(Arc::clone(&inner));
    commit(&*engine, (0..2000u32).map(|n| put(&n.to_be_bytes(), b"old")).collect());
    let view = engine.view().unwrap();
    commit(&*engine, (0..2000u32).map(|n| put(&n.to_be_bytes(), b"new")).collect());
    // Never closed, as after a kill; the engine must go for its lock.
    std::mem::forget(view);
    let synced = rows(&*engine);
    engine.sync().unwrap();
    assert_eq!(rows(&*inner).len(), 4000);
    let copy = tempfile::tempdir().unwrap();
    copy_tree(dir.path(), copy.path());
    let after: Arc<dyn Engine> =
        Arc::new(SledEngine::open(copy.path().join("s"), &SledOptions::default()).unwrap());
    let again = viewed(Arc::clone(&after));
    assert_eq!(rows(&*again), synced);
    assert_eq!(rows(&*after), synced);
}

fn copy_tree(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_view_that_passes_its_bytes_is_closed_and_its_history_goes() {
    let memory = Arc::new(MemoryEngine::new());
    let bounds = ViewBounds { history_bytes_max: 10_000, ..ViewBounds::default() };
    let engine = ViewedEngine::open(Arc::clone(&memory) as Arc<dyn Engine>, bounds, still()).unwrap();
    commit(&*engine, (0..100u8).map(|n| put(&[n], &[1; 1000])).collect());
    let view = engine.view().unwrap();
    let mut scan = view.scan(&all());
    assert_eq!(scan.next_chunk(10, usize::MAX).unwrap().unwrap().len(), 10);
    let mut largest = 0;
    for n in 0..100u8 {
        commit(&*engine, vec![put(&[n], &[2; 1000])]);
        largest = largest.max(rows(&*memory).len());
    }
    assert!(largest <= 111, "{largest} rows for 100 values and 10 kB of history");
    for _ in 0..2 {
        let refused = scan.next_chunk(10, usize::MAX);
        assert!(matches!(refused, Err(ViewError::Closed(ViewEnd::History))), "{refused:?}");
    }
    assert!(matches!(view.get(&[1]), Err(ViewError::Closed(ViewEnd::History))));
    assert_eq!(rows(&*memory).len(), 100);
    assert_eq!(engine.views_open(), 0);
}

#[test]
fn a_view_that_is_too_old_is_closed_at_the_next_commit_or_read() {
    let now = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&now);
    let monotonic: Monotonic = Arc::new(move || Duration::from_secs(clock.load(Ordering::Acquire)));
    let bounds = ViewBounds { age_max: Duration::from_mins(1), ..ViewBounds::default() };
    let engine = ViewedEngine::open(Arc::new(MemoryEngine::new()), bounds, monotonic).unwrap();
    let view = engine.view().unwrap();
    now.store(60, Ordering::Release);
    assert_eq!(read(&view).unwrap(), []);
    now.store(61, Ordering::Release);
    assert!(matches!(read(&view), Err(ViewError::Closed(ViewEnd::Age))));
    assert_eq!(engine.views_open(), 0);
}

#[test]
fn views_closed_by_order_say_so() {
    let engine = viewed(Arc::new(MemoryEngine::new()));
    let views = [engine.view().unwrap(), engine.view().unwrap()];
    engine.close_views();
    for view in views {
        assert!(matches!(read(&view), Err(ViewError::Closed(ViewEnd::Ordered))));
    }
    engine.view().unwrap().close().unwrap();
}

#[test]
fn keys_where_history_lies_are_refused_and_never_seen() {
    let engine = viewed(Arc::new(MemoryEngine::new()));
    let (last, hidden) = ([0xff; 7], [0xff; 8]);
    commit(&*engine, vec![put(&last, b"seen")]);
    let refused = engine.commit(Batch { writes: vec![put(b"other", b""), put(&hidden, b"")] });
    assert!(matches!(refused, Err(EngineError::Io { .. })));
    let longest = vec![0xfe; KEY_BYTES_MAX];
    let view = engine.view().unwrap();
    commit(&*engine, vec![put(&longest, b"fits, and so does its history"), delete(&last)]);
    for range in [all(), KeyRange::prefix(&[0xff; 4]), KeyRange::prefix(&hidden)] {
        for order in [Order::Ascending, Order::Descending] {
            let found = engine.scan(&range, order, usize::MAX).unwrap();
            assert!(found.iter().all(|(key, _)| *key == longest), "{found:?}");
        }
    }
    assert_eq!(read(&view).unwrap(), [(last.to_vec(), b"seen".to_vec())]);
}
