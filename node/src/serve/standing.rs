//! What handling a request came to, beside its answer: whether another node should answer instead, and
//! whether that is safe.
//!
//! Where errors of the domain become answers they are noted here, so that who called the handler need
//! not read its answer. Outside [`watch`] the notes go nowhere.

use std::cell::Cell;

use domicile_raft::NodeId;

/// What was noted while a handler ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Something was written for this request.
    pub wrote: bool,
    /// Something may have been written.
    pub unknown: bool,
    /// Another node should answer.
    pub elsewhere: Option<Elsewhere>,
    /// This node could not confirm what it knows: no quorum, or it lags.
    pub unconfirmed: bool,
}

/// Which node should answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// This one leads.
    Led(NodeId),
    /// Nobody here knows.
    Unknown,
}

impl Standing {
    /// Whether the request may be handled anew, whatever it asks for.
    pub fn is_untouched(self) -> bool {
        !self.wrote && !self.unknown
    }
}

tokio::task_local! {
    static STANDING: Cell<Standing>;
}

/// Runs `work` and gives what was noted.
pub async fn watch<F: Future>(work: F) -> (F::Output, Standing) {
    let noted = async {
        let output = work.await;
        (output, STANDING.with(Cell::get))
    };
    STANDING.scope(Cell::default(), noted).await
}

fn note(change: impl FnOnce(&mut Standing)) {
    let _ = STANDING.try_with(|standing| {
        let mut noted = standing.get();
        change(&mut noted);
        standing.set(noted);
    });
}

/// Nothing was done: another node has to.
pub fn elsewhere(leader: Option<NodeId>) {
    let elsewhere = leader.map_or(Elsewhere::Unknown, Elsewhere::Led);
    note(|standing| standing.elsewhere = Some(elsewhere));
}

/// Nothing was done: what this node knows could not be confirmed.
pub fn unconfirmed() {
    note(|standing| standing.unconfirmed = true);
}

/// Whether something was written for this request, or may have been.
pub fn is_touched() -> bool {
    STANDING.try_with(|standing| !standing.get().is_untouched()).unwrap_or_default()
}

/// Something was written.
pub fn wrote() {
    note(|standing| standing.wrote = true);
}

/// Something may have been written.
pub fn unknown() {
    note(|standing| standing.unknown = true);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn notes_are_of_the_request_that_is_watched() {
        elsewhere(None);
        let outer = watch(async {
            wrote();
            let ((), inner) = watch(async { elsewhere(Some(NodeId(3))) }).await;
            assert_eq!(inner, Standing { elsewhere: Some(Elsewhere::Led(NodeId(3))), ..Standing::default() });
            assert!(inner.is_untouched());
        });
        let ((), outer) = outer.await;
        assert_eq!(outer, Standing { wrote: true, ..Standing::default() });
        assert!(!outer.is_untouched());
    }
}
