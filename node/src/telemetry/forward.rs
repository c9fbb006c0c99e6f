//! Requests forwarded to other nodes, and how stale bounded reads were.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// From what a busy leader shows to the longest bound that a tenant may set.
const BUCKETS_S: [f64; 11] = [0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0];

/// What a forwarded request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForwardResult {
    /// It was answered.
    Answered,
    /// That node does not lead.
    Elsewhere,
    /// That node could not show that it is fresh enough.
    Unconfirmed,
    /// Nothing was sent.
    NotSent,
    /// No answer came.
    Lost,
    /// The node does not know whether it was done.
    Unknown,
}

impl EncodeLabelValue for ForwardResult {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        match self {
            Self::Answered => "answered",
            Self::Elsewhere => "elsewhere",
            Self::Unconfirmed => "unconfirmed",
            Self::NotSent => "not_sent",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
        }
        .encode(encoder)
    }
}

/// Labels of a forwarded request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ForwardLabels {
    /// The endpoint's consistency.
    pub class: &'static str,
    /// The node it was sent to.
    pub peer: u64,
    /// What came of it.
    pub result: ForwardResult,
}

/// What is measured about forwarding.
#[derive(Clone)]
pub struct ForwardMetrics {
    requests: Family<ForwardLabels, Counter>,
    staleness: Histogram,
}

impl ForwardMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let requests = Family::default();
        let help = "Requests sent to other nodes, by what their endpoint needs";
        registry.register("forwarded_requests", help, requests.clone());
        let staleness = Histogram::new(BUCKETS_S);
        let help = "Age of what bounded reads here could prove to hold";
        registry.register("bounded_read_staleness_seconds", help, staleness.clone());
        Self { requests, staleness }
    }

    /// Counts one request that was sent to another node.
    pub fn forwarded(&self, labels: &ForwardLabels) {
        self.requests.get_or_create(labels).inc();
    }

    /// Records the staleness of one bounded read, in ms.
    pub fn staleness(&self, ms: u64) {
        self.staleness.observe(std::time::Duration::from_millis(ms).as_secs_f64());
    }
}

#[cfg(test)]
impl Default for ForwardMetrics {
    fn default() -> Self {
        Self::register(&mut Registry::default())
    }
}
