//! The façade: what the protocol layer and the node call. Writes go through the executor of the
//! tenant's home partition, reads through [`crate::query::Consistency`].

mod asker;
mod audit;
mod authorize;
mod browser;
mod cache;
mod clients;
mod cluster;
mod deadline;
mod developer;
mod devices;
mod directory;
mod failures;
mod freshness;
mod housekeeping;
mod keys;
mod keys_due;
mod known_tokens;
mod login;
mod logouts;
mod pushed;
mod registration;
mod remote;
#[cfg(test)]
mod remote_golden;
mod route;
mod second_factor;
mod session_expiry;
mod sessions;
mod steps;
mod system;
mod tenant_creation;
mod tenants;
mod tokens;
mod users;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, RwLock};

use domicile_raft::{Clock, PartitionId, PartitionStatus, Timestamp};

use crate::cache::Cache;
use crate::execute::{ExecuteError, Executor};
use crate::ids::{ClientId, SigningKeyId, TenantId};
use crate::keys::SigningKey;
use crate::model::{ClientView, TenantContext};
use crate::password::{HashingFault, HashingLimits, PasswordHasher};
use crate::query::QueryError;

use cache::Versions;
use failures::Failures;
use keys::KeySet;
use keys_due::KeysDue;
use known_tokens::KnownTokens;
use route::Ground;

pub use crate::model::ACR_PASSWORD;
pub use asker::Asker;
pub use cluster::{HomeChoice, Locality};
pub use devices::{DeviceStanding, WaitingDevice};
pub use directory::{PublicDocuments, Route};
pub use keys::SigningKeyView;
pub use logouts::{PendingLogout, Search};
pub use remote::{LocalOnly, RemoteError, RemotePartitions};
pub use steps::{RemoteCommand, Step};
pub use system::Enrolment;
pub use tokens::{RefreshTokenView, TokenStatus};

/// Identity and access management over the partitions of this node. Cheap to clone.
#[derive(Clone)]
pub struct Iam {
    inner: Arc<Inner>,
}

struct Inner {
    directory: Arc<Executor>,
    homes: RwLock<BTreeMap<PartitionId, Arc<Executor>>>,
    remote: Arc<dyn RemotePartitions>,
    locality: Locality,
    clock: Arc<dyn Clock>,
    hasher: PasswordHasher,
    failures: Failures,
    keys_due: KeysDue,
    tenants: Cache<TenantId, Versions<TenantContext>>,
    routes: Cache<TenantId, Versions<Route>>,
    /// Epoch and revision of the newest entry that was verified here since the start.
    entry_marks: Cache<TenantId, (u64, u64)>,
    home_ids: Cache<TenantId, Versions<PartitionId>>,
    grounds: Cache<TenantId, Versions<Ground>>,
    slugs: Cache<String, TenantId>,
    clients: Cache<(TenantId, ClientId), Versions<ClientView>>,
    client_ids: Cache<(TenantId, String), ClientId>,
    key_sets: Cache<TenantId, Versions<KeySet>>,
    signing_keys: Cache<(TenantId, SigningKeyId), Arc<SigningKey>>,
    known_tokens: KnownTokens,
}

/// What [`Iam`] is made of.
pub struct IamParts {
    /// Executor of partition 0.
    pub directory: Arc<Executor>,
    /// Executors of the partitions that hold tenants; more may come and go, see [`Iam::add_home`].
    pub homes: Vec<Arc<Executor>>,
    /// The way to partitions that other nodes lead; [`LocalOnly`] for a node alone.
    pub remote: Arc<dyn RemotePartitions>,
    /// Where this node is.
    pub locality: Locality,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
    /// Bounds of password hashing.
    pub hashing: HashingLimits,
}

impl Iam {
    /// Ready to serve once the partitions are.
    ///
    /// # Errors
    /// [`HashingFault::Failed`] if the hashing cost is out of Argon2's bounds.
    pub fn new(parts: IamParts) -> Result<Self, HashingFault> {
        let hasher = PasswordHasher::new(parts.hashing, Arc::clone(&parts.clock))?;
        let homes = parts.homes.into_iter().map(|home| (home.partition().id(), home)).collect();
        Ok(Self {
            inner: Arc::new(Inner {
                directory: parts.directory,
                homes: RwLock::new(homes),
                remote: parts.remote,
                locality: parts.locality,
                clock: parts.clock,
                hasher,
                failures: Failures::default(),
                keys_due: KeysDue::default(),
                tenants: Cache::new(4_096),
                routes: Cache::new(4_096),
                entry_marks: Cache::new(65_536),
                home_ids: Cache::new(16_384),
                grounds: Cache::new(16_384),
                slugs: Cache::new(4_096),
                clients: Cache::new(16_384),
                client_ids: Cache::new(16_384),
                key_sets: Cache::new(4_096),
                signing_keys: Cache::new(16_384),
                known_tokens: KnownTokens::default(),
            }),
        })
    }

    /// The time at `tenant`'s home, for what is issued without a write: the wall clock while it can be
    /// trusted, never behind log time, so that it compares with every `not_before`.
    ///
    /// # Errors
    /// [`QueryError::Unavailable`] after a jump of the wall clock.
    pub fn now(&self, tenant: TenantId) -> Result<Timestamp, QueryError> {
        let now: Result<Timestamp, ExecuteError<Infallible>> = self.home(tenant)?.now();
        now.map_err(|error| {
            if let ExecuteError::Unavailable { .. } = error {
                QueryError::Unavailable { retry_after_s: 1 }
            } else {
                QueryError::Fault(error.to_string())
            }
        })
    }

    /// Each partition as seen from this node, by id.
    pub fn cluster_status(&self) -> Vec<PartitionStatus> {
        let executors = std::iter::once(Arc::clone(&self.inner.directory)).chain(self.homes());
        executors.map(|executor| executor.partition().status()).collect()
    }
}
