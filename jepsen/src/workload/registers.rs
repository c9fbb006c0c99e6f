//! Users' display names as registers: written with an idempotency key and sent again when no answer
//! comes, read on any node, strongly or with the consistency token of a write.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::Method;
use serde_json::{Value, json};

use super::ground::lock;
use super::worker::{Worker, lost_outcome};
use crate::history::{Call, Class, Outcome, Reply};

/// Registers in use at once.
const IN_USE: usize = 4;
/// A register is given up after so many operations, so that the check of each stays cheap.
const OPERATIONS_MAX: u64 = 40;
/// How often a write is sent at most.
const SENDS_MAX: u32 = 4;

/// A user.
#[derive(Debug)]
pub(super) struct Register {
    key: u64,
    user: String,
    used: AtomicU64,
    /// Index and consistency token of the last acknowledged write.
    token: Mutex<Option<(u64, String)>>,
}

pub(super) async fn work(mut worker: Worker) {
    while worker.goes_on().await {
        let Some(register) = choose(&mut worker).await else { continue };
        match worker.random.below(100) {
            0..35 => write(&mut worker, &register).await,
            35..70 => read(&mut worker, &register, None).await,
            _ => {
                let token = lock(&register.token).clone();
                read(&mut worker, &register, token).await;
            }
        }
    }
}

/// One in use, or a new one where there are too few.
async fn choose(worker: &mut Worker) -> Option<Arc<Register>> {
    let found: Vec<Arc<Register>> = {
        let mut registers = lock(&worker.ground.registers);
        registers.retain(|register| register.used.load(Ordering::Relaxed) < OPERATIONS_MAX);
        registers.clone()
    };
    if found.len() < IN_USE {
        let made = make(worker).await?;
        lock(&worker.ground.registers).push(made);
        return None;
    }
    let register = worker.random.pick(&found)?.clone();
    register.used.fetch_add(1, Ordering::Relaxed);
    Some(register)
}

async fn make(worker: &mut Worker) -> Option<Arc<Register>> {
    let (key, node) = (worker.ground.fresh(), worker.node());
    let (name, body) = (format!("register-{key}"), json!({ "username": format!("register-{key}") }));
    let answer = worker.admin(node, Method::POST, "/users", Some(&name), None, Some(&body)).await.ok()?;
    let user = answer.json().get("id").and_then(Value::as_str)?.to_owned();
    Some(Arc::new(Register { key, user, used: AtomicU64::new(0), token: Mutex::new(None) }))
}

async fn write(worker: &mut Worker, register: &Register) {
    let value = worker.ground.fresh();
    let (key, path) = (format!("write-{value}"), format!("/users/{}", register.user));
    let body = json!({ "name": format!("v{value}") });
    let mut node = worker.node();
    let ticket = worker.invoke(node, None, Call::Write { key: register.key, value });
    let (index, mut unknown) = (ticket.index, None);
    for _ in 0..SENDS_MAX {
        let answer = worker.admin(node, Method::PATCH, &path, Some(&key), None, Some(&body)).await;
        let token =
            answer.as_ref().ok().and_then(|answer| answer.header("domicile-consistency")).map(str::to_owned);
        match worker.outcome(answer, &[], |_| Some(Reply::Done)) {
            Outcome::Ok(reply) => {
                *lock(&register.token) = token.map(|token| (index, token));
                return worker.complete(ticket, Outcome::Ok(reply));
            }
            Outcome::Info(why) => unknown = Some(why),
            // What was sent before may still be done.
            Outcome::Fail(refusal) if unknown.is_none() => {
                return worker.complete(ticket, Outcome::Fail(refusal));
            }
            Outcome::Fail(_) => {}
        }
        node = worker.node();
    }
    worker.complete(ticket, Outcome::Info(unknown.unwrap_or_default()));
}

async fn read(worker: &mut Worker, register: &Register, token: Option<(u64, String)>) {
    let node = worker.node();
    let class = if token.is_some() { Class::AtToken } else { Class::Strong };
    let after = token.as_ref().map(|(index, _)| *index);
    let ticket = worker.invoke(node, Some(class), Call::Read { key: register.key, after });
    let token = token.as_ref().map(|(_, token)| token.as_str());
    let path = format!("/users/{}", register.user);
    let outcome = match worker.admin(node, Method::GET, &path, None, token, None).await {
        Ok(answer) => worker.outcome(Ok(answer), &[], |answer| Some(Reply::Value(value(&answer.json())))),
        Err(lost) => lost_outcome(&lost),
    };
    worker.complete(ticket, outcome);
}

/// The value in a user's document.
pub(super) fn value(user: &Value) -> Option<u64> {
    user.get("name")?.as_str()?.strip_prefix('v')?.parse().ok()
}
