//! What of the state is applied, and what of it survives power loss.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use domicile_storage::{Engine, ViewedEngine};
use tokio::sync::{mpsc, watch};

use crate::placement::GroupSettings;
use crate::type_config::{LogId, StoredMembership, term_of};

/// The last applied entry, and the membership and settings in force at it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct AppliedState {
    pub(crate) log_id: Option<LogId>,
    pub(crate) membership: StoredMembership,
    /// `None` until the first settings entry.
    pub(crate) settings: Option<Arc<GroupSettings>>,
}

/// The applied position as readers wait for it. Index 0 also stands for nothing applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) index: u64,
    pub(crate) term: u64,
}

/// The engine that counts. A snapshot puts another in its place; who holds the old one finishes on it.
pub(crate) struct CurrentState(RwLock<Arc<ViewedEngine>>);

impl CurrentState {
    pub(crate) fn new(engine: Arc<ViewedEngine>) -> Arc<Self> {
        Arc::new(Self(RwLock::new(engine)))
    }

    /// Over an engine that has no history yet, with views that never grow old.
    #[cfg(test)]
    pub(crate) fn over(engine: Arc<dyn Engine>) -> Arc<Self> {
        let still: domicile_storage::Monotonic = Arc::new(|| std::time::Duration::ZERO);
        let viewed = ViewedEngine::open(engine, domicile_storage::ViewBounds::default(), still);
        Self::new(viewed.unwrap_or_else(|cause| panic!("a new engine opens: {cause}")))
    }

    pub(crate) fn get(&self) -> Arc<ViewedEngine> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, engine: Arc<ViewedEngine>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = engine;
    }
}

/// Shared by the state machine, snapshots and the log of one group.
pub(crate) struct StateBarrier {
    engine: Arc<CurrentState>,
    inner: Mutex<Inner>,
    applied: watch::Sender<Applied>,
    settings: watch::Sender<Option<Arc<GroupSettings>>>,
    /// Dropped with the last holder, which tells [`crate::group`] that the state is closed.
    _open: mpsc::Sender<()>,
}

struct Inner {
    applied: AppliedState,
    /// One more than the last applied index that a sync has covered.
    synced_end: u64,
}

impl StateBarrier {
    pub(crate) fn new(
        engine: Arc<CurrentState>,
        applied: AppliedState,
        watch: watch::Sender<Applied>,
        open: mpsc::Sender<()>,
    ) -> Arc<Self> {
        let settings = watch::Sender::new(applied.settings.clone());
        let inner = Mutex::new(Inner { applied, synced_end: 0 });
        let barrier = Self { engine, inner, applied: watch, settings, _open: open };
        barrier.publish();
        Arc::new(barrier)
    }

    pub(crate) fn engine(&self) -> Arc<ViewedEngine> {
        self.engine.get()
    }

    pub(crate) fn applied(&self) -> AppliedState {
        self.lock().applied.clone()
    }

    /// The settings in force, as they change.
    pub(crate) fn settings(&self) -> watch::Receiver<Option<Arc<GroupSettings>>> {
        self.settings.subscribe()
    }

    /// To be called once the engine holds `applied`.
    pub(crate) fn advance(&self, applied: AppliedState) {
        self.settings.send_if_modified(|in_force| {
            let changed = *in_force != applied.settings;
            if changed {
                in_force.clone_from(&applied.settings);
            }
            changed
        });
        self.lock().applied = applied;
        self.publish();
    }

    /// Puts another state in place of this one, which is durable up to what is applied in it.
    pub(crate) fn replace(&self, engine: Arc<ViewedEngine>, applied: AppliedState) {
        // INVARIANT: the engine goes first. A sync that knows the new position then covers the new state.
        self.engine.replace(engine);
        let end = applied.log_id.as_ref().map_or(0, |id| id.index() + 1);
        {
            let mut inner = self.lock();
            inner.synced_end = inner.synced_end.max(end);
        }
        self.advance(applied);
    }

    /// Makes what is applied now durable, and returns it. Covers everything committed before the call.
    pub(crate) async fn sync(&self) -> io::Result<AppliedState> {
        let applied = self.applied();
        let engine = self.engine();
        tokio::task::spawn_blocking(move || engine.sync())
            .await
            .map_err(io::Error::other)?
            .map_err(io::Error::other)?;
        let end = applied.log_id.as_ref().map_or(0, |id| id.index() + 1);
        let mut inner = self.lock();
        inner.synced_end = inner.synced_end.max(end);
        Ok(applied)
    }

    /// Returns once state synced to disk holds entry `index`.
    ///
    /// INVARIANT: the log is cut only after this, or a crash would lose what only the log held.
    pub(crate) async fn cover(&self, index: u64) -> io::Result<()> {
        if self.lock().synced_end <= index {
            self.sync().await?;
        }
        let synced_end = self.lock().synced_end;
        if index < synced_end {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "log purge through {index} refused: state is synced up to {synced_end} only"
        )))
    }

    fn publish(&self) {
        let applied = self.applied().log_id;
        let position =
            applied.map_or(Applied::default(), |id| Applied { index: id.index(), term: term_of(&id) });
        self.applied.send_replace(position);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod tests {
    use domicile_storage::{Batch, MemoryEngine, Write};

    use super::*;
    use crate::type_config::log_id;

    fn at(index: u64) -> AppliedState {
        AppliedState { log_id: Some(log_id(1, index)), ..AppliedState::default() }
    }

    #[tokio::test]
    async fn a_cut_syncs_first_and_never_passes_what_is_applied() {
        let engine = Arc::new(MemoryEngine::new());
        let (open, _closed) = mpsc::channel(1);
        let state = CurrentState::over(engine.clone());
        let barrier = StateBarrier::new(state, at(4), watch::Sender::new(Applied::default()), open);
        engine.commit(Batch { writes: vec![Write::Put { key: vec![1], value: vec![5] }] }).unwrap();
        barrier.advance(at(5));
        assert!(barrier.cover(6).await.unwrap_err().to_string().contains("purge through 6 refused"));
        barrier.cover(5).await.unwrap();
        engine.lose_unsynced();
        assert_eq!(engine.get(&[1]).unwrap(), Some(vec![5]), "the cut was allowed before the sync");
    }

    #[tokio::test]
    async fn what_is_applied_during_a_sync_is_not_covered_by_it() {
        let (open, _closed) = mpsc::channel(1);
        let engine = Arc::new(MemoryEngine::new());
        let barrier = StateBarrier::new(
            CurrentState::over(engine),
            at(4),
            watch::Sender::new(Applied::default()),
            open,
        );
        assert_eq!(barrier.sync().await.unwrap(), at(4));
        barrier.advance(at(9));
        assert_eq!(barrier.lock().synced_end, 5);
    }
}
