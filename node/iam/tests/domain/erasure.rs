//! The first step of erasure: what is personal cannot be read any more, by anyone, anywhere.

use domicile_iam::commands::{CreateUser, LoginRefusal, PlainPassword, UserPatch, UserRefusal};
use domicile_iam::execute::{Actor, ExecuteError, RequestContext};
use domicile_iam::ids::TenantId;
use domicile_iam::model::{Authentication, PageRequest};
use domicile_iam::proposal::{ActorKind, ActorRef};
use domicile_iam::query::{Consistency, EventFilter};
use domicile_iam::service::TokenStatus;
use domicile_iam::streams::session::SessionEndReason;
use domicile_raft::{Clock, Partition};
use domicile_storage::{KeyRange, Order};
use serde_json::json;

use crate::support::{Node, PASSWORD, REDIRECT, VERIFIER, claims_of};

pub fn holds(node: &Node, text: &str) -> bool {
    let everything = node.home.state().scan(&KeyRange::prefix(&[]), Order::Ascending, usize::MAX).unwrap();
    let contains = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    everything.iter().any(|(key, value)| contains(key) || contains(value))
}

#[tokio::test]
async fn nothing_personal_is_stored_in_clear() {
    let (node, tenant) = Node::with_tenant().await;
    let user = node.user(tenant, "alice-wonder").await;
    let patch = UserPatch {
        username: Some("alice-looking".to_owned()),
        claims: serde_json::from_value(json!({"name": "Alice Liddell"})).unwrap(),
        ..UserPatch::default()
    };
    node.iam.update_user(&node.ctx(tenant), user.id, patch).await.unwrap();
    for text in
        ["alice-wonder", "alice-looking", "example.org", "Liddell", "argon2id", "Olive Operator", "192.0.2.7"]
    {
        assert!(!holds(&node, text), "{text}");
    }
    assert!(holds(&node, "acme"), "the scan sees what is there");
}

#[tokio::test]
async fn an_erased_user_cannot_be_read_found_or_logged_in() {
    let (node, tenant) = Node::with_tenant().await;
    let user = node.user(tenant, "alice").await;
    let client = node.web_client(tenant).await;
    let session = node.session(tenant, user.id).await;
    let code = node.code(tenant, &session, &client, &["openid", "offline_access"]).await;
    let issue = node.redeem(tenant, &client, &code).await.unwrap();
    let ctx = node.ctx(tenant);
    node.iam.erase_user(&ctx, user.id, None).await.unwrap();
    node.tick();

    assert_eq!(node.iam.get_user(tenant, user.id, &Consistency::Linearizable).await.unwrap(), None);
    assert_eq!(node.iam.find_user(tenant, "alice", &Consistency::Local).await.unwrap(), None);
    let login = node.iam.authenticate_password(&ctx, "alice", &PlainPassword::new(PASSWORD)).await;
    assert_eq!(login.err(), Some(LoginRefusal::BadCredentials));
    assert!(node.iam.session_by_cookie(tenant, &session.cookie()).await.unwrap().is_none());
    assert_eq!(node.status(tenant, &claims_of(&issue, &client)).await, TokenStatus::Inactive);
    assert!(node.rotate(tenant, &client, &issue.refresh_token.unwrap()).await.is_err());
    let again = node.iam.erase_user(&ctx, user.id, None).await;
    assert!(matches!(again, Err(ExecuteError::Refused(UserRefusal::NotFound))));

    // The name and the address are free, the past stays sealed for good.
    let new = CreateUser {
        username: "alice".to_owned(),
        email: Some("alice@example.org".to_owned()),
        ..CreateUser::default()
    };
    assert!(node.iam.create_user(&ctx, new).await.is_ok());
    let filter = EventFilter { stream: Some(user.id.to_string()), event_type: None };
    let events =
        node.iam.events(tenant, &PageRequest::default(), &filter, &Consistency::Local).await.unwrap().items;
    assert_eq!(events[0].data["username"], json!({"sealed": true}));
    assert_eq!(events.last().unwrap().event_type, "user.erased");
}

/// The actor's details in the audit log, of the tenant's events of one type.
async fn details(node: &Node, tenant: TenantId, event_type: &str) -> Vec<String> {
    let filter = EventFilter { stream: None, event_type: Some(event_type.to_owned()) };
    let page = node.iam.events(tenant, &PageRequest::default(), &filter, &Consistency::Local).await.unwrap();
    page.items.into_iter().map(|event| event.actor["details"].to_string()).collect()
}

/// A public client runs at the user, and one who logs in is not proven yet: address and agent are the user's.
#[tokio::test]
async fn erasure_takes_the_address_also_where_a_client_or_nobody_acted() {
    let (node, tenant) = Node::with_tenant().await;
    let user = node.user(tenant, "alice").await;
    let client = node.web_client(tenant).await;
    let unproven = |kind| RequestContext {
        actor: Actor { who: ActorRef { kind, id: String::new() }, key: None, name: None },
        address: Some("203.0.113.9".to_owned()),
        ..node.ctx(tenant)
    };
    let (anonymous, as_client) = (unproven(ActorKind::Anonymous), unproven(ActorKind::Client));
    let authentication =
        Authentication { method: "pwd".to_owned(), at: node.clock.now(), acr: "urn:test".to_owned() };
    let session = node.iam.start_session(&anonymous, user.id, authentication, None).await.unwrap().reply;
    let code = node.code(tenant, &session, &client, &["openid", "offline_access"]).await;
    let redeemed =
        node.iam.redeem_code(&as_client, &client, &code, Some(REDIRECT), Some(VERIFIER)).await.unwrap().reply;
    node.iam.revoke_refresh_token(&as_client, &client, &redeemed.refresh_token.unwrap()).await.unwrap();
    node.iam.end_session(&anonymous, session.view.id, SessionEndReason::Logout).await.unwrap();
    let types = ["session.started", "family.created", "family.revoked", "session.ended"];
    for event_type in types {
        let shown = details(&node, tenant, event_type).await;
        assert!(shown.len() == 1 && shown[0].contains("203.0.113.9"), "{event_type}: {shown:?}");
    }
    node.iam.erase_user(&node.ctx(tenant), user.id, None).await.unwrap();
    for event_type in types {
        assert_eq!(details(&node, tenant, event_type).await, [json!({"sealed": true}).to_string()]);
    }
    let shown = details(&node, tenant, "user.created").await;
    assert!(shown[0].contains("Olive Operator"), "the operator's own stay: {shown:?}");
}
