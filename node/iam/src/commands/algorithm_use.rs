//! Which clients need signatures by an algorithm, and that a tenant does not give it up under them.

use std::collections::BTreeSet;
use std::ops::Bound;

use domicile_storage::{KeyRange, Order};

use super::TenantRefusal;
use crate::execute::{DecideError, ReadFault, Reads};
use crate::ids::{ClientId, Id as _};
use crate::model::{ClientMetadata, GrantType, SigningAlgorithm, TenantSettings};
use crate::projections::{Projection, id_of_row, tenant_prefix};
use crate::streams::client::Client;
use crate::streams::{StreamRef, decode_state};
use crate::tables;

/// Clients that a refusal names at most.
const NAMED_MAX: usize = 20;
/// Clients that are read at a time.
const PAGE: usize = 256;

/// Members that name an algorithm of ours.
pub(super) fn signed_by(metadata: &ClientMetadata) -> Vec<(&'static str, SigningAlgorithm)> {
    let always = [
        ("id_token_signed_response_alg", metadata.id_token_signed_response_alg),
        ("access_token_signed_response_alg", metadata.access_token_signed_response_alg),
    ];
    let perhaps = [
        ("userinfo_signed_response_alg", metadata.userinfo_signed_response_alg),
        ("introspection_signed_response_alg", metadata.introspection_signed_response_alg),
    ];
    let perhaps = perhaps.into_iter().filter_map(|(field, algorithm)| Some((field, algorithm?)));
    always.into_iter().chain(perhaps).collect()
}

/// Whether the client is answered with a signature by one of `algorithms`: an ID token's only where a grant of it
/// gives ID tokens.
fn needs(metadata: &ClientMetadata, algorithms: &BTreeSet<SigningAlgorithm>) -> bool {
    let has = |grant| metadata.grant_types.contains(&grant);
    let has_users = has(GrantType::AuthorizationCode) || has(GrantType::DeviceCode);
    let counts = |field: &str| field != "id_token_signed_response_alg" || has_users;
    signed_by(metadata).iter().any(|(field, algorithm)| counts(field) && algorithms.contains(algorithm))
}

/// Refuses settings that keep no keys for what clients are registered for: those would get 503. The caller has read
/// the tenant's stream, as who registers for another algorithm than the default has.
///
/// # Errors
/// [`TenantRefusal::AlgorithmInUse`] with some of the clients.
pub(super) fn check_given_up(
    reads: &Reads<'_>,
    before: &TenantSettings,
    after: &TenantSettings,
) -> Result<(), DecideError<TenantRefusal>> {
    let given_up = before.signing_algorithms.iter().copied();
    let given_up: BTreeSet<SigningAlgorithm> =
        given_up.filter(|algorithm| !after.signing_algorithms.contains(algorithm)).collect();
    if given_up.is_empty() {
        return Ok(());
    }
    let (mut count, mut clients, mut last) = (0_u64, Vec::new(), None);
    loop {
        let page = page(reads, last)?;
        for id in &page {
            if let Some(client_id) = client_that_needs(reads, *id, &given_up)? {
                count += 1;
                if clients.len() < NAMED_MAX {
                    clients.push(client_id);
                }
            }
        }
        last = page.last().copied();
        if last.is_none() {
            break;
        }
    }
    if count == 0 {
        Ok(())
    } else {
        Err(DecideError::Refused(TenantRefusal::AlgorithmInUse { count, clients }))
    }
}

/// The next clients of the tenant; none after the last.
fn page(reads: &Reads<'_>, after: Option<ClientId>) -> Result<Vec<ClientId>, ReadFault> {
    let prefix = tenant_prefix(Projection::Clients, reads.tenant());
    let mut range = KeyRange::prefix(&prefix);
    if let Some(after) = after {
        range.start = Bound::Excluded([prefix.as_slice(), after.bytes().as_slice()].concat());
    }
    let rows = reads.engine().scan(&range, Order::Ascending, PAGE)?;
    Ok(rows.iter().filter_map(|(key, _)| id_of_row(key)).collect())
}

/// Its `client_id`, if it needs one of `algorithms`. Not a part of the read set: there may be many.
fn client_that_needs(
    reads: &Reads<'_>,
    id: ClientId,
    algorithms: &BTreeSet<SigningAlgorithm>,
) -> Result<Option<String>, ReadFault> {
    let row = tables::stream_row(reads.engine(), reads.tenant(), StreamRef::of::<Client>(id))?;
    let Some(row) = row else { return Ok(None) };
    let client: Client = decode_state(&row.state)?;
    let found = client.registration.filter(|found| needs(&found.metadata, algorithms));
    Ok(found.map(|found| found.client_id))
}
