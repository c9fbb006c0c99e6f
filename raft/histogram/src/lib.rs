//! What openraft counts batches with, at the size of what it counts.
//!
//! This stands in for the crate of the same name, which builds 27 MB of lookup tables at the first use
//! and keeps them (docs/adr/0006). Here the bounds of a bucket are computed from its number, and a
//! histogram holds counts only up to the largest value it was given: an idle group costs nothing.
//!
//! It has what openraft 0.10.0-alpha.37 uses and nothing else: no sliding windows, no other widths, no
//! interpolation.

mod buckets;
mod chart;
mod histogram;
mod percentiles;

pub use chart::{AsciiChart, Detailed};
pub use histogram::Histogram;
pub use percentiles::PercentileStats;
