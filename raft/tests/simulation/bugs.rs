//! Bugs that a run may be given, to prove that the checker finds them. Only what is around Raft is
//! changed, never the product.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// An append counts as durable before its sync.
    AnswersBeforeTheSync,
    /// A vote given to another node does not survive a restart.
    ForgetsVotes,
    /// A read that should be linearizable takes the replica as it is.
    ReadsWithoutAnIndex,
    /// A read that should be bounded takes the replica as it is.
    ReadsWithoutABound,
    /// What was cut stays so at the end.
    StaysCut,
    /// The state says that it is synced and is not, so the log is cut too early.
    NeverSyncsTheState,
    /// A replica that comes back from nothing is not told where the group stands.
    JoinsAnywhere,
}
