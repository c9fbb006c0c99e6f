//! Nonces without a store (RFC 9449 §8): the time of issue under an HMAC of the tenant's key, so that every
//! node makes and knows them.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::Timestamp;

/// How long a nonce counts, in seconds.
pub const LIFETIME_S: u64 = 300;
/// How far another node's clock may be ahead, in seconds: beyond 500 ms a node gives up leadership.
const AHEAD_S: u64 = 5;
const TAG_LEN: usize = 16;
const LABEL: &[u8] = b"DPoP nonce v1";

/// A tenant's nonces.
pub struct Nonces(hmac::Key);

impl Nonces {
    /// Under the tenant's secret for nonces.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// A nonce of this second: 32 characters of base64url, the same from every node.
    #[must_use]
    pub fn issue(&self, now: Timestamp) -> String {
        self.of(now.seconds())
    }

    fn of(&self, second: u64) -> String {
        let time = second.to_be_bytes();
        let tag = hmac::sign(&self.0, &[LABEL, &time].concat());
        let bytes: Vec<u8> = time.into_iter().chain(tag.as_ref().iter().copied().take(TAG_LEN)).collect();
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Until when a nonce of ours counts, in seconds; `None` if it is none, or counts no more.
    #[must_use]
    pub fn ends_at_s(&self, nonce: &str, now: Timestamp) -> Option<u64> {
        let bytes = URL_SAFE_NO_PAD.decode(nonce.get(..64).unwrap_or(nonce)).ok()?;
        let second = bytes.first_chunk().map(|time| u64::from_be_bytes(*time))?;
        let known = self.of(second);
        let authentic =
            aws_lc_rs::constant_time::verify_slices_are_equal(known.as_bytes(), nonce.as_bytes()).is_ok();
        let (now, end) = (now.seconds(), second.saturating_add(LIFETIME_S));
        (authentic && second <= now.saturating_add(AHEAD_S) && now < end).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::NOW;

    fn later(seconds: u64) -> Timestamp {
        NOW.plus_ms(seconds * 1_000)
    }

    #[test]
    fn rfc9449_s8_a_nonce_counts_for_its_lifetime_at_every_node_of_the_tenant() {
        let (here, there, stranger) = (Nonces::new(&[1; 32]), Nonces::new(&[1; 32]), Nonces::new(&[2; 32]));
        let nonce = here.issue(NOW);
        assert_eq!(there.ends_at_s(&nonce, NOW), Some(NOW.seconds() + LIFETIME_S));
        assert!(there.ends_at_s(&nonce, later(LIFETIME_S - 1)).is_some());
        assert_eq!(there.ends_at_s(&nonce, later(LIFETIME_S)), None);
        assert_eq!(stranger.ends_at_s(&nonce, NOW), None);
        assert!(here.ends_at_s(&here.issue(later(AHEAD_S)), NOW).is_some());
        assert_eq!(here.ends_at_s(&here.issue(later(AHEAD_S + 1)), NOW), None);
    }

    #[test]
    fn rfc9449_s8_1_a_nonce_holds_only_characters_that_a_header_may_hold() {
        let nonce = Nonces::new(&[1; 32]).issue(NOW);
        assert!(nonce.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        assert_eq!(nonce.len(), 32);
    }

    proptest! {
        #[test]
        fn a_changed_nonce_counts_for_nothing(place in 0_usize..32, other in "[A-Za-z0-9_-]") {
            let nonces = Nonces::new(&[1; 32]);
            let nonce = nonces.issue(NOW);
            let changed = format!("{}{other}{}", &nonce[..place], &nonce[place + 1..]);
            prop_assert_eq!(nonces.ends_at_s(&changed, NOW).is_some(), changed == nonce);
        }

        #[test]
        fn arbitrary_nonces_never_panic(text in "\\PC{0,80}") {
            prop_assert_eq!(Nonces::new(&[1; 32]).ends_at_s(&text, NOW), None);
        }
    }
}
