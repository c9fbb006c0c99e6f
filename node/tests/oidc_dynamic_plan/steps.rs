//! Steps that many modules share.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::oidc_support::assertion::{ASSERTION_TYPE, claims};
use crate::oidc_support::browser::{Browser, Callback};
use crate::oidc_support::node::{CALLBACK, Shared, shared_with};
use crate::oidc_support::registration::{let_register_within, party, register};
use crate::oidc_support::relying_party::{Answer, RelyingParty};

/// A node that lets anybody register, reaches what clients publish on loopback, and takes assertions for the
/// token endpoint, as the suite sends them. Errors go to redirect URIs with nobody's leave, as the suite waits for them.
pub async fn start() -> (&'static Shared, Browser) {
    let shared = shared_with(&[("DOMICILE__EGRESS__ALLOW_NETWORKS", "127.0.0.0/8")]).await;
    let policy = json!({"token_endpoint_auth_audience": "token_endpoint", "trust_redirect_uris": true});
    let_register_within(&shared.ready, "open", policy).await;
    (shared, Browser::new(&shared.ready.public_url))
}

/// An RSA key; with a `kid` where the suite gives one, which it does in few modules.
pub struct RsaKey {
    pub kid: String,
    pair: RsaKeyPair,
}

impl RsaKey {
    /// A fresh one; an empty `kid` is none.
    pub fn new(kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: RsaKeyPair::generate(KeySize::Rsa2048).unwrap() }
    }

    /// The public half.
    pub fn jwk(&self) -> Value {
        // DER of 2048 bits (RFC 8017 appendix A.1.1): the modulus after nine bytes of heads, then 65537.
        let der = self.pair.public_key().as_ref();
        let (n, e) = (&der[9..265], &der[der.len() - 3..]);
        assert_eq!((der.len(), e), (270, &[1, 0, 1][..]));
        let (n, e) = (URL_SAFE_NO_PAD.encode(n), URL_SAFE_NO_PAD.encode(e));
        self.named(json!({"kty": "RSA", "use": "sig", "alg": "RS256", "n": n, "e": e}))
    }

    fn named(&self, mut of_key: Value) -> Value {
        if !self.kid.is_empty() {
            of_key["kid"] = json!(self.kid);
        }
        of_key
    }

    fn sign(&self, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&self.named(json!({"alg": "RS256"}))), part(claims));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The suite's registration request, with these members in place of its own.
pub fn request(key: &RsaKey, more: &Value) -> Value {
    let mut body = json!({
        "client_name": "Dynamic", "grant_types": ["authorization_code"], "response_types": ["code"],
        "jwks": {"keys": [key.jwk()]}, "token_endpoint_auth_method": "private_key_jwt",
        "redirect_uris": [CALLBACK], "contacts": ["certification@oidf.org"],
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    body
}

/// A registered client with its key.
pub struct Dynamic {
    pub party: RelyingParty,
    pub body: Value,
    pub key: RsaKey,
}

impl Dynamic {
    /// Registers; asserts what the suite does of every answer.
    pub async fn register(shared: &Shared, more: Value) -> Self {
        Self::with_key(shared, RsaKey::new(""), more).await
    }

    /// The same with a key that was made before.
    pub async fn with_key(shared: &Shared, key: RsaKey, more: Value) -> Self {
        let sent = request(&key, &more);
        let answer = register(&shared.ready, None, &sent).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (201, "application/json"),
            "{}",
            answer.body
        );
        assert!(!answer.text("client_id").is_empty() && !answer.text("registration_access_token").is_empty());
        assert!(answer.text("registration_client_uri").starts_with(&shared.ready.public_url));
        assert!(answer.body.get("client_secret").is_none(), "a client with keys has none");
        for (name, value) in sent.as_object().unwrap() {
            assert_eq!(&answer.body[name], value, "{name} is echoed");
        }
        Self { party: party(&shared.ready, &answer.body).await, body: answer.body, key }
    }

    /// What the suite signs for the token endpoint.
    pub fn assertion(&self, audience: &str) -> String {
        self.key.sign(&claims(&self.party.client.client_id, audience))
    }

    /// Asks the token endpoint.
    pub async fn token(&self, fields: &[(&str, &str)]) -> Answer {
        let assertion = self.assertion(self.party.endpoint("token_endpoint"));
        let mut all = vec![("client_assertion_type", ASSERTION_TYPE), ("client_assertion", &assertion)];
        all.extend(fields);
        self.party.post("token_endpoint", &all).await
    }

    /// Redeems the code of a callback that came to `redirect_uri`.
    pub async fn redeem(&self, callback: &Callback, redirect_uri: &str) -> Answer {
        let code = callback.get("code");
        self.token(&[("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirect_uri)])
            .await
    }

    /// Refreshes, as the suite does: for the scope that was granted.
    pub async fn refresh(&self, refresh_token: &str) -> Answer {
        let scope = ("scope", "openid offline_access");
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token), scope]).await
    }

    /// Signs a person in, to verified claims and userinfo.
    pub async fn sign_in(
        &self,
        shared: &Shared,
        browser: &mut Browser,
        given: &[(&str, &str)],
    ) -> (Answer, Value) {
        let callback = browser.approve(&self.party.request(given), &shared.person).await;
        assert!(!callback.get("code").is_empty(), "{callback:?}");
        assert_eq!(callback.get("state"), "st-0123456789");
        let redirect_uri =
            given.iter().find(|(name, _)| *name == "redirect_uri").map_or(CALLBACK, |(_, uri)| uri);
        let tokens = self.redeem(&callback, redirect_uri).await;
        assert_eq!(tokens.status, 200, "{}", tokens.body);
        let claims = self.party.verified(tokens.text("id_token"), Some("no-0123456789")).await;
        (tokens, claims)
    }
}
