//! One suite for every log engine: what callers may rely on whatever is below.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};

use domicile_storage::{
    GroupId, LogBounds, LogEngine, LogEntry, LogError, LogOptions, MemoryLog, OnDurable, RaftEngineLog,
};
use proptest::prelude::*;

const G: GroupId = GroupId(0);
const H: GroupId = GroupId(7);

type Answer = Receiver<Result<(), LogError>>;

fn answer() -> (OnDurable, Answer) {
    let (send, receive) = channel();
    let done = move |result| send.send(result).unwrap();
    (Box::new(done), receive)
}

/// Waits for one write.
fn durable(write: impl FnOnce(OnDurable)) -> Result<(), LogError> {
    let (done, answer) = answer();
    write(done);
    answer.recv().unwrap()
}

fn entry(index: u64, tag: u8) -> LogEntry {
    LogEntry { index, bytes: vec![tag; usize::try_from(index).unwrap() % 50] }
}

fn entries(indexes: impl IntoIterator<Item = u64>, tag: u8) -> Vec<LogEntry> {
    indexes.into_iter().map(|index| entry(index, tag)).collect()
}

fn bounds(first: u64, last: u64) -> LogBounds {
    LogBounds { first: Some(first), last: Some(last) }
}

fn read_all(log: &dyn LogEngine, group: GroupId) -> Vec<LogEntry> {
    log.read(group, 0, u64::MAX, usize::MAX).unwrap()
}

fn on_disk(dir: &std::path::Path) -> RaftEngineLog {
    // No cache, small files: reads come from disk and files change often.
    let options = LogOptions { file_bytes: 64 * 1024, purge_threshold_bytes: 128 * 1024, cache_bytes: 0 };
    RaftEngineLog::open(dir.join("log"), &options).unwrap()
}

fn on_each(check: impl Fn(&dyn LogEngine)) {
    check(&MemoryLog::new());
    let dir = tempfile::tempdir().unwrap();
    check(&on_disk(dir.path()));
    let dir = tempfile::tempdir().unwrap();
    check(&RaftEngineLog::open(dir.path(), &LogOptions::default()).unwrap());
}

#[test]
fn entries_are_readable_when_append_returns_and_after_the_sync() {
    on_each(|log| {
        assert_eq!(log.bounds(G), LogBounds::default());
        assert_eq!(read_all(log, G), []);
        let (done, answer) = answer();
        log.append(G, entries(1..=10, 1), done);
        assert_eq!(log.bounds(G), bounds(1, 10));
        assert_eq!(read_all(log, G), entries(1..=10, 1));
        answer.recv().unwrap().unwrap();
        assert_eq!(read_all(log, G), entries(1..=10, 1));
        assert_eq!(log.read(G, 3, 6, usize::MAX).unwrap(), entries(3..6, 1));
        assert_eq!(log.read(G, 11, 20, usize::MAX).unwrap(), []);
        assert_eq!(log.read(G, 6, 3, usize::MAX).unwrap(), []);
        assert!(log.syncs_total() > 0);
    });
}

#[test]
fn a_read_stops_at_its_byte_bound_but_gives_one_entry() {
    on_each(|log| {
        let big: Vec<LogEntry> = (1..=6).map(|index| LogEntry { index, bytes: vec![9; 1000] }).collect();
        durable(|done| log.append(G, big.clone(), done)).unwrap();
        assert_eq!(log.read(G, 2, 7, 1).unwrap(), big[1..2]);
        assert_eq!(log.read(G, 2, 7, 0).unwrap(), big[1..2]);
        let some = log.read(G, 1, 7, 3500).unwrap();
        assert!(!some.is_empty() && some.len() <= 3 && some == big[..some.len()]);
        assert_eq!(log.read(G, 1, 7, usize::MAX).unwrap(), big);
    });
}

#[test]
fn groups_are_apart() {
    on_each(|log| {
        durable(|done| log.append(G, entries(1..=3, 1), done)).unwrap();
        durable(|done| log.append(H, entries(100..=101, 2), done)).unwrap();
        durable(|done| log.put_meta(GroupId(u64::MAX), "vote", b"v".to_vec(), done)).unwrap();
        durable(|done| log.truncate_after(H, None, done)).unwrap();
        assert_eq!(read_all(log, G), entries(1..=3, 1));
        assert_eq!(log.bounds(H), LogBounds::default());
        assert_eq!(log.groups(), [G, GroupId(u64::MAX)]);
    });
}

#[test]
fn a_gap_is_refused_and_changes_nothing() {
    on_each(|log| {
        durable(|done| log.append(G, entries(5..=7, 1), done)).unwrap();
        for wrong in [entries([9], 2), entries([7], 2), entries([8, 10], 2), entries([1], 2)] {
            let refused = durable(|done| log.append(G, wrong, done));
            assert!(matches!(refused, Err(LogError::Gap { group: 0, .. })), "{refused:?}");
        }
        assert_eq!(read_all(log, G), entries(5..=7, 1));
        durable(|done| log.append(G, entries(8..=9, 1), done)).unwrap();
        assert_eq!(log.bounds(G), bounds(5, 9));
    });
}

#[test]
fn metadata_is_readable_at_once_and_the_last_value_counts() {
    on_each(|log| {
        assert_eq!(log.meta(G, "vote").unwrap(), None);
        let (done, answer) = answer();
        log.put_meta(G, "vote", b"one".to_vec(), done);
        assert_eq!(log.meta(G, "vote").unwrap().unwrap(), b"one");
        answer.recv().unwrap().unwrap();
        durable(|done| log.put_meta(G, "vote", b"two".to_vec(), done)).unwrap();
        durable(|done| log.put_meta(G, "committed", vec![], done)).unwrap();
        assert_eq!(log.meta(G, "vote").unwrap().unwrap(), b"two");
        assert_eq!(log.meta(G, "committed").unwrap().unwrap(), b"");
        assert_eq!(log.meta(H, "vote").unwrap(), None);
    });
}

#[test]
fn answers_come_in_call_order() {
    on_each(|log| {
        let (send, receive) = channel();
        for n in 1..=200u64 {
            let send = send.clone();
            log.append(G, entries([n], 1), Box::new(move |result| send.send((n, result.is_ok())).unwrap()));
        }
        let order: Vec<(u64, bool)> = receive.iter().take(200).collect();
        assert_eq!(order, (1..=200).map(|n| (n, true)).collect::<Vec<_>>());
    });
}

#[test]
fn a_cut_log_goes_on_after_the_cut_also_when_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = on_disk(dir.path());
    durable(|done| log.append(G, entries(1..=10, 1), done)).unwrap();
    durable(|done| log.truncate_after(G, Some(5), done)).unwrap();
    assert_eq!(log.bounds(G), bounds(1, 5));
    drop(log);
    let log = on_disk(dir.path());
    assert_eq!(log.bounds(G), bounds(1, 5));
    assert_eq!(read_all(&log, G), entries(1..=5, 1));
    durable(|done| log.append(G, entries([6], 2), done)).unwrap();
    drop(log);
    let log = on_disk(dir.path());
    let want: Vec<LogEntry> = entries(1..=5, 1).into_iter().chain(entries([6], 2)).collect();
    assert_eq!(read_all(&log, G), want);
    durable(|done| log.append(G, entries([7], 2), done)).unwrap();
    assert_eq!(log.bounds(G), bounds(1, 7));
}

#[test]
fn a_log_emptied_by_a_cut_or_a_purge_starts_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = on_disk(dir.path());
    let mut tag = 0;
    for (start, end) in [(20, 30), (25, 27), (3, 9), (40, 41), (1, 2), (2, 5)] {
        for purge in [false, true] {
            tag += 1;
            durable(|done| log.append(G, entries(start..=end, tag), done)).unwrap();
            assert_eq!(read_all(&log, G), entries(start..=end, tag));
            drop(log);
            log = on_disk(dir.path());
            assert_eq!(log.bounds(G), bounds(start, end), "round {tag}");
            assert_eq!(read_all(&log, G), entries(start..=end, tag));
            if purge {
                durable(|done| log.purge_through(G, end + 5, done)).unwrap();
            } else {
                durable(|done| log.truncate_after(G, None, done)).unwrap();
            }
            assert_eq!(log.bounds(G), LogBounds::default());
        }
    }
}

#[test]
fn dropping_the_log_makes_what_waits_durable() {
    let dir = tempfile::tempdir().unwrap();
    let log = on_disk(dir.path());
    let (send, receive) = channel();
    for n in 1..=500 {
        let send = send.clone();
        log.append(G, entries([n], 1), Box::new(move |result| send.send(result.is_ok()).unwrap()));
    }
    drop(log);
    assert_eq!(receive.try_iter().filter(|ok| *ok).count(), 500);
    assert_eq!(on_disk(dir.path()).bounds(G), bounds(1, 500));
}

#[test]
fn one_sync_serves_all_groups_that_wait() {
    let dir = tempfile::tempdir().unwrap();
    let log = on_disk(dir.path());
    let (held, release) = channel::<()>();
    // The first answer holds the writer until everything else waits.
    log.put_meta(G, "hold", vec![], Box::new(move |_| release.recv().unwrap()));
    let (send, receive) = channel();
    for n in 0..300 {
        let send = send.clone();
        log.append(GroupId(n % 30), entries([n / 30 + 1], 1), Box::new(move |r| send.send(r).unwrap()));
    }
    held.send(()).unwrap();
    assert!(receive.iter().take(300).all(|r| r.is_ok()));
    // One for the first; the rest in one or, if the writer was quick, in two.
    assert!(log.syncs_total() <= 3, "{} syncs", log.syncs_total());
}

#[test]
fn the_last_handle_may_be_dropped_in_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let log = std::sync::Arc::new(on_disk(dir.path()));
    let (send, receive) = channel();
    let (held, release) = channel::<()>();
    let last = std::sync::Arc::clone(&log);
    log.append(
        G,
        entries([1], 1),
        Box::new(move |result| {
            release.recv().unwrap();
            drop(last);
            send.send(result).unwrap();
        }),
    );
    drop(log);
    held.send(()).unwrap();
    receive.recv().unwrap().unwrap();
}

#[test]
fn a_callback_that_panics_stops_the_log_and_hangs_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let log = on_disk(dir.path());
    log.append(G, entries([1], 1), Box::new(|_| std::panic::panic_any("a callback's own")));
    // The first may still pass; none is left without an answer, and soon they are refused.
    let refused =
        (2..1000).map(|n| durable(|done| log.append(G, entries([n], 1), done))).find_map(Result::err);
    assert!(matches!(refused, Some(LogError::Stopped(_))), "{refused:?}");
    drop(log);
    assert!(on_disk(dir.path()).bounds(G).last >= Some(1));
}

#[test]
fn memory_answers_when_told_and_loses_what_was_not_synced() {
    let log = MemoryLog::new();
    durable(|done| log.append(G, entries(1..=2, 1), done)).unwrap();
    log.hold_syncs();
    let (done, first) = answer();
    log.append(G, entries([3], 1), done);
    assert!(first.try_recv().is_err());
    log.sync_now();
    first.recv().unwrap().unwrap();
    let (done, second) = answer();
    log.truncate_after(G, Some(1), done);
    assert_eq!(log.bounds(G), bounds(1, 1));
    log.lose_unsynced();
    assert!(second.recv().is_err(), "a lost write was answered");
    assert_eq!(log.bounds(G), bounds(1, 3));
}

#[derive(Clone, Debug)]
enum Step {
    Append { group: u64, count: u64, bytes: usize },
    StartAt { group: u64, index: u64 },
    Truncate { group: u64, back: u64 },
    Purge { group: u64, ahead: u64 },
    Meta { group: u64, value: u8 },
    Read { group: u64, start: u64, end: u64 },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let group = 0..3u64;
    prop_oneof![
        6 => (group.clone(), 1..6u64, prop_oneof![4 => 0..40usize, 1 => Just(9000usize)])
            .prop_map(|(group, count, bytes)| Step::Append { group, count, bytes }),
        1 => (group.clone(), 0..60u64).prop_map(|(group, index)| Step::StartAt { group, index }),
        2 => (group.clone(), 0..12u64).prop_map(|(group, back)| Step::Truncate { group, back }),
        2 => (group.clone(), 0..12u64).prop_map(|(group, ahead)| Step::Purge { group, ahead }),
        2 => (group.clone(), any::<u8>()).prop_map(|(group, value)| Step::Meta { group, value }),
        3 => (group, 0..40u64, 0..40u64).prop_map(|(group, start, end)| Step::Read { group, start, end }),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Default)]
struct Model {
    entries: BTreeMap<u64, Vec<u8>>,
    meta: Option<Vec<u8>>,
}

fn nothing() -> OnDurable {
    Box::new(|result| result.unwrap())
}

fn agrees_with_model<L: LogEngine>(mut log: L, reopen: impl Fn(L) -> L, steps: Vec<Step>) {
    let mut models: [Model; 3] = Default::default();
    let mut tag = 0u8;
    for step in steps {
        tag = tag.wrapping_add(1);
        let group_of = |group: u64| usize::try_from(group).unwrap();
        match step {
            Step::Append { group, count, bytes } => {
                let model = &mut models[group_of(group)];
                let next = model.entries.keys().next_back().map_or(1, |last| last + 1);
                let new: Vec<LogEntry> =
                    (next..next + count).map(|index| LogEntry { index, bytes: vec![tag; bytes] }).collect();
                model.entries.extend(new.iter().map(|e| (e.index, e.bytes.clone())));
                log.append(GroupId(group), new, nothing());
            }
            Step::StartAt { group, index } => {
                let model = &mut models[group_of(group)];
                model.entries = BTreeMap::from([(index, vec![tag])]);
                log.truncate_after(GroupId(group), None, nothing());
                log.append(GroupId(group), vec![LogEntry { index, bytes: vec![tag] }], nothing());
            }
            Step::Truncate { group, back } => {
                let model = &mut models[group_of(group)];
                let keep = model.entries.keys().next_back().and_then(|last| last.checked_sub(back));
                model.entries.retain(|index, _| keep.is_some_and(|keep| *index <= keep));
                log.truncate_after(GroupId(group), keep, nothing());
            }
            Step::Purge { group, ahead } => {
                let model = &mut models[group_of(group)];
                let through = model.entries.keys().next().map_or(ahead, |first| first + ahead);
                model.entries.retain(|index, _| *index > through);
                log.purge_through(GroupId(group), through, nothing());
            }
            Step::Meta { group, value } => {
                models[group_of(group)].meta = Some(vec![value]);
                log.put_meta(GroupId(group), "meta", vec![value], nothing());
            }
            Step::Read { group, start, end } => {
                let wanted = models[group_of(group)].entries.iter();
                let wanted = wanted.filter(|(index, _)| (start..end).contains(index));
                let wanted: Vec<LogEntry> =
                    wanted.map(|(index, bytes)| LogEntry { index: *index, bytes: bytes.clone() }).collect();
                assert_eq!(log.read(GroupId(group), start, end, usize::MAX).unwrap(), wanted);
            }
            Step::Reopen => log = reopen(log),
        }
        for (group, model) in (0..).map(GroupId).zip(&models) {
            let first = model.entries.keys().next().copied();
            let last = model.entries.keys().next_back().copied();
            assert_eq!(log.bounds(group), LogBounds { first, last });
            assert_eq!(log.meta(group, "meta").unwrap(), model.meta);
        }
    }
    for (group, model) in (0..).map(GroupId).zip(models) {
        let all: Vec<LogEntry> =
            model.entries.into_iter().map(|(index, bytes)| LogEntry { index, bytes }).collect();
        assert_eq!(read_all(&log, group), all);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_sequence_agrees_with_sorted_maps(steps in prop::collection::vec(step(), 1..60)) {
        agrees_with_model(MemoryLog::new(), |log| log, steps.clone());
        let dir = tempfile::tempdir().unwrap();
        let reopen = |log: RaftEngineLog| {
            drop(log);
            on_disk(dir.path())
        };
        agrees_with_model(on_disk(dir.path()), reopen, steps);
    }
}
