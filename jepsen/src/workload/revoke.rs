//! Tokens that are revoked, and questions about them on all nodes, before and after. The refresh token is presented too: what
//! is revoked gives nothing again, on any node, at once.

use super::gone::{introspect, present};
use super::worker::{Worker, lost_of};
use crate::history::{Call, Outcome, Reply};

/// Questions before and after the revocation.
const BEFORE: u32 = 3;
const AFTER: u32 = 25;
/// One in so many questions afterwards is the refresh token.
const PRESENT_EVERY: u32 = 8;
const SENDS_MAX: u32 = 20;

pub(super) async fn work(mut worker: Worker) {
    while worker.goes_on().await {
        let Some(tokens) = worker.tokens().await else { continue };
        let number = worker.ground.number_of(&tokens.access);
        for _ in 0..BEFORE {
            introspect(&mut worker, number, &tokens.access).await;
        }
        if !revoke(&mut worker, number, &tokens.refresh).await {
            continue;
        }
        for turn in 0..AFTER {
            if turn % PRESENT_EVERY == 0 {
                present(&mut worker, number, &tokens.refresh).await;
            } else {
                introspect(&mut worker, number, &tokens.access).await;
            }
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
