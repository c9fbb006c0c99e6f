//! Clients that users register for themselves (docs/adr/0027).

use std::sync::Arc;

use domicile_iam::commands::{ClientRefusal, DeveloperRefusal, UserPatch};
use domicile_iam::execute::ExecuteError;
use domicile_iam::ids::{TenantId, UserId};
use domicile_iam::model::{ClientMetadata, ClientView, TenantSettings};
use domicile_iam::query::Consistency;
use serde_json::json;

use crate::support::Node;

struct Given {
    node: Node,
    tenant: TenantId,
    user: UserId,
}

fn open(max: u32) -> TenantSettings {
    TenantSettings { developer_clients_max: max, ..TenantSettings::default() }
}

#[allow(clippy::needless_pass_by_value, reason = "made where it is passed")]
fn metadata(more: serde_json::Value) -> ClientMetadata {
    let mut whole = json!({
        "client_name": "Mine", "redirect_uris": ["https://mine.example/cb"],
        "grant_types": ["authorization_code", "refresh_token"],
    });
    whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(whole).unwrap()
}

impl Given {
    async fn new(settings: TenantSettings) -> Self {
        let (node, tenant) = Node::with_settings(settings).await;
        let user = node.user(tenant, "alice").await.id;
        Self { node, tenant, user }
    }

    async fn register(&self, user: UserId) -> Result<(ClientView, Option<String>), DeveloperRefusal> {
        let ctx = self.node.ctx(self.tenant);
        answer(self.node.iam.register_own_client(&ctx, user, metadata(json!({}))).await)
    }

    async fn shown(&self, client: &ClientView) -> Option<Arc<ClientView>> {
        self.node.iam.client_by_id(self.tenant, client.id, &Consistency::Linearizable).await.unwrap()
    }
}

fn answer<T: Clone>(
    outcome: Result<domicile_iam::execute::Written<T>, ExecuteError<DeveloperRefusal>>,
) -> Result<T, DeveloperRefusal> {
    match outcome {
        Ok(written) => Ok(written.reply.clone()),
        Err(ExecuteError::Refused(refusal)) => Err(refusal),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_user_registers_as_many_clients_as_the_tenant_allows_and_none_by_default() {
    let given = Given::new(TenantSettings::default()).await;
    assert_eq!(given.register(given.user).await.err(), Some(DeveloperRefusal::Closed));
    let given = Given::new(open(2)).await;
    let (first, secret) = given.register(given.user).await.unwrap();
    assert!(secret.is_some() && first.delegation.as_ref().unwrap().owner() == Some(given.user));
    given.register(given.user).await.unwrap();
    assert_eq!(given.register(given.user).await.err(), Some(DeveloperRefusal::TooMany(2)));
    let other = given.node.user(given.tenant, "bob").await.id;
    given.register(other).await.unwrap();
    let ctx = given.node.ctx(given.tenant);
    answer(given.node.iam.delete_own_client(&ctx, given.user, first.id).await).unwrap();
    given.register(given.user).await.unwrap();
}

#[tokio::test]
async fn two_registrations_that_race_for_the_last_place_give_one_client() {
    let given = Given::new(open(1)).await;
    let (a, b) = tokio::join!(given.register(given.user), given.register(given.user));
    assert_eq!(u8::from(a.is_ok()) + u8::from(b.is_ok()), 1);
    let own = given.node.iam.own_clients(given.tenant, given.user, &Consistency::Linearizable).await.unwrap();
    assert_eq!(own.len(), 1);
}

#[tokio::test]
async fn owasp_asvs_v5_s8_2_2_a_user_has_no_hand_in_the_clients_of_others() {
    let given = Given::new(open(5)).await;
    let other = given.node.user(given.tenant, "bob").await.id;
    let (mine, _) = given.register(given.user).await.unwrap();
    let operators = given.node.web_client(given.tenant).await;
    let (iam, ctx) = (&given.node.iam, given.node.ctx(given.tenant));
    for (who, client) in [(other, &mine), (given.user, &operators)] {
        let changed = iam.update_own_client(&ctx, who, client.id, metadata(json!({"client_name": "Theirs"})));
        assert_eq!(answer(changed.await).err(), Some(DeveloperRefusal::NotFound));
        let rotated = answer(iam.rotate_own_secret(&ctx, who, client.id, 0).await).err();
        assert_eq!(rotated, Some(DeveloperRefusal::NotFound));
        let deleted = answer(iam.delete_own_client(&ctx, who, client.id).await).err();
        assert_eq!(deleted, Some(DeveloperRefusal::NotFound));
    }
    assert!(iam.own_clients(given.tenant, other, &Consistency::Local).await.unwrap().is_empty());
    assert_eq!(given.shown(&mine).await.unwrap().metadata.client_name.as_deref(), Some("Mine"));
}

#[tokio::test]
async fn rfc7591_s2_a_users_client_keeps_to_the_tenants_policy() {
    let policy = json!({"redirect_uri_hosts": ["*.example"], "require_pkce": true, "scopes": ["openid"]});
    let settings = TenantSettings { registration_policy: serde_json::from_value(policy).unwrap(), ..open(5) };
    let given = Given::new(settings).await;
    let (client, _) = given.register(given.user).await.unwrap();
    assert!(client.metadata.require_pkce);
    assert_eq!(client.metadata.scope.as_deref(), Some("openid"));
    let (iam, ctx) = (&given.node.iam, given.node.ctx(given.tenant));
    let outside = metadata(json!({"redirect_uris": ["https://evil.test/cb"]}));
    let refused = answer(iam.update_own_client(&ctx, given.user, client.id, outside).await).err();
    assert!(matches!(refused, Some(DeveloperRefusal::Client(ClientRefusal::InvalidRedirectUri { .. }))));
    let server = metadata(
        json!({"resource_identifiers": ["https://api.example"], "token_exchange": {"scope": "openid"}}),
    );
    answer(iam.update_own_client(&ctx, given.user, client.id, server).await).unwrap();
    let after = given.shown(&client).await.unwrap().metadata.clone();
    assert!(after.resource_identifiers.is_empty() && after.extra.is_empty(), "no rights over others");
}

#[tokio::test]
async fn clients_are_disabled_with_the_user_who_answers_for_them() {
    for what in ["disabled", "erased"] {
        let given = Given::new(open(5)).await;
        let (mine, _) = given.register(given.user).await.unwrap();
        let other = given.node.user(given.tenant, "bob").await.id;
        let (theirs, _) = given.register(other).await.unwrap();
        let (iam, ctx) = (&given.node.iam, given.node.ctx(given.tenant));
        if what == "disabled" {
            let patch = UserPatch { disabled: Some(true), ..UserPatch::default() };
            iam.update_user(&ctx, given.user, patch).await.unwrap();
        } else {
            iam.erase_user(&ctx, given.user, None).await.unwrap();
        }
        assert!(given.shown(&mine).await.unwrap().disabled, "{what}");
        assert!(!given.shown(&theirs).await.unwrap().disabled, "{what}");
        assert_eq!(given.register(given.user).await.err(), Some(DeveloperRefusal::Closed), "{what}");
    }
}
