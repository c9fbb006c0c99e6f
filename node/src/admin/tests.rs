//! What the document promises; `tests/admin_*.rs` drives the routes over HTTP.

use std::collections::BTreeSet;

use serde_json::Value;

fn document() -> Value {
    serde_json::from_slice(&super::openapi::document(super::api().into_openapi())).unwrap()
}

/// `GET /v1/...` of each operation.
fn operations(document: &Value) -> BTreeSet<String> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |method| (method, path)))
        .map(|(method, path)| format!("{} {path}", method.to_uppercase()))
        .collect()
}

#[test]
fn every_route_is_described() {
    let expected = [
        "DELETE /v1/tenants/{slug}",
        "DELETE /v1/tenants/{slug}/clients/{client_id}",
        "DELETE /v1/tenants/{slug}/initial-access-tokens/{token_id}",
        "DELETE /v1/tenants/{slug}/sessions/{session_id}",
        "DELETE /v1/tenants/{slug}/users/{user_id}",
        "DELETE /v1/tenants/{slug}/users/{user_id}/grants/{client_id}",
        "DELETE /v1/tenants/{slug}/users/{user_id}/second-factor",
        "GET /v1/cluster",
        "GET /v1/cluster/settings",
        "GET /v1/nodes",
        "GET /v1/partitions",
        "GET /v1/partitions/{id}",
        "GET /v1/partitions/{id}/digest",
        "GET /v1/partitions/{id}/placement",
        "GET /v1/regions",
        "POST /v1/join-tokens",
        "POST /v1/nodes/{id}/activate",
        "POST /v1/nodes/{id}/decommission",
        "POST /v1/nodes/{id}/drain",
        "POST /v1/partitions/{id}/snapshot",
        "POST /v1/partitions/{id}/transfer-leader",
        "GET /v1/tenants",
        "GET /v1/tenants/{slug}",
        "GET /v1/tenants/{slug}/clients",
        "GET /v1/tenants/{slug}/clients/{client_id}",
        "GET /v1/tenants/{slug}/events",
        "GET /v1/tenants/{slug}/events/export",
        "GET /v1/tenants/{slug}/initial-access-tokens",
        "GET /v1/tenants/{slug}/initial-access-tokens/{token_id}",
        "GET /v1/tenants/{slug}/keys",
        "GET /v1/tenants/{slug}/users",
        "GET /v1/tenants/{slug}/users/{user_id}",
        "GET /v1/tenants/{slug}/users/{user_id}/grants",
        "GET /v1/tenants/{slug}/users/{user_id}/sessions",
        "PATCH /v1/cluster/settings",
        "PATCH /v1/partitions/{id}/placement",
        "PATCH /v1/regions/{name}",
        "PATCH /v1/tenants/{slug}",
        "PATCH /v1/tenants/{slug}/clients/{client_id}",
        "PATCH /v1/tenants/{slug}/users/{user_id}",
        "POST /v1/tenants",
        "POST /v1/tenants/{slug}/clients",
        "POST /v1/tenants/{slug}/clients/{client_id}/secret",
        "POST /v1/tenants/{slug}/initial-access-tokens",
        "POST /v1/tenants/{slug}/keys/rotate",
        "DELETE /v1/tenants/{slug}/keys/{kid}",
        "POST /v1/tenants/{slug}/users",
        "POST /v1/tenants/{slug}/users/{user_id}/password",
    ];
    let expected: BTreeSet<String> = expected.into_iter().map(str::to_owned).collect();
    assert_eq!(operations(&document()), expected);
}

/// A handler whose declaration is left out of `api` would be neither served nor described.
#[test]
fn every_declared_handler_is_routed() {
    let sources = [
        include_str!("clients.rs"),
        include_str!("cluster.rs"),
        include_str!("cluster_changes.rs"),
        include_str!("events.rs"),
        include_str!("grants.rs"),
        include_str!("initial_access_tokens.rs"),
        include_str!("keys.rs"),
        include_str!("sessions.rs"),
        include_str!("tenants.rs"),
        include_str!("users.rs"),
    ];
    let declared: usize = sources.iter().map(|source| source.matches("#[utoipa::path(").count()).sum();
    assert_eq!(operations(&document()).len(), declared);
}

#[test]
fn every_reference_leads_to_a_schema() {
    let document = document();
    let mut open = vec![&document];
    let mut references = 0;
    while let Some(value) = open.pop() {
        match value {
            Value::Object(members) => {
                if let Some(target) = members.get("$ref").and_then(Value::as_str) {
                    let pointer = target.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{target}");
                    references += 1;
                }
                open.extend(members.values());
            }
            Value::Array(items) => open.extend(items),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    assert!(references > 40, "{references}");
}

#[test]
fn every_operation_names_its_parameters_and_its_refusals() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let names: Vec<&str> = operation["parameters"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["name"].as_str().unwrap())
                .collect();
            for wanted in path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}')) {
                assert!(names.contains(&wanted), "{method} {path}: {names:?}");
            }
            let header = if method == "get" { "Domicile-Consistency" } else { "Idempotency-Key" };
            // Who leads, and what a log keeps, is written down nowhere: nothing is done twice or to be seen.
            let written = !path.ends_with("/transfer-leader") && !path.ends_with("/snapshot");
            // What a replica has is told as it is.
            assert_eq!(
                names.contains(&header),
                written && !path.ends_with("/digest"),
                "{method} {path}: {names:?}"
            );
            let answers = operation["responses"].as_object().unwrap();
            let tokens = answers.values().filter(|one| !one["headers"]["Domicile-Consistency"].is_null());
            let good = answers.keys().filter(|status| status.starts_with('2')).count();
            let expected = if method == "get" || !written { 0 } else { good };
            assert_eq!(tokens.count(), expected, "{method} {path}");
            // Each refusal by its status: what a `default` covers nobody can hold the node to.
            let refusals: BTreeSet<&str> =
                answers.keys().map(String::as_str).filter(|status| !status.starts_with('2')).collect();
            let mut wanted = BTreeSet::from(["400", "401", "403", "404", "409", "421", "500", "503"]);
            if method == "get" && !item["patch"].is_null() {
                wanted.insert("304");
            }
            if method != "get" {
                wanted.extend(["408", "412", "413", "415", "422"]);
            }
            assert_eq!(refusals, wanted, "{method} {path}");
            assert!(
                operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()),
                "{method} {path}"
            );
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{method} {path}");
        }
    }
}

#[test]
fn the_document_is_stable() {
    let mut document = document();
    document["info"]["version"] = Value::from("[version]");
    insta::assert_json_snapshot!("openapi", document);
}
