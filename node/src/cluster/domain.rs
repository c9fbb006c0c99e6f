//! The domain over this node's replicas, reached from other nodes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domicile_iam::execute::Executor;
use domicile_iam::password::HashingLimits;
use domicile_iam::service::{Asker, Iam, IamParts, Locality, RemotePartitions};
use domicile_raft::{BoxFuture, Clock, PartitionId};

use super::messages::Reply;
use super::replicas::Replicas;
use super::service::DomainService;

/// What [`super::service::LocalNode`] asks for the domain.
pub(crate) struct Domain {
    /// Taken at the stop: it holds the groups' state.
    iam: Mutex<Option<Iam>>,
    replicas: Arc<Replicas>,
}

/// The domain over the replicas that are open.
pub(crate) fn iam(
    replicas: &Replicas,
    directory: Arc<Executor>,
    remote: Arc<dyn RemotePartitions>,
    origin: Option<String>,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Iam> {
    let open = replicas.executors();
    let homes = open.iter().filter_map(|executor| replicas.home(executor.partition().id())).collect();
    let locality = Locality { region: Some(replicas.region.clone()), origin };
    let parts = IamParts { directory, homes, remote, locality, clock, hashing: HashingLimits::default() };
    Ok(Iam::new(parts)?)
}

impl Domain {
    pub(crate) fn new(iam: Iam, replicas: Arc<Replicas>) -> Self {
        Self { iam: Mutex::new(Some(iam)), replicas }
    }

    fn iam(&self) -> Option<Iam> {
        self.iam.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl DomainService for Domain {
    fn serve(
        &self,
        from: Asker,
        partition: PartitionId,
        body: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'static, Reply> {
        let iam = self.iam();
        Box::pin(async move {
            let Some(iam) = iam else { return Reply::Refused("stopping".to_owned()) };
            match tokio::time::timeout(deadline, iam.serve_remote(&from, partition, &body)).await {
                Ok(answer) => Reply::Domain(answer),
                // What was proposed may still be applied: an answer that says nothing is read as that.
                Err(_) => Reply::Domain(Vec::new()),
            }
        })
    }

    fn opened(&self, partition: PartitionId) {
        if let (Some(iam), Some(home)) = (self.iam(), self.replicas.home(partition)) {
            iam.add_home(home);
        }
    }

    fn closing(&self, partition: PartitionId) {
        if let Some(iam) = self.iam() {
            drop(iam.remove_home(partition));
        }
    }

    fn stopping(&self) {
        *self.iam.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
