//! OAuth error codes and their HTTP status: the one place for both.

use serde_json::json;

use crate::response::Response;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal;)*) => {
        /// An error code a client may read.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ErrorCode { $($(#[$doc])* $name,)* }

        impl ErrorCode {
            /// The registered text (IANA OAuth Extensions Error Registry).
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The status when it is answered directly, not by redirect.
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            #[cfg(test)]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

codes! {
    /// RFC 6749 §4.1.2.1, §5.2; RFC 6750 §3.1.
    InvalidRequest = "invalid_request", 400;
    /// RFC 6749 §5.2.
    InvalidClient = "invalid_client", 401;
    /// RFC 6749 §5.2.
    InvalidGrant = "invalid_grant", 400;
    /// RFC 6749 §4.1.2.1, §5.2.
    UnauthorizedClient = "unauthorized_client", 400;
    /// RFC 6749 §5.2.
    UnsupportedGrantType = "unsupported_grant_type", 400;
    /// RFC 6749 §4.1.2.1, §5.2.
    InvalidScope = "invalid_scope", 400;
    /// RFC 6749 §4.1.2.1.
    AccessDenied = "access_denied", 400;
    /// RFC 6749 §4.1.2.1.
    UnsupportedResponseType = "unsupported_response_type", 400;
    /// RFC 6749 §4.1.2.1.
    ServerError = "server_error", 500;
    /// RFC 6749 §4.1.2.1.
    TemporarilyUnavailable = "temporarily_unavailable", 503;
    /// OpenID Connect Core §3.1.2.6.
    InteractionRequired = "interaction_required", 400;
    /// OpenID Connect Core §3.1.2.6.
    LoginRequired = "login_required", 400;
    /// OpenID Connect Core §3.1.2.6.
    AccountSelectionRequired = "account_selection_required", 400;
    /// OpenID Connect Core §3.1.2.6.
    ConsentRequired = "consent_required", 400;
    /// OpenID Connect Core §3.1.2.6.
    RequestNotSupported = "request_not_supported", 400;
    /// OpenID Connect Core §3.1.2.6.
    RequestUriNotSupported = "request_uri_not_supported", 400;
    /// RFC 9101 §6.2; RFC 9126 §4.
    InvalidRequestUri = "invalid_request_uri", 400;
    /// OpenID Connect Core §3.1.2.6.
    RegistrationNotSupported = "registration_not_supported", 400;
    /// OpenID Connect Core Error Code unmet_authentication_requirements 1.0.
    UnmetAuthenticationRequirements = "unmet_authentication_requirements", 400;
    /// RFC 8628 §3.5.
    AuthorizationPending = "authorization_pending", 400;
    /// RFC 8628 §3.5.
    SlowDown = "slow_down", 400;
    /// RFC 8628 §3.5.
    ExpiredToken = "expired_token", 400;
    /// RFC 6750 §3.1.
    InvalidToken = "invalid_token", 401;
    /// RFC 6750 §3.1.
    InsufficientScope = "insufficient_scope", 403;
    /// RFC 8707 §2; RFC 8693 §2.2.2.
    InvalidTarget = "invalid_target", 400;
    /// RFC 7591 §3.2.2.
    InvalidRedirectUri = "invalid_redirect_uri", 400;
    /// RFC 7591 §3.2.2.
    InvalidClientMetadata = "invalid_client_metadata", 400;
    /// RFC 7591 §3.2.2.
    InvalidSoftwareStatement = "invalid_software_statement", 400;
    /// RFC 7591 §3.2.2.
    UnapprovedSoftwareStatement = "unapproved_software_statement", 400;
    /// RFC 9449 §5.
    InvalidDpopProof = "invalid_dpop_proof", 400;
    /// RFC 9449 §8.
    UseDpopNonce = "use_dpop_nonce", 400;
}

/// What a client is told. The description is fixed text: nothing that was sent is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {description}", code.as_str())]
pub struct OAuthError {
    /// The code.
    pub code: ErrorCode,
    /// For the developer, in the characters RFC 6749 §5.2 allows.
    pub description: &'static str,
}

impl OAuthError {
    /// An error with its description.
    pub const fn new(code: ErrorCode, description: &'static str) -> Self {
        Self { code, description }
    }

    /// `invalid_request`.
    pub const fn invalid_request(description: &'static str) -> Self {
        Self::new(ErrorCode::InvalidRequest, description)
    }

    /// `invalid_client`. The same text for every cause, so that nobody learns which clients exist.
    pub const fn invalid_client() -> Self {
        Self::new(ErrorCode::InvalidClient, "client authentication failed")
    }

    /// `invalid_grant`: what `iam` refused at redemption or rotation. One text for every cause.
    pub const fn invalid_grant() -> Self {
        Self::new(
            ErrorCode::InvalidGrant,
            "the grant is invalid, expired, revoked or was issued to another client",
        )
    }

    /// The JSON answer of the token, introspection and revocation endpoints (RFC 6749 §5.2).
    ///
    /// A 401 names a challenge (RFC 9110 §15.5.2), which RFC 6749 §5.2 wants where the
    /// `Authorization` header was used.
    pub fn response(&self) -> Response {
        let body = json!({ "error": self.code.as_str(), "error_description": self.description });
        let response = Response::json(self.code.status(), &body);
        if self.code == ErrorCode::InvalidClient {
            return response.with("www-authenticate", "Basic realm=\"token\", charset=\"UTF-8\"");
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6749_s5_2_every_code_is_an_error_status_and_plain_text() {
        for code in ErrorCode::ALL {
            assert!((400..600).contains(&code.status()));
            assert!(code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        }
    }

    #[test]
    fn rfc6749_s5_2_invalid_client_is_401_with_a_challenge() {
        let response = OAuthError::invalid_client().response();
        assert_eq!(response.status, 401);
        assert!(response.header("www-authenticate").is_some_and(|value| value.starts_with("Basic ")));
        assert_eq!(response.header("cache-control"), Some("no-store"));
    }
}
