//! Where a received state is put, and how it comes to count.
//!
//! On disk it is a directory of its own, `state.<n+1>`. `CURRENT` names it after everything in it is
//! durable: a crash before leaves the old state, one after the new, and what is not named is removed
//! when the group opens. In memory it replaces what is there in one batch.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use domicile_storage::{Batch, Engine, KeyRange, MemoryEngine, Order, ViewBounds, ViewedEngine, Write};

use super::{SnapshotError, SnapshotLimits};
use crate::config::OpenState;
use crate::data_dir::DataDir;
use crate::{Clock, Incarnation, PartitionId};

/// One group's place for states.
pub(crate) struct Place {
    pub(crate) partition: PartitionId,
    pub(crate) incarnation: Incarnation,
    /// `None` in memory.
    pub(crate) directory: Option<DataDir>,
    pub(crate) open_state: OpenState,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Arc<SnapshotLimits>,
    /// One snapshot at a time.
    pub(crate) receiving: tokio::sync::Mutex<()>,
    /// States that were replaced; their files go when nobody reads them any more.
    pub(crate) retired: Mutex<Vec<(Weak<ViewedEngine>, PathBuf)>>,
    /// Called at each step, for tests of crashes.
    #[cfg(test)]
    pub(crate) on_step: Option<Arc<dyn Fn(Step) + Send + Sync>>,
}

/// What a crash may come after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// The directory is there.
    Made,
    /// A batch of pairs is in.
    Written,
    /// All is in, synced and read back.
    Synced,
    /// `CURRENT` names it.
    Switched,
}

/// A state under construction; removed when dropped before it counts.
pub(crate) struct Fresh {
    #[cfg(test)]
    place: Arc<Place>,
    engine: Arc<dyn Engine>,
    path: Option<PathBuf>,
}

impl Place {
    /// Views over `engine`, in this group's bounds.
    pub(crate) fn viewed(
        &self,
        engine: Arc<dyn Engine>,
    ) -> Result<Arc<ViewedEngine>, domicile_storage::EngineError> {
        let clock = Arc::clone(&self.clock);
        ViewedEngine::open(engine, ViewBounds::default(), Arc::new(move || clock.monotonic()))
    }

    /// An empty state that does not count.
    pub(super) fn fresh(self: &Arc<Self>) -> Result<Fresh, SnapshotError> {
        let Some(directory) = &self.directory else {
            let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::new());
            return Ok(self.fresh_at(engine, None));
        };
        self.remove_retired();
        let path = directory.next_state(self.partition).map_err(io::Error::other)?;
        let engine = (self.open_state)(self.partition, &path).inspect_err(|_| remove(&path))?;
        let fresh = self.fresh_at(engine, Some(path));
        fresh.step(Step::Made);
        Ok(fresh)
    }

    #[cfg_attr(not(test), allow(clippy::unused_self, reason = "tests look at steps"))]
    fn fresh_at(self: &Arc<Self>, engine: Arc<dyn Engine>, path: Option<PathBuf>) -> Fresh {
        Fresh {
            #[cfg(test)]
            place: Arc::clone(self),
            engine,
            path,
        }
    }

    /// Makes `fresh` the state that counts, durably, and gives its engine. `current` is the one before.
    pub(super) fn install(
        &self,
        mut fresh: Fresh,
        current: &Arc<ViewedEngine>,
    ) -> Result<Arc<ViewedEngine>, SnapshotError> {
        let (Some(directory), Some(path)) = (&self.directory, fresh.path.clone()) else {
            replace_content(&**current, &**fresh.engine())?;
            return Ok(Arc::clone(current));
        };
        let before = directory.current_state(self.partition).map_err(io::Error::other)?;
        let engine = self.viewed(Arc::clone(fresh.engine()))?;
        directory.switch_state(self.partition, &path).map_err(io::Error::other)?;
        fresh.path = None;
        fresh.step(Step::Switched);
        self.retired.lock().unwrap_or_else(PoisonError::into_inner).push((Arc::downgrade(current), before));
        Ok(engine)
    }

    fn remove_retired(&self) {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.retain(|(engine, path)| {
            let gone = engine.strong_count() == 0;
            if gone {
                remove(path);
            }
            !gone
        });
    }
}

impl Fresh {
    pub(super) fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    #[cfg(test)]
    pub(super) fn step(&self, step: Step) {
        if let Some(on_step) = &self.place.on_step {
            on_step(step);
        }
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self, reason = "tests look at steps")]
    pub(super) fn step(&self, _step: Step) {}
}

impl Drop for Fresh {
    fn drop(&mut self) {
        let Some(path) = self.path.take() else { return };
        let engine = std::mem::replace(&mut self.engine, Arc::new(MemoryEngine::new()));
        let clean = move || {
            // Closed first: it writes when it closes.
            drop(engine);
            remove(&path);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(clean)),
            Err(_) => clean(),
        }
    }
}

fn remove(path: &Path) {
    if let Err(cause) = std::fs::remove_dir_all(path)
        && cause.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%cause, path = %path.display(), "an unused state is left until the next start");
    }
}

/// Leaves in `engine` what `wanted` holds, in one batch, durably.
fn replace_content(engine: &dyn Engine, wanted: &dyn Engine) -> Result<(), SnapshotError> {
    let everything = KeyRange::prefix(&[]);
    let old = engine.scan(&everything, Order::Ascending, usize::MAX)?;
    let mut writes: Vec<Write> = old.into_iter().map(|(key, _)| Write::Delete { key }).collect();
    let new = wanted.scan(&everything, Order::Ascending, usize::MAX)?;
    writes.extend(new.into_iter().map(|(key, value)| Write::Put { key, value }));
    engine.commit(Batch { writes })?;
    engine.sync()?;
    Ok(())
}
