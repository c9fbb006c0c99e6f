//! The audit log as callers read it.

use domicile_iam::commands::UserPatch;
use domicile_iam::model::PageRequest;
use domicile_iam::query::{Consistency, EventFilter};
use serde_json::json;

use crate::support::Node;

#[tokio::test]
async fn a_change_shows_who_when_and_both_sides() {
    let (node, tenant) = Node::with_tenant().await;
    let user = node.user(tenant, "alice").await;
    let patch = UserPatch {
        username: Some("carol".to_owned()),
        claims: serde_json::from_value(json!({"name": "Carol"})).unwrap(),
        ..UserPatch::default()
    };
    node.iam.update_user(&node.ctx(tenant), user.id, patch).await.unwrap();
    let filter = EventFilter { stream: Some(user.id.to_string()), event_type: None };
    let events =
        node.iam.events(tenant, &PageRequest::default(), &filter, &Consistency::Local).await.unwrap().items;
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].data["username"], "alice");
    assert_eq!(events[0].data["password"], json!({"password_hash": "argon2id"}));
    let changed = &events[1];
    assert_eq!((changed.event_type.as_str(), changed.revision), ("user.profile.changed", 2));
    assert_eq!(changed.data["username"], json!({"before": "alice", "after": "carol"}));
    assert_eq!(changed.data["claims"], json!({"before": null, "after": {"name": "Carol"}}));
    assert_eq!(changed.actor["kind"], "operator");
    assert_eq!(changed.actor["id"], "operator-1");
    assert!(changed.actor["details"].to_string().contains("Olive Operator"), "{}", changed.actor);
}

#[tokio::test]
async fn events_page_in_order_without_gap_or_repetition() {
    let (node, tenant) = Node::with_tenant().await;
    for n in 0..7 {
        node.user(tenant, &format!("user{n}")).await;
    }
    for filter in
        [EventFilter::default(), EventFilter { stream: None, event_type: Some("user.created".to_owned()) }]
    {
        let mut seen = Vec::new();
        let mut page = PageRequest { page_size: Some(3), page_token: None };
        loop {
            let got = node.iam.events(tenant, &page, &filter, &Consistency::Local).await.unwrap();
            seen.extend(got.items.iter().map(|event| event.sequence));
            page.page_token = got.next_page_token;
            if page.page_token.is_none() {
                break;
            }
        }
        assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
        assert!(seen.len() >= 7);
    }
}

#[tokio::test]
async fn an_export_verifies_offline_and_a_changed_byte_is_found() {
    let (node, tenant) = Node::with_tenant().await;
    node.user(tenant, "alice").await;
    let mut out = Vec::new();
    let mut export = node.iam.export(tenant, &Consistency::Linearizable).await.unwrap();
    export.write_to(&mut out).unwrap();
    assert!(domicile_iam::audit::verify(out.as_slice(), None).is_ok());
    let text = String::from_utf8(out).unwrap();
    let line = text.lines().nth(1).unwrap();
    let mut forged = line.to_owned().into_bytes();
    let middle = forged.len() / 2;
    forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
    let forged = text.replace(line, &String::from_utf8(forged).unwrap());
    let report = domicile_iam::audit::verify(forged.as_bytes(), None);
    assert!(report.is_err() || report.is_ok_and(|report| report.bad.is_some()));
}

/// Registers a client whose metadata imitates how a sealed value is stored, and reads it back.
async fn shown_as_sent(imitation: serde_json::Value) {
    let (node, tenant) = Node::with_tenant().await;
    let metadata = json!({
        "redirect_uris": [crate::support::REDIRECT],
        "grant_types": ["authorization_code"],
        "x_imitation": imitation,
    });
    node.client(tenant, metadata).await;
    let filter = EventFilter { stream: None, event_type: Some("client.registered".to_owned()) };
    let page = node.iam.events(tenant, &PageRequest::default(), &filter, &Consistency::Local).await.unwrap();
    let shown = page.items[0].data.to_string();
    assert!(shown.contains(&imitation.to_string()), "{shown}");
}

#[tokio::test]
async fn metadata_that_looks_like_a_sealed_value_is_shown_as_it_was_sent() {
    let key = "dk_00000000000000000000000000";
    for bytes in
        [json!([0, 0, 0, 0]), json!([255, 255, 255, 255]), json!([u64::MAX, u64::MAX, 0, 0]), json!([])]
    {
        shown_as_sent(json!({"c": bytes, "k": key, "n": vec![0; 12], "r": u64::MAX})).await;
    }
}
