//! Answers as JWTs: userinfo (OpenID Connect Core §5.3.2) and introspection (RFC 9701).

use serde_json::{Map, Value, json};

use crate::Timestamp;
use crate::jws::{self, SignFault, Signer, TokenType};
use crate::response::Response;

/// The media type that asks for a signed introspection answer, and that it has (RFC 9701 §4, §5).
pub const INTROSPECTION: &str = "application/token-introspection+jwt";
const JWT: &str = "application/jwt";

/// Who answers whom, and when.
#[derive(Clone, Copy, Debug)]
pub struct Parties<'a> {
    /// `iss`.
    pub issuer: &'a str,
    /// `aud`: the client that gets the answer.
    pub client_id: &'a str,
    /// `iat`.
    pub now: Timestamp,
}

/// An introspection answer as a JWT: what is said of the token is a claim of its own, so that it cannot be
/// taken for an access token (RFC 9701 §5, §8.1).
///
/// # Errors
/// [`SignFault`].
pub fn introspection(
    plain: &Response,
    parties: Parties<'_>,
    key: &dyn Signer,
) -> Result<Response, SignFault> {
    let claims = json!({
        "iss": parties.issuer,
        "aud": parties.client_id,
        "iat": parties.now.seconds(),
        "token_introspection": object(plain)?,
    });
    let token = jws::sign(key, TokenType::Introspection, &claims)?;
    Ok(Response { body: token.into_bytes(), ..Response::empty(200).with("content-type", INTROSPECTION) })
}

/// A userinfo answer as a JWT with `iss` and `aud`.
///
/// # Errors
/// [`SignFault`].
pub fn userinfo(plain: &Response, parties: Parties<'_>, key: &dyn Signer) -> Result<Response, SignFault> {
    let mut claims = object(plain)?;
    claims.insert("iss".to_owned(), parties.issuer.into());
    claims.insert("aud".to_owned(), parties.client_id.into());
    let token = jws::sign(key, TokenType::UserInfo, &claims)?;
    Ok(Response { body: token.into_bytes(), ..Response::empty(200).with("content-type", JWT) })
}

fn object(plain: &Response) -> Result<Map<String, Value>, SignFault> {
    serde_json::from_slice(&plain.body).map_err(|_| SignFault::Claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ISSUER, NOW, keys};
    use domicile_iam::model::SigningAlgorithm;

    fn part(response: &Response, place: usize) -> Value {
        use base64::Engine as _;
        let token = std::str::from_utf8(&response.body).unwrap();
        let part = token.split('.').nth(place).unwrap();
        serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap())
            .unwrap()
    }

    const PARTIES: Parties<'static> = Parties { issuer: ISSUER, client_id: "app", now: NOW };

    #[test]
    fn rfc9701_s5_the_answer_is_a_claim_of_a_typed_jwt_for_the_caller() {
        let plain = Response::json(200, &json!({"active": true, "sub": "ada", "exp": 7}));
        let key = keys().signer(SigningAlgorithm::ES256);
        let answer = introspection(&plain, PARTIES, key).unwrap();
        assert_eq!(answer.header("content-type"), Some(INTROSPECTION));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(part(&answer, 0)["typ"], "token-introspection+jwt");
        let claims = part(&answer, 1);
        assert_eq!(claims["token_introspection"], json!({"active": true, "sub": "ada", "exp": 7}));
        assert_eq!((&claims["iss"], &claims["aud"]), (&json!(ISSUER), &json!("app")));
        assert_eq!(claims["iat"], NOW.seconds());
        assert!(claims.get("sub").is_none() && claims.get("exp").is_none(), "§5: not an access token");
    }

    #[test]
    fn rfc8725_s3_12_a_signed_userinfo_answer_is_no_id_token_that_comes_back() {
        let plain = Response::json(200, &json!({"sub": "ada", "name": "Ada", "updated_at": 7}));
        let answer = userinfo(&plain, PARTIES, keys().signer(SigningAlgorithm::EdDSA)).unwrap();
        let token = std::str::from_utf8(&answer.body).unwrap();
        let read = crate::id_token_hint::open(token, ISSUER, &keys().set);
        assert_eq!(read, Err(crate::jws::TokenFault::Claims));
        let hint = crate::testing::id_token(&crate::testing::client(), SigningAlgorithm::EdDSA);
        assert!(crate::id_token_hint::open(&hint, ISSUER, &keys().set).is_ok(), "an ID token is");
    }

    #[test]
    fn oidc_core_s5_3_2_signed_userinfo_names_its_issuer_and_its_audience() {
        let plain = Response::json(200, &json!({"sub": "ada", "name": "Ada"}));
        let answer = userinfo(&plain, PARTIES, keys().signer(SigningAlgorithm::EdDSA)).unwrap();
        assert_eq!(answer.header("content-type"), Some("application/jwt"));
        assert_eq!(part(&answer, 0)["alg"], "EdDSA");
        assert_eq!(part(&answer, 1), json!({"sub": "ada", "name": "Ada", "iss": ISSUER, "aud": "app"}));
    }
}
