//! Which values share a count: each power of two is cut into four.
//!
//! Bucket `4 g + s` of group `g > 0` holds the values whose highest bit is bit `g + 1` and whose next two
//! bits are `s`; below eight each value has a bucket of its own.

/// Buckets of a power of two.
const STEPS: u64 = 4;
/// log2 of `STEPS`.
const STEP_BITS: u32 = 2;

/// The bucket of `value`; grows with it and is at most 251.
pub(crate) fn bucket_of(value: u64) -> usize {
    let bucket = match value.checked_ilog2() {
        Some(high) if high > STEP_BITS => {
            let group = high - STEP_BITS;
            u64::from(group) * STEPS + (value >> group)
        }
        Some(_) | None => value,
    };
    // At most 251, so it fits any usize.
    usize::try_from(bucket).unwrap_or(usize::MAX)
}

/// The smallest and the largest value of a bucket.
pub(crate) fn bounds(bucket: usize) -> (u64, u64) {
    let bucket = bucket as u64;
    if bucket < 2 * STEPS {
        return (bucket, bucket);
    }
    let group = bucket / STEPS - 1;
    let first = (STEPS + bucket % STEPS) << group;
    (first, first + ((1 << group) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_gap_and_cover_every_value() {
        let last = bucket_of(u64::MAX);
        assert_eq!(last, 251);
        assert_eq!(bounds(0), (0, 0));
        assert_eq!(bounds(last).1, u64::MAX);
        for bucket in 1..=last {
            let (first, end) = bounds(bucket);
            assert_eq!(first, bounds(bucket - 1).1 + 1, "bucket {bucket}");
            assert_eq!((bucket_of(first), bucket_of(end)), (bucket, bucket));
        }
    }

    #[test]
    fn a_bucket_is_at_most_a_quarter_as_wide_as_its_first_value() {
        for bucket in 1..=bucket_of(u64::MAX) {
            let (first, end) = bounds(bucket);
            assert!(end - first <= first / 4, "bucket {bucket}: {first} to {end}");
        }
    }
}
