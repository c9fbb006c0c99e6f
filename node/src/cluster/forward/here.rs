//! A request on the replica of this node: may it be answered here, and was it?

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use domicile_raft::{Clock, Consistency, NodeId, Partition, ReadError};

use super::class::{Class, Endpoint};
use super::places::{Places, Target};
use crate::serve::RequestScope;
use crate::serve::standing::{self, Elsewhere, Standing};
use crate::telemetry::ForwardMetrics;

/// How long a read may wait on a replica that does not lead before another node is asked.
const FOLLOWER_WAIT: Duration = Duration::from_millis(1_500);

/// What one node came to.
pub(crate) enum Step {
    /// This is the answer.
    Done(Response),
    /// Nothing was done: another node leads. The answer that says so.
    Elsewhere(Option<NodeId>, Option<Response>),
    /// Nothing was done: it could not be shown that what is known there is fresh enough.
    Unconfirmed(Option<Response>),
    /// Nothing was sent.
    NotSent,
    /// It may have been done.
    Unknown(Option<Response>),
}

/// What running a request here takes.
pub(crate) struct Here<'a> {
    pub(crate) places: &'a dyn Places,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) metrics: &'a ForwardMetrics,
}

impl Here<'_> {
    /// Runs `request` if this node may answer it.
    pub(crate) async fn answer<F>(
        &self,
        target: &Target,
        endpoint: &Endpoint,
        left: Duration,
        run: impl FnOnce() -> F,
    ) -> Step
    where
        F: Future<Output = Response>,
    {
        let Some(replica) = self.places.replica(target.home) else { return Step::Elsewhere(None, None) };
        let leads = replica.leadership().borrow().leads;
        let class = endpoint.class;
        let may_write = leads || (endpoint.is_for_voters() && votes(replica.as_ref(), self.places.own()));
        match class {
            Class::Write if !may_write => Step::Elsewhere(replica.status().leader, None),
            Class::Write => self.run(&replica, class, left, run).await,
            Class::Bounded => {
                let bound = self.places.bound_ms(target.tenant, endpoint.shows_profiles());
                self.bounded(&replica, bound, left, run).await
            }
            Class::Read => {
                let left = if leads { left } else { left.min(FOLLOWER_WAIT) };
                self.run(&replica, class, left, run).await
            }
            Class::Documents | Class::Anywhere | Class::Local => Step::Done(run().await),
        }
    }

    /// The staleness is shown before the replica is looked at, and again afterwards: a process that was
    /// stopped in between answers nothing old (design §6).
    async fn bounded<F>(
        &self,
        replica: &Arc<dyn Partition>,
        bound: impl Future<Output = u64>,
        left: Duration,
        run: impl FnOnce() -> F,
    ) -> Step
    where
        F: Future<Output = Response>,
    {
        let started = self.clock.monotonic();
        let bound = bound.await;
        let wanted = if bound == 0 { Consistency::Linearizable } else { Consistency::BoundedMs(bound) };
        match replica.read(wanted, left.min(FOLLOWER_WAIT)).await {
            Ok(_) => {}
            Err(ReadError::NotLeader { leader }) => return Step::Elsewhere(leader, None),
            Err(ReadError::Timeout | ReadError::Stopped) => return Step::Unconfirmed(None),
        }
        let left = left.saturating_sub(self.clock.monotonic().saturating_sub(started));
        let step = self.run(replica, Class::Bounded, left, run).await;
        let staleness = replica.staleness_ms();
        if let Some(ms) = staleness {
            self.metrics.staleness(ms);
        }
        let too_old = bound > 0 && staleness.is_none_or(|ms| ms > bound);
        if too_old && matches!(step, Step::Done(_)) { Step::Unconfirmed(None) } else { step }
    }

    async fn run<F>(
        &self,
        replica: &Arc<dyn Partition>,
        class: Class,
        left: Duration,
        run: impl FnOnce() -> F,
    ) -> Step
    where
        F: Future<Output = Response>,
    {
        let Ok((response, standing)) = tokio::time::timeout(left, standing::watch(run())).await else {
            // What a dropped handler had proposed may still be applied.
            return if class == Class::Write { Step::Unknown(None) } else { Step::Unconfirmed(None) };
        };
        judge(response, standing, || replica.status().leader)
    }
}

/// Whether the replica of `own` has a vote, as its log says.
pub(crate) fn votes(replica: &dyn Partition, own: NodeId) -> bool {
    replica.status().voters.contains(&own)
}

/// What an answer is worth, from what was noted on its way.
fn judge(response: Response, standing: Standing, leader: impl FnOnce() -> Option<NodeId>) -> Step {
    match standing {
        Standing { unknown: true, .. } => Step::Unknown(Some(response)),
        Standing { wrote: true, .. } => Step::Done(response),
        Standing { elsewhere: Some(Elsewhere::Led(leader)), .. } => {
            Step::Elsewhere(Some(leader), Some(response))
        }
        Standing { elsewhere: Some(Elsewhere::Unknown), .. } => Step::Elsewhere(leader(), Some(response)),
        Standing { unconfirmed: true, .. } => Step::Unconfirmed(Some(response)),
        Standing { .. } => Step::Done(response),
    }
}

/// A request that can be made again.
#[derive(Clone)]
pub(crate) struct Held {
    parts: axum::http::request::Parts,
    pub(crate) body: axum::body::Bytes,
}

impl Held {
    /// From a request whose body was read.
    pub(crate) fn new(parts: axum::http::request::Parts, body: axum::body::Bytes) -> Self {
        Self { parts, body }
    }

    /// The request's head.
    pub(crate) fn parts(&self) -> &axum::http::request::Parts {
        &self.parts
    }

    /// The request once more, with what is left of its time.
    pub(crate) fn request(&self, scope: RequestScope) -> Request {
        let mut request = Request::from_parts(self.parts.clone(), Body::from(self.body.clone()));
        request.extensions_mut().insert(scope);
        request
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    #[test]
    fn what_was_written_is_answered_and_what_may_have_been_is_unknown() {
        let judged = |standing| judge("".into_response(), standing, || Some(NodeId(2)));
        let plain = Standing::default();
        assert!(matches!(judged(plain), Step::Done(_)));
        let elsewhere = Standing { elsewhere: Some(Elsewhere::Unknown), ..plain };
        assert!(matches!(judged(elsewhere), Step::Elsewhere(Some(NodeId(2)), Some(_))));
        assert!(matches!(judged(Standing { wrote: true, ..elsewhere }), Step::Done(_)));
        assert!(matches!(judged(Standing { unknown: true, wrote: true, ..elsewhere }), Step::Unknown(_)));
        assert!(matches!(judged(Standing { unconfirmed: true, ..plain }), Step::Unconfirmed(_)));
    }
}
