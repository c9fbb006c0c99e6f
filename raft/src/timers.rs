//! Timers of a group: a setting of the group, never of a node.

use std::time::Duration;

use openraft::{Config, SnapshotPolicy};

/// How far apart a group's voters are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimerProfile {
    /// Voters in the zones of one region: heartbeat 100 ms, election 400 to 800 ms.
    #[default]
    Zone,
    /// Voters in several regions: heartbeat 500 ms, election 1500 to 3000 ms.
    Wide,
    /// For tests of clusters in one process: heartbeat 50 ms, election 250 to 500 ms.
    #[cfg(any(test, feature = "testing"))]
    Fast,
}

/// When the log is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// State is synced and the log considered for a cut after this many entries.
    pub snapshot_every: u64,
    /// This many entries below the snapshot stay, so that a lagging replica needs no snapshot.
    pub keep_entries: u64,
    /// Above this many bytes the log is cut whatever the entries. Counted from the last start.
    pub keep_bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { snapshot_every: 50_000, keep_entries: 100_000, keep_bytes: 256 << 20 }
    }
}

impl TimerProfile {
    /// The upper bound of the election timeout.
    #[must_use]
    pub fn election_max(self) -> Duration {
        Duration::from_millis(self.millis().2)
    }

    /// The time between heartbeats.
    pub(crate) fn heartbeat(self) -> Duration {
        Duration::from_millis(self.millis().0)
    }

    /// Heartbeat, shortest and longest election timeout, in ms.
    fn millis(self) -> (u64, u64, u64) {
        match self {
            Self::Zone => (100, 400, 800),
            Self::Wide => (500, 1_500, 3_000),
            #[cfg(any(test, feature = "testing"))]
            Self::Fast => (50, 250, 500),
        }
    }

    pub(crate) fn config(
        self,
        cluster_name: String,
        retention: Retention,
        has_peers: bool,
    ) -> Result<Config, openraft::ConfigError> {
        let (heartbeat, election_min, election_max) = self.millis();
        Config {
            cluster_name,
            heartbeat_interval: heartbeat,
            election_timeout_min: election_min,
            election_timeout_max: election_max,
            // With peers the node beats for all its groups at once.
            enable_heartbeat: !has_peers,
            // A rejoining replica must not depose a leader that others still hear (Raft §9.6).
            enable_pre_vote: Some(true),
            // A restarted leader asks for votes again: what it knew before may be stale.
            enable_leader_restore: Some(false),
            // Without it a leader cut off from its quorum can block its own replacement
            // (openraft issue 2080).
            quorum_loss_probe_interval: Some(2 * election_max),
            snapshot_policy: SnapshotPolicy::LogsSinceLast(retention.snapshot_every),
            max_in_snapshot_log_to_keep: retention.keep_entries,
            replication_lag_threshold: retention.keep_entries.max(retention.snapshot_every),
            ..Config::default()
        }
        .validate()
    }
}
