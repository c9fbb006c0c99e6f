//! People whose password is changed, whose session is ended, and who are disabled: what was taken away is
//! gone wherever one looks, with the consistency token of the change on any node; and what was given is there: the new
//! password. That it is refused is what its change takes away.

use reqwest::Method;
use serde_json::{Value, json};

use super::gone::{introspect, present};
use super::worker::{SCOPE, Tokens, Worker, lost_outcome};
use crate::client::{Browser, BrowserError, Person};
use crate::history::{Call, Class, Outcome, Refusal, Reply};

const SENDS_MAX: u32 = 20;
/// Looks after each change.
const LOOKS: u32 = 4;
/// Without `offline_access`: its tokens end with the session.
const OF_SESSION: &str = "openid";

struct Subject {
    /// Path of the user.
    path: String,
    /// Its revision before anything was changed.
    revision: u64,
    person: Person,
    tokens: Tokens,
}

pub(super) async fn work(mut worker: Worker) {
    while worker.goes_on().await {
        let Some(mut subject) = make(&mut worker).await else { continue };
        if let Some(tokens) = change_password(&mut worker, &mut subject).await {
            end_session(&mut worker, &subject, &tokens).await;
        }
        disable(&mut worker, &subject).await;
    }
}

async fn make(worker: &mut Worker) -> Option<Subject> {
    let (number, node) = (worker.ground.fresh(), worker.node());
    let username = format!("person-{number}");
    let person = Person { password: format!("first password of {number}"), username };
    let body = json!({ "username": person.username, "password": person.password });
    let key = person.username.clone();
    let answer = worker.admin(node, Method::POST, "/users", Some(&key), None, Some(&body)).await.ok()?;
    let made = answer.json();
    let path = format!("/users/{}", made.get("id").and_then(Value::as_str)?);
    let revision = made.get("revision").and_then(Value::as_u64)?;
    let tokens = worker.tokens_of(&person, SCOPE).await?;
    Some(Subject { path, revision, person, tokens })
}

/// Gives tokens that were got with the new password, whose session is the only one that is left.
async fn change_password(worker: &mut Worker, subject: &mut Subject) -> Option<Tokens> {
    let old = subject.person.clone();
    let number = worker.ground.fresh();
    subject.person.password = format!("second password of {number}");
    let body = json!({ "password": subject.person.password });
    let path = format!("{}/password", subject.path);
    let token = take_away(worker, number, Method::POST, &path, Some(&body)).await?;
    let (refusal, node) = (worker.ground.fresh(), worker.node());
    let done = worker.invoke(node, None, Call::Revoke { token: refusal });
    worker.complete(done, Outcome::Ok(Reply::Done));
    let before = subject.revision;
    let is_as_before = |body: &Value| body.get("revision").and_then(Value::as_u64).map(|now| now <= before);
    look(worker, number, &token, &subject.path, is_as_before).await;
    // First the new one: who tries the old one too often is kept out.
    let tokens = log_in(worker, (refusal, false), &subject.person, OF_SESSION).await;
    log_in(worker, (number, true), &old, SCOPE).await;
    introspect(worker, number, &subject.tokens.access).await;
    present(worker, number, &subject.tokens.refresh).await;
    tokens
}

/// `tokens` are of the session that is ended, if there is no other.
async fn end_session(worker: &mut Worker, subject: &Subject, tokens: &Tokens) {
    let (node, list) = (worker.node(), format!("{}/sessions", subject.path));
    let Ok(answer) = worker.admin(node, Method::GET, &list, None, None, None).await else { return };
    let found = answer.json();
    let items = found.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let Some(session) = items.first().and_then(|item| item.get("id")).and_then(Value::as_str) else { return };
    let (path, number) = (format!("/sessions/{session}"), worker.ground.fresh());
    let Some(token) = take_away(worker, number, Method::DELETE, &path, None).await else { return };
    let is_listed = |body: &Value| {
        let items = body.get("items").and_then(Value::as_array)?;
        Some(items.iter().any(|item| item["id"] == session))
    };
    look(worker, number, &token, &list, is_listed).await;
    // A login that was sent twice has two.
    if items.len() == 1 {
        introspect(worker, number, &tokens.access).await;
        present(worker, number, &tokens.refresh).await;
    }
}

async fn disable(worker: &mut Worker, subject: &Subject) {
    // Those that were got first ended with the first password.
    let tokens = worker.tokens_of(&subject.person, SCOPE).await;
    let number = worker.ground.fresh();
    let body = json!({ "disabled": true });
    let change = take_away(worker, number, Method::PATCH, &subject.path, Some(&body));
    let Some(token) = change.await else { return };
    let is_enabled = |body: &Value| body.get("disabled").and_then(Value::as_bool).map(|disabled| !disabled);
    look(worker, number, &token, &subject.path, is_enabled).await;
    let tokens = tokens.as_ref().unwrap_or(&subject.tokens);
    present(worker, number, &tokens.refresh).await;
    for _ in 0..LOOKS {
        introspect(worker, number, &tokens.access).await;
    }
    log_in(worker, (number, true), &subject.person, SCOPE).await;
}

/// Takes something away, until that is answered; gives the consistency token.
async fn take_away(
    worker: &mut Worker,
    number: u64,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Option<String> {
    let key = format!("take-{number}");
    for _ in 0..SENDS_MAX {
        let node = worker.node();
        let ticket = worker.invoke(node, None, Call::Revoke { token: number });
        let answer = worker.admin(node, method.clone(), path, Some(&key), None, body).await;
        let header = |name| answer.as_ref().ok().and_then(|answer| answer.header(name)).map(str::to_owned);
        let token = header("domicile-consistency");
        // What was sent before may have been done.
        let outcome = worker.outcome(answer, &[404], |_| Some(Reply::Done));
        let done = matches!(outcome, Outcome::Ok(_));
        worker.complete(ticket, outcome);
        if done {
            return token;
        }
        if !worker.goes_on().await {
            return None;
        }
    }
    None
}

/// Looks on any node, with the token of the change and without.
async fn look(
    worker: &mut Worker,
    number: u64,
    token: &str,
    path: &str,
    is_there: impl Fn(&Value) -> Option<bool>,
) {
    for turn in 0..LOOKS {
        let node = worker.node();
        let (class, token) =
            if turn + 1 < LOOKS { (Class::AtToken, Some(token)) } else { (Class::Strong, None) };
        let ticket = worker.invoke(node, Some(class), Call::Introspect { token: number });
        let answer = worker.admin(node, Method::GET, path, None, token, None).await;
        let outcome = worker.outcome(answer, &[], |answer| is_there(&answer.json()).map(Reply::Active));
        worker.complete(ticket, outcome);
    }
}

/// Whether the person gets through a login, all of which is decided by the leader: to get in is what was taken away, or
/// to be refused. Gives what the app then gets.
async fn log_in(
    worker: &mut Worker,
    (number, gets_in): (u64, bool),
    person: &Person,
    scope: &str,
) -> Option<Tokens> {
    let node = worker.node();
    let ticket = worker.invoke(node, Some(Class::Strong), Call::Introspect { token: number });
    let mut browser = Browser::new(&worker.ground.http);
    let (outcome, code) = match worker.code_of(&mut browser, person, scope, "consent").await {
        Ok(code) => (Outcome::Ok(Reply::Active(gets_in)), Some(code)),
        Err(BrowserError::Denied) => (Outcome::Ok(Reply::Active(!gets_in)), None),
        Err(BrowserError::Lost(lost)) => (lost_outcome(&lost), None),
        Err(other) => (Outcome::Fail(Refusal::Other(other.to_string())), None),
    };
    worker.complete(ticket, outcome);
    let (code, verifier) = code?;
    worker.redeemed(&code, &verifier).await
}
