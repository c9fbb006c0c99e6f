//! The audit log: `/v1/tenants/{slug}/events`.

use std::error::Error as _;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, State};
use axum::http::header::{self, HeaderValue};
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use domicile_iam::audit::{Export, ExportError};
use domicile_iam::model::PageRequest;
use domicile_iam::query::{EventFilter, EventView};
use domicile_raft::Timestamp;
use futures::stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::answer::Answer;
use super::error::unread;
use super::instant;
use super::page::{Items, List, PageQuery, query};
use super::request::{Fresh, Segments};
use super::state::AdminState;
use super::tenants::{barrier, tenant};
use crate::problem::Problem;

/// Events read at a time.
const EXPORT_EVENTS_MAX: usize = 256;

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventQuery {
    /// Items wanted. More than 200 gives 200.
    #[param(minimum = 1, default = 50)]
    page_size: Option<u32>,
    /// `next_page_token` of the page before.
    page_token: Option<String>,
    /// Only of this stream, by its id (`usr_...`).
    stream: Option<String>,
    /// Only of this type, such as `user.created`.
    #[serde(rename = "type")]
    event_type: Option<String>,
}

/// The part of the log asked for. An extractor.
pub(super) struct WantedEvents(PageRequest, List, EventFilter);

impl<S: Sync> FromRequestParts<S> for WantedEvents {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let EventQuery { page_size, page_token, stream, event_type } = query(parts)?;
        let list = List::at(parts);
        let page = PageQuery::checked(list, page_size, page_token)?;
        Ok(Self(page, list, EventFilter { stream, event_type }))
    }
}

/// Something that happened.
#[derive(Serialize, ToSchema)]
pub(super) struct EventDocument {
    /// Its number in the tenant's chain, from 1.
    sequence: u64,
    /// Such as `user.created`.
    #[serde(rename = "type")]
    event_type: String,
    /// Schema it was written in.
    schema: u16,
    /// The stream's id (`usr_...`).
    stream: String,
    /// Its number in the stream, from 1.
    revision: u64,
    /// When it was decided, RFC 3339.
    #[serde(serialize_with = "instant::serialize")]
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Who did it.
    #[schema(value_type = Object)]
    actor: Value,
    /// In which request: `X-Request-Id` of its answer.
    request_id: String,
    /// Its content. A value whose key is destroyed shows as `{"sealed":true}`.
    #[schema(value_type = Object)]
    data: Value,
}

impl From<EventView> for EventDocument {
    fn from(view: EventView) -> Self {
        let EventView { sequence, event_type, schema, stream, revision, at, actor, request_id, data } = view;
        Self { sequence, event_type, schema, stream, revision, at, actor, request_id, data }
    }
}

/// Pages the audit log
///
/// Oldest first.
#[utoipa::path(
    get, path = "/tenants/{slug}/events", tag = "events", params(EventQuery),
    responses((status = 200, body = Items<EventDocument>))
)]
pub(super) async fn list_events(
    State(state): State<AdminState>,
    Segments(slug): Segments<String>,
    WantedEvents(page, list, filter): WantedEvents,
    Fresh(consistency): Fresh,
) -> Result<Answer<Items<EventDocument>>, Problem> {
    let tenant = tenant(&state, &slug).await?.id;
    let page =
        state.iam.events(tenant, &page, &filter, &consistency).await.map_err(|error| unread(&error))?;
    Ok(Answer::ok(Items::of(list, page, EventDocument::from)))
}

/// Exports the audit log
///
/// The whole chain as stored, sealed, one JSON value a line, for `domicile audit verify`. An answer
/// that breaks off is not whole; the verifier says so.
#[utoipa::path(
    get, path = "/tenants/{slug}/events/export", tag = "events",
    responses((status = 200, content_type = "application/jsonl", body = String))
)]
pub(super) async fn export_events(
    State(state): State<AdminState>,
    Segments(slug): Segments<String>,
    Fresh(consistency): Fresh,
) -> Result<Response, Problem> {
    let tenant = tenant(&state, &slug).await?.id;
    barrier(&state, tenant, &consistency).await?;
    let mut export = state.iam.export(tenant, &consistency).await.map_err(|error| unread(&error))?;
    // The first lines are read before the status is sent, so that a failure then still has one.
    let first = next_chunk(&mut export).map_err(|_| Problem::internal())?;
    let chunks = stream::try_unfold((export, first), |(mut export, chunk)| async move {
        let Some(chunk) = chunk else { return Ok::<_, ExportError>(None) };
        let next = next_chunk(&mut export)?;
        Ok(Some((chunk, (export, next))))
    });
    let media_type = HeaderValue::from_static("application/jsonl");
    Ok(([(header::CONTENT_TYPE, media_type)], Body::from_stream(chunks)).into_response())
}

/// The next lines; `None` at the end.
fn next_chunk(export: &mut Export) -> Result<Option<Bytes>, ExportError> {
    let lines = export.next_lines(EXPORT_EVENTS_MAX).inspect_err(
        |error| tracing::error!(%error, cause = error.source(), "an export of the audit log broke off"),
    )?;
    if lines.is_empty() {
        return Ok(None);
    }
    let mut text = lines.join("\n");
    text.push('\n');
    Ok(Some(Bytes::from(text)))
}
