//! Codes of authenticator apps (RFC 6238): six digits, 30 seconds, HMAC-SHA-1, which is what all apps know.

use totp_rs::{Builder, Secret, Totp};
use zeroize::Zeroizing;

/// Bytes of a new secret: RFC 4226 §4 recommends 160 bits.
pub const SECRET_BYTES: usize = 20;
/// Seconds that a code stands for.
pub const STEP_S: u64 = 30;

/// The secret of one authenticator.
pub struct Authenticator(Totp);

impl Authenticator {
    /// From its base32 text; `None` if it is none, or under 128 bits.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::build(Secret::try_from_base32(text).ok()?, None, "")
    }

    fn build(secret: Secret, issuer: Option<&str>, account: &str) -> Option<Self> {
        // One step to either side: RFC 6238 §5.2 allows for clocks and slow typing, no more than that.
        let builder = Builder::new().with_secret(secret).with_skew(1).with_step_duration(STEP_S);
        builder.with_issuer(issuer).with_account_name(account).build().ok().map(Self)
    }

    /// The step whose code this is, at `now_s` or one step beside. Constant time.
    #[must_use]
    pub fn step_of(&self, code: &str, now_s: u64) -> Option<u64> {
        let digits: Zeroizing<String> =
            Zeroizing::new(code.chars().filter(|letter| !letter.is_whitespace()).collect());
        self.0.check(&digits, now_s)
    }
}

/// A new secret as people type it and apps read it: base32.
#[must_use]
pub fn secret_text(random: [u8; SECRET_BYTES]) -> Zeroizing<String> {
    Zeroizing::new(Secret::new_stack(random).to_base32())
}

/// The `otpauth:` address that apps take from a QR code; `None` if `secret` is none.
#[must_use]
pub fn otpauth_uri(secret: &str, issuer: &str, account: &str) -> Option<Zeroizing<String>> {
    // A colon divides the two.
    let plain = |text: &str| text.replace(':', " ").chars().take(64).collect::<String>();
    let secret = Secret::try_from_base32(secret).ok()?;
    let made = Authenticator::build(secret, Some(&plain(issuer)), &plain(account))?;
    made.0.to_url().ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The secret of RFC 6238 appendix B, and the last six of its eight digits for SHA-1.
    const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    #[test]
    fn rfc6238_appendix_b_codes_are_those_of_the_specification() {
        let totp = Authenticator::from_text(SECRET).unwrap();
        for (at, code) in
            [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (20_000_000_000, "353130")]
        {
            assert_eq!(totp.step_of(code, at), Some(at / STEP_S), "{at}");
        }
    }

    #[test]
    fn rfc6238_s5_2_a_code_counts_one_step_before_and_after() {
        let totp = Authenticator::from_text(SECRET).unwrap();
        let step = 1_234_567_890 / STEP_S;
        for (late_s, counts) in [(0, true), (30, true), (60, false)] {
            assert_eq!(totp.step_of("005924", step * STEP_S + late_s), counts.then_some(step), "{late_s}");
        }
        assert_eq!(totp.step_of("005924", (step - 1) * STEP_S), Some(step));
        assert_eq!(totp.step_of("005924", (step - 2) * STEP_S), None);
        assert_eq!(totp.step_of(" 005 924 ", step * STEP_S), Some(step), "apps show it in two groups");
        for bad in ["", "5924", "+05924", "0005924", "００５９２４"] {
            assert_eq!(totp.step_of(bad, step * STEP_S), None, "{bad}");
        }
    }

    #[test]
    fn what_an_app_reads_names_issuer_and_account() {
        let secret = secret_text([7; SECRET_BYTES]);
        assert_eq!(secret.len(), 32);
        let uri = otpauth_uri(&secret, "Acme: Ltd", "ada@example.org").unwrap();
        assert!(
            uri.starts_with("otpauth://totp/Acme%20%20Ltd:ada%40example.org?secret="),
            "{}",
            uri.as_str()
        );
        assert!(uri.contains(secret.as_str()) && uri.contains("issuer=Acme%20%20Ltd"), "{}", uri.as_str());
        assert!(otpauth_uri("AAAA", "Acme", "ada").is_none(), "RFC 4226 §4: 128 bits at least");
        assert!(Authenticator::from_text("not base32!").is_none());
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(code in "\\PC{0,40}", secret in "\\PC{0,80}", at in any::<u32>()) {
            let _ = Authenticator::from_text(&secret).map(|totp| totp.step_of(&code, u64::from(at)));
            let totp = Authenticator::from_text(SECRET).unwrap();
            prop_assert!(totp.step_of(&code, u64::from(at)).is_none() || code.chars().filter(char::is_ascii_digit).count() == 6);
            let _ = otpauth_uri(SECRET, &code, &secret);
        }
    }
}
