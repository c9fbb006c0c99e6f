//! In which network the calling thread is. Connections belong to the network of the thread that opened
//! them, so that every place needs a pool of its own.

use std::cell::Cell;

/// Networks at most: the harness's own, and one for the clients of each region.
pub(super) const PLACES: usize = 16;

thread_local! {
    static PLACE: Cell<usize> = const { Cell::new(0) };
}

/// The calling thread is in this network from now on; 0 is the harness's own.
pub fn set(place: usize) {
    PLACE.set(place);
}

/// Where the calling thread is.
pub fn here() -> usize {
    PLACE.get()
}
