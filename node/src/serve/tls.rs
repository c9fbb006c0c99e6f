//! The public certificate: read from files, read again when they change, without a restart.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config::Tls;

/// Files are looked at this often. Polling needs no signal, and sees the symlink swaps by which
/// secrets are renewed on Kubernetes and by ACME clients.
const POLL: Duration = Duration::from_secs(5);

/// The certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or holds no PEM of the wanted kind.
    #[error("cannot read {path}")]
    File {
        /// Which.
        path: String,
        /// Why.
        #[source]
        cause: rustls::pki_types::pem::Error,
    },
    /// The file is not there.
    #[error("cannot look at {path}")]
    Stat {
        /// Which.
        path: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The key does not fit the certificate, or TLS does not take them.
    #[error("certificate and key are not usable together")]
    Pair(#[source] rustls::Error),
}

/// What tells one version of the files from another.
type Version = [(u64, i64, i64, u64); 2];

/// A certificate that follows its files.
#[derive(Debug)]
pub struct TlsFiles {
    paths: Tls,
    provider: Arc<CryptoProvider>,
    current: ArcSwap<CertifiedKey>,
    seen: Mutex<Version>,
}

impl TlsFiles {
    /// Reads both files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open(paths: Tls) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let seen = version(&paths)?;
        let current = read(&paths, &provider)?;
        Ok(Arc::new(Self {
            paths,
            provider,
            current: ArcSwap::from_pointee(current),
            seen: Mutex::new(seen),
        }))
    }

    /// TLS 1.2 and 1.3 with ALPN for HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// [`TlsError::Pair`] if the provider lacks these versions.
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, TlsError> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Pair)?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Reads the files again if they are not those last read. Gives whether the certificate changed.
    ///
    /// # Errors
    /// [`TlsError`]; the certificate in use stays, and the same files are not tried again.
    pub fn reload_if_changed(&self) -> Result<bool, TlsError> {
        let found = version(&self.paths)?;
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == found {
                return Ok(false);
            }
            *seen = found;
        }
        self.current.store(Arc::new(read(&self.paths, &self.provider)?));
        Ok(true)
    }

    /// Follows the files until the task is dropped. A pair that is caught half written fails once and
    /// is read again when its second file arrives.
    pub async fn follow(self: Arc<Self>) {
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut missing = false;
        loop {
            poll.tick().await;
            match self.reload_if_changed() {
                Ok(true) => tracing::info!("TLS certificate read again"),
                Ok(false) => {}
                // A file that stays away is one event, not one every few seconds.
                Err(TlsError::Stat { .. }) if missing => continue,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "TLS certificate kept as it was"
                    );
                    missing = matches!(error, TlsError::Stat { .. });
                    continue;
                }
            }
            missing = false;
        }
    }
}

impl ResolvesServerCert for TlsFiles {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn version(paths: &Tls) -> Result<Version, TlsError> {
    let stat = |path: &Path| {
        let of = |meta: Metadata| (meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len());
        std::fs::metadata(path)
            .map(of)
            .map_err(|cause| TlsError::Stat { path: path.display().to_string(), cause })
    };
    Ok([stat(&paths.cert)?, stat(&paths.key)?])
}

fn read(paths: &Tls, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let at = |path: &Path| {
        let path = path.display().to_string();
        move |cause| TlsError::File { path, cause }
    };
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(&paths.cert)
            .and_then(Iterator::collect)
            .and_then(|chain: Vec<_>| {
                if chain.is_empty() { Err(rustls::pki_types::pem::Error::NoItemsFound) } else { Ok(chain) }
            })
            .map_err(at(&paths.cert))?;
    let key = PrivateKeyDer::from_pem_file(&paths.key).map_err(at(&paths.key))?;
    CertifiedKey::from_der(chain, key, provider).map_err(TlsError::Pair)
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    struct Pair {
        cert: String,
        key: String,
        der: CertificateDer<'static>,
    }

    fn pair() -> Pair {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Pair { cert: made.cert.pem(), key: made.signing_key.serialize_pem(), der: made.cert.der().clone() }
    }

    fn write(directory: &Path, cert: &str, key: &str) -> Tls {
        let paths = Tls { cert: directory.join("cert.pem"), key: directory.join("key.pem") };
        for (path, text) in [(&paths.cert, cert), (&paths.key, key)] {
            let fresh = path.with_extension("new");
            std::fs::write(&fresh, text).unwrap();
            std::fs::rename(&fresh, path).unwrap();
        }
        paths
    }

    /// One handshake in memory; `roots` is what the client trusts.
    async fn handshake(files: &Arc<TlsFiles>, root: &CertificateDer<'static>) -> Result<(), std::io::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(root.clone()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (near, far) = tokio::io::duplex(1 << 16);
        let acceptor = TlsAcceptor::from(files.server_config().unwrap());
        let server = tokio::spawn(async move { acceptor.accept(far).await.map(|_| ()) });
        let name = ServerName::try_from("localhost").unwrap();
        let result = TlsConnector::from(Arc::new(client)).connect(name, near).await.map(|_| ());
        drop(server.await.unwrap());
        result
    }

    #[tokio::test]
    async fn a_changed_certificate_is_served_without_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (pair(), pair());
        let files = TlsFiles::open(write(directory.path(), &first.cert, &first.key)).unwrap();
        handshake(&files, &first.der).await.unwrap();
        assert!(!files.reload_if_changed().unwrap());

        write(directory.path(), &second.cert, &second.key);
        assert!(files.reload_if_changed().unwrap());
        handshake(&files, &second.der).await.unwrap();
        handshake(&files, &first.der).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_pair_that_does_not_fit_leaves_the_old_one_in_use() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (pair(), pair());
        let files = TlsFiles::open(write(directory.path(), &first.cert, &first.key)).unwrap();
        write(directory.path(), &second.cert, &first.key);
        assert!(matches!(files.reload_if_changed(), Err(TlsError::Pair(_))));
        handshake(&files, &first.der).await.unwrap();
        assert!(!files.reload_if_changed().unwrap(), "the same broken pair is not tried again");
        write(directory.path(), &second.cert, &second.key);
        assert!(files.reload_if_changed().unwrap());
        handshake(&files, &second.der).await.unwrap();
    }

    #[test]
    fn a_missing_or_empty_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let good = pair();
        let paths = write(directory.path(), &good.cert, "nothing here");
        let error = TlsFiles::open(paths.clone()).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot read {}", paths.key.display()));
        std::fs::remove_file(&paths.cert).unwrap();
        let error = TlsFiles::open(paths.clone()).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot look at {}", paths.cert.display()));
    }
}
