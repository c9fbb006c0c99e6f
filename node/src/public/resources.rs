//! Which resource servers tokens may be for (RFC 8707).

use std::collections::BTreeSet;

use domicile_iam::model::TenantContext;

use super::error::Fault;
use super::state::PublicState;

/// Whether all of `resources` are registered with the tenant: the issuer, and what its resource servers
/// call themselves.
///
/// # Errors
/// [`Fault`].
pub fn are_registered(
    state: &PublicState,
    tenant: &TenantContext,
    resources: &BTreeSet<String>,
) -> Result<bool, Fault> {
    for resource in resources.iter().filter(|resource| **resource != tenant.issuer) {
        if state.iam.resource_server(tenant.id, resource)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}
