//! Many at once: exactly one wins.

use std::sync::Arc;

use domicile_iam::commands::{ClientRefusal, CreateUser, TenantRefusal, UserRefusal};
use domicile_iam::execute::ExecuteError;
use domicile_iam::model::{ClientMetadata, TenantSettings};

use crate::support::{Node, REDIRECT, VERIFIER, new_tenant, zero};

const CALLS: usize = 16;

/// Runs `call` for 0..CALLS on their own tasks.
async fn at_once<F, T>(node: &Arc<Node>, call: impl Fn(Arc<Node>, usize) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let tasks: Vec<_> = (0..CALLS).map(|n| tokio::spawn(call(Arc::clone(node), n))).collect();
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.unwrap());
    }
    outcomes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_code_redeemed_by_many_at_once_gives_tokens_once() {
    let (node, tenant) = Node::with_tenant().await;
    let user = node.user(tenant, "alice").await;
    let client = node.web_client(tenant).await;
    let session = node.session(tenant, user.id).await;
    let code = node.code(tenant, &session, &client, &["openid"]).await;
    let node = Arc::new(node);
    let outcomes = at_once(&node, |node, _| {
        let (client, code) = (client.clone(), code.clone());
        async move {
            let ctx = node.ctx(tenant);
            node.iam.redeem_code(&ctx, &client, &code, Some(REDIRECT), Some(VERIFIER)).await.map(|_| ())
        }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    assert!(
        outcomes.iter().all(|outcome| matches!(outcome, Ok(()) | Err(ExecuteError::Refused(_)))),
        "{outcomes:?}"
    );
    let types = node.event_types(tenant).await;
    assert_eq!(types.iter().filter(|t| *t == "family.created").count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refresh_token_used_by_many_at_once_has_one_successor() {
    let (node, tenant) = Node::with_tenant().await;
    let user = node.user(tenant, "alice").await;
    let client = node.web_client(tenant).await;
    let session = node.session(tenant, user.id).await;
    let code = node.code(tenant, &session, &client, &["openid"]).await;
    let token = node.redeem(tenant, &client, &code).await.unwrap().refresh_token.unwrap();
    let node = Arc::new(node);
    let outcomes = at_once(&node, |node, _| {
        let (client, token) = (client.clone(), token.clone());
        async move {
            let rotated = node.iam.rotate_refresh_token(&node.ctx(tenant), &client, &token, None).await;
            rotated.map(|written| written.reply.refresh_token)
        }
    })
    .await;
    let successors: std::collections::BTreeSet<_> =
        outcomes.into_iter().map(|outcome| outcome.unwrap()).collect();
    assert_eq!(successors.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_login_name_is_taken_once_in_whatever_spelling() {
    let (node, tenant) = Node::with_tenant().await;
    let node = Arc::new(node);
    let outcomes = at_once(&node, |node, n| async move {
        let username = if n % 2 == 0 { "Alice" } else { "aLICE" }.to_owned();
        node.iam.create_user(&node.ctx(tenant), CreateUser { username, ..CreateUser::default() }).await
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for outcome in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert!(matches!(outcome, ExecuteError::Refused(UserRefusal::UsernameTaken)), "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_email_address_is_taken_once() {
    let (node, tenant) = Node::with_tenant().await;
    let node = Arc::new(node);
    let outcomes = at_once(&node, |node, n| async move {
        let email = Some(if n % 2 == 0 { "a@Example.org" } else { "A@example.ORG" }.to_owned());
        let new = CreateUser { username: format!("user{n}"), email, ..CreateUser::default() };
        node.iam.create_user(&node.ctx(tenant), new).await
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for outcome in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert!(matches!(outcome, ExecuteError::Refused(UserRefusal::EmailTaken)), "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_id_is_taken_once() {
    let (node, tenant) = Node::with_tenant().await;
    let node = Arc::new(node);
    let outcomes = at_once(&node, |node, _| async move {
        let metadata: ClientMetadata =
            serde_json::from_value(serde_json::json!({"redirect_uris": [REDIRECT]})).unwrap();
        node.iam.register_client(&node.ctx(tenant), metadata, Some("imported".to_owned())).await
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for outcome in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert!(matches!(outcome, ExecuteError::Refused(ClientRefusal::ClientIdTaken)), "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_slug_is_taken_once() {
    let node = Arc::new(Node::new());
    let outcomes = at_once(&node, |node, _| async move {
        node.iam.create_tenant(&node.ctx(zero()), new_tenant("acme", TenantSettings::default())).await
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for outcome in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert!(matches!(outcome, ExecuteError::Refused(TenantRefusal::SlugTaken)), "{outcome:?}");
    }
}
