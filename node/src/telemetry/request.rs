//! Which request a log line is about.
//!
//! A task-local value and not a `tracing` span: a span costs its allocation and formatting on every
//! request (some 5% of one to JWKS), and nearly all requests log nothing.

use domicile_iam::ids::RequestId;

use super::trace::Trace;

tokio::task_local! {
    static REQUEST: (RequestId, Option<Trace>);
}

/// Runs `work`; its log lines name request `id`, and the trace that it is part of.
pub fn within_request<F: Future>(
    id: RequestId,
    trace: Option<Trace>,
    work: F,
) -> impl Future<Output = F::Output> {
    REQUEST.scope((id, trace), work)
}

/// The request that the current task works on.
pub(super) fn current() -> Option<(RequestId, Option<Trace>)> {
    REQUEST.try_with(|request| *request).ok()
}
