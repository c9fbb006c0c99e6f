//! What a reader of openraft's statistics relies on.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use base2histogram::{AsciiChart, Histogram};
use proptest::prelude::*;

fn of(values: &[u64]) -> Histogram {
    let mut histogram = Histogram::new();
    for value in values {
        histogram.record(*value);
    }
    histogram
}

/// The value at a rank, by sorting.
fn sorted_at(values: &[u64], permille: u64) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() as u64 * permille).div_ceil(1000).max(1);
    sorted[usize::try_from(rank).unwrap() - 1]
}

#[test]
fn an_empty_histogram_answers_zero() {
    let stats = Histogram::<()>::new().percentile_stats();
    assert_eq!((stats.samples, stats.p0_1, stats.p50, stats.p99_9), (0, 0, 0, 0));
}

#[test]
fn small_values_are_exact() {
    let stats = of(&[1, 1, 2, 3, 5, 5, 5, 6, 7, 7]).percentile_stats();
    assert_eq!((stats.samples, stats.p10, stats.p50, stats.p90, stats.p99), (10, 1, 5, 7, 7));
}

#[test]
fn both_ends_of_the_range_are_counted() {
    let histogram = of(&[0, u64::MAX]);
    assert_eq!(histogram.total(), 2);
    assert_eq!(histogram.at_permille(500), 0);
    assert!(histogram.at_permille(1000) > u64::MAX / 8 * 7);
}

#[test]
fn a_value_counted_several_times_equals_that_many_values() {
    let mut histogram = of(&[9]);
    histogram.record_n(3, 2);
    histogram.record_n(1_000, 0);
    assert_eq!(histogram, of(&[3, 9, 3]));
    histogram.record_n(3, u64::MAX);
    assert_eq!((histogram.total(), histogram.at_permille(999)), (u64::MAX, 3));
}

#[test]
fn statistics_print_as_one_line() {
    assert_eq!(
        of(&[3]).percentile_stats().to_string(),
        "[samples: 1, P0.1: 3, P1: 3, P5: 3, P10: 3, P50: 3, P90: 3, P99: 3, P99.9: 3]"
    );
}

#[test]
fn a_chart_has_a_line_for_each_bucket_that_holds_anything() {
    let text = AsciiChart::new().add("a", of(&[1, 1, 9])).add("b", of(&[9])).detailed().to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].ends_with("| a + b"));
    assert!(lines[1].ends_with(&format!("1 | {} 2 + 0", "#".repeat(40))));
    assert!(lines[2].contains("8..") && lines[2].ends_with("# 1 + 1"));
    assert_eq!(AsciiChart::<()>::new().add("none", Histogram::new()).detailed().to_string(), "");
}

/// Values of every magnitude, not only the huge ones that are most of the range.
fn values() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec((any::<u64>(), 0u32..64).prop_map(|(value, shift)| value >> shift), 1..300)
}

proptest! {
    #[test]
    fn a_percentile_is_within_an_eighth_of_the_value_that_sorting_finds(
        values in values(),
        permille in 0u64..=1000,
    ) {
        let histogram = of(&values);
        prop_assert_eq!(histogram.total(), values.len() as u64);
        let (found, exact) = (histogram.at_permille(permille), sorted_at(&values, permille));
        prop_assert!(found.abs_diff(exact) <= exact / 8, "{} for {}", found, exact);
    }

    #[test]
    fn a_higher_percentile_is_never_a_smaller_value(values in values(), a in 0u64..=1000, b in 0u64..=1000) {
        let histogram = of(&values);
        prop_assert!(histogram.at_permille(a.min(b)) <= histogram.at_permille(a.max(b)));
    }

    #[test]
    fn histograms_of_the_same_values_are_equal_in_any_order(values in values()) {
        let mut reversed = values.clone();
        reversed.reverse();
        prop_assert_eq!(of(&values), of(&reversed));
    }
}
