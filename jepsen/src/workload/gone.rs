//! What was taken away, as an app sees it: its access token at introspection, within the bound, and its refresh token,
//! which leaders decide about.

use serde_json::Value;

use super::worker::{Worker, lost_of, lost_outcome};
use crate::client::{Answer, Lost};
use crate::history::{Call, Class, Outcome, Refusal, Reply};

/// Asks any node about an access token that goes with `number`.
pub(super) async fn introspect(worker: &mut Worker, number: u64, access: &str) {
    let node = worker.node();
    let ticket = worker.invoke(node, Some(Class::Bounded), Call::Introspect { token: number });
    let (ground, door) = (worker.ground.clone(), worker.door(node));
    let tenant = &ground.tenant;
    let answer = tenant.provider.introspect(&ground.http, &door, &tenant.app, access).await;
    let outcome = worker.outcome(answer.map_err(lost_of), &[], |answer| {
        answer.json().get("active").and_then(Value::as_bool).map(Reply::Active)
    });
    worker.complete(ticket, outcome);
}

/// Presents a refresh token that goes with `number` to any node. One that gives a successor is active.
pub(super) async fn present(worker: &mut Worker, number: u64, refresh: &str) {
    let node = worker.node();
    let ticket = worker.invoke(node, Some(Class::Strong), Call::Introspect { token: number });
    let (ground, door) = (worker.ground.clone(), worker.door(node));
    let tenant = &ground.tenant;
    let answer = tenant.provider.refresh(&ground.http, &door, &tenant.app, refresh).await;
    let outcome = presented(answer, |answer| worker.refused(answer, &[]));
    worker.complete(ticket, outcome);
}

fn presented(answer: Result<Answer, Lost>, refused: impl FnOnce(&Answer) -> Outcome) -> Outcome {
    match answer {
        Ok(answer) if answer.is_success() => Outcome::Ok(Reply::Active(true)),
        Ok(answer) => match refused(&answer) {
            Outcome::Fail(Refusal::InvalidGrant) => Outcome::Ok(Reply::Active(false)),
            other @ (Outcome::Ok(_) | Outcome::Fail(_) | Outcome::Info(_)) => other,
        },
        Err(lost) => lost_outcome(&lost),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;

    #[test]
    fn a_refresh_token_that_is_refused_is_not_active_and_one_that_is_not_answered_says_nothing() {
        let answer = |status| Ok(Answer { status, headers: HeaderMap::new(), text: String::new() });
        let told = |answer, refusal: Refusal| presented(answer, |_| Outcome::Fail(refusal));
        assert_eq!(told(answer(200), Refusal::Unavailable), Outcome::Ok(Reply::Active(true)));
        assert_eq!(told(answer(400), Refusal::InvalidGrant), Outcome::Ok(Reply::Active(false)));
        assert_eq!(told(answer(503), Refusal::Unavailable), Outcome::Fail(Refusal::Unavailable));
        let lost = Err(Lost::Unanswered("timed out".to_owned()));
        assert_eq!(told(lost, Refusal::Unavailable), Outcome::Info("timed out".to_owned()));
    }
}
