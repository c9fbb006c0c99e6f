//! Refresh tokens that stay (docs/adr/0027).

use std::collections::BTreeSet;

use domicile_iam::commands::{
    ClientPatch, InvalidGrant, RedeemCode, RotateRefreshToken, TokenRefusal, UserPatch,
};
use domicile_iam::execute::ExecuteError;
use domicile_iam::ids::{SessionId, TenantId, UserId};
use domicile_iam::model::{ClientView, Issue, KeyProof, TenantSettings};
use domicile_iam::query::Consistency;
use domicile_iam::service::TokenStatus;
use domicile_iam::streams::session::SessionEndReason;
use domicile_raft::{Clock as _, Partition as _};
use proptest::prelude::*;
use serde_json::json;

use crate::support::{Node, REDIRECT, VERIFIER, claims_of};

struct Given {
    node: Node,
    tenant: TenantId,
    user: UserId,
    session: SessionId,
    client: ClientView,
    issue: Issue,
}

fn short() -> TenantSettings {
    TenantSettings { refresh_idle_ms: 100_000, refresh_absolute_ms: 1_000_000, ..TenantSettings::default() }
}

impl Given {
    async fn new(settings: TenantSettings, scopes: &[&str]) -> Self {
        Self::with(settings, scopes, json!({"refresh_token_mode": "static"}), None).await
    }

    async fn with(
        settings: TenantSettings,
        scopes: &[&str],
        more: serde_json::Value,
        proof: Option<KeyProof>,
    ) -> Self {
        let (node, tenant) = Node::with_settings(settings).await;
        let mut metadata = json!({
            "redirect_uris": [REDIRECT], "grant_types": ["authorization_code", "refresh_token"],
        });
        metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (client, _) = node.client(tenant, metadata).await;
        let user = node.user(tenant, "alice").await.id;
        let session = node.session(tenant, user).await;
        let code = node.code(tenant, &session, &client, scopes).await;
        let command = RedeemCode {
            client: client.id,
            code,
            redirect_uri: Some(REDIRECT.to_owned()),
            verifier: Some(VERIFIER.to_owned()),
            proof,
            resources: BTreeSet::new(),
        };
        let issue = node.iam.redeem(&node.ctx(tenant), &command).await.unwrap().reply;
        node.tick();
        Self { node, tenant, user, session: session.view.id, client, issue }
    }

    fn token(&self) -> String {
        self.issue.refresh_token.clone().unwrap()
    }

    fn applied(&self) -> u64 {
        self.node.home.applied()
    }

    async fn refresh_with(&self, token: &str, proof: Option<KeyProof>) -> Result<Issue, TokenRefusal> {
        let command = RotateRefreshToken {
            client: self.client.id,
            token: token.to_owned(),
            scopes: None,
            proof,
            resources: BTreeSet::new(),
        };
        let refreshed = self.node.iam.rotate(&self.node.ctx(self.tenant), &command).await;
        self.node.tick();
        match refreshed {
            Ok(written) => Ok(written.reply),
            Err(ExecuteError::Refused(refusal)) => Err(refusal),
            Err(other) => panic!("{other}"),
        }
    }

    async fn refresh(&self) -> Result<Issue, TokenRefusal> {
        self.refresh_with(&self.token(), None).await
    }

    async fn set_mode(&self, mode: &str) {
        let mut metadata = self.client.metadata.clone();
        metadata.extra.insert("refresh_token_mode".to_owned(), json!(mode));
        let patch = ClientPatch { metadata: Some(metadata), ..ClientPatch::default() };
        self.node.iam.update_client(&self.node.ctx(self.tenant), self.client.id, patch).await.unwrap();
        self.node.tick();
    }
}

#[tokio::test]
async fn rfc9700_s4_14_2_a_confidential_clients_refresh_token_may_stay_and_its_use_writes_nothing() {
    let given = Given::new(TenantSettings::default(), &["openid", "offline_access"]).await;
    let applied = given.applied();
    let mut ids = BTreeSet::from([given.issue.token_id]);
    for _ in 0..3 {
        let next = given.refresh().await.unwrap();
        assert_eq!(next.refresh_token, given.issue.refresh_token);
        assert_eq!((next.family, next.nonce.is_none()), (given.issue.family, true));
        assert!(ids.insert(next.token_id), "a new access token each time");
    }
    assert_eq!(given.applied(), applied);
    let token = given.token();
    let view = given.node.iam.inspect_refresh_token(given.tenant, &token, &Consistency::Local);
    assert_eq!(view.await.unwrap().unwrap().family, given.issue.family, "RFC 7662 §2.2");
}

#[tokio::test]
async fn a_token_that_stays_ends_unused_and_is_noted_as_used_at_most_every_tenth_of_that_time() {
    let given = Given::new(short(), &["openid", "offline_access"]).await;
    let applied = given.applied();
    given.node.advance_ms(9_000);
    given.refresh().await.unwrap();
    assert_eq!(given.applied(), applied, "too soon to note");
    for _ in 0..9 {
        given.node.advance_ms(80_000);
        let before = given.applied();
        given.refresh().await.unwrap();
        assert!(given.applied() > before, "noted");
    }
    given.node.advance_ms(100_000);
    assert_eq!(given.refresh().await.err(), Some(InvalidGrant::Unknown.into()), "unused for too long");
    let given = Given::new(short(), &["openid", "offline_access"]).await;
    for _ in 0..12 {
        given.node.advance_ms(80_000);
        given.refresh().await.unwrap();
    }
    given.node.advance_ms(80_000);
    assert_eq!(given.refresh().await.err(), Some(InvalidGrant::Unknown.into()), "the family ends at last");
}

#[tokio::test]
async fn rfc7009_s2_1_a_token_that_stays_is_void_once_anything_it_stands_on_is() {
    for what in ["family", "user", "client", "grant", "session"] {
        let scopes: &[&str] = if what == "session" { &["openid"] } else { &["openid", "offline_access"] };
        let given = Given::new(TenantSettings::default(), scopes).await;
        let claims = claims_of(&given.refresh().await.unwrap(), &given.client);
        let (iam, ctx) = (&given.node.iam, given.node.ctx(given.tenant));
        let off = Some(true);
        match what {
            "family" => drop(iam.revoke(&ctx, &given.client, &given.token()).await.unwrap()),
            "user" => {
                let patch = UserPatch { disabled: off, ..UserPatch::default() };
                drop(iam.update_user(&ctx, given.user, patch).await.unwrap());
            }
            "client" => {
                let patch = ClientPatch { disabled: off, ..ClientPatch::default() };
                drop(iam.update_client(&ctx, given.client.id, patch).await.unwrap());
            }
            "grant" => drop(iam.revoke_grant(&ctx, given.user, given.client.id).await.unwrap()),
            _ => drop(iam.end_session(&ctx, given.session, SessionEndReason::Logout).await.unwrap()),
        }
        given.node.tick();
        assert_eq!(given.refresh().await.err(), Some(InvalidGrant::Revoked.into()), "{what}");
        assert_eq!(given.node.status(given.tenant, &claims).await, TokenStatus::Inactive, "{what}");
    }
}

#[tokio::test]
async fn rfc9449_s5_a_public_clients_token_stays_only_with_the_key_it_is_bound_to() {
    let public = json!({
        "token_endpoint_auth_method": "none", "dpop_bound_access_tokens": true, "refresh_token_mode": "static",
    });
    let ends_at_s = Node::new().clock.now().seconds() + 600;
    let proof = |jkt: &str, jti: &str| Some(KeyProof::new(jkt, jti, ends_at_s));
    let scopes = &["openid", "offline_access"];
    let given = Given::with(TenantSettings::default(), scopes, public.clone(), proof("key", "1")).await;
    let next = given.refresh_with(&given.token(), proof("key", "2")).await.unwrap();
    assert_eq!(
        (next.refresh_token, next.dpop_jkt.as_deref()),
        (given.issue.refresh_token.clone(), Some("key"))
    );
    for other in [None, proof("other", "3")] {
        let refused = given.refresh_with(&given.token(), other).await;
        assert_eq!(refused.err(), Some(InvalidGrant::OtherKey.into()));
    }
    let reused = given.refresh_with(&given.token(), proof("key", "1")).await;
    assert_eq!(reused.err(), Some(TokenRefusal::ProofUsed), "the proof of the code was written down");
    // However it came about that a public client got a family without a key: it rotates.
    let bare = Given::with(TenantSettings::default(), scopes, public, None).await;
    assert_ne!(bare.refresh().await.unwrap().refresh_token, bare.issue.refresh_token);
}

#[tokio::test]
async fn families_of_a_client_that_rotates_by_now_rotate_from_their_next_use_on() {
    let given = Given::new(TenantSettings::default(), &["openid", "offline_access"]).await;
    given.set_mode("rotate").await;
    let next = given.refresh().await.unwrap();
    assert_ne!(next.refresh_token, given.issue.refresh_token);
    let retry = given.refresh().await.unwrap();
    assert_eq!(retry.refresh_token, next.refresh_token, "the grace of rotation");
    given.node.advance_ms(20_000);
    assert_eq!(given.refresh().await.err(), Some(InvalidGrant::Reused.into()));
    let rotating = Given::with(
        TenantSettings::default(),
        &["openid", "offline_access"],
        json!({"refresh_token_mode": "rotate"}),
        None,
    )
    .await;
    rotating.set_mode("static").await;
    assert_ne!(rotating.refresh().await.unwrap().refresh_token, rotating.issue.refresh_token);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever happens in whichever order: as long as the client keeps its tokens, each refresh gives the same,
    /// and once the family was revoked or ended, none gives anything.
    #[test]
    fn a_token_that_stays_is_the_same_until_it_is_over_for_good(steps in prop::collection::vec(0..4_u8, 1..24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let given = Given::new(short(), &["openid", "offline_access"]).await;
            let (mut over, mut idle_ms, mut age_ms) = (false, 0_u64, 5_u64);
            for step in steps {
                match step {
                    0 => {
                        let refreshed = given.refresh().await;
                        // What was noted may be a tenth of the idle time old.
                        if over || idle_ms >= 100_000 || age_ms >= 1_000_000 {
                            assert!(refreshed.is_err());
                            over = true;
                        } else if idle_ms < 85_000 {
                            assert_eq!(refreshed.unwrap().refresh_token, given.issue.refresh_token);
                            idle_ms = 0;
                        }
                        (idle_ms, age_ms) = (idle_ms + 5, age_ms + 5);
                    }
                    1 | 2 => {
                        let ms = if step == 1 { 40_000 } else { 110_000 };
                        given.node.advance_ms(ms);
                        (idle_ms, age_ms) = (idle_ms + ms, age_ms + ms);
                    }
                    _ => {
                        given.node.iam.revoke(&given.node.ctx(given.tenant), &given.client, &given.token()).await.unwrap();
                        over = true;
                    }
                }
            }
        });
    }
}
