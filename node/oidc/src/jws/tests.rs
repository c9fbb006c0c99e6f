use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::testing::{ALGORITHMS, ISSUER, NOW, client, issue, keys, make_keys, tenant, user};
use crate::{access_token, id_token};

fn signed(algorithm: SigningAlgorithm) -> String {
    let claims = access_token::for_user(&tenant(), &client(), &issue(&["openid"]), &user());
    sign(keys().signer(algorithm), TokenType::AccessToken, &claims).unwrap()
}

/// A token whose header is `header`, under a real signature of it.
fn with_header(algorithm: SigningAlgorithm, header: &Value) -> String {
    let token = signed(algorithm);
    let claims = token.split('.').nth(1).unwrap();
    let message = format!("{}.{claims}", URL_SAFE_NO_PAD.encode(header.to_string()));
    let signature = Signer::sign(keys().signer(algorithm), message.as_bytes()).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn judge(token: &str) -> Result<Value, TokenFault> {
    verify(token, TokenType::AccessToken, &keys().set)
}

#[test]
fn rfc7515_s5_a_library_of_others_verifies_what_we_sign_by_our_published_keys() {
    let published: Value = serde_json::from_slice(&jwks_response(&keys().jwks).body).unwrap();
    for (place, algorithm) in ALGORITHMS.into_iter().enumerate() {
        let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(published["keys"][place].clone()).unwrap();
        let theirs = match algorithm {
            SigningAlgorithm::RS256 => Algorithm::RS256,
            SigningAlgorithm::ES256 => Algorithm::ES256,
            SigningAlgorithm::EdDSA => Algorithm::EdDSA,
            SigningAlgorithm::PS256 => Algorithm::PS256,
            SigningAlgorithm::ES384 => Algorithm::ES384,
        };
        let mut rules = Validation::new(theirs);
        rules.set_audience(&[ISSUER]);
        rules.set_issuer(&[ISSUER]);
        rules.validate_exp = false;
        let read =
            jsonwebtoken::decode::<Value>(&signed(algorithm), &DecodingKey::from_jwk(&jwk).unwrap(), &rules);
        let read = read.unwrap();
        assert_eq!(read.claims["sub"], "sub-ada");
        assert_eq!(read.header.kid, jwk.common.key_id);
        assert_eq!(judge(&signed(algorithm)).unwrap(), read.claims);
    }
}

#[test]
fn rfc7517_s4_every_published_key_says_use_alg_and_kid_and_nothing_private() {
    let response = jwks_response(&keys().jwks);
    let published: Value = serde_json::from_slice(&response.body).unwrap();
    for (jwk, algorithm) in published["keys"].as_array().unwrap().iter().zip(ALGORITHMS) {
        assert_eq!(jwk["use"], "sig");
        assert_eq!(jwk["alg"], algorithm_name(algorithm));
        assert!(jwk["kid"].as_str().is_some_and(|kid| kid.starts_with("sig_")));
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(jwk.get(private).is_none());
        }
    }
    assert!(response.header("cache-control").is_some_and(|value| value.contains("max-age")));
}

#[test]
fn rfc8725_s3_headers_we_never_write_are_refused_even_well_signed() {
    let es256 = SigningAlgorithm::ES256;
    let kid = keys().signer(es256).kid().to_owned();
    let eddsa_kid = keys().signer(SigningAlgorithm::EdDSA).kid().to_owned();
    let cases = [
        ("8725 §3.1", json!({"alg": "ES256", "kid": kid, "typ": "at+jwt"}), None),
        ("9068 §4", json!({"alg": "ES256", "kid": kid, "typ": "application/AT+JWT"}), None),
        ("8725 §3.1", json!({"alg": "RS256", "kid": kid, "typ": "at+jwt"}), Some(TokenFault::Header)),
        ("8725 §3.1", json!({"alg": "none", "kid": kid, "typ": "at+jwt"}), Some(TokenFault::Header)),
        ("8725 §3.1", json!({"alg": "HS256", "kid": kid, "typ": "at+jwt"}), Some(TokenFault::Header)),
        ("8725 §3.1", json!({"alg": "ES256", "kid": eddsa_kid, "typ": "at+jwt"}), Some(TokenFault::Header)),
        ("8725 §3.11", json!({"alg": "ES256", "kid": kid, "typ": "JWT"}), Some(TokenFault::Header)),
        ("8725 §3.11", json!({"alg": "ES256", "kid": kid, "typ": "dpop+jwt"}), Some(TokenFault::Header)),
        ("8725 §3.11", json!({"alg": "ES256", "kid": kid}), Some(TokenFault::Malformed)),
        (
            "7515 §4.1.11",
            json!({"alg": "ES256", "kid": kid, "typ": "at+jwt", "crit": ["b64"]}),
            Some(TokenFault::Header),
        ),
        (
            "7515 §4.1.4",
            json!({"alg": "ES256", "kid": "sig_unknown", "typ": "at+jwt"}),
            Some(TokenFault::UnknownKey),
        ),
        ("7515 §4.1.4", json!({"alg": "ES256", "typ": "at+jwt"}), Some(TokenFault::Malformed)),
        ("7515 §4", json!(["ES256"]), Some(TokenFault::Malformed)),
    ];
    for (rfc, header, expects) in cases {
        assert_eq!(judge(&with_header(es256, &header)).err(), expects, "RFC {rfc} {header}");
    }
}

#[test]
fn rfc7515_s5_2_a_changed_bit_anywhere_breaks_the_token() {
    for algorithm in ALGORITHMS {
        let token = signed(algorithm);
        for place in (0..token.len()).step_by(7).chain([token.len() - 1]) {
            let mut changed = token.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(changed == token || judge(&changed).is_err(), "{place}");
        }
        for other in [format!("{token}="), format!("{token}."), format!(" {token}"), format!("{token}\n")] {
            assert!(judge(&other).is_err());
        }
    }
}

#[test]
fn another_tenants_key_of_the_same_kid_does_not_verify() {
    let stranger = make_keys(1);
    assert_eq!(
        verify::<Value>(&signed(SigningAlgorithm::ES256), TokenType::AccessToken, &stranger.set).err(),
        Some(TokenFault::Signature)
    );
}

#[test]
fn rfc9068_s4_an_access_token_is_of_this_issuer_and_lives() {
    let token = signed(SigningAlgorithm::EdDSA);
    let open = |issuer, now| access_token::open(&token, issuer, &keys().set, now);
    let claims = open(ISSUER, NOW).unwrap();
    assert_eq!(claims, access_token::for_user(&tenant(), &client(), &issue(&["openid"]), &user()));
    assert_eq!(open("https://id.example/t/other", NOW), Err(TokenFault::Claims));
    let end = NOW.plus_ms(tenant().settings.access_token_lifetime_ms);
    assert_eq!(open(ISSUER, end), Err(TokenFault::Expired));
    assert!(open(ISSUER, crate::Timestamp(end.0 - 1)).is_ok());
}

#[test]
fn rfc8725_s3_11_an_id_token_is_no_access_token() {
    let id_token = crate::testing::id_token(&client(), SigningAlgorithm::RS256);
    assert_eq!(judge(&id_token).err(), Some(TokenFault::Header));
    let access_token = signed(SigningAlgorithm::RS256);
    assert!(crate::id_token_hint::open(&access_token, ISSUER, &keys().set).is_err());
    assert!(crate::id_token_hint::open(&id_token, "https://else.example", &keys().set).is_err());
    assert_eq!(kid(&id_token).as_deref(), Some(keys().signer(SigningAlgorithm::RS256).kid()));
}

#[test]
fn oidc_core_s3_1_3_6_at_hash_is_the_left_half_of_the_algorithms_hash() {
    // OpenID Connect Core appendix A.4: access token and at_hash.
    let at_hash = id_token::at_hash("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y", SigningAlgorithm::RS256);
    assert_eq!(at_hash, "77QmUPtjPfzWtF2AnpK9RQ");
    assert_eq!(id_token::at_hash("x", SigningAlgorithm::EdDSA).len(), 43, "half of SHA-512");
    assert_eq!(id_token::at_hash("x", SigningAlgorithm::ES384).len(), 32, "half of SHA-384");
    assert_eq!(id_token::at_hash("x", SigningAlgorithm::PS256).len(), 22, "half of SHA-256");
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "[A-Za-z0-9_.{}\":,-]{0,120}", noise in "\\PC{0,60}") {
        prop_assert!(judge(&text).is_err());
        prop_assert!(judge(&noise).is_err());
        let _ = (kid(&text), kid(&noise));
    }

    #[test]
    fn arbitrary_headers_never_panic(header in proptest::collection::vec(any::<u8>(), 0..80)) {
        let token = format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(header));
        prop_assert!(judge(&token).is_err());
    }
}
