//! Which clients may keep their refresh tokens (RFC 9700 §4.14.2).

use serde::Deserialize as _;

use super::metadata::refuse;
use crate::commands::ClientRefusal;
use crate::model::{AuthMethod, ClientMetadata, FamilyMode, REFRESH_TOKEN_MODE};

/// A public client's refresh tokens rotate, or are bound to a key that each request shows.
///
/// # Errors
/// [`ClientRefusal::InvalidClientMetadata`].
pub(super) fn check_family_mode(metadata: &ClientMetadata) -> Result<(), ClientRefusal> {
    let Some(value) = metadata.extra.get(REFRESH_TOKEN_MODE) else { return Ok(()) };
    let Ok(mode) = FamilyMode::deserialize(value) else {
        return Err(refuse(REFRESH_TOKEN_MODE, "is neither `rotate` nor `static`"));
    };
    let bound = metadata.token_endpoint_auth_method != AuthMethod::None || metadata.dpop_bound_access_tokens;
    if bound || mode.is_rotate() {
        Ok(())
    } else {
        Err(refuse(
            REFRESH_TOKEN_MODE,
            "is `static`, which a public client needs `dpop_bound_access_tokens` for",
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::check_metadata;
    use super::*;

    #[test]
    fn rfc9700_s4_14_2_a_public_client_may_keep_refresh_tokens_only_if_they_are_bound_to_a_key() {
        let with = |mode: Value, method: &str, bound: bool| {
            let metadata = json!({
                "redirect_uris": ["https://rp.example/cb"], "token_endpoint_auth_method": method,
                "dpop_bound_access_tokens": bound, "refresh_token_mode": mode,
            });
            check_metadata(serde_json::from_value(metadata).unwrap()).map(|made| made.refresh_token_mode())
        };
        for (mode, method, bound, wanted) in [
            ("static", "client_secret_basic", false, Some(FamilyMode::Static)),
            ("static", "none", true, Some(FamilyMode::Static)),
            ("static", "none", false, None),
            ("rotate", "none", false, Some(FamilyMode::Rotate)),
            ("fixed", "client_secret_basic", false, None),
        ] {
            assert_eq!(with(json!(mode), method, bound).ok(), wanted, "{mode} {method} {bound}");
        }
        assert!(with(json!(true), "client_secret_basic", false).is_err());
    }
}
