//! The first step of erasure: what is personal cannot be read any more, by anyone, anywhere.

use domicile_iam::commands::{CreateUser, LoginRefusal, PlainPassword, UserPatch, UserRefusal};
use domicile_iam::execute::ExecuteError;
use domicile_iam::model::PageRequest;
use domicile_iam::query::{Consistency, EventFilter};
use domicile_iam::service::TokenStatus;
use domicile_raft::Partition;
use domicile_storage::{KeyRange, Order};
use serde_json::json;

use crate::support::{Node, PASSWORD, claims_of};

fn holds(node: &Node, text: &str) -> bool {
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
    node.iam.erase_user(&ctx, user.id).await.unwrap();
    node.tick();

    assert_eq!(node.iam.get_user(tenant, user.id, &Consistency::Linearizable).await.unwrap(), None);
    assert_eq!(node.iam.find_user(tenant, "alice", &Consistency::Local).await.unwrap(), None);
    let login = node.iam.authenticate_password(&ctx, "alice", &PlainPassword::new(PASSWORD)).await;
    assert_eq!(login.err(), Some(LoginRefusal::BadCredentials));
    assert!(node.iam.session_by_cookie(tenant, &session.cookie()).await.unwrap().is_none());
    assert_eq!(node.status(tenant, &claims_of(&issue, &client)).await, TokenStatus::Inactive);
    assert!(node.rotate(tenant, &client, &issue.refresh_token.unwrap()).await.is_err());
    let again = node.iam.erase_user(&ctx, user.id).await;
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
