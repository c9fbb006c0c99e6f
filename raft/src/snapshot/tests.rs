//! Snapshots from one replica to another, over a pipe in place of a network.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

use std::path::Path;
use std::sync::Mutex;

use domicile_storage::{
    Batch, KeyRange, MemoryEngine, Order, Pair, SledEngine, SledOptions, Transaction, View, Write,
};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::place::Step;
use super::*;
use crate::barrier::{Applied, CurrentState};
use crate::config::OpenState;
use crate::data_dir::DataDir;
use crate::peer::StreamReceiver;
use crate::type_config::log_id;
use crate::{BoxFuture, Incarnation, LogPosition, NodeId, PartitionId, SystemClock};

const PARTITION: PartitionId = PartitionId(5);
const WAIT: Duration = Duration::from_secs(20);

/// Chunks; `None` is the orderly end.
struct Pipe(mpsc::Sender<Option<Bytes>>, oneshot::Receiver<Bytes>);
struct PipeEnd(mpsc::Receiver<Option<Bytes>>);

fn broken() -> PeerError {
    PeerError::Lost { node: NodeId(9), reason: "the pipe broke".to_owned() }
}

impl StreamSender for Pipe {
    fn send(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), PeerError>> {
        Box::pin(async { self.0.send(Some(chunk)).await.map_err(|_| broken()) })
    }

    fn finish(self: Box<Self>, _deadline: Duration) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        Box::pin(async {
            self.0.send(None).await.map_err(|_| broken())?;
            self.1.await.map_err(|_| broken())
        })
    }
}

impl StreamReceiver for PipeEnd {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, PeerError>> {
        Box::pin(async { self.0.recv().await.ok_or_else(broken) })
    }
}

fn pipe() -> (Box<Pipe>, Box<PipeEnd>, oneshot::Sender<Bytes>) {
    let ((to, from), (answer, answered)) = (mpsc::channel(1), oneshot::channel());
    (Box::new(Pipe(to, answered)), Box::new(PipeEnd(from)), answer)
}

/// One replica without Raft around it.
struct Replica {
    barrier: Arc<StateBarrier>,
    receiver: SnapshotReceiver,
}

impl Replica {
    fn open(
        directory: Option<DataDir>,
        incarnation: u64,
        on_step: Option<Arc<dyn Fn(Step) + Send + Sync>>,
    ) -> Self {
        let unpaced = SnapshotSettings { send_bytes_per_second: 0, ..SnapshotSettings::default() };
        Self::with(directory, incarnation, on_step, unpaced)
    }

    fn bounded(settings: SnapshotSettings) -> Self {
        Self::with(None, 1, None, settings)
    }

    fn with(
        directory: Option<DataDir>,
        incarnation: u64,
        on_step: Option<Arc<dyn Fn(Step) + Send + Sync>>,
        settings: SnapshotSettings,
    ) -> Self {
        let open_state: OpenState = Arc::new(|_, path: &Path| {
            if path.as_os_str().is_empty() {
                return Ok(Arc::new(MemoryEngine::new()));
            }
            Ok(Arc::new(SledEngine::open(path, &SledOptions::default())?))
        });
        let path = directory.as_ref().map(|directory| {
            directory.remove_unused_states(PARTITION).unwrap();
            directory.current_state(PARTITION).unwrap()
        });
        let place = Arc::new(Place {
            partition: PARTITION,
            incarnation: Incarnation(incarnation),
            directory,
            open_state: Arc::clone(&open_state),
            clock: Arc::new(SystemClock::new()),
            limits: SnapshotLimits::new(settings, None),
            receiving: tokio::sync::Mutex::default(),
            retired: Mutex::default(),
            on_step,
        });
        let engine = place.viewed(open_state(PARTITION, &path.unwrap_or_default()).unwrap()).unwrap();
        let (applied_tx, applied) = watch::channel(Applied::default());
        let (open, _closed) = mpsc::channel(1);
        let loaded = state_meta::load(&*engine).unwrap();
        let barrier = StateBarrier::new(CurrentState::new(engine), loaded, applied_tx, open);
        let receiver = SnapshotReceiver { place, applied };
        Self { barrier, receiver }
    }

    fn memory() -> Self {
        Self::open(None, 1, None)
    }

    /// Applies one entry that writes `pairs`.
    fn apply(&self, index: u64, pairs: Vec<Pair>) {
        let engine = self.barrier.engine();
        let applied = AppliedState { log_id: Some(log_id(3, index)), ..self.barrier.applied() };
        let mut transaction = Transaction::new(&*engine);
        state_meta::store_applied(&mut transaction, &applied).unwrap();
        let mut batch = transaction.into_batch();
        batch.writes.extend(pairs.into_iter().map(|(key, value)| Write::Put { key, value }));
        engine.commit(batch).unwrap();
        self.barrier.advance(applied);
    }

    fn handle(&self) -> StateSnapshot {
        let (barrier, place) = (Arc::clone(&self.barrier), Arc::clone(&self.receiver.place));
        StateSnapshot::Local(LocalState { barrier, place })
    }

    fn digest(&self) -> [u8; 32] {
        state_digest(&*self.barrier.engine()).unwrap()
    }

    fn applied(&self) -> u64 {
        self.barrier.applied().log_id.map_or(0, |id| id.index())
    }

    async fn install(&self, snapshot: StateSnapshot) {
        let (engine, applied) =
            self.receiver.place.install_snapshot(snapshot, self.barrier.engine()).await.unwrap().unwrap();
        self.barrier.replace(engine, applied);
    }
}

fn rows(from: u32, to: u32, byte: u8) -> Vec<Pair> {
    (from..to).map(|n| ([&[1], &n.to_be_bytes()[..]].concat(), vec![byte; 1_000])).collect()
}

/// A replica with 3,000 rows, one long value and a setting of Raft's.
fn full(index: u64, byte: u8) -> Replica {
    let replica = Replica::memory();
    let mut pairs = rows(0, 3_000, byte);
    pairs.push((vec![2], vec![byte; 900_000]));
    pairs.push((b"\x00other".to_vec(), vec![byte]));
    pairs.push((b"\x00local".to_vec(), vec![byte]));
    replica.apply(index, pairs);
    replica
}

/// Sends from one to the other, through `change`, which sees each chunk with its number.
async fn transfer(
    from: StateSnapshot,
    to: &SnapshotReceiver,
    term_max: u64,
    mut change: impl FnMut(usize, Bytes) -> Option<Bytes> + Send,
) -> Result<StateSnapshot, SnapshotError> {
    let (sender, mut middle, answer) = pipe();
    let (relay, end, _) = pipe();
    let sending = from.send(sender, term_max, WAIT);
    let relaying = async move {
        let mut number = 0;
        while let Some(item) = middle.0.recv().await {
            let passed = match item {
                Some(chunk) => change(number, chunk).map(Some),
                None => Some(None),
            };
            let Some(passed) = passed else { return };
            if relay.0.send(passed).await.is_err() {
                return;
            }
            number += 1;
        }
    };
    let taking = async {
        let taken = to.receive(end, term_max).await;
        let _ = answer.send(Bytes::from_static(b"done"));
        taken
    };
    let (sent, (), taken) = tokio::join!(sending, relaying, taking);
    if taken.is_ok() {
        assert_eq!(sent.unwrap(), Bytes::from_static(b"done"));
    }
    taken.map(|snapshot| snapshot.snapshot)
}

#[tokio::test]
async fn writes_go_on_while_a_snapshot_is_sent_and_it_has_one_state() {
    let (leader, follower) = (full(7, 1), Replica::memory());
    let before = leader.digest();
    let taken = transfer(leader.handle(), &follower.receiver, 3, |number, chunk| {
        // The header has come, so that the view is open.
        leader.apply(8 + number as u64, rows(0, 200, u8::try_from(number).unwrap() + 50));
        Some(chunk)
    });
    follower.install(taken.await.unwrap()).await;
    assert_ne!(leader.digest(), before);
    assert_eq!((follower.digest(), follower.applied()), (before, 7));
    assert_eq!(follower.barrier.engine().get(b"\x00other").unwrap(), Some(vec![1]));
    assert_eq!(follower.barrier.engine().get(b"\x00local").unwrap(), None, "local values stay");
    assert_eq!(leader.barrier.engine().views_open(), 0);
}

#[tokio::test]
async fn an_installed_state_replaces_all_and_readers_of_the_old_one_finish() {
    let temp = tempfile::tempdir().unwrap();
    let directory = DataDir::open(temp.path()).unwrap();
    let follower = Replica::open(Some(directory.clone()), 1, None);
    follower.apply(2, rows(2_900, 3_100, 9));
    let (old, old_digest) = (follower.barrier.engine(), follower.digest());
    for (index, byte) in [(7, 1), (20, 2), (30, 3)] {
        let leader = full(index, byte);
        let taken = transfer(leader.handle(), &follower.receiver, 3, |_, chunk| Some(chunk));
        follower.install(taken.await.unwrap()).await;
        assert_eq!((follower.digest(), follower.applied()), (leader.digest(), index));
        assert_eq!(state_digest(&*old).unwrap(), old_digest);
    }
    let names = states(temp.path());
    assert_eq!(names, ["state.1", "state.3", "state.4"], "what nobody reads goes at the next");
    let wanted = follower.digest();
    drop((follower, old));
    let again = Replica::open(Some(directory), 1, None);
    assert_eq!((again.digest(), again.applied()), (wanted, 30));
    assert_eq!(states(temp.path()), ["state.4"]);
}

fn states(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root.join("partitions/5")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.starts_with("state."));
    names.sort();
    names
}

#[tokio::test]
async fn a_stream_that_is_cut_or_changed_leaves_the_old_state_and_no_files() {
    let temp = tempfile::tempdir().unwrap();
    let follower = Replica::open(Some(DataDir::open(temp.path()).unwrap()), 1, None);
    follower.apply(2, rows(0, 20, 9));
    let before = follower.digest();
    let leader = full(7, 1);
    for bad in [0, 1, 5, 15, 16] {
        for cut in [true, false] {
            let taken = transfer(leader.handle(), &follower.receiver, 3, |number, chunk| {
                if number != bad {
                    return Some(chunk);
                }
                let mut bytes = chunk.to_vec();
                bytes[20] ^= 1;
                (!cut).then(|| Bytes::from(bytes))
            });
            assert!(taken.await.is_err(), "chunk {bad}");
            assert_eq!((follower.digest(), follower.applied()), (before, 2));
        }
    }
    settled(temp.path(), &["state.1"]).await;
}

/// Files of what was given up are removed beside everything else.
async fn settled(root: &Path, wanted: &[&str]) {
    let reached = async {
        while states(root) != wanted {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    let reached = tokio::time::timeout(std::time::Duration::from_secs(20), reached).await;
    assert!(reached.is_ok(), "{:?} are left", states(root));
}

#[tokio::test]
async fn what_is_foreign_too_new_or_too_large_is_refused() {
    let (leader, follower) = (full(7, 1), Replica::memory());
    let pass = |_, chunk| Some(chunk);
    let foreign = transfer(leader.handle(), &Replica::open(None, 2, None).receiver, 3, pass).await;
    assert!(matches!(foreign.err(), Some(SnapshotError::Foreign { incarnation: 1, .. })));
    assert!(transfer(leader.handle(), &follower.receiver, 2, pass).await.is_err(), "of a later term");
    let small =
        Replica::bounded(SnapshotSettings { receive_bytes_max: 1 << 20, ..SnapshotSettings::default() });
    let large = transfer(leader.handle(), &small.receiver, 3, pass).await;
    assert!(matches!(large.err(), Some(SnapshotError::TooLarge(_))));
    assert_eq!(follower.applied(), 0);
}

#[tokio::test]
async fn what_is_not_newer_is_taken_and_changes_nothing() {
    let (leader, follower) = (full(7, 1), Replica::memory());
    follower.apply(7, rows(0, 3, 4));
    let taken = transfer(leader.handle(), &follower.receiver, 3, |_, chunk| Some(chunk)).await.unwrap();
    assert!(matches!(taken, StateSnapshot::NotNeeded));
}

#[tokio::test]
async fn one_group_takes_one_snapshot_at_a_time() {
    let follower = Replica::memory();
    let _taking = follower.receiver.place.receiving.try_lock().unwrap();
    let (_sender, end, _) = pipe();
    assert!(matches!(follower.receiver.receive(end, 3).await.err(), Some(SnapshotError::Busy)));
}

/// A copy of the files at each step is what a process killed there would find.
#[tokio::test]
async fn a_crash_at_any_step_leaves_the_old_state_or_the_new() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().to_path_buf();
    let copies: Arc<Mutex<Vec<(Step, TempDir)>>> = Arc::default();
    let (kept, from) = (Arc::clone(&copies), root.clone());
    let on_step = move |step| {
        let copy = tempfile::tempdir().unwrap();
        copy_tree(&from, copy.path());
        kept.lock().unwrap().push((step, copy));
    };
    let follower = Replica::open(Some(DataDir::open(&root).unwrap()), 1, Some(Arc::new(on_step)));
    follower.apply(2, rows(0, 3_500, 9));
    follower.barrier.engine().sync().unwrap();
    let (old, leader) = (follower.digest(), full(7, 1));
    let taken = transfer(leader.handle(), &follower.receiver, 3, |_, chunk| Some(chunk));
    follower.install(taken.await.unwrap()).await;
    let copies = std::mem::take(&mut *copies.lock().unwrap());
    let mut seen: Vec<Step> = copies.iter().map(|(step, _)| *step).collect();
    seen.dedup();
    assert_eq!(seen, [Step::Made, Step::Written, Step::Synced, Step::Switched]);
    for (step, copy) in copies {
        let after = Replica::open(Some(DataDir::open(copy.path()).unwrap()), 1, None);
        let wanted = if step == Step::Switched { (leader.digest(), 7) } else { (old, 2) };
        assert_eq!((after.digest(), after.applied()), wanted, "after {step:?}");
        assert_eq!(states(copy.path()).len(), 1, "leftovers go at the start");
    }
}

fn copy_tree(from: &Path, to: &Path) {
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

#[tokio::test]
async fn in_memory_a_power_loss_around_an_install_leaves_the_old_state_or_the_new() {
    let memory = Arc::new(MemoryEngine::new());
    let follower = Replica::memory();
    let current = follower.receiver.place.viewed(Arc::clone(&memory) as Arc<dyn Engine>).unwrap();
    current.commit(Batch { writes: vec![Write::Put { key: vec![1], value: vec![1] }] }).unwrap();
    current.sync().unwrap();
    let view = current.view().unwrap();
    let leader = full(7, 1);
    let taken = transfer(leader.handle(), &follower.receiver, 3, |_, chunk| Some(chunk)).await.unwrap();
    memory.lose_unsynced();
    assert_eq!(memory.get(&[1]).unwrap(), Some(vec![1]), "receiving changed nothing");
    let (engine, _) =
        follower.receiver.place.install_snapshot(taken, Arc::clone(&current)).await.unwrap().unwrap();
    memory.lose_unsynced();
    assert_eq!(state_digest(&*engine).unwrap(), leader.digest());
    assert_eq!(view.get(&[1]).unwrap(), Some(vec![1]), "an open view is not disturbed");
}

#[tokio::test]
async fn digests_do_not_depend_on_raft_values_and_come_with_their_index() {
    let (one, other) = (full(7, 1), full(9, 1));
    assert_eq!(one.digest(), other.digest());
    assert_eq!(state_digest_at(&*other.barrier.engine()).unwrap(), Some((9, one.digest())));
    other.apply(10, rows(0, 1, 2));
    assert_ne!(one.digest(), other.digest());
    let all = one.barrier.engine().scan(&KeyRange::prefix(&[]), Order::Ascending, usize::MAX).unwrap();
    assert_eq!(all.len(), 3_000 + 4);
}

#[tokio::test]
async fn a_digest_names_the_position_it_is_of_while_entries_are_applied() {
    let (replica, go_on) = (full(7, 1), CancellationToken::new());
    let before = replica.digest();
    let engine = replica.barrier.engine();
    let view = engine.view().unwrap();
    replica.apply(8, rows(0, 200, 2));
    let digest = |view: &View| super::digest::digest_of(view, Incarnation(1), &go_on);
    let wanted = |index, digest| {
        let applied = LogPosition { term: 3, index };
        StateDigest { incarnation: Incarnation(1), applied, digest }
    };
    assert_eq!(digest(&view).unwrap(), wanted(7, before), "of another state than the view's");
    drop(view);
    assert_ne!(replica.digest(), before);
    assert_eq!(digest(&engine.view().unwrap()).unwrap(), wanted(8, replica.digest()));

    let nothing = Replica::memory().barrier.engine();
    assert!(matches!(digest(&nothing.view().unwrap()), Err(DigestError::Empty)));
    go_on.cancel();
    assert!(matches!(digest(&engine.view().unwrap()), Err(DigestError::Stopped)));
}
