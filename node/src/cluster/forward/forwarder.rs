//! Follows a request to the node that can answer it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, Request, Uri};
use axum::response::Response;
use bytes::BytesMut;
use domicile_raft::{Clock, NodeId, Partition, PartitionId};
use futures::StreamExt as _;

use super::channel::{Channel, SendError};
use super::class::{Class, Endpoint, Repeat};
use super::envelope::{Envelope, Outcome, strip_hop, strip_internal};
use super::here::{Held, Here, Step, votes};
use super::places::{Learnt, Places, Target};
use super::problems;
use crate::serve::RequestScope;
use crate::telemetry::{ForwardLabels, ForwardMetrics, ForwardResult};

/// From the request's arrival to its answer. Failover is over by then, or the caller is told.
pub(crate) const DEADLINE: Duration = Duration::from_millis(4_500);
/// Left to the first node when the second gives up, and to a node when its handler does.
pub(crate) const WAY_BACK: Duration = Duration::from_millis(50);
/// Between two rounds over the nodes while nobody leads; grows to the longest.
const PAUSE: Duration = Duration::from_millis(25);
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// An answer of a write up to this is received whole before it is given on, so that one that breaks off
/// counts as lost.
const WHOLE_ANSWER_MAX: usize = 256 << 10;

const CONSISTENCY: HeaderName = HeaderName::from_static("domicile-consistency");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What forwarding is made of.
pub(crate) struct Forwarder {
    pub(crate) places: Arc<dyn Places>,
    pub(crate) channel: Arc<dyn Channel>,
    pub(crate) learnt: Learnt,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: ForwardMetrics,
    /// A longer body is 413.
    pub(crate) body_bytes_max: usize,
}

/// One request on its way.
pub(crate) struct Trip<'a> {
    pub(crate) target: &'a Target,
    pub(crate) endpoint: &'static Endpoint,
    pub(crate) held: &'a Held,
    pub(crate) scope: RequestScope,
    /// On the monotonic clock.
    pub(crate) arrived: Duration,
}

/// Who is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Here,
    Node(NodeId),
}

/// What came of the tries so far.
#[derive(Default)]
struct Tried {
    /// In this round.
    round: Vec<Next>,
    /// Named by the last node that was asked.
    hint: Option<NodeId>,
    /// Whether some try may have done it.
    unknown: bool,
    /// A handler's last word; once some try may have done it, the word of such a try.
    answer: Option<Response>,
    rounds: u32,
}

impl Tried {
    /// Keeps what a handler said that did nothing.
    fn not_done(&mut self, answer: Option<Response>) {
        if !self.unknown {
            self.answer = answer.or(self.answer.take());
        }
    }

    fn pause(&self) -> Duration {
        PAUSE.saturating_mul(1 << self.rounds.min(3)).min(PAUSE_MAX)
    }
}

impl Forwarder {
    pub(crate) fn here(&self) -> Here<'_> {
        Here { places: self.places.as_ref(), clock: self.clock.as_ref(), metrics: &self.metrics }
    }

    /// What is left of the time of a request that came at `arrived` on the monotonic clock.
    pub(crate) fn left(&self, arrived: Duration) -> Duration {
        DEADLINE.saturating_sub(self.clock.monotonic().saturating_sub(arrived))
    }

    /// `scope` with the time that is left to a handler: it ends a little before the request's own, so that
    /// the handler can say what came of it.
    pub(crate) fn rest_of(&self, scope: RequestScope) -> RequestScope {
        let left = self.left(scope.arrived).saturating_sub(WAY_BACK);
        RequestScope { deadline: scope.deadline.min(left), ..scope }
    }

    /// Runs the handler on this node, since no other could do more, within the request's time.
    pub(crate) async fn alone<F>(
        &self,
        endpoint: &Endpoint,
        arrived: Duration,
        run: impl FnOnce() -> F,
    ) -> Response
    where
        F: Future<Output = Response>,
    {
        match tokio::time::timeout(self.left(arrived), run()).await {
            Ok(response) => response,
            // What a dropped handler had asked of a partition may still come about.
            Err(_) if endpoint.may_write() => problems::outcome_unknown(endpoint),
            Err(_) => problems::nobody_answers(endpoint, PartitionId::DIRECTORY),
        }
    }

    /// Asks one node after another until one answers or the deadline is over. `run` handles the request
    /// on this node.
    pub(crate) async fn follow<F>(&self, trip: &Trip<'_>, run: impl Fn() -> F) -> Response
    where
        F: Future<Output = Response>,
    {
        let left = || self.left(trip.arrived);
        let mut tried = Tried::default();
        loop {
            let remaining = left();
            if remaining <= WAY_BACK {
                return given_up(trip, tried);
            }
            let Some(next) = self.next(trip, &tried) else {
                tried.rounds += 1;
                tried.round.clear();
                tokio::time::sleep(tried.pause().min(remaining)).await;
                continue;
            };
            tried.round.push(next);
            let step = match next {
                Next::Here => self.here().answer(trip.target, trip.endpoint, remaining, &run).await,
                Next::Node(node) => self.there(trip, node).await,
            };
            if let Some(response) = self.weigh(trip, next, step, &mut tried) {
                return response;
            }
        }
    }

    /// The answer, if this step ends the trip.
    fn weigh(&self, trip: &Trip<'_>, asked: Next, step: Step, tried: &mut Tried) -> Option<Response> {
        let home = trip.target.home;
        match step {
            Step::Done(response) => {
                if let (Next::Node(node), Class::Write, false) =
                    (asked, trip.endpoint.class, trip.endpoint.is_for_voters())
                {
                    self.learnt.leads(home, node);
                }
                return Some(response);
            }
            Step::Elsewhere(leader, response) => {
                if let Next::Node(node) = asked {
                    self.learnt.leads_not(home, node);
                }
                tried.hint = leader;
                tried.not_done(response);
            }
            Step::Unconfirmed(response) => tried.not_done(response),
            Step::NotSent => self.silent(home, asked),
            Step::Unknown(response) => {
                self.silent(home, asked);
                if !trip.may_repeat() {
                    return Some(response.unwrap_or_else(|| problems::outcome_unknown(trip.endpoint)));
                }
                // What an earlier try said of itself, that nothing was done, is no longer the whole truth.
                let earlier = tried.answer.take().filter(|_| tried.unknown);
                tried.unknown = true;
                tried.answer = response.or(earlier);
            }
        }
        None
    }

    fn silent(&self, home: PartitionId, asked: Next) {
        if let Next::Node(node) = asked {
            self.learnt.leads_not(home, node);
            self.learnt.silent(node);
        }
    }

    /// Who has not been asked in this round, the most promising first.
    fn next(&self, trip: &Trip<'_>, tried: &Tried) -> Option<Next> {
        let (home, own) = (trip.target.home, self.places.own());
        let replica = self.places.replica(home);
        let mut order: Vec<Next> = Vec::new();
        let place = |node: NodeId| if node == own { Next::Here } else { Next::Node(node) };
        let leads = replica.as_ref().is_some_and(|replica| replica.leadership().borrow().leads);
        let mut holders = self.places.holders(home);
        self.learnt.silent_last(&mut holders);
        let leaders = [tried.hint, None, self.learnt.leader(home)];
        let by_replica = replica.as_ref().filter(|_| !leads).and_then(|replica| replica.status().leader);
        let leaders = leaders.into_iter().flatten().chain(by_replica).map(place);
        let near = holders.into_iter().map(Next::Node);
        let class = trip.endpoint.class;
        let suffices = |replica: &Arc<dyn Partition>| {
            class != Class::Write || (trip.endpoint.is_for_voters() && votes(replica.as_ref(), own))
        };
        if leads || replica.as_ref().is_some_and(suffices) {
            order.push(Next::Here);
        }
        if class == Class::Bounded
            || (class == Class::Read && trip.has_token())
            || trip.endpoint.is_for_voters()
        {
            order.extend(near.chain(leaders));
        } else {
            order.extend(leaders.chain(near));
        }
        let may_be_here = replica.is_some();
        order.into_iter().find(|next| (*next != Next::Here || may_be_here) && !tried.round.contains(next))
    }

    /// Sends the request to another node.
    async fn there(&self, trip: &Trip<'_>, node: NodeId) -> Step {
        let within = || self.left(trip.arrived).saturating_sub(WAY_BACK);
        let Some(request) = trip.forwarded(within()) else { return Step::Unconfirmed(None) };
        let sent = self.channel.send(node, request, within()).await;
        let (step, result) = match sent {
            Err(SendError::NotSent) => (Step::NotSent, ForwardResult::NotSent),
            Err(SendError::Lost) => (lost(trip.endpoint.class), ForwardResult::Lost),
            Ok(response) => received(trip.endpoint.class, response, within()).await,
        };
        let class = trip.endpoint.class.name();
        self.metrics.forwarded(&ForwardLabels { class, peer: node.0, result });
        step
    }

    /// The whole body, within its bound and the request's time.
    ///
    /// # Errors
    /// The answer to one that is too long, breaks off, or takes too long to come.
    pub(crate) async fn whole(&self, body: Body, arrived: Duration) -> Result<Bytes, Response> {
        let mut chunks = body.into_data_stream();
        let reading = async {
            let mut whole = BytesMut::new();
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk.map_err(|_| problems::cut_short())?;
                if whole.len() + chunk.len() > self.body_bytes_max {
                    return Err(problems::too_large(self.body_bytes_max));
                }
                whole.extend_from_slice(&chunk);
            }
            Ok(whole.freeze())
        };
        let read = tokio::time::timeout(self.left(arrived), reading).await;
        match read {
            Ok(read) => read,
            Err(_) => Err(problems::body_too_slow()),
        }
    }
}

/// What is said when the time is over: to a person a handler's page, to a program a problem document.
fn given_up(trip: &Trip<'_>, tried: Tried) -> Response {
    tracing::info!(
        partition = trip.target.home.0,
        class = trip.endpoint.class.name(),
        "no node answered a request in time"
    );
    if tried.unknown && trip.endpoint.class == Class::Write {
        return tried.answer.unwrap_or_else(|| problems::outcome_unknown(trip.endpoint));
    }
    let page = tried.answer.filter(is_page);
    page.unwrap_or_else(|| problems::nobody_answers(trip.endpoint, trip.target.home))
}

fn is_page(answer: &Response) -> bool {
    let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/html"))
}

/// A read that was lost did nothing.
fn lost(class: Class) -> Step {
    if class == Class::Write { Step::Unknown(None) } else { Step::Unconfirmed(None) }
}

/// What the other node's answer says.
async fn received(
    class: Class,
    response: axum::http::Response<Body>,
    within: Duration,
) -> (Step, ForwardResult) {
    let (head, body) = response.into_parts();
    let mut headers = head.headers;
    let outcome = Outcome::take(&mut headers);
    strip_hop(&mut headers);
    strip_internal(&mut headers);
    let answer = |body| {
        let mut answer = Response::new(body);
        *answer.status_mut() = head.status;
        *answer.headers_mut() = headers;
        answer
    };
    let length = hyper::body::Body::size_hint(&body).upper();
    let short =
        length.is_some_and(|bytes| usize::try_from(bytes).is_ok_and(|bytes| bytes <= WHOLE_ANSWER_MAX));
    let answer = if short {
        match tokio::time::timeout(within, to_bytes(body, WHOLE_ANSWER_MAX)).await {
            Ok(Ok(whole)) => answer(Body::from(whole)),
            Ok(Err(_)) | Err(_) => return (lost(class), ForwardResult::Lost),
        }
    } else {
        answer(body)
    };
    match outcome {
        Outcome::Answered => (Step::Done(answer), ForwardResult::Answered),
        Outcome::Elsewhere(leader) => (Step::Elsewhere(leader, told(answer)), ForwardResult::Elsewhere),
        Outcome::Unconfirmed => (Step::Unconfirmed(told(answer)), ForwardResult::Unconfirmed),
        Outcome::Unknown if class == Class::Write => (Step::Unknown(told(answer)), ForwardResult::Unknown),
        Outcome::Unknown => (Step::Unconfirmed(told(answer)), ForwardResult::Unknown),
    }
}

/// The answer of a handler; nodes that had none send 503 without a body.
fn told(answer: Response) -> Option<Response> {
    let empty = hyper::body::Body::size_hint(answer.body()).exact() == Some(0);
    Some(answer).filter(|answer| !(empty && answer.status() == axum::http::StatusCode::SERVICE_UNAVAILABLE))
}

impl Trip<'_> {
    fn headers(&self) -> &HeaderMap {
        &self.held.parts().headers
    }

    fn has_token(&self) -> bool {
        self.headers().contains_key(CONSISTENCY)
    }

    /// Whether a request that may have been done is sent again.
    fn may_repeat(&self) -> bool {
        match self.endpoint.repeat {
            Repeat::Safe => true,
            Repeat::WithKey => self.headers().contains_key(IDEMPOTENCY_KEY),
            Repeat::Never => false,
        }
    }

    /// The request as it goes to another node: with the authority that the client named, since issuers and
    /// cookies depend on it.
    fn forwarded(&self, left: Duration) -> Option<Request<Bytes>> {
        let parts = self.held.parts();
        let host = parts.headers.get(header::HOST).and_then(|value| value.to_str().ok());
        let authority = parts.uri.authority().map_or(host, |authority| Some(authority.as_str()))?;
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let uri = Uri::builder().scheme("http").authority(authority).path_and_query(target).build().ok()?;
        let mut headers = parts.headers.clone();
        strip_hop(&mut headers);
        strip_internal(&mut headers);
        headers.remove(header::HOST);
        headers.remove(header::CONTENT_LENGTH);
        let envelope = Envelope {
            id: self.scope.id,
            address: self.scope.address,
            secure: self.scope.secure,
            deadline_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            home: self.target.home,
            epoch: self.target.epoch,
            trace: parts.extensions.get().copied(),
        };
        envelope.put(&mut headers);
        let mut request = Request::new(self.held.body.clone());
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Some(request)
    }
}
