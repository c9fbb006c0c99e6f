//! The sending side of replication: many appends in flight to one member, answered in order.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use openraft::errors::RPCError;
use openraft::network::RPCTypes;
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};

use super::link::unreadable;
use super::message::Kind;
use super::network::PeerNetwork;
use super::transport::PeerError;
use super::{append_wire, wire};
use crate::BoxFuture;
use crate::type_config::{LogId, TypeConfig};

/// Appends in flight to one member.
const IN_FLIGHT_MAX: usize = 64;
/// Bytes in flight to one member, before the last append.
const IN_FLIGHT_BYTES_MAX: usize = 8 << 20;

type Request = AppendEntriesRequest<TypeConfig>;
type Answer = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;

struct InFlight {
    term: u64,
    previous: Option<LogId>,
    bytes: usize,
    answer: BoxFuture<'static, Result<Bytes, PeerError>>,
}

struct Pipeline<'s, S> {
    network: &'s mut PeerNetwork,
    input: S,
    input_ended: bool,
    in_flight: VecDeque<InFlight>,
    bytes: usize,
}

/// Answers in the order of the requests; ends after the first that is no success.
pub(super) fn pipelined<'s, S>(network: &'s mut PeerNetwork, input: S) -> impl Stream<Item = Answer> + 's
where
    S: Stream<Item = Request> + Unpin + 's,
{
    let pipeline = Pipeline { network, input, input_ended: false, in_flight: VecDeque::new(), bytes: 0 };
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
    finish(network, sent.term, sent.previous, answer)
}

impl<S: Stream<Item = Request> + Unpin> Pipeline<'_, S> {
    async fn next(&mut self) -> Option<Answer> {
        loop {
            if self.in_flight.is_empty() && self.input_ended {
                return None;
            }
            let room = self.in_flight.len() < IN_FLIGHT_MAX && self.bytes < IN_FLIGHT_BYTES_MAX;
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
        let InFlight { term, previous, bytes, .. } = self.in_flight.pop_front()?;
        self.bytes -= bytes;
        Some(finish(self.network, term, previous, answer))
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
    Ok(InFlight { term: request.vote.leader_id.term, previous: request.prev_log_id, bytes, answer })
}

fn finish(
    network: &mut PeerNetwork,
    term: u64,
    previous: Option<LogId>,
    answer: Result<Bytes, PeerError>,
) -> Answer {
    let read =
        answer.and_then(|bytes| wire::decode(&bytes).map_err(|cause| unreadable(network.target, &cause)));
    match read {
        Ok(answer) => network.judge(term, previous, answer),
        Err(cause) => Err(network.error(&cause, RPCTypes::AppendEntries, network.append_deadline)),
    }
}
