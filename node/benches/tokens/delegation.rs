//! Tokens that say nothing to who holds them, and tokens that one party gets for another.

use serde_json::json;

use crate::bare::Work;
use crate::node::Node;
use crate::paths::{Browser, Measured, access_token, post, repeated, web_client, work};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

pub fn opaque(node: &Node) -> Measured<'_> {
    let client = node.client(&json!({ "access_token_format": "opaque" }));
    let form = "grant_type=client_credentials";
    let request = node.form("token", form, &client);
    let same = Work { seals: 1, ..work(1, 0, 0, &node.ask(&request)) };
    Measured { name: "opaque token", same, sent: form.into(), loops: repeated(request) }
}

pub fn opaque_introspection(node: &Node) -> Measured<'_> {
    let client = node.client(&json!({ "access_token_format": "opaque" }));
    let form = format!("token={}", access_token(node, &client));
    let request = node.form("introspect", &form, &client);
    let same = Work { seals: 1, ..work(1, 0, 0, &node.ask(&request)) };
    Measured { name: "opaque introspection", same, sent: form.into_bytes(), loops: repeated(request) }
}

/// No write: what is given ends with what it was given for.
pub fn token_exchange(node: &Node) -> Measured<'_> {
    let web = web_client(node);
    let policy = json!({ "scope": "openid", "subject_clients": [web.id] });
    let gateway =
        node.client(&json!({ "grant_types": [EXCHANGE], "scope": "openid", "token_exchange": policy }));
    let issued = node.ask(&Browser::new(node, &web).redeem());
    let subject = issued["access_token"].as_str().unwrap();
    let form = format!("grant_type={EXCHANGE}&subject_token={subject}&subject_token_type={ACCESS_TOKEN}");
    let request = node.form("token", &form, &gateway);
    let same = work(1, 1, 1, &node.ask(&request));
    Measured { name: "token exchange", same, sent: form.into_bytes(), loops: repeated(request) }
}

/// A write: the codes.
pub fn device_authorization(node: &Node) -> Measured<'_> {
    let form = format!("client_id={}&scope=openid", television(node));
    let request = post(node, "device_authorization", &form);
    let same = work(2, 0, 0, &node.ask(&request));
    Measured { name: "device authorization", same, sent: form.into_bytes(), loops: repeated(request) }
}

/// A public client, as devices are.
fn television(node: &Node) -> String {
    let client = json!({
        "token_endpoint_auth_method": "none", "grant_types": [DEVICE, "refresh_token"],
        "scope": "openid offline_access",
    });
    node.client(&client).id
}
