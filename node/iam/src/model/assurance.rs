//! What the proofs of a session amount to: `acr`, `amr` and `auth_time`.

use super::token::Authentication;

/// The assurance that a password alone gives.
pub const ACR_PASSWORD: &str = "urn:domicile:acr:password";
/// The assurance that a password and a second factor after it give.
pub const ACR_TWO_FACTORS: &str = "urn:domicile:acr:two-factors";
/// RFC 8176: a one-time password; also a recovery code, which is one.
pub const METHOD_OTP: &str = "otp";
/// RFC 8176: more than one factor.
const METHOD_MFA: &str = "mfa";

/// What counts of a session's proofs: the last that may come first, and whether a second factor followed it.
///
/// A second factor before the last password says nothing: who knows the new password need not be who had the
/// device then. So each login asks for both, and a second factor alone never makes a login look newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assurance<'a> {
    /// The last proof that is no second factor; its time is `auth_time`.
    pub first: &'a Authentication,
    /// The last second factor after it.
    pub second: Option<&'a Authentication>,
}

impl<'a> Assurance<'a> {
    /// `None` where there is no proof at all.
    pub fn of(authentications: &'a [Authentication]) -> Option<Self> {
        let place = authentications.iter().rposition(|proof| proof.method != METHOD_OTP)?;
        let (first, after) = authentications.get(place..)?.split_first()?;
        Some(Self { first, second: after.last() })
    }

    /// The `acr` values that are reached, the strongest first.
    pub fn reached(&self) -> Vec<&'a str> {
        let first = Some(self.first.acr.as_str()).filter(|acr| !acr.is_empty());
        self.second.map(|second| second.acr.as_str()).into_iter().chain(first).collect()
    }

    /// `amr` (RFC 8176), in order.
    pub fn methods(&self) -> Vec<String> {
        let second = self.second.map(|second| [METHOD_MFA, second.method.as_str()]);
        let mut methods: Vec<&str> =
            second.into_iter().flatten().chain([self.first.method.as_str()]).collect();
        methods.sort_unstable();
        methods.dedup();
        methods.into_iter().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use domicile_raft::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn proof(method: &str, at: u64) -> Authentication {
        let acr = if method == METHOD_OTP { ACR_TWO_FACTORS } else { ACR_PASSWORD };
        Authentication { method: method.to_owned(), at: Timestamp(at), acr: acr.to_owned() }
    }

    fn of(methods: &[&str]) -> Option<(Vec<String>, Vec<String>, u64)> {
        let list: Vec<_> = methods.iter().zip(1..).map(|(method, at)| proof(method, at)).collect();
        let assurance = Assurance::of(&list)?;
        let reached = assurance.reached().into_iter().map(str::to_owned).collect();
        Some((reached, assurance.methods(), assurance.first.at.0))
    }

    #[test]
    fn rfc8176_s2_two_factors_are_a_password_and_a_code_after_it() {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let one = |at| Some((texts(&[ACR_PASSWORD]), texts(&["pwd"]), at));
        let two = |at| Some((texts(&[ACR_TWO_FACTORS, ACR_PASSWORD]), texts(&["mfa", "otp", "pwd"]), at));
        assert_eq!(of(&["pwd"]), one(1));
        assert_eq!(of(&["pwd", "otp"]), two(1));
        assert_eq!(of(&["pwd", "otp", "otp"]), two(1), "a code makes no login newer");
        assert_eq!(of(&["pwd", "otp", "pwd"]), one(3), "a new login asks for both");
        assert_eq!(of(&["pwd", "otp", "pwd", "otp"]), two(3));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["otp"]), None, "never before the password");
    }

    proptest! {
        #[test]
        fn two_factors_are_reached_exactly_if_the_last_proof_is_a_code_after_a_password(codes in prop::collection::vec(any::<bool>(), 0..12)) {
            let methods: Vec<&str> = codes.iter().map(|code| if *code { "otp" } else { "pwd" }).collect();
            let reached = of(&methods).is_some_and(|(reached, ..)| reached.contains(&ACR_TWO_FACTORS.to_owned()));
            prop_assert_eq!(reached, codes.last() == Some(&true) && codes.contains(&false));
        }
    }
}
