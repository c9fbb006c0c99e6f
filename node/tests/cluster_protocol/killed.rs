//! The leader of the tenant's home is killed (`kill -9`) while flows stand in their middle and clients are at work.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::assertions::Signer;
use crate::cluster_guest::{Guest, Reply, browser};
use crate::cluster_support::{Cluster, LOOK, partition};
use crate::oidc_support::assertion::Key;
use crate::oidc_support::logout_receiver::LogoutReceiver;
use crate::oidc_support::relying_party::part;
use crate::under_way::{self, Progress};
use crate::world::{App, CATCH_UP_MAX, CHALLENGE, World, refused};
use crate::{devices, exchange, opaque, pushed, registration};

/// How long a record may stay after its delivery.
const SETTLED_MAX: Duration = Duration::from_mins(1);

/// Flows of which the first half was answered.
struct Half {
    key: Key,
    nonce: String,
    /// The proof that came with the redeemed code.
    proof: String,
    bound: (App, Reply),
    television: App,
    let_in: Reply,
    waiting: Reply,
    gateway: App,
    subject: String,
    signer: Signer,
    registered: (String, String),
    revoked: (App, String, Instant),
    code: (App, String),
    pushed: (App, String),
    carried: (App, String),
}

impl Half {
    /// Each at a follower, or where nothing is held.
    async fn begin(world: &World, at: [usize; 2]) -> Self {
        let [a, b] = at;
        let (app, key) = (world.app(a, &json!({})).await, Key::new("half"));
        let nonce = world.nonce(world.hosts[0], &app, &key).await;
        let proof = world.proof(&key, "token", &nonce);
        let code = world.code(a, &app, &[]).await;
        let issued = world.redeem(b, &app, &code, Some(&proof)).await.unwrap().expect(StatusCode::OK);
        let television = devices::television(world, b).await;
        let (let_in, waiting) =
            (devices::start(world, a, &television).await, devices::start(world, b, &television).await);
        devices::let_in(world, &[b], &let_in.text("user_code")).await;
        let gateway = exchange::gateway(world, a, &app).await;
        let signer = Signer::new(world, b).await;
        let made = registration::register(world, a, &registration::metadata("Half")).await.unwrap();
        let made = made.expect(StatusCode::CREATED);
        let (api, name) = world.resource_server(a).await;
        let service = opaque::service(world, a).await;
        let given = opaque::own_token(world, a, &service, &name).await.unwrap().expect(StatusCode::OK);
        let token = given.text("access_token");
        let revoked = world.post(b, &service, "revoke", &[("token", token.as_str())]).await;
        let answered = Instant::now();
        revoked.expect(StatusCode::OK);
        let subject = world.tokens(b, &app).await.text("access_token");
        let code = world.code(a, &app, &[]).await;
        // What lives for a minute comes last.
        let public = pushed::public(world, b).await;
        let challenge = [("code_challenge", CHALLENGE), ("code_challenge_method", "S256")];
        let carried = pushed::push(world, a, &public, &challenge, None).await.unwrap();
        let carried = pushed::link(world, &public, &carried.expect(StatusCode::CREATED));
        let pushed = pushed::push(world, b, &app, &[], None).await.unwrap().expect(StatusCode::CREATED);
        let pushed = pushed::link(world, &app, &pushed);
        Self {
            key,
            nonce,
            proof,
            bound: (app.clone(), issued),
            television,
            let_in,
            waiting,
            gateway,
            subject,
            signer,
            registered: (made.text("client_id"), made.text("registration_access_token")),
            revoked: (api, token, answered),
            code: (app.clone(), code),
            pushed: (app, pushed),
            carried: (public, carried),
        }
    }

    /// The other halves, at the nodes that are left. What was answered counts; what was used is used.
    async fn finish(&self, world: &World, at: [usize; 2]) {
        let [a, b] = at;
        let (app, link) = &self.pushed;
        let callback = world.browser(&[a]).approve(link, &world.person()).await;
        let tokens = world.redeem(b, app, callback.get("code"), None).await.unwrap();
        tokens.expect(StatusCode::OK);
        pushed::is_taken(world, b, link).await;
        let (public, link) = &self.carried;
        let callback = world.browser(&[b]).approve(link, &world.person()).await;
        let code = callback.get("code");
        let tokens = pushed::redeem_with_verifier(world, a, public, code).await.unwrap();
        tokens.expect(StatusCode::OK);
        pushed::is_taken(world, a, link).await;
        let (app, code) = &self.code;
        world.redeem(b, app, code, None).await.unwrap().expect(StatusCode::OK);
        refused(&world.redeem(a, app, code, None).await.unwrap(), "invalid_grant");

        let (app, issued) = &self.bound;
        let refresh = issued.text("refresh_token");
        // The nonce is of the node that is gone, and so is who saw the proof; the log has it.
        let replayed = world.refresh(a, app, &refresh, Some(&self.proof)).await.unwrap();
        refused(&replayed, "invalid_dpop_proof");
        let proof = world.proof(&self.key, "token", &self.nonce);
        world.refresh(b, app, &refresh, Some(&proof)).await.unwrap().expect(StatusCode::OK);

        let done = devices::let_in(world, &[b], &self.waiting.text("user_code")).await;
        assert!(done.contains("<h1>Your device is connected</h1>"), "{done}");
        for started in [&self.let_in, &self.waiting] {
            let first = devices::poll(world, a, &self.television, started).await.unwrap();
            let again = devices::poll(world, b, &self.television, started).await.unwrap();
            let tokens = [first, again].map(|reply| reply.expect(StatusCode::OK).text("refresh_token"));
            assert_eq!(tokens[0], tokens[1]);
        }
        let given = exchange::exchange(world, a, &self.gateway, &self.subject).await.unwrap();
        given.expect(StatusCode::OK);
        let proven = self.signer.own_token(world, b, &self.signer.assertion(world)).await.unwrap();
        proven.expect(StatusCode::OK);
        let (api, token, since) = &self.revoked;
        opaque::is_refused_everywhere(world, api, token, *since).await;
        self.manage(world, at).await;
    }

    async fn manage(&self, world: &World, [a, b]: [usize; 2]) {
        let (id, token) = &self.registered;
        let update = registration::update("Whole", id);
        let updated = registration::manage(world, a, Method::PUT, (id, token), Some(&update)).await.unwrap();
        let next = updated.expect(StatusCode::OK).text("registration_access_token");
        let late = registration::manage(world, b, Method::GET, (id, token), None).await.unwrap();
        late.expect(StatusCode::UNAUTHORIZED);
        let read = registration::manage(world, b, Method::GET, (id, &next), None).await.unwrap();
        assert_eq!(read.expect(StatusCode::OK).body["client_name"], "Whole");
        let deleted = registration::manage(world, a, Method::DELETE, (id, &next), None).await.unwrap();
        deleted.expect(StatusCode::NO_CONTENT);
    }
}

/// A login that is over, of whose end the client could not be told yet.
struct Untold {
    receiver: LogoutReceiver,
    sid: serde_json::Value,
}

impl Untold {
    async fn begin(world: &World, host: usize) -> Self {
        let mut receiver = LogoutReceiver::start().await;
        receiver.answer(503);
        let app = world.app(host, &json!({ "backchannel_logout_uri": receiver.url })).await;
        // Somebody with one session, so that it can be named.
        let body = json!({ "username": "listened-to", "password": "correct horse battery staple" });
        let made = world.guest.admin(&world.doors, host, Method::POST, "/users", None, Some(&body)).await;
        let guest = Guest {
            user: made.unwrap().expect(StatusCode::CREATED).text("id"),
            person: ("listened-to".to_owned(), "correct horse battery staple".to_owned()),
            client: (app.id.clone(), app.secret.clone()),
            ..world.guest.clone()
        };
        let callback = guest.log_in(&mut browser(&world.doors, &guest, &[host]), "").await;
        let tokens = guest.redeem(&world.doors, host, &callback).await;
        let sid = part(&tokens.text("id_token"), 1)["sid"].clone();
        let sessions = format!("/users/{}/sessions", guest.user);
        let sessions = guest.admin(&world.doors, host, Method::GET, &sessions, None, None).await.unwrap();
        let path = format!("/sessions/{}", sessions.body["items"][0]["id"].as_str().unwrap());
        let ended = guest.admin(&world.doors, host, Method::DELETE, &path, None, None).await.unwrap();
        ended.expect(StatusCode::NO_CONTENT);
        let refused = receiver.next().await;
        assert_eq!(refused.answered, 503);
        Self { receiver, sid }
    }

    /// The next leader tells it, and nobody once it is told.
    async fn told_once(mut self, cluster: &Cluster, world: &World, survivors: &[usize]) {
        let told = loop {
            let received = self.receiver.next().await;
            if received.answered == 200 {
                break received;
            }
        };
        let jwks = world.at(survivors[0], "jwks");
        let claims = told.verified(&jwks).await;
        assert_eq!((&claims["sid"], &claims["iss"]), (&self.sid, &world.guest.issuer.clone().into()));
        for turn in survivors {
            let settling = async {
                while !cluster.management(*turn, "/metrics").await.1.contains("domicile_logout_pending 0\n") {
                    tokio::time::sleep(LOOK).await;
                }
            };
            tokio::time::timeout(SETTLED_MAX, settling).await.expect("the record is still there");
        }
        assert!(self.receiver.is_empty(), "told twice");
    }
}

/// Of the clients that registered themselves under way, no more are left than answers that were lost allow.
async fn none_is_double(world: &World, host: usize, left: &BTreeMap<String, usize>) {
    let (mut there, mut token) = (BTreeMap::<String, usize>::new(), String::new());
    loop {
        let path = format!("/clients?page_size=100{token}");
        let page = world.guest.admin(&world.doors, host, Method::GET, &path, None, None).await.unwrap();
        let page = page.expect(StatusCode::OK);
        for client in page.body["items"].as_array().unwrap() {
            let name = client["client_name"].as_str().unwrap_or_default();
            *there.entry(name.to_owned()).or_default() += 1;
        }
        match page.body["next_page_token"].as_str() {
            Some(next) => token = format!("&page_token={next}"),
            None => break,
        }
    }
    for (name, doubts) in left {
        let found = there.get(name).copied().unwrap_or_default();
        assert!(found <= *doubts, "{found} of {name}, {doubts} answers were lost");
    }
}

pub async fn the_leader_is_killed_in_the_middle_of_all(cluster: &mut Cluster, world: World) {
    // Whoever leads by now.
    let world = &World::new(cluster, world.guest).await;
    let progress = &Progress::default();
    let killing = async {
        progress.advances(1).await;
        let untold = Box::pin(Untold::begin(world, world.hosts[1])).await;
        let half = Box::pin(Half::begin(world, [world.hosts[2], world.hosts[3]])).await;
        let dead = world.guest.voters(cluster, world.hosts[3]).await[0];
        cluster.kill(dead);
        untold.receiver.answer(200);
        let survivors: Vec<usize> = world.hosts.iter().copied().filter(|host| *host != dead).collect();
        Box::pin(half.finish(world, [survivors[0], survivors[1]])).await;
        progress.advances(2).await;
        progress.end();
        (dead, survivors, half, untold)
    };
    let (signed_in, (), (), left, revoked, (), (dead, survivors, half, untold)) = tokio::join!(
        Box::pin(under_way::signs_in(world, progress)),
        Box::pin(under_way::rotates(world, progress)),
        Box::pin(under_way::stays(world, progress)),
        Box::pin(under_way::registers(world, progress)),
        Box::pin(under_way::revokes(world, progress)),
        Box::pin(under_way::lets_devices_in(world, progress)),
        Box::pin(killing),
    );
    untold.told_once(cluster, world, &survivors).await;

    cluster.start(dead);
    cluster.ready(dead).await;
    let whole = |seen: &serde_json::Value| {
        let replicas = partition(seen, world.guest.partition)["replicas"].as_array().unwrap();
        replicas.len() == 3 && replicas.iter().all(|replica| replica["lag"] == 0)
    };
    cluster.until(survivors[0], whole).await;
    // The node that was away knows all of it, too.
    let (app, tokens) = &signed_in;
    for token in tokens {
        world.shows(&world.hosts, app, token, true, CATCH_UP_MAX).await;
    }
    let (api, tokens) = &revoked;
    for (token, since) in tokens {
        opaque::is_refused_everywhere(world, api, token, *since).await;
    }
    none_is_double(world, dead, &left).await;
    pushed::is_taken(world, dead, &half.pushed.1).await;
    refused(&world.redeem(dead, &half.code.0, &half.code.1, None).await.unwrap(), "invalid_grant");
}
