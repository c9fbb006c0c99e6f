//! RFC 7591 metadata from outside: decoded member by member, so that a fault has a name.

use domicile_iam::model::ClientMetadata;
use serde_json::{Map, Value};

use super::members::invalid;
use crate::problem::Problem;

/// Shown in a client's document, but not metadata.
pub(super) const READ_ONLY: [&str; 11] = [
    "id",
    "client_secret",
    "client_id_issued_at",
    "client_secret_expires_at",
    "registration_access_token",
    "registration_client_uri",
    "credentials",
    "delegation",
    "created_at",
    "not_before",
    "revision",
];

/// Metadata from an object. Null is the same as absent (RFC 7591 §2); what is not known is kept and
/// shown again. Rules between members are checked by the domain.
///
/// # Errors
/// 422 with `invalid_client_metadata` (RFC 7591 §3.2.2).
pub(super) fn decode(mut object: Map<String, Value>) -> Result<ClientMetadata, Problem> {
    object.retain(|_, value| !value.is_null());
    for (name, value) in &object {
        check_type(name, value)?;
    }
    // Each member was decoded on its own just now.
    serde_json::from_value(Value::Object(object)).map_err(|_| Problem::internal())
}

/// `metadata` with the members of `change` in place of their own; null removes one.
///
/// # Errors
/// As [`decode`].
pub(super) fn changed(
    metadata: &ClientMetadata,
    change: &Map<String, Value>,
) -> Result<ClientMetadata, Problem> {
    let Ok(Value::Object(mut object)) = serde_json::to_value(metadata) else {
        return Err(Problem::internal());
    };
    object.extend(change.clone());
    decode(object)
}

/// Every member may be absent, so an object of one member is a whole document for the decoder.
fn check_type(name: &str, value: &Value) -> Result<(), Problem> {
    let alone = Map::from_iter([(name.to_owned(), value.clone())]);
    match serde_json::from_value::<ClientMetadata>(Value::Object(alone)) {
        Ok(_) => Ok(()),
        Err(cause) => {
            Err(invalid(name, &format!("does not fit: {cause}")).with("error", "invalid_client_metadata"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domicile_iam::model::{AuthMethod, GrantType};
    use serde_json::json;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn rfc7591_s2_absent_and_null_members_have_the_registered_defaults() {
        for sent in [json!({}), json!({ "grant_types": null, "token_endpoint_auth_method": null })] {
            let metadata = decode(object(&sent)).unwrap();
            assert_eq!(metadata.token_endpoint_auth_method, AuthMethod::ClientSecretBasic);
            assert_eq!(metadata.grant_types, [GrantType::AuthorizationCode]);
            assert_eq!(metadata.response_types, ["code"]);
            assert!(!metadata.require_pkce);
        }
    }

    #[test]
    fn rfc7591_s3_2_2_a_member_that_does_not_fit_is_named() {
        for (sent, member) in [
            (json!({ "token_endpoint_auth_method": "tls_client_auth" }), "token_endpoint_auth_method"),
            (json!({ "redirect_uris": "https://a.example/cb" }), "redirect_uris"),
            (json!({ "grant_types": ["implicit"] }), "grant_types"),
        ] {
            let document = serde_json::to_value(decode(object(&sent)).unwrap_err()).unwrap();
            assert_eq!(document["member"], member);
            assert_eq!(document["error"], "invalid_client_metadata");
        }
    }

    #[test]
    fn a_change_replaces_whole_members_and_null_removes() {
        let metadata = decode(object(&json!({
            "client_name": "Shop", "redirect_uris": ["https://a.example/cb"], "tos_uri": "https://a.example/tos",
        })))
        .unwrap();
        let change =
            json!({ "redirect_uris": ["https://b.example/cb"], "tos_uri": null, "client_name": null });
        let changed = changed(&metadata, &object(&change)).unwrap();
        assert_eq!(changed.redirect_uris, ["https://b.example/cb"]);
        assert_eq!((changed.client_name, changed.extra.len()), (None, 0));
    }
}
