//! A region and the certificates of its authority.

use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{aggregate, check_certificate, check_name};
use crate::commands::{ClusterRefusal, sha256};
use crate::ids::RegionStreamId;
use crate::streams::event_set::{Change, Payload, event_set};

/// Certificates that a region has at once: the old and the new while one is replaced, and some more.
const CERTIFICATES_MAX: usize = 8;

event_set! {
    /// Events of a region.
    RegionEvent {
        /// Nodes may join it from here on.
        Added(RegionAdded) => "region.added", 1;
        /// Another certificate is trusted for its nodes.
        CertificateAdded(RegionCertificateAdded) => "region.certificate.added", 1;
        /// A certificate is trusted no more.
        CertificateRemoved(RegionCertificateRemoved) => "region.certificate.removed", 1;
        /// Another law holds there, or what was said of it was wrong.
        JurisdictionChanged(RegionJurisdictionChanged) => "region.jurisdiction.changed", 1;
    }
}

/// `region.added`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionAdded {
    /// Such as `eu-central`.
    pub name: String,
    /// Such as `eu`.
    pub jurisdiction: String,
    /// Certificate of its authority, DER.
    #[serde(with = "serde_bytes")]
    pub certificate: Vec<u8>,
}

impl Payload for RegionAdded {}

/// `region.certificate.added`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionCertificateAdded {
    /// DER.
    #[serde(with = "serde_bytes")]
    pub certificate: Vec<u8>,
}

impl Payload for RegionCertificateAdded {}

/// `region.certificate.removed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionCertificateRemoved {
    /// SHA-256 of the DER.
    #[serde(with = "serde_bytes")]
    pub sha256: [u8; 32],
}

impl Payload for RegionCertificateRemoved {}

/// `region.jurisdiction.changed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionJurisdictionChanged {
    /// Such as `eu`.
    pub jurisdiction: Change<String>,
}

impl Payload for RegionJurisdictionChanged {}

/// A region as its events made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// Such as `eu-central`.
    pub name: String,
    /// Such as `eu`.
    pub jurisdiction: String,
    /// DER, oldest first.
    pub certificates: Vec<ByteBuf>,
    /// When it was added.
    pub created_at: Timestamp,
}

impl Region {
    pub(crate) fn evolve(state: Option<Self>, event: &RegionEvent, at: Timestamp) -> Self {
        let mut region = state.unwrap_or(Self {
            name: String::new(),
            jurisdiction: String::new(),
            certificates: Vec::new(),
            created_at: at,
        });
        match event {
            RegionEvent::Added(added) => {
                region.name.clone_from(&added.name);
                region.jurisdiction.clone_from(&added.jurisdiction);
                region.certificates = vec![ByteBuf::from(added.certificate.clone())];
            }
            RegionEvent::CertificateAdded(added) => {
                region.certificates.push(ByteBuf::from(added.certificate.clone()));
            }
            RegionEvent::CertificateRemoved(removed) => {
                region.certificates.retain(|der| sha256(der) != removed.sha256);
            }
            RegionEvent::JurisdictionChanged(changed) => {
                region.jurisdiction.clone_from(&changed.jurisdiction.after);
            }
        }
        region
    }
}

aggregate!(Region, Region, RegionStreamId, RegionEvent);

/// Trusts another certificate; `None` if it is trusted already.
///
/// # Errors
/// [`ClusterRefusal::Invalid`] if it is too long or one too many.
pub fn decide_certificate_add(region: &Region, der: &[u8]) -> Result<Option<RegionEvent>, ClusterRefusal> {
    check_certificate(der)?;
    if region.certificates.iter().any(|known| known.as_slice() == der) {
        return Ok(None);
    }
    if region.certificates.len() >= CERTIFICATES_MAX {
        let rule = format!("would be more than {CERTIFICATES_MAX}");
        return Err(ClusterRefusal::Invalid { field: "certificates".to_owned(), rule });
    }
    let added = RegionCertificateAdded { certificate: der.to_vec() };
    Ok(Some(RegionEvent::CertificateAdded(added)))
}

/// Trusts a certificate no more; `None` if it is not trusted. The last one stays.
///
/// # Errors
/// [`ClusterRefusal::Invalid`] for the last one.
pub fn decide_certificate_remove(
    region: &Region,
    sha256_of: [u8; 32],
) -> Result<Option<RegionEvent>, ClusterRefusal> {
    if !region.certificates.iter().any(|der| sha256(der) == sha256_of) {
        return Ok(None);
    }
    if region.certificates.len() == 1 {
        let rule = "would be empty: no node of the region could prove itself".to_owned();
        return Err(ClusterRefusal::Invalid { field: "certificates".to_owned(), rule });
    }
    let removed = RegionCertificateRemoved { sha256: sha256_of };
    Ok(Some(RegionEvent::CertificateRemoved(removed)))
}

/// Another law holds in the region; `None` if it is the one that is known.
///
/// # Errors
/// [`ClusterRefusal::Invalid`].
pub fn decide_jurisdiction(
    region: &Region,
    jurisdiction: &str,
) -> Result<Option<RegionEvent>, ClusterRefusal> {
    check_name("jurisdiction", jurisdiction)?;
    let change = Change::between(region.jurisdiction.clone(), jurisdiction.to_owned());
    let changed = change.map(|jurisdiction| RegionJurisdictionChanged { jurisdiction });
    Ok(changed.map(RegionEvent::JurisdictionChanged))
}
