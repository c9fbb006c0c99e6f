//! Projections: rows derived from events inside apply, so that a committed write is listed at once.
//!
//! Every row is a key without content: (projection, tenant, owner where there is one, id). Ids sort by creation.

mod host;
mod keys;
mod project;

use domicile_raft::ApplyFault;
use domicile_storage::{Bug, Transaction, is_seeded};

use crate::streams::client::Client;
use crate::streams::cluster::{Cluster, ClusterNode, ClusterPartition, JoinToken, Region};
use crate::streams::directory::DirectoryTenant;
use crate::streams::family::Family;
use crate::streams::grant::Grant;
use crate::streams::initial_access_token::InitialAccessToken;
use crate::streams::session::Session;
use crate::streams::signing_key::SigningKeyState;
use crate::streams::tenant::Tenant;
use crate::streams::user::User;
use crate::streams::{Aggregate, EventMeta, RawEvent, Step, StreamKind, Streams, step};

pub(crate) use host::{host_key, own_host};
pub use keys::{Projection, id_of_row, owner_prefix, tenant_prefix};
use project::Project;

/// All streams of this version.
#[derive(Clone, Copy, Debug, Default)]
pub struct DomainStreams;

impl Streams for DomainStreams {
    fn apply(
        &self,
        transaction: &mut Transaction<'_>,
        _apply_version: u16,
        state: Option<&[u8]>,
        event: RawEvent<'_>,
        meta: &EventMeta,
    ) -> Result<Vec<u8>, ApplyFault> {
        match meta.stream.kind {
            StreamKind::Tenant => run::<Tenant>(transaction, state, event, meta),
            StreamKind::User => run::<User>(transaction, state, event, meta),
            StreamKind::Client => run::<Client>(transaction, state, event, meta),
            StreamKind::Session => run::<Session>(transaction, state, event, meta),
            StreamKind::Grant => run::<Grant>(transaction, state, event, meta),
            StreamKind::Family => run::<Family>(transaction, state, event, meta),
            StreamKind::SigningKey => run::<SigningKeyState>(transaction, state, event, meta),
            StreamKind::DirectoryTenant => run::<DirectoryTenant>(transaction, state, event, meta),
            StreamKind::Cluster => run::<Cluster>(transaction, state, event, meta),
            StreamKind::Region => run::<Region>(transaction, state, event, meta),
            StreamKind::ClusterNode => run::<ClusterNode>(transaction, state, event, meta),
            StreamKind::ClusterPartition => run::<ClusterPartition>(transaction, state, event, meta),
            StreamKind::JoinToken => run::<JoinToken>(transaction, state, event, meta),
            StreamKind::InitialAccessToken => run::<InitialAccessToken>(transaction, state, event, meta),
        }
    }
}

fn run<A: Aggregate + Project>(
    transaction: &mut Transaction<'_>,
    state: Option<&[u8]>,
    event: RawEvent<'_>,
    meta: &EventMeta,
) -> Result<Vec<u8>, ApplyFault> {
    let step: Step<A> = step(state, event, meta)?;
    let stored = step.encode_after()?;
    let before = step.before.as_ref().map(|state| state.rows(meta)).unwrap_or_default();
    let after = step.after.rows(meta);
    if is_seeded(Bug::SkippedProjection) && A::KIND == StreamKind::User && meta.at.0.is_multiple_of(3) {
        return Ok(stored);
    }
    for gone in before.difference(&after) {
        transaction.delete(gone.clone());
    }
    for new in after.difference(&before) {
        transaction.put(new.clone(), vec![keys::ROW_FORMAT]);
    }
    Ok(stored)
}
