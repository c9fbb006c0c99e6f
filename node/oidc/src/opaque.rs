//! Access tokens that say nothing to who holds them: the claims of an `at+jwt`, sealed for the tenant alone.
//!
//! `dat_` and base64url of a version byte, 24 random bytes, and AES-256-GCM ciphertext and tag. Each token has a key
//! of its own, HMAC-SHA-256 of the random bytes under the tenant's key: so many tokens are made under one key of the
//! tenant that 96 random bits of nonce would not do.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_iam::ids::{Id as _, TenantId};
use domicile_iam::model::AccessTokenClaims;

use crate::jws::{SignFault, Signer, TokenType, sign};

/// What such a token begins with, so that it is known where it turns up.
const PREFIX: &str = "dat_";
const VERSION: u8 = 1;
/// Random bytes of a token.
pub const SALT_BYTES: usize = 24;
/// Bytes of a token at most.
const BYTES_MAX: usize = 16 * 1024;

/// What makes the text of an access token out of its claims.
pub trait Mint {
    /// The claims as it makes them: without scopes that mean nothing where its tokens are for (RFC 9068 §2.2.3).
    fn narrowed(&self, claims: AccessTokenClaims) -> AccessTokenClaims {
        claims
    }

    /// The token.
    ///
    /// # Errors
    /// [`SignFault`].
    fn mint(&self, claims: &AccessTokenClaims) -> Result<String, SignFault>;
}

/// Whoever signs makes `at+jwt` (RFC 9068).
impl<S: Signer> Mint for S {
    fn mint(&self, claims: &AccessTokenClaims) -> Result<String, SignFault> {
        sign(self, TokenType::AccessToken, claims)
    }
}

/// Seals and opens a tenant's opaque tokens, and members of readable ones (`sealed_members.rs`).
pub struct OpaqueTokens {
    key: hmac::Key,
    context: Vec<u8>,
    pub(crate) members: Vec<u8>,
}

impl OpaqueTokens {
    /// `secret` is the tenant's for this.
    #[must_use]
    pub fn new(secret: &[u8; 32], tenant: TenantId) -> Self {
        let tenant = tenant.bytes();
        let context = |what: &[u8]| [what, &[VERSION], &tenant].concat();
        let (context, members) = (context(b"opaque access token"), context(b"members of an access token"));
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret), context, members }
    }

    /// A token of these claims. `salt` is random.
    ///
    /// # Errors
    /// [`SignFault`].
    pub fn seal(&self, claims: &AccessTokenClaims, salt: [u8; SALT_BYTES]) -> Result<String, SignFault> {
        let plain = serde_json::to_vec(claims).map_err(|_| SignFault::Claims)?;
        let sealed = self.seal_bytes(plain, salt, &self.context)?;
        let mut token = String::with_capacity(PREFIX.len() + sealed.len() * 4 / 3 + 4);
        token.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(sealed, &mut token);
        Ok(token)
    }

    /// The claims, if this tenant sealed them. Whether they count, the caller knows.
    #[must_use]
    pub fn open(&self, token: &str) -> Option<AccessTokenClaims> {
        let text = token.strip_prefix(PREFIX).filter(|text| text.len() <= BYTES_MAX)?;
        let plain = self.open_bytes(&URL_SAFE_NO_PAD.decode(text).ok()?, &self.context)?;
        serde_json::from_slice(&plain).ok()
    }

    /// Version, `salt`, and `plain` under the key that comes of it, of use in this `context` only.
    pub(crate) fn seal_bytes(
        &self,
        mut plain: Vec<u8>,
        salt: [u8; SALT_BYTES],
        context: &[u8],
    ) -> Result<Vec<u8>, SignFault> {
        self.key_of(&salt)
            .and_then(|key| key.seal_in_place_append_tag(nonce(), Aad::from(context), &mut plain).ok())
            .ok_or(SignFault::Key)?;
        Ok([&[VERSION][..], &salt, &plain].concat())
    }

    /// What was sealed in this `context`.
    pub(crate) fn open_bytes(&self, bytes: &[u8], context: &[u8]) -> Option<Vec<u8>> {
        let (version, rest) = bytes.split_first()?;
        let (salt, sealed) = rest.split_first_chunk::<SALT_BYTES>()?;
        if *version != VERSION {
            return None;
        }
        let mut sealed = sealed.to_vec();
        let length = self.key_of(salt)?.open_in_place(nonce(), Aad::from(context), &mut sealed).ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }

    fn key_of(&self, salt: &[u8; SALT_BYTES]) -> Option<LessSafeKey> {
        let key = hmac::sign(&self.key, salt);
        UnboundKey::new(&AES_256_GCM, key.as_ref()).ok().map(LessSafeKey::new)
    }
}

/// Whether a text can only be an opaque token.
#[must_use]
pub fn is_opaque(token: &str) -> bool {
    token.starts_with(PREFIX)
}

/// Each key seals one token.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::access_token;
    use crate::testing::{client, issue, tenant, user};

    fn tokens(secret: u8, id: u8) -> OpaqueTokens {
        OpaqueTokens::new(&[secret; 32], TenantId::from_bytes([id; 16]))
    }

    fn claims() -> AccessTokenClaims {
        access_token::for_user(&tenant(), &client(), &issue(&["openid"]), &user())
    }

    #[test]
    fn an_opaque_token_is_read_by_its_tenant_alone_and_says_nothing_to_others() {
        let token = tokens(1, 1).seal(&claims(), [7; SALT_BYTES]).unwrap();
        assert_eq!(tokens(1, 1).open(&token), Some(claims()));
        assert!(tokens(1, 2).open(&token).is_none() && tokens(2, 1).open(&token).is_none());
        assert!(is_opaque(&token) && !token.contains('.'));
        let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX).unwrap()).unwrap();
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(!holds("sub-ada") && !holds("openid") && !holds("iss"));
        let other = tokens(1, 1).seal(&claims(), [8; SALT_BYTES]).unwrap();
        assert_ne!(token, other, "the same claims twice do not look alike");
    }

    #[test]
    fn any_changed_byte_and_any_other_version_is_refused() {
        let tokens = tokens(1, 1);
        let token = tokens.seal(&claims(), [7; SALT_BYTES]).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX).unwrap()).unwrap();
        for place in [0, 1, SALT_BYTES, SALT_BYTES + 1, bytes.len() / 2, bytes.len() - 1] {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            let changed = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(changed));
            assert!(tokens.open(&changed).is_none(), "{place}");
        }
        assert!(tokens.open(&token[..token.len() - 4]).is_none());
        assert!(tokens.open(token.strip_prefix(PREFIX).unwrap()).is_none());
    }

    proptest! {
        #[test]
        fn arbitrary_tokens_never_panic(text in "(dat_)?[A-Za-z0-9_-]{0,120}") {
            prop_assert!(tokens(1, 1).open(&text).is_none());
        }
    }
}
