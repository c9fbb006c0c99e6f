//! A node without Raft: two partitions, a clock that the test holds, cheap password hashes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domicile_iam::apply::Machine;
use domicile_iam::commands::{Consent, CreateTenant, CreateUser, NewSession, PlainPassword};
use domicile_iam::execute::{Actor, Executor, ExecutorConfig, IdempotencyKey, RequestContext};
use domicile_iam::ids::{Id, RequestId, TenantId, UserId};
use domicile_iam::model::{
    AccessTokenClaims, Authentication, ClaimsRequest, ClientMetadata, ClientView, CodeRequest, Issue,
    PkceChallenge, TenantSettings, UserView,
};
use domicile_iam::password::{Argon2Cost, HashingLimits};
use domicile_iam::projections::DomainStreams;
use domicile_iam::proposal::{ActorKind, ActorRef};
use domicile_iam::query::Consistency;
use domicile_iam::seal::{Keyring, PartitionKey};
use domicile_iam::service::{Iam, IamParts, LocalOnly, Locality, TokenStatus};
use domicile_raft::testing::{ManualClock, SoloPartition};
use domicile_raft::{Clock, Partition, PartitionId, Timestamp};
use domicile_storage::{Engine, MemoryEngine};

use crate::replay::Recorder;

pub const START: Timestamp = Timestamp(1_800_000_000_000);
pub const REDIRECT: &str = "https://rp.example/cb";
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// Of [`VERIFIER`]: RFC 7636 appendix B.
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub const PASSWORD: &str = "correct horse battery";

const HASHING: HashingLimits = HashingLimits { threads: 2, queue_max: 64, cost: cheap() };

pub struct Node {
    pub iam: Iam,
    pub clock: Arc<ManualClock>,
    pub directory: Arc<SoloPartition>,
    pub home: Arc<SoloPartition>,
}

pub fn solo(id: u64) -> Arc<SoloPartition> {
    solo_over(id, Arc::new(MemoryEngine::default()))
}

fn solo_over(id: u64, engine: Arc<dyn Engine>) -> Arc<SoloPartition> {
    SoloPartition::new(PartitionId(id), engine, Arc::new(Machine::new(DomainStreams)))
}

pub fn executor(partition: Arc<dyn Partition>, clock: &Arc<ManualClock>) -> Arc<Executor> {
    let keyring = Keyring::new(PartitionKey::generate(partition.id(), &**clock));
    Executor::new(partition, keyring, clock.clone(), ExecutorConfig::default())
}

impl Node {
    pub fn new() -> Self {
        let (directory, home) = (solo(0), solo(1));
        Self::over(directory.clone(), home.clone(), directory, home, HASHING)
    }

    /// A node whose partitions keep their state in these.
    pub fn over_engines([directory, home]: [Arc<dyn Engine>; 2]) -> Self {
        let (directory, home) = (solo_over(0, directory), solo_over(1, home));
        Self::over(directory.clone(), home.clone(), directory, home, HASHING)
    }

    /// A node that remembers what its partitions were proposed.
    pub fn recorded() -> (Self, [Arc<Recorder>; 2]) {
        let (directory, home) = (solo(0), solo(1));
        let recorders = [Recorder::new(directory.clone()), Recorder::new(home.clone())];
        let [to_directory, to_home] = recorders.clone();
        (Self::over(directory, home, to_directory, to_home, HASHING), recorders)
    }

    fn over(
        directory: Arc<SoloPartition>,
        home: Arc<SoloPartition>,
        to_directory: Arc<dyn Partition>,
        to_home: Arc<dyn Partition>,
        hashing: HashingLimits,
    ) -> Self {
        let clock = Arc::new(ManualClock::new(START, 7));
        let parts = IamParts {
            directory: executor(to_directory, &clock),
            homes: vec![executor(to_home, &clock)],
            remote: Arc::new(LocalOnly),
            locality: Locality::default(),
            clock: clock.clone(),
            hashing,
        };
        Self { iam: Iam::new(parts).unwrap(), clock, directory, home }
    }

    /// A node with the tenant `acme`.
    pub async fn with_tenant() -> (Self, TenantId) {
        Self::with_settings(TenantSettings::default()).await
    }

    pub async fn with_settings(settings: TenantSettings) -> (Self, TenantId) {
        Self::new().and_tenant(settings).await
    }

    /// A node that works out hashes so, with the tenant `acme`.
    pub async fn with_hashing(hashing: HashingLimits) -> (Self, TenantId) {
        let (directory, home) = (solo(0), solo(1));
        let node = Self::over(directory.clone(), home.clone(), directory, home, hashing);
        node.and_tenant(TenantSettings::default()).await
    }

    async fn and_tenant(self, settings: TenantSettings) -> (Self, TenantId) {
        let node = self;
        let created = node.iam.create_tenant(&node.ctx(zero()), new_tenant("acme", settings)).await.unwrap();
        node.tick();
        (node, created.reply.id)
    }

    #[allow(clippy::unused_self, reason = "reads as the node's")]
    pub fn ctx(&self, tenant: TenantId) -> RequestContext {
        RequestContext {
            tenant,
            actor: Actor {
                who: ActorRef { kind: ActorKind::Operator, id: "operator-1".to_owned() },
                key: None,
                name: Some("Olive Operator".to_owned()),
            },
            request_id: RequestId::from_bytes([3; 16]),
            idempotency: None,
            deadline: Duration::from_secs(5),
            address: Some("192.0.2.7".to_owned()),
            agent: Some("test".to_owned()),
        }
    }

    pub fn keyed(&self, tenant: TenantId, key: &str) -> RequestContext {
        let idempotency = Some(IdempotencyKey { key: key.to_owned(), request_hash: [9; 32] });
        RequestContext { idempotency, ..self.ctx(tenant) }
    }

    /// Time goes on a little: what happens next is later than what happened before.
    pub fn tick(&self) {
        self.clock.advance(Duration::from_millis(5));
    }

    pub fn advance_ms(&self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
    }

    pub async fn user(&self, tenant: TenantId, name: &str) -> UserView {
        let new = CreateUser {
            username: name.to_owned(),
            email: Some(format!("{name}@example.org")),
            email_verified: true,
            password: Some(PlainPassword::new(PASSWORD)),
            ..CreateUser::default()
        };
        let user = self.iam.create_user(&self.ctx(tenant), new).await.unwrap().reply;
        self.tick();
        user
    }

    pub async fn client(
        &self,
        tenant: TenantId,
        metadata: serde_json::Value,
    ) -> (ClientView, Option<String>) {
        let metadata: ClientMetadata = serde_json::from_value(metadata).unwrap();
        let client = self.iam.register_client(&self.ctx(tenant), metadata, None).await.unwrap().reply;
        self.tick();
        client
    }

    /// A confidential client with code, refresh and client credentials.
    pub async fn web_client(&self, tenant: TenantId) -> ClientView {
        let metadata = serde_json::json!({
            "redirect_uris": [REDIRECT],
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
        });
        self.client(tenant, metadata).await.0
    }

    pub async fn session(&self, tenant: TenantId, user: UserId) -> NewSession {
        let authentication =
            Authentication { method: "pwd".to_owned(), at: self.clock.now(), acr: "urn:test".to_owned() };
        let session =
            self.iam.start_session(&self.ctx(tenant), user, authentication, None).await.unwrap().reply;
        self.tick();
        session
    }

    pub fn code_request(client: &ClientView, scopes: &[&str]) -> CodeRequest {
        CodeRequest {
            client: client.id,
            redirect_uri: REDIRECT.to_owned(),
            redirect_uri_given: true,
            scopes: set(scopes),
            challenge: Some(PkceChallenge { s256: CHALLENGE.to_owned() }),
            nonce: Some("n-0S6_WzA2Mj".to_owned()),
            claims: ClaimsRequest::default(),
            auth_time_wanted: false,
            acr: None,
            dpop_jkt: None,
            resources: BTreeSet::new(),
        }
    }

    pub async fn code(
        &self,
        tenant: TenantId,
        session: &NewSession,
        client: &ClientView,
        scopes: &[&str],
    ) -> String {
        let consent = Consent { scopes: set(scopes), ..Consent::default() };
        let request = Self::code_request(client, scopes);
        let issued =
            self.iam.issue_code(&self.ctx(tenant), session.view.id, request, Some(consent)).await.unwrap();
        self.tick();
        issued.reply.code
    }

    pub async fn redeem(&self, tenant: TenantId, client: &ClientView, code: &str) -> Redeemed {
        let ctx = self.ctx(tenant);
        let redeemed = self.iam.redeem_code(&ctx, client, code, Some(REDIRECT), Some(VERIFIER)).await;
        self.tick();
        redeemed.map(|written| written.reply)
    }

    pub async fn rotate(&self, tenant: TenantId, client: &ClientView, token: &str) -> Redeemed {
        let rotated = self.iam.rotate_refresh_token(&self.ctx(tenant), client, token, None).await;
        self.tick();
        rotated.map(|written| written.reply)
    }

    pub async fn status(&self, tenant: TenantId, claims: &AccessTokenClaims) -> TokenStatus {
        self.iam.check_access_token(tenant, claims, &Consistency::Linearizable).await.unwrap()
    }

    /// Types of all events of the tenant, in order.
    pub async fn event_types(&self, tenant: TenantId) -> Vec<String> {
        let page = domicile_iam::model::PageRequest { page_size: Some(200), page_token: None };
        let filter = domicile_iam::query::EventFilter::default();
        let page = self.iam.events(tenant, &page, &filter, &Consistency::Local).await.unwrap();
        assert!(page.next_page_token.is_none(), "more events than a page");
        page.items.into_iter().map(|event| event.event_type).collect()
    }
}

pub type Redeemed = Result<Issue, domicile_iam::execute::ExecuteError<domicile_iam::commands::TokenRefusal>>;

pub const fn cheap() -> Argon2Cost {
    Argon2Cost { memory_kib: 64, passes: 1, lanes: 1 }
}

pub fn zero() -> TenantId {
    TenantId::from_bytes([0; 16])
}

pub fn new_tenant(slug: &str, settings: TenantSettings) -> CreateTenant {
    CreateTenant {
        slug: slug.to_owned(),
        display_name: format!("The {slug} company"),
        issuer: format!("https://id.example/t/{slug}"),
        settings,
        placement: None,
    }
}

pub fn set(items: &[&str]) -> BTreeSet<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

/// What the protocol layer puts into an access token of `issue`.
pub fn claims_of(issue: &Issue, client: &ClientView) -> AccessTokenClaims {
    AccessTokenClaims {
        iss: "https://id.example/t/acme".to_owned(),
        sub: issue.user.to_string(),
        aud: Vec::new(),
        exp: issue.issued_at.seconds() + 600,
        iat: issue.issued_at.seconds(),
        jti: issue.token_id,
        client_id: client.client_id.clone(),
        scope: None,
        issued_at: issue.issued_at,
        user: Some(issue.user),
        client: issue.client,
        session: issue.session,
        grant: Some(issue.grant),
        family: Some(issue.family),
        auth_time: None,
        acr: None,
        confirmation: None,
        amr: Vec::new(),
        userinfo_claims: std::collections::BTreeMap::new(),
        act: None,
        may_act: None,
        sources: Vec::new(),
        claims_locales: Vec::new(),
    }
}

/// The refusal of a redemption or rotation.
pub fn refusal(outcome: Redeemed) -> domicile_iam::commands::TokenRefusal {
    match outcome {
        Err(domicile_iam::execute::ExecuteError::Refused(refusal)) => refusal,
        Err(other) => panic!("not refused: {other}"),
        Ok(_) => panic!("not refused"),
    }
}
