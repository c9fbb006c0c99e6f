//! Form tokens: a form comes from our page in this browser, or it is refused.
//!
//! Double submit, signed: the token is an HMAC over the browser cookie under a key of the tenant, so
//! that a cookie planted by a sibling host does not help. The browser's own word (`Sec-Fetch-Site`,
//! `Origin`) is checked first.

use aws_lc_rs::hmac;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::sealed::{Scope, SealError, derive};

/// Why a form is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsrfRefusal {
    /// The browser says that another site sent it.
    #[error("the form was sent by another site")]
    CrossSite,
    /// No token, or one of another browser, page or tenant.
    #[error("the form's token does not belong to this browser")]
    Token,
}

/// Makes and checks a tenant's form tokens.
pub struct FormTokens {
    key: hmac::Key,
}

impl FormTokens {
    /// `secret` is the tenant's 32-byte secret for browser state.
    ///
    /// # Errors
    /// [`SealError::Cipher`] if the key cannot be made.
    pub fn new(secret: &[u8; 32]) -> Result<Self, SealError> {
        let key = derive(secret, b"domicile form token v1").ok_or(SealError::Cipher)?;
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &key) })
    }

    /// The token of this tenant, page and browser.
    pub fn token(&self, scope: &Scope<'_>) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, &scope.bytes("form token")))
    }

    /// Compares in constant time.
    ///
    /// # Errors
    /// [`CsrfRefusal::Token`].
    pub fn check(&self, scope: &Scope<'_>, token: &str) -> Result<(), CsrfRefusal> {
        let token = URL_SAFE_NO_PAD.decode(token).map_err(|_| CsrfRefusal::Token)?;
        hmac::verify(&self.key, &scope.bytes("form token"), &token).map_err(|_| CsrfRefusal::Token)
    }
}

/// Checks what the browser says about who sent a form. `own_origin` is scheme, host and port as a
/// browser writes them. A client that says nothing (no browser, or one with headers stripped) passes
/// here and is held to the token alone.
///
/// # Errors
/// [`CsrfRefusal::CrossSite`].
pub fn check_same_origin(headers: &HeaderMap, own_origin: &str) -> Result<(), CsrfRefusal> {
    if let Some(site) = headers.get("sec-fetch-site") {
        return match site.as_bytes() {
            b"same-origin" | b"none" => Ok(()),
            _ => Err(CsrfRefusal::CrossSite),
        };
    }
    match headers.get(header::ORIGIN).map(axum::http::HeaderValue::as_bytes) {
        // `Referrer-Policy: no-referrer` makes some browsers send `null` for our own forms.
        None | Some(b"null") => Ok(()),
        Some(origin) if origin == own_origin.as_bytes() => Ok(()),
        Some(_) => Err(CsrfRefusal::CrossSite),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use domicile_iam::ids::{Id, TenantId};

    use super::*;

    fn scope(browser: &str) -> Scope<'_> {
        Scope { tenant: TenantId::from_bytes([1; 16]), purpose: "login", browser }
    }

    #[test]
    fn a_token_is_of_one_browser_page_tenant_and_key() {
        let tokens = FormTokens::new(&[5; 32]).unwrap();
        let token = tokens.token(&scope("b"));
        assert_eq!(tokens.check(&scope("b"), &token), Ok(()));
        assert_eq!(tokens.check(&scope("c"), &token), Err(CsrfRefusal::Token));
        assert_eq!(
            tokens.check(&Scope { purpose: "consent", ..scope("b") }, &token),
            Err(CsrfRefusal::Token)
        );
        let other = Scope { tenant: TenantId::from_bytes([2; 16]), ..scope("b") };
        assert_eq!(tokens.check(&other, &token), Err(CsrfRefusal::Token));
        assert_eq!(FormTokens::new(&[6; 32]).unwrap().check(&scope("b"), &token), Err(CsrfRefusal::Token));
        for broken in ["", "AAAA", "%", &token[1..]] {
            assert_eq!(tokens.check(&scope("b"), broken), Err(CsrfRefusal::Token), "{broken}");
        }
    }

    #[test]
    fn scopes_do_not_run_into_each_other() {
        let tokens = FormTokens::new(&[5; 32]).unwrap();
        let left = tokens.token(&Scope { purpose: "login", ..scope("x") });
        let right = tokens.token(&Scope { purpose: "log", ..scope("inx") });
        assert_ne!(left, right);
    }

    #[test]
    fn the_browsers_word_about_the_sender_counts() {
        let own = "https://id.example.org";
        for (name, value, expects) in [
            ("sec-fetch-site", "same-origin", Ok(())),
            ("sec-fetch-site", "none", Ok(())),
            ("sec-fetch-site", "same-site", Err(CsrfRefusal::CrossSite)),
            ("sec-fetch-site", "cross-site", Err(CsrfRefusal::CrossSite)),
            ("origin", "https://id.example.org", Ok(())),
            ("origin", "null", Ok(())),
            ("origin", "https://id.example.org.evil.example", Err(CsrfRefusal::CrossSite)),
            ("origin", "http://id.example.org", Err(CsrfRefusal::CrossSite)),
            ("accept", "text/html", Ok(())),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            assert_eq!(check_same_origin(&headers, own), expects, "{name}: {value}");
        }
    }
}
