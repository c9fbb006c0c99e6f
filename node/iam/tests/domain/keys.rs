//! Signing keys: their lives, their signatures, their key set.

use std::collections::BTreeSet;

use domicile_iam::keys::{KeyFault, SigningKey, generate};
use domicile_iam::model::{SigningAlgorithm, TenantSettings};

use crate::support::Node;

const HOUR_MS: u64 = 3_600_000;

/// Without RSA, whose keys take long to make.
fn settings() -> TenantSettings {
    TenantSettings {
        signing_algorithms: vec![SigningAlgorithm::ES256],
        key_publish_ahead_ms: HOUR_MS,
        key_active_ms: 10 * HOUR_MS,
        key_retired_ms: 2 * HOUR_MS,
        ..TenantSettings::default()
    }
}

#[tokio::test]
async fn every_algorithm_signs_and_its_public_key_verifies() {
    let (node, tenant) = Node::with_tenant().await;
    assert!(node.iam.signing_key(tenant, SigningAlgorithm::RS256).await.unwrap().is_none());
    assert!(node.iam.drive_keys(tenant).await.unwrap() > 0);
    assert_eq!(node.iam.drive_all_keys().await.unwrap(), 0);
    for algorithm in [SigningAlgorithm::RS256, SigningAlgorithm::ES256, SigningAlgorithm::EdDSA] {
        let key = node.iam.signing_key(tenant, algorithm).await.unwrap().unwrap();
        let again = node.iam.signing_key(tenant, algorithm).await.unwrap().unwrap();
        assert!(std::sync::Arc::ptr_eq(&key, &again));
        let signature = key.sign(b"message").unwrap();
        let public = node.iam.verification_key(tenant, key.kid()).await.unwrap().unwrap();
        assert_eq!(public.alg(), algorithm);
        assert!(public.verify(b"message", &signature) && !public.verify(b"other", &signature));
    }
    let jwks = serde_json::to_value(&*node.iam.jwks(tenant).await.unwrap()).unwrap();
    for key in jwks["keys"].as_array().unwrap() {
        assert_eq!(key["use"], "sig");
        let members: BTreeSet<&str> = key.as_object().unwrap().keys().map(String::as_str).collect();
        let expected: &[&str] = match key["kty"].as_str().unwrap() {
            "RSA" => &["kty", "use", "alg", "kid", "n", "e"],
            "EC" => &["kty", "use", "alg", "kid", "crv", "x", "y"],
            _ => &["kty", "use", "alg", "kid", "crv", "x"],
        };
        assert_eq!(members, expected.iter().copied().collect());
    }
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_key_is_published_before_it_signs_and_after_it_signed() {
    let (node, tenant) = Node::with_settings(settings()).await;
    let signs = || async {
        node.iam.signing_key(tenant, SigningAlgorithm::ES256).await.unwrap().unwrap().kid().to_owned()
    };
    let published = || async {
        node.iam.jwks(tenant).await.unwrap().keys.iter().map(|key| key.kid.clone()).collect::<Vec<_>>()
    };
    let first = signs().await;
    assert_eq!(published().await, std::slice::from_ref(&first));

    node.advance_ms(9 * HOUR_MS);
    node.iam.drive_keys(tenant).await.unwrap();
    assert_eq!((signs().await, published().await.len()), (first.clone(), 2));

    node.advance_ms(HOUR_MS);
    node.iam.drive_keys(tenant).await.unwrap();
    let second = signs().await;
    assert_ne!(second, first);
    assert_eq!(published().await, [first.clone(), second.clone()]);

    node.advance_ms(2 * HOUR_MS);
    node.iam.drive_keys(tenant).await.unwrap();
    assert_eq!(published().await, [second]);
    assert!(node.iam.verification_key(tenant, &first).await.unwrap().is_none());
}

#[tokio::test]
async fn a_rotation_on_demand_takes_effect_at_once() {
    let (node, tenant) = Node::with_settings(settings()).await;
    let first = node.iam.signing_key(tenant, SigningAlgorithm::ES256).await.unwrap().unwrap();
    let ctx = node.ctx(tenant);
    let id = node.iam.rotate_signing_keys(&ctx, SigningAlgorithm::ES256).await.unwrap().reply;
    let second = node.iam.signing_key(tenant, SigningAlgorithm::ES256).await.unwrap().unwrap();
    assert_eq!(second.kid(), id.to_string());
    assert!(node.iam.verification_key(tenant, first.kid()).await.unwrap().is_some());
}

#[tokio::test]
async fn two_nodes_that_drive_at_once_make_one_key() {
    let (node, tenant) = Node::with_settings(TenantSettings {
        signing_algorithms: vec![SigningAlgorithm::EdDSA],
        ..settings()
    })
    .await;
    node.advance_ms(9 * HOUR_MS);
    let (a, b) = tokio::join!(node.iam.drive_keys(tenant), node.iam.drive_keys(tenant));
    a.unwrap();
    b.unwrap();
    assert_eq!(node.iam.jwks(tenant).await.unwrap().keys.len(), 2);
}

#[test]
fn rfc7518_s3_4_an_es256_signature_is_r_and_s_of_64_bytes() {
    use domicile_iam::ids::Id;
    let made = generate(SigningAlgorithm::ES256).unwrap();
    let id = domicile_iam::ids::SigningKeyId::from_bytes([1; 16]);
    let key = SigningKey::from_pkcs8(id, made.algorithm, &made.private_pkcs8).unwrap();
    assert_eq!(key.sign(b"x").unwrap().len(), 64);
    let other = SigningKey::from_pkcs8(id, SigningAlgorithm::EdDSA, &made.private_pkcs8);
    assert_eq!(other.err(), Some(KeyFault));
}
