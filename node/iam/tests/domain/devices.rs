//! Devices that wait for their users (RFC 8628).

use domicile_iam::commands::{
    AuthorizeRefusal, Consent, DEVICE_CODE_MS, DenyDevice, DeviceCodes, DeviceRefusal, InvalidGrant,
    RedeemCode, StartDevice, normal_user_code,
};
use domicile_iam::execute::ExecuteError;
use domicile_iam::ids::{ClientId, SessionId, TenantId};
use domicile_iam::model::{ClaimsRequest, ClientView, CodeRequest, Issue, PkceChallenge};
use domicile_iam::service::{DeviceStanding, WaitingDevice};
use serde_json::json;

use crate::support::{Node, set};

const DONE: &str = "https://id.example/t/acme/device/done";

struct Given {
    node: Node,
    tenant: TenantId,
    client: ClientView,
    session: SessionId,
}

impl Given {
    async fn new() -> Self {
        let (node, tenant) = Node::with_tenant().await;
        let (client, _) = node.client(tenant, device_client()).await;
        let user = node.user(tenant, "alice").await;
        let session = node.session(tenant, user.id).await.view.id;
        Self { node, tenant, client, session }
    }

    async fn start(&self) -> DeviceCodes {
        let device = asked(self.client.id);
        self.node.iam.start_device(&self.node.ctx(self.tenant), &device).await.unwrap().reply
    }

    async fn waiting(&self, codes: &DeviceCodes) -> Option<WaitingDevice> {
        let user_code = normal_user_code(&codes.user_code).unwrap();
        self.node.iam.waiting_device(self.tenant, &user_code).await.unwrap()
    }

    async fn standing(&self, codes: &DeviceCodes) -> DeviceStanding {
        let iam = &self.node.iam;
        iam.device_standing(self.tenant, &self.client, &codes.device_code).await.unwrap()
    }

    /// The user of `session` says yes to what waited when they were asked.
    async fn allow(
        &self,
        codes: &DeviceCodes,
        waiting: WaitingDevice,
    ) -> Result<(), ExecuteError<AuthorizeRefusal>> {
        let consent = Consent {
            scopes: waiting.scopes.clone(),
            claims: set(&[]),
            resources: waiting.resources.clone(),
        };
        let request = CodeRequest {
            client: waiting.client,
            redirect_uri: DONE.to_owned(),
            redirect_uri_given: true,
            scopes: waiting.scopes,
            challenge: Some(waiting.challenge),
            nonce: None,
            claims: ClaimsRequest::default(),
            auth_time_wanted: false,
            acr: None,
            dpop_jkt: None,
            resources: waiting.resources,
        };
        let user_code = normal_user_code(&codes.user_code).unwrap();
        let (iam, ctx) = (&self.node.iam, self.node.ctx(self.tenant));
        iam.allow_device(&ctx, self.session, request, Some(consent), &user_code).await.map(|_| ())
    }

    async fn redeem(&self, code: String, verifier: String) -> Result<Issue, InvalidGrant> {
        let command = RedeemCode {
            client: self.client.id,
            code,
            redirect_uri: Some(DONE.to_owned()),
            verifier: Some(verifier),
            proof: None,
            resources: set(&[]),
        };
        match self.node.iam.redeem(&self.node.ctx(self.tenant), &command).await {
            Ok(written) => Ok(written.reply),
            Err(ExecuteError::Refused(domicile_iam::commands::TokenRefusal::InvalidGrant(why))) => Err(why),
            Err(other) => panic!("{other}"),
        }
    }
}

fn device_client() -> serde_json::Value {
    json!({
        "grant_types": ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"], "response_types": [],
        "token_endpoint_auth_method": "none",
    })
}

fn asked(client: ClientId) -> StartDevice {
    StartDevice { client, scopes: set(&["openid", "email"]), resources: set(&[]) }
}

#[tokio::test]
async fn rfc8628_s3_2_device_codes_are_256_random_bits_and_end() {
    let given = Given::new().await;
    let codes = given.start().await;
    let (secret, _) = codes.device_code.split_once('.').unwrap();
    assert_eq!(secret.len(), 43);
    let waiting = given.waiting(&codes).await.unwrap();
    assert_eq!((waiting.client, waiting.scopes.clone()), (given.client.id, set(&["email", "openid"])));
    assert!(given.standing(&codes).await == DeviceStanding::Pending);
    given.node.advance_ms(DEVICE_CODE_MS);
    assert!(given.standing(&codes).await == DeviceStanding::Unknown);
    assert_eq!(given.waiting(&codes).await, None);
    let late = given.allow(&codes, waiting).await;
    assert!(matches!(
        late,
        Err(ExecuteError::Refused(AuthorizeRefusal::SessionOver | AuthorizeRefusal::RequestTaken))
    ));
}

#[tokio::test]
async fn rfc8628_s3_5_a_yes_is_redeemed_once_as_long_as_the_device_code_lives() {
    let given = Given::new().await;
    let codes = given.start().await;
    let waiting = given.waiting(&codes).await.unwrap();
    given.allow(&codes, waiting.clone()).await.unwrap();
    assert_eq!(given.waiting(&codes).await, None);
    let again = given.allow(&codes, waiting).await;
    assert!(matches!(again, Err(ExecuteError::Refused(AuthorizeRefusal::RequestTaken))));
    given.node.advance_ms(DEVICE_CODE_MS / 2);
    let DeviceStanding::Approved { code, verifier } = given.standing(&codes).await else {
        panic!("the user said yes")
    };
    let wrong = given.redeem(code.clone(), "v".repeat(43)).await;
    assert_eq!(wrong.err(), Some(InvalidGrant::Pkce), "the code alone is of no use");
    let issue = given.redeem(code.clone(), verifier.clone()).await.unwrap();
    assert_eq!(issue.scopes, set(&["email", "openid"]));
    given.node.advance_ms(GRACE_MS);
    assert_eq!(given.redeem(code, verifier).await.err(), Some(InvalidGrant::Reused));
}

/// `refresh_grace_ms` of the tenant.
const GRACE_MS: u64 = 10_000;

impl Given {
    /// A code that its user allowed, and its verifier.
    async fn allowed(&self) -> (String, String) {
        let codes = self.start().await;
        let waiting = self.waiting(&codes).await.unwrap();
        self.allow(&codes, waiting).await.unwrap();
        match self.standing(&codes).await {
            DeviceStanding::Approved { code, verifier } => (code, verifier),
            DeviceStanding::Pending | DeviceStanding::Denied | DeviceStanding::Unknown => panic!("a yes"),
        }
    }

    async fn rotate(
        &self,
        issue: &Issue,
    ) -> Result<Issue, ExecuteError<domicile_iam::commands::TokenRefusal>> {
        self.node.rotate(self.tenant, &self.client, issue.refresh_token.as_deref().unwrap()).await
    }
}

#[tokio::test]
async fn rfc8628_s3_5_a_device_whose_answer_was_lost_gets_the_same_refresh_token_within_the_grace() {
    let given = Given::new().await;
    let (code, verifier) = given.allowed().await;
    let first = given.redeem(code.clone(), verifier.clone()).await.unwrap();
    given.node.advance_ms(GRACE_MS - 1);
    let applied = domicile_raft::Partition::applied(&*given.node.home);
    let again = given.redeem(code.clone(), verifier.clone()).await.unwrap();
    assert_eq!(domicile_raft::Partition::applied(&*given.node.home), applied, "nothing is written");
    assert_eq!((&again.refresh_token, again.family), (&first.refresh_token, first.family));
    assert_eq!(
        (&again.scopes, &again.resources, again.session),
        (&first.scopes, &first.resources, first.session)
    );
    assert_ne!(again.token_id, first.token_id);
    assert!(given.rotate(&again).await.is_ok());
    // Late, and after the token was used: what it gave ends, as for every code (RFC 6749 §4.1.2).
    assert_eq!(given.redeem(code, verifier).await.err(), Some(InvalidGrant::Reused));
    assert!(given.rotate(&first).await.is_err());
}

#[tokio::test]
async fn rfc6749_s4_1_2_a_device_that_asks_again_otherwise_or_too_late_ends_what_was_given() {
    for what in ["late", "verifier", "used", "revoked"] {
        let given = Given::new().await;
        let (code, verifier) = given.allowed().await;
        let first = given.redeem(code.clone(), verifier.clone()).await.unwrap();
        given.node.tick();
        let verifier = match what {
            "late" => {
                given.node.advance_ms(GRACE_MS);
                verifier
            }
            "verifier" => "v".repeat(43),
            "used" => {
                given.rotate(&first).await.unwrap();
                verifier
            }
            _ => {
                let (iam, ctx) = (&given.node.iam, given.node.ctx(given.tenant));
                iam.revoke(&ctx, &given.client, first.refresh_token.as_deref().unwrap()).await.unwrap();
                verifier
            }
        };
        assert_eq!(given.redeem(code, verifier).await.err(), Some(InvalidGrant::Reused), "{what}");
        assert!(given.rotate(&first).await.is_err(), "{what}");
    }
}

#[tokio::test]
async fn rfc8628_s3_5_a_no_is_final_and_answers_what_was_asked() {
    let given = Given::new().await;
    let codes = given.start().await;
    let waiting = given.waiting(&codes).await.unwrap();
    let user_code = normal_user_code(&codes.user_code).unwrap();
    let deny = async |challenge: PkceChallenge| {
        let denied = DenyDevice { user_code: user_code.clone(), challenge };
        given.node.iam.deny_device(&given.node.ctx(given.tenant), &denied).await.map(|_| ())
    };
    let other = deny(PkceChallenge { s256: "c".repeat(43) }).await;
    assert!(matches!(other, Err(ExecuteError::Refused(DeviceRefusal::Unknown))), "another device's question");
    deny(waiting.challenge.clone()).await.unwrap();
    assert!(given.standing(&codes).await == DeviceStanding::Denied);
    let twice = deny(waiting.challenge.clone()).await;
    assert!(matches!(twice, Err(ExecuteError::Refused(DeviceRefusal::Unknown))));
    let yes = given.allow(&codes, waiting).await;
    assert!(matches!(yes, Err(ExecuteError::Refused(AuthorizeRefusal::RequestTaken))));
}

#[tokio::test]
async fn rfc8628_s3_4_a_device_code_is_of_one_client_and_cannot_be_made_from_its_user_code() {
    let given = Given::new().await;
    let (other, _) = given.node.client(given.tenant, device_client()).await;
    let web = given.node.web_client(given.tenant).await;
    let codes = given.start().await;
    let (iam, ctx) = (&given.node.iam, given.node.ctx(given.tenant));
    let foreign = iam.device_standing(given.tenant, &other, &codes.device_code).await.unwrap();
    assert!(foreign == DeviceStanding::Unknown);
    let (_, known) = codes.device_code.split_once('.').unwrap();
    for forged in [format!("{}.{known}", "A".repeat(43)), format!(".{known}"), String::new()] {
        let standing = iam.device_standing(given.tenant, &given.client, &forged).await.unwrap();
        assert!(standing == DeviceStanding::Unknown, "{forged}");
    }
    let refused = iam.start_device(&ctx, &asked(web.id)).await;
    assert!(matches!(refused, Err(ExecuteError::Refused(DeviceRefusal::ClientRefused))));
}
