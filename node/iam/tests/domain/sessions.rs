//! Sessions: cookies, renewal, expiry, ends.

use domicile_iam::commands::{PlainPassword, SessionRefusal};
use domicile_iam::execute::ExecuteError;
use domicile_iam::model::{Authentication, PageRequest, TenantSettings};
use domicile_iam::query::Consistency;
use domicile_iam::streams::session::SessionEndReason;
use domicile_raft::{Clock, Partition};

use crate::support::Node;

fn now(node: &Node) -> Authentication {
    Authentication { method: "pwd".to_owned(), at: node.clock.now(), acr: "urn:test".to_owned() }
}

#[tokio::test]
async fn a_cookie_finds_its_session_and_no_other_secret_does() {
    let (node, tenant) = Node::with_tenant().await;
    let user = node.user(tenant, "alice").await;
    let session = node.session(tenant, user.id).await;
    let found = node.iam.session_by_cookie(tenant, &session.cookie()).await.unwrap().unwrap();
    assert_eq!((found.id, found.user), (session.view.id, user.id));
    for wrong in ["", "x.y", &format!("{}.guess", session.view.id), &session.view.id.to_string()] {
        assert!(node.iam.session_by_cookie(tenant, wrong).await.unwrap().is_none(), "{wrong}");
    }
}

#[tokio::test]
async fn owasp_asvs_7_2_4_the_cookie_changes_at_each_authentication() {
    let (node, tenant) = Node::with_tenant().await;
    let user = node.user(tenant, "alice").await;
    let first = node.session(tenant, user.id).await;
    node.tick();
    let renewed =
        node.iam.reauthenticate_session(&node.ctx(tenant), first.view.id, now(&node)).await.unwrap().reply;
    assert_eq!(renewed.view.authentications.len(), 2);
    assert!(node.iam.session_by_cookie(tenant, &first.cookie()).await.unwrap().is_none());
    assert!(node.iam.session_by_cookie(tenant, &renewed.cookie()).await.unwrap().is_some());
    let next = node
        .iam
        .start_session(&node.ctx(tenant), user.id, now(&node), Some(first.view.id))
        .await
        .unwrap()
        .reply;
    assert_ne!(next.view.id, first.view.id);
    assert!(node.iam.session_by_cookie(tenant, &renewed.cookie()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_session_ends_unused_and_at_the_latest() {
    let settings = TenantSettings {
        session_idle_ms: 600_000,
        session_absolute_ms: 1_500_000,
        ..TenantSettings::default()
    };
    let (node, tenant) = Node::with_settings(settings).await;
    let user = node.user(tenant, "alice").await;
    let kept_alive = node.session(tenant, user.id).await;
    let unused = node.session(tenant, user.id).await;
    for _ in 0..2 {
        node.advance_ms(500_000);
        node.iam.touch_session(&node.ctx(tenant), kept_alive.view.id).await.unwrap();
    }
    assert!(node.iam.session_by_cookie(tenant, &kept_alive.cookie()).await.unwrap().is_some());
    assert!(node.iam.session_by_cookie(tenant, &unused.cookie()).await.unwrap().is_none());
    node.advance_ms(500_000);
    let over = node.iam.touch_session(&node.ctx(tenant), kept_alive.view.id).await;
    assert!(matches!(over, Err(ExecuteError::Refused(SessionRefusal::Over))));
}

#[tokio::test]
async fn a_use_is_noted_once_a_minute_at_most() {
    let (node, tenant) = Node::with_tenant().await;
    let user = node.user(tenant, "alice").await;
    let session = node.session(tenant, user.id).await;
    let before = node.home.applied();
    for _ in 0..10 {
        node.advance_ms(10_000);
        node.iam.touch_session(&node.ctx(tenant), session.view.id).await.unwrap();
    }
    assert_eq!(node.home.applied() - before, 1);
}

#[tokio::test]
async fn a_changed_password_ends_the_sessions_before_it() {
    let (node, tenant) = Node::with_tenant().await;
    let user = node.user(tenant, "alice").await;
    let old = node.session(tenant, user.id).await;
    let authentication = now(&node);
    node.tick();
    let password = PlainPassword::new("another password");
    node.iam.change_password(&node.ctx(tenant), user.id, None, password).await.unwrap();
    assert!(node.iam.session_by_cookie(tenant, &old.cookie()).await.unwrap().is_none());
    // A login that was under way with the old password comes too late.
    let late = node.iam.start_session(&node.ctx(tenant), user.id, authentication, None).await;
    assert!(matches!(late, Err(ExecuteError::Refused(SessionRefusal::UserRefused))));
    node.tick();
    let listed = || async {
        node.iam
            .list_sessions(tenant, user.id, &PageRequest::default(), &Consistency::Local)
            .await
            .unwrap()
            .items
            .len()
    };
    assert_eq!(listed().await, 0);
    node.session(tenant, user.id).await;
    assert_eq!(listed().await, 1);
}

#[tokio::test]
async fn an_ended_session_stays_ended() {
    let (node, tenant) = Node::with_tenant().await;
    let user = node.user(tenant, "alice").await;
    let session = node.session(tenant, user.id).await;
    let ctx = node.ctx(tenant);
    for _ in 0..2 {
        node.iam.end_session(&ctx, session.view.id, SessionEndReason::Logout).await.unwrap();
    }
    assert!(node.iam.session_by_cookie(tenant, &session.cookie()).await.unwrap().is_none());
    let again = node.iam.reauthenticate_session(&ctx, session.view.id, now(&node)).await;
    assert!(matches!(again, Err(ExecuteError::Refused(SessionRefusal::Over))));
    let ended = node.event_types(tenant).await.into_iter().filter(|t| t == "session.ended").count();
    assert_eq!(ended, 1);
}
