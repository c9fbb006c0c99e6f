//! Which provider, and as whom: from flags, or from the ready file of `domicile dev` or `domicile demo`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;

use crate::client::{App, Person};

const REDIRECT_URI: &str = "http://127.0.0.1:9999/cb";

/// A provider and who there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The issuer's URL.
    pub issuer: String,
    /// A client with a secret that may use codes, refresh tokens and client credentials.
    pub app: App,
    /// A user with a password.
    pub person: Person,
    /// Scope of the client credentials grant, where one is needed.
    pub token_scope: Option<String>,
}

/// Flags that say the same.
#[derive(Clone, Debug, Args)]
pub struct TargetArgs {
    /// Issuer of any OpenID provider, over plain http
    #[arg(long, value_name = "URL", required_unless_present = "ready_file")]
    target: Option<String>,
    /// Ready file of `domicile dev` or `domicile demo`: gives all of the rest
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Which tenant of a demo's ready file; the last one if absent
    #[arg(long, value_name = "SLUG")]
    tenant: Option<String>,
    /// The client
    #[arg(long, default_value = "demo")]
    client_id: String,
    /// Its secret
    #[arg(long, env = "LOAD_CLIENT_SECRET", hide_env_values = true, default_value = "")]
    client_secret: String,
    /// One of its redirect URIs; nothing needs to listen there
    #[arg(long, default_value = REDIRECT_URI)]
    redirect_uri: String,
    /// The user
    #[arg(long, default_value = "demo")]
    username: String,
    /// Their password
    #[arg(long, env = "LOAD_PASSWORD", hide_env_values = true, default_value = "")]
    password: String,
    /// Scope of the client credentials grant
    #[arg(long)]
    token_scope: Option<String>,
}

impl TargetArgs {
    /// The target that they name.
    ///
    /// # Errors
    /// The ready file cannot be used, or the address is not plain http.
    pub fn target(&self) -> anyhow::Result<Target> {
        let target = match (&self.ready_file, &self.target) {
            (Some(path), _) => from_ready_file(path, self.tenant.as_deref())?,
            (None, Some(issuer)) => Target {
                issuer: issuer.clone(),
                app: App {
                    id: self.client_id.clone(),
                    secret: self.client_secret.clone(),
                    redirect_uri: self.redirect_uri.clone(),
                },
                person: Person { username: self.username.clone(), password: self.password.clone() },
                token_scope: self.token_scope.clone(),
            },
            (None, None) => bail!("--target or --ready-file says where to"),
        };
        if !target.issuer.starts_with("http://") {
            bail!(
                "`{}` is not plain http: the cost of TLS is the client's too, and would be measured",
                target.issuer
            );
        }
        Ok(target)
    }
}

fn from_ready_file(path: &Path, tenant: Option<&str>) -> anyhow::Result<Target> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let ready: Value = serde_json::from_slice(&bytes)?;
    let place = match ready.get("tenants").and_then(Value::as_array) {
        None => &ready,
        Some(tenants) => tenants
            .iter()
            .rfind(|one| tenant.is_none_or(|slug| one.get("slug").and_then(Value::as_str) == Some(slug)))
            .context("the ready file has no such tenant")?,
    };
    let text = |name: &str| {
        let found = place.get(name).and_then(Value::as_str).map(str::to_owned);
        found.with_context(|| format!("{} has no `{name}`", path.display()))
    };
    Ok(Target {
        issuer: text("issuer")?,
        app: App {
            id: text("client_id")?,
            secret: text("client_secret")?,
            redirect_uri: REDIRECT_URI.to_owned(),
        },
        person: Person { username: text("username")?, password: text("password")? },
        token_scope: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, tenant: Option<&str>) -> anyhow::Result<Target> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        from_ready_file(file.path(), tenant)
    }

    #[test]
    fn both_kinds_of_ready_file_are_read() {
        let one = |issuer: &str, slug: &str| {
            format!(
                r#"{{"slug":"{slug}","issuer":"{issuer}","client_id":"c","client_secret":"s","username":"u","password":"p"}}"#
            )
        };
        assert_eq!(read(&one("http://a", "x"), None).unwrap().issuer, "http://a");
        let demo = format!(r#"{{"tenants":[{},{}]}}"#, one("http://a", "x"), one("http://b", "y"));
        assert_eq!(read(&demo, Some("x")).unwrap().issuer, "http://a");
        assert_eq!(read(&demo, None).unwrap().issuer, "http://b");
        assert!(read(&demo, Some("z")).is_err());
        assert!(read("{}", None).unwrap_err().to_string().contains("no `issuer`"));
    }
}
