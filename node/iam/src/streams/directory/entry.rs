//! What a tenant's root key signs for the directory.

use domicile_raft::PartitionId;
use domicile_raft::placement::Placement;
use domicile_storage::codec::{self, CodecError};
use serde::{Deserialize, Serialize};

use crate::ids::TenantId;
use crate::model::{Edge, Registration, SigningAlgorithm, TenantSettings};

/// Positional; without what discovery needs.
const FIRST_FORMAT: u8 = 1;
/// A map, to which fields may be added.
const ENTRY_FORMAT: u8 = 2;

/// A tenant's entry. The directory stores it but cannot make it: it lacks the root key. With it any
/// node serves discovery and keys, also one without a replica of the tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryEntry {
    /// Which.
    pub tenant: TenantId,
    /// Its name in paths.
    pub slug: String,
    /// `iss`.
    pub issuer: String,
    /// Where it lives.
    pub home: PartitionId,
    /// Raised when it moves.
    pub epoch: u64,
    /// Place in the tenant's chain that this tells of; a lower one never replaces a higher.
    pub revision: u64,
    /// The key that signs.
    #[serde(with = "serde_bytes")]
    pub root_public_key: [u8; 32],
    /// The key set as JSON (RFC 7517 §5); absent in entries of format 1.
    #[serde(default)]
    pub jwks: Option<String>,
    /// For discovery: algorithms for which keys are kept.
    #[serde(default)]
    pub signing_algorithms: Vec<SigningAlgorithm>,
    /// For discovery.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// For discovery.
    #[serde(default)]
    pub acr_values: Vec<String>,
    /// A disabled tenant answers nothing but its metadata.
    #[serde(default)]
    pub disabled: bool,
    /// What nodes outside the placement may do.
    #[serde(default)]
    pub edge: Edge,
    /// Where it may live; `None` where it asked for nothing.
    #[serde(default)]
    pub placement: Option<Placement>,
    /// Origin of a node near its home, for 421: a hint.
    #[serde(default)]
    pub home_origin: Option<String>,
    /// For discovery: whether authorization requests must be pushed (RFC 9126 §5).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_pushed_authorization_requests: bool,
    /// For discovery: whether `prompt=create` is offered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub self_registration: bool,
    /// For discovery: whether clients may register themselves (RFC 7591).
    #[serde(default, skip_serializing_if = "Registration::is_closed")]
    pub registration: Registration,
}

/// An entry of format 1.
#[derive(bincode::Encode, bincode::Decode)]
struct FirstEntry {
    tenant: TenantId,
    slug: String,
    issuer: String,
    home: PartitionId,
    epoch: u64,
    revision: u64,
    root_public_key: [u8; 32],
}

impl From<FirstEntry> for DirectoryEntry {
    fn from(first: FirstEntry) -> Self {
        let defaults = TenantSettings::default();
        Self {
            tenant: first.tenant,
            slug: first.slug,
            issuer: first.issuer,
            home: first.home,
            epoch: first.epoch,
            revision: first.revision,
            root_public_key: first.root_public_key,
            jwks: None,
            signing_algorithms: defaults.signing_algorithms,
            scopes: defaults.scopes,
            acr_values: defaults.acr_values,
            disabled: false,
            edge: Edge::Any,
            placement: None,
            home_origin: None,
            require_pushed_authorization_requests: false,
            self_registration: false,
            registration: Registration::Closed,
        }
    }
}

impl DirectoryEntry {
    /// The bytes to sign.
    ///
    /// # Errors
    /// [`CodecError::NotEncodable`].
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode_open(ENTRY_FORMAT, self)
    }

    /// From signed bytes. Verify the signature first.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let (format, body) = codec::split_format(bytes, &[FIRST_FORMAT, ENTRY_FORMAT])?;
        if format == FIRST_FORMAT {
            return codec::decode_fixed::<FirstEntry>(body).map(Self::from);
        }
        codec::decode_open(body)
    }

    /// Whether it says the same, whenever and near whichever node it was signed.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let moved = |entry: &Self| Self { revision: 0, home_origin: None, ..entry.clone() };
        moved(self) == moved(other) && self.home_origin.is_some() == other.home_origin.is_some()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]
    use super::*;
    use crate::ids::Id;

    fn first() -> FirstEntry {
        FirstEntry {
            tenant: TenantId::from_bytes([1; 16]),
            slug: "acme".to_owned(),
            issuer: "https://id.example/t/acme".to_owned(),
            home: PartitionId(3),
            epoch: 1,
            revision: 4,
            root_public_key: [2; 32],
        }
    }

    #[test]
    fn an_entry_of_format_1_is_still_read() {
        let bytes = codec::encode_fixed(FIRST_FORMAT, &first()).unwrap();
        let entry = DirectoryEntry::decode(&bytes).unwrap();
        assert_eq!((entry.home, entry.revision, entry.jwks.as_deref()), (PartitionId(3), 4, None));
        assert_eq!(entry.scopes, TenantSettings::default().scopes);
        let again = entry.encode().unwrap();
        assert_eq!(again.first(), Some(&ENTRY_FORMAT));
        assert_eq!(DirectoryEntry::decode(&again).unwrap(), entry);
        assert!(DirectoryEntry::decode(&[3, 0]).is_err());
    }

    #[test]
    fn a_later_signature_of_the_same_is_no_news() {
        let entry = DirectoryEntry::from(first());
        let later = DirectoryEntry { revision: 9, ..entry.clone() };
        assert!(entry.says_the_same(&later));
        assert!(!entry.says_the_same(&DirectoryEntry { disabled: true, ..entry.clone() }));
        let near = |origin: &str| DirectoryEntry { home_origin: Some(origin.to_owned()), ..entry.clone() };
        assert!(near("https://a").says_the_same(&near("https://b")));
        assert!(!near("https://a").says_the_same(&entry) && !entry.says_the_same(&near("https://a")));
    }
}
