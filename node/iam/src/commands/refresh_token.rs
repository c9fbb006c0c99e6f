//! The text of a refresh token: `dom_rt_` and base64url of family (16 bytes), generation (4),
//! secret (32) and tag (16).
//!
//! The tag tells an authentic token from a guess without a read, so a guess can revoke nothing. The
//! successor is a function of the token, so a retry gets the same bytes and nothing but hashes is
//! stored.

use aws_lc_rs::hmac;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::digest::{base64url, from_base64url, sha256};
use crate::ids::{FamilyId, Id};

const PREFIX: &str = "dom_rt_";
const TOKEN_LEN: usize = 68;

/// The secret of one family, derived from the tenant's token key: nothing to store, nothing to leak
/// with the records.
pub struct FamilySecret(hmac::Key);

impl FamilySecret {
    /// Purpose of the tenant's subkey.
    pub const LABEL: &'static str = "refresh token v1";

    /// The family's secret under the tenant's subkey.
    pub fn derive(subkey: &[u8], family: FamilyId) -> Self {
        let secret = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, subkey), &family.bytes());
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.as_ref()))
    }

    fn mac(&self, message: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut out = Zeroizing::new([0; 32]);
        out.iter_mut().zip(hmac::sign(&self.0, message).as_ref()).for_each(|(to, from)| *to = *from);
        out
    }
}

/// A refresh token, parsed. Authentic only after [`RefreshToken::is_authentic`].
pub struct RefreshToken {
    bytes: Zeroizing<[u8; TOKEN_LEN]>,
}

impl RefreshToken {
    /// The first token of a family, from 256 random bits.
    pub fn first(secret: &FamilySecret, family: FamilyId, random: [u8; 32]) -> Self {
        Self::build(secret, family, 1, &random)
    }

    /// The first token of a family that a device was given: always the same for the same code.
    pub fn of_device(secret: &FamilySecret, family: FamilyId, code: &str) -> Self {
        Self::build(secret, family, 1, &secret.mac(&[b"device", code.as_bytes()].concat()))
    }

    fn build(secret: &FamilySecret, family: FamilyId, generation: u32, own: &[u8; 32]) -> Self {
        let family = family.bytes();
        let generation = generation.to_be_bytes();
        let tag = Self::tag(secret, &[&family[..], &generation, own].concat());
        let parts = family.iter().chain(&generation).chain(own).chain(tag.iter().take(16));
        let mut bytes = Zeroizing::new([0; TOKEN_LEN]);
        bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
        Self { bytes }
    }

    fn tag(secret: &FamilySecret, body: &[u8]) -> Zeroizing<[u8; 32]> {
        secret.mac(&[b"tag", body].concat())
    }

    /// Reads a token's text. Whether it is authentic is not looked at.
    pub fn parse(text: &str) -> Option<Self> {
        let decoded = Zeroizing::new(from_base64url(text.strip_prefix(PREFIX)?)?);
        let bytes: [u8; TOKEN_LEN] = decoded.as_slice().try_into().ok()?;
        Some(Self { bytes: Zeroizing::new(bytes) })
    }

    /// What the client gets.
    pub fn text(&self) -> String {
        format!("{PREFIX}{}", base64url(self.bytes.as_slice()))
    }

    /// The family it claims to be of.
    pub fn family(&self) -> FamilyId {
        FamilyId::from_bytes(self.bytes.first_chunk().copied().unwrap_or_default())
    }

    /// Its place in the chain; the first is 1.
    pub fn generation(&self) -> u32 {
        let bytes = self.bytes.get(16..20).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
        u32::from_be_bytes(bytes)
    }

    /// Whether we made it. Constant time.
    pub fn is_authentic(&self, secret: &FamilySecret) -> bool {
        let Some((body, tag)) = self.bytes.split_at_checked(TOKEN_LEN - 16) else { return false };
        let expected = Self::tag(secret, body);
        expected.get(..16).is_some_and(|expected| bool::from(expected.ct_eq(tag)))
    }

    /// The token that follows; always the same for the same token.
    #[must_use]
    pub fn successor(&self, secret: &FamilySecret) -> Self {
        let own = secret.mac(self.bytes.as_slice());
        Self::build(secret, self.family(), self.generation().saturating_add(1), &own)
    }

    /// What is stored of it.
    pub fn sha256(&self) -> [u8; 32] {
        sha256(self.bytes.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(byte: u8) -> (FamilySecret, RefreshToken) {
        let id = FamilyId::from_bytes([byte; 16]);
        let secret = FamilySecret::derive(b"subkey", id);
        let token = RefreshToken::first(&secret, id, [9; 32]);
        (secret, token)
    }

    #[test]
    fn a_token_reads_back_as_it_was_written() {
        let (secret, token) = family(7);
        let read = RefreshToken::parse(&token.text()).unwrap();
        assert_eq!((read.family(), read.generation()), (FamilyId::from_bytes([7; 16]), 1));
        assert!(read.is_authentic(&secret));
    }

    #[test]
    fn the_successor_is_a_function_of_the_token() {
        let (secret, token) = family(7);
        let (a, b) = (token.successor(&secret), token.successor(&secret));
        assert_eq!(a.text(), b.text());
        assert_eq!(a.generation(), 2);
        assert!(a.is_authentic(&secret));
        assert_ne!(a.text(), a.successor(&secret).text());
    }

    #[test]
    fn no_changed_byte_stays_authentic() {
        let (secret, token) = family(7);
        for place in 0..TOKEN_LEN {
            let mut changed = RefreshToken { bytes: token.bytes.clone() };
            changed.bytes[place] ^= 1;
            assert!(!changed.is_authentic(&secret), "byte {place}");
        }
        let (other, _) = family(8);
        assert!(!token.is_authentic(&other));
    }

    #[test]
    fn texts_that_are_no_token_are_refused() {
        let (_, token) = family(7);
        let text = token.text();
        for bad in ["", "dom_rt_", "dom_rt_AAAA", &text[1..], &text[..text.len() - 1], &format!("{text}A")] {
            assert!(RefreshToken::parse(bad).is_none(), "{bad}");
        }
    }
}
