//! Clients told of logouts.

use std::sync::atomic::AtomicU64;

use domicile_iam::streams::session::LogoutFailure;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Tried {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GivenUp {
    reason: &'static str,
}

/// What is measured about telling clients of logouts.
#[derive(Clone)]
pub struct LogoutMetrics {
    tries: Family<Tried, Counter>,
    given_up: Family<GivenUp, Counter>,
    pending: Gauge<u64, AtomicU64>,
}

impl LogoutMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let (tries, given_up, pending) = (Family::default(), Family::default(), Gauge::default());
        registry.register("logout_tries", "Tries to tell a client of a logout, by result", tries.clone());
        let help = "Clients that could not be told of a logout";
        registry.register("logout_given_up", help, given_up.clone());
        let help = "Logouts that this node has still to tell clients of";
        registry.register("logout_pending", help, pending.clone());
        Self { tries, given_up, pending }
    }

    /// Counts one try.
    pub fn tried(&self, result: &'static str) {
        self.tries.get_or_create(&Tried { result }).inc();
    }

    /// Counts a client that will not be told.
    pub fn given_up(&self, reason: LogoutFailure) {
        let reason = match reason {
            LogoutFailure::Attempts => "attempts",
            LogoutFailure::Age => "age",
            LogoutFailure::Address => "address",
        };
        self.given_up.get_or_create(&GivenUp { reason }).inc();
    }

    /// How many are left.
    pub fn pending(&self, count: usize) {
        self.pending.set(count as u64);
    }
}
