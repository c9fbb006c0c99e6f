//! Histograms as text, side by side.

use std::fmt;

use crate::Histogram;
use crate::buckets::bounds;

/// Length of the longest bar, in characters.
const BAR: u64 = 40;

/// Named histograms over the same buckets.
#[derive(Debug, Clone)]
pub struct AsciiChart<T = ()> {
    series: Vec<(String, Histogram<T>)>,
}

impl<T> Default for AsciiChart<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> AsciiChart<T> {
    /// A chart of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { series: Vec::new() }
    }

    /// Adds a histogram under a name.
    #[must_use]
    // The name is openraft's.
    #[allow(clippy::should_implement_trait, reason = "it takes two arguments and is no sum")]
    pub fn add(mut self, name: &str, histogram: Histogram<T>) -> Self {
        self.series.push((name.to_owned(), histogram));
        self
    }

    /// A line for each bucket that holds anything: its bounds, a bar, the count of each series.
    pub fn detailed(&self) -> Detailed<'_, T> {
        Detailed(self)
    }

    fn sum(&self, bucket: usize) -> u64 {
        self.series.iter().fold(0, |sum, (_, histogram)| sum.saturating_add(histogram.count(bucket)))
    }
}

/// A chart to be printed.
#[derive(Debug)]
pub struct Detailed<'c, T>(&'c AsciiChart<T>);

impl<T> fmt::Display for Detailed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chart = self.0;
        let end = chart.series.iter().map(|(_, histogram)| histogram.end()).max().unwrap_or(0);
        let Some(most) = (0..end).map(|bucket| chart.sum(bucket)).max() else { return Ok(()) };
        let names: Vec<&str> = chart.series.iter().map(|(name, _)| name.as_str()).collect();
        writeln!(f, "{:>42} | {}", "range", names.join(" + "))?;
        for bucket in (0..end).filter(|bucket| chart.sum(*bucket) > 0) {
            let (first, last) = bounds(bucket);
            // At most BAR characters, so it fits any usize.
            let bar = u128::from(chart.sum(bucket)) * u128::from(BAR) / u128::from(most.max(1));
            let bar = "#".repeat(usize::try_from(bar).unwrap_or(0));
            let counts: Vec<String> =
                chart.series.iter().map(|(_, histogram)| histogram.count(bucket).to_string()).collect();
            writeln!(f, "{first:>20}..{last:>20} | {bar} {}", counts.join(" + "))?;
        }
        Ok(())
    }
}
