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

/// What is personal of the person: words that stand nowhere else.
pub const CANARIES: [&str; 5] = [
    "zephyrine-canary-4417",
    "canary passphrase 7191 staple",
    "canary.mail.2209@quetzal.example",
    "Zephyrine Canarybird-Quetzal",
    "+4930555719133",
];

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
    /// Makes it, on all regions or on the one that it is `pinned` to, surviving a region where there are three and a zone else; returns once it
    /// has its voters and signs.
    ///
    /// # Errors
    /// What kept it from being made.
    pub async fn make(cluster: &Cluster, regions: usize, pinned: Option<&str>) -> anyhow::Result<Self> {
        let survive = if regions >= 3 && pinned.is_none() { "region" } else { "zone" };
        let allowed = pinned.map_or_else(|| json!("any"), |region| json!([region]));
        let wanted = json!({
            "slug": SLUG,
            "display_name": "Chaos",
            "placement": { "regions": allowed, "survive": survive },
            "settings": {
                "refresh_grace_ms": PROMISES.grace_ms,
                "token_staleness_ms": PROMISES.bound_ms,
                "profile_staleness_ms": PROMISES.bound_ms,
            },
        });
        cluster.persist(0, "/v1/tenants", &wanted).await?;
        let found = found(cluster).await?;
        let partition = found["partition"].as_u64().unwrap_or(1);
        let person = Person { username: CANARIES[0].to_owned(), password: CANARIES[1].to_owned() };
        let user = json!({
            "username": CANARIES[0],
            "password": CANARIES[1],
            "email": CANARIES[2],
            "name": CANARIES[3],
            "phone_number": CANARIES[4],
        });
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
        let able = cluster.nodes.iter().filter(|node| pinned.is_none_or(|region| node.is_in(region)));
        let voters = able.count().min(3);
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

async fn found(cluster: &Cluster) -> anyhow::Result<Value> {
    let path = format!("/v1/tenants/{SLUG}");
    let looking = async {
        loop {
            if let Ok(found) = get(cluster, &path).await {
                return found;
            }
            tokio::time::sleep(super::LOOK).await;
        }
    };
    tokio::time::timeout(super::STEP_MAX, looking).await.context("the tenant does not come to be")
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
