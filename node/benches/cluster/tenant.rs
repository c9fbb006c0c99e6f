//! What people and programs do at a tenant of the demo.

use serde_json::{Value, json};

use crate::demo::Demo;
use crate::http1::{Answer, Http1, Request};
use crate::load::Client;
use crate::oidc_support::browser::{Browser, Stop};
use crate::oidc_support::node::Person;

pub const CALLBACK: &str = "http://127.0.0.1:9999/cb";

/// Who and where.
#[derive(Clone)]
pub struct Tenant {
    pub slug: String,
    issuer: String,
    person: (String, String),
    pub client: (String, String),
}

/// What a code was exchanged for.
#[derive(Clone, Debug)]
pub struct Tokens {
    pub access: String,
    pub refresh: String,
}

impl Tenant {
    pub fn of(demo: &Demo, slug: &str) -> Self {
        let found = demo.tenant(slug);
        let text = |name: &str| found[name].as_str().unwrap().to_owned();
        Self {
            slug: slug.to_owned(),
            issuer: text("issuer"),
            person: (text("username"), text("password")),
            client: (text("client_id"), text("client_secret")),
        }
    }

    /// A browser that only reaches the node at `public_url`.
    pub fn browser(&self, public_url: &str) -> Browser {
        let origin = url::Url::parse(&self.issuer).unwrap().origin().ascii_serialization();
        Browser::balanced(&origin, &[public_url])
    }

    fn authorize(&self, prompt: &str) -> String {
        let (issuer, client) = (&self.issuer, &self.client.0);
        format!(
            "{issuer}/oauth2/authorize?response_type=code&client_id={client}&redirect_uri={CALLBACK}\
             &scope=openid%20profile%20email%20offline_access&nonce=n{prompt}"
        )
    }

    /// From the first page to the code, with consent where it is asked for.
    pub async fn log_in(&self, browser: &mut Browser, prompt: &str) -> String {
        let person = Person { username: self.person.0.clone(), password: self.person.1.clone() };
        let callback = browser.approve(&self.authorize(prompt), &person).await;
        callback.get("code").to_owned()
    }

    /// A code for who is logged in already, without a page.
    pub async fn go_on(&self, browser: &mut Browser) -> String {
        match browser.open(&self.authorize("&prompt=none")).await {
            Stop::Callback(callback) => callback.get("code").to_owned(),
            Stop::Page(page) => panic!("{:?} {} {}", page.kind, page.status, page.html),
        }
    }

    /// A request of the tenant's client below `/oauth2/`.
    pub fn form(&self, endpoint: &str, host: &str, form: &str) -> Request {
        let path = format!("/t/{}/oauth2/{endpoint}", self.slug);
        Request::form(&path, host, form, (&self.client.0, &self.client.1))
    }

    pub fn userinfo(&self, host: &str, access: &str) -> Request {
        let path = format!("/t/{}/oauth2/userinfo", self.slug);
        Request::get(&path, host, &format!("authorization: Bearer {access}\r\n"))
    }

    /// Tokens for a code.
    pub async fn redeem(&self, to: &mut Http1, code: &str) -> Tokens {
        let form = format!("grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}");
        let request = self.form("token", &to.address, &form);
        tokens(&to.send(&request).await.unwrap().good().unwrap()).unwrap()
    }

    /// The successors of a refresh token.
    pub async fn rotate(&self, to: &mut Http1, refresh: &str) -> Result<Tokens, String> {
        let form = format!("grant_type=refresh_token&refresh_token={refresh}");
        let request = self.form("token", &to.address, &form);
        tokens(&to.send(&request).await?.good()?)
    }

    /// As many families of tokens as `count`, all of one login.
    pub async fn families(&self, demo: &Demo, turn: usize, count: usize) -> Vec<Tokens> {
        let mut browser = self.browser(demo.public_url(turn));
        let mut to = Http1::to(demo.public(turn));
        let first = self.log_in(&mut browser, "&prompt=consent").await;
        let mut out = vec![self.redeem(&mut to, &first).await];
        while out.len() < count {
            let code = self.go_on(&mut browser).await;
            out.push(self.redeem(&mut to, &code).await);
        }
        out
    }
}

fn tokens(answer: &Answer) -> Result<Tokens, String> {
    let document = answer.json();
    let text = |name: &str| {
        document[name].as_str().map(str::to_owned).ok_or_else(|| format!("no `{name}` in the answer"))
    };
    Ok(Tokens { access: text("access_token")?, refresh: text("refresh_token")? })
}

/// Exchanges its refresh token for the next, over and over.
pub struct Rotator {
    pub tenant: Tenant,
    pub to: Http1,
    pub refresh: String,
}

impl Client for Rotator {
    async fn step(&mut self, _: u64) -> Result<(), String> {
        self.refresh = self.tenant.rotate(&mut self.to, &self.refresh).await?.refresh;
        Ok(())
    }
}

/// Registers clients through the admin API.
pub struct Registrar {
    pub slug: String,
    pub token: String,
    pub to: Http1,
    /// Told apart by it.
    pub name: String,
}

impl Client for Registrar {
    async fn step(&mut self, round: u64) -> Result<(), String> {
        let body = registration(&format!("{} {round}", self.name));
        let path = format!("/v1/tenants/{}/clients", self.slug);
        let request = Request::json(&path, &self.to.address, &body, &self.token);
        self.to.send(&request).await?.good().map(drop)
    }
}

/// The document of a new client.
pub fn registration(name: &str) -> Value {
    json!({ "client_name": name, "grant_types": ["client_credentials"], "response_types": [] })
}

/// Sends the same request over and over; the answer must hold `wanted`.
pub struct Repeater {
    pub to: Http1,
    pub request: Request,
    pub wanted: &'static str,
}

impl Client for Repeater {
    async fn step(&mut self, _: u64) -> Result<(), String> {
        let answer = self.to.send(&self.request).await?.good()?;
        let body = String::from_utf8_lossy(&answer.body);
        if body.contains(self.wanted) { Ok(()) } else { Err(format!("unwanted: {body}")) }
    }
}
