//! Requests to a node: one connection a request, bounded in time and size.
//!
//! Built on hyper and rustls, which the server has anyway: a client library would add crates to every
//! build for what is two functions here.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderName, Method, Request, StatusCode, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

use super::admin_client::AdminClientError;

const REQUEST_MAX: Duration = Duration::from_secs(30);
const BODY_BYTES_MAX: usize = 16 << 20;

/// Where a node is.
pub(super) struct Site {
    url: Url,
    tls: Option<Arc<ClientConfig>>,
}

impl Site {
    /// `trust` holds the certificates (PEM) to trust for https.
    ///
    /// # Errors
    /// [`AdminClientError`]: `Url`, `NoTrust`, `Trust`.
    pub(super) fn new(url: &str, trust: Option<&Path>) -> Result<Self, AdminClientError> {
        let url = Url::parse(url)
            .ok()
            .filter(Url::has_host)
            .ok_or_else(|| AdminClientError::Url(url.to_owned()))?;
        let tls = match (url.scheme(), trust) {
            ("http", _) => None,
            ("https", Some(trust)) => Some(trusting(trust)?),
            ("https", None) => return Err(AdminClientError::NoTrust),
            _ => return Err(AdminClientError::Url(url.to_string())),
        };
        Ok(Self { url, tls })
    }

    /// The site's URL.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Sends a request for `path` below the site's URL.
    ///
    /// # Errors
    /// [`AdminClientError`]: `Connect`, `Transport`, `Timeout`.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, String)],
        body: Body,
    ) -> Result<(StatusCode, bytes::Bytes), AdminClientError> {
        let exchange = self.exchange(method, path, headers, body);
        tokio::time::timeout(REQUEST_MAX, exchange).await.map_err(|_| AdminClientError::Timeout)?
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, String)],
        body: Body,
    ) -> Result<(StatusCode, bytes::Bytes), AdminClientError> {
        let (host, port) =
            (self.url.host_str().unwrap_or_default(), self.url.port_or_known_default().unwrap_or(443));
        let authority = self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url.path().trim_end_matches('/')))
            .header(header::HOST, &authority);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(body).map_err(|error| AdminClientError::Transport(error.into()))?;
        let bare_host = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((bare_host, port))
            .await
            .map_err(|cause| AdminClientError::Connect(authority.clone(), cause))?;
        let Some(tls) = &self.tls else { return send(stream, request).await };
        let name = ServerName::try_from(bare_host.to_owned())
            .map_err(|_| AdminClientError::Url(self.url.to_string()))?;
        let stream = TlsConnector::from(tls.clone())
            .connect(name, stream)
            .await
            .map_err(|cause| AdminClientError::Connect(authority, cause))?;
        send(stream, request).await
    }
}

async fn send<S>(stream: S, request: Request<Body>) -> Result<(StatusCode, bytes::Bytes), AdminClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| AdminClientError::Transport(error.into());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Its end is seen by the sender; the task stops with the connection.
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status();
    let body = to_bytes(Body::new(response.into_body()), BODY_BYTES_MAX)
        .await
        .map_err(|error| AdminClientError::Transport(error.into()))?;
    Ok((status, body))
}

fn trusting(path: &Path) -> Result<Arc<ClientConfig>, AdminClientError> {
    let unusable = || AdminClientError::Trust(path.display().to_string());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|_| unusable())? {
        roots.add(certificate.map_err(|_| unusable())?).map_err(|_| unusable())?;
    }
    if roots.is_empty() {
        return Err(unusable());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| unusable())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
