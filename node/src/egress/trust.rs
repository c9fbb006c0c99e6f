//! Whose certificates are believed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Where systems keep the authorities that they believe, as one PEM file.
const SYSTEM_FILES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The settings name certificates that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`egress.ca_file` = `{}` holds no usable certificate", .0.display())]
pub struct TrustError(PathBuf);

/// What verifies servers: the authorities in `ca_file`, or the system's. `None` if there are none, so that
/// every https request fails.
///
/// # Errors
/// [`TrustError`] if `ca_file` is of no use.
pub(super) fn client_config(ca_file: Option<&Path>) -> Result<Option<Arc<ClientConfig>>, TrustError> {
    let roots = match ca_file {
        Some(file) => read(file).ok_or_else(|| TrustError(file.to_owned()))?,
        None => match system_roots() {
            Some(roots) => roots,
            None => return Ok(None),
        },
    };
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .ok()
        .map(|versions| Arc::new(versions.with_root_certificates(roots).with_no_client_auth()));
    Ok(config)
}

/// The authorities that the system believes; `None` if there are none.
pub(crate) fn system_roots() -> Option<RootCertStore> {
    SYSTEM_FILES.iter().find_map(|file| read(Path::new(file)))
}

/// The certificates of a PEM file that can be authorities; a system's file may hold a few that cannot.
fn read(file: &Path) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).ok()?.flatten() {
        // One that is left out only makes less believed.
        let _left_out = roots.add(certificate);
    }
    (!roots.is_empty()).then_some(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        let refused = client_config(Some(&file)).unwrap_err().to_string();
        assert!(refused.contains("ca.pem"), "{refused}");
        std::fs::write(&file, "no PEM").unwrap();
        assert!(client_config(Some(&file)).is_err());
    }
}
