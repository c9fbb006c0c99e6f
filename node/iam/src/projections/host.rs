//! Issuers that have a host of their own, found by that host.

use crate::commands::sha256;

/// The host (with port, if one is given) of an issuer without a path; `None` for others. Lower case.
pub(crate) fn own_host(issuer: &str) -> Option<String> {
    let rest = issuer.strip_prefix("https://").or_else(|| issuer.strip_prefix("http://"))?;
    let host = rest.strip_suffix('/').unwrap_or(rest);
    (!host.is_empty() && !host.contains(['/', '?', '#', '@'])).then(|| host.to_ascii_lowercase())
}

/// What the rows of a host are under.
pub(crate) fn host_key(host: &str) -> [u8; 16] {
    sha256(host.as_bytes()).first_chunk::<16>().copied().unwrap_or_default()
}
