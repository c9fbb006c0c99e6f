//! Whose certificates the command line believes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::admin_client::AdminClientError;
use crate::egress;

/// Whom an https server must be vouched for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// The certificates of a PEM file, and nobody else.
    Authorities(PathBuf),
    /// The system's authorities, and the certificates of this PEM file where there is one.
    System(Option<PathBuf>),
    /// The first certificate of this PEM file itself, under whatever name.
    Exactly(PathBuf),
}

impl Trust {
    /// The authorities of `file`, or the system's.
    pub(super) fn given(file: Option<&Path>) -> Self {
        file.map_or(Self::System(None), |file| Self::Authorities(file.to_owned()))
    }

    /// For connections.
    ///
    /// # Errors
    /// [`AdminClientError`]: `NoTrust`, `Trust`.
    pub(super) fn client_config(&self) -> Result<Arc<ClientConfig>, AdminClientError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|_| AdminClientError::NoTrust)?;
        let roots = match self {
            Self::Exactly(file) => {
                let certificate = certificates(file)?.into_iter().next().ok_or_else(|| unusable(file))?;
                let verifier = Arc::new(Pinned { certificate, provider });
                let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
                return Ok(Arc::new(builder.with_no_client_auth()));
            }
            Self::Authorities(file) => with(RootCertStore::empty(), file)?,
            Self::System(None) => egress::system_roots().unwrap_or_else(RootCertStore::empty),
            Self::System(Some(file)) => {
                with(egress::system_roots().unwrap_or_else(RootCertStore::empty), file)?
            }
        };
        if roots.is_empty() {
            return Err(AdminClientError::NoTrust);
        }
        Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
    }
}

fn unusable(file: &Path) -> AdminClientError {
    AdminClientError::Trust(file.display().to_string())
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, AdminClientError> {
    let found = CertificateDer::pem_file_iter(file).map_err(|_| unusable(file))?;
    let found: Result<Vec<_>, _> = found.collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(|| unusable(file))
}

fn with(mut roots: RootCertStore, file: &Path) -> Result<RootCertStore, AdminClientError> {
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|_| unusable(file))?;
    }
    Ok(roots)
}

/// Believes who holds the key of one certificate. The node of this host is reached by an address that no public
/// certificate names; its settings say which certificate it has.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if end_entity.as_ref() == self.certificate.as_ref() {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        let trusts = [Trust::Authorities(file.clone()), Trust::System(Some(file.clone()))];
        for content in [None, Some("no PEM")] {
            if let Some(content) = content {
                std::fs::write(&file, content).unwrap();
            }
            for trust in trusts.iter().chain([&Trust::Exactly(file.clone())]) {
                let refused = trust.client_config().unwrap_err().to_string();
                assert_eq!(refused, format!("cannot read certificates from {}", file.display()));
            }
        }
    }

    #[test]
    fn a_certificate_is_believed_under_any_name_where_it_is_the_very_one() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cert.pem");
        let make = || rcgen::generate_simple_self_signed(["id.example.org".to_owned()]).unwrap();
        let (own, other) = (make(), make());
        std::fs::write(&file, own.cert.pem()).unwrap();
        let certificate = certificates(&file).unwrap().remove(0);
        let pinned = Pinned { certificate, provider: Arc::new(aws_lc_rs::default_provider()) };
        let name = ServerName::try_from("localhost").unwrap();
        let verify = |certificate: &CertificateDer<'_>| {
            pinned.verify_server_cert(certificate, &[], &name, &[], UnixTime::now()).is_ok()
        };
        assert!(verify(own.cert.der()));
        assert!(!verify(other.cert.der()));
    }
}
