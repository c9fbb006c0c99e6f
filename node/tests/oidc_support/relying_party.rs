//! A relying party that looks at every byte. ID tokens are checked by the `openidconnect` crate.

use std::str::FromStr as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKeySet};
use openidconnect::{ClientId, ClientSecret, IssuerUrl, Nonce};
use reqwest::header::HeaderMap;
use serde_json::Value;
use url::Url;

use super::browser::Callback;
use super::node::{CALLBACK, Registered};

/// How it authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Basic,
    Post,
}

/// An answer of the node, with its body as JSON if it is some.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    /// With its body read.
    pub async fn of(answer: reqwest::Response) -> Self {
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default();
        Self { status, headers, body }
    }

    /// A text member.
    pub fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_else(|| panic!("no `{name}` in {}", self.body))
    }

    /// A header.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// An error of RFC 6749 §5.2.
    pub fn assert_error(&self, status: u16, error: &str) {
        assert_eq!((self.status, self.body["error"].as_str()), (status, Some(error)), "{}", self.body);
        assert_eq!(self.header("content-type"), "application/json");
        assert_eq!(self.header("cache-control"), "no-store");
        let description = self.text("error_description");
        assert!(
            description.bytes().all(|b| matches!(b, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e)),
            "{description}"
        );
    }
}

/// A client of the shared node.
pub struct RelyingParty {
    pub http: reqwest::Client,
    pub client: Registered,
    pub metadata: Value,
    method: Method,
}

impl RelyingParty {
    /// One that found its endpoints by discovery.
    pub async fn discover(issuer: &str, client: &Registered, method: Method) -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let url = format!("{issuer}/.well-known/openid-configuration");
        let metadata: Value = http.get(url).send().await.unwrap().json().await.unwrap();
        assert_eq!(metadata["issuer"], issuer);
        Self { http, client: client.clone(), metadata, method }
    }

    /// An endpoint's URL.
    pub fn endpoint(&self, name: &str) -> &str {
        self.metadata[name].as_str().unwrap_or_else(|| panic!("no `{name}` in the metadata"))
    }

    /// Parameters of an authorization request; those given come before the usual ones, an empty value
    /// leaves one out.
    pub fn parameters(&self, given: &[(&str, &str)]) -> Vec<(String, String)> {
        let usual = [
            ("response_type", "code"),
            ("client_id", &self.client.client_id),
            ("redirect_uri", CALLBACK),
            ("scope", "openid"),
            ("state", "st-0123456789"),
            ("nonce", "no-0123456789"),
        ];
        // The form-post plans run the modules of others with this one parameter more.
        let form_post =
            env!("CARGO_CRATE_NAME").contains("formpost").then_some(("response_mode", "form_post"));
        let usual: Vec<(&str, &str)> = usual.into_iter().chain(form_post).collect();
        let rest = usual.iter().filter(|(name, _)| given.iter().all(|(known, _)| known != name));
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        given.iter().chain(rest).filter(|(_, value)| !value.is_empty()).map(owned).collect()
    }

    /// The URL of an authorization request.
    pub fn request(&self, given: &[(&str, &str)]) -> String {
        Url::parse_with_params(self.endpoint("authorization_endpoint"), self.parameters(given))
            .unwrap()
            .to_string()
    }

    /// POSTs to the token, introspection or revocation endpoint.
    pub async fn call(&self, endpoint: &str, fields: &[(&str, &str)]) -> Answer {
        let Registered { client_id, client_secret } = &self.client;
        let mut fields = fields.to_vec();
        let request = self.http.post(self.endpoint(endpoint));
        let request = match self.method {
            Method::Basic => request.basic_auth(client_id, Some(client_secret)),
            Method::Post => {
                fields.extend([("client_id", client_id.as_str()), ("client_secret", client_secret.as_str())]);
                request
            }
        };
        Answer::of(request.form(&fields).send().await.unwrap()).await
    }

    /// POSTs with these fields alone: whoever asks says so in them.
    pub async fn post(&self, endpoint: &str, fields: &[(&str, &str)]) -> Answer {
        Answer::of(self.http.post(self.endpoint(endpoint)).form(fields).send().await.unwrap()).await
    }

    /// Redeems a code.
    pub async fn redeem(&self, callback: &Callback, more: &[(&str, &str)]) -> Answer {
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", callback.get("code")),
            ("redirect_uri", CALLBACK),
        ];
        fields.extend(more);
        self.call("token_endpoint", &fields).await
    }

    /// Refreshes.
    pub async fn refresh(&self, refresh_token: &str) -> Answer {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        self.call("token_endpoint", &fields).await
    }

    /// GET userinfo.
    pub async fn userinfo(&self, access_token: &str) -> Answer {
        let request = self.http.get(self.endpoint("userinfo_endpoint")).bearer_auth(access_token);
        Answer::of(request.send().await.unwrap()).await
    }

    /// POST userinfo with the token in the header, or in the body.
    pub async fn userinfo_by_post(&self, access_token: &str, in_body: bool) -> Answer {
        let request = self.http.post(self.endpoint("userinfo_endpoint"));
        let request = if in_body {
            request.form(&[("access_token", access_token)])
        } else {
            request.bearer_auth(access_token)
        };
        Answer::of(request.send().await.unwrap()).await
    }

    /// GETs anything.
    pub async fn get(&self, url: &str) -> Answer {
        Answer::of(self.http.get(url).send().await.unwrap()).await
    }

    /// The claims of an ID token, once `openidconnect` found signature, issuer, audience, times and
    /// nonce right.
    pub async fn verified(&self, id_token: &str, nonce: Option<&str>) -> Value {
        let jwks = self.http.get(self.endpoint("jwks_uri")).send().await.unwrap().bytes().await.unwrap();
        let jwks: CoreJsonWebKeySet = serde_json::from_slice(&jwks).unwrap();
        let issuer = IssuerUrl::new(self.endpoint("issuer").to_owned()).unwrap();
        let id = ClientId::new(self.client.client_id.clone());
        let secret = ClientSecret::new(self.client.client_secret.clone());
        let verifier = CoreIdTokenVerifier::new_confidential_client(id, secret, issuer, jwks);
        let token = CoreIdToken::from_str(id_token).unwrap();
        let same_nonce = |got: Option<&Nonce>| match (got.map(|nonce| nonce.secret().as_str()), nonce) {
            (got, wanted) if got == wanted => Ok(()),
            (got, wanted) => Err(format!("nonce {got:?} is not {wanted:?}")),
        };
        token.claims(&verifier, same_nonce).unwrap();
        part(id_token, 1)
    }
}

/// Header (0) or claims (1) of a JWS.
pub fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Member names of an object.
pub fn names(object: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}
