//! Which rows a state has. The rows of the state before that the state after lacks are removed.

use std::collections::BTreeSet;

use super::host::{host_key, own_host};
use super::keys::{Projection, owner_prefix, tenant_prefix};
use crate::ids::Id;
use crate::model::Delegation;
use crate::streams::EventMeta;
use crate::streams::client::Client;
use crate::streams::cluster::{Cluster, ClusterNode, ClusterPartition, JoinToken, Region};
use crate::streams::directory::{DirectoryTenant, EntryPhase};
use crate::streams::family::Family;
use crate::streams::grant::Grant;
use crate::streams::initial_access_token::InitialAccessToken;
use crate::streams::session::Session;
use crate::streams::signing_key::{KeyPhase, SigningKeyState};
use crate::streams::tenant::Tenant;
use crate::streams::user::User;

/// A state that is listed.
pub(super) trait Project {
    /// The keys of its rows.
    fn rows(&self, meta: &EventMeta) -> BTreeSet<Vec<u8>>;
}

fn own_row(projection: Projection, meta: &EventMeta) -> Vec<u8> {
    [tenant_prefix(projection, meta.tenant), meta.stream.id.to_vec()].concat()
}

fn row_of(projection: Projection, meta: &EventMeta, owner: [u8; 16]) -> Vec<u8> {
    [owner_prefix(projection, meta.tenant, owner), meta.stream.id.to_vec()].concat()
}

impl Project for Tenant {
    fn rows(&self, _meta: &EventMeta) -> BTreeSet<Vec<u8>> {
        BTreeSet::new()
    }
}

impl Project for User {
    fn rows(&self, meta: &EventMeta) -> BTreeSet<Vec<u8>> {
        self.person.iter().map(|_| own_row(Projection::Users, meta)).collect()
    }
}

impl Project for Client {
    fn rows(&self, meta: &EventMeta) -> BTreeSet<Vec<u8>> {
        let Some(registration) = &self.registration else { return BTreeSet::new() };
        let owner = self.delegation.as_ref().and_then(Delegation::owner);
        let of_owner = owner.map(|user| row_of(Projection::ClientsOfOwner, meta, user.bytes()));
        let origins = registration.metadata.browser_origins().into_iter();
        let by_origin = origins.map(|origin| row_of(Projection::ClientsByOrigin, meta, host_key(&origin)));
        std::iter::once(own_row(Projection::Clients, meta)).chain(of_owner).chain(by_origin).collect()
    }
}

impl Project for InitialAccessToken {
    fn rows(&self, meta: &EventMeta) -> BTreeSet<Vec<u8>> {
        let kept = !self.revoked;
        kept.then(|| own_row(Projection::InitialAccessTokens, meta)).into_iter().collect()
    }
}

impl Project for Session {
    fn rows(&self, meta: &EventMeta) -> BTreeSet<Vec<u8>> {
        let open = self.ended_at.is_none();
        open.then(|| row_of(Projection::SessionsOfUser, meta, self.user.bytes())).into_iter().collect()
    }
}

impl Project for Grant {
    fn rows(&self, meta: &EventMeta) -> BTreeSet<Vec<u8>> {
        let rows = || {
            [
                row_of(Projection::GrantsOfUser, meta, self.user.bytes()),
                row_of(Projection::GrantsOfClient, meta, self.client.bytes()),
            ]
        };
        self.allowed.iter().flat_map(|_| rows()).collect()
    }
}

impl Project for Family {
    fn rows(&self, meta: &EventMeta) -> BTreeSet<Vec<u8>> {
        let Some(origin) = self.origin.as_ref().filter(|_| self.revoked_at.is_none()) else {
            return BTreeSet::new();
        };
        BTreeSet::from([
            row_of(Projection::FamiliesOfUser, meta, origin.user.bytes()),
            row_of(Projection::FamiliesOfClient, meta, origin.client.bytes()),
            row_of(Projection::FamiliesOfSession, meta, origin.session.bytes()),
        ])
    }
}

impl Project for SigningKeyState {
    fn rows(&self, meta: &EventMeta) -> BTreeSet<Vec<u8>> {
        let kept = self.phase != KeyPhase::Removed;
        kept.then(|| own_row(Projection::SigningKeys, meta)).into_iter().collect()
    }
}

impl Project for DirectoryTenant {
    fn rows(&self, meta: &EventMeta) -> BTreeSet<Vec<u8>> {
        let kept = self.phase != EntryPhase::Released;
        let mut rows: BTreeSet<_> =
            kept.then(|| own_row(Projection::DirectoryTenants, meta)).into_iter().collect();
        if let EntryPhase::Active { issuer: Some(issuer), .. } = &self.phase
            && let Some(host) = own_host(issuer)
        {
            rows.insert(row_of(Projection::TenantsByHost, meta, host_key(&host)));
        }
        rows
    }
}

impl Project for Cluster {
    fn rows(&self, _meta: &EventMeta) -> BTreeSet<Vec<u8>> {
        BTreeSet::new()
    }
}

impl Project for Region {
    fn rows(&self, meta: &EventMeta) -> BTreeSet<Vec<u8>> {
        BTreeSet::from([own_row(Projection::Regions, meta)])
    }
}

impl Project for ClusterNode {
    fn rows(&self, meta: &EventMeta) -> BTreeSet<Vec<u8>> {
        BTreeSet::from([own_row(Projection::ClusterNodes, meta)])
    }
}

impl Project for ClusterPartition {
    fn rows(&self, meta: &EventMeta) -> BTreeSet<Vec<u8>> {
        BTreeSet::from([own_row(Projection::ClusterPartitions, meta)])
    }
}

impl Project for JoinToken {
    fn rows(&self, meta: &EventMeta) -> BTreeSet<Vec<u8>> {
        let open = self.used.is_none() && !self.revoked;
        open.then(|| own_row(Projection::JoinTokens, meta)).into_iter().collect()
    }
}
