//! `/openapi.json`: what the routes say of themselves, and what all of them have in common.

use axum::body::Bytes;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

use super::schemas;

const ABOUT: &str = "Tenants and what is in them. Reads are linearizable, or see at least the write whose \
    `Domicile-Consistency` they carry. Times are RFC 3339 in UTC, but for registered members, which keep their form.";
const METHODS: [&str; 4] = ["get", "post", "patch", "delete"];
/// What any operation may be refused by, or fail with.
const PROBLEMS: [StatusCode; 8] = [
    StatusCode::BAD_REQUEST,
    StatusCode::UNAUTHORIZED,
    StatusCode::FORBIDDEN,
    StatusCode::NOT_FOUND,
    StatusCode::CONFLICT,
    StatusCode::MISDIRECTED_REQUEST,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::SERVICE_UNAVAILABLE,
];
/// What else one may be that reads a body and changes something.
const PROBLEMS_OF_WRITES: [StatusCode; 5] = [
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::PRECONDITION_FAILED,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    StatusCode::UNPROCESSABLE_ENTITY,
];

/// The document's bytes, with `/v1` before each path.
pub(super) fn document(described: OpenApi) -> Bytes {
    // Plain maps, texts and numbers: serialising them cannot fail.
    let described = serde_json::to_value(described).unwrap_or_default();
    Bytes::from(serde_json::to_vec(&complete(described)).unwrap_or_default())
}

fn complete(mut described: Value) -> Value {
    let paths = match described.get_mut("paths").map(Value::take) {
        Some(Value::Object(paths)) => paths,
        Some(_) | None => Map::new(),
    };
    let paths: Map<String, Value> =
        paths.into_iter().map(|(path, item)| (format!("/v1{path}"), complete_path(&path, item))).collect();
    let mut components = match described.pointer_mut("/components/schemas").map(Value::take) {
        Some(Value::Object(derived)) => derived,
        Some(_) | None => Map::new(),
    };
    components.extend(schemas::all());
    json!({
        "openapi": described.get("openapi"),
        "info": { "title": "Domicile admin API", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT },
        "security": [{ "admin_token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "admin_token": { "type": "http", "scheme": "bearer" } },
            "responses": problems(),
            "schemas": components,
        },
    })
}

fn complete_path(path: &str, mut item: Value) -> Value {
    let Some(item_members) = item.as_object_mut() else { return item };
    for method in METHODS {
        if let Some(operation) = item_members.get_mut(method).and_then(Value::as_object_mut) {
            complete_operation(path, method, operation);
        }
    }
    // What changes in place is shown with an entity tag.
    if item_members.contains_key("patch")
        && let Some(operation) = item_members.get_mut("get").and_then(Value::as_object_mut)
    {
        complete_conditional_read(operation);
    }
    item
}

fn complete_operation(path: &str, method: &str, operation: &mut Map<String, Value>) {
    let is_read = method == "get";
    let mut parameters: Vec<Value> = path_parameters(path);
    if let Some(Value::Array(declared)) = operation.remove("parameters") {
        parameters.extend(declared);
    }
    if is_read {
        if !is_as_it_is(path) {
            parameters.push(header("Domicile-Consistency", "Given by a write: this read sees it."));
        }
    } else if is_written(path) {
        parameters.push(header(
            "Idempotency-Key",
            "1 to 255 characters: the same request is done once in 24 hours.",
        ));
    }
    if is_conditional(path, method) {
        parameters.push(header("If-Match", "Entity tags: 412 if it is at none of their revisions."));
    }
    operation.insert("parameters".to_owned(), Value::Array(parameters));

    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    for (status, response) in responses.iter_mut() {
        let Some(response) = response.as_object_mut() else { continue };
        response.insert("description".to_owned(), Value::from(reason(status)));
        if !is_read && is_written(path) {
            let consistency = json!({
                "description": "A read with this value sees this write.",
                "schema": { "type": "string" },
            });
            response.insert("headers".to_owned(), json!({ "Domicile-Consistency": consistency }));
        }
    }
    // All of them, and no `default`: who tests by this document sees an answer that is not in it.
    let of_writes = PROBLEMS_OF_WRITES.into_iter().filter(|_| !is_read);
    for status in PROBLEMS.into_iter().chain(of_writes) {
        let problem = json!({ "$ref": format!("#/components/responses/{}", name(status)) });
        responses.insert(status.as_str().to_owned(), problem);
    }
}

fn complete_conditional_read(operation: &mut Map<String, Value>) {
    if let Some(Value::Array(parameters)) = operation.get_mut("parameters") {
        parameters.push(header("If-None-Match", "Entity tags: 304 if it is as one of them says."));
    }
    if let Some(Value::Object(responses)) = operation.get_mut("responses") {
        let status = StatusCode::NOT_MODIFIED;
        responses.insert(status.as_str().to_owned(), json!({ "description": reason(status.as_str()) }));
    }
}

/// The problem documents, by name.
fn problems() -> Map<String, Value> {
    let problem = |status: StatusCode| {
        let described = json!({
            "description": format!("{}: a problem document (RFC 9457)", reason(status.as_str())),
            "content": { "application/problem+json": { "schema": schemas::reference("Problem") } },
        });
        (name(status), described)
    };
    PROBLEMS.into_iter().chain(PROBLEMS_OF_WRITES).map(problem).collect()
}

/// `NotFound`.
fn name(status: StatusCode) -> String {
    reason(status.as_str()).replace(' ', "")
}

/// Whether a change is written down. Who leads is not, nor how much of a log a node keeps: done again it
/// changes nothing.
fn is_written(path: &str) -> bool {
    !["/transfer-leader", "/snapshot"].iter().any(|order| path.ends_with(order))
}

/// Whether a read waits for nothing: it tells of one replica as that is.
fn is_as_it_is(path: &str) -> bool {
    path.ends_with("/digest")
}

/// Whether the operation is about one thing that has an entity tag.
fn is_conditional(path: &str, method: &str) -> bool {
    let tagged = !["/sessions/", "/grants/", "/keys/", "/regions/"].iter().any(|part| path.contains(part));
    matches!(method, "patch" | "delete") && tagged || path.ends_with("/secret")
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    names
        .map(|name| {
            let about = match name {
                "slug" => "The tenant's name in paths.",
                "client_id" => "The client's internal id or its `client_id`.",
                "kid" => "The key's id, `sig_...`.",
                "user_id" => "The user's id, `usr_...`.",
                "token_id" => "The initial access token's id, `iat_...`.",
                "id" => "The number of the node or partition.",
                "name" => "The region's name.",
                _ => "The session's id, `ses_...`.",
            };
            let schema = json!({ "type": "string" });
            json!({ "name": name, "in": "path", "required": true, "description": about, "schema": schema })
        })
        .collect()
}

fn header(name: &str, about: &str) -> Value {
    json!({ "name": name, "in": "header", "required": false, "description": about, "schema": { "type": "string" } })
}

fn reason(status: &str) -> &'static str {
    StatusCode::from_bytes(status.as_bytes())
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default()
}
