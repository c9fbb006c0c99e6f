//! Which request a log line is about.
//!
//! A task-local value and not a `tracing` span: a span costs its allocation and formatting on every
//! request (some 5% of one to JWKS), and nearly all requests log nothing.

use domicile_iam::ids::RequestId;

tokio::task_local! {
    static REQUEST: RequestId;
}

/// Runs `work`; its log lines name request `id`.
pub fn within_request<F: Future>(id: RequestId, work: F) -> impl Future<Output = F::Output> {
    REQUEST.scope(id, work)
}

/// The request that the current task works on.
pub(super) fn current() -> Option<RequestId> {
    REQUEST.try_with(|id| *id).ok()
}
