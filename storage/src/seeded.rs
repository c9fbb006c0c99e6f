//! Bugs on purpose, for the chaos harness to catch (docs/adr/0025): a harness that has never caught anything
//! shows nothing by finding nothing.
//!
//! Without the feature `seeded-bugs` [`is_seeded`] is the constant `false`, and a build without debug
//! assertions cannot have the feature. With it, `SEEDED_BUG` in the environment chooses one for the process.

#[cfg(all(feature = "seeded-bugs", not(debug_assertions)))]
compile_error!("builds that are released cannot have seeded bugs: the feature needs debug assertions");

/// A bug that can be asked for. Each has its hook at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// `stale-read`: a strong read is answered from the local replica as it is.
    StaleRead,
    /// `double-redeem`: a code stays as it was when it is redeemed.
    DoubleRedeem,
    /// `early-ack`: a write about a user is acknowledged before it is committed.
    EarlyAck,
    /// `no-fsync`: the log answers before its sync.
    NoFsync,
    /// `forgotten-vote`: a vote after the first is given and not stored.
    ForgottenVote,
    /// `outside-placement`: every region is in every placement.
    OutsidePlacement,
    /// `skipped-projection`: some users are not listed.
    SkippedProjection,
    /// `deposed-refusal`: who led once goes on refusing, without asking a quorum.
    DeposedRefusal,
}

/// Whether this process was asked for the bug: never, in builds without the feature.
#[cfg(not(feature = "seeded-bugs"))]
#[must_use]
pub const fn is_seeded(_: Bug) -> bool {
    false
}

#[cfg(feature = "seeded-bugs")]
pub use chosen::is_seeded;

#[cfg(feature = "seeded-bugs")]
mod chosen {
    use std::sync::OnceLock;

    use super::Bug;

    const NAMES: &[(&str, Bug)] = &[
        ("stale-read", Bug::StaleRead),
        ("double-redeem", Bug::DoubleRedeem),
        ("early-ack", Bug::EarlyAck),
        ("no-fsync", Bug::NoFsync),
        ("forgotten-vote", Bug::ForgottenVote),
        ("outside-placement", Bug::OutsidePlacement),
        ("skipped-projection", Bug::SkippedProjection),
        ("deposed-refusal", Bug::DeposedRefusal),
    ];

    static CHOSEN: OnceLock<Option<Bug>> = OnceLock::new();

    /// Whether this process was asked for the bug.
    pub fn is_seeded(bug: Bug) -> bool {
        *CHOSEN.get_or_init(|| {
            let name = std::env::var("SEEDED_BUG").ok()?;
            let chosen = NAMES.iter().find(|(known, _)| *known == name).map(|(_, bug)| *bug);
            tracing::error!(name, ?chosen, "THIS PROCESS HAS A BUG ON PURPOSE");
            chosen
        }) == Some(bug)
    }
}
