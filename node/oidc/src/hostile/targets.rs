//! What is done with an input, and what must hold of what is taken.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_iam::keys::ForeignKeys;
use domicile_iam::model::{AssertionAlgorithm, ClientMetadata, SigningAlgorithm, StatementIssuer};
use domicile_iam::streams::client::check_metadata;
use serde_json::Value;

use crate::assertion::{Assertion, Rules, SKEW_S};
use crate::authorize::{self, Context, Refusal};
use crate::dpop::{self, Expected, Nonces};
use crate::jws::TokenType;
use crate::registration::{RegistrationRequest, statement};
use crate::testing::{ISSUER, NOW, client, keys, tenant};
use crate::{Form, access_token, claims as claims_parameter, client_auth, id_token_hint, jws, logout, par};

/// The parser of forms, then what asks for a code.
pub fn authorization_request(input: &[u8]) {
    let Ok(form) = Form::parse(input) else { return };
    let (client, tenant) = (client(), tenant());
    let context = Context { tenant: &tenant, keys: &keys().set, now: NOW, pushed: false };
    let target = match authorize::validate(&form, &client, context) {
        Ok(request) => Some(request.target),
        Err(Refusal::Redirect(told)) => Some(told.target),
        Err(Refusal::Fatal(_)) => None,
    };
    if let Some(target) = target {
        assert!(client.metadata.redirect_uris.contains(&target.redirect_uri));
    }
    let _ = par::reference(&form);
    let _ = logout::parse(&form, ISSUER, &keys().set);
}

/// The first line is the `Authorization` header, the rest a form.
pub fn client_authentication(input: &[u8]) {
    let Some((header, form)) = head_and_form(input) else { return };
    if let Ok(presented) = client_auth::parse(header.as_deref(), &form) {
        assert!(!presented.client_id.is_empty() && presented.client_id.len() <= 1_024);
        let _ = presented.proof(&client(), ISSUER, NOW);
    }
}

/// A first line, unless it is empty, and the form that follows.
pub fn head_and_form(input: &[u8]) -> Option<(Option<String>, Form)> {
    let end = input.iter().position(|byte| *byte == b'\n');
    let (head, body) = end.map_or((&b""[..], input), |end| (&input[..end], &input[end + 1..]));
    let form = Form::parse(body).ok()?;
    let head = std::str::from_utf8(head).ok().filter(|head| !head.is_empty());
    Some((head.map(str::to_owned), form))
}

/// A token as it is sent.
pub fn jwt(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // Nothing of the corpus is signed by these keys, which are made anew.
    assert!(access_token::open(text, ISSUER, &keys().set, NOW).is_err());
    assert!(id_token_hint::open(text, ISSUER, &keys().set).is_err());
    let _ = jws::kid(text);
    let _ = Assertion::parse(text);
}

/// Header and claims, each on a line, under a good signature of our key for ES256.
pub fn signed_jwt(input: &[u8]) {
    let signer = keys().signer(SigningAlgorithm::ES256);
    let token = signed(&replaced(input, b"KID", signer.kid()), |message| signer.sign(message).unwrap());
    for token_type in [TokenType::AccessToken, TokenType::IdToken] {
        let Ok(claims) = jws::verify::<Value>(&token, token_type, &keys().set) else { continue };
        let header = part(&token, 0);
        assert_eq!((&header["alg"], &header["kid"]), (&"ES256".into(), &signer.kid().into()));
        assert!(header.get("crit").is_none_or(Value::is_null));
        assert_eq!(claims, part(&token, 1));
    }
    if let Ok(claims) = access_token::open(&token, ISSUER, &keys().set, NOW) {
        assert!(claims.iss == ISSUER && claims.exp > NOW.seconds());
    }
    let _ = id_token_hint::open(&token, ISSUER, &keys().set);
}

/// Header and claims of a client's assertion, under a good signature of its key.
pub fn assertion(input: &[u8]) {
    let signer = keys().signer(SigningAlgorithm::ES256);
    let token = signed(&replaced(input, b"KID", signer.kid()), |message| signer.sign(message).unwrap());
    let Ok(assertion) = Assertion::parse(&token) else { return };
    let rules = Rules {
        issuer: "app",
        subject: Some("app"),
        audiences: &[ISSUER],
        audience_among_others: false,
        typ: "client-authentication+jwt",
        lifetime_max_s: 3_600,
        age_max_s: Some(600),
        needs_jti: true,
    };
    let Ok(used) = assertion.check(&rules, NOW) else { return };
    assert!(used.is_some_and(|used| !used.jti.is_empty() && used.until_s > NOW.seconds()));
    assert_eq!((assertion.issuer(), assertion.subject()), ("app", "app"));
    let set = serde_json::to_value(&keys().jwks).unwrap();
    let set = ForeignKeys::parse(&set).unwrap();
    if assertion.verify(&set).is_ok() {
        assert_eq!(assertion.algorithm(), AssertionAlgorithm::ES256);
    }
    assert!(assertion.verify_hmac(&["a secret of thirty-two characters"]).is_err());
}

/// Header and claims of a proof, under a good signature of the key that its header should bring.
pub fn dpop_proof(input: &[u8]) {
    let nonces = Nonces::new(&[7; 32]);
    let signer = keys().signer(SigningAlgorithm::ES256);
    let jwk = keys().jwks.keys.iter().find(|key| key.alg == SigningAlgorithm::ES256).unwrap();
    let jwk = serde_json::json!({"kty": jwk.kty, "crv": jwk.crv, "x": jwk.x, "y": jwk.y});
    let text = replaced(input, b"\"JWK\"", &jwk.to_string());
    let text = replaced(&text, b"NONCE", &nonces.issue(NOW));
    let text = replaced(&text, b"NOW", &NOW.seconds().to_string());
    let proof = signed(&text, |message| signer.sign(message).unwrap());
    let expected = Expected {
        method: "POST",
        url: "https://id.example/t/acme/oauth2/token",
        access_token: None,
        now: NOW,
    };
    if let Ok(shown) = dpop::verify(&proof, expected, &nonces) {
        assert!(dpop::is_thumbprint(&shown.jkt) && !shown.jti.is_empty());
        let claims = part(&proof, 1);
        assert_eq!((&claims["htm"], &part(&proof, 0)["typ"]), (&"POST".into(), &"dpop+jwt".into()));
    }
}

/// A registration's document.
pub fn client_metadata(input: &[u8]) {
    let Ok(metadata) = serde_json::from_slice::<ClientMetadata>(input) else { return };
    let Ok(checked) = check_metadata(metadata) else { return };
    for uri in &checked.redirect_uris {
        assert!(!uri.contains('#') && uri.contains(':'), "{uri}");
        assert!(!uri.to_ascii_lowercase().starts_with("javascript:"), "{uri}");
    }
    // What was taken is taken again, and stays as it is.
    let text = serde_json::to_vec(&checked).unwrap();
    let again = check_metadata(serde_json::from_slice(&text).unwrap()).unwrap();
    assert_eq!(again, checked);
}

/// A registration's body, where nobody's statements are believed.
pub fn registration(input: &[u8]) {
    let Ok(request) = RegistrationRequest::parse(input) else { return };
    let update = request.check_update("app").is_ok();
    assert!(!update || request.client_id.as_deref() == Some("app"));
    let Ok(metadata) = request.metadata(&[], NOW) else { return };
    for ours in ["client_id", "client_secret", "registration_access_token", "registration_client_uri"] {
        assert!(!metadata.extra.contains_key(ours), "{ours}");
    }
    assert!(!metadata.extra.contains_key("software_statement"), "of an issuer that nobody trusts");
    let _ = check_metadata(metadata);
}

/// Header and claims of a software statement, under a good signature of an issuer that is trusted.
pub fn software_statement(input: &[u8]) {
    let signer = keys().signer(SigningAlgorithm::ES256);
    let text = signed(&replaced(input, b"KID", signer.kid()), |message| signer.sign(message).unwrap());
    let jwks = serde_json::to_value(&keys().jwks).unwrap();
    let trusted = [StatementIssuer { issuer: "https://federation.example".to_owned(), jwks }];
    assert!(statement(&text, &[], NOW).is_err());
    let body = serde_json::json!({ "software_statement": text }).to_string();
    let metadata = RegistrationRequest::parse(body.as_bytes()).unwrap().metadata(&trusted, NOW);
    let Ok(claims) = statement(&text, &trusted, NOW) else {
        assert!(metadata.is_err());
        return;
    };
    let (header, said) = (part(&text, 0), part(&text, 1));
    assert_eq!((&header["alg"], &said["iss"]), (&"ES256".into(), &"https://federation.example".into()));
    assert!(header.get("crit").is_none());
    for of_the_token in ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"] {
        assert!(!claims.contains_key(of_the_token), "{of_the_token}");
    }
    let seconds = |name: &str| said.get(name).map(|value| value.as_u64().unwrap());
    assert!(seconds("exp").is_none_or(|end| end.saturating_add(SKEW_S) > NOW.seconds()));
    assert!(seconds("nbf").is_none_or(|start| start <= NOW.seconds() + SKEW_S));
}

/// A key set that somebody published.
pub fn key_set(input: &[u8]) {
    let Ok(set) = serde_json::from_slice::<Value>(input) else { return };
    let Ok(keys) = ForeignKeys::parse(&set) else { return };
    assert!(keys.len() <= domicile_iam::keys::KEYS_MAX);
    for algorithm in AssertionAlgorithm::ASYMMETRIC {
        assert!(!keys.verify(None, algorithm, b"message", b"signature"));
    }
}

/// The `claims` parameter.
pub fn claims(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let _ = claims_parameter::parse(text);
}

/// `input` with every `name` replaced.
fn replaced(input: &[u8], name: &[u8], value: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(input.len());
    let mut rest = input;
    while let Some(place) = rest.windows(name.len()).position(|window| window == name) {
        out.extend_from_slice(&rest[..place]);
        out.extend_from_slice(value.as_bytes());
        rest = &rest[place + name.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// A JWS of a header and claims on a line each.
fn signed(input: &[u8], sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (header, claims) = input.split_at(end);
    let claims = claims.strip_prefix(b"\n").unwrap_or(claims);
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn part(token: &str, place: usize) -> Value {
    let part = token.split('.').nth(place).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}
