//! Sessions: cookies, renewal, expiry, ends.

use domicile_iam::commands::{PlainPassword, SessionRefusal, UserRefusal};
use domicile_iam::execute::{Actor, ExecuteError, RequestContext, user_key};
use domicile_iam::model::{Authentication, PageRequest, TenantSettings};
use domicile_iam::proposal::{ActorKind, ActorRef};
use domicile_iam::query::Consistency;
use domicile_iam::streams::session::SessionEndReason;
use domicile_raft::{Clock, Partition};

use crate::support::{Node, PASSWORD};

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
async fn who_logs_in_again_and_again_gets_another_session_at_some_point() {
    let (node, tenant) = Node::with_tenant().await;
    let user = node.user(tenant, "alice").await;
    let (ctx, id) = (node.ctx(tenant), node.session(tenant, user.id).await.view.id);
    let mut proofs = 1;
    loop {
        match node.iam.reauthenticate_session(&ctx, id, now(&node)).await {
            Ok(renewed) => proofs = renewed.reply.view.authentications.len(),
            Err(ExecuteError::Refused(SessionRefusal::Over)) => break,
            Err(other) => panic!("{other}"),
        }
        assert!(proofs < 1_000, "it grows without bound");
    }
    assert_eq!(proofs, 100);
    let next = node.iam.start_session(&ctx, user.id, now(&node), Some(id)).await.unwrap().reply;
    assert_eq!(next.view.authentications.len(), 1);
    assert!(node.iam.session_by_cookie(tenant, &next.cookie()).await.unwrap().is_some());
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

#[tokio::test]
async fn who_changes_their_password_goes_on_by_the_new_one_and_nobody_by_the_old() {
    let (node, tenant) = Node::with_tenant().await;
    let user = node.user(tenant, "alice").await;
    let old = node.session(tenant, user.id).await;
    let (ctx, new) = (node.ctx(tenant), PlainPassword::new("another password"));
    let change =
        |current: &str| node.iam.change_own_password(&ctx, user.id, PlainPassword::new(current), new.clone());
    let wrong = change("not the password").await;
    assert!(matches!(wrong, Err(ExecuteError::Refused(UserRefusal::WrongPassword))));
    assert!(node.iam.session_by_cookie(tenant, &old.cookie()).await.unwrap().is_some());
    // The clock stands still: what the new password proves is later than what it voids all the same.
    let proved = change(PASSWORD).await.unwrap().reply;
    assert!(node.iam.session_by_cookie(tenant, &old.cookie()).await.unwrap().is_none());
    let authentication = proved.authentication.clone();
    let next = node.iam.start_session(&ctx, proved.user, authentication, None).await.unwrap().reply;
    assert!(node.iam.session_by_cookie(tenant, &next.cookie()).await.unwrap().is_some());
    // What it proves ends with the next reset, also where no session came of it yet.
    let changed = node.iam.get_user(tenant, user.id, &Consistency::Local).await.unwrap().unwrap();
    assert_eq!(proved.authentication.at, changed.not_before.plus_ms(1));
    node.tick();
    let reset = PlainPassword::new("the administrator's");
    node.iam.change_password(&node.ctx(tenant), user.id, None, reset).await.unwrap();
    assert!(node.iam.session_by_cookie(tenant, &next.cookie()).await.unwrap().is_none());
    let late = node.iam.start_session(&ctx, proved.user, proved.authentication, None).await;
    assert!(matches!(late, Err(ExecuteError::Refused(SessionRefusal::UserRefused))));
}

#[tokio::test]
async fn a_person_sees_where_their_sessions_were_begun_the_newest_first_and_page_by_page() {
    let (node, tenant) = Node::with_tenant().await;
    let (alice, bob) = (node.user(tenant, "alice").await, node.user(tenant, "bob").await);
    let who = ActorRef { kind: ActorKind::User, id: alice.id.to_string() };
    let actor = Actor { who, key: Some(user_key(alice.id)), name: None };
    let ctx = RequestContext { actor, ..node.ctx(tenant) };
    let first = node.iam.start_session(&ctx, alice.id, now(&node), None).await.unwrap().reply.view.id;
    node.tick();
    // By an operator: where that one was is nothing that the user is shown.
    let second = node.session(tenant, alice.id).await.view.id;
    let page = async |page_token: Option<String>| {
        let page = PageRequest { page_size: Some(1), page_token };
        node.iam.list_own_sessions(tenant, alice.id, &page, &Consistency::Local).await.unwrap()
    };
    let newest = page(None).await;
    let (session, origin) = &newest.items[0];
    assert_eq!((session.id, &origin.address, &origin.agent), (second, &None, &None));
    let older = page(newest.next_page_token).await;
    let (session, origin) = &older.items[0];
    assert_eq!(session.id, first);
    assert_eq!((origin.address.as_deref(), origin.agent.as_deref()), (Some("192.0.2.7"), Some("test")));
    assert_eq!((newest.items.len(), older.items.len(), older.next_page_token), (1, 1, None));
    let one = async |user| node.iam.own_session(tenant, user, first, &Consistency::Local).await.unwrap();
    assert!(one(alice.id).await.is_some() && one(bob.id).await.is_none());
}
