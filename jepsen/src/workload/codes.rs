//! Authorization codes, each redeemed by several clients through different nodes, at once or in turn. While a
//! node is cut off from the others, codes that it cannot know are presented there first: who led until then must
//! not answer that there are none.

use futures::future::join_all;

use super::worker::{Worker, lost_outcome};
use crate::client::{Browser, BrowserError};
use crate::history::{Call, Outcome, Reply};
use crate::random::Random;

/// Redemptions of each code.
const TIMES: usize = 3;
/// Codes that are presented one time after another.
const ALONE_PERCENT: u64 = 50;
/// Codes that are presented at a node that is cut off, while there is one.
const ASTRAY_PERCENT: u64 = 75;

/// How a code is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By all at once.
    AtOnce,
    /// One time after another, so that a refusal of the first has nothing to explain it.
    InTurn,
    /// So too, at this node first. The code is made by others.
    Astray(usize),
}

fn way(random: &mut Random, astray: &[usize]) -> Way {
    match random.pick(astray) {
        Some(node) if random.chance(ASTRAY_PERCENT) => Way::Astray(*node),
        Some(_) | None if random.chance(ALONE_PERCENT) => Way::InTurn,
        Some(_) | None => Way::AtOnce,
    }
}

pub(super) async fn work(mut worker: Worker) {
    let mut browser = Browser::new(&worker.ground.hasty);
    // The first login asks; later codes come without a page.
    let mut prompt = "consent";
    while worker.goes_on().await {
        let astray = worker.ground.astray();
        let way = way(&mut worker.random, &astray);
        let around = if matches!(way, Way::Astray(_)) { astray } else { Vec::new() };
        match worker.code(&mut browser, prompt, &around).await {
            Ok((code, verifier)) => {
                prompt = "none";
                present(&mut worker, way, &code, &verifier).await;
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

async fn present(worker: &mut Worker, way: Way, code: &str, verifier: &str) {
    let mut clients: Vec<(Worker, usize)> = Vec::new();
    for _ in 0..TIMES {
        let mut client = worker.twin();
        let node = client.node();
        clients.push((client, node));
    }
    if let (Way::Astray(node), Some((_, first))) = (way, clients.first_mut()) {
        *first = node;
    }
    let redemptions = clients.into_iter().map(|(client, node)| redeem(client, node, code, verifier));
    match way {
        Way::AtOnce => drop(join_all(redemptions).await),
        Way::InTurn | Way::Astray(_) => {
            for redemption in redemptions {
                redemption.await;
            }
        }
    }
}

async fn redeem(mut worker: Worker, node: usize, code: &str, verifier: &str) {
    let number = worker.ground.number_of(code);
    let ticket = worker.invoke(node, None, Call::Redeem { code: number });
    let (ground, door) = (worker.ground.clone(), worker.door(node));
    let tenant = &ground.tenant;
    let outcome = match tenant.provider.redeem(&ground.hasty, &door, &tenant.app, code, verifier).await {
        Ok(answer) if answer.is_success() => Outcome::Ok(Reply::Done),
        Ok(answer) => worker.refused(&answer, &[]),
        Err(lost) => lost_outcome(&lost),
    };
    worker.complete(ticket, outcome);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_codes_go_to_a_node_that_is_cut_off_while_there_is_one() {
        let ways = |astray: &[usize]| {
            let mut random = Random::new(1);
            (0..400).map(|_| way(&mut random, astray)).collect::<Vec<_>>()
        };
        let count = |ways: &[Way], wanted: Way| ways.iter().filter(|way| **way == wanted).count();
        let whole = ways(&[]);
        let turns = count(&whole, Way::InTurn);
        assert!((150..250).contains(&turns) && count(&whole, Way::AtOnce) + turns == 400, "{turns}");
        let cut = ways(&[2]);
        assert!((250..350).contains(&count(&cut, Way::Astray(2))));
        assert!(count(&cut, Way::InTurn) > 0 && count(&cut, Way::AtOnce) > 0);
        let two = ways(&[0, 1]);
        assert!(count(&two, Way::Astray(0)) > 50 && count(&two, Way::Astray(1)) > 50);
    }
}
