//! One GET or POST: resolve, check, connect to what was checked.
//!
//! On hyper and rustls, which the server has anyway, like the CLI's requests: reqwest would add its own
//! resolver, pool, redirects and proxies, each to be switched off again, and hyper-util's client wants a
//! connector for what is one function here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use domicile_raft::BoxFuture;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::address::Reach;
use super::places::{Errand, Places};
use super::trust::{self, TrustError};

/// All of one request, the name's resolution included. Somebody's token request waits for it.
const FETCH_MAX: Duration = Duration::from_secs(3);
/// All of one delivery. Nobody waits for it, and who is told may have work to do.
const POST_MAX: Duration = Duration::from_secs(8);
/// Bytes of an answer's body at most.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an answer's head at most.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 2;

/// Why nothing was fetched. For logs: who caused the request does not learn what answers where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// Not an `https` or `http` URL with a host, or one with user information.
    #[error("not a URL to fetch")]
    Url,
    /// The name has no address.
    #[error("the name does not resolve")]
    Resolve,
    /// None of its addresses may be connected to.
    #[error("no address of it may be connected to (`egress.allow_networks`)")]
    Closed,
    /// `http` to an address that the settings do not name.
    #[error("plain http is for networks in `egress.allow_networks` only")]
    Plain,
    /// No authority is known to verify servers by.
    #[error("no certificate authorities are known (`egress.ca_file`)")]
    NoTrust,
    /// No connection.
    #[error("no connection")]
    Connect,
    /// The server's certificate is not believed, or TLS failed otherwise.
    #[error("TLS failed")]
    Tls,
    /// The exchange broke, or the answer was too long.
    #[error("no whole answer of bounded size")]
    Answer,
    /// No success. Redirects are not followed.
    #[error("the answer was {0}")]
    Status(u16),
    /// Not within `FETCH_MAX`.
    #[error("it took too long")]
    Time,
    /// The share of places is taken ([`Errand`]); nobody was asked.
    #[error("too many requests at a time")]
    Busy,
}

/// What was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The body.
    pub body: Bytes,
    /// How long its server allows it to be kept (RFC 9111 §5.2.2.1), if it says so.
    pub max_age: Option<Duration>,
}

/// What is asked.
enum Ask {
    /// To be given something of these types.
    Get(&'static str),
    /// To take a form.
    Post(String),
}

const DOCUMENTS: &str = "application/jwk-set+json, application/json";
const PICTURES: &str = "image/*";

/// Fetches what others name.
pub trait Fetch: Send + Sync + 'static {
    /// GETs `url`.
    ///
    /// # Errors
    /// [`EgressError`], within seconds.
    fn get<'a>(&'a self, errand: Errand, url: &'a Url) -> BoxFuture<'a, Result<Fetched, EgressError>>;

    /// The same for a picture: some servers answer by what is accepted.
    ///
    /// # Errors
    /// As [`Fetch::get`].
    fn picture<'a>(&'a self, errand: Errand, url: &'a Url) -> BoxFuture<'a, Result<Fetched, EgressError>> {
        self.get(errand, url)
    }

    /// POSTs `form` (`application/x-www-form-urlencoded`) to `url`, which must answer 200 or 204. What it
    /// says beside is not read.
    ///
    /// # Errors
    /// As [`Fetch::get`].
    fn post<'a>(
        &'a self,
        errand: Errand,
        url: &'a Url,
        form: String,
    ) -> BoxFuture<'a, Result<(), EgressError>>;

    /// Whether `url` may be asked for by plain http: an address that the settings name, or `localhost` where they name
    /// loopback. What another name leads to is known only when it is asked.
    fn may_be_plain(&self, _url: &Url) -> bool {
        false
    }
}

/// [`Fetch`] over the network.
pub struct Egress {
    reach: Reach,
    tls: Option<Arc<ClientConfig>>,
    places: Places,
}

impl Egress {
    /// By the settings' word.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn new(reach: Reach, ca_file: Option<&Path>) -> Result<Self, TrustError> {
        let tls = trust::client_config(ca_file)?;
        Ok(Self { reach, tls, places: Places::default() })
    }

    async fn fetch(&self, errand: Errand, url: &Url, ask: Ask) -> Result<Fetched, EgressError> {
        let _place = self.places.take(errand).ok_or(EgressError::Busy)?;
        let secure = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(EgressError::Url),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EgressError::Url);
        }
        let stream = self.connect(url, secure).await?;
        if !secure {
            return exchange(stream, url, ask).await;
        }
        let tls = self.tls.clone().ok_or(EgressError::NoTrust)?;
        let name = server_name(url).ok_or(EgressError::Url)?;
        let stream = TlsConnector::from(tls).connect(name, stream).await.map_err(|_| EgressError::Tls)?;
        exchange(stream, url, ask).await
    }

    async fn given(&self, errand: Errand, url: &Url, kinds: &'static str) -> Result<Fetched, EgressError> {
        let fetched = tokio::time::timeout(FETCH_MAX, self.fetch(errand, url, Ask::Get(kinds))).await;
        fetched.unwrap_or(Err(EgressError::Time))
    }

    /// Connects to an address that was checked.
    async fn connect(&self, url: &Url, secure: bool) -> Result<TcpStream, EgressError> {
        let addresses = resolve(url).await?;
        let open: Vec<SocketAddr> =
            addresses.into_iter().filter(|address| self.reach.allows(address.ip())).collect();
        if open.is_empty() {
            return Err(EgressError::Closed);
        }
        let open = open.into_iter().filter(|address| secure || self.reach.trusts(address.ip()));
        let mut last = EgressError::Plain;
        for address in open.take(ADDRESSES_MAX) {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(_) => last = EgressError::Connect,
            }
        }
        Err(last)
    }
}

impl Fetch for Egress {
    fn get<'a>(&'a self, errand: Errand, url: &'a Url) -> BoxFuture<'a, Result<Fetched, EgressError>> {
        Box::pin(self.given(errand, url, DOCUMENTS))
    }

    fn picture<'a>(&'a self, errand: Errand, url: &'a Url) -> BoxFuture<'a, Result<Fetched, EgressError>> {
        Box::pin(self.given(errand, url, PICTURES))
    }

    fn post<'a>(
        &'a self,
        errand: Errand,
        url: &'a Url,
        form: String,
    ) -> BoxFuture<'a, Result<(), EgressError>> {
        Box::pin(async move {
            let posted = tokio::time::timeout(POST_MAX, self.fetch(errand, url, Ask::Post(form))).await;
            posted.unwrap_or(Err(EgressError::Time)).map(drop)
        })
    }

    fn may_be_plain(&self, url: &Url) -> bool {
        let trusts = |address: IpAddr| self.reach.trusts(address);
        match url.host() {
            Some(Host::Ipv4(address)) => trusts(address.into()),
            Some(Host::Ipv6(address)) => trusts(address.into()),
            Some(Host::Domain("localhost")) => {
                trusts(Ipv4Addr::LOCALHOST.into()) || trusts(Ipv6Addr::LOCALHOST.into())
            }
            Some(Host::Domain(_)) | None => false,
        }
    }
}

async fn resolve(url: &Url) -> Result<Vec<SocketAddr>, EgressError> {
    let port = url.port_or_known_default().ok_or(EgressError::Url)?;
    match url.host().ok_or(EgressError::Url)? {
        Host::Ipv4(address) => Ok(vec![SocketAddr::new(IpAddr::V4(address), port)]),
        Host::Ipv6(address) => Ok(vec![SocketAddr::new(IpAddr::V6(address), port)]),
        Host::Domain(name) => {
            let found = tokio::net::lookup_host((name, port)).await.map_err(|_| EgressError::Resolve)?;
            Ok(found.collect())
        }
    }
}

fn server_name(url: &Url) -> Option<ServerName<'static>> {
    let host = url.host_str()?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(bare.to_owned()).ok()
}

/// Ends the connection's task with the request.
struct Ends(AbortHandle);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn exchange<S>(stream: S, url: &Url, ask: Ask) -> Result<Fetched, EgressError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX);
    let (mut sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|_| EgressError::Answer)?;
    let _ends = Ends(tokio::spawn(connection).abort_handle());
    let host = url.host_str().ok_or(EgressError::Url)?;
    let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let posts = matches!(ask, Ask::Post(_));
    let (request, body) = match ask {
        Ask::Get(kinds) => (Request::get(target).header(header::ACCEPT, kinds), Body::empty()),
        Ask::Post(form) => {
            let form_type = "application/x-www-form-urlencoded";
            (Request::post(target).header(header::CONTENT_TYPE, form_type), Body::from(form))
        }
    };
    let request = request
        .header(header::HOST, authority)
        .header(header::USER_AGENT, concat!("domicile/", env!("CARGO_PKG_VERSION")))
        .body(body)
        .map_err(|_| EgressError::Url)?;
    let response = sender.send_request(request).await.map_err(|_| EgressError::Answer)?;
    let status = response.status();
    if posts && (status == StatusCode::OK || status == StatusCode::NO_CONTENT) {
        return Ok(Fetched { body: Bytes::new(), max_age: None });
    }
    if posts || status != StatusCode::OK {
        return Err(EgressError::Status(status.as_u16()));
    }
    let max_age = max_age(response.headers());
    let body = to_bytes(Body::new(response.into_body()), BODY_BYTES_MAX).await;
    Ok(Fetched { body: body.map_err(|_| EgressError::Answer)?, max_age })
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(header::CACHE_CONTROL);
    let directives = values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let mut found = None;
    for directive in directives.map(str::trim) {
        if directive.eq_ignore_ascii_case("no-store") || directive.eq_ignore_ascii_case("no-cache") {
            return Some(Duration::ZERO);
        }
        if let Some((name, seconds)) = directive.split_once('=')
            && name.eq_ignore_ascii_case("max-age")
        {
            found = seconds.trim_matches('"').parse().ok().map(Duration::from_secs);
        }
    }
    found
}

#[cfg(test)]
mod tests;
