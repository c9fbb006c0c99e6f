//! A running node and a caller with the admin token.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::oidc_support::node;

/// What the node says of itself in `/openapi.json`.
static DOCUMENT: OnceCell<Value> = OnceCell::const_new();

/// Sends what a test says.
pub struct Caller {
    http: reqwest::Client,
    base: String,
    token: String,
    /// The demo tenant.
    pub tenant: String,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    /// Null where the body is no JSON.
    pub json: Value,
}

impl Caller {
    /// Of the node that this file's tests share.
    pub async fn new() -> Self {
        let ready = &node::shared().await.ready;
        Self {
            http: reqwest::Client::new(),
            base: ready.admin_url.clone(),
            token: ready.admin_token.clone(),
            tenant: ready.tenant.clone(),
        }
    }

    /// A path below the demo tenant.
    pub fn at(&self, path: &str) -> String {
        format!("/v1/tenants/{}{path}", self.tenant)
    }

    /// Any request, with the token. Its answer has a status that the document names.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let url = format!("{}{path}", self.base);
        let mut request = self.http.request(method.clone(), url).bearer_auth(&self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = Answer::read(request.send().await.unwrap()).await;
        self.is_described(&method, path, answer.status).await;
        answer
    }

    /// Nothing is said of paths and methods that are not offered.
    async fn is_described(&self, method: &Method, path: &str, status: u16) {
        let url = format!("{}/openapi.json", self.base);
        let read = || async { self.http.get(&url).send().await.unwrap().json().await.unwrap() };
        let document: &Value = DOCUMENT.get_or_init(read).await;
        let sent: Vec<&str> = path.split('?').next().unwrap().split('/').collect();
        let fits = |template: &str| {
            let template: Vec<&str> = template.split('/').collect();
            let same = |(wanted, sent): (&&str, &&str)| wanted.starts_with('{') || wanted == sent;
            template.len() == sent.len() && template.iter().zip(&sent).all(same)
        };
        let method = method.as_str().to_lowercase();
        let paths = document["paths"].as_object().unwrap().iter();
        let operations: Vec<&Value> =
            paths.filter(|(template, _)| fits(template)).filter_map(|(_, item)| item.get(&method)).collect();
        let has = |operation: &&Value| operation["responses"].get(status.to_string()).is_some();
        assert!(
            operations.is_empty() || operations.iter().any(has),
            "{method} {path}: {status} is not in the document"
        );
    }

    /// A request without the token.
    pub async fn send_open(&self, method: Method, path: &str) -> Answer {
        Answer::read(self.http.request(method, format!("{}{path}", self.base)).send().await.unwrap()).await
    }

    /// A POST of raw bytes.
    pub async fn post_raw(&self, path: &str, content_type: &str, body: Vec<u8>) -> Answer {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.token);
        Answer::read(request.header("content-type", content_type).body(body).send().await.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, &[], Some(&body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, &[], Some(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], None).await
    }

    /// All items of a list, `page_size` at a time.
    pub async fn all(&self, path: &str, page_size: u32) -> Vec<Value> {
        let (mut items, mut token) = (Vec::new(), None::<String>);
        loop {
            let next = token.as_ref().map(|token| format!("&page_token={token}")).unwrap_or_default();
            let page = self.get(&format!("{path}?page_size={page_size}{next}")).await.expect(200);
            let found = page.json["items"].as_array().unwrap();
            assert!(found.len() <= page_size as usize, "{page:?}");
            items.extend(found.iter().cloned());
            match page.json["next_page_token"].as_str() {
                Some(next) => token = Some(next.to_owned()),
                None => return items,
            }
        }
    }
}

impl Answer {
    async fn read(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Self { status, headers, text, json }
    }

    /// It, if it has this status.
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// It, if it is this problem.
    pub fn problem(self, status: u16, kind: &str) -> Self {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.json["type"], format!("urn:domicile:problem:{kind}"), "{self:?}");
        assert_eq!(self.json["status"], status, "{self:?}");
        self.expect(status)
    }

    /// A header, empty if absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// A text member.
    pub fn text_of(&self, name: &str) -> String {
        self.json[name].as_str().unwrap_or_else(|| panic!("no `{name}` in {self:?}")).to_owned()
    }
}
