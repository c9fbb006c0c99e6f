//! The tenant that the workloads use.

use anyhow::Context as _;
use reqwest::Method;
use serde_json::{Value, json};

use super::{AdminRequest, Cluster};
use crate::check::Promises;
use crate::client::{App, Door, Person, Provider};

const SLUG: &str = "chaos";
const REDIRECT_URI: &str = "http://127.0.0.1:9999/cb";

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
    /// The nodes that clients use: all that serve it.
    pub doors: Vec<usize>,
}

/// Where a tenant may be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Home<'a> {
    /// The only region; any if absent.
    pub pinned: Option<&'a str>,
    /// Whether only nodes there handle what is sent to it (`edge = placement`).
    pub sealed: bool,
}

impl Tenant {
    /// Makes it, on all regions or on the one that it is pinned to, surviving a region where there are three and a zone
    /// else; returns once it has its voters and signs.
    ///
    /// # Errors
    /// What kept it from being made.
    pub async fn make(
        cluster: &Cluster,
        regions: usize,
        home: Home<'_>,
        promises: Promises,
    ) -> anyhow::Result<Self> {
        let pinned = home.pinned;
        let able = cluster.nodes.iter().zip(0_usize..);
        let able = able.filter(|(node, _)| pinned.is_none_or(|region| node.is_in(region)));
        let able: Vec<usize> = able.map(|(_, turn)| turn).collect();
        anyhow::ensure!(!home.sealed || able.contains(&0), "the first node would not serve the tenant");
        let survive = if regions >= 3 && pinned.is_none() { "region" } else { "zone" };
        let edge = if home.sealed { "placement" } else { "any" };
        let allowed = pinned.map_or_else(|| json!("any"), |region| json!([region]));
        let wanted = json!({
            "slug": SLUG,
            "display_name": "Chaos",
            "placement": { "regions": allowed, "survive": survive },
            "settings": {
                "refresh_grace_ms": promises.grace_ms,
                "token_staleness_ms": promises.bound_ms,
                "profile_staleness_ms": promises.bound_ms,
                "edge": edge,
            },
        });
        cluster.persist(0, "/v1/tenants", &wanted).await?;
        let found = found(cluster).await?;
        let partition = found["partition"].as_u64().unwrap_or(1);
        let person = Person { username: CANARIES[0].to_owned(), password: CANARIES[1].to_owned() };
        cluster.persist(0, &format!("/v1/tenants/{SLUG}/users"), &canary()).await?;
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
        let voters = able.len().min(3);
        cluster
            .until("the tenant's voters", |view| {
                view.partition(partition)
                    .is_some_and(|one| one.available && one.voters >= voters && one.caught_up)
            })
            .await?;
        signs(cluster).await?;
        let issuer = found["issuer"].as_str().context("a tenant without an issuer")?;
        let provider = Provider::discover(&cluster.http, issuer, &Door::Named).await?;
        if pinned.is_some() {
            say_again(cluster, &able).await?;
        }
        let doors = if home.sealed { able } else { (0..cluster.nodes.len()).collect() };
        Ok(Self { slug: SLUG.to_owned(), partition, provider, app, person, promises, doors })
    }

    /// A path of the admin API below the tenant.
    pub fn path(&self, rest: &str) -> String {
        format!("/v1/tenants/{}{rest}", self.slug)
    }
}

/// The person, as the admin API takes it.
fn canary() -> Value {
    json!({
        "username": CANARIES[0],
        "password": CANARIES[1],
        "email": CANARIES[2],
        "name": CANARIES[3],
        "phone_number": CANARIES[4],
    })
}

/// Asks for the person once more through every node that may hold it. It is refused, after the others have asked
/// the leader: so every word was on a link between nodes that may have it.
async fn say_again(cluster: &Cluster, able: &[usize]) -> anyhow::Result<()> {
    for turn in able {
        cluster.persist(*turn, &format!("/v1/tenants/{SLUG}/users"), &canary()).await?;
    }
    Ok(())
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
