//! What users allowed clients: `/v1/tenants/{slug}/users/{user_id}/grants`.

use std::collections::BTreeSet;

use axum::extract::State;
use domicile_iam::ids::{ClientId, GrantId, UserId};
use domicile_iam::model::GrantView;
use domicile_iam::query::Consistency;
use domicile_raft::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::clients;
use super::error::{refused, unread};
use super::instant;
use super::page::{Items, PageQuery, Wanted};
use super::request::{Fresh, Segments, Write, parse_id};
use super::state::AdminState;
use super::tenants::tenant;
use crate::problem::Problem;

/// What a user allowed a client.
#[derive(Serialize, ToSchema)]
pub(super) struct GrantDocument {
    /// `gra_...`.
    #[schema(value_type = String)]
    id: GrantId,
    /// Who allowed.
    #[schema(value_type = String)]
    user: UserId,
    /// Whom: the client's internal id.
    #[schema(value_type = String)]
    client: ClientId,
    /// What.
    scopes: BTreeSet<String>,
    /// Single claims that were asked for and allowed.
    claims: BTreeSet<String>,
    /// Resource servers that the scopes may be used at, beside the issuer.
    resources: BTreeSet<String>,
    /// Tokens issued before this are refused, RFC 3339.
    #[serde(serialize_with = "instant::serialize")]
    #[schema(value_type = String, format = DateTime)]
    not_before: Timestamp,
}

impl From<GrantView> for GrantDocument {
    fn from(GrantView { id, user, client, scopes, claims, resources, not_before }: GrantView) -> Self {
        Self { id, user, client, scopes, claims, resources, not_before }
    }
}

/// Lists a user's grants
#[utoipa::path(
    get, path = "/tenants/{slug}/users/{user_id}/grants", tag = "grants", params(PageQuery),
    responses((status = 200, body = Items<GrantDocument>))
)]
pub(super) async fn list_grants(
    State(state): State<AdminState>,
    Segments((slug, user)): Segments<(String, String)>,
    Wanted(page, list): Wanted,
    Fresh(consistency): Fresh,
) -> Result<Answer<Items<GrantDocument>>, Problem> {
    let tenant = tenant(&state, &slug).await?.id;
    let user: UserId = parse_id(&user)?;
    let page =
        state.iam.list_grants(tenant, user, &page, &consistency).await.map_err(|error| unread(&error))?;
    Ok(Answer::ok(Items::of(list, page, GrantDocument::from)))
}

/// Revokes a grant
///
/// Takes back all that the user allowed the client; tokens issued on it are void.
#[utoipa::path(
    delete, path = "/tenants/{slug}/users/{user_id}/grants/{client_id}", tag = "grants",
    responses((status = 204))
)]
pub(super) async fn revoke_grant(
    State(state): State<AdminState>,
    Segments((slug, user, client)): Segments<(String, String, String)>,
    write: Write,
) -> Result<Answer<()>, Problem> {
    let tenant = tenant(&state, &slug).await?.id;
    let user: UserId = parse_id(&user)?;
    write.unconditional()?;
    let client = clients::find(&state, tenant, &client, &Consistency::Linearizable).await?.id;
    let revoked = state.iam.revoke_grant(&write.context(tenant), user, client).await;
    Ok(Answer::done(&revoked.map_err(|error| refused(&error))?))
}
