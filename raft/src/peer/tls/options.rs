//! Bounds and times of the transport.

use std::time::Duration;

/// Of one lane.
#[derive(Clone, Copy, Debug)]
pub struct LaneOptions {
    /// Bytes that may wait for one peer before calls fail with `QueueFull`.
    pub queue_bytes_max: usize,
    /// Connecting, the TLS handshake and the first frame together.
    pub connect_timeout: Duration,
    /// Longest wait between two attempts. Calls made in a wait fail at once.
    pub backoff_max: Duration,
    /// A ping goes out after this long without a frame from the peer.
    pub ping_every: Duration,
    /// A connection is closed after this long without a frame from the peer, and without bytes that a slow
    /// one took.
    pub dead_after: Duration,
}

/// Of the whole transport.
#[derive(Clone, Copy, Debug)]
pub struct TlsOptions {
    /// `Lane::Control`.
    pub control: LaneOptions,
    /// `Lane::Data`. A dead one holds up every commit that needs the peer.
    pub data: LaneOptions,
    /// A byte stream that moves no byte for this long is broken.
    pub stream_stall: Duration,
    /// Bytes of requests of one peer and lane that may be worked on here; more are refused.
    pub serving_bytes_max: usize,
    /// Connections accepted at one time.
    pub connections_max: usize,
    /// Of these, how many may still be in their handshake.
    pub handshakes_max: usize,
    /// Of these, how many may come from one source address.
    pub handshakes_per_source_max: usize,
    /// Connections accepted from one node.
    pub connections_per_node_max: usize,
    /// Of all, how many may be joining nodes.
    pub joins_max: usize,
    /// From accepting a connection to its first frame.
    pub handshake_timeout: Duration,
    /// A lane's connection on which nothing comes for this long is closed by the accepting side.
    pub accepted_idle: Duration,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            control: LaneOptions {
                queue_bytes_max: 8 << 20,
                connect_timeout: Duration::from_secs(2),
                backoff_max: Duration::from_secs(1),
                ping_every: Duration::from_millis(500),
                dead_after: Duration::from_secs(2),
            },
            data: LaneOptions {
                queue_bytes_max: 64 << 20,
                connect_timeout: Duration::from_secs(3),
                backoff_max: Duration::from_secs(1),
                ping_every: Duration::from_millis(500),
                dead_after: Duration::from_millis(2_500),
            },
            stream_stall: Duration::from_mins(1),
            serving_bytes_max: 64 << 20,
            connections_max: 1_024,
            handshakes_max: 128,
            joins_max: 16,
            handshakes_per_source_max: 64,
            connections_per_node_max: 128,
            handshake_timeout: Duration::from_secs(2),
            accepted_idle: Duration::from_secs(30),
        }
    }
}
