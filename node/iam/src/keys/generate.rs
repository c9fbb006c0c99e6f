//! Making key pairs. RSA takes a tenth of a second and more: call it on a blocking thread.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _, RsaKeyPair,
};
use zeroize::Zeroizing;

use super::KeyFault;
use crate::model::SigningAlgorithm;
use crate::streams::signing_key::PublicKey;

/// A fresh key pair.
pub struct GeneratedKey {
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// PKCS#8, to be wrapped.
    pub private_pkcs8: Zeroizing<Vec<u8>>,
    /// Goes into the event.
    pub public_key: PublicKey,
}

/// Makes a key pair: RSA of 2048 bits, P-256, P-384 or Ed25519.
///
/// # Errors
/// [`KeyFault`].
pub fn generate(algorithm: SigningAlgorithm) -> Result<GeneratedKey, KeyFault> {
    let random = SystemRandom::new();
    let (private_pkcs8, public_key) = match algorithm {
        SigningAlgorithm::RS256 | SigningAlgorithm::PS256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyFault)?;
            let private = pair.as_der().map_err(|_| KeyFault)?;
            (private.as_ref().to_vec(), rsa_public(pair.public_key().as_ref()).ok_or(KeyFault)?)
        }
        SigningAlgorithm::ES256 => {
            let (private, [x, y]) = ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, 32, &random)?;
            (private, PublicKey::P256 { x, y })
        }
        SigningAlgorithm::ES384 => {
            let (private, [x, y]) = ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, 48, &random)?;
            (private, PublicKey::P384 { x, y })
        }
        SigningAlgorithm::EdDSA => {
            let private = Ed25519KeyPair::generate_pkcs8(&random).map_err(|_| KeyFault)?;
            let pair = Ed25519KeyPair::from_pkcs8(private.as_ref()).map_err(|_| KeyFault)?;
            (private.as_ref().to_vec(), PublicKey::Ed25519 { x: pair.public_key().as_ref().to_vec() })
        }
    };
    Ok(GeneratedKey { algorithm, private_pkcs8: Zeroizing::new(private_pkcs8), public_key })
}

/// A key pair on a curve whose coordinates have `length` bytes.
fn ecdsa(
    curve: &'static EcdsaSigningAlgorithm,
    length: usize,
    random: &SystemRandom,
) -> Result<(Vec<u8>, [Vec<u8>; 2]), KeyFault> {
    let private = EcdsaKeyPair::generate_pkcs8(curve, random).map_err(|_| KeyFault)?;
    let pair = EcdsaKeyPair::from_pkcs8(curve, private.as_ref()).map_err(|_| KeyFault)?;
    let point = coordinates(pair.public_key().as_ref(), length).ok_or(KeyFault)?;
    Ok((private.as_ref().to_vec(), point))
}

/// Of an uncompressed point: 4, x, y (SEC 1 §2.3.3).
fn coordinates(point: &[u8], length: usize) -> Option<[Vec<u8>; 2]> {
    let (&form, coordinates) = point.split_first()?;
    let (x, y) = coordinates.split_at_checked(length)?;
    (form == 4 && y.len() == length).then(|| [x.to_vec(), y.to_vec()])
}

/// `RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }` (RFC 8017 appendix A.1.1).
fn rsa_public(der: &[u8]) -> Option<PublicKey> {
    let (body, rest) = der_value(der, 0x30)?;
    let (modulus, after) = der_value(body, 0x02)?;
    let (exponent, end) = der_value(after, 0x02)?;
    let magnitude =
        |integer: &[u8]| integer.iter().copied().skip_while(|&byte| byte == 0).collect::<Vec<u8>>();
    (rest.is_empty() && end.is_empty())
        .then(|| PublicKey::Rsa { n: magnitude(modulus), e: magnitude(exponent) })
}

/// The content of the first DER element, which must have `tag`, and what follows it.
fn der_value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        let len = bytes
            .iter()
            .try_fold(0_usize, |len, &byte| len.checked_mul(256)?.checked_add(usize::from(byte)))?;
        (len, rest)
    };
    if found == tag { rest.split_at_checked(len) } else { None }
}
