//! The sending side of replication: many appends in flight to one member, answered in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use openraft::errors::RPCError;
use openraft::network::RPCTypes;
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};

use super::link::unreadable;
use super::message::Kind;
use super::network::{PeerNetwork, Sent};
use super::transport::PeerError;
use super::{append_wire, wire};
use crate::BoxFuture;
use crate::type_config::TypeConfig;

/// Appends in flight to one member.
const IN_FLIGHT_MAX: usize = 64;
/// Bytes in flight to one member, before the last append: those of one group, and those of all groups,
/// which share one queue and share it evenly.
const IN_FLIGHT_BYTES_MAX: usize = 8 << 20;
const SHARED_BYTES_MAX: usize = 48 << 20;
/// What a group may have in flight however many others there are.
const IN_FLIGHT_BYTES_MIN: usize = 256 << 10;

type Request = AppendEntriesRequest<TypeConfig>;
type Answer = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;

struct InFlight {
    sent: Sent,
    bytes: usize,
    answer: BoxFuture<'static, Result<Bytes, PeerError>>,
}

struct Pipeline<'s, S> {
    network: &'s mut PeerNetwork,
    input: S,
    input_ended: bool,
    in_flight: VecDeque<InFlight>,
    bytes: usize,
    /// Held while something is in flight.
    under_way: Option<UnderWay>,
}

/// Counts one group among those that share the queue.
struct UnderWay(Arc<AtomicUsize>);

impl UnderWay {
    fn among(groups: Arc<AtomicUsize>) -> Self {
        groups.fetch_add(1, Ordering::Relaxed);
        Self(groups)
    }

    /// This group's part of the queue, in bytes.
    fn share(&self) -> usize {
        let groups = self.0.load(Ordering::Relaxed).max(1);
        (SHARED_BYTES_MAX / groups).clamp(IN_FLIGHT_BYTES_MIN, IN_FLIGHT_BYTES_MAX)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers in the order of the requests; ends after the first that is no success.
pub(super) fn pipelined<'s, S>(network: &'s mut PeerNetwork, input: S) -> impl Stream<Item = Answer> + 's
where
    S: Stream<Item = Request> + Unpin + 's,
{
    let in_flight = VecDeque::new();
    let pipeline = Pipeline { network, input, input_ended: false, in_flight, bytes: 0, under_way: None };
    futures::stream::unfold(Some(pipeline), |pipeline| async {
        let mut pipeline = pipeline?;
        let answer = pipeline.next().await?;
        let goes_on = matches!(answer, Ok(Ok(_)));
        Some((answer, goes_on.then_some(pipeline)))
    })
}

/// Sends one request and waits.
pub(super) async fn one(
    network: &mut PeerNetwork,
    request: Request,
) -> Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>> {
    let sent = send(network, &request)?;
    let answer = sent.answer.await;
    finish(network, &sent.sent, answer)
}

impl<S: Stream<Item = Request> + Unpin> Pipeline<'_, S> {
    async fn next(&mut self) -> Option<Answer> {
        loop {
            if self.in_flight.is_empty() && self.input_ended {
                return None;
            }
            let share = self.under_way.as_ref().map_or(IN_FLIGHT_BYTES_MAX, UnderWay::share);
            let room = self.in_flight.len() < IN_FLIGHT_MAX && self.bytes < share;
            let Self { in_flight, input, .. } = self;
            let first = async {
                match in_flight.front_mut() {
                    Some(first) => (&mut first.answer).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                answer = first => return self.answered(answer),
                request = input.next(), if room && !self.input_ended => match request {
                    Some(request) => match send(self.network, &request) {
                        Ok(sent) => {
                            self.bytes += sent.bytes;
                            let (link, to) = (&self.network.link, self.network.target);
                            self.under_way.get_or_insert_with(|| UnderWay::among(link.appending(to)));
                            self.in_flight.push_back(sent);
                        }
                        Err(cause) => return Some(Err(cause)),
                    },
                    None => self.input_ended = true,
                },
            }
        }
    }

    fn answered(&mut self, answer: Result<Bytes, PeerError>) -> Option<Answer> {
        let InFlight { sent, bytes, .. } = self.in_flight.pop_front()?;
        self.bytes -= bytes;
        if self.in_flight.is_empty() {
            self.under_way = None;
        }
        Some(finish(self.network, &sent, answer))
    }
}

fn send(network: &PeerNetwork, request: &Request) -> Result<InFlight, RPCError<TypeConfig>> {
    network.ensure_trusted()?;
    let mut message = network.link.envelope(network.target, Kind::Append, 256);
    append_wire::encode(&mut message, network.group, request).map_err(|cause| {
        network.error(&unreadable(network.target, &cause), RPCTypes::AppendEntries, network.append_deadline)
    })?;
    let bytes = message.len();
    let answer = network.link.send(network.target, Kind::Append, message, network.append_deadline);
    Ok(InFlight { sent: Sent::of(request), bytes, answer })
}

fn finish(network: &mut PeerNetwork, sent: &Sent, answer: Result<Bytes, PeerError>) -> Answer {
    let read =
        answer.and_then(|bytes| wire::decode(&bytes).map_err(|cause| unreadable(network.target, &cause)));
    match read {
        Ok(answer) => network.judge(sent, answer),
        Err(cause) => Err(network.error(&cause, RPCTypes::AppendEntries, network.append_deadline)),
    }
}
