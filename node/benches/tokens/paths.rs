//! What is measured: for each path its requests, and the cryptography that it cannot do without.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_raft::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::bare::Work;
use crate::delegation;
use crate::http::{Request, once};
use crate::load::Next;
use crate::node::{Client, Node};

/// Tokens and codes that a turn may use up, for each connection.
const STOCK: usize = 400;
const CALLBACK: &str = "http://127.0.0.1:9/cb";
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
    let (service, web) = (node.client(&json!({})), web_client(node));
    vec![
        jwks(node),
        client_credentials(node, &service),
        private_key_jwt(node),
        code(node, &web),
        refresh(node, &web),
        introspection(node, &service),
        userinfo(node, &web),
        revocation(node, &service),
        delegation::opaque(node),
        delegation::opaque_introspection(node),
        delegation::token_exchange(node),
        delegation::device_authorization(node),
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

/// Requests made of a stock that is used up.
fn of_stock<'a>(stock: Vec<Request>, connections: usize) -> Vec<Next<'a>> {
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
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let jwk = json!({"kty": "EC", "crv": "P-256", "kid": "k", "x": text(x), "y": text(y)});
    // The uses of one client's assertions that are remembered are bounded.
    let metadata = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [jwk] } });
    let clients: Vec<String> = (0..4).map(|_| node.client(&metadata).id).collect();
    let issuer = node.ready["issuer"].clone();
    let make = move || {
        let (now, number) = (SystemClock::new().now().seconds(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let client = &clients[number % clients.len()];
        let claims = json!({
            "iss": client, "sub": client, "aud": issuer, "exp": now + 60, "jti": number.to_string(),
        });
        let header = json!({"alg": "ES256", "kid": "k"}).to_string();
        let message =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!(
            "grant_type=client_credentials&client_assertion_type={ASSERTION}&client_assertion={message}.{}",
            URL_SAFE_NO_PAD.encode(signature.as_ref())
        )
    };
    let sent = make().into_bytes();
    let answer = node.ask(&post(node, "token", &make()));
    let loops = move |connections: usize| {
        let stock = (0..STOCK * connections).map(|_| post(node, "token", &make())).collect();
        of_stock(stock, connections)
    };
    Measured { name: "private_key_jwt", same: work(1, 1, 1, &answer), sent, loops: Box::new(loops) }
}

/// A form POST without client authentication in a header.
pub fn post(node: &Node, path: &str, form: &str) -> Request {
    let headers = "content-type: application/x-www-form-urlencoded\r\n";
    Request::with_headers("POST", &node.at(path), &node.address, headers, form.as_bytes())
}

pub fn web_client(node: &Node) -> Client {
    node.client(&json!({
        "redirect_uris": [CALLBACK], "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token"],
    }))
}

/// A browser that logged in once and allowed: every further request gives a code at once.
pub struct Browser<'a> {
    node: &'a Node,
    client: Client,
    cookies: BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    pub fn new(node: &'a Node, client: &Client) -> Self {
        let mut browser = Self { node, client: client.clone(), cookies: BTreeMap::new() };
        let text = |name: &str| node.ready[name].as_str().unwrap().to_owned();
        let mut place = browser.request();
        let mut form: Option<String> = None;
        // Login, consent, and the redirects between them.
        for _ in 0..8 {
            let (location, body) = browser.send(&place, form.take().as_deref());
            if let Some(location) = location {
                if location.starts_with(CALLBACK) {
                    return browser;
                }
                place = location.replacen(&text("public_url"), "", 1);
                continue;
            }
            let (action, mut fields) = crate::paths::form(&body);
            for (name, value) in &mut fields {
                match name.as_str() {
                    "username" | "login" => *value = text("username"),
                    "password" => *value = text("password"),
                    _ => {}
                }
            }
            place = action;
            let mut encoded = url::form_urlencoded::Serializer::new(String::new());
            form = Some(encoded.extend_pairs(&fields).finish());
        }
        panic!("no code after eight steps, at {place}");
    }

    fn request(&self) -> String {
        format!(
            "{}?response_type=code&client_id={}&redirect_uri=http%3A%2F%2F127.0.0.1%3A9%2Fcb&scope=openid%20offline_access",
            self.node.at("authorize"),
            self.client.id
        )
    }

    fn send(&mut self, place: &str, form: Option<&str>) -> (Option<String>, String) {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut headers = format!("cookie: {}\r\n", cookies.join("; "));
        let method = if form.is_some() { "POST" } else { "GET" };
        if form.is_some() {
            headers = format!(
                "{headers}origin: http://{}\r\ncontent-type: application/x-www-form-urlencoded\r\n",
                self.node.address
            );
        }
        let body = form.unwrap_or_default().as_bytes();
        let request = Request::with_headers(method, place, &self.node.address, &headers, body);
        let answer = crate::http::whole(&self.node.address, &request);
        for cookie in answer.headers("set-cookie") {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        (answer.headers("location").next().map(str::to_owned), answer.body.clone())
    }

    fn code(&mut self) -> String {
        let (location, body) = self.send(&self.request(), None);
        let location = location.unwrap_or_else(|| panic!("no redirect: {body}"));
        let url = url::Url::parse(&location).unwrap();
        url.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned()
    }

    pub fn redeem(&mut self) -> Request {
        let code = self.code();
        let form =
            format!("grant_type=authorization_code&redirect_uri=http%3A%2F%2F127.0.0.1%3A9%2Fcb&code={code}");
        self.node.form("token", &form, &self.client)
    }
}

/// Action and fields of a page's first form with a password or an `allow` button.
fn form(html: &str) -> (String, Vec<(String, String)>) {
    let attribute = |tag: &str, name: &str| {
        let rest = tag.split_once(&format!(" {name}=\"")).map(|(_, rest)| rest).unwrap_or_default();
        rest.split('"').next().unwrap_or_default().replace("&amp;", "&").replace("&#38;", "&")
    };
    let asks = |part: &&str| part.contains("type=\"password\"") || part.contains("name=\"allow\"");
    let part = html.split("<form").skip(1).find(asks).unwrap_or_else(|| panic!("no form: {html}"));
    let part = part.split("</form>").next().unwrap();
    let action = attribute(part.split('>').next().unwrap(), "action");
    let inputs = part.split("<input").skip(1).map(|tag| tag.split('>').next().unwrap());
    let mut fields: Vec<_> = inputs.map(|tag| (attribute(tag, "name"), attribute(tag, "value"))).collect();
    for tag in part.split("<button").skip(1).map(|tag| tag.split('>').next().unwrap()) {
        if attribute(tag, "name") == "allow" {
            fields.push(("allow".to_owned(), attribute(tag, "value")));
        }
    }
    (action, fields)
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

pub fn access_token(node: &Node, client: &Client) -> String {
    let issued = node.ask(&node.form("token", "grant_type=client_credentials", client));
    issued["access_token"].as_str().unwrap().to_owned()
}

fn introspection<'a>(node: &'a Node, client: &Client) -> Measured<'a> {
    let form = format!("token={}", access_token(node, client));
    let request = node.form("introspect", &form, client);
    let same = work(1, 1, 0, &node.ask(&request));
    Measured { name: "introspection", same, sent: form.into_bytes(), loops: repeated(request) }
}

fn userinfo<'a>(node: &'a Node, client: &Client) -> Measured<'a> {
    let issued = node.ask(&Browser::new(node, client).redeem());
    let headers = format!("authorization: Bearer {}\r\n", issued["access_token"].as_str().unwrap());
    let request = Request::with_headers("GET", &node.at("userinfo"), &node.address, &headers, b"");
    let same = work(0, 1, 0, &node.ask(&request));
    Measured { name: "userinfo", same, sent: Vec::new(), loops: repeated(request) }
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
