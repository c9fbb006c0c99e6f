//! A scan of a view: primary rows under the history of the same keys.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::{View, ViewError, history};
use crate::engine::is_empty_range;
use crate::{KeyRange, Order, Pair};

/// What is left of a scan of a [`View`].
pub struct ViewScan<'v> {
    view: &'v View,
    rest: Option<KeyRange>,
}

/// Rows of one read, and where the read ended if it did not reach the end of its range.
struct Chunk {
    pairs: Vec<Pair>,
    cut: bool,
}

impl<'v> ViewScan<'v> {
    pub(super) fn new(view: &'v View, range: KeyRange) -> Self {
        Self { view, rest: Some(range) }
    }

    /// The next pairs, at most `limit` (at least 1 is taken) and not many more than `bytes_max` bytes of
    /// keys and values; `None` once the range is done.
    ///
    /// # Errors
    /// [`ViewError::Closed`]: what was read before is still right, the rest needs another view.
    /// [`ViewError::Engine`].
    pub fn next_chunk(&mut self, limit: usize, bytes_max: usize) -> Result<Option<Vec<Pair>>, ViewError> {
        while let Some(range) = self.rest.take() {
            if is_empty_range(&range) {
                self.view.check()?;
                return Ok(None);
            }
            let pairs = match self.merge(&range, limit.max(1), bytes_max) {
                Ok(pairs) => pairs,
                Err(cause) => {
                    // Asked again it fails again, rather than ending as if all were read.
                    self.rest = Some(range);
                    return Err(cause);
                }
            };
            if !pairs.is_empty() {
                return Ok(Some(pairs));
            }
        }
        Ok(None)
    }

    fn merge(&mut self, range: &KeyRange, limit: usize, bytes_max: usize) -> Result<Vec<Pair>, ViewError> {
        let (view, engine) = (self.view, &self.view.engine.inner);
        let read = |range: &KeyRange| -> Result<Chunk, ViewError> {
            let pairs = engine.scan_within(range, Order::Ascending, limit, bytes_max)?;
            let bytes: usize = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
            Ok(Chunk { cut: pairs.len() >= limit || bytes >= bytes_max, pairs })
        };
        // INVARIANT: primary first. A write between the two is then in the history that is read.
        let primary = read(range)?;
        let mut covered = range.clone();
        let mut cut = primary.cut;
        if let Some((last, _)) = primary.pairs.last().filter(|_| primary.cut) {
            covered.end = Bound::Included(last.clone());
        }
        let kept = read(&history::within(view.id, &covered))?;
        if let Some((last, _)) = kept.pairs.last().filter(|_| kept.cut) {
            covered.end = Bound::Included(history::user_key(last).to_vec());
            cut = true;
        }
        view.check()?;
        let inside = |key: &[u8]| match &covered.end {
            Bound::Included(end) => key <= end.as_slice(),
            Bound::Excluded(end) => key < end.as_slice(),
            Bound::Unbounded => true,
        };
        let mut merged: BTreeMap<Vec<u8>, Vec<u8>> =
            primary.pairs.into_iter().filter(|(key, _)| inside(key)).collect();
        for (row, value) in kept.pairs {
            let key = history::user_key(&row).to_vec();
            match history::decode(&key, &value)? {
                Some(value) => merged.insert(key, value),
                None => merged.remove(&key),
            };
        }
        if let (true, Bound::Included(end)) = (cut, covered.end) {
            self.rest = Some(KeyRange { start: Bound::Excluded(end), end: range.end.clone() });
        }
        Ok(merged.into_iter().collect())
    }
}
