//! Keeps a replica that came back from nothing out of elections until it holds what was committed when it was opened
//! ([`crate::JoinPoint`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use openraft::async_runtime::watch::WatchReceiver;

use crate::config::JoinPoint;
use crate::type_config::Raft;

/// Open once the log has reached the point; it stays open.
#[derive(Debug)]
pub(crate) struct JoinGate {
    /// 0: nothing is waited for, or no longer.
    index: AtomicU64,
}

impl JoinGate {
    pub(crate) fn new(point: Option<JoinPoint>, last: Option<u64>) -> Arc<Self> {
        let index = point.map_or(0, |point| point.index);
        let reached = last.unwrap_or(0) >= index;
        Arc::new(Self { index: AtomicU64::new(if reached { 0 } else { index }) })
    }

    /// Whether the replica may vote and be elected.
    pub(crate) fn is_open(&self) -> bool {
        self.index.load(Ordering::Acquire) == 0
    }

    /// Whether it stands for election, on a node that lets its replicas.
    pub(crate) fn lets(&self, electable: bool) -> bool {
        electable && self.is_open()
    }

    /// Until the log has reached the point, or Raft has ended.
    pub(crate) async fn follow(self: Arc<Self>, raft: Raft, electable: Arc<AtomicBool>) {
        let index = self.index.load(Ordering::Acquire);
        let mut seen = raft.data_metrics();
        loop {
            let last = seen.borrow_watched().last_log.as_ref().map_or(0, openraft::LogId::index);
            if last >= index {
                break;
            }
            if seen.changed().await.is_err() {
                return;
            }
        }
        self.index.store(0, Ordering::Release);
        // The node may change its mind meanwhile; whoever comes last sees what the other left.
        loop {
            let wanted = electable.load(Ordering::Acquire);
            raft.runtime_config().elect(wanted);
            if electable.load(Ordering::Acquire) == wanted {
                return;
            }
        }
    }
}
