//! Refresh tokens: rotation with a deterministic successor, reuse, expiry, revocation.

use domicile_iam::commands::{InvalidGrant, TokenRefusal};
use domicile_iam::execute::ExecuteError;
use domicile_iam::ids::{SessionId, TenantId, UserId};
use domicile_iam::model::{AccessTokenClaims, ClientView, Issue, TenantSettings, TokenSource};
use domicile_iam::query::Consistency;
use domicile_iam::service::TokenStatus;
use domicile_iam::streams::session::SessionEndReason;

use crate::support::{Node, claims_of, refusal, set};

struct Given {
    node: Node,
    tenant: TenantId,
    user: UserId,
    session: SessionId,
    client: ClientView,
    issue: Issue,
}

impl Given {
    async fn scopes(scopes: &[&str]) -> Self {
        Self::settings(TenantSettings::default(), scopes).await
    }

    async fn settings(settings: TenantSettings, scopes: &[&str]) -> Self {
        let (node, tenant) = Node::with_settings(settings).await;
        let user = node.user(tenant, "alice").await;
        let client = node.web_client(tenant).await;
        let session = node.session(tenant, user.id).await;
        let code = node.code(tenant, &session, &client, scopes).await;
        let issue = node.redeem(tenant, &client, &code).await.unwrap();
        Self { node, tenant, user: user.id, session: session.view.id, client, issue }
    }

    fn token(&self) -> String {
        self.issue.refresh_token.clone().unwrap()
    }

    async fn rotate(&self, token: &str) -> Result<Issue, TokenRefusal> {
        match self.node.rotate(self.tenant, &self.client, token).await {
            Ok(issue) => Ok(issue),
            Err(ExecuteError::Refused(refused)) => Err(refused),
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn rfc6749_s6_a_refresh_token_gives_tokens_and_a_successor() {
    let given = Given::scopes(&["openid"]).await;
    let first = given.rotate(&given.token()).await.unwrap();
    let second = given.rotate(&first.refresh_token.clone().unwrap()).await.unwrap();
    assert_ne!(first.refresh_token, second.refresh_token);
    assert_eq!(second.family, given.issue.family);
    assert_eq!(second.nonce, None);
    assert_eq!(second.auth_time, given.issue.auth_time);
    let claims = claims_of(&second, &given.client);
    assert_eq!(given.node.status(given.tenant, &claims).await, TokenStatus::Active);
}

#[tokio::test]
async fn a_retry_within_the_grace_gives_the_same_successor_and_writes_nothing() {
    let given = Given::scopes(&["openid"]).await;
    let first = given.rotate(&given.token()).await.unwrap();
    given.node.advance_ms(9_000);
    let applied = domicile_raft::Partition::applied(&*given.node.home);
    let retry = given.rotate(&given.token()).await.unwrap();
    assert_eq!(retry.refresh_token, first.refresh_token);
    assert_ne!(retry.token_id, first.token_id);
    assert_eq!(domicile_raft::Partition::applied(&*given.node.home), applied);
}

#[tokio::test]
async fn rfc9700_s4_14_2_reused_refresh_token_revokes_the_family() {
    let given = Given::scopes(&["openid"]).await;
    let first = given.rotate(&given.token()).await.unwrap();
    given.node.advance_ms(10_000);
    assert_eq!(given.rotate(&given.token()).await.err(), Some(InvalidGrant::Reused.into()));
    let successor = first.refresh_token.clone().unwrap();
    assert_eq!(given.rotate(&successor).await.err(), Some(InvalidGrant::Revoked.into()));
    let claims = claims_of(&first, &given.client);
    assert_eq!(given.node.status(given.tenant, &claims).await, TokenStatus::Inactive);
    let types = given.node.event_types(given.tenant).await;
    assert_eq!(types[types.len() - 2..], ["family.reuse_detected", "family.revoked"]);
}

#[tokio::test]
async fn rfc9700_s4_14_2_an_older_token_revokes_the_family_even_within_the_grace() {
    let given = Given::scopes(&["openid"]).await;
    let first = given.rotate(&given.token()).await.unwrap();
    given.rotate(&first.refresh_token.unwrap()).await.unwrap();
    assert_eq!(given.rotate(&given.token()).await.err(), Some(InvalidGrant::Reused.into()));
}

#[tokio::test]
async fn a_guess_revokes_nothing() {
    let given = Given::scopes(&["openid"]).await;
    let token = given.token();
    let mut forged = token.clone().into_bytes();
    forged[60] = if forged[60] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    for guess in [forged.as_str(), "dom_rt_AAAA", ""] {
        assert_eq!(given.rotate(guess).await.err(), Some(InvalidGrant::Unknown.into()));
    }
    assert!(given.rotate(&token).await.is_ok());
}

#[tokio::test]
async fn rfc6749_s5_2_another_clients_token_is_refused_and_stays_whole() {
    let given = Given::scopes(&["openid"]).await;
    let other = given.node.web_client(given.tenant).await;
    let refused = given.node.rotate(given.tenant, &other, &given.token()).await;
    assert_eq!(refusal(refused), InvalidGrant::OtherClient.into());
    assert!(given.rotate(&given.token()).await.is_ok());
}

#[tokio::test]
async fn rfc6749_s6_scopes_may_narrow_and_never_widen() {
    let given = Given::scopes(&["openid", "email"]).await;
    let ctx = given.node.ctx(given.tenant);
    let rotate = |scopes| {
        given.node.iam.rotate_refresh_token(
            &ctx,
            &given.client,
            given.issue.refresh_token.as_deref().unwrap(),
            Some(scopes),
        )
    };
    assert!(matches!(
        rotate(set(&["openid", "phone"])).await,
        Err(ExecuteError::Refused(TokenRefusal::InvalidScope))
    ));
    let narrowed = rotate(set(&["openid"])).await.unwrap().reply;
    assert_eq!(narrowed.scopes, set(&["openid"]));
    // The successor still has all that was granted (RFC 6749 §6).
    let whole = given.rotate(&narrowed.refresh_token.unwrap()).await.unwrap();
    assert_eq!(whole.scopes, set(&["openid", "email"]));
}

#[tokio::test]
async fn a_token_unused_for_too_long_ends() {
    let settings = TenantSettings { refresh_idle_ms: 60_000, ..TenantSettings::default() };
    let given = Given::settings(settings, &["openid"]).await;
    given.node.advance_ms(50_000);
    let next = given.rotate(&given.token()).await.unwrap().refresh_token.unwrap();
    given.node.advance_ms(50_000);
    let next = given.rotate(&next).await.unwrap().refresh_token.unwrap();
    given.node.advance_ms(60_000);
    assert_eq!(given.rotate(&next).await.err(), Some(InvalidGrant::Unknown.into()));
}

#[tokio::test]
async fn a_family_ends_at_its_absolute_expiry_however_often_it_is_used() {
    let settings =
        TenantSettings { refresh_idle_ms: 60_000, refresh_absolute_ms: 100_000, ..TenantSettings::default() };
    let given = Given::settings(settings, &["openid"]).await;
    given.node.advance_ms(50_000);
    let next = given.rotate(&given.token()).await.unwrap().refresh_token.unwrap();
    given.node.advance_ms(51_000);
    assert_eq!(given.rotate(&next).await.err(), Some(InvalidGrant::Unknown.into()));
}

#[tokio::test]
async fn oidc_core_s11_without_offline_access_tokens_end_with_the_session() {
    let given = Given::scopes(&["openid"]).await;
    let claims = claims_of(&given.issue, &given.client);
    let ctx = given.node.ctx(given.tenant);
    given.node.iam.end_session(&ctx, given.session, SessionEndReason::Logout).await.unwrap();
    assert_eq!(given.rotate(&given.token()).await.err(), Some(InvalidGrant::Revoked.into()));
    assert_eq!(given.node.status(given.tenant, &claims).await, TokenStatus::Inactive);
}

#[tokio::test]
async fn oidc_core_s11_with_offline_access_tokens_outlive_the_session() {
    let given = Given::scopes(&["openid", "offline_access"]).await;
    let claims = claims_of(&given.issue, &given.client);
    let ctx = given.node.ctx(given.tenant);
    given.node.iam.end_session(&ctx, given.session, SessionEndReason::Logout).await.unwrap();
    let issue = given.rotate(&given.token()).await.unwrap();
    assert_eq!((issue.session, issue.sid.clone()), (None, None));
    assert_eq!(given.node.status(given.tenant, &claims).await, TokenStatus::Active);
}

#[tokio::test]
async fn using_a_refresh_token_keeps_its_session_alive() {
    let settings = TenantSettings { session_idle_ms: 600_000, ..TenantSettings::default() };
    let given = Given::settings(settings, &["openid"]).await;
    let mut token = given.token();
    for _ in 0..4 {
        given.node.advance_ms(400_000);
        token = given.rotate(&token).await.unwrap().refresh_token.unwrap();
    }
    given.node.advance_ms(700_000);
    assert_eq!(given.rotate(&token).await.err(), Some(InvalidGrant::Revoked.into()));
}

#[tokio::test]
async fn rfc7009_s2_1_revoking_a_refresh_token_revokes_what_came_with_it() {
    let given = Given::scopes(&["openid"]).await;
    let claims = claims_of(&given.issue, &given.client);
    let ctx = given.node.ctx(given.tenant);
    let other = given.node.web_client(given.tenant).await;
    given.node.iam.revoke(&ctx, &other, &given.token()).await.unwrap();
    given.node.iam.revoke(&ctx, &given.client, "no token").await.unwrap();
    assert_eq!(given.node.status(given.tenant, &claims).await, TokenStatus::Active);
    given.node.iam.revoke(&ctx, &given.client, &given.token()).await.unwrap();
    assert_eq!(given.node.status(given.tenant, &claims).await, TokenStatus::Inactive);
    assert_eq!(given.rotate(&given.token()).await.err(), Some(InvalidGrant::Revoked.into()));
}

#[tokio::test]
async fn rfc7009_s2_1_revoking_an_access_token_leaves_its_family() {
    let given = Given::scopes(&["openid"]).await;
    let claims = claims_of(&given.issue, &given.client);
    given.node.iam.revoke_access_token(&given.node.ctx(given.tenant), &claims).await.unwrap();
    assert_eq!(given.node.status(given.tenant, &claims).await, TokenStatus::Inactive);
    let next = given.rotate(&given.token()).await.unwrap();
    assert_eq!(given.node.status(given.tenant, &claims_of(&next, &given.client)).await, TokenStatus::Active);
}

#[tokio::test]
async fn each_thing_a_token_stands_on_can_void_it() {
    for what in ["user", "client", "grant", "password"] {
        let given = Given::scopes(&["openid", "offline_access"]).await;
        let claims = claims_of(&given.issue, &given.client);
        let (iam, ctx) = (&given.node.iam, given.node.ctx(given.tenant));
        assert_eq!(given.node.status(given.tenant, &claims).await, TokenStatus::Active, "{what}");
        match what {
            "user" => {
                let patch = domicile_iam::commands::UserPatch { disabled: Some(true), ..Default::default() };
                iam.update_user(&ctx, given.user, patch).await.unwrap();
            }
            "client" => {
                let patch =
                    domicile_iam::commands::ClientPatch { disabled: Some(true), ..Default::default() };
                iam.update_client(&ctx, given.client.id, patch).await.unwrap();
            }
            "grant" => {
                iam.revoke_grant(&ctx, given.user, given.client.id).await.unwrap();
            }
            _ => {
                let new = domicile_iam::commands::PlainPassword::new("another password");
                iam.change_password(&ctx, given.user, None, new).await.unwrap();
            }
        }
        given.node.tick();
        assert_eq!(given.node.status(given.tenant, &claims).await, TokenStatus::Inactive, "{what}");
        assert_eq!(given.rotate(&given.token()).await.err(), Some(InvalidGrant::Revoked.into()), "{what}");
    }
}

#[tokio::test]
async fn what_voids_a_source_voids_what_was_exchanged_for_it() {
    for what in ["token", "client", "grant", "family"] {
        let given = Given::scopes(&["openid", "offline_access"]).await;
        let (iam, ctx) = (&given.node.iam, given.node.ctx(given.tenant));
        let gateway = given.node.web_client(given.tenant).await;
        let subject = claims_of(&given.issue, &given.client);
        let source = TokenSource {
            jti: subject.jti,
            client: subject.client,
            issued_at: subject.issued_at,
            user: subject.user,
            session: subject.session,
            grant: subject.grant,
            family: subject.family,
        };
        let exchanged = AccessTokenClaims {
            jti: domicile_iam::ids::Id::from_bytes([9; 16]),
            client: gateway.id,
            client_id: gateway.client_id.clone(),
            session: None,
            grant: None,
            family: None,
            sources: vec![source],
            ..subject.clone()
        };
        assert_eq!(given.node.status(given.tenant, &exchanged).await, TokenStatus::Active, "{what}");
        match what {
            "token" => {
                iam.revoke_access_token(&ctx, &subject).await.unwrap();
            }
            "client" => {
                let patch =
                    domicile_iam::commands::ClientPatch { disabled: Some(true), ..Default::default() };
                iam.update_client(&ctx, given.client.id, patch).await.unwrap();
            }
            "grant" => {
                iam.revoke_grant(&ctx, given.user, given.client.id).await.unwrap();
            }
            _ => {
                iam.revoke(&ctx, &given.client, &given.token()).await.unwrap();
            }
        }
        given.node.tick();
        assert_eq!(given.node.status(given.tenant, &exchanged).await, TokenStatus::Inactive, "{what}");
    }
}

#[tokio::test]
async fn rfc7662_s2_2_only_the_current_token_is_active() {
    let given = Given::scopes(&["openid"]).await;
    let inspect = |token: String| async {
        given
            .node
            .iam
            .inspect_refresh_token(given.tenant, &{ token }, &Consistency::Linearizable)
            .await
            .unwrap()
    };
    let view = inspect(given.token()).await.unwrap();
    assert_eq!((view.user, view.client, view.family), (given.user, given.client.id, given.issue.family));
    let next = given.rotate(&given.token()).await.unwrap();
    assert_eq!(inspect(given.token()).await, None);
    assert!(inspect(next.refresh_token.unwrap()).await.is_some());
}

#[tokio::test]
async fn rfc7591_s2_a_client_without_the_refresh_grant_gets_no_refresh_token() {
    let (node, tenant) = Node::with_tenant().await;
    let user = node.user(tenant, "alice").await;
    let metadata = serde_json::json!({"redirect_uris": [crate::support::REDIRECT]});
    let (client, _) = node.client(tenant, metadata).await;
    let session = node.session(tenant, user.id).await;
    let code = node.code(tenant, &session, &client, &["openid", "offline_access"]).await;
    let issue = node.redeem(tenant, &client, &code).await.unwrap();
    assert_eq!(issue.refresh_token, None);
    assert_eq!(node.status(tenant, &claims_of(&issue, &client)).await, TokenStatus::Active);
}

/// A family that ends a minute after it began.
fn short() -> TenantSettings {
    TenantSettings { refresh_idle_ms: 60_000, refresh_absolute_ms: 60_000, ..TenantSettings::default() }
}

#[tokio::test]
async fn rfc9700_s4_14_2_reuse_after_the_family_ended_voids_the_tokens_that_still_count() {
    let given = Given::settings(short(), &["openid"]).await;
    given.node.advance_ms(50_000);
    let last = given.rotate(&given.token()).await.unwrap();
    let claims = claims_of(&last, &given.client);
    given.node.advance_ms(20_000);
    let late = given.rotate(&last.refresh_token.clone().unwrap()).await;
    assert_eq!(late.err(), Some(InvalidGrant::Unknown.into()), "ended, not reused");
    assert_eq!(given.node.status(given.tenant, &claims).await, TokenStatus::Active);
    assert_eq!(given.rotate(&given.token()).await.err(), Some(InvalidGrant::Reused.into()));
    assert_eq!(given.node.status(given.tenant, &claims).await, TokenStatus::Inactive);
}

#[tokio::test]
async fn an_ended_refresh_token_is_not_shown_as_current() {
    let given = Given::settings(short(), &["openid"]).await;
    let shown = || async {
        given.node.iam.inspect_refresh_token(given.tenant, &given.token(), &Consistency::Local).await.unwrap()
    };
    assert!(shown().await.is_some());
    given.node.advance_ms(60_000);
    assert!(shown().await.is_none());
}
