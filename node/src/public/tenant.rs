//! Which tenant a path names.

use std::sync::Arc;

use domicile_iam::model::TenantContext;

use super::error::Fault;
use super::state::PublicState;

/// The tenant, also a disabled one: it still publishes its metadata and keys, so that what it issued
/// before can be looked at.
///
/// # Errors
/// [`Fault::NoTenant`], or what kept us from looking.
pub async fn known(state: &PublicState, slug: &str) -> Result<Arc<TenantContext>, Fault> {
    state.iam.tenant_by_slug(slug).await?.ok_or(Fault::NoTenant)
}

/// The tenant, if it serves.
///
/// # Errors
/// [`Fault::NoTenant`], [`Fault::TenantDisabled`], or what kept us from looking.
pub async fn serving(state: &PublicState, slug: &str) -> Result<Arc<TenantContext>, Fault> {
    let tenant = known(state, slug).await?;
    if tenant.disabled { Err(Fault::TenantDisabled) } else { Ok(tenant) }
}
