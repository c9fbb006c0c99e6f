//! Clients that no operator makes (RFC 7591, RFC 7592).

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_iam::commands::{
    ClientRefusal, CreateInitialAccessToken, RegistrationAuthority, RegistrationRefusal, RegistrationReply,
    TenantPatch, TenantRefusal,
};
use domicile_iam::execute::ExecuteError;
use domicile_iam::ids::TenantId;
use domicile_iam::model::{
    ClientMetadata, ClientView, Delegate, PageRequest, Registration, RegistrationPolicy, TenantSettings,
};
use domicile_iam::query::{Consistency, EventFilter};
use domicile_raft::Partition as _;
use domicile_storage::{KeyRange, Order};
use serde_json::{Value, json};

use crate::support::{Node, REDIRECT};

type Registered = Result<(ClientView, RegistrationReply), RegistrationRefusal>;

async fn tenant(registration: Registration) -> (Node, TenantId) {
    Node::with_settings(TenantSettings { registration, ..TenantSettings::default() }).await
}

#[allow(clippy::needless_pass_by_value, reason = "made where it is passed")]
fn metadata(more: Value) -> ClientMetadata {
    let mut whole = json!({"redirect_uris": [REDIRECT]});
    whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(whole).unwrap()
}

fn refusal<T>(outcome: Result<T, ExecuteError<RegistrationRefusal>>) -> Result<T, RegistrationRefusal> {
    outcome.map_err(|error| {
        let ExecuteError::Refused(refusal) = error else { panic!("{error}") };
        refusal
    })
}

async fn register(node: &Node, tenant: TenantId, token: Option<&str>, more: Value) -> Registered {
    let authority = token.map_or(RegistrationAuthority::Nobodys, |token| {
        RegistrationAuthority::Token(zeroize::Zeroizing::new(token.to_owned()))
    });
    let made = node.iam.register_by_request(&node.ctx(tenant), metadata(more), authority).await;
    node.tick();
    refusal(made).map(|written| written.reply)
}

async fn token(node: &Node, tenant: TenantId, uses_max: Option<u32>, policy: Option<Value>) -> String {
    let policy = policy.map(|policy| serde_json::from_value(policy).unwrap());
    let new = CreateInitialAccessToken { lifetime_ms: 60_000, uses_max, policy };
    let made = node.iam.create_initial_access_token(&node.ctx(tenant), new).await.unwrap().reply;
    node.tick();
    made.token
}

#[tokio::test]
async fn rfc7591_s3_who_may_register_is_the_tenants_to_say() {
    use RegistrationRefusal::{Closed, InvalidToken, TokenNeeded};
    for (mode, without, wrong, right) in [
        (Registration::Closed, Some(Closed), Some(Closed), Some(Closed)),
        (Registration::InitialAccessToken, Some(TokenNeeded), Some(InvalidToken), None),
        (Registration::Open, None, Some(InvalidToken), None),
    ] {
        let (node, tenant) = tenant(mode).await;
        let known = token(&node, tenant, None, None).await;
        assert_eq!(register(&node, tenant, None, json!({})).await.err(), without, "{mode:?}");
        for text in ["dom_iat_AAAA", "x", "", &known[1..], &known[..known.len() - 4]] {
            assert_eq!(register(&node, tenant, Some(text), json!({})).await.err(), wrong, "{mode:?} {text}");
        }
        assert_eq!(register(&node, tenant, Some(&known), json!({})).await.err(), right, "{mode:?}");
    }
}

#[tokio::test]
async fn rfc7591_s1_2_an_initial_access_token_ends_by_use_by_time_and_by_word() {
    let (node, tenant) = tenant(Registration::InitialAccessToken).await;
    let twice = token(&node, tenant, Some(2), None).await;
    for _ in 0..2 {
        register(&node, tenant, Some(&twice), json!({})).await.unwrap();
    }
    let over = |outcome: Registered| assert_eq!(outcome.err(), Some(RegistrationRefusal::InvalidToken));
    over(register(&node, tenant, Some(&twice), json!({})).await);
    // A registration that is refused uses nothing up.
    let once = token(&node, tenant, Some(1), None).await;
    let bad = register(&node, tenant, Some(&once), json!({"redirect_uris": ["nowhere"]})).await;
    assert!(matches!(bad, Err(RegistrationRefusal::Client(ClientRefusal::InvalidRedirectUri { .. }))));
    let page = PageRequest::default();
    let list = node.iam.list_initial_access_tokens(tenant, &page, &Consistency::Local);
    let list = list.await.unwrap().items;
    assert_eq!(
        list.iter().map(|token| (token.uses, token.uses_max)).collect::<Vec<_>>(),
        [(2, Some(2)), (0, Some(1))]
    );
    node.iam.revoke_initial_access_token(&node.ctx(tenant), list[1].id).await.unwrap();
    over(register(&node, tenant, Some(&once), json!({})).await);
    let again = node.iam.revoke_initial_access_token(&node.ctx(tenant), list[1].id).await;
    assert_eq!(refusal(again).err(), Some(RegistrationRefusal::NotFound));
    let late = token(&node, tenant, None, None).await;
    node.advance_ms(60_000);
    over(register(&node, tenant, Some(&late), json!({})).await);
}

#[tokio::test]
async fn a_token_brings_its_own_policy_which_holds_for_updates_too() {
    let (node, tenant) = tenant(Registration::Open).await;
    let strict = token(&node, tenant, None, Some(json!({"scopes": ["openid"], "require_pkce": true}))).await;
    let (client, reply) =
        register(&node, tenant, Some(&strict), json!({"scope": "openid email"})).await.unwrap();
    assert_eq!((client.metadata.scope.as_deref(), client.metadata.require_pkce), (Some("openid"), true));
    assert!(matches!(client.delegation.unwrap().by, Delegate::InitialAccessToken(_)));
    let wider = metadata(json!({"scope": "openid email", "require_pkce": false}));
    let updated =
        node.iam.update_registration(&node.ctx(tenant), client.id, &reply.registration_token, wider).await;
    let client = updated.unwrap().reply.0;
    assert_eq!((client.metadata.scope.as_deref(), client.metadata.require_pkce), (Some("openid"), true));
    let (free, _) = register(&node, tenant, None, json!({"scope": "openid email"})).await.unwrap();
    assert_eq!(free.metadata.scope.as_deref(), Some("openid email"));
    assert_eq!(free.delegation.unwrap().by, Delegate::Anybody);
}

#[tokio::test]
async fn rfc7592_s2_a_registration_is_managed_by_its_latest_token_alone() {
    let (node, tenant) = tenant(Registration::Open).await;
    let (client, first) =
        register(&node, tenant, None, json!({"contacts": ["ops@rp.example"]})).await.unwrap();
    let (other, others) = register(&node, tenant, None, json!({})).await.unwrap();
    let (ctx, iam) = (node.ctx(tenant), &node.iam);
    let find = async |token: &str| iam.registration(tenant, &client.client_id, token).await.unwrap();
    assert!(find(&first.registration_token).await.is_some());
    for wrong in ["", "x", &others.registration_token] {
        assert!(find(wrong).await.is_none());
        let refused = iam.update_registration(&ctx, client.id, wrong, metadata(json!({}))).await;
        assert_eq!(refusal(refused).err(), Some(RegistrationRefusal::InvalidToken));
        let refused = iam.delete_registration(&ctx, client.id, wrong).await;
        assert_eq!(refusal(refused).err(), Some(RegistrationRefusal::InvalidToken));
    }
    let renamed = metadata(json!({"client_name": "New"}));
    let (client, second) =
        iam.update_registration(&ctx, client.id, &first.registration_token, renamed).await.unwrap().reply;
    node.tick();
    assert_eq!(client.metadata.client_name.as_deref(), Some("New"));
    assert!(!client.metadata.extra.contains_key("contacts"), "RFC 7592 §2.2: what is absent is removed");
    assert_eq!(second.secret, None, "the secret stays");
    assert!(find(&first.registration_token).await.is_none());
    assert!(find(&second.registration_token).await.is_some());
    iam.delete_registration(&ctx, client.id, &second.registration_token).await.unwrap();
    assert!(find(&second.registration_token).await.is_none());
    assert!(iam.client(tenant, &other.client_id).await.unwrap().is_some());
}

#[tokio::test]
async fn rfc7592_s2_1_a_disabled_client_manages_nothing() {
    let (node, tenant) = tenant(Registration::Open).await;
    let (client, reply) = register(&node, tenant, None, json!({})).await.unwrap();
    let patch = domicile_iam::commands::ClientPatch { disabled: Some(true), ..Default::default() };
    node.iam.update_client(&node.ctx(tenant), client.id, patch).await.unwrap();
    let found = node.iam.registration(tenant, &client.client_id, &reply.registration_token).await.unwrap();
    assert!(found.is_none());
    let gone = node.iam.delete_registration(&node.ctx(tenant), client.id, &reply.registration_token).await;
    assert_eq!(refusal(gone).err(), Some(RegistrationRefusal::InvalidToken));
}

#[tokio::test]
async fn rfc7592_s2_2_a_method_that_needs_a_secret_gives_one() {
    let (node, tenant) = tenant(Registration::Open).await;
    let with =
        |method: &str| json!({"token_endpoint_auth_method": method, "jwks_uri": "https://rp.example/jwks"});
    let (client, made) = register(&node, tenant, None, with("private_key_jwt")).await.unwrap();
    assert_eq!(made.secret, None);
    let mut token = made.registration_token;
    let mut secrets = Vec::new();
    for (method, gives) in
        [("client_secret_basic", true), ("client_secret_post", false), ("client_secret_jwt", true)]
    {
        let wanted = metadata(with(method));
        let updated = node.iam.update_registration(&node.ctx(tenant), client.id, &token, wanted).await;
        node.tick();
        let (client, reply) = updated.unwrap().reply;
        assert_eq!(reply.secret.is_some(), gives, "{method}");
        secrets.extend(reply.secret);
        assert!(node.iam.verify_client_secret(&client, secrets.last().unwrap()), "{method}");
        token = reply.registration_token;
    }
    let client = node.iam.client(tenant, &client.client_id).await.unwrap().unwrap();
    assert_eq!(node.iam.hmac_secrets(tenant, &client).unwrap().len(), 1);
    assert!(!node.iam.verify_client_secret(&client, &secrets[0]), "one that cannot be read is over");
}

#[tokio::test]
async fn no_token_is_in_the_log_but_what_was_done_is() {
    let (node, tenant) = tenant(Registration::InitialAccessToken).await;
    let initial = token(&node, tenant, Some(3), None).await;
    let (_, reply) = register(&node, tenant, Some(&initial), json!({})).await.unwrap();
    let page = PageRequest { page_size: Some(200), page_token: None };
    let filter = EventFilter { event_type: None, stream: None };
    let events = node.iam.events(tenant, &page, &filter, &Consistency::Local).await.unwrap().items;
    let types: Vec<&str> = events.iter().map(|event| event.event_type.as_str()).collect();
    for wanted in [
        "initial_access_token.created",
        "initial_access_token.used",
        "client.registered",
        "client.delegated",
        "client.registration_token.changed",
    ] {
        assert!(types.contains(&wanted), "{wanted} in {types:?}");
    }
    let shown = serde_json::to_string(&events.iter().map(|event| &event.data).collect::<Vec<_>>()).unwrap();
    for secret in [&initial, &reply.registration_token, reply.secret.as_ref().unwrap()] {
        assert!(!shown.contains(secret.as_str()));
    }
}

#[tokio::test]
async fn rfc7592_s5_no_token_can_be_read_back_from_what_is_stored() {
    let (node, tenant) = tenant(Registration::InitialAccessToken).await;
    let initial = token(&node, tenant, Some(3), None).await;
    let (client, reply) = register(&node, tenant, Some(&initial), json!({})).await.unwrap();
    let everything = node.home.state().scan(&KeyRange::prefix(&[]), Order::Ascending, usize::MAX).unwrap();
    let holds = |wanted: &[u8]| {
        let within = |bytes: &[u8]| bytes.windows(wanted.len()).any(|window| window == wanted);
        everything.iter().any(|(key, value)| within(key) || within(value))
    };
    assert!(holds(client.client_id.as_bytes()), "the scan sees what is there");
    for secret in [&initial, &reply.registration_token, reply.secret.as_ref().unwrap()] {
        assert!(!holds(secret.as_bytes()), "as text");
        // What is random in it, behind the prefix and the id of an initial access token.
        let encoded = secret.strip_prefix("dom_iat_").unwrap_or(secret);
        let bytes = URL_SAFE_NO_PAD.decode(encoded).unwrap();
        assert!(!holds(&bytes[bytes.len() - 32..]), "as bytes");
    }
    let digest = digest(&SHA256, reply.registration_token.as_bytes());
    assert!(holds(digest.as_ref()), "its SHA-256 alone");
}

#[tokio::test]
async fn a_policy_out_of_its_bounds_is_refused() {
    let (node, tenant) = tenant(Registration::Closed).await;
    let bad = [
        json!({"grant_types": []}),
        json!({"token_endpoint_auth_methods": []}),
        json!({"redirect_uri_hosts": ["*"]}),
        json!({"redirect_uri_hosts": ["A.example"]}),
        json!({"redirect_uri_hosts": ["a.example/x"]}),
        json!({"redirect_uri_schemes": ["HTTPS"]}),
        json!({"scopes": ["a b"]}),
        json!({"access_token_lifetime_max_s": 0}),
        json!({"software_statement_issuers": [{"issuer": "https://v.example", "jwks": {"keys": []}}]}),
    ];
    for policy in bad {
        let policy: RegistrationPolicy = serde_json::from_value(policy).unwrap();
        let settings = TenantSettings { registration_policy: policy.clone(), ..TenantSettings::default() };
        let patch = TenantPatch { settings: Some(settings), ..TenantPatch::default() };
        let refused = node.iam.update_tenant(&node.ctx(tenant), patch).await.err();
        let named = matches!(
            &refused,
            Some(ExecuteError::Refused(TenantRefusal::InvalidSetting(setting))) if setting.field == "registration_policy"
        );
        assert!(named, "{policy:?} {refused:?}");
        let new = CreateInitialAccessToken { lifetime_ms: 60_000, uses_max: None, policy: Some(policy) };
        let refused = node.iam.create_initial_access_token(&node.ctx(tenant), new).await;
        assert!(matches!(refusal(refused), Err(RegistrationRefusal::Invalid { field: "policy", .. })));
    }
}
