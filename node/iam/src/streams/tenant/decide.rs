//! What may be done to a tenant.

use url::Url;

use super::event::{TenantChanged, TenantDeleted, TenantEvent, TenantIssuerRepointed};
use super::state::Tenant;
use crate::commands::{SYSTEM_SLUG, TenantPatch, TenantRefusal};
use crate::model::InvalidSetting;
use crate::streams::event_set::Change;

/// 2 to 40 of `a-z`, `0-9` and inner `-`: safe in a path and as a host label (RFC 1035 §2.3.1).
///
/// # Errors
/// [`TenantRefusal::InvalidSlug`].
pub fn check_slug(slug: &str) -> Result<(), TenantRefusal> {
    let letters = slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let edges = !slug.starts_with('-') && !slug.ends_with('-');
    if letters && edges && (2..=40).contains(&slug.len()) { Ok(()) } else { Err(TenantRefusal::InvalidSlug) }
}

/// 1 to 200 characters, no control characters.
///
/// # Errors
/// [`TenantRefusal::InvalidDisplayName`].
pub fn check_display_name(name: &str) -> Result<(), TenantRefusal> {
    let length = (1..=200).contains(&name.chars().count());
    if length && !name.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(TenantRefusal::InvalidDisplayName)
    }
}

/// An absolute http(s) URL with a host and without query and fragment (OpenID Connect Discovery §3).
/// Whether plain http is fit is the node's to say: it knows whether this is development.
///
/// # Errors
/// [`TenantRefusal::InvalidIssuer`].
pub fn check_issuer(issuer: &str) -> Result<(), TenantRefusal> {
    let url = Url::parse(issuer).map_err(|_| TenantRefusal::InvalidIssuer)?;
    let fits = matches!(url.scheme(), "https" | "http")
        && url.has_host()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
        && issuer.len() <= 255
        && !issuer.ends_with('/');
    if fits { Ok(()) } else { Err(TenantRefusal::InvalidIssuer) }
}

/// Applies a patch; `None` if it changes nothing.
///
/// # Errors
/// [`TenantRefusal`].
pub fn decide_update(
    tenant: &Tenant,
    revision: u64,
    patch: &TenantPatch,
) -> Result<Option<TenantEvent>, TenantRefusal> {
    if tenant.deleted {
        return Err(TenantRefusal::NotFound);
    }
    if patch.if_revision.is_some_and(|wanted| wanted != revision) {
        return Err(TenantRefusal::Stale { current: revision });
    }
    if let Some(name) = &patch.display_name {
        check_display_name(name)?;
    }
    if let Some(settings) = &patch.settings {
        settings.check()?;
        if tenant.slug == SYSTEM_SLUG && !settings.registration.is_closed() {
            let rule = "stays `closed` in the tenant of operators";
            return Err(InvalidSetting { field: "registration", rule }.into());
        }
    }
    let changed = TenantChanged {
        display_name: patch
            .display_name
            .clone()
            .and_then(|after| Change::between(tenant.display_name.clone(), after)),
        settings: patch.settings.clone().and_then(|after| Change::between(tenant.settings.clone(), after)),
        disabled: patch.disabled.and_then(|after| Change::between(tenant.disabled, after)),
    };
    Ok((changed != TenantChanged::default()).then_some(TenantEvent::Changed(changed)))
}

/// Another issuer; `None` if it is the same.
///
/// # Errors
/// [`TenantRefusal::InvalidIssuer`] and [`TenantRefusal::NotFound`].
pub fn decide_repoint(tenant: &Tenant, issuer: &str) -> Result<Option<TenantEvent>, TenantRefusal> {
    if tenant.deleted {
        return Err(TenantRefusal::NotFound);
    }
    check_issuer(issuer)?;
    let change = Change::between(tenant.issuer.clone(), issuer.to_owned());
    Ok(change.map(|issuer| TenantEvent::IssuerRepointed(TenantIssuerRepointed { issuer })))
}

/// Deletion; `None` if that happened before.
pub fn decide_delete(tenant: &Tenant) -> Option<TenantEvent> {
    (!tenant.deleted).then_some(TenantEvent::Deleted(TenantDeleted {}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_a_host_label() {
        for good in ["ab", "acme", "a-1", "0x"] {
            assert_eq!(check_slug(good), Ok(()), "{good}");
        }
        for bad in ["", "a", "-a", "a-", "A1", "a_b", "a.b", "ä1", &"x".repeat(41)] {
            assert_eq!(check_slug(bad), Err(TenantRefusal::InvalidSlug), "{bad}");
        }
    }

    #[test]
    fn oidc_discovery_s3_an_issuer_has_no_query_and_no_fragment() {
        assert_eq!(check_issuer("https://id.example/t/acme"), Ok(()));
        for bad in [
            "https://id.example/?a",
            "https://id.example/#a",
            "ftp://id.example",
            "id.example",
            "https://u@x",
        ] {
            assert_eq!(check_issuer(bad), Err(TenantRefusal::InvalidIssuer), "{bad}");
        }
    }
}
