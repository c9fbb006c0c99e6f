//! Two tenants with apps that people use and gateways that exchange their tokens.

use std::sync::Mutex;

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::admin_support::Caller;
use crate::oidc_support::assertion::Key;
use crate::oidc_support::browser::Browser;
use crate::oidc_support::dpop;
use crate::oidc_support::node::{CALLBACK, Person, Registered, shared};
use crate::oidc_support::relying_party::{Answer, Method, RelyingParty};

/// How many tenants there are.
pub const TENANTS: usize = 2;
/// Gateways of a tenant, and apps.
pub const GATES: usize = 2;
/// Apps and gateways of all tenants: first those of the one, apps first.
pub const PARTIES: usize = TENANTS * 2 * GATES;
/// Keys that anybody may show to hold.
pub const KEYS: usize = 2;

const SLUGS: [&str; TENANTS] = ["north", "south"];
const PASSWORD: &str = "correct horse battery";
pub const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub const BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The app of a tenant whose tokens the gateway of this place may exchange.
pub fn app(tenant: usize, place: usize) -> usize {
    tenant * 2 * GATES + place
}

/// A gateway.
pub fn gate(tenant: usize, place: usize) -> usize {
    app(tenant, GATES + place)
}

/// The identifier of a gateway as a resource server.
pub fn api(tenant: usize, place: usize) -> String {
    format!("https://api-{place}.{}.example", SLUGS[tenant])
}

/// The name of an issuer, which one gateway of each tenant trusts.
pub fn idp(place: usize) -> String {
    format!("https://idp-{place}.example")
}

/// Who uses the apps of a tenant; known there alone.
pub fn username(tenant: usize) -> String {
    format!("user-of-{}", SLUGS[tenant])
}

/// A client.
pub struct Party {
    pub tenant: usize,
    pub place: usize,
    pub client: RelyingParty,
    /// An app's, which stays.
    pub refresh_token: Option<String>,
}

impl Party {
    pub fn is_gate(&self) -> bool {
        self.refresh_token.is_none()
    }

    pub fn id(&self) -> &str {
        &self.client.client.client_id
    }

    pub fn issuer(&self) -> &str {
        self.client.endpoint("issuer")
    }
}

/// A running node.
pub struct World {
    pub parties: Vec<Party>,
    /// `sub` of each tenant's person.
    pub subjects: Vec<String>,
    /// To show.
    pub keys: Vec<Key>,
    /// Of the issuers.
    pub idps: Vec<Key>,
    /// The last that each tenant gave.
    nonces: Mutex<Vec<Option<String>>>,
}

impl World {
    pub async fn new() -> Self {
        let caller = Caller::new().await;
        let idps: Vec<Key> = (0..GATES).map(|place| Key::new(&format!("idp-{place}"))).collect();
        let (mut parties, mut subjects) = (Vec::new(), Vec::new());
        for (tenant, slug) in SLUGS.into_iter().enumerate() {
            // Made with the tenant; RSA keys take a while.
            let settings = json!({ "signing_algorithms": ["ES256"] });
            let tenant_made = json!({ "slug": slug, "settings": settings });
            let made = caller.post("/v1/tenants", tenant_made).await.expect(201);
            let person = Person { username: username(tenant), password: PASSWORD.to_owned() };
            let new = json!({ "username": person.username, "password": person.password });
            let user = caller.post(&format!("/v1/tenants/{slug}/users"), new).await.expect(201);
            subjects.push(user.text_of("subject"));
            let issuer = made.text_of("issuer");
            let register = async |body: Value| {
                let made = caller.post(&format!("/v1/tenants/{slug}/clients"), body).await.expect(201);
                let text = |name: &str| made.text_of(name);
                let client =
                    Registered { client_id: text("client_id"), client_secret: text("client_secret") };
                RelyingParty::discover(&issuer, &client, Method::Basic).await
            };
            let mut apps = Vec::new();
            for place in 0..GATES {
                let client = register(an_app(place)).await;
                let refresh_token = log_in(&client, &person).await;
                apps.push(Party { tenant, place, client, refresh_token: Some(refresh_token) });
            }
            let mut gates = Vec::new();
            for (place, app) in apps.iter().enumerate() {
                let client = register(a_gate(tenant, place, app.id(), &idps[place])).await;
                gates.push(Party { tenant, place, client, refresh_token: None });
            }
            parties.extend(apps.into_iter().chain(gates));
        }
        let keys = (0..KEYS).map(|place| Key::new(&format!("key-{place}"))).collect();
        Self { parties, subjects, keys, idps, nonces: Mutex::new(vec![None; TENANTS]) }
    }

    /// A token request, with a proof of the key.
    pub async fn token(&self, by: usize, key: Option<usize>, fields: &[(&str, &str)]) -> Answer {
        let client = &self.parties[by].client;
        let url = client.endpoint("token_endpoint");
        let Registered { client_id, client_secret } = &client.client;
        let request = || client.http.post(url).basic_auth(client_id, Some(client_secret)).form(fields);
        self.proven(self.parties[by].tenant, key, ("POST", url), &json!({}), request).await
    }

    /// A person's claims, asked for with a token.
    pub async fn claims(&self, at: usize, key: Option<usize>, token: &str) -> Answer {
        let client = &self.parties[app(at, 0)].client;
        let url = client.endpoint("userinfo_endpoint");
        let scheme = if key.is_some() { "DPoP" } else { "Bearer" };
        let request = || client.http.get(url).header("authorization", format!("{scheme} {token}"));
        let more = json!({ "ath": dpop::token_hash(token) });
        self.proven(at, key, ("GET", url), &more, request).await
    }

    /// Sends what `request` makes; once more with the nonce that is asked for.
    async fn proven(
        &self,
        tenant: usize,
        key: Option<usize>,
        (method, url): (&str, &str),
        more: &Value,
        request: impl Fn() -> RequestBuilder,
    ) -> Answer {
        let Some(key) = key.map(|key| &self.keys[key]) else {
            return Answer::of(request().send().await.unwrap()).await;
        };
        for _ in 0..2 {
            let mut claims = more.clone();
            if let Some(nonce) = &self.nonces.lock().unwrap()[tenant] {
                claims["nonce"] = json!(nonce);
            }
            let proof = dpop::proof(key, method, url, &claims);
            let answer = Answer::of(request().header("dpop", proof).send().await.unwrap()).await;
            if let Some(nonce) = answer.headers.get("dpop-nonce") {
                self.nonces.lock().unwrap()[tenant] = Some(nonce.to_str().unwrap().to_owned());
            }
            let asks = answer.body["error"] == "use_dpop_nonce"
                || answer
                    .headers
                    .get("www-authenticate")
                    .is_some_and(|said| said.to_str().unwrap().contains("use_dpop_nonce"));
            if !asks {
                return answer;
            }
        }
        panic!("a fresh nonce is not taken");
    }
}

/// JWTs in the first place, opaque tokens in the second.
fn format_of(place: usize) -> &'static str {
    ["jwt", "opaque"][place]
}

fn an_app(place: usize) -> Value {
    json!({
        "client_name": "App", "redirect_uris": [CALLBACK], "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token"], "scope": "openid read offline_access",
        "refresh_token_mode": "static", "access_token_format": format_of(place),
    })
}

fn a_gate(tenant: usize, place: usize, app: &str, idp_key: &Key) -> Value {
    json!({
        "client_name": "Gateway", "response_types": [], "scope": "openid read",
        "grant_types": [EXCHANGE, BEARER, "client_credentials"], "access_token_format": format_of(place),
        "resource_identifiers": [api(tenant, place)],
        "token_exchange": {
            "scope": "openid read", "subject_clients": [app], "audiences": [api(tenant, place)],
        },
        "trusted_assertion_issuers": [{
            "issuer": idp(place), "jwks": { "keys": [idp_key.jwk()] }, "subject": "username", "scope": "read",
        }],
    })
}

async fn log_in(client: &RelyingParty, person: &Person) -> String {
    let mut browser = Browser::new(&shared().await.ready.public_url);
    let wanted = [("scope", "openid read offline_access"), ("prompt", "consent")];
    let callback = browser.approve(&client.request(&wanted), person).await;
    let issued = client.redeem(&callback, &[]).await;
    assert_eq!(issued.status, 200, "{}", issued.body);
    issued.text("refresh_token").to_owned()
}
