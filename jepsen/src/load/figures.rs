//! What a load measured.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Longest time told apart, in us.
const LONGEST_US: u64 = 120_000_000;
const DIGITS: u8 = 3;
const QUANTILES: &[(&str, f64)] =
    &[("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.999_9), ("max", 1.0)];

/// Times of answered requests from when each was due, and what went wrong.
#[derive(Clone, Debug)]
pub struct Figures {
    times_us: Histogram<u64>,
    troubles: BTreeMap<String, u64>,
    /// From the first request to the last answer.
    pub took: Duration,
}

impl Figures {
    /// Nothing yet.
    ///
    /// # Errors
    /// The histogram's bounds are refused.
    pub(super) fn new() -> Result<Self, hdrhistogram::CreationError> {
        let times_us = Histogram::new_with_bounds(1, LONGEST_US, DIGITS)?;
        Ok(Self { times_us, troubles: BTreeMap::new(), took: Duration::ZERO })
    }

    /// A request ended. Those that went wrong count as trouble, and with their time: to leave them out
    /// would make a provider that fails look fast.
    pub(super) fn record(&mut self, took: Duration, ended: Result<(), String>) {
        self.times_us.saturating_record(u64::try_from(took.as_micros()).unwrap_or(LONGEST_US));
        if let Err(trouble) = ended {
            *self.troubles.entry(trouble).or_default() += 1;
        }
    }

    /// The rest of `total` was not answered until now.
    pub(super) fn give_up(&mut self, total: u64, after: Duration) {
        let left = total.saturating_sub(self.times_us.len());
        for _ in 0..left {
            self.record(after, Err("not answered at the end".to_owned()));
        }
    }

    /// Requests that went well.
    pub fn answered(&self) -> u64 {
        self.times_us.len().saturating_sub(self.failed())
    }

    /// Requests that did not.
    pub fn failed(&self) -> u64 {
        self.troubles.values().sum()
    }

    /// A quantile from 0 to 1, in us.
    pub fn quantile_us(&self, quantile: f64) -> u64 {
        self.times_us.value_at_quantile(quantile)
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let took = self.took.as_secs_f64().max(0.001);
        // Writing into a string cannot fail.
        let _ = writeln!(
            out,
            "answered {} of {} in {took:.1} s, {:.1} a second",
            self.answered(),
            self.times_us.len(),
            float(self.answered()) / took
        );
        for (name, quantile) in QUANTILES {
            let _ = writeln!(out, "{name:<8} {:>9.2} ms", float(self.quantile_us(*quantile)) / 1_000.0);
        }
        for (trouble, count) in &self.troubles {
            let _ = writeln!(out, "trouble  {count:>9} {trouble}");
        }
        out
    }

    /// The percentile distribution in ms, as HdrHistogram's plotter takes it.
    pub fn hgrm(&self) -> String {
        let mut out = format!(
            "{:>12} {:>14} {:>10} {:>14}\n\n",
            "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
        );
        let mut count = 0;
        for step in self.times_us.iter_quantiles(5) {
            count += step.count_since_last_iteration();
            let quantile = step.quantile_iterated_to().min(1.0);
            let value = float(step.value_iterated_to()) / 1_000.0;
            let _ = write!(out, "{value:>12.3} {quantile:>14.12} {count:>10}");
            let _ = if quantile < 1.0 {
                writeln!(out, " {:>14.2}", 1.0 / (1.0 - quantile))
            } else {
                writeln!(out)
            };
        }
        let _ = writeln!(
            out,
            "#[Mean    = {:>12.3}, StdDeviation   = {:>12.3}]\n#[Max     = {:>12.3}, Total count    = {:>12}]\n#[Buckets = {:>12}, SubBuckets     = {:>12}]",
            self.times_us.mean() / 1_000.0,
            self.times_us.stdev() / 1_000.0,
            float(self.times_us.max()) / 1_000.0,
            self.times_us.len(),
            self.times_us.buckets(),
            2_048,
        );
        out
    }
}

/// Counts and times are far below 2^52.
#[allow(clippy::cast_precision_loss, reason = "counts and times in us are far below 2^52")]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_counts_with_its_time() {
        let mut figures = Figures::new().unwrap();
        for ms in 1..=99 {
            figures.record(Duration::from_millis(ms), Ok(()));
        }
        figures.record(Duration::from_secs(9), Err("503 slow down".to_owned()));
        assert_eq!((figures.answered(), figures.failed()), (99, 1));
        assert_eq!(figures.quantile_us(1.0) / 10_000, 900);
        assert!(figures.text().contains("trouble          1 503 slow down"), "{}", figures.text());
        let hgrm = figures.hgrm();
        assert!(hgrm.contains("1.000000000000        100"), "{hgrm}");
        figures.give_up(103, Duration::from_secs(10));
        assert_eq!(figures.failed(), 4);
    }
}
