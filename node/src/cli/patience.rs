//! How long a change is tried, and what is said meanwhile.

use std::time::Duration;

use super::admin_client::AdminClientError;

/// Between two tries.
pub(super) const AGAIN: Duration = Duration::from_millis(250);
/// The longest that a node takes to say that it could not. With less left no try is begun: one that is cut leaves
/// open what came of it.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// What is known of the tries of one change.
pub(super) struct Patience {
    most: Duration,
    tried: bool,
    /// Whether one of the tries may have done it.
    may_be_done: bool,
    /// The reason that a person was told last.
    told: String,
}

impl Patience {
    /// For tries of `most` together.
    pub(super) fn new(most: Duration) -> Self {
        Self { most, tried: false, may_be_done: false, told: String::new() }
    }

    /// Takes note of a try that failed, `spent` after the first one began. `Ok` is for another try, after
    /// [`AGAIN`]: with what a person should be told, if that is new.
    ///
    /// # Errors
    /// The error to end with.
    pub(super) fn failed(
        &mut self,
        error: AdminClientError,
        spent: Duration,
    ) -> Result<Option<String>, AdminClientError> {
        let first = !std::mem::replace(&mut self.tried, true);
        // Where nobody listens who mistyped an address wants to know at once; who answered before may come back.
        let passing = error.is_passing() || (!first && matches!(error, AdminClientError::Connect(..)));
        if !passing {
            return Err(error);
        }
        self.may_be_done |= error.may_be_done();
        let left = self.most.saturating_sub(spent.saturating_add(AGAIN));
        if left < ANSWER_MAX {
            let may_be_done = self.may_be_done;
            return Err(AdminClientError::GaveUp { spent, may_be_done, last: Box::new(error) });
        }
        let reason = error.to_string();
        if reason == self.told {
            return Ok(None);
        }
        let text = format!("{reason}; tried again for up to {} s more", left.as_secs());
        self.told = reason;
        Ok(Some(text))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    fn refused(undone: bool, text: &str) -> AdminClientError {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        AdminClientError::Refused { status, undone, text: text.to_owned() }
    }

    fn nobody_listens() -> AdminClientError {
        AdminClientError::Connect("x".to_owned(), std::io::ErrorKind::ConnectionRefused.into())
    }

    /// What is said after each of these tries, 4 s apart.
    fn said(seconds: u64, tries: Vec<AdminClientError>) -> Vec<Result<Option<String>, String>> {
        let mut patience = Patience::new(Duration::from_secs(seconds));
        let spent = (1..).map(|turn| Duration::from_secs(4 * turn));
        let tries = tries.into_iter().zip(spent);
        tries.map(|(error, spent)| patience.failed(error, spent).map_err(|end| end.to_string())).collect()
    }

    #[test]
    fn a_person_is_told_once_why_a_change_is_tried_again_and_then_of_each_other_reason() {
        let texts = ["no quorum", "no quorum", "no leader"];
        let tries = texts.map(|text| refused(true, text)).into();
        let told = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(
            said(30, tries),
            [
                told("503 Service Unavailable: no quorum; tried again for up to 25 s more"),
                Ok(None),
                told("503 Service Unavailable: no leader; tried again for up to 17 s more"),
            ]
        );
    }

    #[test]
    fn who_gives_up_says_whether_anything_may_have_been_done() {
        let end = |tries| said(12, tries).pop().unwrap().unwrap_err();
        assert_eq!(end(vec![refused(true, "a"), refused(true, "b")]), "gave up after 8.0s; nothing was done");
        for uncertain in [refused(false, "a"), AdminClientError::Timeout] {
            let text = end(vec![uncertain, refused(true, "b")]);
            assert_eq!(
                text,
                "gave up after 8.0s; whether it was done is not known, so look before trying again"
            );
        }
    }

    #[test]
    fn a_wrong_address_is_told_at_once_and_a_node_that_comes_back_is_waited_for() {
        assert_eq!(said(30, vec![nobody_listens()]), [Err("cannot reach x".to_owned())]);
        let after_an_answer = said(30, vec![refused(true, "a"), nobody_listens()]);
        assert!(after_an_answer[1].as_ref().unwrap().as_ref().unwrap().starts_with("cannot reach x; "));
        let refusal =
            AdminClientError::Refused { status: StatusCode::CONFLICT, undone: false, text: "b".to_owned() };
        assert_eq!(said(30, vec![refused(false, "a"), refusal])[1], Err("409 Conflict: b".to_owned()));
    }
}
