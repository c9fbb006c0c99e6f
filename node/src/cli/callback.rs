//! The loopback address to which the browser brings the code (RFC 8252 §7.3).

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

/// Where the browser comes to.
pub(super) const PATH: &str = "/callback";
/// For the browser's page to be sent, whatever connections it holds open.
const FAREWELL: Duration = Duration::from_secs(2);

/// What tells the answer to our request from others.
pub(super) struct Expected {
    pub(super) state: String,
    pub(super) issuer: String,
}

type Outcome = Result<String, String>;

struct Desk {
    expected: Expected,
    /// Room for one: the first answer counts.
    came: mpsc::Sender<Outcome>,
}

/// Waits for the browser; gives the code.
///
/// # Errors
/// The error that the authorization endpoint sent (RFC 6749 §4.1.2.1).
pub(super) async fn wait(listener: TcpListener, expected: Expected) -> anyhow::Result<String> {
    let (came, mut comes) = mpsc::channel(1);
    let (done, over) = oneshot::channel::<()>();
    let routes = Router::new().route(PATH, get(answer)).with_state(Arc::new(Desk { expected, came }));
    let serving = axum::serve(listener, routes).with_graceful_shutdown(async {
        let _ = over.await;
    });
    let serving = tokio::spawn(serving.into_future());
    let outcome = comes.recv().await;
    drop(done);
    let stop = serving.abort_handle();
    let _ = tokio::time::timeout(FAREWELL, serving).await;
    stop.abort();
    match outcome {
        Some(Ok(code)) => Ok(code),
        Some(Err(error)) => anyhow::bail!("the sign-in was refused: {error}"),
        None => anyhow::bail!("the loopback listener failed"),
    }
}

async fn answer(State(desk): State<Arc<Desk>>, RawQuery(query): RawQuery) -> Response {
    let close = [(header::CONNECTION, "close"), (header::CACHE_CONTROL, "no-store")];
    match read(query.as_deref().unwrap_or_default(), &desk.expected) {
        Some(outcome) => {
            let text = match &outcome {
                Ok(_) => "You can close this window and go back to the command line.",
                Err(_) => "The sign-in was refused. The command line says why.",
            };
            let _ = desk.came.try_send(outcome);
            (close, text).into_response()
        }
        None => {
            (StatusCode::BAD_REQUEST, close, "This is not the answer that is waited for.").into_response()
        }
    }
}

/// The answer, if it is to our request: of our `state`, and of our issuer (RFC 9207 §2.4).
fn read(query: &str, expected: &Expected) -> Option<Outcome> {
    let get = |wanted: &str| {
        let mut values = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == wanted);
        values.next().map(|(_, value)| value.into_owned())
    };
    if get("state")? != expected.state || get("iss").is_some_and(|iss| iss != expected.issuer) {
        return None;
    }
    match (get("code"), get("error")) {
        (Some(code), None) => Some(Ok(code)),
        // From outside, to a terminal.
        (None, Some(error)) => Some(Err(error.chars().filter(char::is_ascii_graphic).take(64).collect())),
        (_, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9207_s2_4_only_the_answer_to_our_request_counts() {
        let expected = Expected { state: "s".to_owned(), issuer: "https://i".to_owned() };
        let code = Some(Ok("c".to_owned()));
        for (query, expects) in [
            ("code=c&state=s", code.clone()),
            ("code=c&state=s&iss=https%3A%2F%2Fi", code),
            ("code=c&state=s&iss=https%3A%2F%2Fevil", None),
            ("code=c&state=t", None),
            ("code=c", None),
            ("state=s", None),
            ("code=c&error=e&state=s", None),
            ("error=access_denied%1b&state=s", Some(Err("access_denied".to_owned()))),
        ] {
            assert_eq!(read(query, &expected), expects, "{query}");
        }
    }
}
