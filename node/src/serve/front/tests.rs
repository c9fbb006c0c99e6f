//! The guard around a small router, with a clock that stands still.

use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::routing::{get, post};
use domicile_raft::Timestamp;
use domicile_raft::testing::ManualClock;
use tower::Service as _;

use super::*;
use crate::telemetry::Metrics;

struct Harness {
    router: Router,
    metrics: Metrics,
}

fn harness(secure: bool, request_timeout: Duration) -> Harness {
    let metrics = Metrics::new(Arc::new(Vec::new));
    let hosts = Hosts::new(secure, Some(8080));
    hosts.serve(&"https://id.example.org".parse().unwrap());
    let front = Front {
        hosts: Arc::new(hosts),
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        forwarded_header: ForwardedHeader::XForwardedFor,
        body_bytes: 100,
        request_timeout,
        secure,
        clock: Arc::new(ManualClock::new(Timestamp(1), 1)),
        metrics: metrics.http.clone(),
    };
    let router = Router::new()
        .route("/user/{id}", get(|scope: RequestScope| async move { format!("{}", scope.address) }))
        .route("/trace", get(traced))
        .route("/panic", get(async || -> &'static str { panic!("secret {}", 42) }))
        .route("/slow", get(std::future::pending::<&'static str>))
        .route("/body", post(async |body: String| body))
        .route("/t/{tenant}/oauth2/token", post(std::future::pending::<&'static str>))
        .route("/t/{tenant}/oauth2/introspect", post(std::future::pending::<&'static str>))
        .layer(Guard::new(front));
    Harness { router, metrics }
}

/// Says which trace the request is part of.
async fn traced(request: Request) -> String {
    request.extensions().get::<Trace>().map_or("none".to_owned(), ToString::to_string)
}

fn request(path: &str) -> Request {
    let mut request =
        Request::builder().uri(path).header("host", "localhost:8080").body(Body::empty()).unwrap();
    request.extensions_mut().insert(PeerAddress(SocketAddr::from(([10, 0, 0, 9], 4711))));
    request
}

async fn send(harness: &mut Harness, request: Request) -> (StatusCode, HeaderMap, String) {
    let response = harness.router.call(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

const LONG: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_request_id_is_made_here_and_none_is_taken_from_outside() {
    let mut harness = harness(false, LONG);
    let mut request = request("/user/7");
    request.headers_mut().insert("x-request-id", HeaderValue::from_static("req_mine"));
    request.headers_mut().insert("x-forwarded-for", HeaderValue::from_static("192.0.2.1"));
    let (status, headers, body) = send(&mut harness, request).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "192.0.2.1"));
    let id = headers["x-request-id"].to_str().unwrap();
    id.parse::<RequestId>().unwrap();
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["referrer-policy"], "no-referrer");
    assert_eq!(headers["content-security-policy"], "default-src 'none'; frame-ancestors 'none'");
    assert_eq!(headers.get("strict-transport-security"), None);
}

#[tokio::test]
async fn the_trace_of_a_request_is_known_behind_the_guard() {
    let mut harness = harness(false, LONG);
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (header, expects) in [(given, given), ("00-nonsense", "none")] {
        let mut request = request("/trace");
        request.headers_mut().insert("traceparent", HeaderValue::from_static(header));
        assert_eq!(send(&mut harness, request).await.2, expects);
    }
}

#[tokio::test]
async fn rfc6797_hsts_is_sent_under_tls_only() {
    let mut harness = harness(true, LONG);
    let mut public = request("/user/7");
    public.headers_mut().insert("host", HeaderValue::from_static("id.example.org"));
    let (status, headers, _) = send(&mut harness, public).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["strict-transport-security"], "max-age=31536000");
    let (_, headers, _) = send(&mut harness, request("/user/7")).await;
    assert_eq!(headers.get("strict-transport-security"), None, "localhost is not pinned");
}

#[tokio::test]
async fn rfc9110_s15_5_20_an_unknown_host_is_misdirected() {
    let mut misdirected = request("/user/7");
    misdirected.headers_mut().insert("host", HeaderValue::from_static("rebound.example:8080"));
    let (status, headers, _) = send(&mut harness(false, LONG), misdirected).await;
    assert_eq!(status, StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(headers["content-type"], "application/problem+json");
}

#[tokio::test]
async fn rfc9112_s3_2_a_request_without_its_one_host_is_malformed() {
    let mut harness = harness(false, LONG);
    let mut nameless = request("/user/7");
    nameless.headers_mut().remove("host");
    let mut twice = request("/user/7");
    twice.headers_mut().append("host", HeaderValue::from_static("localhost:8080"));
    let mut crooked = request("/user/7");
    crooked.headers_mut().insert("host", HeaderValue::from_static("localhost:8080/user"));
    for malformed in [nameless, twice, crooked] {
        let (status, headers, _) = send(&mut harness, malformed).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(headers["content-type"], "application/problem+json");
    }
    let mut old = request("/user/7");
    old.headers_mut().remove("host");
    *old.version_mut() = axum::http::Version::HTTP_10;
    assert_eq!(send(&mut harness, old).await.0, StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn a_panic_is_a_500_without_its_message_and_the_next_request_is_served() {
    let mut harness = harness(false, LONG);
    let (status, _, body) = send(&mut harness, request("/panic")).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!body.contains("secret"), "{body}");
    let (status, ..) = send(&mut harness, request("/user/7")).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_is_a_503() {
    let (status, headers, _) = send(&mut harness(false, Duration::from_secs(5)), request("/slow")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(headers["retry-after"], "1");
}

#[tokio::test]
async fn a_body_said_to_be_too_large_is_refused_unread() {
    let mut large = request("/body");
    *large.method_mut() = Method::POST;
    large.headers_mut().insert("content-length", HeaderValue::from_static("101"));
    let (status, _, body) = send(&mut harness(false, LONG), large).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(body.contains("\"limit_bytes\":100"), "{body}");
}

#[tokio::test]
async fn rfc6749_s5_2_a_request_for_a_token_that_is_too_large_is_refused_in_oauths_words_too() {
    for (path, error, reader) in
        [("/t/acme/oauth2/token", Some("invalid_request"), Some("*")), ("/body", None, None)]
    {
        let mut large = request(path);
        *large.method_mut() = Method::POST;
        large.headers_mut().insert("content-length", HeaderValue::from_static("101"));
        let (status, headers, body) = send(&mut harness(false, LONG), large).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body.get("error").and_then(serde_json::Value::as_str), error, "{body}");
        let allowed = headers.get("access-control-allow-origin").map(HeaderValue::as_bytes);
        assert_eq!(allowed, reader.map(str::as_bytes), "{path}");
    }
}

#[tokio::test]
async fn metrics_name_the_route_and_never_the_path() {
    let mut harness = harness(false, LONG);
    send(&mut harness, request("/user/alice?email=a@example.org")).await;
    send(&mut harness, request("/secret/path")).await;
    let text = harness.metrics.encode().unwrap();
    assert!(text.contains("route=\"/user/{id}\",method=\"GET\",status=\"2xx\""), "{text}");
    assert!(!text.contains("alice") && !text.contains("secret"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_takes_too_long_may_have_happened_and_a_read_did_nothing() {
    let mut harness = harness(false, LONG);
    for (path, expects) in [
        ("/t/acme/oauth2/token", "problem:outcome-unknown"),
        ("/t/acme/oauth2/introspect", "problem:unavailable"),
    ] {
        let mut request = request(path);
        *request.method_mut() = Method::POST;
        let (status, headers, body) = send(&mut harness, request).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains(expects), "{path}: {body}");
        assert_eq!(headers["retry-after"], "1");
    }
}
