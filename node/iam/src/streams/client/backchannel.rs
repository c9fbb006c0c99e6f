//! Where a client wants to hear of logouts (OpenID Connect Back-Channel Logout 1.0 §2.2).

use super::assertion::is_web_url;
use super::metadata::refuse;
use crate::commands::ClientRefusal;
use crate::model::{AuthMethod, ClientMetadata};

const FIELD: &str = "backchannel_logout_uri";

/// Absolute, without fragment and user information, and plain HTTP for confidential clients only.
///
/// # Errors
/// [`ClientRefusal::InvalidClientMetadata`].
pub(super) fn check_backchannel(metadata: &ClientMetadata) -> Result<(), ClientRefusal> {
    let Some(uri) = &metadata.backchannel_logout_uri else {
        return if metadata.backchannel_logout_session_required {
            Err(refuse(FIELD, "is needed for `backchannel_logout_session_required`"))
        } else {
            Ok(())
        };
    };
    if !is_web_url(uri) {
        return Err(refuse(FIELD, "is not an http(s) URL without user information and fragment"));
    }
    if !uri.starts_with("https:") && metadata.token_endpoint_auth_method == AuthMethod::None {
        return Err(refuse(FIELD, "is plain http, which is for confidential clients only"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::check_metadata;
    use super::*;

    fn metadata(value: serde_json::Value) -> Result<ClientMetadata, ClientRefusal> {
        check_metadata(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn oidc_backchannel_s2_2_logout_tokens_go_to_a_plain_web_address() {
        let with = |uri: &str, method: &str| {
            metadata(json!({
                "redirect_uris": ["https://rp.example/cb"], "token_endpoint_auth_method": method,
                "backchannel_logout_uri": uri, "backchannel_logout_session_required": true,
            }))
        };
        let good = with("https://rp.example/logout?app=1", "none").unwrap();
        assert_eq!(good.backchannel_logout_uri.as_deref(), Some("https://rp.example/logout?app=1"));
        assert!(with("http://rp.example/logout", "client_secret_basic").is_ok());
        for (uri, method) in [
            ("http://rp.example/logout", "none"),
            ("https://rp.example/logout#x", "client_secret_basic"),
            ("https://user@rp.example/logout", "client_secret_basic"),
            ("/logout", "client_secret_basic"),
            ("ftp://rp.example/", "client_secret_basic"),
        ] {
            assert!(with(uri, method).is_err(), "{uri}");
        }
        let nowhere = json!({
            "redirect_uris": ["https://rp.example/cb"], "backchannel_logout_session_required": true,
        });
        assert!(metadata(nowhere).is_err());
    }
}
