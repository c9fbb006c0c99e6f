//! About how many bytes of log a group keeps, and where to cut to keep fewer.

use std::collections::VecDeque;

/// Bytes are counted per run of entries, not per entry.
const RUN_BYTES: u64 = 1 << 20;

#[derive(Clone, Copy, Debug)]
struct Run {
    first: u64,
    last: u64,
    bytes: u64,
}

/// The entries appended since the log was opened; older ones are not counted.
#[derive(Debug, Default)]
pub(crate) struct LogSize {
    runs: VecDeque<Run>,
    bytes: u64,
}

impl LogSize {
    pub(crate) fn push(&mut self, index: u64, bytes: u64) {
        self.bytes += bytes;
        match self.runs.back_mut() {
            Some(run) if run.bytes < RUN_BYTES && run.last < index => {
                run.last = index;
                run.bytes += bytes;
            }
            Some(_) | None => self.runs.push_back(Run { first: index, last: index, bytes }),
        }
    }

    /// All bytes kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Forgets every entry up to and including `index`, by whole runs.
    pub(crate) fn purge_through(&mut self, index: u64) {
        while let Some(run) = self.runs.front().copied().filter(|run| run.last <= index) {
            self.runs.pop_front();
            self.bytes -= run.bytes;
        }
    }

    /// Forgets every entry above `index`; a run that is cut in two keeps its bytes.
    pub(crate) fn truncate_after(&mut self, index: Option<u64>) {
        while let Some(run) = self.runs.back().copied().filter(|run| Some(run.first) > index) {
            self.runs.pop_back();
            self.bytes -= run.bytes;
        }
        if let (Some(run), Some(index)) = (self.runs.back_mut(), index) {
            run.last = run.last.min(index);
        }
    }

    /// Where to cut (inclusive) once more than `bytes_max` are kept: to three quarters of it, so that
    /// the next cut is not due at once.
    pub(crate) fn excess(&self, bytes_max: u64) -> Option<u64> {
        if self.bytes <= bytes_max {
            return None;
        }
        let (mut kept, mut cut) = (self.bytes, None);
        for run in &self.runs {
            if kept <= bytes_max / 4 * 3 {
                break;
            }
            kept -= run.bytes;
            cut = Some(run.last);
        }
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_due_above_the_bound_and_leaves_three_quarters() {
        let mut size = LogSize::default();
        (0..8).for_each(|index| size.push(index, RUN_BYTES));
        assert_eq!(size.excess(8 * RUN_BYTES), None);
        size.push(8, RUN_BYTES);
        assert_eq!(size.excess(8 * RUN_BYTES), Some(2));
        size.purge_through(2);
        assert_eq!((size.bytes, size.excess(8 * RUN_BYTES)), (6 * RUN_BYTES, None));
    }

    #[test]
    fn a_truncated_log_counts_what_is_left() {
        let mut size = LogSize::default();
        (0..4).for_each(|index| size.push(index, RUN_BYTES));
        size.truncate_after(Some(1));
        assert_eq!(size.bytes, 2 * RUN_BYTES);
        size.push(2, 10);
        size.truncate_after(None);
        assert_eq!(size.bytes, 0);
    }
}
