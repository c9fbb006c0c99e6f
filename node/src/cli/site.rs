//! Requests to a node: one connection a request, bounded in time and size.
//!
//! Built on hyper and rustls, which the server has anyway: a client library would add crates to every
//! build for what is two functions here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderName, Method, Request, StatusCode, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

use super::admin_client::AdminClientError;
use super::host::Admin;
use super::trust::Trust;

const REQUEST_MAX: Duration = Duration::from_secs(30);
const BODY_BYTES_MAX: usize = 16 << 20;

/// Where a node is.
pub(super) struct Site {
    url: Url,
    /// Where to connect, if that is not what the URL says.
    address: Option<SocketAddr>,
    tls: Option<Arc<ClientConfig>>,
}

impl Site {
    /// Under https who `trust` vouches for.
    ///
    /// # Errors
    /// [`AdminClientError`]: `Url`, `NoTrust`, `Trust`.
    pub(super) fn new(url: &str, trust: &Trust) -> Result<Self, AdminClientError> {
        let url = Url::parse(url)
            .ok()
            .filter(Url::has_host)
            .ok_or_else(|| AdminClientError::Url(url.to_owned()))?;
        let tls = match url.scheme() {
            "http" => None,
            "https" => Some(trust.client_config()?),
            _ => return Err(AdminClientError::Url(url.to_string())),
        };
        Ok(Self { url, address: None, tls })
    }

    /// The admin listener of this host's node.
    ///
    /// # Errors
    /// [`AdminClientError`]: `Url`, `NoTrust`, `Trust`.
    pub(super) fn of_this_host(admin: &Admin) -> Result<Self, AdminClientError> {
        Ok(Self { address: Some(admin.address), ..Self::new(&admin.url, &admin.trust)? })
    }

    /// The site's URL.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Sends a request for `path` below the site's URL; the answer has 30 s.
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
        self.send_within(REQUEST_MAX, method, path, headers, body).await
    }

    /// As [`Self::send`], with another limit.
    ///
    /// # Errors
    /// [`AdminClientError`]: `Connect`, `Transport`, `Timeout`.
    pub(super) async fn send_within(
        &self,
        wait_max: Duration,
        method: Method,
        path: &str,
        headers: &[(HeaderName, String)],
        body: Body,
    ) -> Result<(StatusCode, bytes::Bytes), AdminClientError> {
        let exchange = self.exchange(method, path, headers, body);
        tokio::time::timeout(wait_max, exchange).await.map_err(|_| AdminClientError::Timeout)?
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
        let (asked, connected) = match self.address {
            Some(address) => (address.to_string(), TcpStream::connect(address).await),
            None => (authority, TcpStream::connect((bare_host, port)).await),
        };
        let stream = connected.map_err(|cause| AdminClientError::Connect(asked.clone(), cause))?;
        let Some(tls) = &self.tls else { return send(stream, request).await };
        let name = ServerName::try_from(bare_host.to_owned())
            .map_err(|_| AdminClientError::Url(self.url.to_string()))?;
        let stream = TlsConnector::from(tls.clone())
            .connect(name, stream)
            .await
            .map_err(|cause| AdminClientError::Connect(asked, no_tls(&cause)))?;
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

/// The usual reason is a certificate that is not believed.
fn no_tls(cause: &std::io::Error) -> std::io::Error {
    let text =
        format!("TLS failed: {cause} (a certificate of no known authority is trusted with --admin-ca)");
    std::io::Error::new(cause.kind(), text)
}
