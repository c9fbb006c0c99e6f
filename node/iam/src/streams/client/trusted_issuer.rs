//! What may be registered about issuers of assertions (RFC 7523 §2.1).

use std::collections::BTreeSet;

use serde::Deserialize as _;

use super::assertion::{check_key_set, is_key_url};
use super::metadata::refuse;
use crate::commands::ClientRefusal;
use crate::keys::ForeignKeys;
use crate::model::{ClientMetadata, GrantType, TRUSTED_ISSUERS, TrustedIssuer, is_scope_token};

/// Issuers of one client at most.
const ISSUERS_MAX: usize = 16;
const ISSUER_BYTES_MAX: usize = 2048;

/// Checks the list, and that the grant has one.
///
/// # Errors
/// [`ClientRefusal::InvalidClientMetadata`].
pub(super) fn check_trusted_issuers(metadata: &ClientMetadata) -> Result<(), ClientRefusal> {
    let Some(list) = metadata.extra.get(TRUSTED_ISSUERS) else {
        return if metadata.grant_types.contains(&GrantType::JwtBearer) {
            Err(refuse(TRUSTED_ISSUERS, "is needed for the JWT bearer grant"))
        } else {
            Ok(())
        };
    };
    let issuers = Vec::<TrustedIssuer>::deserialize(list).map_err(|_| {
        refuse(TRUSTED_ISSUERS, "is not a list of `issuer`, `jwks` or `jwks_uri`, `subject`, `scope`")
    })?;
    if !(1..=ISSUERS_MAX).contains(&issuers.len()) {
        return Err(refuse(TRUSTED_ISSUERS, "has not 1 to 16 values"));
    }
    let names: BTreeSet<&str> = issuers.iter().map(|issuer| issuer.issuer.as_str()).collect();
    if names.len() != issuers.len() {
        return Err(refuse(TRUSTED_ISSUERS, "names an `issuer` twice"));
    }
    issuers.iter().try_for_each(check)
}

fn check(issuer: &TrustedIssuer) -> Result<(), ClientRefusal> {
    if !(1..=ISSUER_BYTES_MAX).contains(&issuer.issuer.len()) {
        return Err(refuse(TRUSTED_ISSUERS, "has an `issuer` that is not 1 to 2048 bytes"));
    }
    match (&issuer.jwks, &issuer.jwks_uri) {
        (Some(jwks), None) => {
            check_key_set(jwks, TRUSTED_ISSUERS)?;
            if ForeignKeys::parse(jwks).map_or(0, |keys| keys.len()) == 0 {
                return Err(refuse(TRUSTED_ISSUERS, "has `jwks` without a usable key"));
            }
        }
        (None, Some(uri)) if is_key_url(uri) => {}
        (None, Some(_)) => return Err(refuse(TRUSTED_ISSUERS, "has a `jwks_uri` that is no URL of keys")),
        (None, None) | (Some(_), Some(_)) => {
            return Err(refuse(TRUSTED_ISSUERS, "has not either `jwks` or `jwks_uri`"));
        }
    }
    if issuer.scopes().iter().all(|scope| is_scope_token(scope)) {
        Ok(())
    } else {
        Err(refuse(TRUSTED_ISSUERS, "has a `scope` that is not a list of scope tokens"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::check_metadata;
    use super::*;

    fn registers(list: &Value) -> bool {
        let metadata = json!({
            "grant_types": [GrantType::JwtBearer], "response_types": [], TRUSTED_ISSUERS: list,
        });
        check_metadata(serde_json::from_value(metadata).unwrap()).is_ok()
    }

    #[test]
    fn rfc7521_s3_trust_is_set_up_beforehand_and_whole() {
        let uri = "https://idp.example/jwks";
        let good = json!({"issuer": "https://idp.example", "jwks_uri": uri, "scope": "read"});
        assert!(registers(&json!([good])));
        let with = |name: &str, value: Value| {
            let mut issuer = good.clone();
            issuer[name] = value;
            json!([issuer])
        };
        assert!(registers(&with("subject", json!("email"))));
        for bad in [
            Value::Null,
            json!([]),
            json!("https://idp.example"),
            json!([good, good]),
            json!(vec![good.clone(); 17]),
            json!([{"issuer": "https://idp.example", "scope": "read"}]),
            json!([{"issuer": "https://idp.example", "jwks_uri": uri}]),
            with("issuer", json!("")),
            with("jwks", json!({"keys": []})),
            with("jwks_uri", json!("file:///etc/passwd")),
            with("subject", json!("phone")),
            with("scope", json!("a\"b")),
            with("surprise", json!(true)),
        ] {
            assert!(!registers(&bad), "{bad}");
        }
    }
}
