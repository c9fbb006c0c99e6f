//! Names in certificates, read strictly: `spiffe://<cluster>/region/<r>/zone/<z>/node/<id>` for a node,
//! `spiffe://<cluster>/region/<r>` for the authority of a region (SPIFFE-ID §2).

use std::fmt;

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::NodeId;
use crate::peer::{ClusterId, PeerIdentity};

const PLACE_BYTES_MAX: usize = 63;

/// A name that is not one of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not of the form, or with characters or lengths out of bounds.
    #[error("not a name of this kind of certificate: `{0}`")]
    Malformed(String),
    /// The certificate does not parse.
    #[error("not an X.509 version 3 certificate: {0}")]
    NotACertificate(String),
    /// None, or several, where exactly one URI belongs.
    #[error("{0} URI names in the certificate; exactly one is allowed")]
    Names(usize),
}

/// Who a node certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpiffeId {
    /// A [`ClusterId`].
    pub cluster: String,
    /// The node, with region and zone of 1 to 63 of `a-z 0-9 - _`.
    pub peer: PeerIdentity,
}

/// Whom an authority's certificate is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuthorityName {
    /// As in [`SpiffeId`].
    pub cluster: String,
    /// As in [`SpiffeId`].
    pub region: String,
}

impl SpiffeId {
    /// Reads the URI; nothing is trimmed, decoded or lowered.
    ///
    /// # Errors
    /// [`IdentityError::Malformed`].
    pub fn parse(uri: &str) -> Result<Self, IdentityError> {
        let parts = parts(uri)?;
        match parts.as_slice() {
            [cluster, "region", region, "zone", zone, "node", node] => {
                let peer = PeerIdentity {
                    node: node_id(node).ok_or_else(|| malformed(uri))?,
                    region: place(region).ok_or_else(|| malformed(uri))?,
                    zone: place(zone).ok_or_else(|| malformed(uri))?,
                };
                Ok(Self { cluster: cluster_name(cluster).ok_or_else(|| malformed(uri))?, peer })
            }
            _ => Err(malformed(uri)),
        }
    }

    /// The name in a node's certificate. Says nothing of who signed it.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        Self::parse(&only_uri(certificate)?)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PeerIdentity { node, region, zone } = &self.peer;
        write!(f, "spiffe://{}/region/{region}/zone/{zone}/node/{}", self.cluster, node.0)
    }
}

impl AuthorityName {
    /// Reads the URI as [`SpiffeId::parse`] does.
    ///
    /// # Errors
    /// [`IdentityError::Malformed`].
    pub fn parse(uri: &str) -> Result<Self, IdentityError> {
        match parts(uri)?.as_slice() {
            [cluster, "region", region] => Ok(Self {
                cluster: cluster_name(cluster).ok_or_else(|| malformed(uri))?,
                region: place(region).ok_or_else(|| malformed(uri))?,
            }),
            _ => Err(malformed(uri)),
        }
    }

    pub(super) fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        Self::parse(&only_uri(certificate)?)
    }
}

impl fmt::Display for AuthorityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/region/{}", self.cluster, self.region)
    }
}

fn only_uri(certificate: &CertificateDer<'_>) -> Result<String, IdentityError> {
    let parsed = EndEntityCert::try_from(certificate)
        .map_err(|cause| IdentityError::NotACertificate(cause.to_string()))?;
    let names: Vec<&str> = parsed.valid_uri_names().collect();
    match names.as_slice() {
        [only] => Ok((*only).to_owned()),
        other => Err(IdentityError::Names(other.len())),
    }
}

fn parts(uri: &str) -> Result<Vec<&str>, IdentityError> {
    let rest =
        uri.strip_prefix("spiffe://").filter(|rest| rest.len() <= 512).ok_or_else(|| malformed(uri))?;
    Ok(rest.split('/').collect())
}

fn cluster_name(text: &str) -> Option<String> {
    ClusterId::new(text).is_ok().then(|| text.to_owned())
}

fn place(text: &str) -> Option<String> {
    let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    ((1..=PLACE_BYTES_MAX).contains(&text.len()) && text.bytes().all(known)).then(|| text.to_owned())
}

/// One spelling per number: no sign, no leading zero; 0 is nobody.
fn node_id(text: &str) -> Option<NodeId> {
    let plain = text.len() <= 20 && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok().map(NodeId)).flatten()
}

fn malformed(uri: &str) -> IdentityError {
    IdentityError::Malformed(uri.chars().take(128).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "spiffe://c-1.example/region/eu-central/zone/a_1/node/17";

    #[test]
    fn a_name_reads_back_as_it_was_written() {
        assert_eq!(SpiffeId::parse(GOOD).unwrap().to_string(), GOOD);
        let authority = "spiffe://c/region/eu";
        assert_eq!(AuthorityName::parse(authority).unwrap().to_string(), authority);
    }

    #[test]
    fn every_other_spelling_is_refused() {
        let long = "x".repeat(64);
        let cases = [
            String::new(),
            GOOD.replace("spiffe", "SPIFFE"),
            GOOD.replace("/17", "/017"),
            GOOD.replace("/17", "/0"),
            GOOD.replace("/17", "/+17"),
            GOOD.replace("/17", "/17/"),
            GOOD.replace("/17", "/17?x"),
            GOOD.replace("/17", "/18446744073709551616"),
            GOOD.replace("eu-central", "EU"),
            GOOD.replace("eu-central", ""),
            GOOD.replace("eu-central", "eu%2dx"),
            GOOD.replace("eu-central", &long),
            GOOD.replace("c-1.example", ""),
            GOOD.replace("c-1.example", "user@host"),
            GOOD.replace("/zone/a_1", ""),
        ];
        for case in cases {
            assert!(SpiffeId::parse(&case).is_err(), "{case}");
        }
        assert!(AuthorityName::parse(GOOD).is_err());
    }
}
