//! `/livez`, `/readyz` and `/metrics`, for orchestrators and scrapers.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::problem::Problem;
use crate::telemetry::Metrics;

/// One thing that must hold for the node to take requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Short: `partition 1`, `signing keys`.
    pub name: String,
    /// Whether it holds.
    pub ok: bool,
    /// Why, or the figures behind it. No personal data.
    pub detail: String,
}

/// Where checks come from, asked at each call. Must not block.
pub type ReadinessSource = Arc<dyn Fn() -> Vec<Check> + Send + Sync>;

#[derive(Clone)]
struct Management {
    metrics: Arc<Metrics>,
    readiness: ReadinessSource,
}

/// The routes of the management listener.
pub fn routes(metrics: Arc<Metrics>, readiness: ReadinessSource) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(exposition))
        .fallback(|| async { Problem::not_found() })
        .with_state(Management { metrics, readiness })
}

/// 200 while every check holds, else 503. `?verbose` lists them.
async fn readyz(State(state): State<Management>, RawQuery(query): RawQuery) -> Response {
    let checks = (state.readiness)();
    let ready = checks.iter().all(|check| check.ok);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut text = String::new();
    if query
        .is_some_and(|query| query.split('&').any(|part| part == "verbose" || part.starts_with("verbose=")))
    {
        for check in &checks {
            let sign = if check.ok { '+' } else { '-' };
            // Writing into a string cannot fail.
            let _ = writeln!(text, "[{sign}] {}: {}", check.name, check.detail);
        }
    }
    text.push_str(if ready { "ready\n" } else { "not ready\n" });
    (status, text).into_response()
}

async fn exposition(State(state): State<Management>) -> Response {
    match state.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], text).into_response(),
        Err(_) => Problem::internal().into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::Service as _;

    use super::*;

    async fn ask(ready: bool, path: &str) -> (u16, String) {
        let readiness: ReadinessSource = Arc::new(move || {
            vec![
                Check { name: "partition 0".to_owned(), ok: true, detail: "leader 1, applied 9".to_owned() },
                Check { name: "partition 1".to_owned(), ok: ready, detail: "no leader".to_owned() },
            ]
        });
        let mut router = routes(Arc::new(Metrics::new(Arc::new(Vec::new))), readiness);
        let response = router.call(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_node_is_ready_when_every_check_holds() {
        assert_eq!(ask(true, "/readyz").await, (200, "ready\n".to_owned()));
        assert_eq!(ask(false, "/readyz").await, (503, "not ready\n".to_owned()));
        let verbose = "[+] partition 0: leader 1, applied 9\n[-] partition 1: no leader\nnot ready\n";
        assert_eq!(ask(false, "/readyz?verbose").await, (503, verbose.to_owned()));
    }

    #[tokio::test]
    async fn a_node_that_is_not_ready_lives_and_is_scraped() {
        assert_eq!(ask(false, "/livez").await, (200, "ok\n".to_owned()));
        let (status, text) = ask(false, "/metrics").await;
        assert!(status == 200 && text.ends_with("# EOF\n"), "{text}");
        assert_eq!(ask(true, "/other").await.0, 404);
    }
}
