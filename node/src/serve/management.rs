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

/// One thing that should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Short: `partition 1`, `signing keys`.
    pub name: String,
    /// Whether it holds.
    pub ok: bool,
    /// Why, or the figures behind it. No personal data.
    pub detail: String,
}

/// Whether the node takes requests, and what that stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Whether a balancer should send requests here. A check that fails need not make this false.
    pub ready: bool,
    /// For people and alerts.
    pub checks: Vec<Check>,
}

/// Ready while all holds: for a node whose parts all need each other.
impl FromIterator<Check> for Readiness {
    fn from_iter<I: IntoIterator<Item = Check>>(checks: I) -> Self {
        let checks: Vec<Check> = checks.into_iter().collect();
        Self { ready: checks.iter().all(|check| check.ok), checks }
    }
}

/// Where readiness comes from, asked at each call. Must not block.
pub type ReadinessSource = Arc<dyn Fn() -> Readiness + Send + Sync>;

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

/// 200 while the node takes requests, else 503. `?verbose` lists the checks, with what does not hold.
async fn readyz(State(state): State<Management>, RawQuery(query): RawQuery) -> Response {
    let Readiness { ready, checks } = (state.readiness)();
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

    fn check(id: u64, ok: bool) -> Check {
        let detail = if ok { "leader 1, applied 9" } else { "no leader" };
        Check { name: format!("partition {id}"), ok, detail: detail.to_owned() }
    }

    async fn asked(told: Readiness, path: &str) -> (u16, String) {
        let readiness: ReadinessSource = Arc::new(move || told.clone());
        let mut router = routes(Arc::new(Metrics::new(Arc::new(Vec::new))), readiness);
        let response = router.call(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn ask(ready: bool, path: &str) -> (u16, String) {
        asked([check(0, true), check(1, ready)].into_iter().collect(), path).await
    }

    #[tokio::test]
    async fn a_node_whose_parts_need_each_other_is_ready_when_every_check_holds() {
        assert_eq!(ask(true, "/readyz").await, (200, "ready\n".to_owned()));
        assert_eq!(ask(false, "/readyz").await, (503, "not ready\n".to_owned()));
        let verbose = "[+] partition 0: leader 1, applied 9\n[-] partition 1: no leader\nnot ready\n";
        assert_eq!(ask(false, "/readyz?verbose").await, (503, verbose.to_owned()));
    }

    #[tokio::test]
    async fn a_node_that_serves_some_is_ready_and_says_what_does_not_hold() {
        let told = Readiness { ready: true, checks: vec![check(0, true), check(1, false)] };
        let verbose = "[+] partition 0: leader 1, applied 9\n[-] partition 1: no leader\nready\n";
        assert_eq!(asked(told.clone(), "/readyz?verbose").await, (200, verbose.to_owned()));
        assert_eq!(asked(told, "/readyz").await, (200, "ready\n".to_owned()));
    }

    #[tokio::test]
    async fn a_node_that_is_not_ready_lives_and_is_scraped() {
        assert_eq!(ask(false, "/livez").await, (200, "ok\n".to_owned()));
        let (status, text) = ask(false, "/metrics").await;
        assert!(status == 200 && text.ends_with("# EOF\n"), "{text}");
        assert_eq!(ask(true, "/other").await.0, 404);
    }
}
