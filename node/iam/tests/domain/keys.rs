//! Signing keys: their lives, their signatures, their key set.

use std::collections::BTreeSet;

use domicile_iam::commands::{KeyRefusal, TenantPatch, TenantRefusal};
use domicile_iam::execute::ExecuteError;
use domicile_iam::keys::{KeyFault, SigningKey, generate};
use domicile_iam::model::{JWKS_CACHE_MS, SigningAlgorithm, TenantSettings};
use domicile_iam::streams::signing_key::KeyPhase;

use serde_json::json;

use crate::support::{Node, REDIRECT};

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
    let all =
        TenantSettings { signing_algorithms: SigningAlgorithm::ALL.to_vec(), ..TenantSettings::default() };
    let (node, tenant) = Node::with_settings(all).await;
    assert!(node.iam.signing_key(tenant, SigningAlgorithm::ES384).await.unwrap().is_some());
    assert!(node.iam.signing_key(tenant, SigningAlgorithm::RS256).await.unwrap().is_none());
    assert!(node.iam.drive_keys(tenant).await.unwrap() > 0);
    assert_eq!(node.iam.drive_all_keys().await.unwrap(), 0);
    for algorithm in SigningAlgorithm::ALL {
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
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 5);
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
async fn an_operator_sees_each_key_with_its_phase_and_times() {
    let (node, tenant) = Node::with_settings(settings()).await;
    let seen = || async {
        let keys = node.iam.signing_keys(tenant).await.unwrap();
        keys.iter().map(|key| (key.phase, key.created_at, key.phase_since)).collect::<Vec<_>>()
    };
    let (phase, made, _) = seen().await[0];
    assert_eq!(phase, KeyPhase::Active);

    node.advance_ms(9 * HOUR_MS);
    node.iam.drive_keys(tenant).await.unwrap();
    let both = seen().await;
    assert_eq!((both[0].0, both[0].1, both[1].0), (KeyPhase::Active, made, KeyPhase::Published));
    assert!(both[1].1.since_ms(made) >= 9 * HOUR_MS);

    node.advance_ms(HOUR_MS);
    node.iam.drive_keys(tenant).await.unwrap();
    let turned = seen().await;
    assert_eq!((turned[0].0, turned[1].0), (KeyPhase::Retired, KeyPhase::Active));
    assert_eq!((turned[0].1, turned[0].2), (made, turned[1].2), "one retires as the other begins");

    node.advance_ms(2 * HOUR_MS);
    node.iam.drive_keys(tenant).await.unwrap();
    assert_eq!(seen().await, [turned[1]], "a removed key is shown no more");
}

#[tokio::test]
async fn a_rotation_on_demand_takes_effect_at_once() {
    let (node, tenant) = Node::with_settings(settings()).await;
    let first = node.iam.signing_key(tenant, SigningAlgorithm::ES256).await.unwrap().unwrap();
    let ctx = node.ctx(tenant);
    let id = node.iam.rotate_signing_keys(&ctx, SigningAlgorithm::ES256, false).await.unwrap().reply;
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

#[tokio::test]
async fn a_leaked_key_verifies_nothing_from_its_revocation_on() {
    let (node, tenant) = Node::with_settings(settings()).await;
    let ctx = node.ctx(tenant);
    let first = node.iam.signing_key(tenant, SigningAlgorithm::ES256).await.unwrap().unwrap();
    node.iam.rotate_signing_keys(&ctx, SigningAlgorithm::ES256, false).await.unwrap();
    let second = node.iam.signing_key(tenant, SigningAlgorithm::ES256).await.unwrap().unwrap();
    let id = node.iam.rotate_signing_keys(&ctx, SigningAlgorithm::ES256, true).await.unwrap().reply;
    for leaked in [&first, &second] {
        assert!(node.iam.verification_key(tenant, leaked.kid()).await.unwrap().is_none());
    }
    let third = node.iam.signing_key(tenant, SigningAlgorithm::ES256).await.unwrap().unwrap();
    assert_eq!(third.kid(), id.to_string());
    let types = node.event_types(tenant).await;
    assert_eq!(types.iter().filter(|t| *t == "signing_key.removed").count(), 2);
    assert_eq!(node.iam.drive_keys(tenant).await.unwrap(), 0);
}

#[tokio::test]
async fn a_key_that_ended_reads_hints_as_long_as_sessions_last_and_a_leaked_one_none() {
    let (node, tenant) = Node::with_settings(settings()).await;
    let ctx = node.ctx(tenant);
    let signs = || async { node.iam.signing_key(tenant, SigningAlgorithm::ES256).await.unwrap().unwrap() };
    let reads = |kid: &str| node.iam.ended_key(tenant, kid).unwrap();
    let mut ended = Vec::new();
    for _ in 0..2 {
        let key = signs().await;
        node.iam.rotate_signing_keys(&ctx, SigningAlgorithm::ES256, false).await.unwrap();
        assert!(reads(key.kid()).is_none(), "it is in the key set");
        node.advance_ms(2 * HOUR_MS);
        node.iam.drive_keys(tenant).await.unwrap();
        assert!(node.iam.verification_key(tenant, key.kid()).await.unwrap().is_none());
        let public = reads(key.kid()).unwrap();
        assert!(public.verify(b"hint", &key.sign(b"hint").unwrap()));
        ended.push(key.kid().to_owned());
    }
    let types = node.event_types(tenant).await;
    assert_eq!(types.iter().filter(|kind| *kind == "signing_key.ended").count(), 2);

    let leaked = signs().await;
    node.iam.rotate_signing_keys(&ctx, SigningAlgorithm::ES256, true).await.unwrap();
    assert!(reads(leaked.kid()).is_none());
    let late = node.iam.revoke_signing_key(&ctx, ended[0].parse().unwrap()).await.unwrap();
    assert_eq!(late.reply, None);
    assert!(reads(&ended[0]).is_none(), "a leak that was noticed after the key's end");
    let twice = node.iam.revoke_signing_key(&ctx, ended[0].parse().unwrap()).await;
    assert!(matches!(twice, Err(ExecuteError::Refused(KeyRefusal::NotFound))), "{twice:?}");

    assert!(reads(&ended[1]).is_some());
    node.advance_ms(settings().session_absolute_ms);
    assert!(reads(&ended[1]).is_none());
    assert!(reads("sig_00000000000000000000000000").is_none() && reads("x").is_none());
}

#[tokio::test]
async fn a_revoked_key_takes_no_other_with_it_and_one_that_signs_has_a_successor() {
    let (node, tenant) = Node::with_settings(settings()).await;
    let ctx = node.ctx(tenant);
    let signs = || async { node.iam.signing_key(tenant, SigningAlgorithm::ES256).await.unwrap().unwrap() };
    let first = signs().await;
    node.iam.rotate_signing_keys(&ctx, SigningAlgorithm::ES256, false).await.unwrap();
    let second = signs().await;

    let ended = node.iam.revoke_signing_key(&ctx, first.kid().parse().unwrap()).await.unwrap();
    assert_eq!(ended.reply, None, "it did not sign any more");
    let gone = node.iam.revoke_signing_key(&ctx, first.kid().parse().unwrap()).await;
    assert!(matches!(gone, Err(ExecuteError::Refused(KeyRefusal::NotFound))), "{gone:?}");
    assert_eq!(signs().await.kid(), second.kid());

    let ended = node.iam.revoke_signing_key(&ctx, second.kid().parse().unwrap()).await.unwrap();
    let third = signs().await;
    assert_eq!(ended.reply.map(|id| id.to_string()).as_deref(), Some(third.kid()));
    let jwks = node.iam.jwks(tenant).await.unwrap();
    assert_eq!(jwks.keys.iter().map(|key| key.kid.as_str()).collect::<Vec<_>>(), [third.kid()]);
    assert_eq!(node.iam.drive_keys(tenant).await.unwrap(), 0, "nothing is left to do");
}

#[tokio::test]
async fn no_key_is_made_for_an_algorithm_that_the_tenant_does_not_keep() {
    let (node, tenant) = Node::with_settings(settings()).await;
    for revoke in [false, true] {
        let made = node.iam.rotate_signing_keys(&node.ctx(tenant), SigningAlgorithm::ES384, revoke).await;
        assert!(matches!(made, Err(ExecuteError::Refused(KeyRefusal::NotKept))), "{made:?}");
    }
}

#[tokio::test]
async fn what_was_signed_verifies_through_rotation_after_rotation() {
    let (node, tenant) = Node::with_settings(settings()).await;
    let cache_and_token = JWKS_CACHE_MS + settings().access_token_lifetime_ms;
    // What a verifier may still see: key sets of the last minutes, tokens of the last signing keys.
    let (mut signed, mut turns) = (Vec::new(), BTreeSet::new());
    for minute in (0..48 * 60).step_by(4) {
        let now = minute * 60_000;
        node.iam.drive_keys(tenant).await.unwrap();
        let key = node.iam.signing_key(tenant, SigningAlgorithm::ES256).await.unwrap().unwrap();
        turns.insert(key.kid().to_owned());
        signed.push((now, key.kid().to_owned()));
        signed.retain(|(at, _)| now - at <= cache_and_token);
        for (at, kid) in &signed {
            let known = node.iam.verification_key(tenant, kid).await.unwrap();
            assert!(known.is_some(), "signed {} s ago", (now - at) / 1_000);
        }
        node.advance_ms(4 * 60_000);
    }
    assert!(turns.len() >= 4, "keys turned: {turns:?}");
}

#[tokio::test]
async fn a_clock_that_jumps_over_a_rotation_still_publishes_before_it_signs() {
    let (node, tenant) = Node::with_settings(settings()).await;
    let first = node.iam.signing_key(tenant, SigningAlgorithm::ES256).await.unwrap().unwrap();
    // The node was down for longer than a key signs.
    node.advance_ms(100 * HOUR_MS);
    node.iam.drive_keys(tenant).await.unwrap();
    let still = node.iam.signing_key(tenant, SigningAlgorithm::ES256).await.unwrap().unwrap();
    assert_eq!(still.kid(), first.kid(), "its successor is not known to verifiers yet");
    assert_eq!(node.iam.jwks(tenant).await.unwrap().keys.len(), 2);
    node.advance_ms(HOUR_MS);
    node.iam.drive_keys(tenant).await.unwrap();
    let next = node.iam.signing_key(tenant, SigningAlgorithm::ES256).await.unwrap().unwrap();
    assert_ne!(next.kid(), first.kid());
}

#[tokio::test]
async fn keys_of_an_algorithm_that_the_settings_name_no_more_retire_and_go() {
    let (node, tenant) = Node::with_settings(settings()).await;
    let first = node.iam.signing_key(tenant, SigningAlgorithm::ES256).await.unwrap().unwrap();
    let patch = TenantPatch {
        settings: Some(TenantSettings { signing_algorithms: vec![SigningAlgorithm::EdDSA], ..settings() }),
        ..TenantPatch::default()
    };
    node.iam.update_tenant(&node.ctx(tenant), patch).await.unwrap();
    node.iam.drive_all_keys().await.unwrap();
    assert!(node.iam.signing_key(tenant, SigningAlgorithm::ES256).await.unwrap().is_none());
    assert!(node.iam.signing_key(tenant, SigningAlgorithm::EdDSA).await.unwrap().is_some());
    assert!(node.iam.verification_key(tenant, first.kid()).await.unwrap().is_some());
    node.advance_ms(2 * HOUR_MS);
    node.iam.drive_all_keys().await.unwrap();
    assert!(node.iam.verification_key(tenant, first.kid()).await.unwrap().is_none());
}

#[tokio::test]
async fn an_algorithm_that_clients_are_registered_for_is_given_up_by_force_alone() {
    use SigningAlgorithm::{ES256, EdDSA};
    let kept = |algorithms: &[SigningAlgorithm]| TenantSettings {
        signing_algorithms: algorithms.to_vec(),
        ..settings()
    };
    let (node, tenant) = Node::with_settings(kept(&[ES256, EdDSA])).await;
    let algorithms = json!({
        "redirect_uris": [REDIRECT], "id_token_signed_response_alg": "EdDSA",
        "access_token_signed_response_alg": "ES256",
    });
    let (client, _) = node.client(tenant, algorithms).await;
    let service = json!({
        "grant_types": ["client_credentials"], "response_types": [], "id_token_signed_response_alg": "EdDSA",
        "access_token_signed_response_alg": "ES256",
    });
    let (service, _) = node.client(tenant, service).await;
    let ctx = node.ctx(tenant);
    let update = |settings: TenantSettings, force| {
        let patch = TenantPatch { settings: Some(settings), force, ..TenantPatch::default() };
        node.iam.update_tenant(&ctx, patch)
    };
    for (left, in_use) in [
        (ES256, vec![client.client_id.clone()]),
        (EdDSA, vec![client.client_id.clone(), service.client_id.clone()]),
    ] {
        let refused = update(kept(&[left]), false).await;
        let Err(ExecuteError::Refused(TenantRefusal::AlgorithmInUse { count, mut clients })) = refused else {
            panic!("{refused:?}")
        };
        clients.sort();
        let mut in_use = in_use;
        in_use.sort();
        assert_eq!((count, clients), (in_use.len() as u64, in_use), "a service gets no ID tokens");
    }
    update(kept(&[EdDSA, ES256]), false).await.expect("nothing is given up");
    update(kept(&[ES256]), true).await.expect("by force");
    update(TenantSettings { lockout_attempts: 3, ..kept(&[ES256]) }, false).await.expect("given up before");
}

#[tokio::test]
async fn an_algorithm_has_no_more_keys_than_a_round_can_see() {
    let (node, tenant) = Node::with_settings(settings()).await;
    let ctx = node.ctx(tenant);
    for _ in 1..32 {
        node.iam.rotate_signing_keys(&ctx, SigningAlgorithm::ES256, false).await.unwrap();
    }
    let more = node.iam.rotate_signing_keys(&ctx, SigningAlgorithm::ES256, false).await;
    assert!(matches!(more, Err(ExecuteError::Refused(KeyRefusal::TooMany))), "{more:?}");
    node.iam.rotate_signing_keys(&ctx, SigningAlgorithm::ES256, true).await.unwrap();
    assert_eq!(node.iam.jwks(tenant).await.unwrap().keys.len(), 1);
}
