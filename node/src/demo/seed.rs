//! The demo's tenants, each with a user and a client like those of `dev`, made through the admin API.
//! Every step looks first, so that a start after a crash in the middle goes on where the last one stopped.

use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::http::{Method, StatusCode};
use domicile_raft::SystemClock;
use serde_json::{Value, json};

use super::layout::{DemoTenant, Layout};
use super::ready::Made;
use crate::cli::{AdminClient, AdminClientError};
use crate::random_text::random_text;

/// How long the cluster may take until it can place a tenant.
const PLACE_MAX: Duration = Duration::from_mins(2);
const AGAIN: Duration = Duration::from_millis(200);
/// Of an idempotency key.
const KEY_BYTES: usize = 16;
const REDIRECT_URIS: [&str; 2] = ["http://127.0.0.1:9999/cb", "http://localhost:3000/callback"];

/// Makes a tenant with what is in it; `None` where the nodes cannot hold it, which is told.
pub(super) async fn seed(
    admin: &AdminClient,
    layout: &mut Layout,
    turn: usize,
) -> anyhow::Result<Result<Made, String>> {
    let Some(tenant) = layout.tenants.get(turn).cloned() else { bail!("no such tenant") };
    let document = match tenant_document(admin, &tenant).await? {
        Ok(document) => document,
        Err(reason) => return Ok(Err(reason)),
    };
    user(admin, &tenant).await?;
    if tenant.client_secret.is_none() {
        let secret = client_secret(admin, &tenant).await?;
        if let Some(tenant) = layout.tenants.get_mut(turn) {
            tenant.client_secret = Some(secret);
        }
        layout.store()?;
    }
    keys(admin, &tenant).await?;
    let issuer = document.get("issuer").and_then(Value::as_str).context("a tenant without an issuer")?;
    let partition = document.get("partition").and_then(Value::as_u64).unwrap_or(1);
    Ok(Ok(Made { slug: tenant.slug, partition, issuer: issuer.to_owned() }))
}

/// The tenant's document. A placement that cannot be had is an answer, everything else is tried again.
async fn tenant_document(admin: &AdminClient, tenant: &DemoTenant) -> anyhow::Result<Result<Value, String>> {
    let body = match &tenant.region {
        Some(region) => json!({
            "slug": tenant.slug,
            "display_name": format!("In {region}"),
            "placement": tenant.placement(),
        }),
        // It gets the cluster's default, which is the same; asked for, that needs three zones.
        None => json!({ "slug": tenant.slug, "display_name": "Everywhere" }),
    };
    let path = format!("/v1/tenants/{}", tenant.slug);
    let making = async {
        // The same at each start: what one that was stopped half way began goes on.
        let mut key = format!("demo-{}", tenant.slug);
        loop {
            match admin.call(Method::GET, &path, None).await {
                Ok(found) => return anyhow::Ok(Ok(found)),
                Err(AdminClientError::Refused { status: StatusCode::NOT_FOUND, .. }) => {}
                Err(error) => again(error).await?,
            }
            match admin.persist(&key, Method::POST, "/v1/tenants", Some(&body)).await {
                Ok(made) => return Ok(Ok(made)),
                Err(AdminClientError::Refused { status: StatusCode::UNPROCESSABLE_ENTITY, text, .. }) => {
                    return Ok(Err(text));
                }
                Err(error) => {
                    // What was begun ran out, and the key stands for that: the next try is another one.
                    if matches!(error, AdminClientError::Refused { status: StatusCode::CONFLICT, .. }) {
                        key = random_text(&SystemClock::new(), KEY_BYTES);
                    }
                    again(error).await?;
                }
            }
        }
    };
    tokio::time::timeout(PLACE_MAX, making)
        .await
        .with_context(|| format!("tenant {} cannot be made", tenant.slug))?
}

async fn user(admin: &AdminClient, tenant: &DemoTenant) -> anyhow::Result<()> {
    let body = json!({
        "username": tenant.username,
        "password": tenant.password,
        "email": format!("{}@example.org", tenant.username),
        "email_verified": true,
        "name": "Demo User",
        "given_name": "Demo",
        "family_name": "User",
    });
    let path = format!("/v1/tenants/{}/users", tenant.slug);
    persist(admin, &path, &body).await.map(drop).context("the demo user cannot be made")
}

/// Registers the client, or gives one whose secret was lost a new secret.
async fn client_secret(admin: &AdminClient, tenant: &DemoTenant) -> anyhow::Result<String> {
    let body = json!({
        "client_id": tenant.client_id,
        "client_name": "Demo application",
        "redirect_uris": REDIRECT_URIS,
        "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
        "token_endpoint_auth_method": "client_secret_basic",
        "require_pkce": false,
    });
    let path = format!("/v1/tenants/{}/clients", tenant.slug);
    let mut answer = persist(admin, &path, &body).await.context("the demo client cannot be made")?;
    if answer.is_none() {
        let secret = format!("{path}/{}/secret", tenant.client_id);
        answer = persist(admin, &secret, &json!({})).await?;
    }
    let secret = answer.as_ref().and_then(|answer| answer.get("client_secret")).and_then(Value::as_str);
    secret.map(str::to_owned).context("the demo client has no secret")
}

/// Waits until RS256 signs, the default of OpenID Connect: RSA keys are made in the background.
async fn keys(admin: &AdminClient, tenant: &DemoTenant) -> anyhow::Result<()> {
    let path = format!("/v1/tenants/{}/keys", tenant.slug);
    let signs = |key: &Value| {
        key.get("alg").and_then(Value::as_str) == Some("RS256")
            && key.get("phase").and_then(Value::as_str) == Some("active")
    };
    let waiting = async {
        loop {
            match admin.call(Method::GET, &path, None).await {
                Ok(found)
                    if found
                        .get("items")
                        .and_then(Value::as_array)
                        .is_some_and(|keys| keys.iter().any(signs)) =>
                {
                    return anyhow::Ok(());
                }
                Ok(_) => tokio::time::sleep(AGAIN).await,
                Err(error) => again(error).await?,
            }
        }
    };
    tokio::time::timeout(PLACE_MAX, waiting)
        .await
        .with_context(|| format!("tenant {} has no RSA key", tenant.slug))?
}

/// POSTs until it is done; `None` if it was there already.
pub(super) async fn persist(admin: &AdminClient, path: &str, body: &Value) -> anyhow::Result<Option<Value>> {
    let key = random_text(&SystemClock::new(), KEY_BYTES);
    let making = async {
        loop {
            match admin.persist(&key, Method::POST, path, Some(body)).await {
                Ok(made) => return anyhow::Ok(Some(made)),
                Err(AdminClientError::Refused { status: StatusCode::CONFLICT, .. }) => return Ok(None),
                Err(error) => again(error).await?,
            }
        }
    };
    tokio::time::timeout(PLACE_MAX, making).await?
}

/// Waits before a try that may go better; gives back what will not.
async fn again(error: AdminClientError) -> anyhow::Result<()> {
    let passing = match &error {
        AdminClientError::Refused { status, .. } => {
            status.is_server_error() || [StatusCode::NOT_FOUND, StatusCode::CONFLICT].contains(status)
        }
        AdminClientError::Connect(..)
        | AdminClientError::Transport(_)
        | AdminClientError::Timeout
        | AdminClientError::GaveUp { .. } => true,
        AdminClientError::Url(_)
        | AdminClientError::NoTrust
        | AdminClientError::Trust(_)
        | AdminClientError::Answer(_) => false,
    };
    if !passing {
        return Err(error.into());
    }
    tokio::time::sleep(AGAIN).await;
    Ok(())
}
