//! What a group takes from its leader: appends in any number, or one snapshot alone; and when it last heard of it.
//!
//! openraft takes it for granted that a received snapshot ends behind the log: if the log reaches beyond,
//! what counts as written goes back, which ends the core of a debug build, and entries that wait to be
//! applied are forgotten too early (docs/adr/0013). So a snapshot is handed over only while the log
//! ends before it, and appends wait meanwhile.

use std::sync::Arc;
use std::time::Duration;

use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use openraft::type_config::alias::SnapshotOf;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};
use tokio::time::timeout;

use super::leader_contact::LeaderContact;
use crate::snapshot::StateSnapshot;
use crate::type_config::{Raft, RaftVote, TypeConfig};

/// How long a snapshot waits for the disk to have what came before it.
const DRAIN_WAIT: Duration = Duration::from_secs(10);

/// A snapshot that was not installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    /// Appends that came before are not on disk yet; come again.
    #[error("appends before the snapshot are not on disk yet")]
    Busy,
    /// The group ended.
    #[error("{0}")]
    Stopped(String),
}

/// One group's. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Intake {
    gate: Arc<RwLock<()>>,
    leader: Arc<LeaderContact>,
}

/// An append that Raft may know of and has not answered.
pub(crate) type Entered = OwnedRwLockReadGuard<()>;

impl Intake {
    /// Waits while a snapshot is being installed. To be held until the append is answered.
    pub(crate) async fn enter(&self) -> Entered {
        Arc::clone(&self.gate).read_owned().await
    }

    /// `None` while a snapshot is being installed: then only what commits nothing may be handed over.
    pub(crate) fn try_enter(&self) -> Option<Entered> {
        Arc::clone(&self.gate).try_read_owned().ok()
    }

    /// What is known of the leader, whether what it sent was taken or not.
    pub(crate) fn leader(&self) -> &LeaderContact {
        &self.leader
    }

    /// Installs a snapshot from the leader that `vote` names, unless the log has what it covers; gives
    /// the vote to answer with, which is a later one if that leader is none any more.
    pub(crate) async fn install(
        &self,
        raft: &Raft,
        vote: RaftVote,
        snapshot: SnapshotOf<TypeConfig, StateSnapshot>,
    ) -> Result<RaftVote, InstallError> {
        // What was handed over before is answered once this is held, so it is on disk and its commands are
        // done. What commits nothing and brings no entries does not lengthen the log.
        let alone = timeout(DRAIN_WAIT, Arc::clone(&self.gate).write_owned());
        let _alone = alone.await.map_err(|_| InstallError::Busy)?;
        // An empty append behind the snapshot's last entry asks whether the log has that entry, and then it
        // has all before it (Raft §5.3). If not, Raft removes what contradicts it, and the log ends below.
        let probe = AppendEntriesRequest {
            vote,
            prev_log_id: snapshot.meta.last_log_id,
            entries: Vec::new(),
            leader_commit: None,
        };
        let stopped = |cause: &dyn std::fmt::Display| InstallError::Stopped(cause.to_string());
        match raft.append_entries(probe).await.map_err(|cause| stopped(&cause))? {
            AppendEntriesResponse::Success => Ok(vote),
            AppendEntriesResponse::PartialSuccess(_) => Err(InstallError::Busy),
            AppendEntriesResponse::HigherVote(later) => Ok(later),
            AppendEntriesResponse::Conflict => {
                let installed = raft.install_full_snapshot(vote, snapshot).await;
                installed.map(|answer| answer.vote).map_err(|cause| stopped(&cause))
            }
        }
    }
}
