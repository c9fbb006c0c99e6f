//! Refresh tokens: exchanged, presented again when an answer is lost, and sometimes presented again on
//! purpose, within the grace and long after it.

use std::time::Duration;

use serde_json::Value;

use super::worker::{Worker, lost_outcome};
use crate::history::{Call, Outcome, Refusal, Reply};

/// Exchanges of a family at most.
const STEPS_MAX: u32 = 60;
/// How often a token is presented when nobody answers.
const SENDS_MAX: u32 = 12;
/// After the grace has surely ended, for the clocks of all nodes.
const SURELY_MS: u64 = 1_000;
/// What is drawn of 100: below it a token is presented again at once, from it on and below `ON` after the grace.
const LATE: u64 = 10;
const ON: u64 = 13;

pub(super) async fn work(mut worker: Worker) {
    // At first, so that also a short run sees what comes of a late reuse, and before clocks are moved.
    let mut soon = true;
    while worker.goes_on().await {
        if let Some(tokens) = worker.tokens().await {
            let family = worker.ground.fresh();
            soon &= !live(&mut worker, family, tokens.refresh, soon).await;
        }
    }
}

/// How an exchange ended, for the client.
enum Ended {
    Next(String),
    /// The family gives nothing any more.
    Over,
    /// Another try may go better.
    Again,
}

/// One family from its first token to its end, which is a late reuse of that token if `soon`. `true` if it was one.
async fn live(worker: &mut Worker, family: u64, first: String, soon: bool) -> bool {
    let mut token = first;
    for _ in 0..STEPS_MAX {
        if !worker.goes_on().await {
            return false;
        }
        let Some(next) = persist(worker, family, &token).await else { return false };
        let drawn = if soon { LATE } else { worker.random.below(100) };
        match drawn {
            0..LATE => {
                // A client that lost the answer asks again.
                exchange(worker, family, &token).await;
            }
            LATE..ON => {
                let grace_ms = worker.ground.tenant.promises.grace_ms;
                tokio::time::sleep(Duration::from_millis(grace_ms + SURELY_MS)).await;
                exchange(worker, family, &token).await;
                exchange(worker, family, &next).await;
                return true;
            }
            _ => {}
        }
        token = next;
    }
    false
}

/// Until an answer comes; `None` when the family is over, or nobody answers.
async fn persist(worker: &mut Worker, family: u64, token: &str) -> Option<String> {
    for _ in 0..SENDS_MAX {
        match exchange(worker, family, token).await {
            Ended::Next(next) => return Some(next),
            Ended::Over => {
                // For good, and wherever one asks.
                exchange(worker, family, token).await;
                return None;
            }
            Ended::Again if !worker.goes_on().await => return None,
            Ended::Again => {}
        }
    }
    None
}

async fn exchange(worker: &mut Worker, family: u64, token: &str) -> Ended {
    let node = worker.node();
    let number = worker.ground.number_of(token);
    let ticket = worker.invoke(node, None, Call::Refresh { family, token: number });
    let (ground, door) = (worker.ground.clone(), worker.door(node));
    let tenant = &ground.tenant;
    let answer = tenant.provider.refresh(&ground.http, &door, &tenant.app, token).await;
    let mut ended = Ended::Again;
    let outcome = match answer {
        Ok(answer) if answer.is_success() => {
            match answer.json().get("refresh_token").and_then(Value::as_str) {
                Some(next) => {
                    ended = Ended::Next(next.to_owned());
                    Outcome::Ok(Reply::Successor(ground.number_of(next)))
                }
                None => Outcome::Info("no successor in the answer".to_owned()),
            }
        }
        Ok(answer) => worker.refused(&answer, &[]),
        Err(lost) => lost_outcome(&lost),
    };
    if outcome == Outcome::Fail(Refusal::InvalidGrant) {
        ended = Ended::Over;
    }
    worker.complete(ticket, outcome);
    ended
}
