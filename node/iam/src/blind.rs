//! Blind lookups: claims hold an HMAC of the normalised value, never the value.

use aws_lc_rs::hmac;
use precis_core::profile::PrecisFastInvocation;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use crate::proposal::{ClaimKey, ClaimKind};
use crate::seal::DataKey;

/// Raised when a normaliser or its Unicode tables change what they give; old claims then need a
/// rewrite, since the byte is part of what is hashed.
pub const NORMALISER_VERSION: u8 = 1;

/// The public key of directory slugs, which are no secret.
const SLUG_KEY: &[u8] = b"domicile directory slug v1";

/// A value that has no normal form, so nobody can hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NormaliseError {
    /// Empty, or over 1024 bytes.
    #[error("value is empty or longer than 1024 bytes")]
    Length,
    /// Breaks PRECIS UsernameCaseMapped (RFC 8265 §3.3).
    #[error("login name has characters that RFC 8265 does not allow")]
    LoginName,
    /// Not `local@domain` with a domain that IDNA can encode.
    #[error("not an e-mail address")]
    Email,
}

/// The normal form of a value: two values are the same claim if these are equal.
///
/// Login names: PRECIS UsernameCaseMapped (RFC 8265 §3.3). E-mail: local part NFKC and case-folded,
/// domain as A-labels (UTS 46). Others: as they are.
///
/// # Errors
/// [`NormaliseError`].
pub fn normalise(kind: ClaimKind, value: &str) -> Result<Zeroizing<String>, NormaliseError> {
    if value.is_empty() || value.len() > 1024 {
        return Err(NormaliseError::Length);
    }
    match kind {
        ClaimKind::LoginName => precis_profiles::UsernameCaseMapped::enforce(value)
            .map(|text| Zeroizing::new(text.into_owned()))
            .map_err(|_| NormaliseError::LoginName),
        ClaimKind::Email => email(value),
        ClaimKind::ClientId
        | ClaimKind::Slug
        | ClaimKind::Subject
        | ClaimKind::ExternalIdentity
        | ClaimKind::ResourceIdentifier => Ok(Zeroizing::new(value.to_owned())),
    }
}

fn email(value: &str) -> Result<Zeroizing<String>, NormaliseError> {
    let (local, domain) = value.rsplit_once('@').ok_or(NormaliseError::Email)?;
    if local.is_empty() || local.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(NormaliseError::Email);
    }
    let domain = idna::domain_to_ascii_strict(domain).map_err(|_| NormaliseError::Email)?;
    if domain.is_empty() {
        return Err(NormaliseError::Email);
    }
    let mut out = fold(local);
    out.push('@');
    out.push_str(&domain);
    Ok(Zeroizing::new(out))
}

/// NFKC, case-folded by way of upper case (which unfolds `ß` and final sigma), NFKC again.
fn fold(text: &str) -> String {
    text.nfkc().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfkc().collect()
}

/// HMAC-SHA-256(key, kind byte, normaliser version byte, normalised value).
fn blind(key: &[u8], kind: ClaimKind, normal: &str) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut context = hmac::Context::with_key(&key);
    context.update(&[kind.number(), NORMALISER_VERSION]);
    context.update(normal.as_bytes());
    let mut out = [0_u8; 32];
    out.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
    out
}

/// The stored key of a claim under a tenant's lookup key.
///
/// # Errors
/// [`NormaliseError`].
pub fn claim_key(lookup: &DataKey, kind: ClaimKind, value: &str) -> Result<ClaimKey, NormaliseError> {
    Ok(ClaimKey { kind, blind: blind(lookup.bytes(), kind, &normalise(kind, value)?) })
}

/// The stored key of a claim on what is public: directory slugs.
///
/// # Errors
/// [`NormaliseError`].
pub fn public_claim_key(kind: ClaimKind, value: &str) -> Result<ClaimKey, NormaliseError> {
    Ok(ClaimKey { kind, blind: blind(SLUG_KEY, kind, &normalise(kind, value)?) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]
    use super::*;

    #[track_caller]
    fn same(kind: ClaimKind, a: &str, b: &str) {
        assert_eq!(*normalise(kind, a).unwrap(), *normalise(kind, b).unwrap());
    }

    #[test]
    fn rfc8265_s3_3_login_names_map_case_and_width() {
        same(ClaimKind::LoginName, "Guybrush", "guybrush");
        same(ClaimKind::LoginName, "ａlice", "alice");
        assert_eq!(normalise(ClaimKind::LoginName, "two words"), Err(NormaliseError::LoginName));
        assert_eq!(normalise(ClaimKind::LoginName, ""), Err(NormaliseError::Length));
    }

    #[test]
    fn mail_addresses_fold_case_and_use_a_labels() {
        same(ClaimKind::Email, "Straße@Bücher.example", "STRASSE@xn--bcher-kva.EXAMPLE");
        same(ClaimKind::Email, "ΟΔΟΣ@example.com", "οδος@example.com");
        for bad in ["none", "@example.com", "a@", "a b@example.com", "a@exa mple"] {
            assert_eq!(normalise(ClaimKind::Email, bad), Err(NormaliseError::Email), "{bad}");
        }
    }

    #[test]
    fn a_value_is_another_claim_in_another_namespace() {
        let a = public_claim_key(ClaimKind::Slug, "acme").unwrap();
        let b = public_claim_key(ClaimKind::Subject, "acme").unwrap();
        assert_ne!(a.blind, b.blind);
    }
}
