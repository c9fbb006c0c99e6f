//! `/v1/tenants/{slug}/initial-access-tokens`: who may register clients (RFC 7591 §1.2).

use axum::extract::State;
use domicile_iam::commands::CreateInitialAccessToken;
use domicile_iam::ids::InitialAccessTokenId;
use domicile_iam::model::{InitialAccessTokenView, RegistrationPolicy};
use domicile_raft::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::answer::Answer;
use super::error::{refused, unread};
use super::instant;
use super::members::{Members, invalid};
use super::page::{Items, PageQuery, Wanted};
use super::request::{Fresh, Segments, Write, parse_id};
use super::state::AdminState;
use super::tenants::tenant;
use crate::problem::Problem;

/// A month, where no lifetime is asked for.
const LIFETIME_DEFAULT_S: u64 = 30 * 24 * 3_600;
const MEMBERS: [&str; 3] = ["lifetime_s", "uses_max", "policy"];

/// An initial access token; `schemas.rs` describes it.
#[derive(Serialize)]
pub(super) struct InitialAccessTokenDocument {
    id: InitialAccessTokenId,
    /// Shown once: when it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    #[serde(serialize_with = "instant::serialize")]
    expires_at: Timestamp,
    /// Null: any number.
    uses_max: Option<u32>,
    uses: u32,
    /// Null: the tenant's.
    policy: Option<RegistrationPolicy>,
}

impl From<InitialAccessTokenView> for InitialAccessTokenDocument {
    fn from(view: InitialAccessTokenView) -> Self {
        Self {
            id: view.id,
            token: None,
            created_at: Some(instant::rfc3339(view.created_at)),
            expires_at: view.expires_at,
            uses_max: view.uses_max,
            uses: view.uses,
            policy: view.policy,
        }
    }
}

/// Members of a policy that are left out of it while they say nothing.
const LEFT_OUT: [&str; 4] = [
    "access_token_lifetime_max_s",
    "token_endpoint_auth_audience",
    "forbid_static_refresh_tokens",
    "trust_redirect_uris",
];

/// A policy from outside: every member known and of its type. Bounds are checked by the domain.
///
/// # Errors
/// 422 naming the member.
pub(super) fn policy(name: &str, value: Map<String, Value>) -> Result<RegistrationPolicy, Problem> {
    let known = serde_json::to_value(RegistrationPolicy::default()).unwrap_or_default();
    let known = known.as_object().into_iter().flat_map(Map::keys).map(String::as_str);
    let known: Vec<&str> = known.chain(LEFT_OUT).collect();
    let unknown = value.iter().filter(|(member, _)| !known.contains(&member.as_str()));
    Members::new(unknown.map(|(member, value)| (member.clone(), value.clone())).collect())
        .finish(known.iter().copied())?;
    for (member, value) in &value {
        let alone = Map::from_iter([(member.clone(), value.clone())]);
        if let Err(cause) = serde_json::from_value::<RegistrationPolicy>(Value::Object(alone)) {
            return Err(invalid(&format!("{name}.{member}"), &format!("does not fit: {cause}")));
        }
    }
    serde_json::from_value(Value::Object(value)).map_err(|_| Problem::internal())
}

/// Makes an initial access token
///
/// Who holds it may register clients within `policy`, else within the tenant's. The token is in this answer
/// and in none after it.
#[utoipa::path(
    post, path = "/tenants/{slug}/initial-access-tokens", tag = "clients",
    request_body(content = ref("#/components/schemas/NewInitialAccessToken"), content_type = "application/json"),
    responses((status = 201, body = ref("#/components/schemas/InitialAccessToken")))
)]
pub(super) async fn create_initial_access_token(
    State(state): State<AdminState>,
    Segments(slug): Segments<String>,
    write: Write,
) -> Result<Answer<InitialAccessTokenDocument>, Problem> {
    let tenant = tenant(&state, &slug).await?.id;
    write.unconditional()?;
    let mut members = write.members_if_any()?;
    let lifetime_s = members.take("lifetime_s", "a whole number")?.unwrap_or(LIFETIME_DEFAULT_S);
    let uses_max: Option<u32> = members.take("uses_max", "a whole number")?;
    let policy = members.take("policy", "an object")?.map(|value| policy("policy", value)).transpose()?;
    members.finish(MEMBERS)?;
    let new = CreateInitialAccessToken {
        lifetime_ms: lifetime_s.saturating_mul(1_000),
        uses_max,
        policy: policy.clone(),
    };
    let made = state.iam.create_initial_access_token(&write.context(tenant), new).await;
    let written = made.map_err(|error| refused(&error))?;
    let made = &written.reply;
    let document = InitialAccessTokenDocument {
        id: made.id,
        token: Some(made.token.clone()),
        created_at: None,
        expires_at: made.expires_at,
        uses_max,
        uses: 0,
        policy,
    };
    let location = write.location(&made.id.to_string());
    Ok(Answer::created(document, Some(location)).written(&written))
}

/// Lists initial access tokens
#[utoipa::path(
    get, path = "/tenants/{slug}/initial-access-tokens", tag = "clients", params(PageQuery),
    responses((status = 200, body = ref("#/components/schemas/InitialAccessTokenPage")))
)]
pub(super) async fn list_initial_access_tokens(
    State(state): State<AdminState>,
    Segments(slug): Segments<String>,
    Wanted(page, list): Wanted,
    Fresh(consistency): Fresh,
) -> Result<Answer<Items<InitialAccessTokenDocument>>, Problem> {
    let tenant = tenant(&state, &slug).await?.id;
    let page = state.iam.list_initial_access_tokens(tenant, &page, &consistency).await;
    Ok(Answer::ok(Items::of(list, page.map_err(|error| unread(&error))?, InitialAccessTokenDocument::from)))
}

/// Shows an initial access token
#[utoipa::path(
    get, path = "/tenants/{slug}/initial-access-tokens/{token_id}", tag = "clients",
    responses((status = 200, body = ref("#/components/schemas/InitialAccessToken")))
)]
pub(super) async fn get_initial_access_token(
    State(state): State<AdminState>,
    Segments((slug, id)): Segments<(String, String)>,
    Fresh(consistency): Fresh,
) -> Result<Answer<InitialAccessTokenDocument>, Problem> {
    let tenant = tenant(&state, &slug).await?.id;
    let id: InitialAccessTokenId = parse_id(&id)?;
    let found = state.iam.initial_access_token(tenant, id, &consistency).await;
    let found = found.map_err(|error| unread(&error))?.ok_or_else(Problem::not_found)?;
    Ok(Answer::ok(found.into()))
}

/// Revokes an initial access token
///
/// What was registered with it stays.
#[utoipa::path(
    delete, path = "/tenants/{slug}/initial-access-tokens/{token_id}", tag = "clients",
    responses((status = 204))
)]
pub(super) async fn revoke_initial_access_token(
    State(state): State<AdminState>,
    Segments((slug, id)): Segments<(String, String)>,
    write: Write,
) -> Result<Answer<()>, Problem> {
    let tenant = tenant(&state, &slug).await?.id;
    write.unconditional()?;
    let id: InitialAccessTokenId = parse_id(&id)?;
    let revoked = state.iam.revoke_initial_access_token(&write.context(tenant), id).await;
    Ok(Answer::done(&revoked.map_err(|error| refused(&error))?))
}
