//! Stamps: by them a reader knows that what it read before is what it would read now.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

/// One counter for all engines of the process, so that no two of them ever give the same stamp.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Which content an engine had, for comparison within this process.
///
/// INVARIANT: who gets the same stamp twice got it from one engine, to which nothing was committed in between. So
/// what was read after the first is what would be read after the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp(NonZeroU64);

impl Stamp {
    /// As a number, to be kept where other stamps replace it. Never 0, and never so large as [`u64::MAX`].
    #[must_use]
    pub fn number(self) -> NonZeroU64 {
        self.0
    }
}

/// The stamp of one engine.
#[derive(Debug)]
pub(crate) struct Stamps {
    /// 0 while a batch goes in.
    current: AtomicU64,
}

impl Default for Stamps {
    fn default() -> Self {
        Self { current: AtomicU64::new(next()) }
    }
}

impl Stamps {
    /// The stamp of what is there; `None` while a batch goes in.
    pub(crate) fn current(&self) -> Option<Stamp> {
        NonZeroU64::new(self.current.load(Ordering::Acquire)).map(Stamp)
    }

    /// To be held while the content changes, under the lock that lets one writer in at a time.
    ///
    /// The old stamp is gone before the first reader sees anything new, and the new one comes after the last change:
    /// a reader that takes a stamp and then reads has the content of the stamp or a newer one, whose stamp differs.
    pub(crate) fn changing(&self) -> Changing<'_> {
        self.current.store(0, Ordering::Release);
        Changing(self)
    }
}

/// Content that is changing. Dropped, it has a new stamp, also if the change failed halfway.
pub(crate) struct Changing<'s>(&'s Stamps);

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.0.current.store(next(), Ordering::Release);
    }
}

fn next() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_has_no_stamp_and_leaves_another_and_no_two_engines_share_one() {
        let (one, other) = (Stamps::default(), Stamps::default());
        let before = one.current();
        assert!(before.is_some() && before != other.current());
        let changing = one.changing();
        assert_eq!(one.current(), None);
        drop(changing);
        assert!(one.current().is_some() && one.current() != before);
    }
}
