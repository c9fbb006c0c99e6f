//! One lane to one peer: dials when there is something to send, waits longer after each failure.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::codec::FramedRead;

use super::config::Protocol;
use super::connection::{self, Connection};
use super::dial::dial;
use super::endpoint::Shared;
use super::frame::{FrameDecoder, FrameWriter};
use super::hello::{self, Purpose};
use super::options::LaneOptions;
use super::queue::LaneQueue;
use crate::NodeId;
use crate::peer::{Lane, MESSAGE_BYTES_MAX};

const BACKOFF_FIRST: Duration = Duration::from_millis(25);
/// A connection that held this long was no failure.
const PROVEN_AFTER: Duration = Duration::from_secs(1);

/// Runs until the queue is closed and empty, or the transport stops.
pub(super) async fn run(shared: Arc<Shared>, to: NodeId, lane: Lane, queue: Arc<LaneQueue>) {
    let stop = shared.stop.clone();
    tokio::select! {
        () = stop.cancelled() => {}
        () = keep(&shared, to, lane, &queue) => {}
    }
    queue.close();
    queue.refuse("the transport is closed", Duration::MAX);
}

async fn keep(shared: &Shared, to: NodeId, lane: Lane, queue: &LaneQueue) {
    let options = shared.options.lane(lane);
    let mut failures = 0u32;
    loop {
        while queue.is_empty() {
            if queue.is_closed() {
                return;
            }
            queue.changed().await;
        }
        let reason = match connect(shared, to, lane, options).await {
            Ok(connection) => {
                tracing::debug!(peer = to.0, ?lane, "connected");
                let since = shared.clock.monotonic();
                let reason = connection::run(connection, shared, to, queue, options).await;
                let Some(reason) = reason else { continue };
                shared.ended(to);
                let held = shared.clock.monotonic().saturating_sub(since) >= PROVEN_AFTER;
                failures = if held { 0 } else { failures.saturating_add(1) };
                tracing::info!(peer = to.0, ?lane, %reason, "a connection ended");
                reason
            }
            Err(reason) => {
                if failures == 0 {
                    tracing::warn!(peer = to.0, ?lane, %reason, "a peer cannot be reached");
                }
                failures = failures.saturating_add(1);
                reason
            }
        };
        if lane == Lane::Control {
            shared.doubt(to);
        }
        let wait = backoff(shared, failures, options.backoff_max);
        queue.refuse(&reason, shared.clock.monotonic().saturating_add(wait));
    }
}

/// Doubles from 25 ms, with half of it by chance, so that peers do not knock in step. The first
/// attempt after a connection that held is at once.
fn backoff(shared: &Shared, failures: u32, max: Duration) -> Duration {
    let Some(exponent) = failures.checked_sub(1) else { return Duration::ZERO };
    let full = BACKOFF_FIRST.saturating_mul(1u32.checked_shl(exponent).unwrap_or(u32::MAX)).min(max);
    let mut chance = [0u8; 1];
    shared.clock.fill_random(&mut chance);
    full / 2 + full.mul_f64(f64::from(chance[0]) / 510.0)
}

async fn connect(
    shared: &Shared,
    to: NodeId,
    lane: Lane,
    options: &LaneOptions,
) -> Result<Connection, String> {
    let opening = async {
        let stream = dial(shared, to, Protocol::Raft, options.connect_timeout).await?;
        let progress = stream.progress();
        let (read, write) = tokio::io::split(stream);
        let (mut frames, mut writer) =
            (FramedRead::new(read, FrameDecoder::new(MESSAGE_BYTES_MAX)), FrameWriter::new(write));
        let purpose = Purpose::of(lane);
        let greeted = async {
            hello::send(&mut writer, &shared.cluster, purpose).await?;
            hello::receive(&mut frames, &shared.cluster).await
        };
        match greeted.await {
            Ok(answered) if answered == purpose => Ok(Connection { frames, writer, progress }),
            Ok(_) => Err(hello::HelloError::Purpose.to_string()),
            Err(cause) => Err(cause.to_string()),
        }
    };
    match tokio::time::timeout(options.connect_timeout, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(format!("no connection within {} ms", options.connect_timeout.as_millis())),
    }
}
