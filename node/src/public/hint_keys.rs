//! The keys that an `id_token_hint` is read with: also one that ended as planned, while a session may be as old as what
//! it signed (docs/adr/0020). It reads hints and nothing else.

use domicile_iam::model::TenantContext;
use domicile_oidc::jws::KeySet;
use domicile_oidc::{Form, id_token_hint};

use super::error::Fault;
use super::state::Shared;

impl Shared {
    /// For the hint of this request, if it has one.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn hint_keys(&self, tenant: &TenantContext, form: &Form) -> Result<KeySet, Fault> {
        let keys = self.keys(tenant).await?;
        match id_token_hint::missing_key(form, &keys.set) {
            Some(kid) => Ok(self.iam.ended_key(tenant.id, &kid)?.into_iter().collect()),
            None => Ok(keys.set.clone()),
        }
    }
}
