//! Authorization codes, each redeemed by several clients through different nodes, at once or in turn.

use futures::future::join_all;

use super::worker::{Worker, lost_outcome};
use crate::client::{Browser, BrowserError};
use crate::history::{Call, Outcome, Reply};

/// Redemptions of each code at once.
const AT_ONCE: usize = 3;
/// Codes that are presented one time after another.
const ALONE_PERCENT: u64 = 50;

pub(super) async fn work(mut worker: Worker) {
    let mut browser = Browser::new(&worker.ground.hasty);
    // The first login asks; later codes come without a page.
    let mut prompt = "consent";
    while worker.goes_on().await {
        match worker.code(&mut browser, prompt).await {
            Ok((code, verifier)) => {
                prompt = "none";
                if worker.random.chance(ALONE_PERCENT) {
                    // One after another, so that a refusal of the first has nothing to explain it.
                    for _ in 0..AT_ONCE {
                        redeem(worker.twin(), code.clone(), verifier.clone()).await;
                    }
                    continue;
                }
                let redemptions = (0..AT_ONCE).map(|_| redeem(worker.twin(), code.clone(), verifier.clone()));
                let redemptions: Vec<_> = redemptions.collect();
                join_all(redemptions).await;
            }
            Err(BrowserError::Lost(_)) => {}
            // A page that belongs to an earlier try, or a session that is gone: from the beginning.
            Err(
                BrowserError::Refused(_)
                | BrowserError::Denied
                | BrowserError::Page(_)
                | BrowserError::TooMany
                | BrowserError::Address,
            ) => {
                browser = Browser::new(&worker.ground.hasty);
                prompt = "consent";
            }
        }
    }
}

async fn redeem(mut worker: Worker, code: String, verifier: String) {
    let number = worker.ground.number_of(&code);
    let node = worker.node();
    let ticket = worker.invoke(node, None, Call::Redeem { code: number });
    let (ground, door) = (worker.ground.clone(), worker.door(node));
    let tenant = &ground.tenant;
    let outcome = match tenant.provider.redeem(&ground.hasty, &door, &tenant.app, &code, &verifier).await {
        Ok(answer) if answer.is_success() => Outcome::Ok(Reply::Done),
        Ok(answer) => worker.refused(&answer, &[]),
        Err(lost) => lost_outcome(&lost),
    };
    worker.complete(ticket, outcome);
}
