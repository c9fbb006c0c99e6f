//! `/v1/tenants`.

use std::sync::Arc;

use axum::extract::State;
use domicile_iam::commands::{CreateTenant, TenantPatch, TenantRefusal};
use domicile_iam::execute::ExecuteError;
use domicile_iam::ids::TenantId;
use domicile_iam::model::{
    KnownTenant, ListedTenant, PlacementDocument, TenantContext, TenantSettings, TenantView,
};
use domicile_iam::query::Consistency;
use domicile_raft::Timestamp;
use domicile_raft::placement::Placement;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::error::{refused, unread};
use super::page::{Items, PageQuery, Wanted};
use super::request::{Fresh, Segments, Write};
use super::state::AdminState;
use super::{instant, tenant_settings};
use crate::problem::Problem;

/// Members of a new tenant.
pub(super) const NEW_TENANT: [&str; 4] = ["slug", "display_name", "settings", "placement"];
/// Members of a change.
pub(super) const TENANT_CHANGE: [&str; 4] = ["display_name", "settings", "disabled", "force"];
/// A change of settings is made on what was read; so often it is made again if that moved.
pub(super) const ATTEMPTS_MAX: usize = 3;

/// A tenant.
#[derive(Serialize, ToSchema)]
pub(super) struct TenantDocument {
    /// Internal id, `ten_...`.
    #[schema(value_type = String)]
    id: TenantId,
    /// Its name in paths.
    slug: String,
    /// Shown to people.
    display_name: String,
    /// `iss` of its tokens; stored, never derived from a request.
    issuer: String,
    /// A disabled tenant answers nothing but its metadata.
    disabled: bool,
    /// Settings.
    #[schema(schema_with = super::schemas::settings_reference)]
    settings: serde_json::Map<String, serde_json::Value>,
    /// When it was created, RFC 3339.
    #[serde(serialize_with = "instant::serialize")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it last changed, RFC 3339.
    #[serde(serialize_with = "instant::serialize")]
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// Where it may live and what it survives; absent where it asked for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    placement: Option<PlacementDocument>,
    /// Grows with each change; also the entity tag.
    revision: u64,
    /// The partition that it lives on.
    partition: Option<u64>,
}

impl From<TenantView> for TenantDocument {
    fn from(view: TenantView) -> Self {
        let TenantView {
            id,
            slug,
            display_name,
            issuer,
            disabled,
            settings,
            created_at,
            updated_at,
            placement,
            revision,
        } = view;
        let placement = placement.map(PlacementDocument::from);
        Self {
            id,
            slug,
            display_name,
            issuer,
            disabled,
            settings: tenant_settings::object(&settings),
            created_at,
            updated_at,
            placement,
            revision,
            partition: None,
        }
    }
}

/// A tenant whose home does not answer: what the directory knows of it.
#[derive(Serialize, ToSchema)]
pub(super) struct UnansweredTenantDocument {
    /// Internal id, `ten_...`.
    #[schema(value_type = String)]
    id: TenantId,
    /// Its name in paths.
    slug: String,
    /// The partition that it lives on.
    partition: u64,
    /// False: the rest is known to its home only.
    available: bool,
}

/// A tenant in a list.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum ListedTenantDocument {
    /// As its home shows it.
    Shown(Box<TenantDocument>),
    /// Its home does not answer.
    Unanswered(UnansweredTenantDocument),
}

fn listed(state: &AdminState, tenant: ListedTenant) -> ListedTenantDocument {
    match tenant {
        ListedTenant::Shown(view) => ListedTenantDocument::Shown(Box::new(document(state, *view))),
        ListedTenant::Unanswered(KnownTenant { id, slug, home }) => {
            let partition = home.0;
            ListedTenantDocument::Unanswered(UnansweredTenantDocument {
                id,
                slug,
                partition,
                available: false,
            })
        }
    }
}

/// With the partition that the directory names, as it is here.
fn document(state: &AdminState, view: TenantView) -> TenantDocument {
    let route = state.iam.route_of(view.id).ok().flatten();
    TenantDocument { partition: route.map(|route| route.home.0), ..TenantDocument::from(view) }
}

/// The tenant that a path names.
///
/// # Errors
/// 404, and those of [`unread`].
pub(super) async fn tenant(state: &AdminState, slug: &str) -> Result<Arc<TenantContext>, Problem> {
    state.iam.tenant_by_slug(slug).await.map_err(|error| unread(&error))?.ok_or_else(Problem::not_found)
}

/// Creates a tenant
///
/// Its issuer is `<public url>/t/<slug>`. Its ES256, ES384 and EdDSA keys are made at once, its RSA keys in the background.
#[utoipa::path(
    post, path = "/tenants", tag = "tenants",
    request_body(content = ref("#/components/schemas/NewTenant"), content_type = "application/json"),
    responses((status = 201, body = TenantDocument))
)]
pub(super) async fn create_tenant(
    State(state): State<AdminState>,
    write: Write,
) -> Result<Answer<TenantDocument>, Problem> {
    let mut members = write.members()?;
    let slug: String = members.required("slug", "a string")?;
    let display_name: Option<String> = members.take("display_name", "a string")?;
    let settings =
        tenant_settings::changed(TenantSettings::default(), members.take("settings", "an object")?)?;
    let placement: Option<PlacementDocument> = members.take("placement", "a placement")?;
    members.finish(NEW_TENANT)?;
    let issuer = format!("{}/t/{slug}", state.public_url);
    let display_name = display_name.unwrap_or_else(|| slug.clone());
    let placement = placement.map(Placement::from);
    let new = CreateTenant { slug, display_name, issuer, settings, placement };
    let written = state
        .iam
        .create_tenant(&write.context_without_tenant(), new)
        .await
        .map_err(|error| refused(&error))?;
    let document = document(&state, written.reply.clone());
    let (location, revision) = (write.location(&document.slug), document.revision);
    Ok(Answer::created(document, Some(location)).revision(revision).written(&written))
}

/// Lists tenants
///
/// All of them. One whose home does not answer within 2 seconds has `available: false` and no more than its id, its
/// slug and its partition.
#[utoipa::path(
    get, path = "/tenants", tag = "tenants", params(PageQuery),
    responses((status = 200, body = Items<ListedTenantDocument>))
)]
pub(super) async fn list_tenants(
    State(state): State<AdminState>,
    Wanted(page, list): Wanted,
    Fresh(consistency): Fresh,
) -> Result<Answer<Items<ListedTenantDocument>>, Problem> {
    let page = state.iam.list_tenants(&page, &consistency).await.map_err(|error| unread(&error))?;
    Ok(Answer::ok(Items::of(list, page, |tenant| listed(&state, tenant))))
}

/// Shows a tenant
#[utoipa::path(get, path = "/tenants/{slug}", tag = "tenants", responses((status = 200, body = TenantDocument)))]
pub(super) async fn get_tenant(
    State(state): State<AdminState>,
    Segments(slug): Segments<String>,
    Fresh(consistency): Fresh,
) -> Result<Answer<TenantDocument>, Problem> {
    let view = read(&state, tenant(&state, &slug).await?.id, &consistency).await?;
    let revision = view.revision;
    Ok(Answer::ok(document(&state, view)).revision(revision))
}

/// Changes a tenant
///
/// Absent members stay as they are, also inside `settings`; a setting that is null gets its default.
#[utoipa::path(
    patch, path = "/tenants/{slug}", tag = "tenants",
    request_body(content = ref("#/components/schemas/TenantChange"), content_type = "application/json"),
    responses((status = 200, body = TenantDocument))
)]
pub(super) async fn update_tenant(
    State(state): State<AdminState>,
    Segments(slug): Segments<String>,
    write: Write,
) -> Result<Answer<TenantDocument>, Problem> {
    let id = tenant(&state, &slug).await?.id;
    let mut members = write.members()?;
    let display_name = members.not_null("display_name", "a string")?;
    let disabled = members.not_null("disabled", "a boolean")?;
    let settings = members.not_null::<serde_json::Map<_, _>>("settings", "an object")?;
    let force = members.not_null("force", "a boolean")?.unwrap_or_default();
    members.refuse(&["slug", "issuer", "id"], "cannot be changed")?;
    members.finish(TENANT_CHANGE)?;

    let context = write.context(id);
    for _ in 0..ATTEMPTS_MAX {
        let mut patch = TenantPatch {
            display_name: display_name.clone(),
            settings: None,
            disabled,
            force,
            if_revision: write.if_revision,
        };
        if let Some(settings) = &settings {
            let current = read(&state, id, &Consistency::Linearizable).await?;
            patch.settings = Some(tenant_settings::changed(current.settings, Some(settings.clone()))?);
            patch.if_revision.get_or_insert(current.revision);
        }
        match state.iam.update_tenant(&context, patch).await {
            Ok(written) => {
                let document = document(&state, written.reply.clone());
                let revision = document.revision;
                return Ok(Answer::ok(document).revision(revision).written(&written));
            }
            Err(ExecuteError::Refused(TenantRefusal::Stale { .. })) if write.if_revision.is_none() => {}
            Err(error) => return Err(refused(&error)),
        }
    }
    Err(Problem::conflict("it keeps changing; try again"))
}

/// Deletes a tenant
///
/// Its keys are destroyed and its slug is free again.
#[utoipa::path(delete, path = "/tenants/{slug}", tag = "tenants", responses((status = 204)))]
pub(super) async fn delete_tenant(
    State(state): State<AdminState>,
    Segments(slug): Segments<String>,
    write: Write,
) -> Result<Answer<()>, Problem> {
    let context = write.context_without_tenant();
    let deleted = state.iam.delete_tenant_named(&context, &slug, write.if_revision).await;
    let written = deleted.map_err(|error| refused(&error))?;
    Ok(Answer::done(&written))
}

/// Waits until what is read here afterwards has the wanted consistency.
///
/// # Errors
/// 404, 409 or 503.
pub(super) async fn barrier(
    state: &AdminState,
    id: TenantId,
    consistency: &Consistency,
) -> Result<(), Problem> {
    read(state, id, consistency).await.map(drop)
}

async fn read(state: &AdminState, id: TenantId, consistency: &Consistency) -> Result<TenantView, Problem> {
    state
        .iam
        .get_tenant(id, consistency)
        .await
        .map_err(|error| unread(&error))?
        .ok_or_else(Problem::not_found)
}
