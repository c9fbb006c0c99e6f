use std::collections::BTreeSet;

use domicile_iam::ids::Id as _;
use domicile_iam::model::{
    AccessTokenClaims, AuthMethod, ClaimRequest, ClientView, GrantType, SigningAlgorithm,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::access_token::Terms;
use crate::error::ErrorCode;
use crate::jws::{self, TokenType};
use crate::opaque::Mint;
use crate::testing::{
    ALGORITHMS, ISSUER, NOW, VERIFIER, client, client_with, form, issue, json, keys, set, tenant, user,
};
use crate::{access_token, id_token};

struct Case {
    rfc: &'static str,
    sends: &'static [(&'static str, &'static str)],
    expects: Result<TokenRequest<'static>, ErrorCode>,
}

fn check(client: &ClientView, cases: &[Case]) {
    for case in cases {
        let form = form(case.sends);
        let got = parse(&form, client, &tenant()).map_err(|error| error.code);
        assert!(got == case.expects, "RFC {} {:?}: {got:?}", case.rfc, case.sends);
    }
}

fn code(redirect_uri: Option<&'static str>, verifier: Option<&'static str>) -> TokenRequest<'static> {
    TokenRequest::AuthorizationCode { code: "c", redirect_uri, verifier, resources: set(&[]) }
}

#[test]
fn grants_are_read_and_refused_as_the_rfc_names_it() {
    use ErrorCode::*;
    const CODE: (&str, &str) = ("grant_type", "authorization_code");
    const REFRESH: (&str, &str) = ("grant_type", "refresh_token");
    let refresh = |scopes| TokenRequest::RefreshToken { refresh_token: "r", scopes, resources: set(&[]) };
    let cases = [
        Case {
            rfc: "6749 §4.1.3",
            sends: &[CODE, ("code", "c"), ("redirect_uri", "u")],
            expects: Ok(code(Some("u"), None)),
        },
        Case {
            rfc: "7636 §4.5",
            sends: &[CODE, ("code", "c"), ("code_verifier", VERIFIER)],
            expects: Ok(code(None, Some(VERIFIER))),
        },
        Case {
            rfc: "7636 §4.6",
            sends: &[CODE, ("code", "c"), ("code_verifier", "short")],
            expects: Err(InvalidGrant),
        },
        Case { rfc: "6749 §5.2", sends: &[CODE], expects: Err(InvalidRequest) },
        Case {
            rfc: "6749 §3.2", sends: &[CODE, ("code", "c"), ("code", "d")], expects: Err(InvalidRequest)
        },
        Case {
            rfc: "6749 §3.2",
            sends: &[CODE, ("code", "c"), ("x", "1"), ("x", "2")],
            expects: Ok(code(None, None)),
        },
        Case { rfc: "6749 §6", sends: &[REFRESH, ("refresh_token", "r")], expects: Ok(refresh(None)) },
        Case {
            rfc: "6749 §6",
            sends: &[REFRESH, ("refresh_token", "r"), ("scope", "openid")],
            expects: Ok(refresh(Some(set(&["openid"])))),
        },
        Case { rfc: "6749 §5.2", sends: &[REFRESH], expects: Err(InvalidRequest) },
        Case {
            rfc: "6749 §3.3",
            sends: &[REFRESH, ("refresh_token", "r"), ("scope", "\\")],
            expects: Err(InvalidScope),
        },
        Case { rfc: "6749 §5.2", sends: &[], expects: Err(InvalidRequest) },
        Case { rfc: "6749 §5.2", sends: &[("grant_type", "password")], expects: Err(UnsupportedGrantType) },
        Case { rfc: "6749 §3.2", sends: &[CODE, CODE, ("code", "c")], expects: Err(InvalidRequest) },
    ];
    check(&client(), &cases);
    let other = client_with(|metadata| metadata.grant_types = vec![GrantType::ClientCredentials]);
    let refused =
        [Case { rfc: "6749 §5.2", sends: &[CODE, ("code", "c")], expects: Err(UnauthorizedClient) }];
    check(&other, &refused);
}

#[test]
fn rfc6749_s4_4_client_credentials_are_for_confidential_clients_and_scopes_without_a_user() {
    const OWN: (&str, &str) = ("grant_type", "client_credentials");
    let scopes =
        |names: &[&str]| Ok(TokenRequest::ClientCredentials { scopes: set(names), resources: set(&[]) });
    let machine = client_with(|metadata| metadata.scope = Some("openid read write".to_owned()));
    let cases = [
        Case { rfc: "6749 §4.4.2", sends: &[OWN], expects: scopes(&["read", "write"]) },
        Case { rfc: "6749 §3.3", sends: &[OWN, ("scope", "read openid other")], expects: scopes(&["read"]) },
        Case {
            rfc: "6749 §5.2",
            sends: &[OWN, ("scope", "openid other")],
            expects: Err(ErrorCode::InvalidScope),
        },
    ];
    check(&machine, &cases);
    check(&client(), &[Case { rfc: "6749 §4.4.2", sends: &[OWN], expects: scopes(&[]) }]);
    let public = client_with(|metadata| metadata.token_endpoint_auth_method = AuthMethod::None);
    check(&public, &[Case { rfc: "6749 §4.4", sends: &[OWN], expects: Err(ErrorCode::UnauthorizedClient) }]);
}

fn answer(issue: &domicile_iam::model::Issue, algorithm: SigningAlgorithm) -> Value {
    let (tenant, client) = (tenant(), client());
    let issuer = Issuer {
        tenant: &tenant,
        client: &client,
        access_token: keys().signer(SigningAlgorithm::ES256),
        id_token_key: keys().signer(algorithm),
    };
    let response = issued(&issuer, issue, &user()).unwrap();
    assert_eq!((response.status, response.header("cache-control")), (200, Some("no-store")));
    assert_eq!(response.header("pragma"), Some("no-cache"));
    json(&response)
}

#[test]
fn rfc6749_s5_1_the_answer_holds_tokens_of_each_algorithm_that_belong_together() {
    for algorithm in ALGORITHMS {
        let body = answer(&issue(&["openid", "email"]), algorithm);
        assert_eq!(body["token_type"], "Bearer");
        assert_eq!(body["expires_in"], 600);
        assert_eq!(body["scope"], "email openid");
        assert_eq!(body["refresh_token"], "refresh");
        let access_token = body["access_token"].as_str().unwrap();
        let claims = access_token::open(access_token, ISSUER, &keys().set, NOW).unwrap();
        assert_eq!((claims.client_id.as_str(), claims.aud.as_slice()), ("app", &[ISSUER.to_owned()][..]));
        let id_token: Value =
            jws::verify(body["id_token"].as_str().unwrap(), TokenType::IdToken, &keys().set).unwrap();
        assert_eq!(id_token["at_hash"], id_token::at_hash(access_token, algorithm));
    }
}

#[test]
fn oidc_core_s2_an_id_token_says_who_for_whom_and_since_when() {
    let read = |issue| -> Value {
        let body = answer(&issue, SigningAlgorithm::EdDSA);
        jws::verify(body["id_token"].as_str().unwrap(), TokenType::IdToken, &keys().set).unwrap()
    };
    let mut claims = read(issue(&["openid", "profile", "email"]));
    claims.as_object_mut().unwrap().remove("at_hash");
    let second = NOW.seconds();
    let wanted = json!({
        "iss": ISSUER, "sub": "sub-ada", "aud": "app", "iat": second, "exp": second + 600, "nonce": "n-0S6_WzA2Mj",
        "acr": "urn:domicile:acr:password", "amr": ["pwd"], "sid": "sid-1",
    });
    assert_eq!(claims, wanted, "no azp, and no claims of scopes");

    let mut wants_more = issue(&["openid"]);
    wants_more.auth_time_wanted = true;
    wants_more.nonce = None;
    for name in ["email", "picture", "iss"] {
        wants_more.claims.id_token.insert(name.to_owned(), ClaimRequest::default());
    }
    wants_more.claims.id_token.insert("family_name".to_owned(), ClaimRequest::default());
    wants_more.claims.locales = vec!["ja".to_owned()];
    let claims = read(wants_more);
    assert_eq!(claims["family_name"], "ラブレス", "OIDC Core §5.2");
    assert_eq!(claims["auth_time"], second - 600);
    assert_eq!(claims["email"], "ada@example.org");
    assert_eq!(claims["iss"], ISSUER);
    assert!(claims.get("picture").is_none() && claims.get("nonce").is_none());
}

#[test]
fn oidc_core_s3_1_2_1_without_openid_there_is_no_id_token() {
    let mut plain = issue(&["email"]);
    plain.refresh_token = None;
    let body = answer(&plain, SigningAlgorithm::ES256);
    assert!(body.get("id_token").is_none() && body.get("refresh_token").is_none());
}

#[test]
fn rfc9068_s2_2_3_a_token_for_another_resource_has_none_of_our_scopes_and_its_grant_keeps_them() {
    let api = "https://api.example";
    let mut issue = issue(&["openid", "email", "read", "offline_access"]);
    for (resources, scope) in [
        (&[api][..], "read"),
        (&[api, ISSUER], "email offline_access openid read"),
        (&[], "email offline_access openid read"),
    ] {
        issue.resources = set(resources);
        let body = answer(&issue, SigningAlgorithm::ES256);
        let token = body["access_token"].as_str().unwrap();
        let claims = access_token::open(token, ISSUER, &keys().set, NOW).unwrap();
        assert_eq!((claims.scope.as_deref(), &body["scope"]), (Some(scope), &json!(scope)), "{resources:?}");
        assert!(body["id_token"].is_string() && body["refresh_token"].is_string());
    }
}

/// Makes tokens for resource servers that list these scopes.
struct Listed<'a>(&'a dyn Mint, BTreeSet<String>);

impl Mint for Listed<'_> {
    fn narrowed(&self, claims: AccessTokenClaims) -> AccessTokenClaims {
        access_token::with_known_scopes(claims, &self.1)
    }

    fn mint(&self, claims: &AccessTokenClaims) -> Result<String, jws::SignFault> {
        self.0.mint(claims)
    }
}

#[test]
fn rfc9068_s2_2_3_a_resource_server_that_lists_its_scopes_gets_no_other() {
    let stamp = (domicile_iam::ids::TokenId::new(NOW, [9; 10]), NOW);
    let terms = Terms { resources: set(&["https://api.example"]), ..Terms::default() };
    for (listed, scope) in [(set(&["list", "read"]), Some("read")), (set(&["list"]), None)] {
        let mint = Listed(keys().signer(SigningAlgorithm::ES256), listed);
        let granted = set(&["read", "write"]);
        let response = client_credentials(&tenant(), &client(), &mint, &granted, stamp, &terms).unwrap();
        let body = json(&response);
        let token = body["access_token"].as_str().unwrap();
        let claims = access_token::open(token, ISSUER, &keys().set, NOW).unwrap();
        assert_eq!(claims.scope.as_deref(), scope);
        let told = body.get("scope").and_then(Value::as_str);
        assert_eq!(told, scope, "RFC 6749 §3.3: who gets less is told, but an empty list cannot be written");
        assert_eq!(body.get("scope").is_some(), scope.is_some());
    }
}

#[test]
fn rfc6749_s4_4_3_a_client_alone_gets_no_refresh_token_and_is_its_own_subject() {
    let token_id = domicile_iam::ids::TokenId::new(NOW, [9; 10]);
    let key = keys().signer(SigningAlgorithm::EdDSA);
    let response =
        client_credentials(&tenant(), &client(), key, &set(&[]), (token_id, NOW), &Terms::default()).unwrap();
    let body = json(&response);
    assert!(body.get("refresh_token").is_none() && body.get("id_token").is_none());
    assert_eq!(body.get("scope"), None, "§3.3: no scope is no member");
    let claims =
        access_token::open(body["access_token"].as_str().unwrap(), ISSUER, &keys().set, NOW).unwrap();
    assert_eq!((claims.sub.as_str(), claims.user, claims.scope), ("app", None, None));
    assert_eq!(claims.jti, token_id);
}

proptest! {
    #[test]
    fn arbitrary_parameters_never_panic(
        pairs in proptest::collection::vec((
            "(grant_type|code|redirect_uri|code_verifier|refresh_token|scope)",
            "(authorization_code|refresh_token|client_credentials|\\PC{0,50})",
        ), 0..6)
    ) {
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let _ = parse(&form(&pairs), &client(), &tenant());
    }
}
