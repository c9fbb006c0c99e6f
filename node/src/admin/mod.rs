//! The admin API under `/v1`: tenants and what is in them, and the cluster, for operators.
//!
//! A handler reads the request (`request.rs`, `members.rs`), asks `Iam`, and answers
//! (`answer.rs`, `error.rs`). Routes and `/openapi.json` come from the same declarations.
//!
//! - **No handler is reached without a token**, an operator's or that of the settings, but for
//!   `/openapi.json`.
//! - **No secret, name or address is logged**: what a caller did wrong is said to the caller only.
//! - **Reads are linearizable** unless the caller hands a consistency token.

mod answer;
mod auth;
mod client_document;
mod client_metadata;
mod clients;
mod cluster;
mod cluster_changes;
mod cluster_control;
mod cluster_documents;
mod cluster_schemas;
mod error;
mod events;
mod grants;
mod initial_access_tokens;
mod instant;
mod keys;
mod members;
mod opaque_operators;
mod openapi;
mod operator_tokens;
mod page;
mod precondition;
mod request;
mod schemas;
mod sessions;
mod state;
mod tenant_settings;
mod tenants;
mod user_members;
mod users;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware;
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::Problem;

pub use cluster_control::{ClusterControl, ControlError, NewJoinToken, SingleNode, WantedDuty};
pub use cluster_documents::{
    ClusterDocument, JoinTokenDocument, LogCutDocument, NodeDocument, PartitionDocument, PlacementDocument,
    RegionDocument, ReplicaDigestDocument, ReplicaDocument,
};
pub use instant::rfc3339;
pub(crate) use opaque_operators::OPERATOR_TOKEN_PATH;
pub use operator_tokens::{OperatorTokens, TokenRefusal};
pub use state::{AdminState, token_sha256};

/// The admin API: `/v1/...` and `/openapi.json`. Sets no fallback outside `/v1`, so that it merges
/// with other routers. Requests must have passed [`crate::serve`]'s guard, which says who asks.
pub fn routes(state: AdminState) -> Router {
    let (api, described) = api().split_for_parts();
    let document = openapi::document(described);
    let api = api
        .fallback(|| async { Problem::not_found() })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(middleware::from_fn_with_state(state.clone(), precondition::conditional))
        .layer(middleware::from_fn_with_state(state.clone(), auth::require_operator))
        .layer(middleware::map_response(answer::never_stored))
        .with_state(state);
    let media_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Router::new().nest("/v1", api).route("/openapi.json", get(move || async move { (media_type, document) }))
}

/// Puts the check of tokens around `routes`, which are [`routes()`] with something around them: whoever has none is
/// refused before a body is read or another node is asked.
pub fn gated(routes: Router, state: AdminState) -> Router {
    routes.layer(middleware::from_fn_with_state(state, auth::require_operator_of_api))
}

/// Every route of `/v1` with its description.
fn api() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(tenants::create_tenant, tenants::list_tenants))
        .routes(routes!(tenants::get_tenant, tenants::update_tenant, tenants::delete_tenant))
        .routes(routes!(users::create_user, users::list_users))
        .routes(routes!(users::get_user, users::update_user, users::erase_user))
        .routes(routes!(users::set_user_password))
        .routes(routes!(users::remove_user_second_factor))
        .routes(routes!(sessions::list_sessions))
        .routes(routes!(sessions::end_session))
        .routes(routes!(grants::list_grants))
        .routes(routes!(grants::revoke_grant))
        .routes(routes!(clients::create_client, clients::list_clients))
        .routes(routes!(clients::get_client, clients::update_client, clients::delete_client))
        .routes(routes!(clients::rotate_client_secret))
        .routes(routes!(
            initial_access_tokens::create_initial_access_token,
            initial_access_tokens::list_initial_access_tokens
        ))
        .routes(routes!(
            initial_access_tokens::get_initial_access_token,
            initial_access_tokens::revoke_initial_access_token
        ))
        .routes(routes!(keys::list_keys))
        .routes(routes!(keys::rotate_keys))
        .routes(routes!(keys::revoke_key))
        .routes(routes!(events::list_events))
        .routes(routes!(events::export_events))
        .routes(routes!(cluster::get_cluster))
        .routes(routes!(cluster_changes::get_cluster_settings, cluster_changes::update_cluster_settings))
        .routes(routes!(cluster::list_nodes))
        .routes(routes!(cluster::drain_node))
        .routes(routes!(cluster::activate_node))
        .routes(routes!(cluster::decommission_node))
        .routes(routes!(cluster::list_regions))
        .routes(routes!(cluster_changes::update_region))
        .routes(routes!(cluster::list_partitions))
        .routes(routes!(cluster::get_partition))
        .routes(routes!(cluster_changes::get_placement, cluster_changes::update_placement))
        .routes(routes!(cluster::transfer_leader))
        .routes(routes!(cluster::snapshot_partition))
        .routes(routes!(cluster::digest_partition))
        .routes(routes!(cluster::create_join_token))
}

/// Method and route of every operation.
#[cfg(test)]
pub(crate) fn operations() -> Vec<(String, String)> {
    let document: serde_json::Value =
        serde_json::from_slice(&openapi::document(api().into_openapi())).unwrap_or_default();
    let paths = document.get("paths").and_then(serde_json::Value::as_object).into_iter().flatten();
    let operations = paths.flat_map(|(path, item)| {
        let methods = item.as_object().into_iter().flat_map(serde_json::Map::keys);
        methods.map(move |method| (method.to_uppercase(), path.clone()))
    });
    operations.collect()
}

#[cfg(test)]
mod tests;
