//! The façade: what the protocol layer and the node call. Writes go through the executor of the
//! tenant's home partition, reads through [`Consistency`].

mod audit;
mod authorize;
mod clients;
mod keys;
mod sessions;
mod tenants;
mod tokens;
mod users;

use std::collections::BTreeMap;
use std::sync::Arc;

use domicile_raft::{Clock, PartitionId, PartitionStatus};

use crate::execute::Executor;
use crate::password::{HashingLimits, PasswordHasher};
use crate::query::QueryError;

pub use tokens::{RefreshTokenView, TokenStatus};

/// Identity and access management over the partitions of this node.
#[derive(Clone)]
pub struct Iam {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) directory: Arc<Executor>,
    pub(crate) homes: BTreeMap<PartitionId, Arc<Executor>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) hasher: PasswordHasher,
}

/// What [`Iam`] is made of.
pub struct IamParts {
    /// Executor of partition 0.
    pub directory: Arc<Executor>,
    /// Executors of the partitions that hold tenants.
    pub homes: Vec<Arc<Executor>>,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
    /// Bounds of password hashing.
    pub hashing: HashingLimits,
}

impl Iam {
    /// Ready to serve once the partitions are.
    pub fn new(parts: IamParts) -> Self {
        todo!()
    }

    /// Each partition as seen from this node, by id.
    pub fn cluster_status(&self) -> Vec<PartitionStatus> {
        todo!()
    }
}
