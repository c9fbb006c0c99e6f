//! `/v1/tenants/{slug}/users`.

use std::collections::BTreeMap;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use domicile_iam::commands::PlainPassword;
use domicile_iam::ids::{TenantId, UserId};
use domicile_iam::model::{Page, PageRequest, SecondFactorKind, SecondFactorView, SubjectKind, UserView};
use domicile_iam::query::Consistency;
use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::IntoParams;

use super::answer::Answer;
use super::error::{refused, unread};
use super::page::{Items, List, PageQuery, query};
use super::request::{Fresh, Segments, Write, parse_id};
use super::state::AdminState;
use super::tenants::tenant;
use super::{instant, user_members};
use crate::problem::Problem;

/// A user; `schemas.rs` describes it.
#[derive(Serialize)]
#[allow(clippy::struct_excessive_bools, reason = "a document: its members are what the interface says")]
pub(super) struct UserDocument {
    id: UserId,
    subject: String,
    username: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    email_verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone_number: Option<String>,
    phone_number_verified: bool,
    #[serde(flatten)]
    claims: BTreeMap<String, Value>,
    has_password: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    second_factor: Option<SecondFactorDocument>,
    disabled: bool,
    #[serde(serialize_with = "instant::serialize")]
    created_at: Timestamp,
    /// Seconds: it is a standard claim.
    updated_at: u64,
    revision: u64,
}

/// What confirms a user's logins.
#[derive(Serialize)]
struct SecondFactorDocument {
    kind: SecondFactorKind,
    #[serde(serialize_with = "instant::serialize")]
    added_at: Timestamp,
    recovery_codes_left: u32,
}

impl From<SecondFactorView> for SecondFactorDocument {
    fn from(view: SecondFactorView) -> Self {
        Self { kind: view.kind, added_at: view.added_at, recovery_codes_left: view.recovery_codes_left }
    }
}

impl From<UserView> for UserDocument {
    fn from(view: UserView) -> Self {
        Self {
            id: view.id,
            subject: view.subject,
            username: view.username,
            email: view.email,
            email_verified: view.email_verified,
            phone_number: view.phone_number,
            phone_number_verified: view.phone_number_verified,
            claims: view.claims,
            has_password: view.has_password,
            second_factor: view.second_factor.map(SecondFactorDocument::from),
            disabled: view.disabled,
            created_at: view.created_at,
            updated_at: view.updated_at.seconds(),
            revision: view.revision,
        }
    }
}

/// Creates a user
///
/// Takes any standard claim (OpenID Connect Core §5.1) beside the login name and password.
#[utoipa::path(
    post, path = "/tenants/{slug}/users", tag = "users",
    request_body(content = ref("#/components/schemas/NewUser"), content_type = "application/json"),
    responses((status = 201, body = ref("#/components/schemas/User")))
)]
pub(super) async fn create_user(
    State(state): State<AdminState>,
    Segments(slug): Segments<String>,
    write: Write,
) -> Result<Answer<UserDocument>, Problem> {
    let tenant = tenant(&state, &slug).await?.id;
    let new = user_members::new_user(write.members()?)?;
    let written =
        state.iam.create_user(&write.context(tenant), new).await.map_err(|error| refused(&error))?;
    let document = UserDocument::from(written.reply.clone());
    let (location, revision) = (write.location(&document.id.to_string()), document.revision);
    Ok(Answer::created(document, Some(location)).revision(revision).written(&written))
}

/// Which users.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UserQuery {
    /// Items wanted. More than 200 gives 200.
    #[param(minimum = 1, default = 50)]
    page_size: Option<u32>,
    /// `next_page_token` of the page before.
    page_token: Option<String>,
    /// Only who has this login name, in any spelling that logs them in.
    username: Option<String>,
    /// Only who holds this e-mail address, in any spelling that logs them in. 409 where the tenant does not keep
    /// addresses unique.
    email: Option<String>,
}

/// The page of users asked for, or the names of one. An extractor.
pub(super) struct WantedUsers {
    page: PageRequest,
    list: List,
    names: Vec<(SubjectKind, String)>,
}

impl<S: Sync> FromRequestParts<S> for WantedUsers {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let UserQuery { page_size, page_token, username, email } = query(parts)?;
        let list = List::at(parts);
        let page = PageQuery::checked(list, page_size, page_token)?;
        let names = [(SubjectKind::Username, username), (SubjectKind::Email, email)];
        let names: Vec<_> =
            names.into_iter().filter_map(|(kind, name)| name.map(|name| (kind, name))).collect();
        if page.page_token.is_some() && !names.is_empty() {
            return Err(Problem::bad_request("`page_token` is of no search: one user at most has a name"));
        }
        Ok(Self { page, list, names })
    }
}

/// Lists users
///
/// In order of creation, without the erased; with `username` or `email`, who has them all, if anybody has.
#[utoipa::path(
    get, path = "/tenants/{slug}/users", tag = "users", params(UserQuery),
    responses((status = 200, body = ref("#/components/schemas/UserPage")))
)]
pub(super) async fn list_users(
    State(state): State<AdminState>,
    Segments(slug): Segments<String>,
    WantedUsers { page, list, names }: WantedUsers,
    Fresh(consistency): Fresh,
) -> Result<Answer<Items<UserDocument>>, Problem> {
    let tenant = tenant(&state, &slug).await?;
    let by_email = names.iter().any(|(kind, _)| *kind == SubjectKind::Email);
    if by_email && !tenant.settings.email_unique {
        return Err(Problem::conflict("the tenant does not keep addresses unique: nobody is found by one"));
    }
    let page = if names.is_empty() {
        state.iam.list_users(tenant.id, &page, &consistency).await
    } else {
        let found = state.iam.user_holding(tenant.id, &names, &consistency).await;
        found.map(|user| Page { items: user.into_iter().collect(), next_page_token: None })
    };
    let page = page.map_err(|error| unread(&error))?;
    Ok(Answer::ok(Items::of(list, page, UserDocument::from)))
}

/// Shows a user
#[utoipa::path(
    get, path = "/tenants/{slug}/users/{user_id}", tag = "users",
    responses((status = 200, body = ref("#/components/schemas/User")))
)]
pub(super) async fn get_user(
    State(state): State<AdminState>,
    Segments((slug, user)): Segments<(String, String)>,
    Fresh(consistency): Fresh,
) -> Result<Answer<UserDocument>, Problem> {
    let tenant = tenant(&state, &slug).await?.id;
    let view = read(&state, tenant, parse_id(&user)?, &consistency).await?;
    let revision = view.revision;
    Ok(Answer::ok(UserDocument::from(view)).revision(revision))
}

/// Changes a user
///
/// Absent members stay, null removes. Disabling ends sessions and voids tokens.
#[utoipa::path(
    patch, path = "/tenants/{slug}/users/{user_id}", tag = "users",
    request_body(content = ref("#/components/schemas/UserChange"), content_type = "application/json"),
    responses((status = 200, body = ref("#/components/schemas/User")))
)]
pub(super) async fn update_user(
    State(state): State<AdminState>,
    Segments((slug, user)): Segments<(String, String)>,
    write: Write,
) -> Result<Answer<UserDocument>, Problem> {
    let tenant = tenant(&state, &slug).await?.id;
    let id: UserId = parse_id(&user)?;
    let patch = user_members::user_change(write.members()?, write.if_revision)?;
    let written =
        state.iam.update_user(&write.context(tenant), id, patch).await.map_err(|error| refused(&error))?;
    let document = UserDocument::from(written.reply.clone());
    let revision = document.revision;
    Ok(Answer::ok(document).revision(revision).written(&written))
}

/// Erases a user, first step
///
/// The user's key, login names, sessions and tokens are gone at once.
#[utoipa::path(delete, path = "/tenants/{slug}/users/{user_id}", tag = "users", responses((status = 204)))]
pub(super) async fn erase_user(
    State(state): State<AdminState>,
    Segments((slug, user)): Segments<(String, String)>,
    write: Write,
) -> Result<Answer<()>, Problem> {
    let tenant = tenant(&state, &slug).await?.id;
    let id: UserId = parse_id(&user)?;
    let erased = state.iam.erase_user(&write.context(tenant), id, write.if_revision).await;
    let written = erased.map_err(|error| refused(&error))?;
    Ok(Answer::done(&written))
}

/// Sets a user's password
///
/// Sessions and tokens from before are void.
#[utoipa::path(
    post, path = "/tenants/{slug}/users/{user_id}/password", tag = "users",
    request_body(content = ref("#/components/schemas/NewPassword"), content_type = "application/json"),
    responses((status = 204))
)]
pub(super) async fn set_user_password(
    State(state): State<AdminState>,
    Segments((slug, user)): Segments<(String, String)>,
    write: Write,
) -> Result<Answer<()>, Problem> {
    let tenant = tenant(&state, &slug).await?.id;
    let id: UserId = parse_id(&user)?;
    write.unconditional()?;
    let mut members = write.members()?;
    let new = PlainPassword::new(members.required::<String>("password", "a string")?);
    members.finish(["password"])?;
    let context = write.context(tenant);
    let written =
        state.iam.change_password(&context, id, None, new).await.map_err(|error| refused(&error))?;
    Ok(Answer::done(&written))
}

/// Removes a user's second factor
///
/// For who lost theirs and the recovery codes, too. Sessions and tokens stay.
#[utoipa::path(
    delete, path = "/tenants/{slug}/users/{user_id}/second-factor", tag = "users",
    responses((status = 204))
)]
pub(super) async fn remove_user_second_factor(
    State(state): State<AdminState>,
    Segments((slug, user)): Segments<(String, String)>,
    write: Write,
) -> Result<Answer<()>, Problem> {
    let tenant = tenant(&state, &slug).await?.id;
    let id: UserId = parse_id(&user)?;
    write.unconditional()?;
    let removed = state.iam.remove_second_factor(&write.context(tenant), id).await;
    Ok(Answer::done(&removed.map_err(|error| refused(&error))?))
}

async fn read(
    state: &AdminState,
    tenant: TenantId,
    id: UserId,
    consistency: &Consistency,
) -> Result<UserView, Problem> {
    let view = state.iam.get_user(tenant, id, consistency).await.map_err(|error| unread(&error))?;
    view.ok_or_else(Problem::not_found)
}
