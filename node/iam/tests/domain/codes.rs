//! Codes: redeemed once, for the client, redirect URI and verifier they were issued for.

use domicile_iam::commands::{AuthorizeRefusal, InvalidGrant, TokenRefusal};
use domicile_iam::execute::ExecuteError;
use domicile_iam::ids::TenantId;
use domicile_iam::model::{ClientView, CodeRequest};
use domicile_iam::service::TokenStatus;

use crate::support::{Node, REDIRECT, VERIFIER, claims_of, refusal, set};

async fn ready() -> (Node, TenantId, ClientView, String) {
    let (node, tenant) = Node::with_tenant().await;
    let user = node.user(tenant, "alice").await;
    let client = node.web_client(tenant).await;
    let session = node.session(tenant, user.id).await;
    let code = node.code(tenant, &session, &client, &["openid", "profile"]).await;
    (node, tenant, client, code)
}

#[tokio::test]
async fn rfc6749_s4_1_3_a_code_gives_what_was_asked_for() {
    let (node, tenant, client, code) = ready().await;
    let issue = node.redeem(tenant, &client, &code).await.unwrap();
    assert_eq!(issue.scopes, set(&["openid", "profile"]));
    assert_eq!(issue.nonce.as_deref(), Some("n-0S6_WzA2Mj"));
    assert_eq!(issue.amr, ["pwd"]);
    assert!(issue.refresh_token.is_some_and(|token| token.starts_with("dom_rt_")));
    assert!(issue.sid.is_some() && issue.session.is_some());
    let types = node.event_types(tenant).await;
    assert_eq!(types.iter().filter(|t| *t == "family.created").count(), 1);
}

#[tokio::test]
async fn rfc6749_s4_1_2_second_use_of_a_code_revokes_what_it_gave() {
    let (node, tenant, client, code) = ready().await;
    let issue = node.redeem(tenant, &client, &code).await.unwrap();
    let claims = claims_of(&issue, &client);
    assert_eq!(node.status(tenant, &claims).await, TokenStatus::Active);
    // Also after the code itself has expired.
    node.advance_ms(90_000);
    assert_eq!(refusal(node.redeem(tenant, &client, &code).await), InvalidGrant::Reused.into());
    assert_eq!(node.status(tenant, &claims).await, TokenStatus::Inactive);
    let refreshed = node.rotate(tenant, &client, &issue.refresh_token.unwrap()).await;
    assert_eq!(refusal(refreshed), InvalidGrant::Revoked.into());
    assert_eq!(refusal(node.redeem(tenant, &client, &code).await), InvalidGrant::Reused.into());
    let revoked = node.event_types(tenant).await.into_iter().filter(|t| t == "family.revoked").count();
    assert_eq!(revoked, 1);
}

/// The suite's module waits 30 s by the wall clock, which counts for nothing here.
#[tokio::test]
async fn oidcc_codereuse_30seconds_a_late_second_use_is_refused_and_voids_the_first() {
    for waited_ms in [1, 29_999, 30_000, 31_000, 120_000] {
        let (node, tenant, client, code) = ready().await;
        let issue = node.redeem(tenant, &client, &code).await.unwrap();
        let claims = claims_of(&issue, &client);
        node.advance_ms(waited_ms);
        assert_eq!(node.status(tenant, &claims).await, TokenStatus::Active, "{waited_ms}");
        let second = refusal(node.redeem(tenant, &client, &code).await);
        assert_eq!(second, InvalidGrant::Reused.into(), "{waited_ms}");
        assert_eq!(node.status(tenant, &claims).await, TokenStatus::Inactive, "{waited_ms}");
        let refreshed = node.rotate(tenant, &client, &issue.refresh_token.unwrap()).await;
        assert_eq!(refusal(refreshed), InvalidGrant::Revoked.into(), "{waited_ms}");
    }
}

#[tokio::test]
async fn rfc6749_s4_1_3_what_does_not_fit_leaves_the_code_as_it_is() {
    let (node, tenant, client, code) = ready().await;
    let other = node.web_client(tenant).await;
    let ctx = node.ctx(tenant);
    let cases: [(&ClientView, Option<&str>, Option<&str>, InvalidGrant); 6] = [
        (&other, Some(REDIRECT), Some(VERIFIER), InvalidGrant::OtherClient),
        (&client, Some("https://rp.example/other"), Some(VERIFIER), InvalidGrant::RedirectUri),
        (&client, None, Some(VERIFIER), InvalidGrant::RedirectUri),
        (&client, Some(REDIRECT), None, InvalidGrant::Pkce),
        (&client, Some(REDIRECT), Some("short"), InvalidGrant::Pkce),
        (&client, Some(REDIRECT), Some(&"x".repeat(43)), InvalidGrant::Pkce),
    ];
    for (client, redirect, verifier, reason) in cases {
        let refused = node.iam.redeem_code(&ctx, client, &code, redirect, verifier).await.map(|w| w.reply);
        assert_eq!(refusal(refused), TokenRefusal::InvalidGrant(reason));
    }
    assert!(node.redeem(tenant, &client, &code).await.is_ok());
}

#[tokio::test]
async fn rfc9700_s2_1_1_a_verifier_without_a_challenge_is_refused() {
    let (node, tenant, client, _) = ready().await;
    let user = node.user(tenant, "bob").await;
    let session = node.session(tenant, user.id).await;
    let mut request = Node::code_request(&client, &["openid"]);
    request.challenge = None;
    let consent = domicile_iam::commands::Consent { scopes: set(&["openid"]), ..Default::default() };
    let ctx = node.ctx(tenant);
    let code = node.iam.issue_code(&ctx, session.view.id, request, Some(consent)).await.unwrap().reply.code;
    node.tick();
    assert_eq!(refusal(node.redeem(tenant, &client, &code).await), InvalidGrant::Pkce.into());
    assert!(node.iam.redeem_code(&ctx, &client, &code, Some(REDIRECT), None).await.is_ok());
}

#[tokio::test]
async fn rfc6749_s4_1_2_a_code_expires() {
    let (node, tenant, client, code) = ready().await;
    node.advance_ms(60_000);
    assert_eq!(refusal(node.redeem(tenant, &client, &code).await), InvalidGrant::Unknown.into());
}

#[tokio::test]
async fn a_code_dies_with_the_session_it_came_from() {
    let (node, tenant, client, _) = ready().await;
    let user = node.user(tenant, "bob").await;
    let session = node.session(tenant, user.id).await;
    let code = node.code(tenant, &session, &client, &["openid"]).await;
    let reason = domicile_iam::streams::session::SessionEndReason::Logout;
    node.iam.end_session(&node.ctx(tenant), session.view.id, reason).await.unwrap();
    assert_eq!(refusal(node.redeem(tenant, &client, &code).await), InvalidGrant::Revoked.into());
}

#[tokio::test]
async fn oidc_core_s3_1_2_4_without_consent_nothing_is_issued() {
    let (node, tenant, client, _) = ready().await;
    let user = node.user(tenant, "bob").await;
    let session = node.session(tenant, user.id).await;
    let ctx = node.ctx(tenant);
    let request = Node::code_request(&client, &["openid"]);
    let refused = node.iam.issue_code(&ctx, session.view.id, request.clone(), None).await;
    assert!(matches!(refused, Err(ExecuteError::Refused(AuthorizeRefusal::ConsentNeeded))));
    node.code(tenant, &session, &client, &["openid", "email"]).await;
    assert!(node.iam.issue_code(&ctx, session.view.id, request, None).await.is_ok());
    let more = Node::code_request(&client, &["openid", "phone"]);
    let refused = node.iam.issue_code(&ctx, session.view.id, more, None).await;
    assert!(matches!(refused, Err(ExecuteError::Refused(AuthorizeRefusal::ConsentNeeded))));
}

#[tokio::test]
async fn rfc8252_s8_6_a_client_that_others_may_pass_for_is_agreed_to_each_time() {
    let (node, tenant, _, _) = ready().await;
    let user = node.user(tenant, "bob").await;
    let session = node.session(tenant, user.id).await;
    let metadata = serde_json::json!({
        "redirect_uris": [REDIRECT, "http://127.0.0.1/cb"], "application_type": "native",
        "token_endpoint_auth_method": "none",
    });
    let (app, _) = node.client(tenant, metadata).await;
    // At an address that is the app's alone; it allows all that is asked for below.
    node.code(tenant, &session, &app, &["openid"]).await;
    let (ctx, id) = (node.ctx(tenant), session.view.id);
    let at =
        |uri: &str| CodeRequest { redirect_uri: uri.to_owned(), ..Node::code_request(&app, &["openid"]) };
    assert!(node.iam.issue_code(&ctx, id, at(REDIRECT), None).await.is_ok());
    let silent = node.iam.issue_code(&ctx, id, at("http://127.0.0.1:4711/cb"), None).await;
    assert!(matches!(silent, Err(ExecuteError::Refused(AuthorizeRefusal::ConsentNeeded))));
    let consent = domicile_iam::commands::Consent { scopes: set(&["openid"]), ..Default::default() };
    assert!(node.iam.issue_code(&ctx, id, at("http://127.0.0.1:4711/cb"), Some(consent)).await.is_ok());
}

#[tokio::test]
async fn one_client_keeps_its_sid_within_a_session() {
    let (node, tenant, client, _) = ready().await;
    let user = node.user(tenant, "bob").await;
    let session = node.session(tenant, user.id).await;
    let ctx = node.ctx(tenant);
    let mut sids = Vec::new();
    for _ in 0..2 {
        let consent = domicile_iam::commands::Consent { scopes: set(&["openid"]), ..Default::default() };
        let request = Node::code_request(&client, &["openid"]);
        sids.push(
            node.iam.issue_code(&ctx, session.view.id, request, Some(consent)).await.unwrap().reply.sid,
        );
    }
    assert_eq!(sids[0], sids[1]);
    let other = node.web_client(tenant).await;
    let consent = domicile_iam::commands::Consent { scopes: set(&["openid"]), ..Default::default() };
    let request = Node::code_request(&other, &["openid"]);
    let third = node.iam.issue_code(&ctx, session.view.id, request, Some(consent)).await.unwrap().reply.sid;
    assert_ne!(sids[0], third);
}

#[tokio::test]
async fn oidc_core_s5_5_a_single_claim_is_given_only_with_consent_to_it() {
    let (node, tenant, client, _) = ready().await;
    let user = node.user(tenant, "bob").await;
    let session = node.session(tenant, user.id).await;
    let ctx = node.ctx(tenant);
    // A grant for the scopes alone, from before.
    node.code(tenant, &session, &client, &["openid"]).await;
    let mut request = Node::code_request(&client, &["openid"]);
    request.claims = serde_json::from_value(serde_json::json!({
        "userinfo": {"email": {"value": "bob@example.org"}, "nickname": {}},
    }))
    .unwrap();
    let refused = node.iam.issue_code(&ctx, session.view.id, request.clone(), None).await;
    assert!(matches!(refused, Err(ExecuteError::Refused(AuthorizeRefusal::ConsentNeeded))));
    // One of the two is allowed: the other is not given.
    let consent = domicile_iam::commands::Consent {
        claims: set(&["email"]),
        scopes: set(&["openid"]),
        ..Default::default()
    };
    let code = node.iam.issue_code(&ctx, session.view.id, request, Some(consent)).await.unwrap().reply.code;
    node.tick();
    let issue = node.redeem(tenant, &client, &code).await.unwrap();
    assert_eq!(issue.claims.userinfo.keys().map(String::as_str).collect::<Vec<_>>(), ["email"]);
    assert_eq!(issue.claims.userinfo["email"].value, None, "a value can be personal");
}

#[tokio::test]
async fn rfc6749_s4_1_2_second_use_is_told_while_the_last_access_token_counts() {
    use domicile_iam::model::TenantSettings;
    let settings =
        TenantSettings { refresh_idle_ms: 60_000, refresh_absolute_ms: 60_000, ..TenantSettings::default() };
    let (node, tenant) = Node::with_settings(settings).await;
    let user = node.user(tenant, "alice").await;
    let client = node.web_client(tenant).await;
    let session = node.session(tenant, user.id).await;
    let code = node.code(tenant, &session, &client, &["openid"]).await;
    let issue = node.redeem(tenant, &client, &code).await.unwrap();
    node.advance_ms(59_000);
    let last = node.rotate(tenant, &client, &issue.refresh_token.unwrap()).await.unwrap();
    node.advance_ms(590_000);
    let claims = claims_of(&last, &client);
    assert_eq!(node.status(tenant, &claims).await, TokenStatus::Active);
    assert_eq!(refusal(node.redeem(tenant, &client, &code).await), InvalidGrant::Reused.into());
    assert_eq!(node.status(tenant, &claims).await, TokenStatus::Inactive);
}

#[tokio::test]
async fn what_came_from_an_idle_session_ends_with_it() {
    use domicile_iam::model::TenantSettings;
    let settings = TenantSettings { session_idle_ms: 30_000, ..TenantSettings::default() };
    let (node, tenant) = Node::with_settings(settings).await;
    let user = node.user(tenant, "alice").await;
    let client = node.web_client(tenant).await;
    let session = node.session(tenant, user.id).await;
    let redeemed = node.code(tenant, &session, &client, &["openid"]).await;
    let offline = node.code(tenant, &session, &client, &["openid", "offline_access"]).await;
    let unused = node.code(tenant, &session, &client, &["openid"]).await;
    let issue = node.redeem(tenant, &client, &redeemed).await.unwrap();
    let outlives = node.redeem(tenant, &client, &offline).await.unwrap();
    let status = |issue| {
        let claims = claims_of(issue, &client);
        let node = &node;
        async move { node.status(tenant, &claims).await }
    };
    assert_eq!(status(&issue).await, TokenStatus::Active);
    node.advance_ms(31_000);
    assert_eq!(status(&issue).await, TokenStatus::Inactive);
    assert_eq!(status(&outlives).await, TokenStatus::Active);
    assert_eq!(refusal(node.redeem(tenant, &client, &unused).await), InvalidGrant::Revoked.into());
}
