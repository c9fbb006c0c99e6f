//! Logs and metrics. Neither holds personal data or secrets: no paths, queries, headers or bodies.

mod forward;
mod http;
mod log;
mod logouts;
mod partitions;
mod peers;
mod process;
mod request;
mod trace;

use std::sync::Arc;

use domicile_raft::PartitionStatus;
use prometheus_client::registry::Registry;

pub use forward::{ForwardLabels, ForwardMetrics, ForwardResult};
pub use http::{HttpMetrics, RequestLabels, StatusClass};
pub use log::{LogInitError, init as init_log};
pub use logouts::LogoutMetrics;
pub use peers::PeerSource;
pub use request::within_request;
pub use trace::{ParseTraceError, Trace};

/// Where the partitions' gauges come from, asked at each scrape.
pub type PartitionSource = Arc<dyn Fn() -> Vec<PartitionStatus> + Send + Sync>;

/// All metrics of the node, in the text format of OpenMetrics 1.0.
///
/// `prometheus-client` rather than `metrics` and its exporter: fixed histogram buckets that add up over
/// nodes, no global state (each test has its own registry) and a third of the crates.
pub struct Metrics {
    registry: Registry,
    /// Requests and connections.
    pub http: HttpMetrics,
    /// Requests sent to other nodes.
    pub forward: ForwardMetrics,
    /// Clients told of logouts.
    pub logouts: LogoutMetrics,
}

impl Metrics {
    /// Registers everything. `partitions` is asked at each scrape and must not block.
    pub fn new(partitions: PartitionSource) -> Self {
        let mut registry = Registry::default();
        let own = registry.sub_registry_with_prefix("domicile");
        let (http, forward) = (HttpMetrics::register(own), ForwardMetrics::register(own));
        let logouts = LogoutMetrics::register(own);
        registry.register_collector(Box::new(partitions::PartitionCollector::new(partitions)));
        registry.register_collector(Box::new(process::ProcessCollector));
        Self { registry, http, forward, logouts }
    }

    /// With the figures of other nodes too. `peers` is asked at each scrape and must not block.
    #[must_use]
    pub fn with_peers(mut self, peers: PeerSource) -> Self {
        self.registry.register_collector(Box::new(peers::PeerCollector::new(peers)));
        self
    }

    /// The exposition, to be sent as [`Metrics::CONTENT_TYPE`].
    ///
    /// # Errors
    /// [`std::fmt::Error`] if a collector fails.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// OpenMetrics 1.0 text; Prometheus and its kin read it.
    pub const CONTENT_TYPE: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
}

#[cfg(test)]
mod tests {
    use domicile_raft::peer::tls::PeerCounts;
    use domicile_raft::{Health, NodeId, PartitionId};

    use super::*;

    fn status() -> PartitionStatus {
        PartitionStatus {
            leader: Some(NodeId(1)),
            term: 3,
            voters: vec![NodeId(1)],
            applied: 41,
            committed: 42,
            health: Health::Running,
            ..PartitionStatus::new(PartitionId(1))
        }
    }

    #[test]
    fn a_leader_that_is_not_heard_of_counts_as_none() {
        let has_leader = |status: PartitionStatus| {
            let text = Metrics::new(Arc::new(move || vec![status.clone()])).encode().unwrap();
            let gauge = "domicile_partition_has_leader{partition=\"1\"} ";
            text.lines().find_map(|line| line.strip_prefix(gauge)).map(str::to_owned)
        };
        assert_eq!(has_leader(status()).as_deref(), Some("1"));
        let silent = PartitionStatus { leader_silent_ms: Some(7_000), ..status() };
        assert_eq!(has_leader(silent).as_deref(), Some("0"));
        let unled = PartitionStatus { leader: None, ..status() };
        assert_eq!(has_leader(unled).as_deref(), Some("0"));
    }

    #[test]
    fn a_scrape_shows_requests_by_route_partitions_and_memory() {
        let counts = PeerCounts {
            bytes_out: 7,
            in_flight: 2,
            round_trip: Some(std::time::Duration::from_millis(5)),
            ..PeerCounts::default()
        };
        let metrics = Metrics::new(Arc::new(|| vec![status()]));
        let metrics = metrics.with_peers(Arc::new(move || vec![(NodeId(3), counts)]));
        let labels =
            RequestLabels { route: "/t/{tenant}/token".into(), method: "POST", status: StatusClass::Success };
        metrics.http.record(&labels, std::time::Duration::from_millis(3));
        let text = metrics.encode().unwrap();
        for line in [
            "domicile_http_request_duration_seconds_count{route=\"/t/{tenant}/token\",method=\"POST\",status=\"2xx\"} 1",
            "domicile_partition_applied_index{partition=\"1\"} 41",
            "domicile_partition_committed_index{partition=\"1\"} 42",
            "domicile_partition_term{partition=\"1\"} 3",
            "domicile_partition_has_leader{partition=\"1\"} 1",
            "domicile_partition_stopped{partition=\"1\"} 0",
            "domicile_peer_sent_bytes_total{peer=\"3\"} 7",
            "domicile_peer_in_flight{peer=\"3\"} 2",
            "domicile_peer_round_trip_seconds{peer=\"3\"} 0.005",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        let memory =
            text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes ")).unwrap();
        assert!(memory.parse::<u64>().unwrap() > 1 << 20);
    }
}
