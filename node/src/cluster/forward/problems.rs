//! Answers of the way between nodes itself, where no handler gave one.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use domicile_raft::PartitionId;

use super::class::{Endpoint, Repeat};
use super::places::Target;
use crate::problem::Problem;

const RETRY_SOON_S: u64 = 1;

/// 503: nothing was done.
pub(crate) fn nobody_answers(endpoint: &Endpoint, home: PartitionId) -> Response {
    let detail = "no replica of the tenant's partition could answer in time; nothing was done";
    in_words_of(endpoint, Problem::unavailable(RETRY_SOON_S).detail(detail).with("partition", home.0))
}

/// 503: it may have been done.
pub(crate) fn outcome_unknown(endpoint: &Endpoint) -> Response {
    let title = "Whether it happened is not known";
    let detail = match endpoint.repeat {
        Repeat::WithKey => {
            "it may have happened: retry with the same `Idempotency-Key`, or read before trying again"
        }
        Repeat::Safe | Repeat::Never => "it may have happened",
    };
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "outcome-unknown", title);
    in_words_of(endpoint, problem.detail(detail).retry_after(RETRY_SOON_S))
}

/// OAuth clients look for `error` (RFC 6749 §5.2); it is an extension member of the problem.
fn in_words_of(endpoint: &Endpoint, problem: Problem) -> Response {
    if endpoint.path.contains("/oauth2/") {
        return problem.with("error", "temporarily_unavailable").into_response();
    }
    problem.into_response()
}

/// 421: the tenant is not served in this region, but for its public documents.
pub(crate) fn not_in_this_region(target: &Target, path: &str) -> Response {
    let title = "The tenant is served in its own regions only";
    let mut problem = Problem::new(StatusCode::MISDIRECTED_REQUEST, "outside-placement", title);
    let origin = target.home_origin.as_deref().map(|origin| origin.trim_end_matches('/'));
    if let Some(origin) = origin {
        problem = problem.with("home_origin", origin);
    }
    let mut response = problem.into_response();
    let link =
        origin.and_then(|origin| HeaderValue::try_from(format!("<{origin}{path}>; rel=\"alternate\"")).ok());
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

/// 413.
pub(crate) fn too_large(bytes_max: usize) -> Response {
    Problem::too_large(u64::try_from(bytes_max).unwrap_or(u64::MAX)).into_response()
}

/// 408: nothing was done.
pub(crate) fn body_too_slow() -> Response {
    Problem::body_too_slow().into_response()
}

/// 400.
pub(crate) fn cut_short() -> Response {
    Problem::bad_request("the body ended early").into_response()
}
