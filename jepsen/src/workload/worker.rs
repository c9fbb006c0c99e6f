//! One client: it does one thing after another, and takes a new number after an end that nobody knows.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use super::ground::Ground;
use crate::client::{Answer, Browser, BrowserError, Door, Lost, Person, ProviderError, pkce};
use crate::cluster::AdminRequest;
use crate::history::{Call, Class, Outcome, Refusal, Reply, Ticket};
use crate::random::Random;

/// Between two things that a client does, in ms.
const PAUSE_MS: (u64, u64) = (20, 120);
pub(super) const SCOPE: &str = "openid offline_access";

pub(super) struct Worker {
    pub(super) ground: Arc<Ground>,
    pub(super) random: Random,
    process: u64,
}

/// What a login gave.
pub(super) struct Tokens {
    pub(super) access: String,
    pub(super) refresh: String,
}

impl Worker {
    pub(super) fn new(ground: &Arc<Ground>, kind: &str, turn: u32) -> Self {
        let random = Random::fork(ground.seed, &format!("{kind} {turn}"));
        Self { ground: ground.clone(), random, process: ground.fresh() }
    }

    /// Another client of the same kind, for things done at once.
    pub(super) fn twin(&mut self) -> Self {
        let random = Random::new(self.random.next());
        Self { ground: self.ground.clone(), random, process: self.ground.fresh() }
    }

    /// Waits a little; `false` when the run is over.
    pub(super) async fn goes_on(&mut self) -> bool {
        let pause = self.random.between(PAUSE_MS.0, PAUSE_MS.1);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        !self.ground.is_closed()
    }

    /// Any node that serves the tenant.
    pub(super) fn node(&mut self) -> usize {
        self.random.pick(&self.ground.tenant.doors).copied().unwrap_or(0)
    }

    pub(super) fn door(&self, node: usize) -> Door {
        let node = self.ground.cluster.nodes.get(node);
        node.map_or(Door::Named, |node| Door::Node(node.public.clone()))
    }

    pub(super) fn invoke(&self, node: usize, class: Option<Class>, call: Call) -> Ticket {
        let name = self.ground.cluster.nodes.get(node).map(|node| node.name.clone()).unwrap_or_default();
        self.ground.journal.invoke(self.process, &name, class, call)
    }

    /// Writes the end down.
    pub(super) fn complete(&mut self, ticket: Ticket, outcome: Outcome) {
        if matches!(outcome, Outcome::Info(_)) {
            self.ground.journal.complete(ticket, outcome);
            self.process = self.ground.fresh();
        } else {
            self.ground.journal.complete(ticket, outcome);
        }
    }

    /// A request to the admin API below the tenant.
    pub(super) async fn admin(
        &self,
        node: usize,
        method: Method,
        rest: &str,
        key: Option<&str>,
        consistency: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Answer, Lost> {
        let path = self.ground.tenant.path(rest);
        let request = AdminRequest { method, path: &path, key, consistency, body };
        self.ground.cluster.admin(&self.ground.http, node, request).await
    }

    /// What an answer that is no success means.
    pub(super) fn refused(&self, answer: &Answer, may_be: &[u16]) -> Outcome {
        let (outcome, oddity) = meaning(answer, may_be);
        match oddity {
            Oddity::None => {}
            Oddity::Broken => self.ground.broke(answer.told()),
            Oddity::Odd => self.ground.odd(answer.told()),
        }
        outcome
    }

    /// The end of a request that answers with a reply.
    pub(super) fn outcome(
        &self,
        answer: Result<Answer, Lost>,
        may_be: &[u16],
        reply: impl FnOnce(&Answer) -> Option<Reply>,
    ) -> Outcome {
        match answer {
            Ok(answer) if answer.is_success() => {
                if let Some(reply) = reply(&answer) {
                    return Outcome::Ok(reply);
                }
                self.ground.odd(format!("{} with another body", answer.status));
                Outcome::Info("the answer cannot be read".to_owned())
            }
            Ok(answer) => self.refused(&answer, may_be),
            Err(lost) => lost_outcome(&lost),
        }
    }

    /// A code for the tenant's person, and what redeems it. Nodes take turns, as behind a balancer; those in
    /// `around` are left out.
    pub(super) async fn code(
        &mut self,
        browser: &mut Browser,
        prompt: &str,
        around: &[usize],
    ) -> Result<(String, String), BrowserError> {
        let person = self.ground.tenant.person.clone();
        self.code_around(browser, &person, SCOPE, prompt, around).await
    }

    /// The same for another person, by way of all nodes.
    pub(super) async fn code_of(
        &mut self,
        browser: &mut Browser,
        person: &Person,
        scope: &str,
        prompt: &str,
    ) -> Result<(String, String), BrowserError> {
        self.code_around(browser, person, scope, prompt, &[]).await
    }

    async fn code_around(
        &mut self,
        browser: &mut Browser,
        person: &Person,
        scope: &str,
        prompt: &str,
        around: &[usize],
    ) -> Result<(String, String), BrowserError> {
        let (verifier, challenge) = pkce(&mut self.random);
        let ground = self.ground.clone();
        let tenant = &ground.tenant;
        let url = tenant.provider.authorization(&tenant.app, scope, &challenge, &[("prompt", prompt)]);
        let total = ground.cluster.nodes.len();
        let elsewhere = (0..total).filter(|node| !tenant.doors.contains(node));
        let around: Vec<usize> = around.iter().copied().chain(elsewhere).collect();
        let mut next = self.node();
        let doors = || {
            next = turn_after(next, total, &around);
            ground.cluster.nodes.get(next).map_or(Door::Named, |node| Door::Node(node.public.clone()))
        };
        let callback = browser.log_in(&url, person, doors).await.inspect_err(|error| {
            if let BrowserError::Refused(told) = error
                && told.starts_with("500")
            {
                ground.broke(format!("{told} on the way through a login"));
            }
        })?;
        match callback.get("code") {
            "" => Err(BrowserError::Refused(callback.get("error").to_owned())),
            code => Ok((code.to_owned(), verifier)),
        }
    }

    /// A family of tokens, by a login in a new browser.
    pub(super) async fn tokens(&mut self) -> Option<Tokens> {
        let person = self.ground.tenant.person.clone();
        self.tokens_of(&person, SCOPE).await
    }

    /// The same for another person.
    pub(super) async fn tokens_of(&mut self, person: &Person, scope: &str) -> Option<Tokens> {
        let mut browser = Browser::new(&self.ground.http);
        let (code, verifier) = self.code_of(&mut browser, person, scope, "consent").await.ok()?;
        self.redeemed(&code, &verifier).await
    }

    /// What a code gives that nobody else presents.
    pub(super) async fn redeemed(&mut self, code: &str, verifier: &str) -> Option<Tokens> {
        let node = self.node();
        let (ground, door) = (self.ground.clone(), self.door(node));
        let tenant = &ground.tenant;
        let answer = tenant.provider.redeem(&ground.http, &door, &tenant.app, code, verifier).await.ok()?;
        if answer.status == 500 {
            ground.broke(answer.told());
        }
        let body = answer.json();
        let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Tokens { access: text("access_token")?, refresh: text("refresh_token")? })
    }
}

/// How odd an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Oddity {
    None,
    /// It says that something broke.
    Broken,
    /// No client should get it, whatever the faults.
    Odd,
}

/// What an answer that is no success means.
fn meaning(answer: &Answer, may_be: &[u16]) -> (Outcome, Oddity) {
    let body = answer.json();
    let error = body.get("error").and_then(Value::as_str).unwrap_or_default();
    let is_unknown = answer.text.contains("outcome-unknown");
    match answer.status {
        400 if error == "invalid_grant" => (Outcome::Fail(Refusal::InvalidGrant), Oddity::None),
        409 if may_be.contains(&409) => (Outcome::Fail(Refusal::Taken), Oddity::None),
        // The problem document says so when it may have been done; OAuth's errors cannot.
        503 if error.is_empty() && !is_unknown => (Outcome::Fail(Refusal::Unavailable), Oddity::None),
        500 => (Outcome::Info(answer.told()), Oddity::Broken),
        501.. => (Outcome::Info(answer.told()), Oddity::None),
        status => {
            let oddity = if may_be.contains(&status) { Oddity::None } else { Oddity::Odd };
            (Outcome::Fail(Refusal::Other(answer.told())), oddity)
        }
    }
}

/// Whose turn is next; the next one's if all are left out.
fn turn_after(last: usize, total: usize, around: &[usize]) -> usize {
    let all = (1..=total).map(|step| (last + step) % total);
    all.clone().find(|turn| !around.contains(turn)).or_else(|| all.clone().next()).unwrap_or(0)
}

/// The end of a request without an answer.
pub(super) fn lost_outcome(lost: &Lost) -> Outcome {
    match lost {
        Lost::NotSent(why) => Outcome::Fail(Refusal::Other(format!("not sent: {why}"))),
        Lost::Unanswered(why) => Outcome::Info(why.clone()),
    }
}

/// A provider that lacks an endpoint cannot be: the tenant's has all.
pub(super) fn lost_of(error: ProviderError) -> Lost {
    match error {
        ProviderError::Lost(lost) => lost,
        other @ (ProviderError::Discovery { .. } | ProviderError::Without(_)) => {
            Lost::NotSent(other.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;

    #[test]
    fn a_500_is_always_odd_and_its_outcome_is_unknown() {
        let answer = |status, text: &str| Answer { status, headers: HeaderMap::new(), text: text.to_owned() };
        let judged = |status, text: &str| meaning(&answer(status, text), &[404]);
        let (outcome, oddity) = judged(500, r#"{"error":"server_error"}"#);
        assert!(matches!(outcome, Outcome::Info(_)) && oddity == Oddity::Broken);
        let (outcome, oddity) = judged(502, "");
        assert!(matches!(outcome, Outcome::Info(_)) && oddity == Oddity::None);
        assert_eq!(judged(503, "{}"), (Outcome::Fail(Refusal::Unavailable), Oddity::None));
        let (outcome, oddity) = judged(503, r#"{"type":"outcome-unknown"}"#);
        assert!(matches!(outcome, Outcome::Info(_)) && oddity == Oddity::None);
        assert_eq!(judged(400, r#"{"error":"invalid_grant"}"#).1, Oddity::None);
        assert_eq!((judged(404, "").1, judged(410, "").1), (Oddity::None, Oddity::Odd));
    }

    #[test]
    fn all_nodes_have_their_turn_but_those_that_are_left_out() {
        let turns = |around: &[usize]| {
            let mut last = 1;
            (0..4)
                .map(|_| {
                    last = turn_after(last, 3, around);
                    last
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(turns(&[]), [2, 0, 1, 2]);
        assert_eq!(turns(&[0]), [2, 1, 2, 1]);
        assert_eq!(turns(&[0, 1, 2]), [2, 0, 1, 2]);
    }
}
