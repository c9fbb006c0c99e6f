//! DPoP (RFC 9449): codes and public clients' refresh tokens are of no use without their key, and a proof is
//! good for one write.

use domicile_iam::commands::{
    Consent, InvalidGrant, NewSession, RedeemCode, RotateRefreshToken, TokenRefusal,
};
use domicile_iam::ids::TenantId;
use domicile_iam::model::{ClientView, Issue, KeyProof};
use domicile_raft::Clock as _;
use serde_json::json;

use crate::support::{Node, REDIRECT, Redeemed, VERIFIER, refusal, set};

struct Given {
    node: Node,
    tenant: TenantId,
    client: ClientView,
    session: NewSession,
}

impl Given {
    async fn new(method: &str) -> Self {
        let (node, tenant) = Node::with_tenant().await;
        let user = node.user(tenant, "ada").await;
        let metadata = json!({
            "redirect_uris": [REDIRECT], "token_endpoint_auth_method": method,
            "grant_types": ["authorization_code", "refresh_token"],
        });
        let client = node.client(tenant, metadata).await.0;
        let session = node.session(tenant, user.id).await;
        Self { node, tenant, client, session }
    }

    /// A proof of `key`, each time another `jti` is given.
    fn proof(&self, key: &str, jti: &str) -> KeyProof {
        KeyProof::new(key, jti, self.node.clock.now().seconds() + 300)
    }

    async fn code(&self, bound_to: Option<&str>) -> String {
        let mut request = Node::code_request(&self.client, &["openid", "offline_access"]);
        request.dpop_jkt = bound_to.map(str::to_owned);
        let consent = Consent { scopes: request.scopes.clone(), ..Consent::default() };
        let ctx = self.node.ctx(self.tenant);
        let issued = self.node.iam.issue_code(&ctx, self.session.view.id, request, Some(consent)).await;
        self.node.tick();
        issued.unwrap().reply.code
    }

    async fn redeem(&self, code: &str, proof: Option<KeyProof>) -> Redeemed {
        let command = RedeemCode {
            client: self.client.id,
            code: code.to_owned(),
            redirect_uri: Some(REDIRECT.to_owned()),
            verifier: Some(VERIFIER.to_owned()),
            proof,
            resources: set(&[]),
        };
        let redeemed = self.node.iam.redeem(&self.node.ctx(self.tenant), &command).await;
        self.node.tick();
        redeemed.map(|written| written.reply)
    }

    async fn rotate(&self, issue: &Issue, proof: Option<KeyProof>) -> Redeemed {
        let token = issue.refresh_token.clone().unwrap();
        let command =
            RotateRefreshToken { client: self.client.id, token, scopes: None, proof, resources: set(&[]) };
        let rotated = self.node.iam.rotate(&self.node.ctx(self.tenant), &command).await;
        self.node.tick();
        rotated.map(|written| written.reply)
    }
}

#[tokio::test]
async fn rfc9449_s10_a_code_asked_for_with_a_key_is_redeemed_with_that_key_only() {
    let given = Given::new("client_secret_basic").await;
    let code = given.code(Some("mine")).await;
    for proof in [None, Some(given.proof("other", "1"))] {
        let refused = refusal(given.redeem(&code, proof).await);
        assert_eq!(refused, InvalidGrant::OtherKey.into(), "it is not used up");
    }
    let issue = given.redeem(&code, Some(given.proof("mine", "2"))).await.unwrap();
    assert_eq!(issue.dpop_jkt.as_deref(), Some("mine"));
}

#[tokio::test]
async fn rfc9449_s5_a_public_clients_refresh_tokens_are_bound_and_a_confidential_ones_are_not() {
    for (method, bound) in [("none", true), ("client_secret_basic", false)] {
        let given = Given::new(method).await;
        let code = given.code(None).await;
        let first = given.redeem(&code, Some(given.proof("mine", "1"))).await.unwrap();
        let with_other = given.rotate(&first, Some(given.proof("other", "2"))).await;
        if bound {
            assert_eq!(refusal(with_other), InvalidGrant::OtherKey.into());
            assert_eq!(refusal(given.rotate(&first, None).await), InvalidGrant::OtherKey.into());
            let next = given.rotate(&first, Some(given.proof("mine", "3"))).await.unwrap();
            assert_eq!(next.dpop_jkt.as_deref(), Some("mine"));
            let later = given.rotate(&next, Some(given.proof("mine", "4"))).await;
            assert!(later.is_ok(), "successors stay bound");
        } else {
            assert_eq!(with_other.unwrap().dpop_jkt.as_deref(), Some("other"));
        }
    }
}

#[tokio::test]
async fn rfc9449_s11_1_a_proof_is_good_for_one_write() {
    let given = Given::new("none").await;
    let (one, two) = (given.code(None).await, given.code(None).await);
    let proof = given.proof("mine", "1");
    let issue = given.redeem(&one, Some(proof.clone())).await.unwrap();
    assert_eq!(refusal(given.redeem(&two, Some(proof.clone())).await), TokenRefusal::ProofUsed);
    assert_eq!(refusal(given.rotate(&issue, Some(proof)).await), TokenRefusal::ProofUsed);
    let over = KeyProof::new("mine", "2", given.node.clock.now().seconds());
    assert_eq!(refusal(given.redeem(&two, Some(over)).await), TokenRefusal::ProofUsed);
    // Of another key, the same `jti` is another proof; and nothing of this used the code up.
    assert!(given.redeem(&two, Some(given.proof("other", "1"))).await.is_ok());
}

#[tokio::test]
async fn what_a_key_binds_is_kept_for_the_familys_life() {
    let given = Given::new("none").await;
    let code = given.code(None).await;
    let unbound = given.redeem(&code, None).await.unwrap();
    assert_eq!(unbound.dpop_jkt, None);
    let bound = given.rotate(&unbound, Some(given.proof("mine", "1"))).await.unwrap();
    assert_eq!(bound.dpop_jkt.as_deref(), Some("mine"));
    assert_eq!(bound.scopes, set(&["openid", "offline_access"]));
    assert!(given.rotate(&bound, None).await.is_ok(), "it was not bound from its beginning");
}
