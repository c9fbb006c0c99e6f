use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PSS_SHA256, RsaKeyPair,
};
use aws_lc_rs::{encoding::AsDer as _, rsa::KeySize};
use domicile_iam::model::SigningAlgorithm;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing::{ISSUER, NOW, keys, signed_assertion, unsigned_assertion};

const RULES: Rules<'static> = Rules {
    issuer: "app",
    subject: Some("app"),
    audiences: &[ISSUER],
    audience_among_others: false,
    typ: "client-authentication+jwt",
    lifetime_max_s: 3_600,
    age_max_s: Some(600),
    needs_jti: true,
};

fn claims() -> Value {
    let now = NOW.seconds();
    json!({"iss": "app", "sub": "app", "aud": ISSUER, "exp": now + 60, "iat": now, "jti": "j-1"})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn judged(header: &Value, claims: &Value, rules: &Rules<'_>) -> Result<Option<Use>, AssertionFault> {
    Assertion::parse(&unsigned_assertion(header, claims, b"s"))?.check(rules, NOW)
}

struct Case {
    rfc: &'static str,
    claims: Value,
    expects: Result<(), AssertionFault>,
}

#[test]
fn rfc7523_s3_claims_are_judged_one_by_one() {
    use AssertionFault::*;
    let now = NOW.seconds();
    let case = |rfc, claims, expects| Case { rfc, claims, expects };
    let cases = [
        case("7523 §3", claims(), Ok(())),
        case("7523 §3 (1)", without("iss"), Err(Malformed)),
        case("7523 §3 (1)", with("iss", json!("other")), Err(Party)),
        case("7523 §3 (2)", without("sub"), Err(Malformed)),
        case("7523 §3 (2)", with("sub", json!("other")), Err(Party)),
        case("7523 §3 (3)", without("aud"), Err(Malformed)),
        case("7523 §3 (3)", with("aud", json!("https://other.example")), Err(Audience)),
        case("7523 §3 (3)", with("aud", json!(format!("{ISSUER}/"))), Err(Audience)),
        case("7519 §4.1.3", with("aud", json!([ISSUER])), Ok(())),
        case("7519 §4.1.3", with("aud", json!(["https://other.example"])), Err(Audience)),
        case("7519 §4.1.3", with("aud", json!([])), Err(Audience)),
        case("9700 §2.5", with("aud", json!([ISSUER, ISSUER])), Err(Audience)),
        case("9700 §2.5", with("aud", json!([ISSUER, "https://other.example"])), Err(Audience)),
        case("7523 §3 (4)", without("exp"), Err(Malformed)),
        case("7523 §3 (4)", with("exp", json!(now - SKEW_S)), Err(Expired)),
        case("7523 §3 (4)", with("exp", json!(now - SKEW_S + 1)), Ok(())),
        case("7519 §2", with("exp", json!(60.5 + f64::from(u32::try_from(now).unwrap()))), Ok(())),
        case("7519 §2", with("exp", json!(-1)), Err(Malformed)),
        case("7519 §2", with("exp", json!("soon")), Err(Malformed)),
        case("7519 §2", with("exp", json!(1e300)), Err(Malformed)),
        case("7523 §3 (4)", with("exp", json!(now + 3_600 + SKEW_S)), Ok(())),
        case("7523 §3 (4)", with("exp", json!(now + 3_601 + SKEW_S)), Err(Lifetime)),
        case("7523 §3 (6)", with("iat", json!(now - 600 - SKEW_S + 1)), Ok(())),
        case("7523 §3 (6)", with("iat", json!(now - 600 - SKEW_S)), Err(Expired)),
        case("7523 §3 (6)", with("iat", json!(-1)), Err(Malformed)),
        case("7523 §3 (5)", with("nbf", json!(now + SKEW_S)), Ok(())),
        case("7523 §3 (5)", with("nbf", json!(now + SKEW_S + 1)), Err(Early)),
        case("7523 §3 (6)", with("iat", json!(now + SKEW_S + 1)), Err(Early)),
        case("7523 §3 (6)", without("iat"), Ok(())),
        case("OIDC Core §9", without("jti"), Err(Jti)),
        case("7523 §3 (7)", with("jti", json!("")), Err(Jti)),
        case("7523 §3 (7)", with("jti", json!("j".repeat(257))), Err(Jti)),
        case("7523 §3 (8)", with("more", json!({"a": 1})), Ok(())),
    ];
    for Case { rfc, claims, expects } in cases {
        let got = judged(&json!({"alg": "ES256"}), &claims, &RULES).map(|_| ());
        assert_eq!(got, expects, "RFC {rfc} {claims}");
    }
}

#[test]
fn rfc7523_s3_a_grant_may_name_anybody_and_need_no_jti() {
    let rules = Rules { subject: None, needs_jti: false, ..RULES };
    let header = json!({"alg": "ES256"});
    assert_eq!(judged(&header, &with("sub", json!("ada")), &rules).unwrap().unwrap().jti, "j-1");
    assert_eq!(judged(&header, &without("jti"), &rules), Ok(None));
    assert!(judged(&header, &with("aud", json!([ISSUER])), &rules).is_ok());
    let two = with("aud", json!([ISSUER, ISSUER]));
    assert_eq!(judged(&header, &two, &rules), Err(AssertionFault::Audience));
}

#[test]
fn rfc7519_s4_1_3_where_others_may_be_named_one_audience_that_fits_is_enough() {
    let rules = Rules { audience_among_others: true, ..RULES };
    for (audience, expects) in [
        (json!(["https://other.example", ISSUER]), Ok(())),
        (json!([ISSUER]), Ok(())),
        (json!(ISSUER), Ok(())),
        (json!(["https://other.example", "https://third.example"]), Err(AssertionFault::Audience)),
        (json!([]), Err(AssertionFault::Audience)),
        (json!([ISSUER, 7]), Err(AssertionFault::Malformed)),
    ] {
        let got = judged(&json!({"alg": "ES256"}), &with("aud", audience.clone()), &rules).map(|_| ());
        assert_eq!(got, expects, "{audience}");
    }
}

#[test]
fn a_use_is_kept_as_long_as_the_assertion_would_be_taken() {
    let now = NOW.seconds();
    let until_s = |claims: &Value, rules: &Rules<'_>| {
        let used = judged(&json!({"alg": "RS256"}), claims, rules).unwrap().unwrap();
        assert_eq!(used.jti, "j-1");
        used.until_s
    };
    assert_eq!(until_s(&claims(), &RULES), now + 60 + SKEW_S);
    let hour = with("exp", json!(now + 3_600));
    assert_eq!(until_s(&hour, &RULES), now + 600 + SKEW_S, "made for an hour, it counts for ten minutes");
    assert_eq!(until_s(&hour, &Rules { age_max_s: None, ..RULES }), now + 3_600 + SKEW_S);
}

#[test]
fn rfc7523_s3_6_an_assertion_without_iat_counts_no_longer_than_its_jti_is_kept() {
    let now = NOW.seconds();
    let of = |exp: u64| {
        let mut claims = without("iat");
        claims["exp"] = json!(exp);
        judged(&json!({"alg": "RS256"}), &claims, &RULES).map(|used| used.unwrap().until_s)
    };
    assert_eq!(of(now + 600 + SKEW_S), Ok(now + 600 + 2 * SKEW_S));
    assert_eq!(of(now + 601 + SKEW_S), Err(AssertionFault::Lifetime));
}

#[test]
fn rfc8725_headers_that_mean_something_else_are_refused() {
    for (header, expects) in [
        (json!({"alg": "RS256", "typ": "JWT"}), Ok(())),
        (json!({"alg": "RS256", "typ": "application/client-authentication+jwt"}), Ok(())),
        (json!({"alg": "RS256", "typ": "at+jwt"}), Err(AssertionFault::Header)),
        (json!({"alg": "RS256", "typ": "dpop+jwt"}), Err(AssertionFault::Header)),
        (json!({"alg": "RS256", "crit": ["exp"]}), Err(AssertionFault::Header)),
        (json!({"alg": "none"}), Err(AssertionFault::Algorithm)),
        (json!({"alg": "HS512"}), Err(AssertionFault::Algorithm)),
        (json!({"alg": 1}), Err(AssertionFault::Malformed)),
        (json!([]), Err(AssertionFault::Malformed)),
    ] {
        assert_eq!(judged(&header, &claims(), &RULES).map(|_| ()), expects, "RFC 8725 §3.1, §3.11 {header}");
    }
}

#[test]
fn a_signature_counts_under_the_key_that_the_header_names_and_no_other() {
    let published = ForeignKeys::parse(&serde_json::to_value(&keys().jwks).unwrap()).unwrap();
    for (own, name) in [
        (SigningAlgorithm::RS256, "RS256"),
        (SigningAlgorithm::ES256, "ES256"),
        (SigningAlgorithm::EdDSA, "EdDSA"),
    ] {
        let signer = keys().signer(own);
        let parse = |header: &Value, claims: &Value| {
            Assertion::parse(&signed_assertion(signer, header, claims)).unwrap()
        };
        let header = json!({"alg": name, "kid": signer.kid()});
        assert_eq!(parse(&header, &claims()).verify(&published), Ok(()), "{name}");
        let other_kid = parse(&json!({"alg": name, "kid": "x"}), &claims());
        assert_eq!(other_kid.verify(&published), Err(AssertionFault::Key));
        let confused = parse(&json!({"alg": "PS256", "kid": signer.kid()}), &claims());
        assert!(confused.verify(&published).is_err(), "{name}");
        let token = signed_assertion(signer, &header, &claims());
        let (message, signature) = token.rsplit_once('.').unwrap();
        let (head, _) = message.split_once('.').unwrap();
        let forged = URL_SAFE_NO_PAD.encode(with("sub", json!("other")).to_string());
        let forged = Assertion::parse(&format!("{head}.{forged}.{signature}")).unwrap();
        assert_eq!(forged.verify(&published), Err(AssertionFault::Signature));
        assert_eq!(forged.verify_hmac(&["x".repeat(43)]), Err(AssertionFault::Algorithm));
    }
}

/// Algorithms that we verify and never sign with.
#[test]
fn rfc7518_s3_ps256_and_es384_verify() {
    let random = SystemRandom::new();
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let public = jsonwebtoken_jwk(&rsa);
    let message = unsigned_message(&json!({"alg": "PS256"}));
    let mut signature = vec![0; rsa.public_modulus_len()];
    rsa.sign(&RSA_PSS_SHA256, &random, message.as_bytes(), &mut signature).unwrap();
    check(&message, &signature, &public);

    let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(48);
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let public = json!({"kty": "EC", "crv": "P-384", "x": text(x), "y": text(y)});
    let message = unsigned_message(&json!({"alg": "ES384"}));
    let signature = pair.sign(&random, message.as_bytes()).unwrap();
    check(&message, signature.as_ref(), &public);
}

fn unsigned_message(header: &Value) -> String {
    let token = unsigned_assertion(header, &claims(), b"");
    token.trim_end_matches('.').to_owned()
}

fn check(message: &str, signature: &[u8], jwk: &Value) {
    let keys = ForeignKeys::parse(&json!({ "keys": [jwk] })).unwrap();
    let assertion = Assertion::parse(&format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))).unwrap();
    assert_eq!(assertion.verify(&keys), Ok(()), "{:?}", assertion.algorithm());
}

/// The public half, through a library of others.
fn jsonwebtoken_jwk(pair: &RsaKeyPair) -> Value {
    let private = pair.as_der().unwrap();
    // PKCS#8 holds PKCS#1 after a header of 26 bytes for 2048 bits.
    let key = jsonwebtoken::EncodingKey::from_rsa_der(&private.as_ref()[26..]);
    let jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&key, jsonwebtoken::Algorithm::PS256).unwrap();
    serde_json::to_value(jwk).unwrap()
}

#[test]
fn rfc7518_s3_2_hs256_takes_any_live_secret_that_is_long_enough() {
    let secret = "s".repeat(43);
    let message = unsigned_message(&json!({"alg": "HS256"}));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message.as_bytes());
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()));
    let assertion = Assertion::parse(&token).unwrap();
    let other = "t".repeat(43);
    assert_eq!(assertion.verify_hmac(&[other.clone(), secret.clone()]), Ok(()));
    assert_eq!(assertion.verify_hmac(&[other]), Err(AssertionFault::Signature));
    assert_eq!(assertion.verify_hmac::<&str>(&[]), Err(AssertionFault::Key));
    let short = "s".repeat(31);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, short.as_bytes()), message.as_bytes());
    let weak = Assertion::parse(&format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))).unwrap();
    assert_eq!(weak.verify_hmac(&[short]), Err(AssertionFault::Signature));
}

#[test]
fn rfc8725_s3_2_a_public_key_is_never_an_hmac_key() {
    let published = ForeignKeys::parse(&serde_json::to_value(&keys().jwks).unwrap()).unwrap();
    let kid = keys().signer(SigningAlgorithm::RS256).kid();
    let token = unsigned_assertion(&json!({"alg": "HS256", "kid": kid}), &claims(), b"x");
    assert_eq!(Assertion::parse(&token).unwrap().verify(&published), Err(AssertionFault::Key));
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,120}", claims in "\\PC{0,60}") {
        let _ = Assertion::parse(&text);
        let token = format!(
            "{}.{}.AA", URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#), URL_SAFE_NO_PAD.encode(claims)
        );
        let _ = Assertion::parse(&token);
    }

    #[test]
    fn arbitrary_times_never_panic(exp in any::<f64>(), nbf in any::<f64>(), now in any::<u32>()) {
        let claims = json!({"iss": "app", "sub": "app", "aud": ISSUER, "exp": exp, "nbf": nbf, "jti": "j"});
        if let Ok(read) = Assertion::parse(&unsigned_assertion(&json!({"alg": "ES256"}), &claims, b"s")) {
            let _ = read.check(&RULES, Timestamp(u64::from(now) * 1_000));
        }
    }
}
