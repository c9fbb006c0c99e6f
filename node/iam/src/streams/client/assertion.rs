//! What a client registers to prove itself by assertions (RFC 7591 §2, OpenID Connect Registration §2).

use serde_json::Value;
use url::{Host, Url};

use super::metadata::refuse;
use crate::commands::ClientRefusal;
use crate::keys::{ForeignKeys, KEYS_MAX};
use crate::model::{AssertionAlgorithm, AuthMethod, ClientMetadata};

const URI_BYTES_MAX: usize = 2048;
/// Members of private and symmetric keys (RFC 7518 §6): they must never come here.
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Checks keys, where they are found, and the algorithm.
///
/// # Errors
/// [`ClientRefusal::InvalidClientMetadata`].
pub(super) fn check_assertions(metadata: &ClientMetadata) -> Result<(), ClientRefusal> {
    if let Some(jwks) = metadata.jwks() {
        check_jwks(jwks, metadata)?;
    }
    if let Some(value) = metadata.extra.get("jwks_uri")
        && !value.as_str().is_some_and(is_key_url)
    {
        return Err(refuse("jwks_uri", "is not an https URL without user information and fragment"));
    }
    check_algorithm(metadata)?;
    if let Some(value) = metadata.extra.get("token_endpoint_auth_audience")
        && !matches!(value.as_str(), Some("issuer" | "token_endpoint"))
    {
        return Err(refuse("token_endpoint_auth_audience", "is not `issuer` or `token_endpoint`"));
    }
    let with_keys = metadata.token_endpoint_auth_method == AuthMethod::PrivateKeyJwt;
    if with_keys && metadata.jwks().is_none() && metadata.jwks_uri().is_none() {
        return Err(refuse("jwks", "or `jwks_uri` is needed for `private_key_jwt`"));
    }
    Ok(())
}

fn check_jwks(jwks: &Value, metadata: &ClientMetadata) -> Result<(), ClientRefusal> {
    if metadata.extra.contains_key("jwks_uri") {
        return Err(refuse("jwks", "is given together with `jwks_uri` (RFC 7591 §2)"));
    }
    check_key_set(jwks, "jwks")?;
    let usable = ForeignKeys::parse(jwks).map_or(0, |keys| keys.len());
    if metadata.token_endpoint_auth_method == AuthMethod::PrivateKeyJwt && usable == 0 {
        return Err(refuse("jwks", "has no key that could verify a supported signature"));
    }
    Ok(())
}

/// A key set of public keys, in the member `field`.
///
/// # Errors
/// [`ClientRefusal::InvalidClientMetadata`].
pub(super) fn check_key_set(jwks: &Value, field: &str) -> Result<(), ClientRefusal> {
    let keys = jwks.get("keys").and_then(Value::as_array).filter(|keys| keys.len() <= KEYS_MAX);
    let Some(keys) = keys else {
        return Err(refuse(field, "is not a key set of at most 32 keys (RFC 7517 §5)"));
    };
    if !keys.iter().all(Value::is_object) {
        return Err(refuse(field, "has a key that is no object (RFC 7517 §4)"));
    }
    if keys.iter().any(|key| PRIVATE_MEMBERS.iter().any(|member| key.get(member).is_some())) {
        return Err(refuse(field, "has a private or symmetric key: register public ones only"));
    }
    Ok(())
}

/// An algorithm of another method would never verify anything.
fn check_algorithm(metadata: &ClientMetadata) -> Result<(), ClientRefusal> {
    const FIELD: &str = "token_endpoint_auth_signing_alg";
    let Some(value) = metadata.extra.get(FIELD) else { return Ok(()) };
    let Some(algorithm) = value.as_str().and_then(AssertionAlgorithm::from_name) else {
        return Err(refuse(FIELD, "is not RS256, PS256, ES256, ES384, EdDSA or HS256"));
    };
    let method = metadata.token_endpoint_auth_method;
    let by_assertion = matches!(method, AuthMethod::ClientSecretJwt | AuthMethod::PrivateKeyJwt);
    if by_assertion && algorithm.method() != method {
        return Err(refuse(FIELD, "is of another `token_endpoint_auth_method`"));
    }
    Ok(())
}

/// `https` (OpenID Connect Registration §2). `http` too at an address or at `localhost`: whether a network may be asked
/// in clear, the node's settings say (`egress.allow_networks`); what a name leads to, nobody does.
pub(super) fn is_key_url(text: &str) -> bool {
    let named = |host: &Host<&str>| matches!(host, Host::Domain(name) if *name != "localhost");
    is_web_url(text)
        && Url::parse(text)
            .is_ok_and(|url| url.scheme() == "https" || !url.host().is_some_and(|host| named(&host)))
}

/// `http` or `https`, without user information and fragment.
pub(super) fn is_web_url(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    text.len() <= URI_BYTES_MAX && plain && url.has_host() && matches!(url.scheme(), "http" | "https")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::check_metadata;
    use super::*;

    const P256: [(&str, &str); 4] = [
        ("kty", "EC"),
        ("crv", "P-256"),
        ("x", "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"),
        ("y", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"),
    ];

    fn key() -> Value {
        P256.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
    }

    fn field(method: &str, more: &Value) -> Result<(), String> {
        let mut metadata = json!({
            "grant_types": ["client_credentials"], "response_types": [], "token_endpoint_auth_method": method,
        });
        metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        match check_metadata(serde_json::from_value(metadata).unwrap()) {
            Ok(_) => Ok(()),
            Err(ClientRefusal::InvalidClientMetadata { field, .. }) => Err(field),
            Err(other) => Err(other.to_string()),
        }
    }

    #[test]
    fn rfc7591_s2_a_client_with_keys_registers_them_or_where_they_are() {
        let refused = |more: Value, wanted: &str| {
            assert_eq!(field("private_key_jwt", &more), Err(wanted.to_owned()), "{more}");
        };
        for good in [
            json!({"jwks": {"keys": [key()]}}),
            json!({"jwks": {"keys": [{"kty": "unknown"}, key()]}}),
            json!({"jwks_uri": "https://rp.example/jwks?x=1"}),
            json!({"jwks_uri": "http://10.0.0.7/jwks"}),
            json!({"jwks_uri": "http://[::1]:8080/jwks"}),
            json!({"jwks_uri": "http://localhost:8080/jwks"}),
            json!({"jwks": {"keys": [key()]}, "token_endpoint_auth_signing_alg": "ES256"}),
            json!({"jwks": {"keys": [key()]}, "token_endpoint_auth_audience": "token_endpoint"}),
        ] {
            assert_eq!(field("private_key_jwt", &good), Ok(()), "{good}");
        }
        refused(json!({}), "jwks");
        refused(json!({"jwks": {"keys": []}}), "jwks");
        refused(json!({"jwks": {"keys": [{"kty": "unknown"}]}}), "jwks");
        refused(json!({"jwks": {"keys": ["no object"]}}), "jwks");
        refused(json!({"jwks": {"keys": vec![key(); 33]}}), "jwks");
        refused(json!({"jwks": [key()]}), "jwks");
        refused(json!({"jwks": {"keys": [key()]}, "jwks_uri": "https://rp.example/jwks"}), "jwks");
        for uri in ["ftp://rp.example/x", "https://u:p@rp.example/x", "https://rp.example/x#y", "nowhere"] {
            refused(json!({"jwks_uri": uri}), "jwks_uri");
        }
        refused(json!({"jwks_uri": 7}), "jwks_uri");
        for uri in ["http://rp.example/jwks", "http://localhost.rp.example/jwks", "http://keys/jwks"] {
            refused(json!({"jwks_uri": uri}), "jwks_uri");
        }
        for alg in ["none", "HS256", "HS512", "A128GCM"] {
            let more = json!({"jwks": {"keys": [key()]}, "token_endpoint_auth_signing_alg": alg});
            refused(more, "token_endpoint_auth_signing_alg");
        }
        let more = json!({"jwks": {"keys": [key()]}, "token_endpoint_auth_audience": "any"});
        refused(more, "token_endpoint_auth_audience");
    }

    #[test]
    fn a_private_key_is_never_kept_whatever_the_method() {
        for method in ["private_key_jwt", "client_secret_basic"] {
            for member in PRIVATE_MEMBERS {
                let mut key = key();
                key[member] = json!("AAAA");
                assert_eq!(field(method, &json!({"jwks": {"keys": [key]}})), Err("jwks".to_owned()));
            }
        }
    }

    #[test]
    fn oidc_registration_s2_the_algorithm_is_one_of_the_method() {
        let with = |alg: &str| json!({"token_endpoint_auth_signing_alg": alg});
        assert_eq!(field("client_secret_jwt", &with("HS256")), Ok(()));
        assert!(field("client_secret_jwt", &with("RS256")).is_err());
        assert_eq!(field("client_secret_basic", &with("RS256")), Ok(()));
    }
}
