use domicile_iam::keys::SigningKey;
use domicile_iam::model::SigningAlgorithm;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::jws::algorithm_name;
use crate::testing::{ALGORITHMS, ISSUER, NOW, keys};

const TOKEN: &str = "an.access.token";

fn url() -> String {
    format!("{ISSUER}/oauth2/token")
}

fn nonces() -> Nonces {
    Nonces::new(&[7; 32])
}

fn signer(algorithm: SigningAlgorithm) -> (&'static SigningKey, Value) {
    let place = ALGORITHMS.iter().position(|known| *known == algorithm).unwrap();
    let mut jwk = serde_json::to_value(&keys().jwks.keys[place]).unwrap();
    for name in ["kid", "alg", "use"] {
        jwk.as_object_mut().unwrap().remove(name);
    }
    (keys().signer(algorithm), jwk)
}

fn header(algorithm: SigningAlgorithm) -> Value {
    json!({"typ": "dpop+jwt", "alg": algorithm_name(algorithm), "jwk": signer(algorithm).1})
}

fn claims() -> Value {
    json!({
        "jti": "-BwC3ESc6acc2lTc", "htm": "POST", "htu": url(), "iat": NOW.seconds(),
        "nonce": nonces().issue(NOW), "ath": hash(TOKEN.as_bytes()),
    })
}

fn sign(algorithm: SigningAlgorithm, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = signer(algorithm).0.sign(message.as_bytes()).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn good() -> String {
    sign(SigningAlgorithm::ES256, &header(SigningAlgorithm::ES256), &claims())
}

fn judge(proof: &str) -> Result<Proof, ProofFault> {
    let expected = Expected { method: "POST", url: &url(), access_token: Some(TOKEN), now: NOW };
    verify(proof, expected, &nonces())
}

/// `value` with members replaced; null removes one.
fn with(mut value: Value, changes: &[(&str, Value)]) -> Value {
    for (name, new) in changes {
        let object = value.as_object_mut().unwrap();
        if new.is_null() {
            drop(object.remove(*name));
        } else {
            drop(object.insert((*name).to_owned(), new.clone()));
        }
    }
    value
}

#[test]
fn rfc9449_s4_3_a_good_proof_of_each_kind_of_key_shows_its_thumbprint() {
    let mut thumbprints = std::collections::BTreeSet::new();
    for algorithm in ALGORITHMS {
        let proof = judge(&sign(algorithm, &header(algorithm), &claims())).unwrap();
        assert_eq!(proof.jti, "-BwC3ESc6acc2lTc");
        assert_eq!(proof.ends_at_s, NOW.seconds() + super::super::LIFETIME_S);
        assert!(is_thumbprint(&proof.jkt));
        thumbprints.insert(proof.jkt);
    }
    assert_eq!(thumbprints.len(), ALGORITHMS.len());
}

#[test]
fn rfc7638_s3_1_the_thumbprint_of_the_example_key() {
    let jwk = json!({
        "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    });
    let thumbprint = thumbprint(jwk.as_object().unwrap());
    assert_eq!(thumbprint.as_deref(), Some("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"));
}

#[test]
fn rfc9449_s4_3_each_check_refuses_what_it_is_for() {
    let es256 = SigningAlgorithm::ES256;
    let of_claims = |changes: &[(&str, Value)]| sign(es256, &header(es256), &with(claims(), changes));
    let of_header = |changes: &[(&str, Value)]| sign(es256, &with(header(es256), changes), &claims());
    let private = with(signer(es256).1, &[("d", json!("AAAA"))]);
    let other = signer(SigningAlgorithm::EdDSA).1;
    let old = NOW.seconds() - CLOCK_S - 1;
    let stale = nonces().issue(Timestamp(NOW.0 - super::super::LIFETIME_S * 1_000));
    let cases = [
        ("(2) a JWT", "e30.e30".to_owned(), ProofFault::Malformed),
        ("(2) one", format!("{0},{0}", good()), ProofFault::Signature),
        ("(3) jti", of_claims(&[("jti", json!(null))]), ProofFault::Claims),
        ("(3) jti", of_claims(&[("jti", json!(""))]), ProofFault::Claims),
        ("(3) jti", of_claims(&[("jti", json!("j".repeat(JTI_MAX + 1)))]), ProofFault::Claims),
        ("(3) htm", of_claims(&[("htm", json!(null))]), ProofFault::Claims),
        ("(3) htu", of_claims(&[("htu", json!(7))]), ProofFault::Claims),
        ("(3) iat", of_claims(&[("iat", json!("now"))]), ProofFault::Claims),
        ("(4) typ", of_header(&[("typ", json!("JWT"))]), ProofFault::Header),
        ("(4) typ", of_header(&[("typ", json!(null))]), ProofFault::Header),
        ("(5) alg none", of_header(&[("alg", json!("none"))]), ProofFault::Header),
        ("(5) alg symmetric", of_header(&[("alg", json!("HS256"))]), ProofFault::Header),
        ("(5) alg of another key", of_header(&[("alg", json!("EdDSA"))]), ProofFault::Key),
        ("(6) signature", of_header(&[("alg", json!("EdDSA")), ("jwk", other)]), ProofFault::Signature),
        ("(7) private key", of_header(&[("jwk", private)]), ProofFault::Key),
        ("(7) symmetric key", of_header(&[("jwk", json!({"kty": "oct", "k": "AAAA"}))]), ProofFault::Key),
        ("(7) no key", of_header(&[("jwk", json!(null))]), ProofFault::Header),
        ("7515 §4.1.11", of_header(&[("crit", json!(["b64"]))]), ProofFault::Header),
        ("(8) htm", of_claims(&[("htm", json!("GET"))]), ProofFault::Request),
        ("(8) htm", of_claims(&[("htm", json!("post"))]), ProofFault::Request),
        ("(9) htu", of_claims(&[("htu", json!(format!("{ISSUER}/oauth2/userinfo")))]), ProofFault::Request),
        (
            "(9) htu",
            of_claims(&[("htu", json!("https://evil.example/t/acme/oauth2/token"))]),
            ProofFault::Request,
        ),
        ("(9) htu", of_claims(&[("htu", json!("/oauth2/token"))]), ProofFault::Request),
        ("(10) no nonce", of_claims(&[("nonce", json!(null))]), ProofFault::Nonce),
        ("(10) made up", of_claims(&[("nonce", json!("eyJ7S_zG.eyJH0-Z.HX4w-7v"))]), ProofFault::Nonce),
        ("(10) too old", of_claims(&[("nonce", json!(stale))]), ProofFault::Nonce),
        ("(11) too old", of_claims(&[("iat", json!(old))]), ProofFault::Time),
        ("(11) future", of_claims(&[("iat", json!(NOW.seconds() + CLOCK_S + 1))]), ProofFault::Time),
        ("(11) absurd", of_claims(&[("iat", json!(1e300))]), ProofFault::Time),
        ("7519 §4.1.4 exp", of_claims(&[("exp", json!(old + 1))]), ProofFault::Time),
        ("7519 §4.1.4 exp", of_claims(&[("exp", json!("never"))]), ProofFault::Claims),
        ("7519 §4.1.5 nbf", of_claims(&[("nbf", json!(NOW.seconds() + CLOCK_S + 1))]), ProofFault::Time),
        ("7519 §4.1.5 nbf", of_claims(&[("nbf", json!([]))]), ProofFault::Claims),
        ("(12) no ath", of_claims(&[("ath", json!(null))]), ProofFault::Token),
        ("(12) ath", of_claims(&[("ath", json!(hash(b"another")))]), ProofFault::Token),
    ];
    for (rule, proof, fault) in cases {
        assert_eq!(judge(&proof), Err(fault), "RFC 9449 §4.3 {rule}");
    }
}

#[test]
fn rfc9449_s4_3_the_url_is_compared_without_query_and_fragment_and_in_normal_form() {
    let es256 = SigningAlgorithm::ES256;
    for htu in
        ["HTTPS://ID.Example:443/t/acme/oauth2/token", "https://id.example/t/acme/./oauth2/token?x=1#y"]
    {
        let claims = with(claims(), &[("htu", json!(htu))]);
        assert!(judge(&sign(es256, &header(es256), &claims)).is_ok(), "{htu}");
    }
}

#[test]
fn rfc3986_s6_2_2_2_escaped_unreserved_characters_are_the_characters() {
    let wanted = "https://id.example/t/a%2Fb/~me/token";
    for (given, same) in [
        ("https://id.example/t/a%2fb/%7Eme/%74oken", true),
        ("https://id.example/t/a%2Fb/~me/%54oken", false),
        ("https://id.example/t/a/b/~me/token", false),
        ("https://id.example/t/a%252Fb/~me/token", false),
        ("https://id.example/t/a%2Fb/~me/%2574oken", false),
        ("https://id.example/t/a%2Fb/~me/token%", false),
        ("https://id.example/t/a%2Fb/~me/%+4oken", false),
    ] {
        assert_eq!(same_url(given, wanted), same, "{given}");
    }
    assert_eq!(plain_octets("%é%4%zz%c3%A9%2d%"), "%é%4%zz%C3%A9-%");
}

#[test]
fn rfc7519_s4_1_4_and_s4_1_5_a_proof_that_has_exp_and_nbf_counts_between_them() {
    let es256 = SigningAlgorithm::ES256;
    let now = NOW.seconds();
    for (name, date) in [
        ("exp", json!(now + 60)),
        ("exp", json!(now - CLOCK_S + 1)),
        ("nbf", json!(now)),
        ("nbf", json!(now + CLOCK_S)),
    ] {
        let claims = with(claims(), &[(name, date)]);
        assert!(judge(&sign(es256, &header(es256), &claims)).is_ok(), "{claims}");
    }
}

#[test]
fn rfc9449_s4_1_without_a_token_no_ath_is_asked_for() {
    let es256 = SigningAlgorithm::ES256;
    let bare = sign(es256, &header(es256), &with(claims(), &[("ath", json!(null))]));
    let expected = Expected { method: "POST", url: &url(), access_token: None, now: NOW };
    assert!(verify(&bare, expected, &nonces()).is_ok());
}

proptest! {
    #[test]
    fn arbitrary_text_is_no_proof(text in "[A-Za-z0-9_.{}\":,-]{0,200}", noise in "\\PC{0,60}") {
        prop_assert!(judge(&text).is_err());
        prop_assert!(judge(&noise).is_err());
    }

    #[test]
    fn arbitrary_headers_and_claims_never_panic(
        header in proptest::collection::vec(any::<u8>(), 0..80),
        claims in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let proof = format!("{}.{}.AA", part(&header), part(&claims));
        prop_assert!(judge(&proof).is_err());
    }

    #[test]
    fn arbitrary_keys_never_panic(
        kty in "(EC|OKP|RSA|oct|\\PC{0,4})",
        crv in "(P-256|P-384|Ed25519|\\PC{0,4})",
        material in proptest::collection::vec(any::<u8>(), 0..70),
    ) {
        let text = URL_SAFE_NO_PAD.encode(&material);
        let jwk = json!({"kty": kty, "crv": crv, "x": text, "y": text, "n": text, "e": "AQAB"});
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk});
        prop_assert!(judge(&sign(SigningAlgorithm::ES256, &header, &claims())).is_err());
    }

    #[test]
    fn a_changed_character_breaks_a_proof(place in 0_usize..400, other in "[A-Za-z0-9_-]") {
        let good = good();
        let place = place % good.len();
        let changed = format!("{}{other}{}", &good[..place], &good[place + 1..]);
        prop_assert_eq!(judge(&changed).is_ok(), changed == good);
    }
}
