//! Login sessions: `/v1/tenants/{slug}/users/{user_id}/sessions` and `/v1/tenants/{slug}/sessions`.

use std::collections::BTreeMap;

use axum::extract::State;
use domicile_iam::ids::{ClientId, SessionId, UserId};
use domicile_iam::model::{Authentication, SessionView};
use domicile_iam::streams::session::SessionEndReason;
use domicile_raft::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::error::{refused, unread};
use super::instant;
use super::page::{Items, PageQuery, Wanted};
use super::request::{Fresh, Segments, Write, parse_id};
use super::state::AdminState;
use super::tenants::tenant;
use crate::problem::Problem;

/// A login session.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionDocument {
    /// `ses_...`.
    #[schema(value_type = String)]
    id: SessionId,
    /// Whose it is.
    #[schema(value_type = String)]
    user: UserId,
    /// In order of time.
    authentications: Vec<AuthenticationDocument>,
    /// `sid` by client id.
    #[schema(value_type = BTreeMap<String, String>)]
    clients: BTreeMap<ClientId, String>,
    /// When it began, RFC 3339.
    #[serde(serialize_with = "instant::serialize")]
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// When it ends without use, RFC 3339.
    #[serde(serialize_with = "instant::serialize")]
    #[schema(value_type = String, format = DateTime)]
    idle_expires_at: Timestamp,
    /// When it ends at the latest, RFC 3339.
    #[serde(serialize_with = "instant::serialize")]
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// One proof of who the user is.
#[derive(Serialize, ToSchema)]
pub(super) struct AuthenticationDocument {
    /// A value of RFC 8176.
    method: String,
    /// When it happened, RFC 3339.
    #[serde(serialize_with = "instant::serialize")]
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// The assurance it gave.
    acr: String,
}

impl From<Authentication> for AuthenticationDocument {
    fn from(Authentication { method, at, acr }: Authentication) -> Self {
        Self { method, at, acr }
    }
}

impl From<SessionView> for SessionDocument {
    fn from(view: SessionView) -> Self {
        let SessionView { id, user, authentications, clients, started_at, idle_expires_at, expires_at } =
            view;
        let authentications = authentications.into_iter().map(AuthenticationDocument::from).collect();
        Self { id, user, authentications, clients, started_at, idle_expires_at, expires_at }
    }
}

/// Lists a user's sessions
///
/// Those that are not over, in order of start.
#[utoipa::path(
    get, path = "/tenants/{slug}/users/{user_id}/sessions", tag = "sessions", params(PageQuery),
    responses((status = 200, body = Items<SessionDocument>))
)]
pub(super) async fn list_sessions(
    State(state): State<AdminState>,
    Segments((slug, user)): Segments<(String, String)>,
    Wanted(page, list): Wanted,
    Fresh(consistency): Fresh,
) -> Result<Answer<Items<SessionDocument>>, Problem> {
    let tenant = tenant(&state, &slug).await?.id;
    let user: UserId = parse_id(&user)?;
    let page =
        state.iam.list_sessions(tenant, user, &page, &consistency).await.map_err(|error| unread(&error))?;
    Ok(Answer::ok(Items::of(list, page, SessionDocument::from)))
}

/// Ends a session
///
/// Tokens issued in it are void, but for offline ones.
#[utoipa::path(delete, path = "/tenants/{slug}/sessions/{session_id}", tag = "sessions", responses((status = 204)))]
pub(super) async fn end_session(
    State(state): State<AdminState>,
    Segments((slug, session)): Segments<(String, String)>,
    write: Write,
) -> Result<Answer<()>, Problem> {
    let tenant = tenant(&state, &slug).await?.id;
    let id: SessionId = parse_id(&session)?;
    write.unconditional()?;
    let context = write.context(tenant);
    let ended = state.iam.end_session(&context, id, SessionEndReason::Administrator).await;
    Ok(Answer::done(&ended.map_err(|error| refused(&error))?))
}
