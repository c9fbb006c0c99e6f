//! Users' display names as registers: written with an idempotency key and sent again when no answer
//! comes, read on any node: strongly, with the consistency token of the last write, with that of the first
//! (which any replica satisfies, so that it is a local read), and at userinfo, within a bound.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::Method;
use serde_json::{Value, json};

use super::ground::lock;
use super::worker::{Worker, lost_of};
use crate::client::Person;
use crate::history::{Call, Class, Outcome, Reply};

/// Registers in use at once.
const IN_USE: usize = 4;
/// A register is given up after so many operations, so that the check of each stays cheap.
const OPERATIONS_MAX: u64 = 40;
/// How often a write is sent at most.
const SENDS_MAX: u32 = 4;
/// Registers whose user logs in, so that they can be read at userinfo.
const WITH_LOGIN_PERCENT: u64 = 40;
const SCOPE: &str = "openid profile offline_access";

/// A user.
#[derive(Debug)]
pub(super) struct Register {
    key: u64,
    user: String,
    used: AtomicU64,
    /// Consistency token of its creation.
    born: String,
    /// Of the user, where one was got: for userinfo.
    access: Option<String>,
    /// Index and consistency token of the last acknowledged write.
    token: Mutex<Option<(u64, String)>>,
}

pub(super) async fn work(mut worker: Worker) {
    while worker.goes_on().await {
        let Some(register) = choose(&mut worker).await else { continue };
        match worker.random.below(100) {
            0..35 => write(&mut worker, &register).await,
            35..55 => read(&mut worker, &register, Class::Strong, None).await,
            55..70 => {
                let born = Some((None, register.born.clone()));
                read(&mut worker, &register, Class::Local, born).await;
            }
            70..85 => bounded(&mut worker, &register).await,
            _ => {
                let token = lock(&register.token).clone();
                match token.map(|(index, token)| (Some(index), token)) {
                    Some(token) => read(&mut worker, &register, Class::AtToken, Some(token)).await,
                    None => read(&mut worker, &register, Class::Strong, None).await,
                }
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
    let name = format!("register-{key}");
    let password = format!("password of register {key}");
    let (person, body) = if worker.random.chance(WITH_LOGIN_PERCENT) {
        let body = json!({ "username": name, "password": password });
        (Some(Person { username: name.clone(), password }), body)
    } else {
        (None, json!({ "username": name }))
    };
    let answer = worker.admin(node, Method::POST, "/users", Some(&name), None, Some(&body)).await.ok()?;
    let user = answer.json().get("id").and_then(Value::as_str)?.to_owned();
    let born = answer.header("domicile-consistency")?.to_owned();
    let access = match &person {
        Some(person) => worker.tokens_of(person, SCOPE).await.map(|tokens| tokens.access),
        None => None,
    };
    let token = Mutex::new(None);
    Some(Arc::new(Register { key, user, used: AtomicU64::new(0), born, access, token }))
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

/// `token` comes with the index of the write that gave it, if that wrote a value.
async fn read(worker: &mut Worker, register: &Register, class: Class, token: Option<(Option<u64>, String)>) {
    let node = worker.node();
    let after = token.as_ref().and_then(|(index, _)| *index);
    let ticket = worker.invoke(node, Some(class), Call::Read { key: register.key, after });
    let token = token.as_ref().map(|(_, token)| token.as_str());
    let path = format!("/users/{}", register.user);
    let answer = worker.admin(node, Method::GET, &path, None, token, None).await;
    let outcome = worker.outcome(answer, &[], |answer| Some(Reply::Value(value(&answer.json()))));
    worker.complete(ticket, outcome);
}

/// At userinfo, as an app does.
async fn bounded(worker: &mut Worker, register: &Register) {
    let Some(access) = &register.access else { return };
    let node = worker.node();
    let call = Call::Read { key: register.key, after: None };
    let ticket = worker.invoke(node, Some(Class::Bounded), call);
    let (ground, door) = (worker.ground.clone(), worker.door(node));
    let answer = ground.tenant.provider.userinfo(&ground.http, &door, access).await;
    // A replica that does not know a token yet says that it does not know it.
    let outcome =
        worker.outcome(answer.map_err(lost_of), &[401], |answer| Some(Reply::Value(value(&answer.json()))));
    worker.complete(ticket, outcome);
}

/// The value in a user's document.
fn value(user: &Value) -> Option<u64> {
    number(user.get("name")?)
}

/// The number that a name stands for.
pub(super) fn number(name: &Value) -> Option<u64> {
    name.as_str()?.strip_prefix('v')?.parse().ok()
}
