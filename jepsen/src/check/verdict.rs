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

    /// 0 valid, 1 violation, 2 unknown; 3 is for failures of the harness itself.
    pub fn exit_code(self) -> ExitCode {
        ExitCode::from(self.status())
    }

    /// As [`Self::exit_code`].
    pub fn status(self) -> u8 {
        match self {
            Self::Valid => 0,
            Self::Violation => 1,
            Self::Unknown => 2,
        }
    }

    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Violation => "VIOLATION",
            Self::Unknown => "unknown",
        }
    }
}
