//! Requests, and what can be known after one: an answer, that it never left, or nothing.

use std::time::Duration;

use reqwest::header::{HOST, HeaderMap};
use reqwest::{Method, redirect};
use serde_json::Value;
use url::Url;

use super::place;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub text: String,
}

/// No answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Lost {
    /// Nobody was reached: nothing was done.
    #[error("not sent: {0}")]
    NotSent(String),
    /// It left, and nobody knows what became of it.
    #[error("no answer: {0}")]
    Unanswered(String),
}

/// Where requests go: to a node, whatever host the address names, or to where the address says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// As the address says.
    Named,
    /// `http://host:port` of a node; the address's host goes into the `Host` header.
    Node(Url),
}

/// Sends requests from the network of the calling thread; follows no redirects. Copies share connections.
#[derive(Clone, Debug)]
pub struct Http {
    /// By place.
    clients: Vec<reqwest::Client>,
}

impl Answer {
    /// The body as JSON; `null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Status and the error that the body names, for people.
    pub fn told(&self) -> String {
        let body = self.json();
        let part = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        format!("{} {}{}{}", self.status, part("error"), part("type"), part("title")).trim().to_owned()
    }
}

impl Http {
    /// One that waits at most `timeout` for an answer.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn new(timeout: Duration) -> Result<Self, reqwest::Error> {
        let client = || {
            reqwest::Client::builder()
                .redirect(redirect::Policy::none())
                .timeout(timeout)
                .connect_timeout(timeout)
                .pool_max_idle_per_host(1_024)
                .no_proxy()
                .build()
        };
        Ok(Self { clients: (0..place::PLACES).map(|_| client()).collect::<Result<_, _>>()? })
    }

    fn here(&self) -> reqwest::Client {
        // There is one for each place that can be.
        self.clients.get(place::here()).cloned().unwrap_or_default()
    }

    /// A request to `url` through `door`, to be filled in.
    pub fn request(&self, method: Method, url: &Url, door: &Door) -> reqwest::RequestBuilder {
        let Door::Node(node) = door else { return self.here().request(method, url.clone()) };
        let mut address = url.clone();
        // Both are http addresses with a host, so that neither can be refused.
        let _ = address.set_host(node.host_str());
        let _ = address.set_port(node.port());
        self.here().request(method, address).header(HOST, url.authority())
    }

    /// Sends it and takes the whole answer.
    ///
    /// # Errors
    /// [`Lost`]; only [`Lost::NotSent`] says that nothing was done.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, Lost> {
        let response = request.send().await.map_err(|error| {
            let told = without_address(&error);
            if error.is_connect() || error.is_builder() {
                Lost::NotSent(told)
            } else {
                Lost::Unanswered(told)
            }
        })?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.map_err(|error| Lost::Unanswered(without_address(&error)))?;
        Ok(Answer { status, headers, text })
    }
}

/// Addresses hold codes and ids; the reason is enough.
fn without_address(error: &reqwest::Error) -> String {
    let mut reason: &dyn std::error::Error = error;
    while let Some(deeper) = reason.source() {
        reason = deeper;
    }
    if error.is_timeout() { "timed out".to_owned() } else { reason.to_string() }
}
