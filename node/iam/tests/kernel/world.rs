//! One partition, its executor, a clock in hand, and the commands that tests run.

use std::sync::Arc;
use std::time::Duration;

use domicile_iam::apply::Machine;
use domicile_iam::execute::{
    Actor, Command, DecideError, Decision, Draft, ExecuteError, Executor, ExecutorConfig, Fresh,
    IdempotencyKey, Reads, RequestContext, Written,
};
use domicile_iam::ids::{Id, RequestId, TenantId, UserId};
use domicile_iam::personal::Personal;
use domicile_iam::proposal::{ActorKind, ActorRef, ClaimKind, RecordKind};
use domicile_iam::seal::{Keyring, PartitionKey};
use domicile_iam::streams::StreamRef;
use domicile_raft::testing::{ManualClock, SoloPartition};
use domicile_raft::{Clock, PartitionId, Timestamp};
use domicile_storage::{Engine, KeyRange, MemoryEngine, Order, Pair};

use crate::streams::{Account, AccountEvent, Hit, Opened, TestStreams};

pub const START: Timestamp = Timestamp(1_800_000_000_000);

pub struct World {
    pub clock: Arc<ManualClock>,
    pub partition: Arc<SoloPartition>,
    pub executor: Arc<Executor>,
    pub tenant: TenantId,
}

pub fn solo() -> Arc<SoloPartition> {
    SoloPartition::new(PartitionId(1), Arc::new(MemoryEngine::new()), Arc::new(Machine::new(TestStreams)))
}

pub fn dump(engine: &dyn Engine) -> Vec<Pair> {
    engine.scan(&KeyRange::prefix(&[]), Order::Ascending, usize::MAX).unwrap()
}

impl World {
    /// With a tenant in it.
    pub async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(START, 7));
        let partition = solo();
        let keyring = Keyring::new(PartitionKey::generate(PartitionId(1), &*clock));
        let config = ExecutorConfig { backoff: Duration::from_millis(1), ..ExecutorConfig::default() };
        let executor =
            Executor::new(Arc::clone(&partition) as _, keyring, Arc::clone(&clock) as Arc<dyn Clock>, config);
        let tenant = TenantId::new(START, [1; 10]);
        let world = Self { clock, partition, executor, tenant };
        world.run(&CreateTenant).await.unwrap();
        world
    }

    pub fn context(&self) -> RequestContext {
        RequestContext {
            tenant: self.tenant,
            actor: Actor {
                who: ActorRef { kind: ActorKind::Operator, id: "op".to_owned() },
                key: None,
                name: Some("Olga Operator".to_owned()),
            },
            request_id: RequestId::new(START, [2; 10]),
            idempotency: None,
            deadline: Duration::from_secs(5),
            address: Some("192.0.2.1".to_owned()),
            agent: None,
        }
    }

    pub fn idempotent(&self, key: &str, request: u8) -> RequestContext {
        let key = IdempotencyKey { key: key.to_owned(), request_hash: [request; 32] };
        RequestContext { idempotency: Some(key), ..self.context() }
    }

    pub async fn run<C: Command>(&self, command: &C) -> Result<Written<C::Reply>, ExecuteError<C::Refusal>> {
        self.executor.execute(&self.context(), command).await
    }

    pub async fn opened(&self, login: &str) -> UserId {
        self.run(&Open { login: login.to_owned() }).await.unwrap().reply
    }

    pub async fn hits(&self, user: UserId) -> u64 {
        self.run(&Peek { user }).await.unwrap().reply
    }

    pub fn dump(&self) -> Vec<Pair> {
        dump(&*self.executor.engine())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum No {
    #[error("taken")]
    Taken,
    #[error("not found")]
    NotFound,
}

pub struct CreateTenant;

impl Command for CreateTenant {
    type Reply = ();
    type Refusal = No;
    const NAME: &'static str = "tenant.create";
    const CREATES_TENANT: bool = true;

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Result<Decision<()>, DecideError<No>> {
        if reads.tenant_exists() {
            return Err(DecideError::Refused(No::Taken));
        }
        Ok(Decision::Propose(Draft::new(), ()))
    }
}

/// Opens an account with a new key, under a login name that nobody else has.
pub struct Open {
    pub login: String,
}

impl Command for Open {
    type Reply = UserId;
    type Refusal = No;
    const NAME: &'static str = "account.open";

    fn decide(&self, reads: &mut Reads<'_>, fresh: &mut Fresh) -> Result<Decision<UserId>, DecideError<No>> {
        if reads.claim(ClaimKind::LoginName, &self.login)?.is_some() {
            return Err(DecideError::Refused(No::Taken));
        }
        let user: UserId = fresh.id();
        let mut draft = Draft::new();
        draft.put_user_key(user, &fresh.secret());
        draft.take_claim(ClaimKind::LoginName, &self.login, StreamRef::of::<Account>(user));
        let name = Personal::plain(format!("name of {}", self.login));
        draft.append::<Account>(user, 0, AccountEvent::Opened(Opened { name }));
        Ok(Decision::Propose(draft, user))
    }
}

pub struct Add {
    pub user: UserId,
    pub by: u64,
}

impl Command for Add {
    type Reply = u64;
    type Refusal = No;
    const NAME: &'static str = "account.add";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Result<Decision<u64>, DecideError<No>> {
        let account = reads.stream::<Account>(self.user)?.ok_or(DecideError::Refused(No::NotFound))?;
        let mut draft = Draft::new();
        draft.append::<Account>(self.user, account.version, AccountEvent::Hit(Hit { by: self.by }));
        Ok(Decision::Propose(draft, account.state.hits + self.by))
    }
}

pub struct Peek {
    pub user: UserId,
}

impl Command for Peek {
    type Reply = u64;
    type Refusal = No;
    const NAME: &'static str = "account.peek";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Result<Decision<u64>, DecideError<No>> {
        let account = reads.stream::<Account>(self.user)?.ok_or(DecideError::Refused(No::NotFound))?;
        Ok(Decision::Answer(account.state.hits))
    }
}

/// The account's name, opened.
pub struct Name {
    pub user: UserId,
}

impl Command for Name {
    type Reply = String;
    type Refusal = No;
    const NAME: &'static str = "account.name";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Result<Decision<String>, DecideError<No>> {
        let account = reads.stream::<Account>(self.user)?.ok_or(DecideError::Refused(No::NotFound))?;
        let name = account.state.name.as_ref().ok_or(DecideError::Refused(No::NotFound))?;
        let text = reads.open(StreamRef::of::<Account>(self.user), "name", name)?;
        Ok(Decision::Answer(text.to_string()))
    }
}

pub struct Erase {
    pub user: UserId,
}

impl Command for Erase {
    type Reply = ();
    type Refusal = No;
    const NAME: &'static str = "account.erase";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Result<Decision<()>, DecideError<No>> {
        let account = reads.stream::<Account>(self.user)?.ok_or(DecideError::Refused(No::NotFound))?;
        let mut draft = Draft::new();
        draft.append::<Account>(self.user, account.version, AccountEvent::Hit(Hit { by: 0 }));
        draft.destroy_key(domicile_iam::execute::user_key(self.user));
        Ok(Decision::Propose(draft, ()))
    }
}

/// Ends the tenant: with its key, all of its keys are gone.
pub struct EndTenant;

impl Command for EndTenant {
    type Reply = ();
    type Refusal = No;
    const NAME: &'static str = "tenant.end";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Result<Decision<()>, DecideError<No>> {
        let mut draft = Draft::new();
        draft.destroy_key(reads.tenant_keys().tenant);
        Ok(Decision::Propose(draft, ()))
    }
}

pub struct PutCode {
    pub key: [u8; 32],
    pub lifetime_ms: u64,
}

impl Command for PutCode {
    type Reply = ();
    type Refusal = No;
    const NAME: &'static str = "code.put";

    fn decide(&self, _reads: &mut Reads<'_>, fresh: &mut Fresh) -> Result<Decision<()>, DecideError<No>> {
        let mut draft = Draft::new();
        let expires_at = fresh.at().plus_ms(self.lifetime_ms);
        draft.put_record(RecordKind::AuthorizationCode, self.key, &"code", expires_at);
        Ok(Decision::Propose(draft, ()))
    }
}

pub struct TakeCode {
    pub key: [u8; 32],
}

impl Command for TakeCode {
    type Reply = String;
    type Refusal = No;
    const NAME: &'static str = "code.take";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Result<Decision<String>, DecideError<No>> {
        let row = reads
            .record::<String>(RecordKind::AuthorizationCode, self.key)?
            .ok_or(DecideError::Refused(No::NotFound))?;
        let mut draft = Draft::new();
        draft.take_record(RecordKind::AuthorizationCode, self.key);
        Ok(Decision::Propose(draft, row.body))
    }
}
