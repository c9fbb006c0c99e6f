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
    /// One that waits at most `timeout` for a whole answer.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn new(timeout: Duration) -> Result<Self, reqwest::Error> {
        Self::with(timeout, |builder| builder.timeout(timeout))
    }

    /// One that waits as long as something comes, for at most `pause` each time: for answers of any length.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn patient(pause: Duration) -> Result<Self, reqwest::Error> {
        Self::with(pause, |builder| builder.read_timeout(pause))
    }

    fn with(
        connect: Duration,
        patience: impl Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Result<Self, reqwest::Error> {
        let client = || {
            let builder = reqwest::Client::builder()
                .redirect(redirect::Policy::none())
                .connect_timeout(connect)
                .pool_max_idle_per_host(1_024)
                .no_proxy();
            patience(builder).build()
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const PART: Duration = Duration::from_millis(100);

    /// Answers one request, with one letter at a time.
    async fn slow_server(body: &'static str) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await.unwrap();
            for letter in body.bytes() {
                tokio::time::sleep(PART).await;
                // Who has lost patience is gone.
                if stream.write_u8(letter).await.is_err() {
                    return;
                }
            }
        });
        url
    }

    #[tokio::test]
    async fn only_who_waits_as_long_as_something_comes_gets_a_long_answer() {
        let hasty = Http::new(PART * 3).unwrap();
        let lost = hasty.send(hasty.request(Method::GET, &slow_server("export").await, &Door::Named)).await;
        assert!(matches!(lost, Err(Lost::Unanswered(why)) if why == "timed out"));
        let patient = Http::patient(PART * 20).unwrap();
        let url = slow_server("export").await;
        let answer = patient.send(patient.request(Method::GET, &url, &Door::Named)).await;
        assert_eq!(answer.unwrap().text, "export");
    }
}
