//! What is read of a registration, and what is said.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_iam::model::{ClientMetadata, GrantType, StatementIssuer};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::error::ErrorCode;
use crate::testing::{ISSUER, NOW, client};

fn read(body: &Value, issuers: &[StatementIssuer]) -> Result<ClientMetadata, RegistrationError> {
    RegistrationRequest::parse(body.to_string().as_bytes())?.metadata(issuers, NOW)
}

fn code(body: &Value, issuers: &[StatementIssuer]) -> Option<&'static str> {
    read(body, issuers).err().map(|error| error.code.as_str())
}

#[test]
fn rfc7591_s2_what_is_not_supported_is_left_out_of_lists_or_refused() {
    let body = json!({
        "redirect_uris": ["https://a.example/cb"], "client_name": null,
        "grant_types": ["authorization_code", "implicit", "refresh_token"],
        "response_types": ["code", "code id_token"],
    });
    let metadata = read(&body, &[]).unwrap();
    assert_eq!(metadata.grant_types, [GrantType::AuthorizationCode, GrantType::RefreshToken]);
    assert_eq!((metadata.response_types.as_slice(), metadata.client_name), (&["code".to_owned()][..], None));
    for (member, value) in [
        ("grant_types", json!(["implicit"])),
        ("grant_types", json!("authorization_code")),
        ("redirect_uris", json!("https://a.example/cb")),
        ("token_endpoint_auth_method", json!("tls_client_auth")),
        ("id_token_signed_response_alg", json!("none")),
        ("id_token_encrypted_response_alg", json!("RSA-OAEP")),
        ("require_signed_request_object", json!(true)),
        ("client_id", json!(7)),
    ] {
        let refused = read(&json!({ member: value }), &[]).unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidClientMetadata, "{member}");
        assert!(refused.description.contains(member), "{member}: {}", refused.description);
    }
    assert!(read(&json!({"require_signed_request_object": false}), &[]).is_ok());
    for body in ["", "[]", "\"x\"", "{", "7"] {
        assert!(RegistrationRequest::parse(body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn rfc7591_s3_1_what_only_we_give_is_left_out_of_a_first_registration_all_of_it() {
    let sent = json!({
        "redirect_uris": ["https://a.example/cb"], "registration_access_token": "t",
        "registration_client_uri": "https://id.example/r", "client_id_issued_at": 1, "client_secret_expires_at": 0,
    });
    let metadata = read(&sent, &[]).unwrap();
    assert!(metadata.extra.is_empty(), "{:?}", metadata.extra);
    let update = RegistrationRequest::parse(sent.to_string().as_bytes()).unwrap();
    assert!(update.check_update("app").is_err());
}

#[test]
fn rfc6749_s5_2_a_description_repeats_no_odd_characters() {
    let refused = RegistrationError::metadata("na\"me\n\\\u{e9}", "is bad");
    let allowed = |b: u8| matches!(b, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    assert!(refused.description.bytes().all(allowed), "{}", refused.description);
}

#[test]
fn rfc7592_s2_2_an_update_names_its_client_and_nothing_of_ours() {
    let parse = |body: Value| RegistrationRequest::parse(body.to_string().as_bytes()).unwrap();
    assert!(parse(json!({"client_id": "app"})).check_update("app").is_ok());
    assert!(parse(json!({})).check_update("app").is_err());
    assert!(parse(json!({"client_id": "other"})).check_update("app").is_err());
    for given in [
        "registration_access_token",
        "registration_client_uri",
        "client_secret_expires_at",
        "client_id_issued_at",
    ] {
        assert!(parse(json!({"client_id": "app", given: 1})).check_update("app").is_err(), "{given}");
    }
    let sent = parse(json!({"client_id": "app", "client_secret": "s", "client_name": "A"}));
    assert_eq!((sent.client_id.as_deref(), sent.client_secret.as_deref()), (Some("app"), Some("s")));
    assert!(sent.metadata(&[], NOW).unwrap().extra.is_empty());
}

#[test]
fn rfc7591_s3_2_1_the_answer_has_all_that_is_registered() {
    let client = client();
    let access = Access { secret: Some("secret"), token: "token" };
    let new = information(ISSUER, &client, access, true);
    assert_eq!((new.status, new.header("cache-control")), (201, Some("no-store")));
    let body: Value = serde_json::from_slice(&new.body).unwrap();
    for (name, value) in [
        ("client_id", json!("app")),
        ("client_secret", json!("secret")),
        ("client_secret_expires_at", json!(0)),
        ("client_id_issued_at", json!(client.created_at.seconds())),
        ("registration_access_token", json!("token")),
        ("registration_client_uri", json!(format!("{ISSUER}/oauth2/register/app"))),
        ("redirect_uris", json!(client.metadata.redirect_uris)),
        ("token_endpoint_auth_method", json!("client_secret_basic")),
    ] {
        assert_eq!(body[name], value, "{name}");
    }
    let read = information(ISSUER, &client, Access { secret: None, token: "token" }, false);
    let body: Value = serde_json::from_slice(&read.body).unwrap();
    assert_eq!(
        (read.status, body.get("client_secret"), body.get("client_secret_expires_at")),
        (200, None, None)
    );
    assert_eq!(deleted().status, 204);
}

struct Vendor(EcdsaKeyPair);

impl Vendor {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn trusted(&self) -> [StatementIssuer; 1] {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let key = json!({"kty": "EC", "crv": "P-256", "kid": "v1", "x": text(x), "y": text(y)});
        [StatementIssuer { issuer: "https://vendor.example".to_owned(), jwks: json!({"keys": [key]}) }]
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = self.0.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

#[test]
fn rfc7591_s2_3_what_a_statement_says_takes_precedence_once_it_is_verified() {
    let vendor = Vendor::new();
    let header = json!({"alg": "ES256", "kid": "v1"});
    let claims = json!({
        "iss": "https://vendor.example", "iat": 1, "client_name": "Vouched for",
        "redirect_uris": ["https://vendor.example/cb"],
    });
    let statement = vendor.sign(&header, &claims);
    let body = |statement: &str| {
        json!({
            "client_name": "Mine", "redirect_uris": ["https://evil.example/cb"],
            "software_statement": statement,
        })
    };
    let metadata = read(&body(&statement), &vendor.trusted()).unwrap();
    assert_eq!(metadata.client_name.as_deref(), Some("Vouched for"));
    assert_eq!(metadata.redirect_uris, ["https://vendor.example/cb"]);
    assert_eq!(metadata.extra["software_statement"], statement.as_str(), "§3.2.1: returned unmodified");
    assert!(!metadata.extra.contains_key("iss"));
}

#[test]
fn rfc7591_s3_2_2_statements_that_are_not_good_have_their_own_codes() {
    let (vendor, other) = (Vendor::new(), Vendor::new());
    let header = json!({"alg": "ES256", "kid": "v1"});
    let by = |issuer: &str, more: (&str, Value)| {
        let mut claims = json!({"iss": issuer});
        claims[more.0] = more.1;
        claims
    };
    let good = by("https://vendor.example", ("client_name", json!("A")));
    let over = by("https://vendor.example", ("exp", json!(NOW.seconds() - 60)));
    let early = by("https://vendor.example", ("nbf", json!(NOW.seconds() + 60)));
    let odd = by("https://vendor.example", ("exp", json!("soon")));
    let stranger = by("https://stranger.example", ("client_name", json!("A")));
    let (invalid, unapproved) = ("invalid_software_statement", "unapproved_software_statement");
    for (statement, expected) in [
        (json!(vendor.sign(&header, &good)), None),
        (json!(vendor.sign(&header, &stranger)), Some(unapproved)),
        (json!(other.sign(&header, &good)), Some(invalid)),
        (json!(vendor.sign(&json!({"alg": "none"}), &good)), Some(invalid)),
        (json!(vendor.sign(&json!({"alg": "HS256"}), &good)), Some(invalid)),
        (json!(vendor.sign(&json!({"alg": "ES256", "crit": ["x"]}), &good)), Some(invalid)),
        (json!(vendor.sign(&header, &over)), Some(invalid)),
        (json!(vendor.sign(&header, &early)), Some(invalid)),
        (json!(vendor.sign(&header, &odd)), Some(invalid)),
        (json!(vendor.sign(&header, &json!({}))), Some(invalid)),
        (json!("no.jwt"), Some(invalid)),
        (json!(7), Some(invalid)),
    ] {
        let body = json!({"redirect_uris": ["https://a.example/cb"], "software_statement": statement});
        assert_eq!(code(&body, &vendor.trusted()), expected, "{statement}");
    }
    let body = json!({"software_statement": vendor.sign(&header, &good)});
    assert_eq!(code(&body, &[]), Some(unapproved), "nobody is trusted");
}

proptest! {
    #[test]
    fn arbitrary_bodies_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(request) = RegistrationRequest::parse(&body) {
            let _ = request.metadata(&[], NOW);
        }
    }

    #[test]
    fn arbitrary_statements_never_panic(text in "[A-Za-z0-9_.-]{0,80}") {
        let _ = statement(&text, &Vendor::new().trusted(), NOW);
    }
}
