//! Operators: invited once, in the tenant `system` alone.

use domicile_iam::commands::{
    Consent, CreateUser, EnrolmentRefusal, PlainPassword, TenantRefusal, UserRefusal,
};
use domicile_iam::execute::ExecuteError;
use domicile_iam::ids::{TenantId, UserId};
use domicile_iam::model::{ADMIN_SCOPE, AuthMethod, CLI_CLIENT_ID, GrantType, TenantSettings};

use crate::support::{Node, PASSWORD, new_tenant, set, zero};

fn operator(name: &str) -> CreateUser {
    CreateUser {
        username: name.to_owned(),
        password: Some(PlainPassword::new(PASSWORD)),
        ..CreateUser::default()
    }
}

async fn with_system() -> (Node, TenantId) {
    let node = Node::new();
    let issuer = "https://id.example/t/system".to_owned();
    let system = node.iam.ensure_system_tenant(&node.ctx(zero()), issuer.clone(), None).await.unwrap();
    let again = node.iam.ensure_system_tenant(&node.ctx(zero()), issuer, None).await.unwrap();
    assert_eq!(system, again);
    (node, system)
}

/// The scopes that a code gives.
async fn scopes(node: &Node, tenant: TenantId, user: UserId) -> std::collections::BTreeSet<String> {
    let client = node.web_client(tenant).await;
    let session = node.session(tenant, user).await;
    let wanted = ["openid", ADMIN_SCOPE];
    let request = Node::code_request(&client, &wanted);
    let consent = Consent { scopes: set(&wanted), ..Consent::default() };
    let issued = node.iam.issue_code(&node.ctx(tenant), session.view.id, request, Some(consent)).await;
    node.redeem(tenant, &client, &issued.unwrap().reply.code).await.unwrap().scopes
}

#[tokio::test]
async fn an_invitation_makes_one_operator_within_15_minutes() {
    let (node, system) = with_system().await;
    let ctx = node.ctx(system);
    let invited = node.iam.invite_operator(&ctx).await.unwrap().reply;
    let wrong = node.iam.enrol_operator(&ctx, "guess", operator("olive")).await;
    assert!(matches!(wrong, Err(ExecuteError::Refused(EnrolmentRefusal::Unknown))));
    let user = node.iam.enrol_operator(&ctx, &invited.secret, operator("olive")).await.unwrap().reply;
    assert!(node.iam.is_operator(system, user).unwrap());
    let twice = node.iam.enrol_operator(&ctx, &invited.secret, operator("oscar")).await;
    assert!(matches!(twice, Err(ExecuteError::Refused(EnrolmentRefusal::Unknown))));
    let invited = node.iam.invite_operator(&ctx).await.unwrap().reply;
    let taken = node.iam.enrol_operator(&ctx, &invited.secret, operator("olive")).await;
    let taken =
        matches!(taken, Err(ExecuteError::Refused(EnrolmentRefusal::User(UserRefusal::UsernameTaken))));
    assert!(taken, "and the invitation is not used up");
    node.advance_ms(15 * 60_000);
    let late = node.iam.enrol_operator(&ctx, &invited.secret, operator("oscar")).await;
    assert!(matches!(late, Err(ExecuteError::Refused(EnrolmentRefusal::Unknown))));
}

#[tokio::test]
async fn only_operators_of_the_system_tenant_get_the_scope_of_operators() {
    let (node, system) = with_system().await;
    let ctx = node.ctx(system);
    let invited = node.iam.invite_operator(&ctx).await.unwrap().reply;
    let olive = node.iam.enrol_operator(&ctx, &invited.secret, operator("olive")).await.unwrap().reply;
    node.tick();
    assert!(scopes(&node, system, olive).await.contains(ADMIN_SCOPE));
    let mallory = node.user(system, "mallory").await;
    assert_eq!(scopes(&node, system, mallory.id).await, set(&["openid"]));
    node.iam.set_operator(&ctx, olive, false).await.unwrap();
    node.tick();
    assert_eq!(scopes(&node, system, olive).await, set(&["openid"]));
    let made = node.iam.create_tenant(&node.ctx(zero()), new_tenant("acme", TenantSettings::default())).await;
    let acme = made.unwrap().reply.id;
    let alice = node.user(acme, "alice").await;
    let refused = node.iam.set_operator(&node.ctx(acme), alice.id, true).await;
    assert!(matches!(refused, Err(ExecuteError::Refused(UserRefusal::NotFound))));
    assert!(node.iam.invite_operator(&node.ctx(acme)).await.is_err());
}

#[tokio::test]
async fn nobody_else_gets_the_name_of_the_system_tenant() {
    let node = Node::new();
    let made =
        node.iam.create_tenant(&node.ctx(zero()), new_tenant("system", TenantSettings::default())).await;
    assert!(matches!(made, Err(ExecuteError::Refused(TenantRefusal::SlugTaken))));
}

#[tokio::test]
async fn the_command_lines_client_is_made_once_and_may_ask_for_the_scope_of_operators() {
    let (node, system) = with_system().await;
    let ctx = node.ctx(system);
    node.iam.ensure_cli_client(&ctx).await.unwrap();
    let made = node.iam.client(system, CLI_CLIENT_ID).await.unwrap().unwrap();
    assert_eq!(made.metadata.token_endpoint_auth_method, AuthMethod::None);
    assert!(made.metadata.require_pkce && made.metadata.scope.as_ref().unwrap().contains(ADMIN_SCOPE));
    assert!(
        made.metadata.grant_types.contains(&GrantType::DeviceCode),
        "RFC 8628: where there is no browser"
    );
    node.iam.ensure_cli_client(&ctx).await.unwrap();
    assert_eq!(node.iam.client(system, CLI_CLIENT_ID).await.unwrap().unwrap().id, made.id);
}

#[tokio::test]
async fn the_system_tenant_cannot_be_deleted() {
    let (node, system) = with_system().await;
    let deleted = node.iam.delete_tenant(&node.ctx(system), None).await;
    assert!(matches!(deleted, Err(ExecuteError::Refused(TenantRefusal::Protected))), "{deleted:?}");
    assert!(node.iam.tenant_by_slug("system").await.unwrap().is_some());
    let release = domicile_iam::commands::ReleaseTenant { tenant: system };
    let released = node.iam.directory(&node.ctx(system), &release).await;
    assert!(matches!(released, Err(ExecuteError::Refused(TenantRefusal::Protected))), "{released:?}");
}
