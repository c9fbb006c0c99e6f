//! Device authorization (RFC 8628): each leg at another node.

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::browser::{Browser, PageKind};
use super::{Answer, Cluster, Node, answer, node, text};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

async fn send(cluster: &Cluster, node: &Node, path: &str, fields: &[(&str, &str)]) -> Answer {
    answer(cluster.http.post(cluster.endpoint(node, path)).form(fields)).await
}

/// The user's way, each request at the next node.
async fn let_in(cluster: &Cluster, order: &[Node], user_code: &str) {
    let tenant = cluster.tenant();
    let origin = url::Url::parse(&tenant.issuer).unwrap().origin().ascii_serialization();
    let nodes: Vec<&str> = order.iter().map(|node| node.public_url.as_str()).collect();
    let mut browser = Browser::balanced(&origin, &nodes);
    let person = node::Person { username: tenant.username.clone(), password: tenant.password.clone() };
    let page = browser.open(&format!("{}/device", tenant.issuer)).await.page();
    let login = browser.submit(&page, &[("user_code", user_code)], "").await.page();
    let consent = browser.log_in(&login, &person).await.page();
    assert_eq!(consent.kind, PageKind::Consent, "{}", consent.html);
    let done = browser.submit(&consent, &[], "allow").await.page();
    assert!(done.html.contains("<h1>Your device is connected</h1>"), "{}", done.html);
}

pub async fn a_device_is_let_in_through_whichever_node(cluster: &Cluster) {
    let nodes = cluster.by_duty().await;
    let metadata = json!({
        "client_name": "Television", "grant_types": [GRANT], "response_types": [],
        "token_endpoint_auth_method": "none", "scope": "openid profile",
    });
    let made = cluster.admin(&nodes[2], Method::POST, "/clients", &[], Some(&metadata)).await;
    let id = ("client_id", text(&made, "client_id"));
    for turn in 0..3 {
        let mut order = nodes.clone();
        order.rotate_left(turn);
        let asked = [id, ("scope", "openid profile")];
        let started = send(cluster, &order[0], "/oauth2/device_authorization", &asked).await;
        assert_eq!(started.status, StatusCode::OK, "{}", started.body);
        let fields = [id, ("grant_type", GRANT), ("device_code", text(&started, "device_code"))];
        // One node counts for all how often the device asks.
        for (node, error) in [(&order[1], "authorization_pending"), (&order[2], "slow_down")] {
            let waits = send(cluster, node, "/oauth2/token", &fields).await;
            assert_eq!((waits.status, text(&waits, "error")), (StatusCode::BAD_REQUEST, error));
        }
        let_in(cluster, &order, text(&started, "user_code")).await;
        let tokens = send(cluster, &order[1], "/oauth2/token", &fields).await;
        assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
        // An answer that was lost is given again wherever it is asked for, and revokes nothing.
        let again = send(cluster, &order[2], "/oauth2/token", &fields).await;
        assert_eq!(again.status, StatusCode::OK, "{}", again.body);
        for answer in [&tokens, &again] {
            let bearer = text(answer, "access_token");
            let asked = cluster.http.get(cluster.endpoint(&order[0], "/oauth2/userinfo"));
            let shown = crate::answer(asked.bearer_auth(bearer)).await;
            assert_eq!(shown.status, StatusCode::OK, "{}", shown.body);
        }
    }
}
