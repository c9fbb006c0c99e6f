//! Bounds of what operators and nodes say.

use crate::commands::ClusterRefusal;
use crate::model::NodeAddresses;

/// The longest certificate of a region's authority.
pub const CERTIFICATE_BYTES_MAX: usize = 8 * 1024;

fn invalid(field: &str, rule: &str) -> ClusterRefusal {
    ClusterRefusal::Invalid { field: field.to_owned(), rule: rule.to_owned() }
}

/// The name of a region or zone: 1 to 40 of `a-z`, `0-9` and inner `-`.
///
/// # Errors
/// [`ClusterRefusal::Invalid`] naming `field`.
pub fn check_name(field: &str, name: &str) -> Result<(), ClusterRefusal> {
    let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let edges = !name.starts_with('-') && !name.ends_with('-');
    if letters && edges && (1..=40).contains(&name.len()) {
        Ok(())
    } else {
        Err(invalid(field, "is not 1 to 40 of a-z, 0-9 and inner hyphens"))
    }
}

/// A trust domain (SPIFFE-ID §2.1): 1 to 255 of `a-z`, `0-9`, `.`, `-` and `_`.
///
/// # Errors
/// [`ClusterRefusal::Invalid`].
pub fn check_cluster_id(id: &str) -> Result<(), ClusterRefusal> {
    let fits = id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b));
    if fits && (1..=255).contains(&id.len()) {
        Ok(())
    } else {
        Err(invalid("cluster_id", "is not 1 to 255 of a-z, 0-9, `.`, `-` and `_`"))
    }
}

/// At most 8 peer addresses and each text of at most 300 bytes without spaces and control characters.
///
/// # Errors
/// [`ClusterRefusal::Invalid`].
pub fn check_addresses(addresses: &NodeAddresses) -> Result<(), ClusterRefusal> {
    if addresses.peer.is_empty() || addresses.peer.len() > 8 {
        return Err(invalid("addresses.peer", "is not 1 to 8 addresses"));
    }
    let others = [&addresses.public, &addresses.admin, &addresses.management];
    let sane = |text: &String| (1..=300).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if addresses.peer.iter().chain(others.into_iter().flatten()).all(sane) {
        Ok(())
    } else {
        Err(invalid("addresses", "has a text that is not 1 to 300 printable ASCII characters"))
    }
}

/// Its length; whether it is a certificate is for those who use it to see.
///
/// # Errors
/// [`ClusterRefusal::Invalid`].
pub fn check_certificate(der: &[u8]) -> Result<(), ClusterRefusal> {
    if (1..=CERTIFICATE_BYTES_MAX).contains(&der.len()) {
        Ok(())
    } else {
        Err(invalid("certificate", "is not 1 to 8192 bytes"))
    }
}
