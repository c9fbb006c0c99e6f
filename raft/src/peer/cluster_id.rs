//! Which cluster a node belongs to.

use std::fmt;

/// Longest cluster id, in bytes.
const LEN_MAX: usize = 63;

/// A cluster's id, also the trust domain of its nodes' certificates (`spiffe://<cluster>/...`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterId(String);

/// Text that is no cluster id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cluster id has 1 to 63 lower-case letters, digits, `-`, `.` and `_`")]
pub struct InvalidClusterId;

impl ClusterId {
    /// From text of 1 to 63 lower-case letters, digits, `-`, `.` and `_`.
    ///
    /// # Errors
    /// [`InvalidClusterId`].
    pub fn new(text: &str) -> Result<Self, InvalidClusterId> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
        let valid = !text.is_empty() && text.len() <= LEN_MAX && text.bytes().all(allowed);
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidClusterId) }
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_trust_domain_may_be_is_a_cluster_id() {
        assert_eq!(ClusterId::new("c-1.example").unwrap().as_str(), "c-1.example");
        for bad in ["", "A", "a b", "a/b", "ä", &"x".repeat(64)] {
            assert_eq!(ClusterId::new(bad), Err(InvalidClusterId), "{bad}");
        }
    }
}
