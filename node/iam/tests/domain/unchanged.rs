//! What is remembered of the applied state is what reading it again would find.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use domicile_iam::commands::{ClientPatch, TenantPatch};
use domicile_iam::execute::{Executor, ExecutorConfig};
use domicile_iam::ids::{ClientId, Id as _, TenantId, TokenId};
use domicile_iam::model::{AccessTokenClaims, ClientMetadata, ClientView, SigningAlgorithm, TenantSettings};
use domicile_iam::password::HashingLimits;
use domicile_iam::service::{Iam, IamParts, LocalOnly, Locality};
use domicile_raft::testing::SoloPartition;
use domicile_raft::{
    BoxFuture, Consistency, Incarnation, Leadership, Outcome, Partition, PartitionId, PartitionStatus,
    ReadError,
};
use domicile_storage::{Batch, Engine, EngineError, KeyRange, MemoryEngine, Order, Pair, Stamp};
use serde_json::json;
use tokio::sync::watch;

use crate::support::{Node, cheap, executor, new_tenant, zero};

/// A state that counts how often it is read.
struct Counted {
    inner: MemoryEngine,
    reads: AtomicUsize,
    gives_stamps: bool,
}

impl Counted {
    fn new(gives_stamps: bool) -> Arc<Self> {
        Arc::new(Self { inner: MemoryEngine::new(), reads: AtomicUsize::new(0), gives_stamps })
    }

    /// Since this was asked last.
    fn reads(&self) -> usize {
        self.reads.swap(0, Ordering::Relaxed)
    }
}

impl Engine for Counted {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.get(key)
    }
    fn stamp(&self) -> Option<Stamp> {
        self.inner.stamp().filter(|_| self.gives_stamps)
    }
    fn scan(&self, range: &KeyRange, order: Order, limit: usize) -> Result<Vec<Pair>, EngineError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.scan(range, order, limit)
    }
    fn commit(&self, batch: Batch) -> Result<(), EngineError> {
        self.inner.commit(batch)
    }
    fn sync(&self) -> Result<(), EngineError> {
        self.inner.sync()
    }
    fn size_on_disk(&self) -> Result<u64, EngineError> {
        self.inner.size_on_disk()
    }
}

/// What tokens and documents of a tenant are made of.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    display_name: String,
    client_disabled: bool,
    published: Vec<String>,
    signs: String,
}

async fn look(iam: &Iam, tenant: TenantId, client: &ClientView) -> Seen {
    let context = iam.tenant_by_slug("acme").await.unwrap().unwrap();
    let key = iam.signing_key(tenant, SigningAlgorithm::ES256).await.unwrap().unwrap();
    let jwks = iam.jwks(tenant).await.unwrap();
    Seen {
        display_name: context.display_name.clone(),
        client_disabled: iam.client(tenant, &client.client_id).await.unwrap().unwrap().disabled,
        published: jwks.keys.iter().map(|key| key.kid.clone()).collect(),
        signs: key.kid().to_owned(),
    }
}

/// Without RSA, whose keys take long to make.
fn settings() -> TenantSettings {
    TenantSettings { signing_algorithms: vec![SigningAlgorithm::ES256], ..TenantSettings::default() }
}

fn disabling() -> ClientPatch {
    ClientPatch { disabled: Some(true), ..ClientPatch::default() }
}

fn renaming() -> TenantPatch {
    TenantPatch { display_name: Some("Other".to_owned()), ..TenantPatch::default() }
}

#[tokio::test]
async fn nothing_is_read_again_until_something_is_applied_and_then_the_next_read_sees_it() {
    for gives_stamps in [true, false] {
        let engines = [Counted::new(gives_stamps), Counted::new(gives_stamps)];
        let node = Node::over_engines(engines.clone().map(|engine| engine as Arc<dyn Engine>));
        let reads = || engines.iter().map(|engine| engine.reads()).sum::<usize>();
        let new = new_tenant("acme", settings());
        let tenant = node.iam.create_tenant(&node.ctx(zero()), new).await.unwrap().reply.id;
        let client = node.web_client(tenant).await;
        let seen = || look(&node.iam, tenant, &client);
        let before = seen().await;
        reads();
        assert_eq!(seen().await, before);
        assert_eq!(reads() == 0, gives_stamps);

        node.iam.update_client(&node.ctx(tenant), client.id, disabling()).await.unwrap();
        assert!(!before.client_disabled && seen().await.client_disabled);
        node.iam.update_tenant(&node.ctx(tenant), renaming()).await.unwrap();
        assert_eq!(seen().await.display_name, "Other");
        let ctx = node.ctx(tenant);
        let made = node.iam.rotate_signing_keys(&ctx, SigningAlgorithm::ES256, false).await.unwrap().reply;
        let after = seen().await;
        assert_eq!(after.signs, made.to_string());
        assert_eq!(after.published, [before.signs, made.to_string()]);
        reads();
        assert_eq!(seen().await, after);
        assert_eq!(reads() == 0, gives_stamps);
    }
}

/// A node beside `node`, with the same directory and this replica of the home.
fn beside(node: &Node, home: Arc<dyn Partition>) -> Iam {
    let parts = IamParts {
        directory: executor(node.directory.clone(), &node.clock),
        homes: vec![at_home(node, home)],
        remote: Arc::new(LocalOnly),
        locality: Locality::default(),
        clock: node.clock.clone(),
        hashing: HashingLimits { threads: 1, queue_max: 64, cost: cheap() },
    };
    Iam::new(parts).unwrap()
}

fn at_home(node: &Node, replica: Arc<dyn Partition>) -> Arc<Executor> {
    let keyring = Arc::clone(node.iam.homes()[0].keyring());
    Executor::new(replica, keyring, node.clock.clone(), ExecutorConfig::default())
}

/// A replica whose state is replaced by another, as by a snapshot.
struct Replaced {
    before: Arc<SoloPartition>,
    after: Arc<SoloPartition>,
    is_after: AtomicBool,
}

impl Replaced {
    fn current(&self) -> &Arc<SoloPartition> {
        if self.is_after.load(Ordering::Acquire) { &self.after } else { &self.before }
    }
}

impl Partition for Replaced {
    fn id(&self) -> PartitionId {
        self.before.id()
    }
    fn incarnation(&self) -> Incarnation {
        self.before.incarnation()
    }
    fn propose(&self, body: Vec<u8>, deadline: Duration) -> BoxFuture<'_, Outcome> {
        self.current().propose(body, deadline)
    }
    fn read(&self, consistency: Consistency, deadline: Duration) -> BoxFuture<'_, Result<u64, ReadError>> {
        self.current().read(consistency, deadline)
    }
    fn state(&self) -> Arc<dyn Engine> {
        self.current().state()
    }
    fn applied(&self) -> u64 {
        self.current().applied()
    }
    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.before.leadership()
    }
    fn status(&self) -> PartitionStatus {
        self.current().status()
    }
}

#[tokio::test]
async fn a_state_that_a_snapshot_brought_is_seen_by_the_next_read() {
    let (node, [_, log]) = Node::recorded();
    let new = new_tenant("acme", settings());
    let tenant = node.iam.create_tenant(&node.ctx(zero()), new).await.unwrap().reply.id;
    let client = node.web_client(tenant).await;
    let before = log.replica();
    node.iam.update_client(&node.ctx(tenant), client.id, disabling()).await.unwrap();
    let replica = Arc::new(Replaced { before, after: log.replica(), is_after: AtomicBool::new(false) });
    let iam = beside(&node, replica.clone());
    for _ in 0..2 {
        assert!(!look(&iam, tenant, &client).await.client_disabled);
    }
    replica.is_after.store(true, Ordering::Release);
    assert!(look(&iam, tenant, &client).await.client_disabled);
}

#[tokio::test]
async fn a_home_that_left_and_came_back_with_the_same_index_is_read_anew() {
    let (node, [_, log]) = Node::recorded();
    let new = new_tenant("acme", settings());
    let tenant = node.iam.create_tenant(&node.ctx(zero()), new).await.unwrap().reply.id;
    let client = node.web_client(tenant).await;
    let (one, other) = (log.replica(), log.replica());
    let metadata = ClientMetadata { client_name: Some("Other".to_owned()), ..client.metadata.clone() };
    let named = ClientPatch { metadata: Some(metadata), ..ClientPatch::default() };
    for (replica, patch) in [(&one, disabling()), (&other, named)] {
        let iam = beside(&node, replica.clone());
        iam.update_client(&node.ctx(tenant), client.id, patch).await.unwrap();
    }
    assert_eq!(one.applied(), other.applied());
    let iam = beside(&node, one);
    for _ in 0..2 {
        assert!(look(&iam, tenant, &client).await.client_disabled);
    }
    assert!(iam.remove_home(PartitionId(1)).is_some());
    iam.add_home(at_home(&node, other));
    assert!(!look(&iam, tenant, &client).await.client_disabled);
}

#[tokio::test]
async fn what_tokens_said_leaves_the_memory_with_a_home() {
    let (node, _) = Node::recorded();
    let new = new_tenant("acme", settings());
    let tenant = node.iam.create_tenant(&node.ctx(zero()), new).await.unwrap().reply.id;
    let keys = node.iam.jwks(tenant).await.unwrap();
    let said = |sub: &str| -> AccessTokenClaims {
        let claims = json!({
            "iss": "https://id.example", "sub": sub, "aud": ["https://id.example"], "exp": 2, "iat": 1,
            "jti": TokenId::from_bytes([1; 16]), "client_id": "app",
            "dom_cli": ClientId::from_bytes([1; 16]), "dom_iat_ms": 1_000,
        });
        serde_json::from_value(claims).unwrap()
    };
    let read = |sub: &str| {
        let claims = node.iam.token_claims::<()>(tenant, "t", &keys, || Ok(said(sub)));
        claims.unwrap().sub.clone()
    };
    assert_eq!((read("ada"), read("bob")), ("ada".to_owned(), "ada".to_owned()));
    assert!(node.iam.remove_home(PartitionId(1)).is_some());
    assert_eq!(read("bob"), "bob");
}
