//! A region's certificate authority: every node of the region holds it and signs its own certificate,
//! so that renewal needs nobody else.

use std::fs;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

use super::TlsError;
use super::identity::{AuthorityName, SpiffeId};
use super::private_file;
use super::trust::AuthorityCertificate;
use super::verify::{Usage, verify_chain};
use crate::Timestamp;
use crate::peer::PeerIdentity;

const HEADER: &str = "domicile-region-authority 1\n";
const CA_YEARS: u64 = 30;
/// A certificate is valid from this much before it was made: peers' clocks may be behind ours.
const BACKDATED_MS: u64 = 24 * 3_600_000;

/// The key and certificate of one region's authority (ECDSA P-256).
pub struct RegionAuthority {
    key: KeyPair,
    params: CertificateParams,
    certificate: AuthorityCertificate,
}

impl std::fmt::Debug for RegionAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegionAuthority").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl RegionAuthority {
    /// Makes a new authority, valid for 30 years from `now`.
    ///
    /// # Errors
    /// [`TlsError::Identity`] for a cluster or region that no name may carry.
    pub fn generate(cluster: &str, region: &str, now: Timestamp) -> Result<Self, TlsError> {
        let name = AuthorityName::parse(&format!("spiffe://{cluster}/region/{region}"))?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = ca_params(&name)?;
        params.not_before = date(now.0.saturating_sub(BACKDATED_MS))?;
        params.not_after = date(now.plus_ms(CA_YEARS * 365 * 24 * 3_600_000).0)?;
        let der = params.self_signed(&key)?;
        let certificate = AuthorityCertificate::from_der(der.der())?;
        Ok(Self { key, params, certificate })
    }

    /// The certificate, for trust bundles and join tokens.
    #[must_use]
    pub fn certificate(&self) -> &AuthorityCertificate {
        &self.certificate
    }

    /// Certificate **and key** as PEM below a format line.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let encoded = pem_block("CERTIFICATE", self.certificate.der());
        format!("{HEADER}{encoded}{}", self.key.serialize_pem())
    }

    /// Reads what [`RegionAuthority::to_pem`] wrote, and checks that the key is the certificate's.
    ///
    /// # Errors
    /// [`TlsError::Certificate`] and [`TlsError::Identity`].
    pub fn from_pem(text: &str, now: Timestamp) -> Result<Self, TlsError> {
        let refused = |cause: String| TlsError::Certificate(cause);
        let body = text
            .strip_prefix(HEADER)
            .ok_or_else(|| refused("not of a format this version reads".to_owned()))?;
        let certificate = AuthorityCertificate::from_pem(body)?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(body.as_bytes()).map_err(|e| refused(e.to_string()))?;
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256)?;
        let params = ca_params(certificate.name())?;
        let authority = Self { key, params, certificate };
        authority.prove_the_key(now)?;
        Ok(authority)
    }

    /// Writes [`RegionAuthority::to_pem`] to `path`, mode 0600.
    ///
    /// # Errors
    /// [`TlsError::File`].
    pub fn store(&self, path: &Path) -> Result<(), TlsError> {
        private_file::replace(path, self.to_pem().as_bytes()).map_err(|source| TlsError::File {
            path: path.to_owned(),
            action: "write",
            source,
        })
    }

    /// Reads what [`RegionAuthority::store`] wrote.
    ///
    /// # Errors
    /// As [`RegionAuthority::from_pem`], and [`TlsError::File`].
    pub fn load(path: &Path, now: Timestamp) -> Result<Self, TlsError> {
        let text = fs::read_to_string(path).map_err(|source| TlsError::File {
            path: path.to_owned(),
            action: "read",
            source,
        })?;
        Self::from_pem(&text, now)
    }

    /// A secret for the one use that `label` names (RFC 5869): whoever holds the authority's key derives the same,
    /// which is every node of the region, and nobody else can.
    ///
    /// # Errors
    /// [`TlsError::Certificate`] if none can be derived.
    pub fn derive(&self, label: &str) -> Result<[u8; 32], TlsError> {
        let mut secret = [0_u8; 32];
        Salt::new(HKDF_SHA256, &[])
            .extract(self.key.serialized_der())
            .expand(&[label.as_bytes()], HKDF_SHA256)
            .and_then(|derived| derived.fill(&mut secret))
            .map_err(|_| TlsError::Certificate("no secret can be derived from the key".to_owned()))?;
        Ok(secret)
    }

    /// Signs a certificate for `peer`, valid for `lifetime` from `now`, under a new key.
    ///
    /// # Errors
    /// [`TlsError::Certificate`] for a peer of another region.
    pub fn issue(&self, peer: &PeerIdentity, lifetime: Duration, now: Timestamp) -> Result<Leaf, TlsError> {
        let AuthorityName { cluster, region } = self.certificate.name();
        if peer.region != *region {
            let reason = format!("the authority of `{region}` signs nothing for `{}`", peer.region);
            return Err(TlsError::Certificate(reason));
        }
        let id = SpiffeId { cluster: cluster.clone(), peer: peer.clone() }.to_string();
        SpiffeId::parse(&id)?;
        let expires = now.plus_ms(u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX));
        let mut params = CertificateParams::default();
        params.not_before = date(now.0.saturating_sub(BACKDATED_MS))?;
        params.not_after = date(expires.0)?;
        params.distinguished_name = common_name(&format!("node {}", peer.node.0));
        params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(id)?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let signed = params.signed_by(&key, &Issuer::from_params(&self.params, &self.key))?;
        Ok(Leaf { certificate: signed.der().clone(), key: key.serialize_der().into(), expires })
    }

    /// A certificate that this key signed must chain to this certificate.
    fn prove_the_key(&self, now: Timestamp) -> Result<(), TlsError> {
        let region = self.certificate.name().region.clone();
        let probe = PeerIdentity { node: crate::NodeId(1), region, zone: "probe".to_owned() };
        let leaf = self.issue(&probe, Duration::from_mins(1), now)?;
        let at = Duration::from_millis(now.0);
        verify_chain(&leaf.certificate, std::iter::once(&self.certificate), at, Usage::Server)
            .map_err(|cause| TlsError::Certificate(format!("the key is not the certificate's: {cause}")))
    }
}

/// A node's certificate and its key, which is in memory only.
pub struct Leaf {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: PrivatePkcs8KeyDer<'static>,
    pub(super) expires: Timestamp,
}

impl Leaf {
    /// The certificate and its key, for something else than a [`NodeCertificate`](super::NodeCertificate).
    #[must_use]
    pub fn into_parts(self) -> (CertificateDer<'static>, PrivatePkcs8KeyDer<'static>) {
        (self.certificate, self.key)
    }
}

fn ca_params(name: &AuthorityName) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::default();
    // INVARIANT: the subject follows from the name alone, so that an authority read from disk signs as it did.
    params.distinguished_name = common_name(&format!("{} {}", name.region, name.cluster));
    params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(name.to_string())?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok(params)
}

fn common_name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

fn date(ms: u64) -> Result<OffsetDateTime, TlsError> {
    let seconds = i64::try_from(ms / 1_000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|cause| TlsError::Certificate(cause.to_string()))
}

fn pem_block(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    #[test]
    fn an_authority_read_back_is_the_same_and_only_the_owner_reads_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("region-ca.pem");
        let made = RegionAuthority::generate("c1", "eu", NOW).unwrap();
        made.store(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = RegionAuthority::load(&path, NOW).unwrap();
        assert_eq!(read.certificate(), made.certificate());
    }

    #[test]
    fn what_is_derived_from_the_key_is_the_same_wherever_it_is_and_another_for_each_use() {
        let made = RegionAuthority::generate("c1", "eu", NOW).unwrap();
        let elsewhere = RegionAuthority::from_pem(&made.to_pem(), NOW).unwrap();
        let again = RegionAuthority::from_pem(&elsewhere.to_pem(), NOW).unwrap();
        let secret = made.derive("one use").unwrap();
        assert_eq!([elsewhere.derive("one use").unwrap(), again.derive("one use").unwrap()], [secret; 2]);
        assert_ne!(made.derive("another use").unwrap(), secret);
        let other = RegionAuthority::generate("c1", "eu", NOW).unwrap();
        assert_ne!(other.derive("one use").unwrap(), secret);
    }

    #[test]
    fn a_key_of_another_authority_is_refused() {
        let one = RegionAuthority::generate("c1", "eu", NOW).unwrap();
        let other = RegionAuthority::generate("c1", "eu", NOW).unwrap();
        let mixed = format!(
            "{HEADER}{}{}",
            pem_block("CERTIFICATE", one.certificate.der()),
            other.key.serialize_pem()
        );
        assert!(RegionAuthority::from_pem(&mixed, NOW).is_err());
        assert!(RegionAuthority::from_pem(&one.to_pem().replace("authority 1", "authority 2"), NOW).is_err());
    }

    #[test]
    fn it_signs_for_its_own_region_only_and_makes_no_name_that_would_not_read_back() {
        let authority = RegionAuthority::generate("c1", "eu", NOW).unwrap();
        let peer = |region: &str, zone: &str| PeerIdentity {
            node: crate::NodeId(1),
            region: region.to_owned(),
            zone: zone.to_owned(),
        };
        let week = Duration::from_hours(7 * 24);
        assert!(authority.issue(&peer("eu", "a"), week, NOW).is_ok());
        assert!(authority.issue(&peer("us", "a"), week, NOW).is_err());
        assert!(authority.issue(&peer("eu", "a/node/7"), week, NOW).is_err());
        assert!(RegionAuthority::generate("c1", "eu/zone", NOW).is_err());
    }

    #[test]
    fn a_bundle_reads_back_and_refuses_another_cluster() {
        use super::super::trust::TrustBundle;
        let mut bundle = TrustBundle::new("c1");
        let eu = RegionAuthority::generate("c1", "eu", NOW).unwrap();
        bundle.insert(eu.certificate().clone()).unwrap();
        bundle.insert(RegionAuthority::generate("c1", "us", NOW).unwrap().certificate().clone()).unwrap();
        let foreign = RegionAuthority::generate("c2", "us", NOW).unwrap();
        assert!(bundle.insert(foreign.certificate().clone()).is_err());
        let mut read = TrustBundle::decode(&bundle.encode().unwrap()).unwrap();
        assert_eq!(read, bundle);
        assert!(read.remove(eu.certificate().pin()) && read.authorities("eu").next().is_none());
        assert!(TrustBundle::decode(&[9, 1, 2]).is_err());
    }
}
