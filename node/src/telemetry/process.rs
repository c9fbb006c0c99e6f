//! Memory, threads and files of this process, from `/proc/self`.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// The names that Prometheus client libraries agreed on.
#[derive(Debug)]
pub(super) struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = |name| field(&status, name).map(|value| value * 1024);
        let files = std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64);
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Resident memory", kib("VmRSS:")),
            ("process_peak_resident_memory_bytes", "Highest resident memory so far", kib("VmHWM:")),
            ("process_virtual_memory_bytes", "Virtual memory", kib("VmSize:")),
            ("process_threads", "Threads", field(&status, "Threads:")),
            ("process_open_fds", "Open file descriptors", files),
        ] {
            // Not Linux: the metric is left out rather than wrong.
            let Some(value) = value else { continue };
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(metric)?;
        }
        Ok(())
    }
}

fn field(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}
