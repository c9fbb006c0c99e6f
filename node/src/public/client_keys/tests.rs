use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_iam::ids::{Id as _, SigningKeyId};
use domicile_iam::keys::{Jwk, generate};
use domicile_iam::model::SigningAlgorithm;
use domicile_raft::testing::ManualClock;
use domicile_raft::{BoxFuture, Timestamp};
use serde_json::{Value, json};

use super::*;
use crate::egress::Fetched;

const URI: &str = "https://rp.example/jwks";

fn tenant() -> TenantId {
    TenantId::from_bytes([1; 16])
}

/// A server whose answer is set, and which counts.
#[derive(Default)]
struct Server {
    answer: Mutex<Option<Fetched>>,
    /// Whether there is no place to ask from.
    busy: AtomicBool,
    asked: AtomicUsize,
}

impl Server {
    fn serves(&self, kids: &[&str], max_age: Option<Duration>) {
        let keys: Vec<Value> = kids.iter().map(|kid| key(kid)).collect();
        let body = json!({ "keys": keys }).to_string().into();
        *self.answer.lock().unwrap() = Some(Fetched { body, max_age });
    }

    fn fails(&self) {
        *self.answer.lock().unwrap() = None;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Fetch for Server {
    fn get<'a>(&'a self, errand: Errand, _url: &'a Url) -> BoxFuture<'a, Result<Fetched, EgressError>> {
        assert_eq!(errand, Errand::new(tenant(), Purpose::KeySet));
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.busy.load(Ordering::Relaxed) {
            return Box::pin(async { Err(EgressError::Busy) });
        }
        let answer = self.answer.lock().unwrap().clone().ok_or(EgressError::Connect);
        Box::pin(async move {
            // A crowd arrives meanwhile.
            tokio::task::yield_now().await;
            answer
        })
    }

    fn post<'a>(
        &'a self,
        _errand: Errand,
        _url: &'a Url,
        _form: String,
    ) -> BoxFuture<'a, Result<(), EgressError>> {
        Box::pin(async { Err(EgressError::Url) })
    }
}

fn key(kid: &str) -> Value {
    let made = generate(SigningAlgorithm::EdDSA).unwrap();
    let id = SigningKeyId::from_bytes([1; 16]);
    let mut jwk = serde_json::to_value(Jwk::new(id, SigningAlgorithm::EdDSA, &made.public_key)).unwrap();
    jwk["kid"] = json!(kid);
    jwk
}

fn assertion(kid: &str) -> Assertion {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(json!({"alg": "EdDSA", "kid": kid}));
    let claims = part(json!({"iss": "app", "sub": "app", "aud": "x", "exp": 1}));
    Assertion::parse(&format!("{header}.{claims}.AAAA")).unwrap()
}

struct World {
    server: Arc<Server>,
    clock: Arc<ManualClock>,
    keys: Arc<ClientKeys>,
}

impl World {
    fn new() -> Self {
        let (server, clock) =
            (Arc::new(Server::default()), Arc::new(ManualClock::new(Timestamp(1_800_000_000_000), 1)));
        let keys = Arc::new(ClientKeys::new(server.clone(), clock.clone()));
        Self { server, clock, keys }
    }

    /// Whether the key of this `kid` is found; `Err` if there is no set at all.
    async fn finds(&self, kid: &str) -> Result<bool, NoKeys> {
        let assertion = assertion(kid);
        let keys = self.keys.at(tenant(), URI, &assertion).await?;
        Ok(assertion.has_key(&keys))
    }
}

#[tokio::test]
async fn a_set_is_kept_as_long_as_its_server_says_within_bounds() {
    for (said, kept) in [
        (None, FRESH_DEFAULT),
        (Some(Duration::ZERO), FRESH_MIN),
        (Some(Duration::from_mins(2)), Duration::from_mins(2)),
        (Some(Duration::from_hours(24)), FRESH_MAX),
    ] {
        let world = World::new();
        world.server.serves(&["a"], said);
        assert_eq!(world.finds("a").await, Ok(true));
        world.clock.advance(kept.saturating_sub(Duration::from_millis(1)));
        assert_eq!((world.finds("a").await, world.server.asked()), (Ok(true), 1), "{said:?}");
        world.clock.advance(Duration::from_millis(1));
        assert_eq!((world.finds("a").await, world.server.asked()), (Ok(true), 2), "{said:?}");
    }
}

#[tokio::test]
async fn a_new_kid_is_fetched_at_once_and_unknown_ones_only_so_often() {
    let world = World::new();
    world.server.serves(&["a"], None);
    assert_eq!(world.finds("a").await, Ok(true));
    world.clock.advance(REFETCH_AFTER);
    world.server.serves(&["a", "b"], None);
    assert_eq!((world.finds("b").await, world.server.asked()), (Ok(true), 2));
    for number in 0..50 {
        assert_eq!(world.finds(&format!("forged-{number}")).await, Ok(false));
    }
    assert_eq!(world.server.asked(), 2, "within the interval nothing is asked");
    world.clock.advance(REFETCH_AFTER);
    for number in 0..50 {
        assert_eq!(world.finds(&format!("forged-{number}")).await, Ok(false));
    }
    assert_eq!(world.server.asked(), 3);
}

#[tokio::test]
async fn a_withdrawn_key_is_refused_after_the_next_fetch() {
    let world = World::new();
    world.server.serves(&["a"], None);
    assert_eq!(world.finds("a").await, Ok(true));
    world.server.serves(&["b"], None);
    world.clock.advance(FRESH_DEFAULT);
    assert_eq!(world.finds("a").await, Ok(false));
}

#[tokio::test]
async fn a_server_that_is_down_is_survived_for_an_hour_and_asked_now_and_then() {
    let world = World::new();
    world.server.serves(&["a"], None);
    assert_eq!(world.finds("a").await, Ok(true));
    world.server.fails();
    world.clock.advance(FRESH_DEFAULT);
    for _ in 0..50 {
        assert_eq!(world.finds("a").await, Ok(true));
    }
    assert_eq!(world.server.asked(), 2);
    world.clock.advance(STALE_MAX);
    assert_eq!(world.finds("a").await, Err(NoKeys));
    assert_eq!(world.finds("a").await, Err(NoKeys));
    assert_eq!(world.server.asked(), 3);
    world.server.serves(&["a"], None);
    world.clock.advance(REFETCH_AFTER);
    assert_eq!(world.finds("a").await, Ok(true));
}

#[tokio::test]
async fn a_server_that_was_not_asked_for_want_of_a_place_may_be_asked_at_once() {
    let world = World::new();
    world.server.serves(&["a"], None);
    world.server.busy.store(true, Ordering::Relaxed);
    assert_eq!(world.finds("a").await, Err(NoKeys));
    world.server.busy.store(false, Ordering::Relaxed);
    assert_eq!(world.finds("a").await, Ok(true), "not only after the interval");
    // So a key that is new is not missed either, and what is known stays meanwhile.
    world.clock.advance(REFETCH_AFTER);
    world.server.serves(&["a", "b"], None);
    world.server.busy.store(true, Ordering::Relaxed);
    assert_eq!((world.finds("b").await, world.finds("a").await), (Ok(false), Ok(true)));
    world.server.busy.store(false, Ordering::Relaxed);
    assert_eq!(world.finds("b").await, Ok(true));
}

#[tokio::test]
async fn what_is_no_key_set_counts_as_none() {
    let world = World::new();
    for body in ["", "[]", "<html>", "{\"keys\": 1}"] {
        *world.server.answer.lock().unwrap() = Some(Fetched { body: body.into(), max_age: None });
        assert_eq!(world.finds("a").await, Err(NoKeys), "{body}");
        world.clock.advance(REFETCH_AFTER);
    }
}

#[tokio::test]
async fn a_crowd_fetches_once() {
    let world = Arc::new(World::new());
    world.server.serves(&["a"], None);
    let crowd = (0..20).map(|_| {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.finds("a").await })
    });
    for one in futures::future::join_all(crowd).await {
        assert_eq!(one.unwrap(), Ok(true));
    }
    assert_eq!(world.server.asked(), 1);
}

fn registered(revision: u64, own: &str) -> ClientView {
    ClientView {
        id: ClientId::from_bytes([1; 16]),
        client_id: "app".to_owned(),
        metadata: serde_json::from_value(json!({ "jwks": { "keys": [key(own)] } })).unwrap(),
        credentials: Vec::new(),
        disabled: false,
        not_before: Timestamp(0),
        created_at: Timestamp(1),
        delegation: None,
        registration_access_sha256: None,
        revision,
    }
}

fn trusted(name: &str, kid: &str) -> TrustedIssuer {
    let issuer = json!({ "issuer": name, "scope": "read", "jwks": { "keys": [key(kid)] } });
    serde_json::from_value(issuer).unwrap()
}

#[tokio::test]
async fn registered_sets_of_a_client_and_of_those_it_trusts_are_parsed_once_a_revision_and_stay_apart() {
    let keys = ClientKeys::new(Arc::new(Server::default()), Arc::new(ManualClock::new(Timestamp(1), 7)));
    let holds = async |client: &ClientView, issuer: Option<TrustedIssuer>, kid: &str| {
        let assertion = assertion(kid);
        let set = match issuer {
            Some(issuer) => keys.of_issuer(tenant(), client, &issuer, &assertion).await.unwrap(),
            None => keys.of(tenant(), client, &assertion).await.unwrap(),
        };
        (assertion.has_key(&set), set)
    };
    let first = registered(1, "own");
    let (has, own) = holds(&first, None, "own").await;
    assert!(has && Arc::ptr_eq(&own, &holds(&first, None, "own").await.1));
    let (has, one) = holds(&first, Some(trusted("https://one.example", "one")), "one").await;
    assert!(
        has && Arc::ptr_eq(&one, &holds(&first, Some(trusted("https://one.example", "one")), "one").await.1)
    );
    assert!(holds(&first, Some(trusted("https://two.example", "two")), "two").await.0);
    assert!(!holds(&first, Some(trusted("https://two.example", "two")), "one").await.0);
    assert!(!holds(&first, None, "one").await.0);
    let second = registered(2, "other");
    assert!(!holds(&second, None, "own").await.0 && holds(&second, None, "other").await.0);
    assert!(holds(&second, Some(trusted("https://one.example", "new")), "new").await.0);
    assert!(!holds(&second, Some(trusted("https://one.example", "new")), "one").await.0);
}
