//! Tokens that say nothing to who holds them, and tokens that one party gets for another.

use serde_json::{Value, json};

use crate::assertion::Key;
use crate::bare::Work;
use crate::browser::Browser;
use crate::node::Node;
use crate::paths::{
    Measured, Standing, TOKENS, in_turn, introspected, of_stock, post, repeated, web_client, work,
};

/// Assertions that a turn may use up, for each connection.
const ASSERTIONS: usize = 400;
/// Devices that a turn may use up, for each of four connections: each takes five requests before it.
const DEVICES: usize = 200;
const BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
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
    let make = move || (0..TOKENS).map(|_| introspected(node, &client).1).collect();
    Measured { name: "opaque introspection", loops: in_turn(make), ..opaque_introspection_again(node) }
}

/// The same token each time.
pub fn opaque_introspection_again(node: &Node) -> Measured<'_> {
    let client = node.client(&json!({ "access_token_format": "opaque" }));
    let (form, request) = introspected(node, &client);
    let same = Work { seals: 1, ..work(1, 0, 0, &node.ask(&request)) };
    Measured { name: "opaque introspection again", same, sent: form.into_bytes(), loops: repeated(request) }
}

/// No write: what is given ends with what it was given for. Another subject token with each request.
pub fn token_exchange(node: &Node) -> Measured<'_> {
    let web = web_client(node, &json!({ "refresh_token_mode": "static" }));
    let policy = json!({ "scope": "openid", "subject_clients": [web.id] });
    let gateway =
        node.client(&json!({ "grant_types": [EXCHANGE], "scope": "openid", "token_exchange": policy }));
    let standing = Standing::new(node, &web);
    let form = move || {
        let subject = standing.access_token();
        format!("grant_type={EXCHANGE}&subject_token={subject}&subject_token_type={ACCESS_TOKEN}")
    };
    let sent = form();
    let same = work(1, 1, 1, &node.ask(&node.form("token", &sent, &gateway)));
    let make = move || (0..TOKENS).map(|_| node.form("token", &form(), &gateway)).collect();
    Measured { name: "token exchange", same, sent: sent.into_bytes(), loops: in_turn(make) }
}

/// No write. What is given is signed, and so is what was brought.
pub fn jwt_bearer(node: &Node) -> Measured<'_> {
    let key = Key::generate();
    // The uses of one issuer's assertions that are remembered are bounded.
    let issuers: Vec<String> = (0..4).map(|place| format!("https://idp-{place}.example")).collect();
    let trusted: Vec<Value> = issuers
        .iter()
        .map(|issuer| json!({ "issuer": issuer, "jwks": key.jwks(), "subject": "username", "scope": "read" }))
        .collect();
    let client = node
        .client(&json!({ "grant_types": [BEARER], "scope": "read", "trusted_assertion_issuers": trusted }));
    let make = move |turn: usize| {
        let (issuer, user) = (&issuers[turn % issuers.len()], node.ready["username"].as_str().unwrap());
        let assertion = key.assertion(issuer, user, &node.ready["issuer"]);
        format!("grant_type={BEARER}&assertion={assertion}")
    };
    let sent = make(0).into_bytes();
    let answer = node.ask(&node.form("token", &make(0), &client));
    let loops = move |connections: usize| {
        let stock = (0..ASSERTIONS * connections).map(|turn| node.form("token", &make(turn), &client));
        of_stock(stock.collect(), connections)
    };
    Measured { name: "jwt bearer", same: work(1, 1, 1, &answer), sent, loops: Box::new(loops) }
}

/// A write: the codes.
pub fn device_authorization(node: &Node) -> Measured<'_> {
    let form = format!("client_id={}&scope=openid", television(node));
    let request = post(node, "device_authorization", &form);
    let same = work(2, 0, 0, &node.ask(&request));
    Measured { name: "device authorization", same, sent: form.into_bytes(), loops: repeated(request) }
}

/// A write, as for each code that is redeemed. Users let the devices in before a turn.
pub fn device_code(node: &Node) -> Measured<'_> {
    let (web, television) = (web_client(node, &json!({})), television(node));
    let first = let_in(node, &television, &mut Browser::new(node, &web));
    let answer = node.ask(&post(node, "token", &first));
    let loops = move |connections: usize| {
        let mut browser = Browser::new(node, &web);
        let mut device = || post(node, "token", &let_in(node, &television, &mut browser));
        of_stock((0..DEVICES * connections.min(4)).map(|_| device()).collect(), connections)
    };
    let sent = first.into_bytes();
    Measured { name: "device code", same: work(4, 0, 2, &answer), sent, loops: Box::new(loops) }
}

/// What a device that its user let in asks for its tokens.
fn let_in(node: &Node, television: &str, browser: &mut Browser<'_>) -> String {
    let form = format!("client_id={television}&scope=openid%20offline_access");
    let codes = node.ask(&post(node, "device_authorization", &form));
    browser.let_in(codes["user_code"].as_str().unwrap());
    let device_code = codes["device_code"].as_str().unwrap();
    format!("grant_type={DEVICE}&client_id={television}&device_code={device_code}")
}

/// A public client, as devices are.
fn television(node: &Node) -> String {
    let client = json!({
        "token_endpoint_auth_method": "none", "grant_types": [DEVICE, "refresh_token"],
        "scope": "openid offline_access",
    });
    node.client(&client).id
}
