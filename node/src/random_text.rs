//! Random text for credentials.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_raft::Clock;

/// `len` random bytes as base64url.
pub(crate) fn random_text(clock: &dyn Clock, len: usize) -> String {
    let mut bytes = vec![0_u8; len];
    clock.fill_random(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}
