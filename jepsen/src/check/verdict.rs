//! What a run says in the end. Too little coverage is no pass.

use std::process::ExitCode;

use super::finding::Check;

/// Whether what should have occurred did occur.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// What was missing: `no leader changed`.
    pub missing: Vec<String>,
}

/// The end of a run or of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Every promise held, and enough was tried to say so.
    Valid,
    /// Nothing was found, and too little was tried, or a checker could not decide.
    Unknown,
    /// The same, because the harness could not do what it should.
    Failed,
    /// A promise was broken.
    Violation,
}

impl Verdict {
    /// Of checks and coverage: a violation counts whatever else is missing.
    pub fn of(checks: &[Check], coverage: &Coverage) -> Self {
        if checks.iter().any(|check| !check.findings.is_empty()) {
            Self::Violation
        } else if checks.iter().any(|check| !check.unknown.is_empty())
            || !coverage.missing.is_empty()
            || checks.iter().all(|check| check.looked_at == 0)
        {
            Self::Unknown
        } else {
            Self::Valid
        }
    }

    /// The same where the harness failed in something: then only a violation is worth more.
    #[must_use]
    pub fn where_harness(self, failed: bool) -> Self {
        if failed { self.max(Self::Failed) } else { self }
    }

    /// 0 valid, 1 violation, 2 unknown, 3 the harness failed.
    pub fn exit_code(self) -> ExitCode {
        ExitCode::from(self.status())
    }

    /// As [`Self::exit_code`].
    pub fn status(self) -> u8 {
        match self {
            Self::Valid => 0,
            Self::Violation => 1,
            Self::Unknown => 2,
            Self::Failed => 3,
        }
    }

    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Violation => "VIOLATION",
            Self::Unknown => "unknown",
            Self::Failed => "harness failed",
        }
    }
}

/// The exit status of two runs together: a violation counts most, then a failure of the harness (or whatever else that is
/// not ours), then that too little was tried.
pub fn worse(one: u8, other: u8) -> u8 {
    let rank = |status: u8| match status {
        0 => 0,
        1 => 3,
        2 => 1,
        _ => 2,
    };
    if rank(other) > rank(one) { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_counts_more_than_a_failure_and_that_more_than_too_little() {
        assert_eq!((worse(3, 2), worse(2, 3), worse(3, 1), worse(1, 3), worse(0, 2)), (3, 3, 1, 1, 2));
        assert_eq!((worse(101, 2), worse(0, 0)), (101, 0));
        let failed = |verdict: Verdict| verdict.where_harness(true);
        assert_eq!(failed(Verdict::Valid).status(), 3);
        assert_eq!(failed(Verdict::Unknown).status(), 3);
        assert_eq!(failed(Verdict::Violation).status(), 1);
        assert_eq!(Verdict::Valid.where_harness(false), Verdict::Valid);
    }
}
