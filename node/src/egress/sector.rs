//! Sector identifier documents (OpenID Connect Registration §5): who registers one is of the sector whose
//! host lists the redirect URIs.

use domicile_iam::ids::TenantId;
use domicile_iam::model::{ClientMetadata, SECTOR_IDENTIFIER_URI};
use url::Url;

use super::{Errand, Fetch, Purpose};

/// Why a client is not of the sector that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.rule())]
pub enum SectorFault {
    /// Not a URL, or nothing could be fetched from there.
    Fetch,
    /// Not a JSON array of strings.
    NoList,
    /// The list lacks a redirect URI.
    Missing,
}

impl SectorFault {
    /// The member to blame.
    pub const MEMBER: &'static str = SECTOR_IDENTIFIER_URI;

    /// What is wrong with it.
    #[must_use]
    pub fn rule(self) -> &'static str {
        match self {
            Self::Fetch => "cannot be fetched",
            Self::NoList => "is no list of redirect URIs",
            Self::Missing => "does not list every redirect URI",
        }
    }
}

/// Looks up the sector that `metadata` names, if it names one. It is done once: what the document says later
/// changes nothing.
///
/// # Errors
/// [`SectorFault`].
pub async fn check_sector(
    fetch: &dyn Fetch,
    tenant: TenantId,
    metadata: &ClientMetadata,
) -> Result<(), SectorFault> {
    let Some(uri) = metadata.sector_identifier_uri() else { return Ok(()) };
    let url = Url::parse(uri).map_err(|_| SectorFault::Fetch)?;
    let fetched = fetch.get(Errand::new(tenant, Purpose::Sector), &url).await.map_err(|cause| {
        tracing::info!(%cause, "a sector identifier document cannot be fetched");
        SectorFault::Fetch
    })?;
    let listed: Vec<String> = serde_json::from_slice(&fetched.body).map_err(|_| SectorFault::NoList)?;
    if metadata.redirect_uris.iter().all(|uri| listed.contains(uri)) {
        Ok(())
    } else {
        Err(SectorFault::Missing)
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use domicile_iam::ids::Id as _;
    use domicile_raft::BoxFuture;
    use serde_json::json;

    use super::super::{EgressError, Fetched};
    use super::*;

    struct Says(Result<&'static str, EgressError>);

    impl Fetch for Says {
        fn get<'a>(&'a self, errand: Errand, _url: &'a Url) -> BoxFuture<'a, Result<Fetched, EgressError>> {
            assert_eq!(errand.purpose, Purpose::Sector);
            let answer =
                self.0.map(|body| Fetched { body: Bytes::from_static(body.as_bytes()), max_age: None });
            Box::pin(async move { answer })
        }

        fn post<'a>(
            &'a self,
            _errand: Errand,
            _url: &'a Url,
            _form: String,
        ) -> BoxFuture<'a, Result<(), EgressError>> {
            Box::pin(async { Err(EgressError::Connect) })
        }
    }

    #[tokio::test]
    async fn oidc_registration_s5_a_sector_lists_every_redirect_uri() {
        let check = async |answer, named: bool| {
            let mut whole = json!({"redirect_uris": ["https://a.example/cb", "https://b.example/cb"]});
            if named {
                whole["sector_identifier_uri"] = json!("https://a.example/sector.json");
            }
            let metadata = serde_json::from_value(whole).unwrap();
            check_sector(&Says(answer), TenantId::from_bytes([1; 16]), &metadata).await
        };
        let whole = r#"["https://b.example/cb", "https://a.example/cb", "https://c.example/cb"]"#;
        assert_eq!(check(Ok(whole), true).await, Ok(()));
        assert_eq!(check(Ok(r#"["https://a.example/cb"]"#), true).await, Err(SectorFault::Missing));
        assert_eq!(check(Ok("[]"), true).await, Err(SectorFault::Missing));
        for none in ["{}", "[1]", "no json", ""] {
            assert_eq!(check(Ok(none), true).await, Err(SectorFault::NoList), "{none}");
        }
        assert_eq!(check(Err(EgressError::Closed), true).await, Err(SectorFault::Fetch));
        assert_eq!(check(Err(EgressError::Closed), false).await, Ok(()), "nobody is asked");
    }
}
