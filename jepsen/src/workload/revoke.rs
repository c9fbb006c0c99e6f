//! Tokens that are revoked, and questions about them on all nodes, before and after.

use super::worker::{Worker, lost_of};
use crate::history::{Call, Class, Outcome, Reply};

/// Questions before and after the revocation.
const BEFORE: u32 = 3;
const AFTER: u32 = 25;
const SENDS_MAX: u32 = 20;

pub(super) async fn work(mut worker: Worker) {
    while worker.goes_on().await {
        let Some(tokens) = worker.tokens().await else { continue };
        let number = worker.ground.number_of(&tokens.access);
        for _ in 0..BEFORE {
            ask(&mut worker, number, &tokens.access).await;
        }
        if !revoke(&mut worker, number, &tokens.refresh).await {
            continue;
        }
        for _ in 0..AFTER {
            ask(&mut worker, number, &tokens.access).await;
            if !worker.goes_on().await {
                return;
            }
        }
    }
}

/// Revokes the family; the access token goes with it (RFC 7009 §2.1).
async fn revoke(worker: &mut Worker, number: u64, refresh: &str) -> bool {
    for _ in 0..SENDS_MAX {
        let node = worker.node();
        let ticket = worker.invoke(node, None, Call::Revoke { token: number });
        let (ground, door) = (worker.ground.clone(), worker.door(node));
        let tenant = &ground.tenant;
        let answer = tenant.provider.revoke(&ground.http, &door, &tenant.app, refresh).await;
        let outcome = worker.outcome(answer.map_err(lost_of), &[], |_| Some(Reply::Done));
        let done = matches!(outcome, Outcome::Ok(_));
        worker.complete(ticket, outcome);
        if done || !worker.goes_on().await {
            return done;
        }
    }
    false
}

async fn ask(worker: &mut Worker, number: u64, access: &str) {
    let node = worker.node();
    let ticket = worker.invoke(node, Some(Class::Bounded), Call::Introspect { token: number });
    let (ground, door) = (worker.ground.clone(), worker.door(node));
    let tenant = &ground.tenant;
    let answer = tenant.provider.introspect(&ground.http, &door, &tenant.app, access).await;
    let outcome = worker.outcome(answer.map_err(lost_of), &[], |answer| {
        answer.json().get("active").and_then(serde_json::Value::as_bool).map(Reply::Active)
    });
    worker.complete(ticket, outcome);
}
