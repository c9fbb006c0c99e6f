//! Whom this node believes: for each region, the certificates of its authorities.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::digest;
use domicile_storage::codec::{decode_fixed, encode_fixed, split_format};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::sync::watch;

use super::TlsError;
use super::identity::AuthorityName;

const FORMAT: u8 = 1;
const CERTIFICATE_BYTES_MAX: usize = 8 << 10;

/// SHA-256 of an authority's certificate (DER).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pin(pub [u8; 32]);

impl Pin {
    pub(super) fn of(der: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
        Self(bytes)
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The certificate of one region's authority.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthorityCertificate {
    der: CertificateDer<'static>,
    name: AuthorityName,
}

impl AuthorityCertificate {
    /// Reads DER of at most 8 KiB.
    ///
    /// # Errors
    /// [`TlsError::Certificate`] and [`TlsError::Identity`].
    pub fn from_der(der: &[u8]) -> Result<Self, TlsError> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(TlsError::Certificate(format!("{} bytes are too many", der.len())));
        }
        let der = CertificateDer::from(der.to_vec());
        let name = AuthorityName::of_certificate(&der)?;
        webpki::anchor_from_trusted_cert(&der).map_err(|e| TlsError::Certificate(e.to_string()))?;
        Ok(Self { der, name })
    }

    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// As [`AuthorityCertificate::from_der`].
    pub fn from_pem(text: &str) -> Result<Self, TlsError> {
        let der = CertificateDer::from_pem_slice(text.as_bytes())
            .map_err(|e| TlsError::Certificate(e.to_string()))?;
        Self::from_der(&der)
    }

    /// The bytes, for the wire and the directory.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// Of which cluster and region.
    #[must_use]
    pub fn name(&self) -> &AuthorityName {
        &self.name
    }

    /// What a join token carries.
    #[must_use]
    pub fn pin(&self) -> Pin {
        Pin::of(&self.der)
    }
}

impl fmt::Debug for AuthorityCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.name, self.pin())
    }
}

/// The authorities of one cluster by region. A region has several while its authority is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustBundle {
    cluster: String,
    regions: BTreeMap<String, BTreeMap<Pin, AuthorityCertificate>>,
}

impl TrustBundle {
    /// Believes nobody yet.
    #[must_use]
    pub fn new(cluster: &str) -> Self {
        Self { cluster: cluster.to_owned(), regions: BTreeMap::new() }
    }

    /// Believes `authority` for the region that it names.
    ///
    /// # Errors
    /// [`TlsError::ForeignCluster`].
    pub fn insert(&mut self, authority: AuthorityCertificate) -> Result<(), TlsError> {
        let AuthorityName { cluster, region } = authority.name();
        if *cluster != self.cluster {
            let (found, wanted) = (cluster.clone(), self.cluster.clone());
            return Err(TlsError::ForeignCluster { found, wanted });
        }
        self.regions.entry(region.clone()).or_default().insert(authority.pin(), authority);
        Ok(())
    }

    /// Stops believing one authority; says whether it was there.
    pub fn remove(&mut self, pin: Pin) -> bool {
        let found = self.regions.values_mut().any(|authorities| authorities.remove(&pin).is_some());
        self.regions.retain(|_, authorities| !authorities.is_empty());
        found
    }

    /// Of which cluster.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The authorities of `region`, in order of their pins.
    pub fn authorities(&self, region: &str) -> impl Iterator<Item = &AuthorityCertificate> {
        self.regions.get(region).into_iter().flat_map(BTreeMap::values)
    }

    /// All of them, by region.
    pub fn iter(&self) -> impl Iterator<Item = &AuthorityCertificate> {
        self.regions.values().flat_map(BTreeMap::values)
    }

    /// For the disk and the join answer: a format byte, the cluster, the certificates.
    ///
    /// # Errors
    /// [`TlsError::Codec`] when there are too many.
    pub fn encode(&self) -> Result<Vec<u8>, TlsError> {
        let certificates: Vec<Vec<u8>> = self.iter().map(|authority| authority.der().to_vec()).collect();
        Ok(encode_fixed(FORMAT, &(self.cluster.clone(), certificates))?)
    }

    /// Reads what [`TrustBundle::encode`] wrote.
    ///
    /// # Errors
    /// [`TlsError::Codec`], or a certificate that is none of this cluster's.
    pub fn decode(bytes: &[u8]) -> Result<Self, TlsError> {
        let (_, body) = split_format(bytes, &[FORMAT])?;
        let (cluster, certificates): (String, Vec<Vec<u8>>) = decode_fixed(body)?;
        let mut bundle = Self::new(&cluster);
        for der in certificates {
            bundle.insert(AuthorityCertificate::from_der(&der)?)?;
        }
        Ok(bundle)
    }
}

/// The bundle in force; every handshake reads it anew. Connections accepted with a certificate that it
/// does not believe any more are closed.
#[derive(Debug)]
pub struct TrustStore {
    current: ArcSwap<TrustBundle>,
    cluster: String,
    changed: watch::Sender<()>,
}

impl TrustStore {
    /// Starts with `bundle`; its cluster stays.
    #[must_use]
    pub fn new(bundle: TrustBundle) -> Self {
        let changed = watch::Sender::new(());
        Self { cluster: bundle.cluster.clone(), current: ArcSwap::from_pointee(bundle), changed }
    }

    /// Of which cluster.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The bundle in force.
    #[must_use]
    pub fn current(&self) -> Arc<TrustBundle> {
        self.current.load_full()
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Puts another bundle in force.
    ///
    /// # Errors
    /// [`TlsError::ForeignCluster`].
    pub fn update(&self, bundle: TrustBundle) -> Result<(), TlsError> {
        if bundle.cluster != self.cluster {
            return Err(TlsError::ForeignCluster { found: bundle.cluster, wanted: self.cluster.clone() });
        }
        self.current.store(Arc::new(bundle));
        self.changed.send_replace(());
        Ok(())
    }
}
