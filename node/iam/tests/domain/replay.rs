//! The log is the truth: what was applied once gives the same bytes wherever it is applied again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use domicile_iam::commands::{PlainPassword, UserPatch};
use domicile_iam::streams::session::SessionEndReason;
use domicile_raft::testing::SoloPartition;
use domicile_raft::{
    BoxFuture, Consistency, Incarnation, Leadership, Outcome, Partition, PartitionId, PartitionStatus,
    ReadError,
};
use domicile_storage::{Engine, KeyRange, Order, Pair};
use tokio::sync::watch;

use crate::support::{Node, solo};

/// A partition that remembers what was proposed.
pub struct Recorder {
    inner: Arc<SoloPartition>,
    log: Mutex<Vec<Vec<u8>>>,
}

impl Recorder {
    pub fn new(inner: Arc<SoloPartition>) -> Arc<Self> {
        Arc::new(Self { inner, log: Mutex::default() })
    }

    /// A partition to which all of that was applied.
    pub fn replica(&self) -> Arc<SoloPartition> {
        let replica = solo(self.id().0);
        for body in self.log.lock().unwrap().iter() {
            replica.apply(body).unwrap();
        }
        replica
    }
}

impl Partition for Recorder {
    fn id(&self) -> PartitionId {
        self.inner.id()
    }

    fn incarnation(&self) -> Incarnation {
        self.inner.incarnation()
    }

    fn propose(&self, body: Vec<u8>, deadline: Duration) -> BoxFuture<'_, Outcome> {
        self.log.lock().unwrap().push(body.clone());
        self.inner.propose(body, deadline)
    }

    fn read(&self, consistency: Consistency, deadline: Duration) -> BoxFuture<'_, Result<u64, ReadError>> {
        self.inner.read(consistency, deadline)
    }

    fn state(&self) -> Arc<dyn Engine> {
        self.inner.state()
    }

    fn applied(&self) -> u64 {
        self.inner.applied()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership()
    }

    fn status(&self) -> PartitionStatus {
        self.inner.status()
    }
}

fn everything(engine: &dyn Engine) -> Vec<Pair> {
    engine.scan(&KeyRange::prefix(&[]), Order::Ascending, usize::MAX).unwrap()
}

/// Something of every stream, with refusals and answers in between.
async fn busy_day(node: &Node) {
    let settings = domicile_iam::model::TenantSettings::default();
    let ctx = node.ctx(crate::support::zero());
    let created = node.iam.create_tenant(&ctx, crate::support::new_tenant("acme", settings)).await.unwrap();
    let tenant = created.reply.id;
    node.tick();
    let user = node.user(tenant, "alice").await;
    let client = node.web_client(tenant).await;
    let session = node.session(tenant, user.id).await;
    let code = node.code(tenant, &session, &client, &["openid"]).await;
    let token = node.redeem(tenant, &client, &code).await.unwrap().refresh_token.unwrap();
    node.rotate(tenant, &client, &token).await.unwrap();
    node.advance_ms(20_000);
    assert!(node.rotate(tenant, &client, &token).await.is_err());
    assert!(node.redeem(tenant, &client, &code).await.is_err());
    let ctx = node.ctx(tenant);
    let patch = UserPatch { email: Some(Some("b@example.org".to_owned())), ..UserPatch::default() };
    node.iam.update_user(&ctx, user.id, patch).await.unwrap();
    node.iam.change_password(&ctx, user.id, None, PlainPassword::new("another password")).await.unwrap();
    node.iam.end_session(&ctx, session.view.id, SessionEndReason::Administrator).await.unwrap();
    node.iam.rotate_client_secret(&ctx, client.id, 1_000, None).await.unwrap();
    node.iam.revoke_grant(&ctx, user.id, client.id).await.unwrap();
    node.iam.delete_client(&ctx, client.id, None).await.unwrap();
    node.iam.erase_user(&ctx, user.id, None).await.unwrap();
    node.iam.repoint_issuer(&ctx, "http://127.0.0.1:1/t/acme".to_owned()).await.unwrap();
}

#[tokio::test]
async fn a_replayed_log_gives_equal_bytes() {
    let (node, recorders) = Node::recorded();
    busy_day(&node).await;
    for recorder in recorders {
        let expected = everything(&*recorder.state());
        assert!(expected.len() > 3);
        for _ in 0..2 {
            assert_eq!(everything(&*recorder.replica().state()), expected);
        }
    }
}
