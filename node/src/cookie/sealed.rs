//! Interactions: what a login or consent page must know when its form comes back.
//!
//! An unauthenticated request never writes, so the state of an interaction travels in the form,
//! sealed with AES-256-GCM under a key of the tenant and bound to tenant, purpose and browser.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_iam::ids::{Id, TenantId};
use domicile_raft::{Clock, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

const FORMAT: u8 = 1;
const EXPIRY_LEN: usize = 8;
const TAG_LEN: usize = 16;
/// Sealed text longer than this is refused unread.
const TEXT_LEN_MAX: usize = 64 << 10;

/// What a sealed value is bound to.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Whose login it is.
    pub tenant: TenantId,
    /// Which page made it: `login`, `consent`, `logout`. Another page's value does not open.
    pub purpose: &'static str,
    /// The value of the browser cookie.
    pub browser: &'a str,
}

impl Scope<'_> {
    /// Length-prefixed, so that no two scopes give the same bytes.
    pub(super) fn bytes(&self, label: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        for part in [label.as_bytes(), &self.tenant.bytes(), self.purpose.as_bytes(), self.browser.as_bytes()]
        {
            out.extend_from_slice(&(part.len() as u64).to_be_bytes());
            out.extend_from_slice(part);
        }
        out
    }
}

/// A value that cannot be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It has no JSON form.
    #[error("not serialisable")]
    Serialize(#[from] serde_json::Error),
    /// The cipher refused.
    #[error("cipher failed")]
    Cipher,
}

/// A sealed text that does not open here and now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Cut, changed, of another tenant, page or browser.
    #[error("not an interaction of this browser")]
    Foreign,
    /// Too old: start over.
    #[error("the interaction has expired")]
    Expired,
}

/// Seals and opens a tenant's interactions.
pub struct InteractionSealer {
    key: LessSafeKey,
}

impl InteractionSealer {
    /// `secret` is the tenant's 32-byte secret for browser state; as it is kept with the tenant,
    /// pages survive a restart.
    ///
    /// # Errors
    /// [`SealError::Cipher`] if the key cannot be made.
    pub fn new(secret: &[u8; 32]) -> Result<Self, SealError> {
        let key = derive(secret, b"domicile interaction v1").ok_or(SealError::Cipher)?;
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_| SealError::Cipher)?;
        Ok(Self { key: LessSafeKey::new(key) })
    }

    /// Seals `value` for `ttl_ms`. The text is base64url.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal<T: Serialize>(
        &self,
        clock: &dyn Clock,
        scope: &Scope<'_>,
        ttl_ms: u64,
        value: &T,
    ) -> Result<String, SealError> {
        let mut nonce = [0_u8; NONCE_LEN];
        clock.fill_random(&mut nonce);
        let mut body = clock.now().plus_ms(ttl_ms).0.to_be_bytes().to_vec();
        serde_json::to_writer(&mut body, value)?;
        let aad = Aad::from(scope.bytes("interaction"));
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut body)
            .map_err(|_| SealError::Cipher)?;
        let mut out = Vec::with_capacity(1 + NONCE_LEN + body.len());
        out.push(FORMAT);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&body);
        Ok(URL_SAFE_NO_PAD.encode(out))
    }

    /// Opens what [`InteractionSealer::seal`] gave for the same scope.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open<T: DeserializeOwned>(
        &self,
        now: Timestamp,
        scope: &Scope<'_>,
        text: &str,
    ) -> Result<T, OpenError> {
        if text.len() > TEXT_LEN_MAX {
            return Err(OpenError::Foreign);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| OpenError::Foreign)?;
        let (format, rest) = bytes.split_first().ok_or(OpenError::Foreign)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN).ok_or(OpenError::Foreign)?;
        if *format != FORMAT || sealed.len() < EXPIRY_LEN + TAG_LEN {
            return Err(OpenError::Foreign);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError::Foreign)?;
        let mut sealed = sealed.to_vec();
        let aad = Aad::from(scope.bytes("interaction"));
        let plain = self.key.open_in_place(nonce, aad, &mut sealed).map_err(|_| OpenError::Foreign)?;
        let (expires, body) = plain.split_first_chunk::<EXPIRY_LEN>().ok_or(OpenError::Foreign)?;
        if now >= Timestamp(u64::from_be_bytes(*expires)) {
            return Err(OpenError::Expired);
        }
        serde_json::from_slice(body).map_err(|_| OpenError::Foreign)
    }
}

/// A subkey of `secret` for one use (RFC 5869).
pub(super) fn derive(secret: &[u8; 32], label: &[u8]) -> Option<[u8; 32]> {
    let mut key = [0_u8; 32];
    hkdf::Salt::new(hkdf::HKDF_SHA256, &[])
        .extract(secret)
        .expand(&[label], hkdf::HKDF_SHA256)
        .and_then(|output| output.fill(&mut key))
        .ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use domicile_raft::testing::ManualClock;

    use super::*;

    fn scope(browser: &str) -> Scope<'_> {
        Scope { tenant: TenantId::from_bytes([1; 16]), purpose: "login", browser }
    }

    #[test]
    fn an_interaction_opens_after_a_restart_and_until_it_expires() {
        let clock = ManualClock::new(Timestamp(1_000), 1);
        let text =
            InteractionSealer::new(&[9; 32]).unwrap().seal(&clock, &scope("b"), 60_000, &"state").unwrap();
        let restarted = InteractionSealer::new(&[9; 32]).unwrap();
        clock.advance(Duration::from_millis(59_999));
        assert_eq!(restarted.open::<String>(clock.now(), &scope("b"), &text), Ok("state".to_owned()));
        clock.advance(Duration::from_millis(1));
        assert_eq!(restarted.open::<String>(clock.now(), &scope("b"), &text), Err(OpenError::Expired));
    }

    #[test]
    fn it_opens_for_no_other_tenant_purpose_browser_or_key() {
        let clock = ManualClock::new(Timestamp(1_000), 1);
        let sealer = InteractionSealer::new(&[9; 32]).unwrap();
        let text = sealer.seal(&clock, &scope("b"), 60_000, &1_u8).unwrap();
        let open =
            |sealer: &InteractionSealer, scope: &Scope<'_>| sealer.open::<u8>(clock.now(), scope, &text);
        let other_tenant = Scope { tenant: TenantId::from_bytes([2; 16]), ..scope("b") };
        let other_purpose = Scope { purpose: "consent", ..scope("b") };
        assert_eq!(open(&sealer, &other_tenant), Err(OpenError::Foreign));
        assert_eq!(open(&sealer, &other_purpose), Err(OpenError::Foreign));
        assert_eq!(open(&sealer, &scope("c")), Err(OpenError::Foreign));
        assert_eq!(open(&InteractionSealer::new(&[8; 32]).unwrap(), &scope("b")), Err(OpenError::Foreign));
    }

    #[test]
    fn any_changed_or_missing_byte_is_refused() {
        let clock = ManualClock::new(Timestamp(1_000), 1);
        let sealer = InteractionSealer::new(&[9; 32]).unwrap();
        let text = sealer.seal(&clock, &scope("b"), 60_000, &[1, 2, 3]).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            let changed = sealer.open::<Vec<u8>>(clock.now(), &scope("b"), &URL_SAFE_NO_PAD.encode(changed));
            assert_eq!(changed, Err(OpenError::Foreign), "{place}");
            let cut = URL_SAFE_NO_PAD.encode(&bytes[..place]);
            assert_eq!(
                sealer.open::<Vec<u8>>(clock.now(), &scope("b"), &cut),
                Err(OpenError::Foreign),
                "{place}"
            );
        }
        assert_eq!(sealer.open::<Vec<u8>>(clock.now(), &scope("b"), "%%"), Err(OpenError::Foreign));
    }
}
