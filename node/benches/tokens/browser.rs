//! A person's browser, as far as codes and devices need one.

use std::collections::BTreeMap;

use crate::http::{Request, whole};
use crate::node::{Client, Node};

pub const CALLBACK: &str = "http://127.0.0.1:9/cb";
/// Pages and redirects of one way at most.
const STEPS_MAX: usize = 8;

/// A browser that logged in once and allowed: every further request gives a code at once.
pub struct Browser<'a> {
    node: &'a Node,
    client: Client,
    cookies: BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    pub fn new(node: &'a Node, client: &Client) -> Self {
        let mut browser = Self { node, client: client.clone(), cookies: BTreeMap::new() };
        let text = |name: &str| node.ready[name].as_str().unwrap();
        let person = [("login", text("username")), ("password", text("password"))];
        let request = browser.request();
        browser.walk(request, &person, CALLBACK);
        browser
    }

    /// Lets in the device that shows this code.
    pub fn let_in(&mut self, user_code: &str) {
        let (page, done) = (format!("{}/device", self.node.base), format!("{}/device/done", self.node.base));
        self.walk(page, &[("user_code", user_code)], &done);
    }

    /// Goes on from page to page, with each form filled in and allowed, until it is sent to where `end` begins.
    fn walk(&mut self, mut place: String, fill: &[(&str, &str)], end: &str) {
        let node = self.node;
        let origin = node.ready["public_url"].as_str().unwrap();
        let mut form: Option<String> = None;
        for _ in 0..STEPS_MAX {
            let (location, body) = self.send(&place, form.take().as_deref());
            if let Some(location) = location {
                if location.starts_with(end) {
                    return;
                }
                place = location.replacen(origin, "", 1);
                continue;
            }
            let (action, mut fields) = filled_in(&body);
            for (name, value) in &mut fields {
                if let Some((_, known)) = fill.iter().find(|(field, _)| *field == name.as_str()) {
                    (*known).clone_into(value);
                }
            }
            place = action;
            let mut encoded = url::form_urlencoded::Serializer::new(String::new());
            form = Some(encoded.extend_pairs(&fields).finish());
        }
        panic!("not at {end} after {STEPS_MAX} steps, but at {place}");
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
        let answer = whole(&self.node.address, &request);
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

/// Action and fields of a page's first form with a password, a device's code or an `allow` button.
fn filled_in(html: &str) -> (String, Vec<(String, String)>) {
    let attribute = |tag: &str, name: &str| {
        let rest = tag.split_once(&format!(" {name}=\"")).map(|(_, rest)| rest).unwrap_or_default();
        rest.split('"').next().unwrap_or_default().replace("&amp;", "&").replace("&#38;", "&")
    };
    let wanted = ["type=\"password\"", "name=\"user_code\"", "name=\"allow\""];
    let asks = |part: &&str| wanted.iter().any(|text| part.contains(*text));
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
