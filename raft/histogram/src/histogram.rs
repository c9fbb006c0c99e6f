//! Counts by bucket.

use std::marker::PhantomData;

use crate::PercentileStats;
use crate::buckets::{bounds, bucket_of};

/// How often values of about each size were recorded.
///
/// A percentile is off by an eighth of the true value at most, and exact below eight. Holds up to 2 KB.
/// `T` is there because openraft names it; nothing of it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    /// By bucket, up to the last that holds anything.
    counts: Vec<u64>,
    of: PhantomData<T>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Histogram<T> {
    /// An empty one, which holds no memory yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { counts: Vec::new(), of: PhantomData }
    }

    /// Counts one value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value `times` times. A count that is full stays so.
    pub fn record_n(&mut self, value: u64, times: u64) {
        if times == 0 {
            return;
        }
        let bucket = bucket_of(value);
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(bucket) {
            *count = count.saturating_add(times);
        }
    }

    /// How many values were recorded.
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The smallest recorded size that at least `permille` thousandths of the values do not exceed; 0 for
    /// an empty histogram. Answers the middle of the bucket.
    pub fn at_permille(&self, permille: u64) -> u64 {
        let rank = (u128::from(self.total()) * u128::from(permille)).div_ceil(1000).max(1);
        let mut below = 0;
        let found = self.counts.iter().position(|count| {
            below += u128::from(*count);
            below >= rank
        });
        let Some(bucket) = found else { return 0 };
        let (first, last) = bounds(bucket);
        first.midpoint(last)
    }

    /// The percentiles that are shown.
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total(),
            p0_1: self.at_permille(1),
            p1: self.at_permille(10),
            p5: self.at_permille(50),
            p10: self.at_permille(100),
            p50: self.at_permille(500),
            p90: self.at_permille(900),
            p99: self.at_permille(990),
            p99_9: self.at_permille(999),
        }
    }

    /// The count of a bucket, 0 for one that holds nothing.
    pub(crate) fn count(&self, bucket: usize) -> u64 {
        self.counts.get(bucket).copied().unwrap_or(0)
    }

    /// One more than the last bucket that holds anything.
    pub(crate) fn end(&self) -> usize {
        self.counts.len()
    }
}
