//! Gauges of the partitions on this node, read at each scrape.

use std::fmt;

use domicile_raft::{Health, PartitionStatus};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::PartitionSource;

pub(super) struct PartitionCollector {
    source: PartitionSource,
}

impl PartitionCollector {
    pub(super) fn new(source: PartitionSource) -> Self {
        Self { source }
    }
}

impl fmt::Debug for PartitionCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PartitionCollector")
    }
}

type Reading = fn(&PartitionStatus) -> u64;

const GAUGES: [(&str, &str, Reading); 7] = [
    ("domicile_partition_applied_index", "Last log index applied here", |status| status.applied),
    ("domicile_partition_committed_index", "Last log index known committed here", |status| status.committed),
    ("domicile_partition_term", "Current Raft term", |status| status.term),
    ("domicile_partition_voters", "Voting members", |status| status.voters.len() as u64),
    ("domicile_partition_learners", "Members without a vote", |status| status.learners.len() as u64),
    ("domicile_partition_has_leader", "Whether a leader is known and heard of here", |status| {
        u64::from(status.leader_heard().is_some())
    }),
    (
        "domicile_partition_stopped",
        "Whether a fault stopped it here, for good or until a restart",
        |status| u64::from(!matches!(status.health, Health::Running)),
    ),
];

impl Collector for PartitionCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let partitions = (self.source)();
        for (name, help, reading) in GAUGES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for status in &partitions {
                let labels = [("partition", status.id.0)];
                ConstGauge::new(reading(status)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
