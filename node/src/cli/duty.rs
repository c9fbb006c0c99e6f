//! `domicile node`: a change of a node's state is begun by the request and done by the cluster, so more is to be said
//! of it than that it was asked.

use serde_json::Value;

use super::access::AdminAccess;
use super::cluster::NodeAction;
use super::{output, resources};

/// Does it, and says what becomes of the node.
pub(super) fn run(access: &AdminAccess, action: &NodeAction) -> anyhow::Result<()> {
    let Some((id, state)) = action.wanted() else { return resources::run(access, &action.request()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (nodes, answer) = runtime.block_on(async {
        let client = access.client().await?;
        let nodes = resources::all_pages(&client, "/v1/nodes").await?;
        anyhow::Ok((nodes, resources::change(&client, &action.request()).await?))
    })?;
    if access.json {
        return resources::print_json(&answer);
    }
    let before = nodes.as_array().into_iter().flatten().find(|node| node["id"] == id);
    Ok(output::line(format_args!("{}", told(id, before, state)))?)
}

/// What became of a node that is to have that state.
fn told(id: u64, before: Option<&Value>, state: &str) -> String {
    let holds = before.and_then(|node| node.get("replicas")).and_then(Value::as_u64);
    let left = match holds {
        Some(0) => " and holds no replica".to_owned(),
        Some(holds) => format!(" and held {holds} replicas when it was asked"),
        None => String::new(),
    };
    if state == "active" {
        let again = if was_so(before, state) { "already" } else { "again" };
        return format!("node {id} is active {again}");
    }
    if was_so(before, state) {
        return format!("nothing to do: node {id} is {state} already{left}");
    }
    format!("node {id} is {state} from now on{left}; `domicile status` shows how far it came")
}

fn was_so(before: Option<&Value>, state: &str) -> bool {
    before.and_then(|node| node.get("state")).and_then(Value::as_str) == Some(state)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_so_already_is_told_from_what_begins() {
        let node = |state: &str, replicas: Value| json!({ "id": 2, "state": state, "replicas": replicas });
        let drained = node("draining", json!(0));
        let told_of = |before: &Value, state| told(2, Some(before), state);
        assert_eq!(
            told_of(&drained, "draining"),
            "nothing to do: node 2 is draining already and holds no replica"
        );
        assert_eq!(
            told_of(&node("decommissioned", Value::Null), "decommissioned"),
            "nothing to do: node 2 is decommissioned already"
        );
        assert!(
            told_of(&node("active", json!(3)), "draining")
                .starts_with("node 2 is draining from now on and held 3 replicas when it was asked; ")
        );
        assert_eq!(told_of(&drained, "active"), "node 2 is active again");
        assert_eq!(told_of(&node("active", json!(3)), "active"), "node 2 is active already");
    }
}
