//! Clients that register themselves.

use serde_json::{Value, json};

use super::node::{Admin, CALLBACK, Ready, Registered};
use super::relying_party::{Answer, Method, RelyingParty};

/// The demo tenant lets these register: `open`, `initial_access_token`, `closed`.
pub async fn let_register(ready: &Ready, whom: &str) {
    let_register_within(ready, whom, json!({})).await;
}

/// The same within a policy.
pub async fn let_register_within(ready: &Ready, whom: &str, policy: Value) {
    let settings = json!({"settings": {"registration": whom, "registration_policy": policy}});
    let url = format!("{}/v1/tenants/{}", ready.admin_url, ready.tenant);
    let http = reqwest::Client::new();
    let answer = http.patch(url).bearer_auth(&ready.admin_token).json(&settings).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

/// POSTs a registration.
pub async fn register(ready: &Ready, token: Option<&str>, body: &Value) -> Answer {
    let request = reqwest::Client::new().post(format!("{}/oauth2/register", ready.issuer)).json(body);
    let request = token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
    Answer::of(request.send().await.unwrap()).await
}

/// What is usual, with these members in place of its own.
pub fn usual(more: &Value) -> Value {
    let mut body = json!({
        "client_name": "Registered", "redirect_uris": [CALLBACK], "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token"],
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// A client that registered itself in a tenant that is open.
pub async fn registered(ready: &Ready, more: &Value) -> (RelyingParty, Value) {
    let answer = register(ready, None, &usual(more)).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    (party(ready, &answer.body).await, answer.body)
}

/// The relying party that a registration made.
pub async fn party(ready: &Ready, body: &Value) -> RelyingParty {
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let client = Registered { client_id: text("client_id"), client_secret: text("client_secret") };
    let method =
        if body["token_endpoint_auth_method"] == "client_secret_post" { Method::Post } else { Method::Basic };
    RelyingParty::discover(&ready.issuer, &client, method).await
}

/// A registration that is managed by its token.
pub struct Managed {
    pub url: String,
    pub token: String,
}

impl Managed {
    /// From what the registration or the last update said.
    pub fn of(body: &Value) -> Self {
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        Self { url: text("registration_client_uri"), token: text("registration_access_token") }
    }

    /// GET, PUT or DELETE.
    pub async fn send(&self, method: reqwest::Method, body: Option<&Value>) -> Answer {
        let request = reqwest::Client::new().request(method, &self.url).bearer_auth(&self.token);
        let request = body.into_iter().fold(request, reqwest::RequestBuilder::json);
        Answer::of(request.send().await.unwrap()).await
    }
}

/// An initial access token with these terms.
pub async fn initial_access_token(ready: &Ready, terms: Value) -> Value {
    Admin::of(ready).create("initial-access-tokens", terms).await
}
