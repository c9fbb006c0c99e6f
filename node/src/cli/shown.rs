//! Cluster documents as people read them: sizes and times with units, nested members beside the others.

use domicile_raft::Timestamp;
use serde_json::{Map, Value};

use super::cluster::{NODE_COLUMNS, PARTITION_COLUMNS, REPLICA_COLUMNS};
use super::table::{self, Column};
use crate::admin::rfc3339;

/// Times that protocols count in seconds (OpenID Connect Core §5.1, RFC 7591 §3.2.1); of the last one 0 is never.
const SECONDS: [&str; 3] = ["updated_at", "client_id_issued_at", "client_secret_expires_at"];

pub(super) const TENANT_COLUMNS: &[Column] = &[
    ("SLUG", "slug"),
    ("NAME", "display_name"),
    ("ISSUER", "issuer"),
    ("ID", "id"),
    ("DISABLED", "disabled"),
];
pub(super) const USER_COLUMNS: &[Column] =
    &[("ID", "id"), ("USERNAME", "username"), ("EMAIL", "email"), ("DISABLED", "disabled")];
pub(super) const CLIENT_COLUMNS: &[Column] = &[
    ("CLIENT ID", "client_id"),
    ("NAME", "client_name"),
    ("AUTH", "token_endpoint_auth_method"),
    ("GRANTS", "grant_types"),
    ("DISABLED", "disabled"),
];

/// `domicile status`.
pub fn status(cluster: &Value) -> String {
    let empty = Vec::new();
    let list = |name: &str| cluster.get(name).and_then(Value::as_array).unwrap_or(&empty);
    let (nodes, partitions) = (list("nodes"), list("partitions"));
    let of = |items: &[Value], name: &str| items.iter().filter(|item| item[name] == true).count();
    let id = cluster.get("cluster_id").and_then(Value::as_str).unwrap_or("(single node)");
    let (gone, members): (Vec<Value>, Vec<Value>) =
        nodes.iter().cloned().partition(|node| node["state"] == "decommissioned");
    let mut out = format!(
        "cluster {id}: {} of {} nodes answer, {} of {} partitions are available\n\n",
        of(&members, "alive"),
        members.len(),
        of(partitions, "available"),
        partitions.len(),
    );
    // One that a partition still counts on is no history yet.
    let (stay, past): (Vec<Value>, Vec<Value>) = gone
        .into_iter()
        .partition(|node| partitions.iter().any(|partition| has_member(partition, &node["id"])));
    let shown = members.iter().chain(&stay).map(node);
    out += &table::render(NODE_COLUMNS, &shown.collect::<Vec<_>>());
    if !past.is_empty() {
        let verb = if past.len() == 1 { "is" } else { "are" };
        let left_out = format!("and {} decommissioned, which {verb} in `domicile node list`\n", past.len());
        out += &left_out;
    }
    out.push('\n');
    out += &table::render(PARTITION_COLUMNS, &partitions.iter().map(partition).collect::<Vec<_>>());
    out
}

fn has_member(partition: &Value, node: &Value) -> bool {
    let list = |name: &str| partition.get(name).and_then(Value::as_array);
    ["voters", "learners"].into_iter().filter_map(list).flatten().any(|member| member == node)
}

/// An item with its times told alike, whatever its protocol counts them in.
pub(super) fn with_times(item: &Value) -> Value {
    let mut shown = item.clone();
    let Some(members) = shown.as_object_mut() else { return shown };
    for name in SECONDS {
        let Some(seconds) = members.get(name).and_then(Value::as_u64) else { continue };
        let never = seconds == 0 && name == "client_secret_expires_at";
        let text = if never { "never".to_owned() } else { rfc3339(Timestamp(seconds.saturating_mul(1_000))) };
        members.insert(name.to_owned(), text.into());
    }
    shown
}

/// `domicile partition show`.
pub(super) fn partition_with_replicas(shown: &Value) -> String {
    let mut one = partition(shown);
    let replicas = one.as_object_mut().and_then(|members| members.remove("replicas"));
    let replicas: Vec<Value> =
        replicas.as_ref().and_then(Value::as_array).into_iter().flatten().map(flat).collect();
    let headings = PARTITION_COLUMNS
        .iter()
        .map(|(title, member)| (title.to_lowercase(), one.get(*member).cloned().unwrap_or(Value::Null)));
    let members: Map<String, Value> = headings.collect();
    format!("{}\n{}", table::render_one(&Value::Object(members)), table::render(REPLICA_COLUMNS, &replicas))
}

/// A row of any list: what the documents nest or count in base units is told for people.
pub(super) fn row(path: &str, item: &Value) -> Value {
    match path {
        "/v1/nodes" => node(item),
        "/v1/partitions" => partition(item),
        "/v1/tenants" => tenant(item),
        _ => item.clone(),
    }
}

/// Of one whose home does not answer only the directory's part is known.
fn tenant(item: &Value) -> Value {
    let mut shown = item.clone();
    if let Some(members) = shown.as_object_mut()
        && item.get("available") == Some(&Value::Bool(false))
    {
        members.insert("display_name".to_owned(), "(its home does not answer)".into());
    }
    shown
}

fn node(item: &Value) -> Value {
    let mut shown = flat(item);
    let Some(members) = shown.as_object_mut() else { return shown };
    let number = |name: &str| item.get(name).and_then(Value::as_u64);
    members.insert("uptime".to_owned(), number("uptime_s").map(duration).into());
    members.insert("data".to_owned(), number("data_bytes").map(size).into());
    members.insert("round_trip".to_owned(), number("round_trip_ms").map(|ms| format!("{ms}ms")).into());
    if item.get("errors").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        members.insert("errors".to_owned(), Value::Null);
    }
    shown
}

fn partition(item: &Value) -> Value {
    let mut shown = flat(item);
    let Some(members) = shown.as_object_mut() else { return shown };
    if let Some(placement) = item.get("placement").and_then(Value::as_object) {
        for name in ["regions", "survive"] {
            members.insert(name.to_owned(), placement.get(name).cloned().unwrap_or(Value::Null));
        }
    }
    let lags = item.get("replicas").and_then(Value::as_array).into_iter().flatten();
    let most = lags.filter_map(|replica| replica.get("lag").and_then(Value::as_u64)).max();
    members.insert("lag".to_owned(), most.into());
    shown
}

/// With the health's state, and its reason if it has one, as a plain member.
fn flat(item: &Value) -> Value {
    let mut shown = item.clone();
    if let (Some(members), Some(health)) = (shown.as_object_mut(), item.get("health")) {
        let text = |name: &str| health.get(name).and_then(Value::as_str);
        let state = match (text("state"), text("reason")) {
            (Some(state), Some(reason)) => Value::from(format!("{state}: {reason}")),
            (state, _) => state.into(),
        };
        members.insert("state".to_owned(), state);
    }
    shown
}

/// The two largest units.
fn duration(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let Some(first) = units.iter().position(|(_, length)| seconds >= *length) else { return "0s".to_owned() };
    let mut left = seconds;
    let parts = units.iter().skip(first).take(2).map(|(name, length)| {
        let part = format!("{}{name}", left / length);
        left %= length;
        part
    });
    parts.collect::<Vec<_>>().concat()
}

fn size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.iter().find(|(_, shift)| bytes >= 1 << shift);
    // In tenths, rounded down.
    unit.map_or_else(
        || format!("{bytes}B"),
        |(name, shift)| {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{}{name}", tenths / 10, tenths % 10)
        },
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_and_times_have_units() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (61, "1m1s"), (7_260, "2h1m"), (90_000, "1d1h")] {
            assert_eq!(duration(seconds), text);
        }
        for (bytes, text) in
            [(5, "5B"), (1_536, "1.5KiB"), (3 << 20, "3.0MiB"), (u64::MAX, "17179869183.9GiB")]
        {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_tenant_whose_home_does_not_answer_is_told_from_one_without_a_name() {
        let unanswered = json!({"id": "ten_1", "slug": "acme", "partition": 3, "available": false});
        assert_eq!(row("/v1/tenants", &unanswered)["display_name"], "(its home does not answer)");
        let shown = json!({"id": "ten_1", "slug": "acme", "display_name": "Acme", "partition": 3});
        assert_eq!(row("/v1/tenants", &shown), shown);
    }

    #[test]
    fn times_look_alike_whatever_their_protocol_counts_them_in() {
        let told = with_times(&json!({
            "created_at": "2026-01-02T03:04:05.006Z", "updated_at": 1_311_280_970_u64,
            "client_secret_expires_at": 0, "name": "Ann",
        }));
        let expects = json!({
            "created_at": "2026-01-02T03:04:05.006Z", "updated_at": "2011-07-21T20:42:50.000Z",
            "client_secret_expires_at": "never", "name": "Ann",
        });
        assert_eq!(told, expects);
    }

    #[test]
    fn the_status_leaves_out_decommissioned_nodes_that_no_partition_counts_on() {
        let node = |id: u64, state: &str, alive: bool| json!({"id": id, "state": state, "alive": alive, "zone": format!("z{id}")});
        let cluster = json!({
            "cluster_id": "c1",
            "nodes": [
                node(1, "active", true), node(2, "decommissioned", false),
                node(3, "active", false), node(4, "decommissioned", true),
            ],
            "partitions": [{"id": 0, "voters": [1, 2, 3], "learners": [], "available": true}],
        });
        let text = status(&cluster);
        assert!(
            text.starts_with("cluster c1: 1 of 2 nodes answer, 1 of 1 partitions are available\n"),
            "{text}"
        );
        assert!(text.contains("z1") && text.contains("z2") && text.contains("z3"), "{text}");
        assert!(!text.contains("z4") && text.contains("and 1 decommissioned, which is in"), "{text}");
    }

    #[test]
    fn the_status_tells_of_nodes_and_partitions() {
        let cluster = json!({
            "cluster_id": "c1",
            "nodes": [
                {"id": 1, "region": "eu-central", "zone": "a", "state": "active", "alive": true,
                 "version": "0.1.0", "uptime_s": 61, "replicas": 2, "leads": 1, "data_bytes": 2048,
                 "round_trip_ms": 0, "peer_address": "127.0.0.1:1", "public_url": "http://127.0.0.1:2", "errors": []},
                {"id": 2, "region": "eu-central", "zone": "b", "state": "draining", "alive": false,
                 "version": "", "errors": ["node 2 cannot be reached"]},
            ],
            "partitions": [
                {"id": 0, "leader": 1, "term": 2, "voters": [1, 2], "learners": [], "applied": 9, "committed": 9,
                 "available": true, "tolerance": "none", "health": {"state": "running"},
                 "placement": {"regions": ["any"], "survive": "region"},
                 "replicas": [{"node": 1, "lag": 0}, {"node": 2, "lag": 3}]},
            ],
        });
        let text = status(&cluster);
        assert!(
            text.starts_with("cluster c1: 1 of 2 nodes answer, 1 of 1 partitions are available\n\n"),
            "{text}"
        );
        for line in [
            "ID  REGION      ZONE  STATE     ALIVE  VERSION  UPTIME  REPLICAS  LEADS  DATA    RTT  PEERS        PUBLIC              ERRORS",
            "1   eu-central  a     active    yes    0.1.0    1m1s    2         1      2.0KiB  0ms  127.0.0.1:1  http://127.0.0.1:2  -",
            "PARTITION  PLACEMENT  SURVIVE  TOLERANCE  AVAILABLE  LEADER  TERM  VOTERS  LEARNERS  COMMITTED  LAG  HEALTH",
            "0          any        region   none       yes        1       2     1,2               9          3    running",
        ] {
            assert!(text.contains(line), "{line}\nis not in\n{text}");
        }
    }
}
