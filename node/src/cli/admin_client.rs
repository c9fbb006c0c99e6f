//! A client of the admin API: one connection a request, bounded in time and size.
//!
//! Built on hyper and rustls, which the server has anyway: a client library would add crates to every
//! build for what is two functions here.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

use crate::config::Secret;

const REQUEST_MAX: Duration = Duration::from_secs(30);
const BODY_BYTES_MAX: usize = 16 << 20;

/// A call that gave no result.
#[derive(Debug, thiserror::Error)]
pub enum AdminClientError {
    /// The admin URL cannot be used.
    #[error("`{0}` is not an http or https URL")]
    Url(String),
    /// An https URL needs to know whom to trust.
    #[error("an https admin URL needs --admin-ca with the certificate to trust")]
    NoTrust,
    /// The file of trusted certificates cannot be used.
    #[error("cannot read certificates from {0}")]
    Trust(String),
    /// Nobody answers there.
    #[error("cannot reach {0}")]
    Connect(String, #[source] std::io::Error),
    /// The connection broke.
    #[error("the connection to the node broke")]
    Transport(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No answer within 30 s. What was asked may still happen.
    #[error("the node did not answer in time")]
    Timeout,
    /// The node refused; the text is of its problem document.
    #[error("{status}: {text}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// Title and detail.
        text: String,
    },
    /// The answer is no JSON.
    #[error("the node's answer is not JSON")]
    Answer(#[source] serde_json::Error),
}

/// Where the admin API is, and the token for it.
pub struct AdminClient {
    url: Url,
    token: Secret,
    tls: Option<Arc<ClientConfig>>,
}

impl AdminClient {
    /// `url` is the admin URL without `/v1`. `trust` holds the certificates (PEM) to trust for https.
    ///
    /// # Errors
    /// [`AdminClientError`]: `Url`, `NoTrust`, `Trust`.
    pub fn new(url: &str, token: Secret, trust: Option<&Path>) -> Result<Self, AdminClientError> {
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
        Ok(Self { url, token, tls })
    }

    /// Sends a request; gives the JSON of a 2xx answer (`null` if it has none).
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, AdminClientError> {
        let call = self.exchange(method, path, body);
        let (status, bytes) =
            tokio::time::timeout(REQUEST_MAX, call).await.map_err(|_| AdminClientError::Timeout)??;
        if !status.is_success() {
            return Err(AdminClientError::Refused { status, text: problem_text(&bytes) });
        }
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(AdminClientError::Answer)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, bytes::Bytes), AdminClientError> {
        let (host, port) =
            (self.url.host_str().unwrap_or_default(), self.url.port_or_known_default().unwrap_or(443));
        let authority = self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url.path().trim_end_matches('/')))
            .header(header::HOST, &authority)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token.expose()))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.map_or_else(Body::empty, |value| Body::from(value.to_string())))
            .map_err(|error| AdminClientError::Transport(error.into()))?;
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

/// Title and detail of a problem document, or the first line of whatever came.
fn problem_text(bytes: &[u8]) -> String {
    let Ok(Value::Object(problem)) = serde_json::from_slice(bytes) else {
        return String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().chars().take(200).collect();
    };
    let text = |name: &str| problem.get(name).and_then(Value::as_str).map(str::to_owned);
    [text("title"), text("detail")].into_iter().flatten().collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str, trust: Option<&Path>) -> Result<(), String> {
        AdminClient::new(url, Secret::new("t"), trust).map(|_| ()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_url_decides_what_is_needed() {
        assert_eq!(client("http://127.0.0.1:8080", None), Ok(()));
        assert_eq!(client("ftp://x", None), Err("`ftp://x/` is not an http or https URL".to_owned()));
        assert_eq!(client("nowhere", None), Err("`nowhere` is not an http or https URL".to_owned()));
        let message = "an https admin URL needs --admin-ca with the certificate to trust";
        assert_eq!(client("https://x", None), Err(message.to_owned()));
        assert_eq!(
            client("https://x", Some(Path::new("/nope"))),
            Err("cannot read certificates from /nope".to_owned())
        );
    }

    #[test]
    fn rfc9457_a_problem_is_told_by_title_and_detail() {
        assert_eq!(problem_text(br#"{"title":"Conflict","detail":"slug taken"}"#), "Conflict: slug taken");
        assert_eq!(problem_text(br#"{"title":"Gone"}"#), "Gone");
        assert_eq!(problem_text(b"Bad Gateway\n<html>"), "Bad Gateway");
        assert_eq!(problem_text(b""), "");
    }
}
