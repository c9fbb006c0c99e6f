//! Signing keys.

use std::sync::Arc;

use super::Iam;
use crate::commands::KeyRefusal;
use crate::execute::{ExecuteError, RequestContext, Written};
use crate::ids::{SigningKeyId, TenantId};
use crate::keys::{Jwks, SigningKey, VerificationKey};
use crate::model::SigningAlgorithm;
use crate::query::QueryError;

impl Iam {
    /// The key that signs now, parsed once and cached. `None` while none is active (RSA keys are
    /// made in the background).
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn signing_key(
        &self,
        tenant: TenantId,
        algorithm: SigningAlgorithm,
    ) -> Result<Option<Arc<SigningKey>>, QueryError> {
        todo!()
    }

    /// The key set: published, active and retired keys. Cached until a key changes.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn jwks(&self, tenant: TenantId) -> Result<Arc<Jwks>, QueryError> {
        todo!()
    }

    /// The public key with this `kid` from the key set.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn verification_key(&self, tenant: TenantId, kid: &str) -> Result<Option<Arc<VerificationKey>>, QueryError> {
        todo!()
    }

    /// Makes and publishes a new key and lets it sign at once; the one before retires.
    ///
    /// # Errors
    /// [`KeyRefusal`].
    pub async fn rotate_signing_keys(
        &self,
        ctx: &RequestContext,
        algorithm: SigningAlgorithm,
    ) -> Result<Written<SigningKeyId>, ExecuteError<KeyRefusal>> {
        todo!()
    }

    /// One round of the background task: makes missing keys (RSA on a blocking thread) and moves
    /// each key to the phase its age asks for. Returns the steps taken; 0 means nothing was due.
    ///
    /// # Errors
    /// The first failure; the next round resumes.
    pub async fn drive_keys(&self, tenant: TenantId) -> Result<usize, QueryError> {
        todo!()
    }

    /// [`Iam::drive_keys`] for every tenant with its home here.
    ///
    /// # Errors
    /// The first failure, after all tenants were tried.
    pub async fn drive_all_keys(&self) -> Result<usize, QueryError> {
        todo!()
    }
}
