//! Views: an engine as it was at one batch, readable while writes go on (docs/adr/0010).
//!
//! While a view is open, the first overwrite, delete or insert of a key since it was opened copies the
//! old value, or a mark that there was none, into the view's history, in the same batch. A view reads
//! the primary rows first and then the history of the same keys, which wins: a write that the first
//! read saw is in the second. Without an open view a commit pays for one uncontended lock.
//!
//! INVARIANT: history lies behind every other key and is seen by views alone.

pub(crate) mod history;
mod scan;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use history::{HISTORY, hidden};

pub use scan::ViewScan;

use crate::engine::check_key;
use crate::{Batch, Engine, EngineError, KeyRange, Order, Pair, Stamp, Write};

/// History rows cleared beside a commit, and in one batch otherwise.
const CLEAR_ROWS: usize = 256;

/// A clock that never goes back; this crate has none of its own.
pub type Monotonic = Arc<dyn Fn() -> Duration + Send + Sync>;

/// What views may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewBounds {
    /// Open at once.
    pub open_max: usize,
    /// Keys and values copied for one view, in bytes; beyond it the view is closed.
    pub history_bytes_max: u64,
    /// A view that is older is closed at the next commit or read.
    pub age_max: Duration,
}

impl Default for ViewBounds {
    fn default() -> Self {
        Self { open_max: 2, history_bytes_max: 1 << 30, age_max: Duration::from_hours(1) }
    }
}

/// Why a view ended before its reader was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewEnd {
    /// It was open for longer than [`ViewBounds::age_max`].
    Age,
    /// So much was written meanwhile that its history passed [`ViewBounds::history_bytes_max`].
    History,
    /// [`ViewedEngine::close_views`].
    Ordered,
}

/// A view that cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// As many are open as may be.
    #[error("{0} views are open")]
    TooMany(usize),
    /// The view was closed; open another.
    #[error("the view was closed: {}", match .0 {
        ViewEnd::Age => "it was open for too long",
        ViewEnd::History => "too much was written since it was opened",
        ViewEnd::Ordered => "disk space is short",
    })]
    Closed(ViewEnd),
    /// The engine failed.
    #[error("state engine")]
    Engine(#[from] EngineError),
}

/// An [`Engine`] over another, with views.
pub struct ViewedEngine {
    inner: Arc<dyn Engine>,
    bounds: ViewBounds,
    monotonic: Monotonic,
    /// Held for the whole of a commit, so that a view opens between two.
    state: Mutex<State>,
}

impl std::fmt::Debug for ViewedEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ViewedEngine").field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    last_id: u64,
    open: Vec<Open>,
    /// Closed views whose history is still there.
    clearing: Vec<u64>,
}

struct Open {
    id: u64,
    since: Duration,
    bytes: u64,
    end: Arc<End>,
}

/// How a view ended, as its reader sees it: 0 while it is open.
#[derive(Default)]
struct End(AtomicU8);

impl End {
    fn set(&self, end: ViewEnd) {
        let code = match end {
            ViewEnd::Age => 1,
            ViewEnd::History => 2,
            ViewEnd::Ordered => 3,
        };
        self.0.store(code, Ordering::Release);
    }

    fn check(&self) -> Result<(), ViewError> {
        match self.0.load(Ordering::Acquire) {
            0 => Ok(()),
            1 => Err(ViewError::Closed(ViewEnd::Age)),
            2 => Err(ViewError::Closed(ViewEnd::History)),
            _ => Err(ViewError::Closed(ViewEnd::Ordered)),
        }
    }
}

impl ViewedEngine {
    /// Over `inner`, without the history that a crash left behind.
    ///
    /// # Errors
    /// [`EngineError`] of `inner`.
    pub fn open(
        inner: Arc<dyn Engine>,
        bounds: ViewBounds,
        monotonic: Monotonic,
    ) -> Result<Arc<Self>, EngineError> {
        while history::clear(&*inner, &KeyRange::prefix(&HISTORY), CLEAR_ROWS)? {}
        Ok(Arc::new(Self { inner, bounds, monotonic, state: Mutex::default() }))
    }

    /// Opens a view of everything committed so far.
    ///
    /// # Errors
    /// [`ViewError::TooMany`].
    pub fn view(self: &Arc<Self>) -> Result<View, ViewError> {
        let mut state = self.lock();
        self.end_old(&mut state);
        if state.open.len() >= self.bounds.open_max {
            return Err(ViewError::TooMany(state.open.len()));
        }
        state.last_id += 1;
        let (id, end) = (state.last_id, Arc::new(End::default()));
        state.open.push(Open { id, since: (self.monotonic)(), bytes: 0, end: Arc::clone(&end) });
        Ok(View { engine: Arc::clone(self), id, end })
    }

    /// Ends every open view: their readers get [`ViewEnd::Ordered`].
    pub fn close_views(&self) {
        let mut state = self.lock();
        while let Some(view) = state.open.pop() {
            view.end.set(ViewEnd::Ordered);
            state.clearing.push(view.id);
        }
    }

    /// Views open now.
    pub fn views_open(&self) -> usize {
        self.lock().open.len()
    }

    /// Nothing between two lines that can panic leaves the state half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_old(&self, state: &mut State) {
        if state.open.is_empty() {
            return;
        }
        let now = (self.monotonic)();
        let old = |view: &Open| now.saturating_sub(view.since) > self.bounds.age_max;
        state.end_where(ViewEnd::Age, old);
    }

    /// The writes that keep what `writes` are about to change, and some that clear away.
    fn keep_history(&self, state: &mut State, writes: &[Write]) -> Result<Vec<Write>, EngineError> {
        let mut extra = Vec::new();
        // First: what a view that ends below adds to this batch is not there to be cleared yet.
        if let Some(id) = state.clearing.first() {
            let (rows, more) = history::rows(&*self.inner, &history::of(*id), CLEAR_ROWS)?;
            extra.extend(rows.into_iter().map(|key| Write::Delete { key }));
            if !more {
                state.clearing.remove(0);
            }
        }
        let keys: BTreeSet<&Vec<u8>> = if state.open.is_empty() { BTreeSet::new() } else { keys_of(writes) };
        for key in keys {
            let mut old = None;
            for view in &mut state.open {
                let row = history::key(view.id, key);
                if self.inner.get(&row)?.is_some() {
                    continue;
                }
                let value = match &old {
                    Some(value) => value,
                    None => old.insert(history::encode(self.inner.get(key)?)),
                };
                view.bytes += (row.len() + value.len()) as u64;
                extra.push(Write::Put { key: row, value: value.clone() });
            }
            let bytes_max = self.bounds.history_bytes_max;
            state.end_where(ViewEnd::History, |view| view.bytes > bytes_max);
        }
        Ok(extra)
    }

    /// Clears what view `id` left, in bounded batches; commits come between.
    fn clear(&self, id: u64) -> Result<(), EngineError> {
        loop {
            let mut state = self.lock();
            if !state.clearing.contains(&id) {
                return Ok(());
            }
            if !history::clear(&*self.inner, &history::of(id), CLEAR_ROWS)? {
                state.clearing.retain(|other| *other != id);
            }
        }
    }
}

impl State {
    fn end_where(&mut self, end: ViewEnd, ended: impl Fn(&Open) -> bool) {
        let clearing = &mut self.clearing;
        self.open.retain(|view| {
            let keep = !ended(view);
            if !keep {
                view.end.set(end);
                clearing.push(view.id);
            }
            keep
        });
    }
}

fn keys_of(writes: &[Write]) -> BTreeSet<&Vec<u8>> {
    writes
        .iter()
        .map(|write| match write {
            Write::Put { key, .. } | Write::Delete { key } => key,
        })
        .collect()
}

impl Engine for ViewedEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        if hidden(key) { Ok(None) } else { self.inner.get(key) }
    }

    fn read(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> Result<bool, EngineError> {
        if hidden(key) { Ok(false) } else { self.inner.read(key, look) }
    }

    /// Of the history too, so that it differs more often than it need.
    fn stamp(&self) -> Option<Stamp> {
        self.inner.stamp()
    }

    fn scan(&self, range: &KeyRange, order: Order, limit: usize) -> Result<Vec<Pair>, EngineError> {
        self.inner.scan(&history::without(range), order, limit)
    }

    fn scan_within(
        &self,
        range: &KeyRange,
        order: Order,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Vec<Pair>, EngineError> {
        self.inner.scan_within(&history::without(range), order, limit, bytes_max)
    }

    fn commit(&self, mut batch: Batch) -> Result<(), EngineError> {
        for write in &batch.writes {
            let (Write::Put { key, .. } | Write::Delete { key }) = write;
            check_key(Path::new("state"), key)?;
            if hidden(key) {
                let source = io::Error::new(io::ErrorKind::InvalidInput, "the key lies where history does");
                return Err(EngineError::Io { file: "state".into(), action: "commit", source });
            }
        }
        let mut state = self.lock();
        self.end_old(&mut state);
        if !state.open.is_empty() || !state.clearing.is_empty() {
            let history = self.keep_history(&mut state, &batch.writes)?;
            batch.writes.extend(history);
        }
        self.inner.commit(batch)
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.inner.sync()
    }

    fn size_on_disk(&self) -> Result<u64, EngineError> {
        self.inner.size_on_disk()
    }
}

/// An engine as it was when the view was opened. Dropped, its history goes with the next commits.
pub struct View {
    engine: Arc<ViewedEngine>,
    id: u64,
    end: Arc<End>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("id", &self.id).finish_non_exhaustive()
    }
}

impl View {
    /// The value that `key` had.
    ///
    /// # Errors
    /// [`ViewError::Closed`] and [`ViewError::Engine`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        self.check()?;
        let newest = self.engine.get(key)?;
        let kept = self.engine.inner.get(&history::key(self.id, key))?;
        // Asked last: an ended view keeps nothing more, so that what was read might be newer.
        self.check()?;
        match kept {
            Some(row) if !hidden(key) => Ok(history::decode(key, &row)?),
            Some(_) | None => Ok(newest),
        }
    }

    /// The pairs that `range` held, smallest key first, in chunks.
    pub fn scan(&self, range: &KeyRange) -> ViewScan<'_> {
        ViewScan::new(self, history::without(range))
    }

    /// Closes the view and clears its history, in bounded batches.
    ///
    /// # Errors
    /// [`EngineError`]; what is left is cleared later.
    pub fn close(self) -> Result<(), EngineError> {
        let (engine, id) = (Arc::clone(&self.engine), self.id);
        drop(self);
        engine.clear(id)
    }

    fn check(&self) -> Result<(), ViewError> {
        let mut state = self.engine.lock();
        self.engine.end_old(&mut state);
        self.end.check()
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let (mut state, id) = (self.engine.lock(), self.id);
        // Its reader is gone: how it ended is told to nobody.
        state.end_where(ViewEnd::Ordered, |view| view.id == id);
    }
}
