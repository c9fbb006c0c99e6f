//! Resource servers and what tokens are for (RFC 8707).

use std::collections::BTreeSet;

use super::{ClientRefusal, TokenRefusal};
use crate::execute::{DecideError, Draft, ReadFault, Reads};
use crate::ids::ClientId;
use crate::proposal::ClaimKind;
use crate::streams::StreamRef;
use crate::streams::client::Client;
use crate::streams::tenant::Tenant;

const KIND: ClaimKind = ClaimKind::ResourceIdentifier;

/// Reserves the identifiers that `after` has and frees those that only `before` had: an identifier names
/// one resource server of the tenant.
pub(super) fn claim_identifiers(
    reads: &mut Reads<'_>,
    draft: &mut Draft,
    client: ClientId,
    (before, after): (&[String], &[String]),
) -> Result<(), DecideError<ClientRefusal>> {
    let stream = StreamRef::of::<Client>(client);
    let (before, after): (BTreeSet<&String>, BTreeSet<&String>) =
        (before.iter().collect(), after.iter().collect());
    for gone in before.difference(&after) {
        // One that was registered before identifiers were reserved is nobody's.
        if owner(reads, gone)? == Some(stream) {
            draft.release_claim(KIND, gone, stream);
        }
    }
    for wanted in after {
        match owner(reads, wanted)? {
            None => draft.take_claim(KIND, wanted, stream),
            Some(owner) if owner == stream => {}
            Some(_) => return Err(refused("has an identifier of another client")),
        }
    }
    Ok(())
}

fn owner(reads: &mut Reads<'_>, identifier: &str) -> Result<Option<StreamRef>, DecideError<ClientRefusal>> {
    match reads.claim(KIND, identifier) {
        Ok(owner) => Ok(owner),
        Err(ReadFault::NotNormal(_)) => Err(refused("has a value that is no identifier")),
        Err(other) => Err(other.into()),
    }
}

fn refused(rule: &'static str) -> DecideError<ClientRefusal> {
    DecideError::Refused(ClientRefusal::InvalidClientMetadata {
        field: "resource_identifiers".to_owned(),
        rule,
    })
}

/// What an access token is for: those of `granted` that are `asked` for, all of them where none is
/// (RFC 8707 §2.2). Where none was granted, it is for the issuer.
pub(super) fn narrow(
    reads: &mut Reads<'_>,
    granted: &BTreeSet<String>,
    asked: &BTreeSet<String>,
) -> Result<BTreeSet<String>, DecideError<TokenRefusal>> {
    if asked.is_empty() {
        return Ok(granted.clone());
    }
    if asked.is_subset(granted) {
        return Ok(asked.clone());
    }
    let tenant = reads.tenant();
    let tenant = reads.stream::<Tenant>(tenant)?.map(|tenant| tenant.state);
    let only_issuer = asked.iter().all(|asked| tenant.as_ref().is_some_and(|tenant| tenant.issuer == *asked));
    if granted.is_empty() && only_issuer {
        return Ok(BTreeSet::new());
    }
    Err(DecideError::Refused(TokenRefusal::InvalidTarget))
}
