//! What goes to and comes from each other node, read at each scrape. Labels hold node ids only.

use std::fmt;
use std::sync::Arc;

use domicile_raft::NodeId;
use domicile_raft::peer::tls::PeerCounts;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Where the figures of peers come from, asked at each scrape.
pub type PeerSource = Arc<dyn Fn() -> Vec<(NodeId, PeerCounts)> + Send + Sync>;

pub(super) struct PeerCollector {
    source: PeerSource,
}

impl PeerCollector {
    pub(super) fn new(source: PeerSource) -> Self {
        Self { source }
    }
}

impl fmt::Debug for PeerCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerCollector")
    }
}

type Count = fn(&PeerCounts) -> u64;
type Seconds = fn(&PeerCounts) -> Option<f64>;

const COUNTERS: [(&str, &str, Count); 8] = [
    ("domicile_peer_sent_bytes", "Bytes sent to the node, inside TLS", |counts| counts.bytes_out),
    ("domicile_peer_received_bytes", "Bytes received from the node, inside TLS", |counts| counts.bytes_in),
    ("domicile_peer_sent_messages", "Requests, answers and chunks sent", |counts| counts.messages_out),
    ("domicile_peer_received_messages", "Requests, answers and chunks received", |counts| counts.messages_in),
    ("domicile_peer_connects", "Connections made to the node", |counts| counts.connects),
    ("domicile_peer_connect_failures", "Attempts to connect that failed", |counts| counts.connect_failures),
    ("domicile_peer_accepts", "Connections accepted from the node", |counts| counts.accepts),
    ("domicile_peer_refused_calls", "Calls refused because the queue to the node was full", |counts| {
        counts.queue_full
    }),
];

const TIMES: [(&str, &str, Seconds); 2] = [
    ("domicile_peer_round_trip_seconds", "How long the last ping took", |counts| {
        counts.round_trip.map(|took| took.as_secs_f64())
    }),
    ("domicile_peer_last_contact_seconds", "How long ago something came from the node", |counts| {
        counts.heard.map(|ago| ago.as_secs_f64())
    }),
];

impl Collector for PeerCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let peers = (self.source)();
        for (name, help, count) in COUNTERS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (node, counts) in &peers {
                let labels = [("peer", node.0)];
                ConstCounter::new(count(counts)).encode(family.encode_family(&labels)?)?;
            }
        }
        let (name, help) = ("domicile_peer_in_flight", "Calls on the wire without an answer");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (node, counts) in &peers {
            let labels = [("peer", node.0)];
            ConstGauge::new(counts.in_flight).encode(family.encode_family(&labels)?)?;
        }
        for (name, help, seconds) in TIMES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (node, counts) in &peers {
                let Some(seconds) = seconds(counts) else { continue };
                let labels = [("peer", node.0)];
                ConstGauge::new(seconds).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
