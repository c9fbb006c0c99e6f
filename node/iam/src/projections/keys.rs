//! Key layout of projections.

use crate::ids::{Id, TenantId};
use crate::streams::wire_enum;
use crate::tables::PROJECTION;

/// The one byte of a row's value.
pub(super) const ROW_FORMAT: u8 = 1;

wire_enum! {
    /// What is listed. A number is never used again.
    Projection {
        /// Users that are not erased.
        Users = 1,
        /// Clients that are not deleted.
        Clients = 2,
        /// The directory's tenants, reserved and routed.
        DirectoryTenants = 3,
        /// A user's sessions that were not ended.
        SessionsOfUser = 4,
        /// A user's grants.
        GrantsOfUser = 5,
        /// A client's grants.
        GrantsOfClient = 6,
        /// A user's families that were not revoked.
        FamiliesOfUser = 7,
        /// A client's families that were not revoked.
        FamiliesOfClient = 8,
        /// A session's families that were not revoked.
        FamiliesOfSession = 9,
        /// Signing keys that were not removed.
        SigningKeys = 10,
        /// The directory's regions.
        Regions = 11,
        /// The directory's nodes, also those that are gone: their ids are never used again.
        ClusterNodes = 12,
        /// The directory's partitions.
        ClusterPartitions = 13,
        /// Join tokens that were neither used nor revoked.
        JoinTokens = 14,
        /// Routed tenants by a hash of the host that is theirs alone.
        TenantsByHost = 15,
        /// Initial access tokens that were not revoked.
        InitialAccessTokens = 16,
        /// A user's own clients.
        ClientsOfOwner = 17,
        /// Clients by a hash of each origin that their pages have.
        ClientsByOrigin = 18,
    }
}

/// Where a tenant's rows of a projection begin; ids follow.
#[must_use]
pub fn tenant_prefix(projection: Projection, tenant: TenantId) -> Vec<u8> {
    let mut key = Vec::with_capacity(50);
    key.extend_from_slice(&[PROJECTION, projection.number()]);
    key.extend_from_slice(&tenant.bytes());
    key
}

/// Where an owner's rows begin; ids follow.
#[must_use]
pub fn owner_prefix(projection: Projection, tenant: TenantId, owner: [u8; 16]) -> Vec<u8> {
    let mut key = tenant_prefix(projection, tenant);
    key.extend_from_slice(&owner);
    key
}

/// The id at the end of a row's key.
#[must_use]
pub fn id_of_row<I: Id>(key: &[u8]) -> Option<I> {
    key.last_chunk::<16>().map(|bytes| I::from_bytes(*bytes))
}
