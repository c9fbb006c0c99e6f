//! `/v1/tenants/{slug}/clients`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use domicile_iam::commands::{ClientPatch, ClientRefusal};
use domicile_iam::execute::ExecuteError;
use domicile_iam::ids::{ClientId, TenantId};
use domicile_iam::model::{ClientMetadata, ClientView};
use domicile_iam::query::Consistency;

use super::answer::Answer;
use super::client_document::ClientDocument;
use super::client_metadata::{self, READ_ONLY};
use super::error::{refused, unread};
use super::members;
use super::page::{Items, PageQuery, Wanted};
use super::request::{Fresh, Segments, Write};
use super::state::AdminState;
use super::tenants::{ATTEMPTS_MAX, tenant};
use crate::egress::{SectorFault, check_sector};
use crate::problem::Problem;

/// Overlap of an old and a new secret when none is asked for.
const OVERLAP_DEFAULT_MS: u64 = 24 * 3_600_000;
const OVERLAP_MAX_MS: u64 = 90 * 24 * 3_600_000;

/// Registers a client
///
/// Takes and returns RFC 7591 metadata. The secret is in this answer and in none after it.
#[utoipa::path(
    post, path = "/tenants/{slug}/clients", tag = "clients",
    request_body(content = ref("#/components/schemas/NewClient"), content_type = "application/json"),
    responses((status = 201, body = ref("#/components/schemas/Client")))
)]
pub(super) async fn create_client(
    State(state): State<AdminState>,
    Segments(slug): Segments<String>,
    write: Write,
) -> Result<Answer<ClientDocument>, Problem> {
    let tenant = tenant(&state, &slug).await?.id;
    let mut members = write.members()?;
    let client_id = members.take("client_id", "a string")?;
    members.refuse(&READ_ONLY, "is set by the node")?;
    members.refuse(&["disabled"], "cannot be set on a new client")?;
    let metadata = client_metadata::decode(members.rest())?;
    of_its_sector(&state, tenant, None, &metadata).await?;
    let context = write.context(tenant);
    let written =
        state.iam.register_client(&context, metadata, client_id).await.map_err(|error| refused(&error))?;
    let (view, secret) = &written.reply;
    let document = ClientDocument::with_secret(view, secret.clone());
    let location = write.location(&document.id.to_string());
    Ok(Answer::created(document, Some(location)).revision(view.revision).written(&written))
}

/// Lists clients
#[utoipa::path(
    get, path = "/tenants/{slug}/clients", tag = "clients", params(PageQuery),
    responses((status = 200, body = ref("#/components/schemas/ClientPage")))
)]
pub(super) async fn list_clients(
    State(state): State<AdminState>,
    Segments(slug): Segments<String>,
    Wanted(page, list): Wanted,
    Fresh(consistency): Fresh,
) -> Result<Answer<Items<ClientDocument>>, Problem> {
    let tenant = tenant(&state, &slug).await?.id;
    let page = state.iam.list_clients(tenant, &page, &consistency).await.map_err(|error| unread(&error))?;
    Ok(Answer::ok(Items::of(list, page, |view| ClientDocument::new(&view))))
}

/// Shows a client
#[utoipa::path(
    get, path = "/tenants/{slug}/clients/{client_id}", tag = "clients",
    responses((status = 200, body = ref("#/components/schemas/Client")))
)]
pub(super) async fn get_client(
    State(state): State<AdminState>,
    Segments((slug, client)): Segments<(String, String)>,
    Fresh(consistency): Fresh,
) -> Result<Answer<ClientDocument>, Problem> {
    let tenant = tenant(&state, &slug).await?.id;
    let view = find(&state, tenant, &client, &consistency).await?;
    Ok(Answer::ok(ClientDocument::new(&view)).revision(view.revision))
}

/// Changes a client
///
/// Absent members stay, null gives the default. A disabled client can do nothing.
#[utoipa::path(
    patch, path = "/tenants/{slug}/clients/{client_id}", tag = "clients",
    request_body(content = ref("#/components/schemas/ClientChange"), content_type = "application/json"),
    responses((status = 200, body = ref("#/components/schemas/Client")))
)]
pub(super) async fn update_client(
    State(state): State<AdminState>,
    Segments((slug, client)): Segments<(String, String)>,
    write: Write,
) -> Result<Answer<ClientDocument>, Problem> {
    let tenant = tenant(&state, &slug).await?.id;
    let mut members = write.members()?;
    let disabled = members.not_null("disabled", "a boolean")?;
    members.refuse(&["client_id"], "never changes")?;
    members.refuse(&READ_ONLY, "is set by the node")?;
    let change = members.rest();

    let context = write.context(tenant);
    for _ in 0..ATTEMPTS_MAX {
        let current = find(&state, tenant, &client, &Consistency::Linearizable).await?;
        let mut patch = ClientPatch { metadata: None, disabled, if_revision: write.if_revision };
        if !change.is_empty() {
            let metadata = client_metadata::changed(&current.metadata, &change)?;
            of_its_sector(&state, tenant, Some(&current.metadata), &metadata).await?;
            patch.metadata = Some(metadata);
            patch.if_revision.get_or_insert(current.revision);
        }
        match state.iam.update_client(&context, current.id, patch).await {
            Ok(written) => {
                let document = ClientDocument::new(&written.reply);
                let revision = document.revision;
                return Ok(Answer::ok(document).revision(revision).written(&written));
            }
            Err(ExecuteError::Refused(ClientRefusal::Stale { .. })) if write.if_revision.is_none() => {}
            Err(error) => return Err(refused(&error)),
        }
    }
    Err(Problem::conflict("it keeps changing; try again"))
}

/// Deletes a client
///
/// Its `client_id` is free again, its tokens are void.
#[utoipa::path(delete, path = "/tenants/{slug}/clients/{client_id}", tag = "clients", responses((status = 204)))]
pub(super) async fn delete_client(
    State(state): State<AdminState>,
    Segments((slug, client)): Segments<(String, String)>,
    write: Write,
) -> Result<Answer<()>, Problem> {
    let tenant = tenant(&state, &slug).await?.id;
    let id = id_to_change(&state, tenant, &client).await?;
    let deleted = state.iam.delete_client(&write.context(tenant), id, write.if_revision).await;
    let written = deleted.map_err(|error| refused(&error))?;
    Ok(Answer::done(&written))
}

/// Makes a new secret
///
/// Those before it work for `overlap_ms` more: 24 hours when absent, 90 days at most, 0 for not at all.
#[utoipa::path(
    post, path = "/tenants/{slug}/clients/{client_id}/secret", tag = "clients",
    request_body(content = ref("#/components/schemas/NewSecret"), content_type = "application/json"),
    responses((status = 201, body = ref("#/components/schemas/Client")))
)]
pub(super) async fn rotate_client_secret(
    State(state): State<AdminState>,
    Segments((slug, client)): Segments<(String, String)>,
    write: Write,
) -> Result<Answer<ClientDocument>, Problem> {
    let tenant = tenant(&state, &slug).await?.id;
    let mut members = write.members_if_any()?;
    let overlap_ms = members.take("overlap_ms", "a whole number")?.unwrap_or(OVERLAP_DEFAULT_MS);
    members.finish(["overlap_ms"])?;
    if overlap_ms > OVERLAP_MAX_MS {
        return Err(members::invalid("overlap_ms", "is over 90 days"));
    }
    let id = id_to_change(&state, tenant, &client).await?;
    let context = write.context(tenant);
    let rotated = state.iam.rotate_client_secret(&context, id, overlap_ms, write.if_revision).await;
    let written = rotated.map_err(|error| refused(&error))?;
    let (view, secret) = &written.reply;
    let document = ClientDocument::with_secret(view, Some(secret.clone()));
    Ok(Answer::created(document, None).revision(view.revision).written(&written))
}

/// Looks up the sector that a client names, unless it is as it was.
async fn of_its_sector(
    state: &AdminState,
    tenant: TenantId,
    before: Option<&ClientMetadata>,
    metadata: &ClientMetadata,
) -> Result<(), Problem> {
    let names = |metadata: &ClientMetadata| {
        (metadata.sector_identifier_uri().map(str::to_owned), metadata.redirect_uris.clone())
    };
    if before.map(names) == Some(names(metadata)) {
        return Ok(());
    }
    check_sector(state.fetch.as_ref(), tenant, metadata).await.map_err(|fault| {
        members::invalid(SectorFault::MEMBER, fault.rule()).with("error", "invalid_client_metadata")
    })
}

/// The client that a path names, by internal id or by `client_id`. An import may have brought a
/// `client_id` that looks like an id.
///
/// # Errors
/// 404, and those of [`unread`].
pub(super) async fn find(
    state: &AdminState,
    tenant: TenantId,
    name: &str,
    consistency: &Consistency,
) -> Result<Arc<ClientView>, Problem> {
    if let Ok(id) = name.parse::<ClientId>()
        && let Some(view) = by_id(state, tenant, id, consistency).await?
    {
        return Ok(view);
    }
    let named = state.iam.client(tenant, name).await.map_err(|error| unread(&error))?;
    let id = named.ok_or_else(Problem::not_found)?.id;
    by_id(state, tenant, id, consistency).await?.ok_or_else(Problem::not_found)
}

/// The id of the client that a path names. One that is not there any more keeps its id, so that the kept answer of an earlier deletion can be given again.
async fn id_to_change(state: &AdminState, tenant: TenantId, name: &str) -> Result<ClientId, Problem> {
    match (find(state, tenant, name, &Consistency::Linearizable).await, name.parse()) {
        (Ok(current), _) => Ok(current.id),
        (Err(problem), Ok(id)) if problem.status() == StatusCode::NOT_FOUND => Ok(id),
        (Err(problem), _) => Err(problem),
    }
}

async fn by_id(
    state: &AdminState,
    tenant: TenantId,
    id: ClientId,
    consistency: &Consistency,
) -> Result<Option<Arc<ClientView>>, Problem> {
    state.iam.client_by_id(tenant, id, consistency).await.map_err(|error| unread(&error))
}
