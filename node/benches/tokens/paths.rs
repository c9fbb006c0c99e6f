//! What is measured: for each path its requests, and the cryptography that it cannot do without.

use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::assertion::Key;
use crate::bare::Work;
use crate::browser::{Browser, CALLBACK};
use crate::delegation;
use crate::http::{Request, once};
use crate::load::Next;
use crate::node::{Client, Node};

/// Tokens and codes that a turn may use up, for each connection.
const STOCK: usize = 400;
const ASSERTION: &str = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";

/// One path.
pub struct Measured<'a> {
    pub name: &'static str,
    /// What the bare handler does.
    pub same: Work,
    /// What is sent to it: as long as what the node gets.
    pub sent: Vec<u8>,
    /// The loops of so many connections.
    pub loops: Box<dyn Fn(usize) -> Vec<Next<'a>> + 'a>,
}

/// All of them.
pub fn all(node: &Node) -> Vec<Measured<'_>> {
    let (service, web) = (node.client(&json!({})), web_client(node, &json!({})));
    vec![
        jwks(node),
        client_credentials(node, &service),
        private_key_jwt(node),
        code(node, &web),
        refresh(node, &web),
        static_refresh(node),
        introspection(node, &service),
        introspection_again(node, &service),
        userinfo(node),
        userinfo_again(node),
        revocation(node, &service),
        delegation::opaque(node),
        delegation::opaque_introspection(node),
        delegation::opaque_introspection_again(node),
        delegation::token_exchange(node),
        delegation::jwt_bearer(node),
        delegation::device_authorization(node),
        delegation::device_code(node),
    ]
}

/// The same request again and again.
pub fn repeated<'a>(request: Request) -> Box<dyn Fn(usize) -> Vec<Next<'a>> + 'a> {
    Box::new(move |connections| {
        let again = || -> Next<'a> {
            let request = request.clone();
            Box::new(move |_| Some(request.clone()))
        };
        (0..connections).map(|_| again()).collect()
    })
}

/// Tokens of a path that has another with each request: half as many again as a node remembers to have read.
pub const TOKENS: usize = 6_144;

/// Requests that come again only after all the others. They are made before the first turn.
pub fn in_turn<'a>(make: impl Fn() -> Vec<Request> + 'a) -> Box<dyn Fn(usize) -> Vec<Next<'a>> + 'a> {
    let stock = OnceCell::<Arc<(Vec<Request>, AtomicUsize)>>::new();
    Box::new(move |connections| {
        let stock = stock.get_or_init(|| Arc::new((make(), AtomicUsize::new(0))));
        let next = || -> Next<'a> {
            let stock = Arc::clone(stock);
            Box::new(move |_| {
                let (requests, turn) = &*stock;
                Some(requests[turn.fetch_add(1, Ordering::Relaxed) % requests.len()].clone())
            })
        };
        (0..connections).map(|_| next()).collect()
    })
}

/// Requests made of a stock that is used up.
pub fn of_stock<'a>(stock: Vec<Request>, connections: usize) -> Vec<Next<'a>> {
    let mut shares: Vec<Vec<Request>> = vec![Vec::new(); connections];
    for (turn, request) in stock.into_iter().enumerate() {
        shares[turn % connections].push(request);
    }
    shares.into_iter().map(|mut share| -> Next<'a> { Box::new(move |_| share.pop()) }).collect()
}

pub fn work(hashes: usize, verifies: usize, signs: usize, body: &Value) -> Work {
    Work { hashes, verifies, signs, body: body.to_string(), ..Work::default() }
}

fn jwks(node: &Node) -> Measured<'_> {
    let request = Request::get(&node.at("jwks"), &node.address);
    let body = String::from_utf8(once(&node.address, &request)).unwrap();
    let same = Work { body, ..Work::default() };
    Measured { name: "jwks", same, sent: Vec::new(), loops: repeated(request) }
}

fn client_credentials<'a>(node: &'a Node, client: &Client) -> Measured<'a> {
    let form = "grant_type=client_credentials";
    let request = node.form("token", form, client);
    let same = work(1, 0, 1, &node.ask(&request));
    Measured { name: "client credentials", same, sent: form.into(), loops: repeated(request) }
}

fn private_key_jwt(node: &Node) -> Measured<'_> {
    let key = Key::generate();
    // The uses of one client's assertions that are remembered are bounded.
    let metadata = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": key.jwks() });
    let clients: Vec<String> = (0..4).map(|_| node.client(&metadata).id).collect();
    let make = move |turn: usize| {
        let client = &clients[turn % clients.len()];
        let assertion = key.assertion(client, client, &node.ready["issuer"]);
        format!(
            "grant_type=client_credentials&client_assertion_type={ASSERTION}&client_assertion={assertion}"
        )
    };
    let sent = make(0).into_bytes();
    let answer = node.ask(&post(node, "token", &make(0)));
    let loops = move |connections: usize| {
        let stock = (0..STOCK * connections).map(|turn| post(node, "token", &make(turn))).collect();
        of_stock(stock, connections)
    };
    Measured { name: "private_key_jwt", same: work(1, 1, 1, &answer), sent, loops: Box::new(loops) }
}

/// A form POST without client authentication in a header.
pub fn post(node: &Node, path: &str, form: &str) -> Request {
    let headers = "content-type: application/x-www-form-urlencoded\r\n";
    Request::with_headers("POST", &node.at(path), &node.address, headers, form.as_bytes())
}

/// A client of browsers, with more metadata.
pub fn web_client(node: &Node, more: &Value) -> Client {
    let mut metadata = json!({
        "redirect_uris": [CALLBACK], "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token"],
    });
    metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    node.client(&metadata)
}

fn code<'a>(node: &'a Node, client: &Client) -> Measured<'a> {
    let answer = node.ask(&Browser::new(node, client).redeem());
    let client = client.clone();
    let loops = move |connections: usize| {
        let mut browser = Browser::new(node, &client);
        of_stock((0..STOCK * connections.min(4)).map(|_| browser.redeem()).collect(), connections)
    };
    let sent = vec![b'x'; 180];
    Measured { name: "authorization code", same: work(3, 0, 2, &answer), sent, loops: Box::new(loops) }
}

fn refresh<'a>(node: &'a Node, client: &Client) -> Measured<'a> {
    let first = node.ask(&Browser::new(node, client).redeem());
    let client = client.clone();
    let loops = move |connections: usize| {
        let mut browser = Browser::new(node, &client);
        let chain = |mut token: String| -> Next<'a> {
            let client = client.clone();
            Box::new(move |last: &[u8]| {
                if let Ok(Value::Object(last)) = serde_json::from_slice(last) {
                    last["refresh_token"].as_str().unwrap().clone_into(&mut token);
                }
                Some(node.form("token", &format!("grant_type=refresh_token&refresh_token={token}"), &client))
            })
        };
        let mut token = || node.ask(&browser.redeem())["refresh_token"].as_str().unwrap().to_owned();
        (0..connections).map(|_| chain(token())).collect()
    };
    let sent = vec![b'x'; 180];
    Measured { name: "refresh", same: work(4, 0, 2, &first), sent, loops: Box::new(loops) }
}

/// No write: the token stays as it is. Each connection has its own.
fn static_refresh(node: &Node) -> Measured<'_> {
    let client = web_client(node, &json!({ "refresh_token_mode": "static" }));
    let issued = node.ask(&Browser::new(node, &client).redeem());
    let token = issued["refresh_token"].as_str().unwrap();
    let form = format!("grant_type=refresh_token&refresh_token={token}");
    let answer = node.ask(&node.form("token", &form, &client));
    assert_eq!(answer["refresh_token"], token);
    let same = work(3, 0, 2, &answer);
    let loops = move |connections: usize| -> Vec<Next<'_>> {
        let tokens = (0..connections).map(|_| Standing::new(node, &client).request);
        tokens.map(|request| -> Next<'_> { Box::new(move |_| Some(request.clone())) }).collect()
    };
    Measured { name: "static refresh", same, sent: form.into_bytes(), loops: Box::new(loops) }
}

pub fn access_token(node: &Node, client: &Client) -> String {
    let issued = node.ask(&node.form("token", "grant_type=client_credentials", client));
    issued["access_token"].as_str().unwrap().to_owned()
}

fn introspection<'a>(node: &'a Node, client: &Client) -> Measured<'a> {
    let path = introspection_again(node, client);
    let client = client.clone();
    let make = move || (0..TOKENS).map(|_| introspected(node, &client).1).collect();
    Measured { name: "introspection", loops: in_turn(make), ..path }
}

/// The same token each time, as who does not remember the answer sends it.
fn introspection_again<'a>(node: &'a Node, client: &Client) -> Measured<'a> {
    let (form, request) = introspected(node, client);
    let same = work(1, 1, 0, &node.ask(&request));
    Measured { name: "introspection again", same, sent: form.into_bytes(), loops: repeated(request) }
}

/// A new token of a client, and how it has it introspected.
pub fn introspected(node: &Node, client: &Client) -> (String, Request) {
    let form = format!("token={}", access_token(node, client));
    let request = node.form("introspect", &form, client);
    (form, request)
}

/// A grant that gives access tokens of one user without a write.
pub struct Standing<'a> {
    node: &'a Node,
    request: Request,
}

impl<'a> Standing<'a> {
    /// To this client, whose refresh tokens stay.
    pub fn new(node: &'a Node, client: &Client) -> Self {
        let issued = node.ask(&Browser::new(node, client).redeem());
        let token = issued["refresh_token"].as_str().unwrap();
        let request = node.form("token", &format!("grant_type=refresh_token&refresh_token={token}"), client);
        Self { node, request }
    }

    /// A new one.
    pub fn access_token(&self) -> String {
        self.node.ask(&self.request)["access_token"].as_str().unwrap().to_owned()
    }
}

fn userinfo(node: &Node) -> Measured<'_> {
    let client = web_client(node, &json!({ "refresh_token_mode": "static" }));
    let standing = Standing::new(node, &client);
    let make = move || (0..TOKENS).map(|_| asked(node, &standing.access_token())).collect();
    Measured { name: "userinfo", loops: in_turn(make), ..userinfo_again(node) }
}

/// The same token each time.
fn userinfo_again(node: &Node) -> Measured<'_> {
    let issued = node.ask(&Browser::new(node, &web_client(node, &json!({}))).redeem());
    let request = asked(node, issued["access_token"].as_str().unwrap());
    let same = work(0, 1, 0, &node.ask(&request));
    Measured { name: "userinfo again", same, sent: Vec::new(), loops: repeated(request) }
}

fn asked(node: &Node, token: &str) -> Request {
    let headers = format!("authorization: Bearer {token}\r\n");
    Request::with_headers("GET", &node.at("userinfo"), &node.address, &headers, b"")
}

fn revocation<'a>(node: &'a Node, client: &Client) -> Measured<'a> {
    let client = client.clone();
    let sent = format!("token={}", access_token(node, &client)).into_bytes();
    let loops = move |connections: usize| {
        let token = |_| node.form("revoke", &format!("token={}", access_token(node, &client)), &client);
        of_stock((0..STOCK * connections.min(4)).map(token).collect(), connections)
    };
    Measured { name: "revocation", same: work(1, 1, 0, &json!({})), sent, loops: Box::new(loops) }
}
