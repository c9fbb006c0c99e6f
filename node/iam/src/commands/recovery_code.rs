//! Recovery codes: what takes the place of an authenticator that was lost, each once.

use serde_bytes::ByteArray;
use zeroize::Zeroizing;

use super::digest::sha256;
use crate::execute::Fresh;
use crate::ids::{Id, UserId};

/// Codes that a user is given at a time.
pub const RECOVERY_CODES: usize = 10;
/// Without what looks alike: no `0`, `1`, `i`, `l`, `o` and `u`; 32 less two that are not needed.
const ALPHABET: &[u8; 30] = b"23456789abcdefghjkmnpqrstvwxyz";
/// 30^16: 78 bits, so that a plain hash cannot be tried out.
const LETTERS: usize = 16;

/// The letters that count: what people add for reading is left out.
fn normal(text: &str) -> Zeroizing<String> {
    let letters = text.chars().filter(|letter| !letter.is_whitespace() && !letter.is_ascii_punctuation());
    Zeroizing::new(letters.map(|letter| letter.to_ascii_lowercase()).take(LETTERS + 1).collect())
}

/// What is kept of a code of this user.
pub(super) fn hash(user: UserId, code: &str) -> [u8; 32] {
    let normal = normal(code);
    sha256(&[b"recovery code v1".as_slice(), &user.bytes(), normal.as_bytes()].concat())
}

/// New codes in four groups each, and what is kept of them.
pub(super) fn new_codes(user: UserId, fresh: &mut Fresh) -> (Vec<String>, Vec<ByteArray<32>>) {
    let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| new_code(fresh)).collect();
    let hashes = codes.iter().map(|code| ByteArray::new(hash(user, code))).collect();
    (codes, hashes)
}

fn new_code(fresh: &mut Fresh) -> String {
    let mut code = String::with_capacity(LETTERS + 3);
    let mut count = 0_usize;
    while count < LETTERS {
        // Bytes beyond a multiple of 30 are passed over: each letter is as likely as the others.
        for byte in fresh.bytes::<32>().into_iter().filter(|byte| *byte < 240) {
            let Some(letter) = ALPHABET.get(usize::from(byte % 30)).filter(|_| count < LETTERS) else {
                break;
            };
            if count > 0 && count.is_multiple_of(4) {
                code.push('-');
            }
            code.push(char::from(*letter));
            count += 1;
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use domicile_raft::Timestamp;

    use super::*;

    #[test]
    fn recovery_codes_are_read_leniently_and_kept_as_hashes_of_one_user() {
        let mut fresh = Fresh::new(Timestamp(0), &Zeroizing::new([7; 32]));
        let user = UserId::from_bytes([1; 16]);
        let (codes, hashes) = new_codes(user, &mut fresh);
        assert_eq!((codes.len(), hashes.len()), (RECOVERY_CODES, RECOVERY_CODES));
        let mut seen = std::collections::BTreeSet::new();
        for (code, kept) in codes.iter().zip(&hashes) {
            assert_eq!((code.len(), code.matches('-').count()), (LETTERS + 3, 3), "{code}");
            assert!(seen.insert(code.clone()));
            for typed in [code.clone(), code.to_uppercase(), code.replace('-', " "), format!(" {code}\n")] {
                assert_eq!(ByteArray::new(hash(user, &typed)), *kept, "{typed}");
            }
            assert_ne!(ByteArray::new(hash(UserId::from_bytes([2; 16]), code)), *kept);
            assert_ne!(ByteArray::new(hash(user, &format!("{code}a"))), *kept);
        }
    }
}
