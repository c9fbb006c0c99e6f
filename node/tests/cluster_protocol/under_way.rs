//! Clients at work while the leader is killed. Each asks the next node when one is gone or says 503, as clients do,
//! and knows from the answers what may have happened twice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::cluster_guest::Reply;
use crate::oidc_support::assertion::Key;
use crate::world::{App, PAUSE, Told, World, number, refused};
use crate::{devices, opaque, pushed, registration};

/// A failover takes a part of it.
const PROGRESS_MAX: Duration = Duration::from_mins(2);

/// What each client has done so far.
#[derive(Default)]
pub struct Progress {
    steps: [AtomicU64; 6],
    over: AtomicBool,
}

impl Progress {
    /// Until each client has done `more` from now on.
    pub async fn advances(&self, more: u64) {
        let steps = || self.steps.each_ref().map(|steps| steps.load(Ordering::Relaxed));
        let begun = steps();
        let advancing = async {
            while steps().iter().zip(&begun).any(|(now, begun)| *now < begun + more) {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let advanced = tokio::time::timeout(PROGRESS_MAX, advancing).await;
        advanced.unwrap_or_else(|_| panic!("no progress: {begun:?}, {:?}", steps()));
    }

    /// Each client ends once it has done what it began.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Leaves the processor to those who elect.
    async fn step(&self, client: usize) {
        self.steps[client].fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(PAUSE).await;
    }
}

fn done(told: Told) -> Reply {
    told.reply.expect(StatusCode::OK)
}

/// Pushes a request, logs in by it, redeems the code; gives the client and the access tokens that it got.
pub async fn signs_in(world: &World, progress: &Progress) -> (App, Vec<String>) {
    let outside = world.hosts[3];
    let strict = json!({ "require_pushed_authorization_requests": true });
    let (app, mut tokens) = (world.app(outside, &strict).await, Vec::new());
    for turn in 0_usize.. {
        if progress.is_over() {
            break;
        }
        let told = world.insist(turn, async |host| pushed::push(world, host, &app, &[], None).await).await;
        let link = pushed::link(world, &app, &told.reply.expect(StatusCode::CREATED));
        let callback = world.browser(&[outside]).approve(&link, &world.person()).await;
        let code = callback.get("code");
        if code.is_empty() {
            // The consent was sent on once more after its answer was lost: the request had led to a code.
            assert_eq!(callback.get("error"), "invalid_request_uri");
        } else {
            let told = world.insist(turn + 1, async |host| world.redeem(host, &app, code, None).await).await;
            if told.unsure && told.reply.status == StatusCode::BAD_REQUEST {
                // A second use, which ends what the first one gave (RFC 6749 §4.1.2).
                refused(&told.reply, "invalid_grant");
            } else {
                tokens.push(done(told).text("access_token"));
            }
        }
        pushed::is_taken(world, outside, &link).await;
        progress.step(0).await;
    }
    (app, tokens)
}

/// Rotates a refresh token that is bound to a key; each try with a proof of its own.
pub async fn rotates(world: &World, progress: &Progress) {
    let outside = world.hosts[3];
    let bound = json!({ "dpop_bound_access_tokens": true });
    let (app, key) = (world.app(outside, &bound).await, Key::new("rotates"));
    let nonce = world.nonce(outside, &app, &key).await;
    let code = world.code(outside, &app, &[]).await;
    let proof = world.proof(&key, "token", &nonce);
    let issued = world.redeem(outside, &app, &code, Some(&proof)).await.unwrap().expect(StatusCode::OK);
    let mut token = issued.text("refresh_token");
    for turn in 1_usize.. {
        if progress.is_over() {
            break;
        }
        let told = world
            .insist(turn, async |host| {
                let proof = world.proof(&key, "token", &nonce);
                world.refresh(host, &app, &token, Some(&proof)).await
            })
            .await;
        // Whoever asks again gets the same: the chain goes on, whatever was lost.
        let next = done(told).text("refresh_token");
        assert_ne!(next, token);
        token = next;
        progress.step(1).await;
    }
}

/// Uses a refresh token that stays.
pub async fn stays(world: &World, progress: &Progress) {
    let outside = world.hosts[3];
    let app = world.app(outside, &json!({ "refresh_token_mode": "static" })).await;
    let token = world.tokens(outside, &app).await.text("refresh_token");
    for turn in 2_usize.. {
        if progress.is_over() {
            break;
        }
        let told = world.insist(turn, async |host| world.refresh(host, &app, &token, None).await).await;
        assert_eq!(done(told).text("refresh_token"), token);
        progress.step(2).await;
    }
}

/// Registers clients, changes and deletes each. How many may be left of each name: those whose registration was
/// sent again though it may have been done, and those whose token went with a lost answer (docs/adr/0019).
pub async fn registers(world: &World, progress: &Progress) -> BTreeMap<String, usize> {
    let mut left = BTreeMap::new();
    for turn in 0_usize.. {
        if progress.is_over() {
            break;
        }
        let name = format!("Made {}", number());
        let metadata = registration::metadata(&name);
        let made =
            world.insist(turn, async |host| registration::register(world, host, &metadata).await).await;
        let mut doubts = usize::from(made.unsure);
        let made = made.reply.expect(StatusCode::CREATED);
        let (id, token) = (made.text("client_id"), made.text("registration_access_token"));
        let update = registration::update(&name, &id);
        let updated = world
            .insist(turn + 1, async |host| {
                registration::manage(world, host, Method::PUT, (&id, &token), Some(&update)).await
            })
            .await;
        if updated.unsure && updated.reply.status == StatusCode::UNAUTHORIZED {
            doubts += 1;
        } else {
            let token = done(updated).text("registration_access_token");
            let deleted = world
                .insist(turn + 2, async |host| {
                    registration::manage(world, host, Method::DELETE, (&id, &token), None).await
                })
                .await;
            let wanted = if deleted.unsure && deleted.reply.status != StatusCode::NO_CONTENT {
                StatusCode::UNAUTHORIZED
            } else {
                StatusCode::NO_CONTENT
            };
            deleted.reply.expect(wanted);
        }
        left.insert(name, doubts);
        progress.step(3).await;
    }
    left
}

/// Gets opaque tokens and revokes each; gives the resource server that they were for, and the tokens with the time
/// when their revocation was answered.
pub async fn revokes(world: &World, progress: &Progress) -> (App, Vec<(String, Instant)>) {
    let outside = world.hosts[3];
    let ((api, name), service) =
        (world.resource_server(outside).await, opaque::service(world, outside).await);
    let mut tokens = Vec::new();
    for turn in 1_usize.. {
        if progress.is_over() {
            break;
        }
        let told =
            world.insist(turn, async |host| opaque::own_token(world, host, &service, &name).await).await;
        let token = done(told).text("access_token");
        let told = world
            .insist(turn + 1, async |host| {
                world.ask(host, &service, "revoke", &[("token", token.as_str())], None).await
            })
            .await;
        let answered = Instant::now();
        assert_eq!(told.reply.status, StatusCode::OK, "{}", told.reply.body);
        tokens.push((token, answered));
        progress.step(4).await;
    }
    (api, tokens)
}

/// Has devices let in; each gets one family, however often it has to ask.
pub async fn lets_devices_in(world: &World, progress: &Progress) {
    let outside = world.hosts[3];
    let app = devices::television(world, outside).await;
    for turn in 2_usize.. {
        if progress.is_over() {
            break;
        }
        let asked = [("scope", "openid email offline_access")];
        let told = world
            .insist(turn, async |host| world.ask(host, &app, "device_authorization", &asked, None).await)
            .await;
        let started = done(told);
        // What the page says may be wrong if its answer was lost; the device knows.
        devices::let_in(world, &[outside], &started.text("user_code")).await;
        let poll = async |host: usize| devices::poll(world, host, &app, &started).await;
        let first = done(world.insist(turn, poll).await);
        let poll = async |host: usize| devices::poll(world, host, &app, &started).await;
        let again = done(world.insist(turn + 1, poll).await);
        assert_eq!(first.text("refresh_token"), again.text("refresh_token"));
        let (app, token) = (&app, first.text("refresh_token"));
        let next = world.insist(turn, async |host| world.refresh(host, app, &token, None).await).await;
        done(next);
        progress.step(5).await;
    }
}
