//! One start of a node, until it ends without a word.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Clones share it. What belongs to a life that is over reaches neither disk nor network.
#[derive(Clone, Default)]
pub struct Life(Arc<AtomicBool>);

impl Life {
    pub fn is_lived(&self) -> bool {
        !self.0.load(Ordering::SeqCst)
    }

    pub fn end(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
