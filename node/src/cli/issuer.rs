//! The tenant of operators: where it is, and what its discovery document says.

use std::path::PathBuf;

use anyhow::Context as _;
use axum::body::Body;
use axum::http::Method;
use clap::Args;
use domicile_iam::commands::SYSTEM_SLUG;
use domicile_oidc::endpoint;
use serde_json::Value;
use url::Url;

use super::host;
use super::site::Site;
use super::trust::Trust;
use crate::config::Config;

/// Which cluster is meant.
#[derive(Clone, Debug, Args)]
pub struct IssuerArgs {
    /// Public origin of the cluster, as browsers see it [default: that of this host's settings, else
    /// `http://127.0.0.1:8080`]
    #[arg(long, env = "DOMICILE_URL", value_name = "URL")]
    pub(super) url: Option<String>,
    /// Settings of the node on this host [default: `/etc/domicile/domicile.toml`, where there is one]
    #[arg(long, env = "DOMICILE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Certificates (PEM) to trust for an https URL [default: the system's, and the node's own]
    #[arg(long, env = "DOMICILE_ADMIN_CA", value_name = "FILE")]
    admin_ca: Option<PathBuf>,
}

impl IssuerArgs {
    /// The settings of this host, where no URL is given.
    pub(super) fn settings(&self) -> anyhow::Result<Option<Config>> {
        match &self.url {
            Some(_) => Ok(None),
            None => host::settings(self.config.as_deref()),
        }
    }

    /// Whom to believe.
    pub(super) fn trust(&self, settings: Option<&Config>) -> Trust {
        host::public_trust(settings, self.admin_ca.as_deref())
    }

    /// What was given, else what the settings of this host say.
    pub(super) fn public_url(&self, settings: Option<&Config>) -> String {
        let own = || settings.and_then(|settings| settings.public_origin.as_ref()).map(ToString::to_string);
        self.url.clone().or_else(own).unwrap_or_else(|| host::DEV_URL.to_owned())
    }
}

/// What discovery says of the tenant of operators.
#[allow(clippy::struct_field_names, reason = "the word is the document's")]
pub(super) struct Issuer {
    pub(super) issuer: String,
    pub(super) authorize: Url,
    pub(super) token: Url,
    /// Where a device asks (RFC 8628 §4).
    pub(super) device: Option<Url>,
    /// Where tokens are given back (RFC 7009).
    pub(super) revoke: Option<Url>,
}

impl Issuer {
    /// Asks the cluster at `public_url`.
    pub(super) async fn discover(public_url: &str, trust: &Trust) -> anyhow::Result<Self> {
        let site = Site::new(public_url, trust)?;
        let path = format!("/t/{SYSTEM_SLUG}{}", endpoint::OPENID_CONFIGURATION);
        let (status, bytes) = site.send(Method::GET, &path, &[], Body::empty()).await?;
        anyhow::ensure!(status.is_success(), "{status}: there is no tenant of operators at {}", site.url());
        let document: Value = serde_json::from_slice(&bytes).context("the node's answer is not JSON")?;
        read(&document, site.url())
    }
}

/// RFC 8414 §3.3: who answers must be who was asked, or a token could go to somebody else.
fn read(document: &Value, asked: &Url) -> anyhow::Result<Issuer> {
    let text = |name| document.get(name).and_then(Value::as_str);
    let url = |name| text(name).and_then(|text| Url::parse(text).ok());
    let issuer = url("issuer").context("discovery names no issuer")?;
    let own = issuer.origin();
    anyhow::ensure!(
        own == asked.origin(),
        "the cluster calls itself {0}: give --url {0}",
        own.ascii_serialization()
    );
    let of_the_issuer = |name| url(name).filter(|url| url.origin() == own);
    Ok(Issuer {
        issuer: text("issuer").unwrap_or_default().to_owned(),
        authorize: of_the_issuer("authorization_endpoint")
            .context("discovery names no authorization endpoint of the issuer")?,
        token: of_the_issuer("token_endpoint").context("discovery names no token endpoint of the issuer")?,
        device: of_the_issuer("device_authorization_endpoint"),
        revoke: of_the_issuer("revocation_endpoint"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rfc8414_s3_3_another_origins_documents_are_refused() {
        let asked = Url::parse("https://id.example").unwrap();
        let document = |issuer: &str, token: &str| {
            json!({
                "issuer": issuer,
                "authorization_endpoint": "https://id.example/t/system/oauth2/authorize",
                "token_endpoint": token,
                "device_authorization_endpoint": "https://evil.example/device",
                "revocation_endpoint": "https://id.example/t/system/oauth2/revoke",
            })
        };
        let own = "https://id.example/t/system";
        let found = read(&document(own, "https://id.example/t/system/oauth2/token"), &asked).unwrap();
        assert!(found.device.is_none() && found.revoke.is_some(), "no endpoint of another origin is used");
        for (named, token) in [
            ("https://evil.example/t/system", "https://id.example/t/system/oauth2/token"),
            (own, "https://evil.example/token"),
            ("", ""),
        ] {
            assert!(read(&document(named, token), &asked).is_err(), "{named} {token}");
        }
    }
}
