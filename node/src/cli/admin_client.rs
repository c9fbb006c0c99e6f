//! A client of the admin API.

use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, Method, StatusCode, header};
use serde_json::Value;
use tokio::time::Instant;

use super::host::Admin;
use super::patience::{AGAIN, Patience};
use super::site::Site;
use super::trust::Trust;
use crate::config::Secret;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// How long an answer is waited for, and a change is tried: a tenant whose partition has to be made first takes
/// several tries.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(30);
/// The kind of problem of what was not done at all.
const UNDONE: &str = "urn:domicile:problem:unavailable";

/// A call that gave no result.
#[derive(Debug, thiserror::Error)]
pub enum AdminClientError {
    /// The admin URL cannot be used.
    #[error("`{0}` is not an http or https URL")]
    Url(String),
    /// An https URL needs to know whom to trust.
    #[error("no certificate authority is known here: give --admin-ca with the certificate to trust")]
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
    /// No answer in time. What was asked may still happen.
    #[error("the node did not answer in time")]
    Timeout,
    /// The node refused; the text is of its problem document.
    #[error("{status}: {text}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// Whether it says that it could not be asked now, and so did nothing.
        undone: bool,
        /// Title and detail.
        text: String,
    },
    /// A change was tried as long as the caller would wait.
    #[error("gave up after {spent:.1?}; {}", what_came(*.may_be_done))]
    GaveUp {
        /// Since the first try began.
        spent: Duration,
        /// Whether one of the tries may have done it; if not, nothing was done.
        may_be_done: bool,
        /// Of the last try.
        #[source]
        last: Box<AdminClientError>,
    },
    /// The answer is no JSON.
    #[error("the node's answer is not JSON")]
    Answer(#[source] serde_json::Error),
}

impl AdminClientError {
    /// Whether the same request may go better a little later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Refused { status, .. } => {
                [StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT].contains(status)
            }
            Self::Transport(_) | Self::Timeout => true,
            Self::Connect(..)
            | Self::Url(_)
            | Self::NoTrust
            | Self::Trust(_)
            | Self::Answer(_)
            | Self::GaveUp { .. } => false,
        }
    }

    /// Whether a change that ended so may have been done.
    pub(super) fn may_be_done(&self) -> bool {
        match self {
            Self::Refused { undone, .. } => !undone,
            Self::GaveUp { may_be_done, .. } => *may_be_done,
            Self::Transport(_) | Self::Timeout | Self::Answer(_) => true,
            Self::Connect(..) | Self::Url(_) | Self::NoTrust | Self::Trust(_) => false,
        }
    }
}

fn what_came(may_be_done: bool) -> &'static str {
    if may_be_done {
        "whether it was done is not known, so look before trying again"
    } else {
        "nothing was done"
    }
}

/// Where the admin API is, and the token for it.
pub struct AdminClient {
    site: Site,
    token: Secret,
    wait_max: Duration,
    tell: Box<dyn Fn(&str) + Send + Sync>,
}

impl AdminClient {
    /// `url` is the admin URL without `/v1`. `trust` holds the certificates (PEM) to trust for https, in place of
    /// the system's authorities.
    ///
    /// # Errors
    /// [`AdminClientError`]: `Url`, `NoTrust`, `Trust`.
    pub fn new(url: &str, token: Secret, trust: Option<&Path>) -> Result<Self, AdminClientError> {
        Ok(Self::of(Site::new(url, &Trust::given(trust))?, token))
    }

    /// Of the node on this host.
    ///
    /// # Errors
    /// [`AdminClientError`]: `NoTrust`, `Trust`.
    pub(super) fn of_this_host(admin: &Admin, token: Secret) -> Result<Self, AdminClientError> {
        Ok(Self::of(Site::of_this_host(admin)?, token))
    }

    fn of(site: Site, token: Secret) -> Self {
        Self { site, token, wait_max: WAIT_MAX, tell: Box::new(|_: &str| ()) }
    }

    /// Waits `wait_max`, in place of 30 s, for an answer, and for all tries of a change together; tells `tell` why a
    /// change is tried again.
    pub(super) fn waiting(self, wait_max: Duration, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { wait_max, tell: Box::new(tell), ..self }
    }

    /// Sends a request once; gives the JSON of a 2xx answer (`null` if it has none).
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, AdminClientError> {
        self.send(method, path, body, None, self.wait_max).await
    }

    /// Sends a change until there is an answer to it: again with the same idempotency key while the node
    /// cannot be asked, cannot do it now or does not know whether it did (503, 504), so that it is done at
    /// most once. `key` is 1 to 255 ASCII characters that no other change has.
    ///
    /// # Errors
    /// [`AdminClientError`]: `GaveUp` after 30 s, which says whether it may have been done.
    pub async fn persist(
        &self,
        key: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, AdminClientError> {
        let (begun, mut patience) = (Instant::now(), Patience::new(self.wait_max));
        loop {
            let left = self.wait_max.saturating_sub(begun.elapsed());
            let error = match self.send(method.clone(), path, body, Some(key), left).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if let Some(text) = patience.failed(error, begun.elapsed())? {
                (self.tell)(&text);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
        wait_max: Duration,
    ) -> Result<Value, AdminClientError> {
        let mut headers = vec![
            (header::AUTHORIZATION, format!("Bearer {}", self.token.expose())),
            (header::CONTENT_TYPE, "application/json".to_owned()),
        ];
        headers.extend(key.map(|key| (IDEMPOTENCY_KEY, key.to_owned())));
        let body = body.map_or_else(Body::empty, |value| Body::from(value.to_string()));
        let (status, bytes) = self.site.send_within(wait_max, method, path, &headers, body).await?;
        if !status.is_success() {
            let undone = problem_kind(&bytes).as_deref() == Some(UNDONE);
            return Err(AdminClientError::Refused { status, undone, text: problem_text(&bytes) });
        }
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(AdminClientError::Answer)
    }
}

/// The type of a problem document.
fn problem_kind(bytes: &[u8]) -> Option<String> {
    let problem: Value = serde_json::from_slice(bytes).ok()?;
    problem.get("type").and_then(Value::as_str).map(str::to_owned)
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
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::http::HeaderMap;
    use serde_json::json;

    use super::*;
    use crate::problem::Problem;

    fn client(url: &str, trust: Option<&Path>) -> Result<(), String> {
        AdminClient::new(url, Secret::new("t"), trust).map(|_| ()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_url_decides_what_is_needed() {
        assert_eq!(client("http://127.0.0.1:8080", None), Ok(()));
        assert_eq!(client("ftp://x", None), Err("`ftp://x/` is not an http or https URL".to_owned()));
        assert_eq!(client("nowhere", None), Err("`nowhere` is not an http or https URL".to_owned()));
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

    /// A node that answers with these, one after another; gives its URL and the keys that it was sent.
    async fn node(answers: Vec<(StatusCode, String)>) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (keys, left) = (Arc::default(), Mutex::new(answers.into_iter()));
        let (seen, left): (Arc<Mutex<Vec<String>>>, _) = (Arc::clone(&keys), Arc::new(left));
        let router = Router::new().fallback(async move |headers: HeaderMap| {
            seen.lock().unwrap().push(headers[IDEMPOTENCY_KEY].to_str().unwrap().to_owned());
            left.lock().unwrap().next().unwrap()
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        (url, keys)
    }

    #[tokio::test]
    async fn a_change_is_sent_with_one_key_until_it_is_answered() {
        for (answers, outcome) in [
            (vec![503, 504, 201], Ok(json!({}))),
            (vec![503, 409], Err("409 Conflict: ")),
            (vec![500], Err("500 Internal Server Error: ")),
        ] {
            let tries = answers.len();
            let answers =
                answers.into_iter().map(|code| (StatusCode::from_u16(code).unwrap(), "{}".to_owned()));
            let (url, keys) = node(answers.collect()).await;
            let client = AdminClient::new(&url, Secret::new("t"), None).unwrap();
            let answer = client.persist("k1", Method::POST, "/v1/tenants", Some(&json!({}))).await;
            assert_eq!(answer.map_err(|error| error.to_string()), outcome.map_err(str::to_owned));
            assert_eq!(*keys.lock().unwrap(), vec!["k1"; tries]);
        }
    }

    #[tokio::test]
    async fn who_waits_for_a_quorum_hears_of_it_and_that_nothing_was_done() {
        for (kind, came) in [
            ("unavailable", "nothing was done"),
            ("outcome-unknown", "whether it was done is not known, so look before trying again"),
        ] {
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, kind, "Not now");
            let answer = (problem.status(), serde_json::to_string(&problem).unwrap());
            let (url, keys) = node(vec![answer; 10]).await;
            let told: Arc<Mutex<Vec<String>>> = Arc::default();
            let heard = Arc::clone(&told);
            let client = AdminClient::new(&url, Secret::new("t"), None).unwrap();
            let client = client.waiting(Duration::from_millis(5_500), move |text| {
                heard.lock().unwrap().push(text.to_owned());
            });
            let ended = client.persist("k1", Method::POST, "/v1/tenants", Some(&json!({}))).await;
            let ended = ended.unwrap_err().to_string();
            assert!(ended.starts_with("gave up after ") && ended.ends_with(came), "{ended}");
            let (tries, told) = (keys.lock().unwrap().len(), told.lock().unwrap().clone());
            assert!(tries == 1 || told.len() == 1, "{tries} tries, {told:?}");
            assert!(
                told.iter().all(|text| text.starts_with("503 Service Unavailable: Not now; ")),
                "{told:?}"
            );
        }
    }
}
