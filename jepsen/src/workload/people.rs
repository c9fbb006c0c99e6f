//! People whose password is changed, whose session is ended, and who are disabled: what was taken away is
//! gone wherever one looks, with the consistency token of the change on any node.

use reqwest::Method;
use serde_json::{Value, json};

use super::worker::{SCOPE, Tokens, Worker, lost_of, lost_outcome};
use crate::client::{Browser, BrowserError, Person};
use crate::history::{Call, Class, Outcome, Refusal, Reply};

const SENDS_MAX: u32 = 20;
/// Looks after each change.
const LOOKS: u32 = 4;

struct Subject {
    /// Path of the user.
    path: String,
    person: Person,
    tokens: Tokens,
}

pub(super) async fn work(mut worker: Worker) {
    while worker.goes_on().await {
        let Some(mut subject) = make(&mut worker).await else { continue };
        change_password(&mut worker, &mut subject).await;
        end_session(&mut worker, &subject).await;
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
    let path = format!("/users/{}", answer.json().get("id").and_then(Value::as_str)?);
    let tokens = worker.tokens_of(&person, SCOPE).await?;
    Some(Subject { path, person, tokens })
}

async fn change_password(worker: &mut Worker, subject: &mut Subject) {
    let old = subject.person.clone();
    let number = worker.ground.fresh();
    subject.person.password = format!("second password of {number}");
    let body = json!({ "password": subject.person.password });
    let path = format!("{}/password", subject.path);
    if take_away(worker, number, Method::POST, &path, Some(&body)).await.is_some() {
        logs_in(worker, number, &old).await;
    }
}

async fn end_session(worker: &mut Worker, subject: &Subject) {
    // With the new password: a change may end what was begun with the old one.
    if worker.tokens_of(&subject.person, SCOPE).await.is_none() {
        return;
    }
    let (node, list) = (worker.node(), format!("{}/sessions", subject.path));
    let Ok(answer) = worker.admin(node, Method::GET, &list, None, None, None).await else { return };
    let found = answer.json()["items"][0]["id"].as_str().map(str::to_owned);
    let (Some(session), number) = (found, worker.ground.fresh()) else { return };
    let path = format!("/sessions/{session}");
    let Some(token) = take_away(worker, number, Method::DELETE, &path, None).await else { return };
    let is_listed = |body: &Value| {
        let items = body.get("items").and_then(Value::as_array)?;
        Some(items.iter().any(|item| item["id"] == session.as_str()))
    };
    look(worker, number, &token, &list, is_listed).await;
}

async fn disable(worker: &mut Worker, subject: &Subject) {
    let number = worker.ground.fresh();
    let body = json!({ "disabled": true });
    let change = take_away(worker, number, Method::PATCH, &subject.path, Some(&body));
    let Some(token) = change.await else { return };
    let is_enabled = |body: &Value| body.get("disabled").and_then(Value::as_bool).map(|disabled| !disabled);
    look(worker, number, &token, &subject.path, is_enabled).await;
    for _ in 0..LOOKS {
        introspect(worker, number, &subject.tokens.access).await;
    }
    logs_in(worker, number, &subject.person).await;
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

async fn introspect(worker: &mut Worker, number: u64, access: &str) {
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

/// Whether the person gets through a login, all of which is decided by the leader.
async fn logs_in(worker: &mut Worker, number: u64, person: &Person) {
    let node = worker.node();
    let ticket = worker.invoke(node, Some(Class::Strong), Call::Introspect { token: number });
    let mut browser = Browser::new(&worker.ground.http);
    let outcome = match worker.code_of(&mut browser, person, SCOPE, "consent").await {
        Ok(_) => Outcome::Ok(Reply::Active(true)),
        Err(BrowserError::Denied) => Outcome::Ok(Reply::Active(false)),
        Err(BrowserError::Lost(lost)) => lost_outcome(&lost),
        Err(other) => Outcome::Fail(Refusal::Other(other.to_string())),
    };
    worker.complete(ticket, outcome);
}
