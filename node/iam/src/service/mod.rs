//! The façade: what the protocol layer and the node call. Writes go through the executor of the
//! tenant's home partition, reads through [`crate::query::Consistency`].

mod audit;
mod authorize;
mod browser;
mod cache;
mod clients;
mod failures;
mod housekeeping;
mod keys;
mod login;
mod route;
mod sessions;
mod tenant_creation;
mod tenants;
mod tokens;
mod users;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use domicile_raft::{Clock, PartitionId, PartitionStatus, Timestamp};

use crate::execute::{ExecuteError, Executor};
use crate::ids::{ClientId, SigningKeyId, TenantId};
use crate::keys::SigningKey;
use crate::model::{ClientView, TenantContext};
use crate::password::{HashingFault, HashingLimits, PasswordHasher};
use crate::query::QueryError;

use cache::{Cache, Versions};
use failures::Failures;
use keys::KeySet;

pub use keys::SigningKeyView;
pub use tokens::{RefreshTokenView, TokenStatus};

/// Identity and access management over the partitions of this node. Cheap to clone.
#[derive(Clone)]
pub struct Iam {
    inner: Arc<Inner>,
}

struct Inner {
    directory: Arc<Executor>,
    homes: BTreeMap<PartitionId, Arc<Executor>>,
    clock: Arc<dyn Clock>,
    hasher: PasswordHasher,
    failures: Failures,
    tenants: Cache<TenantId, Versions<TenantContext>>,
    slugs: Cache<String, TenantId>,
    clients: Cache<(TenantId, ClientId), Versions<ClientView>>,
    client_ids: Cache<(TenantId, String), ClientId>,
    key_sets: Cache<TenantId, Versions<KeySet>>,
    signing_keys: Cache<(TenantId, SigningKeyId), Arc<SigningKey>>,
}

/// What [`Iam`] is made of.
pub struct IamParts {
    /// Executor of partition 0.
    pub directory: Arc<Executor>,
    /// Executors of the partitions that hold tenants; at least one.
    pub homes: Vec<Arc<Executor>>,
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
                homes,
                clock: parts.clock,
                hasher,
                failures: Failures::default(),
                tenants: Cache::new(4_096),
                slugs: Cache::new(4_096),
                clients: Cache::new(16_384),
                client_ids: Cache::new(16_384),
                key_sets: Cache::new(4_096),
                signing_keys: Cache::new(16_384),
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
        let executors = std::iter::once(&self.inner.directory).chain(self.inner.homes.values());
        executors.map(|executor| executor.partition().status()).collect()
    }
}
