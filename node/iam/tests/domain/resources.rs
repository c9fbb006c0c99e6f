//! Resource indicators (RFC 8707): what tokens are for.

use std::collections::BTreeSet;

use domicile_iam::commands::{
    AuthorizeRefusal, ClientPatch, ClientRefusal, Consent, NewSession, RedeemCode, RotateRefreshToken,
    TokenRefusal,
};
use domicile_iam::execute::ExecuteError;
use domicile_iam::ids::TenantId;
use domicile_iam::model::{ClientMetadata, ClientView, Issue};
use serde_json::{Value, json};

use crate::support::{Node, REDIRECT, Redeemed, VERIFIER, refusal, set};

const API: &str = "https://api.example/";
const FILES: &str = "https://files.example/v1?x=1";

fn resource_server(identifiers: &[&str]) -> Value {
    json!({
        "grant_types": ["client_credentials"], "response_types": [], "resource_identifiers": identifiers,
    })
}

struct Given {
    node: Node,
    tenant: TenantId,
    client: ClientView,
    session: NewSession,
}

impl Given {
    async fn new() -> Self {
        let (node, tenant) = Node::with_tenant().await;
        let user = node.user(tenant, "ada").await;
        let client = node.web_client(tenant).await;
        let session = node.session(tenant, user.id).await;
        Self { node, tenant, client, session }
    }

    async fn code(&self, resources: &[&str], consent: Option<&[&str]>) -> Result<String, AuthorizeRefusal> {
        let mut request = Node::code_request(&self.client, &["openid", "offline_access"]);
        request.resources = set(resources);
        let consent = consent.map(|resources| Consent {
            scopes: request.scopes.clone(),
            resources: set(resources),
            ..Consent::default()
        });
        let ctx = self.node.ctx(self.tenant);
        let issued = self.node.iam.issue_code(&ctx, self.session.view.id, request, consent).await;
        self.node.tick();
        match issued {
            Ok(written) => Ok(written.reply.code),
            Err(ExecuteError::Refused(refusal)) => Err(refusal),
            Err(other) => panic!("{other}"),
        }
    }

    async fn redeem(&self, code: &str, resources: BTreeSet<String>) -> Redeemed {
        let command = RedeemCode {
            client: self.client.id,
            code: code.to_owned(),
            redirect_uri: Some(REDIRECT.to_owned()),
            verifier: Some(VERIFIER.to_owned()),
            proof: None,
            resources,
        };
        let redeemed = self.node.iam.redeem(&self.node.ctx(self.tenant), &command).await;
        self.node.tick();
        redeemed.map(|written| written.reply)
    }

    async fn rotate(&self, issue: &Issue, resources: BTreeSet<String>) -> Redeemed {
        let token = issue.refresh_token.clone().unwrap();
        let command =
            RotateRefreshToken { client: self.client.id, token, scopes: None, proof: None, resources };
        let rotated = self.node.iam.rotate(&self.node.ctx(self.tenant), &command).await;
        self.node.tick();
        rotated.map(|written| written.reply)
    }
}

#[tokio::test]
async fn rfc8707_s2_2_each_token_is_for_what_is_asked_and_never_for_more_than_was_granted() {
    let given = Given::new().await;
    let both = [API, FILES];
    let code = given.code(&both, Some(&both)).await.unwrap();
    let more = given.redeem(&code, set(&["https://other.example"])).await;
    assert_eq!(refusal(more), TokenRefusal::InvalidTarget, "it uses up nothing");
    let issue = given.redeem(&code, set(&[API])).await.unwrap();
    assert_eq!(issue.resources, set(&[API]));
    let next = given.rotate(&issue, set(&[FILES])).await.unwrap();
    assert_eq!(next.resources, set(&[FILES]), "the refresh token is good for all that was granted");
    let all = given.rotate(&next, set(&[])).await.unwrap();
    assert_eq!(all.resources, set(&both));
    let more = given.rotate(&all, set(&[API, "https://other.example"])).await;
    assert_eq!(refusal(more), TokenRefusal::InvalidTarget);
}

#[tokio::test]
async fn rfc8707_s2_2_where_nothing_was_asked_for_a_token_is_for_the_issuer() {
    let given = Given::new().await;
    let code = given.code(&[], Some(&[])).await.unwrap();
    assert_eq!(refusal(given.redeem(&code, set(&[API])).await), TokenRefusal::InvalidTarget);
    let issue = given.redeem(&code, set(&["https://id.example/t/acme"])).await.unwrap();
    assert_eq!(issue.resources, set(&[]));
}

#[tokio::test]
async fn rfc8707_s3_consent_to_a_scope_at_one_resource_is_none_at_another() {
    let given = Given::new().await;
    assert!(given.code(&[], Some(&[])).await.is_ok());
    assert_eq!(given.code(&[API], None).await, Err(AuthorizeRefusal::ConsentNeeded));
    assert!(given.code(&[API], Some(&[API])).await.is_ok());
    assert!(given.code(&[API], None).await.is_ok());
    assert_eq!(given.code(&[API, FILES], None).await, Err(AuthorizeRefusal::ConsentNeeded));
}

#[tokio::test]
async fn an_identifier_names_one_resource_server_while_it_is_registered() {
    let given = Given::new().await;
    let (node, tenant) = (&given.node, given.tenant);
    let server = node.client(tenant, resource_server(&[API, FILES])).await.0;
    let found = |identifier: &str| node.iam.resource_server(tenant, identifier).unwrap();
    assert_eq!((found(API), found(FILES)), (Some(server.id), Some(server.id)));
    assert_eq!(found("https://api.example"), None, "compared exactly");

    let second: ClientMetadata = serde_json::from_value(resource_server(&[API])).unwrap();
    let refused = node.iam.register_client(&node.ctx(tenant), second.clone(), None).await;
    assert!(matches!(
        refused,
        Err(ExecuteError::Refused(ClientRefusal::InvalidClientMetadata { field, .. }))
            if field == "resource_identifiers"
    ));
    let fewer: ClientMetadata = serde_json::from_value(resource_server(&[FILES])).unwrap();
    let patch = ClientPatch { metadata: Some(fewer), disabled: None, if_revision: None };
    node.iam.update_client(&node.ctx(tenant), server.id, patch).await.unwrap();
    assert_eq!((found(API), found(FILES)), (None, Some(server.id)));
    let second = node.iam.register_client(&node.ctx(tenant), second, None).await.unwrap().reply.0;
    assert_eq!(found(API), Some(second.id));
    node.iam.delete_client(&node.ctx(tenant), server.id, None).await.unwrap();
    assert_eq!(found(FILES), None);
}
