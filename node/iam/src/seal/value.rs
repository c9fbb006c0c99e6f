//! Personal values under data keys, each bound to its place.

use domicile_storage::codec;
use zeroize::Zeroizing;

use super::aead::{self, SealError};
use super::keyring::DataKey;
use crate::ids::{DataKeyId, Id, ProposalId, TenantId};
use crate::personal::Sealed;
use crate::proposal::RecordKey;
use crate::streams::StreamRef;

const SEALED_FORMAT: u8 = 1;

/// Where a value belongs; it opens nowhere else.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// A field of a stream's events and state.
    Stream {
        /// The stream.
        stream: StreamRef,
        /// The revision of the event that first held it.
        revision: u64,
        /// The field's name.
        field: &'a str,
    },
    /// A field of a record.
    Record {
        /// The record.
        record: RecordKey,
        /// The field's name.
        field: &'a str,
    },
    /// The actor's details, in each event of a proposal.
    Actor {
        /// The proposal.
        proposal: ProposalId,
    },
}

impl Place<'_> {
    fn associated(&self, tenant: TenantId) -> Vec<u8> {
        const LABEL: &[u8] = b"domicile sealed v1";
        let tenant = tenant.bytes();
        match self {
            Self::Stream { stream, revision, field } => aead::associated(&[
                LABEL,
                &tenant,
                &[0, stream.kind.number()],
                &stream.id,
                &revision.to_be_bytes(),
                field.as_bytes(),
            ]),
            Self::Record { record, field } => {
                aead::associated(&[LABEL, &tenant, &[1, record.kind.number()], &record.key, field.as_bytes()])
            }
            Self::Actor { proposal } => aead::associated(&[LABEL, &tenant, &[2], &proposal.bytes()]),
        }
    }

    fn revision(&self) -> u64 {
        match self {
            Self::Stream { revision, .. } => *revision,
            Self::Record { .. } | Self::Actor { .. } => 0,
        }
    }
}

/// Seals `plain` under `key`, whose id is `id`.
///
/// # Errors
/// [`SealError`].
pub fn seal_value(
    key: &DataKey,
    id: DataKeyId,
    tenant: TenantId,
    place: &Place<'_>,
    nonce: [u8; 12],
    plain: &[u8],
) -> Result<Sealed, SealError> {
    let ciphertext = aead::seal(key.data(id)?, nonce, &place.associated(tenant), plain)?;
    Ok(Sealed { key: id, revision: place.revision(), nonce, ciphertext })
}

/// Opens what [`seal_value`] gave for the same place.
///
/// # Errors
/// [`SealError::NotAuthentic`].
pub fn open_value(
    key: &DataKey,
    tenant: TenantId,
    place: &Place<'_>,
    sealed: &Sealed,
) -> Result<Zeroizing<String>, SealError> {
    let plain =
        aead::open(key.data(sealed.key)?, sealed.nonce, &place.associated(tenant), &sealed.ciphertext)?;
    let text = std::str::from_utf8(&plain)
        .map_err(|_| SealError::Malformed("sealed text is not UTF-8".to_owned()))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// The stored form of a value that stands alone (actor details).
///
/// # Errors
/// [`SealError::Malformed`].
pub fn encode_sealed(sealed: &Sealed) -> Result<Vec<u8>, SealError> {
    codec::encode_open(SEALED_FORMAT, sealed).map_err(|cause| SealError::Malformed(cause.to_string()))
}

/// From its stored form.
///
/// # Errors
/// [`SealError::Malformed`].
pub fn decode_sealed(bytes: &[u8]) -> Result<Sealed, SealError> {
    codec::split_format(bytes, &[SEALED_FORMAT])
        .and_then(|(_, body)| codec::decode_open(body))
        .map_err(|cause| SealError::Malformed(cause.to_string()))
}
