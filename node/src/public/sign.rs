//! Where tokens are signed.
//!
//! ES256 and EdDSA take some 20 to 40 us and are signed where they are asked for: a hop to another
//! thread costs half of that again. RS256 takes 1 to 1.5 ms, and a burst of it on the threads
//! that also serve consensus would hold up heartbeats by its length; it goes to blocking threads, as
//! many at once as there are processors.

use std::sync::Arc;

use domicile_iam::keys::SigningKey;
use domicile_iam::model::{SigningAlgorithm, TenantContext};
use domicile_oidc::jws::SignFault;
use tokio::sync::Semaphore;

use super::error::Fault;
use super::state::Shared;

/// Bounds how many slow signatures are made at once.
pub struct SigningPool {
    slots: Arc<Semaphore>,
}

impl SigningPool {
    /// A slot a processor.
    pub fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { slots: Arc::new(Semaphore::new(processors)) }
    }

    /// Runs `work`, which signs with `keys`.
    ///
    /// # Errors
    /// [`Fault::Internal`] if a key refuses, or the node is going down.
    pub async fn run<T, F>(&self, keys: &[&SigningKey], work: F) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, SignFault> + Send + 'static,
    {
        if keys.iter().all(|key| is_fast(key.alg())) {
            return work().map_err(logged);
        }
        let slot = self.slots.clone().acquire_owned().await.map_err(|_| Fault::Internal)?;
        let signed = tokio::task::spawn_blocking(move || {
            let signed = work();
            drop(slot);
            signed
        });
        signed.await.map_err(|_| Fault::Internal)?.map_err(logged)
    }
}

fn is_fast(algorithm: SigningAlgorithm) -> bool {
    match algorithm {
        SigningAlgorithm::RS256 => false,
        SigningAlgorithm::ES256 | SigningAlgorithm::EdDSA => true,
    }
}

fn logged(fault: SignFault) -> Fault {
    tracing::error!(%fault, "a token could not be signed");
    Fault::Internal
}

impl Shared {
    /// The key that signs with `algorithm` now.
    ///
    /// # Errors
    /// [`Fault::Unavailable`] while there is none yet: RSA keys are made in the background.
    pub async fn signing_key(
        &self,
        tenant: &TenantContext,
        algorithm: SigningAlgorithm,
    ) -> Result<Arc<SigningKey>, Fault> {
        let key = self.iam.signing_key(tenant.id, algorithm).await?;
        key.ok_or(Fault::Unavailable { retry_after_s: 1 })
    }
}
