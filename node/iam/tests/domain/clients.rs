//! Clients: metadata, secrets, caching.

use std::sync::Arc;

use domicile_iam::commands::{ClientPatch, ClientRefusal};
use domicile_iam::execute::ExecuteError;
use domicile_iam::model::{ClientMetadata, PageRequest};
use domicile_iam::query::{Consistency, EventFilter};
use serde_json::json;

use crate::support::{Node, REDIRECT};

#[tokio::test]
async fn rfc7591_s3_2_1_metadata_reads_back_as_registered() {
    let (node, tenant) = Node::with_tenant().await;
    let registered = json!({
        "client_name": "RP", "client_name#de": "Partei", "redirect_uris": [REDIRECT], "contacts": ["ops@rp.example"],
        "client_uri": "https://rp.example", "software_id": "4NRB1-0XZABZI9E6-5SM3R",
        "grant_types": ["authorization_code", "refresh_token"],
    });
    let (client, secret) = node.client(tenant, registered.clone()).await;
    assert!(node.iam.verify_client_secret(&client, &secret.unwrap()));
    assert!(!node.iam.verify_client_secret(&client, "guess"));
    let read = node.iam.client(tenant, &client.client_id).await.unwrap().unwrap();
    assert_eq!(*read, client);
    let shown = serde_json::to_value(&read.metadata).unwrap();
    for (name, value) in registered.as_object().unwrap() {
        assert_eq!(&shown[name], value, "{name}");
    }
    let filter = EventFilter { event_type: Some("client.registered".to_owned()), stream: None };
    let page = node.iam.events(tenant, &PageRequest::default(), &filter, &Consistency::Local).await.unwrap();
    let event = &page.items[0];
    assert_eq!(event.data["contacts"], json!(["ops@rp.example"]));
}

#[tokio::test]
async fn a_public_client_has_no_secret_and_requires_pkce() {
    let (node, tenant) = Node::with_tenant().await;
    let metadata = json!({"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none"});
    let (client, secret) = node.client(tenant, metadata).await;
    assert_eq!(secret, None);
    assert!(client.metadata.require_pkce && client.credentials.is_empty());
    assert!(!node.iam.verify_client_secret(&client, ""));
    let refused = node.iam.rotate_client_secret(&node.ctx(tenant), client.id, 0, None).await;
    assert!(matches!(refused, Err(ExecuteError::Refused(ClientRefusal::NoSecret))));
}

#[tokio::test]
async fn two_secrets_overlap_while_one_is_replaced() {
    let (node, tenant) = Node::with_tenant().await;
    let (client, old) = node.client(tenant, json!({"redirect_uris": [REDIRECT]})).await;
    let old = old.unwrap();
    let ctx = node.ctx(tenant);
    let (client, new) = node.iam.rotate_client_secret(&ctx, client.id, 60_000, None).await.unwrap().reply;
    assert!(node.iam.verify_client_secret(&client, &old) && node.iam.verify_client_secret(&client, &new));
    node.advance_ms(60_000);
    assert!(!node.iam.verify_client_secret(&client, &old) && node.iam.verify_client_secret(&client, &new));
}

#[tokio::test]
async fn only_a_client_that_needs_its_secret_as_a_key_has_one_that_can_be_read() {
    let (node, tenant) = Node::with_tenant().await;
    let method = |method: &str| json!({"redirect_uris": [REDIRECT], "token_endpoint_auth_method": method});
    let (plain, _) = node.client(tenant, method("client_secret_basic")).await;
    assert!(node.iam.hmac_secrets(tenant, &plain).unwrap().is_empty());
    let (client, first) = node.client(tenant, method("client_secret_jwt")).await;
    let first = first.unwrap();
    let opened = |secrets: Vec<zeroize::Zeroizing<String>>| -> Vec<String> {
        secrets.iter().map(|secret| secret.to_string()).collect()
    };
    assert_eq!(opened(node.iam.hmac_secrets(tenant, &client).unwrap()), [first.as_str()]);
    let ctx = node.ctx(tenant);
    let (client, second) = node.iam.rotate_client_secret(&ctx, client.id, 60_000, None).await.unwrap().reply;
    assert_eq!(opened(node.iam.hmac_secrets(tenant, &client).unwrap()), [first, second.clone()]);
    node.advance_ms(60_000);
    assert_eq!(opened(node.iam.hmac_secrets(tenant, &client).unwrap()), [second.as_str()]);

    let patch = ClientPatch {
        metadata: Some(serde_json::from_value(method("client_secret_basic")).unwrap()),
        ..ClientPatch::default()
    };
    let client = node.iam.update_client(&node.ctx(tenant), client.id, patch).await.unwrap().reply;
    assert!(node.iam.hmac_secrets(tenant, &client).unwrap().is_empty());
    assert!(node.iam.verify_client_secret(&client, &second));
}

#[tokio::test]
async fn rfc7591_s3_2_1_a_client_with_keys_is_given_no_secret() {
    let (node, tenant) = Node::with_tenant().await;
    let metadata = json!({
        "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "private_key_jwt",
        "jwks_uri": "https://rp.example/jwks",
    });
    let (client, secret) = node.client(tenant, metadata).await;
    assert_eq!((secret, client.credentials.len()), (None, 0));
    assert_eq!(client.metadata.jwks_uri(), Some("https://rp.example/jwks"));
    let refused = node.iam.rotate_client_secret(&node.ctx(tenant), client.id, 0, None).await;
    assert!(matches!(refused, Err(ExecuteError::Refused(ClientRefusal::NoSecret))));
}

#[tokio::test]
async fn a_cached_client_is_the_same_until_it_changes() {
    let (node, tenant) = Node::with_tenant().await;
    let client = node.web_client(tenant).await;
    let first = node.iam.client(tenant, &client.client_id).await.unwrap().unwrap();
    let again = node.iam.client(tenant, &client.client_id).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    let patch = ClientPatch { disabled: Some(true), ..ClientPatch::default() };
    node.iam.update_client(&node.ctx(tenant), client.id, patch).await.unwrap();
    assert!(node.iam.client(tenant, &client.client_id).await.unwrap().unwrap().disabled);
}

#[tokio::test]
async fn a_deleted_clients_id_can_be_another_clients() {
    let (node, tenant) = Node::with_tenant().await;
    let metadata: ClientMetadata = serde_json::from_value(json!({"redirect_uris": [REDIRECT]})).unwrap();
    let ctx = node.ctx(tenant);
    let register = || node.iam.register_client(&ctx, metadata.clone(), Some("app".to_owned()));
    let first = register().await.unwrap().reply.0;
    assert!(matches!(register().await, Err(ExecuteError::Refused(ClientRefusal::ClientIdTaken))));
    node.iam.client(tenant, "app").await.unwrap().unwrap();
    node.iam.delete_client(&ctx, first.id, None).await.unwrap();
    assert!(node.iam.client(tenant, "app").await.unwrap().is_none());
    let second = register().await.unwrap().reply.0;
    assert_eq!(node.iam.client(tenant, "app").await.unwrap().unwrap().id, second.id);
    let page = node.iam.list_clients(tenant, &PageRequest::default(), &Consistency::Local).await.unwrap();
    assert_eq!(page.items.iter().map(|client| client.id).collect::<Vec<_>>(), [second.id]);
}

#[tokio::test]
async fn replaced_metadata_is_checked_and_recorded_before_and_after() {
    let (node, tenant) = Node::with_tenant().await;
    let client = node.web_client(tenant).await;
    let ctx = node.ctx(tenant);
    let replace =
        |value| ClientPatch { metadata: Some(serde_json::from_value(value).unwrap()), ..Default::default() };
    let bad = node
        .iam
        .update_client(&ctx, client.id, replace(json!({"redirect_uris": ["http://rp.example"]})))
        .await;
    assert!(matches!(bad, Err(ExecuteError::Refused(ClientRefusal::InvalidRedirectUri { .. }))));
    let good = replace(json!({"redirect_uris": ["https://rp.example/new"]}));
    let changed = node.iam.update_client(&ctx, client.id, good).await.unwrap().reply;
    assert_eq!(changed.metadata.redirect_uris, ["https://rp.example/new"]);
    let filter = EventFilter {
        event_type: Some("client.metadata.changed".to_owned()),
        stream: Some(client.id.to_string()),
    };
    let page = node.iam.events(tenant, &PageRequest::default(), &filter, &Consistency::Local).await.unwrap();
    let change = &page.items[0].data["metadata"];
    assert_eq!(change["before"]["redirect_uris"], json!([REDIRECT]));
    assert_eq!(change["after"]["redirect_uris"], json!(["https://rp.example/new"]));
}

#[tokio::test]
async fn metadata_nested_too_deep_is_refused_and_harms_nobody() {
    let (node, tenant) = Node::with_tenant().await;
    let deep = (0..100).fold(json!(1), |inner, _| json!({ "x": inner }));
    let metadata = json!({"redirect_uris": [crate::support::REDIRECT], "jwks": deep});
    let metadata = serde_json::from_value(metadata).unwrap();
    let refused = node.iam.register_client(&node.ctx(tenant), metadata, None).await;
    assert!(matches!(
        refused,
        Err(ExecuteError::Refused(ClientRefusal::InvalidClientMetadata { field, .. })) if field == "jwks"
    ));
    node.web_client(tenant).await;
}

#[tokio::test]
async fn rfc6749_a_1_an_imported_client_id_has_any_printable_ascii() {
    let (node, tenant) = Node::with_tenant().await;
    let metadata: ClientMetadata = serde_json::from_value(json!({"redirect_uris": [REDIRECT]})).unwrap();
    for (client_id, fits) in [("old client/7 ~", true), ("", false), ("tab\there", false), ("ü", false)] {
        let registered =
            node.iam.register_client(&node.ctx(tenant), metadata.clone(), Some(client_id.to_owned())).await;
        assert_eq!(registered.is_ok(), fits, "{client_id}");
        let found = node.iam.client(tenant, client_id).await.unwrap();
        assert_eq!(found.is_some(), fits, "{client_id}");
    }
}

#[tokio::test]
async fn rfc9700_s2_6_answers_go_over_http_to_native_clients_alone_unless_the_issuer_is_this_machine() {
    let (node, tenant) = Node::with_tenant().await;
    let ctx = node.ctx(tenant);
    let plain = |kind: &str, uri: &str| -> ClientMetadata {
        serde_json::from_value(json!({"redirect_uris": [REDIRECT, uri], "application_type": kind})).unwrap()
    };
    let register = |metadata| node.iam.register_client(&ctx, metadata, None);
    let refused = |outcome: Result<(), ExecuteError<ClientRefusal>>| {
        matches!(outcome, Err(ExecuteError::Refused(ClientRefusal::InvalidRedirectUri { .. })))
    };
    let uris = ["http://127.0.0.1:9999/cb", "http://localhost:3000/cb", "http://[::1]/cb"];
    for uri in uris {
        assert!(refused(register(plain("web", uri)).await.map(drop)), "{uri}");
        assert!(register(plain("native", uri)).await.is_ok(), "{uri}");
    }
    let client = node.web_client(tenant).await;
    let replace = |metadata| ClientPatch { metadata: Some(metadata), ..ClientPatch::default() };
    let update = |metadata| node.iam.update_client(&ctx, client.id, replace(metadata));
    assert!(refused(update(plain("web", uris[0])).await.map(drop)));
    // A node on loopback is where web clients are made.
    node.iam.repoint_issuer(&ctx, "http://localhost:8080/t/acme".to_owned()).await.unwrap();
    assert!(register(plain("web", uris[1])).await.is_ok());
    assert!(update(plain("web", uris[0])).await.is_ok());
    // What was registered there stays registered when the issuer moves, and nothing is added.
    node.iam.repoint_issuer(&ctx, "https://id.example/t/acme".to_owned()).await.unwrap();
    assert!(update(plain("web", uris[0])).await.is_ok());
    assert!(refused(update(plain("web", uris[2])).await.map(drop)));
}
