//! The tenant that the workloads use.

use anyhow::Context as _;
use reqwest::Method;
use serde_json::{Value, json};

use super::{AdminRequest, Cluster};
use crate::check::Promises;
use crate::client::{App, Door, Person, Provider};

const SLUG: &str = "chaos";
const REDIRECT_URI: &str = "http://127.0.0.1:9999/cb";
/// Short, so that a run sees both sides of them.
const PROMISES: Promises = Promises { grace_ms: 3_000, bound_ms: 2_000 };

/// A tenant with an app and a person.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its name in paths.
    pub slug: String,
    /// Where it lives.
    pub partition: u64,
    /// Its endpoints.
    pub provider: Provider,
    /// A client.
    pub app: App,
    /// A user.
    pub person: Person,
    /// What its settings promise.
    pub promises: Promises,
}

impl Tenant {
    /// Makes it, on all regions, surviving a region where there are three and a zone else; returns once it
    /// has its voters and signs.
    ///
    /// # Errors
    /// What kept it from being made.
    pub async fn make(cluster: &Cluster, regions: usize) -> anyhow::Result<Self> {
        let survive = if regions >= 3 { "region" } else { "zone" };
        let wanted = json!({
            "slug": SLUG,
            "display_name": "Chaos",
            "placement": { "regions": "any", "survive": survive },
            "settings": {
                "refresh_grace_ms": PROMISES.grace_ms,
                "token_staleness_ms": PROMISES.bound_ms,
                "profile_staleness_ms": PROMISES.bound_ms,
            },
        });
        cluster.persist(0, "/v1/tenants", &wanted).await?;
        let found = get(cluster, &format!("/v1/tenants/{SLUG}")).await?;
        let partition = found["partition"].as_u64().unwrap_or(1);
        let person =
            Person { username: "ada".to_owned(), password: "correct horse battery staple".to_owned() };
        let user = json!({"username": person.username, "password": person.password});
        cluster.persist(0, &format!("/v1/tenants/{SLUG}/users"), &user).await?;
        let client = json!({
            "client_name": "Chaos",
            "redirect_uris": [REDIRECT_URI],
            "response_types": ["code"],
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
            "token_endpoint_auth_method": "client_secret_basic",
            "require_pkce": false,
        });
        let client = cluster.persist(0, &format!("/v1/tenants/{SLUG}/clients"), &client).await?;
        let text = |name: &str| client.get(name).and_then(Value::as_str).map(str::to_owned);
        let app = App {
            id: text("client_id").context("the client has no id")?,
            secret: text("client_secret").context("the client has no secret")?,
            redirect_uri: REDIRECT_URI.to_owned(),
        };
        let voters = cluster.nodes.len().min(3);
        cluster
            .until("the tenant's voters", |view| {
                view.partition(partition)
                    .is_some_and(|one| one.available && one.voters >= voters && one.caught_up)
            })
            .await?;
        signs(cluster).await?;
        let issuer = found["issuer"].as_str().context("a tenant without an issuer")?;
        let provider = Provider::discover(&cluster.http, issuer, &Door::Named).await?;
        Ok(Self { slug: SLUG.to_owned(), partition, provider, app, person, promises: PROMISES })
    }

    /// A path of the admin API below the tenant.
    pub fn path(&self, rest: &str) -> String {
        format!("/v1/tenants/{}{rest}", self.slug)
    }
}

async fn get(cluster: &Cluster, path: &str) -> anyhow::Result<Value> {
    let request = AdminRequest { method: Method::GET, path, key: None, consistency: None, body: None };
    let answer = cluster.admin(&cluster.http, 0, request).await?;
    anyhow::ensure!(answer.is_success(), "{path}: {}", answer.told());
    Ok(answer.json())
}

/// RSA keys are made in the background; the default algorithm needs one.
async fn signs(cluster: &Cluster) -> anyhow::Result<()> {
    let waiting = async {
        loop {
            if let Ok(found) = get(cluster, &format!("/v1/tenants/{SLUG}/keys")).await {
                let keys = found["items"].as_array().cloned().unwrap_or_default();
                if keys.iter().any(|key| key["alg"] == "RS256" && key["phase"] == "active") {
                    return;
                }
            }
            tokio::time::sleep(super::LOOK).await;
        }
    };
    tokio::time::timeout(super::STEP_MAX, waiting).await.context("the tenant has no RSA key")
}
