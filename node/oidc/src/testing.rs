//! Fixtures for unit tests: one tenant, one user, clients, keys of each algorithm.

#![allow(clippy::unwrap_used, reason = "fixtures")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_iam::ids::{
    ClientId, FamilyId, GrantId, Id, SessionId, SigningKeyId, TenantId, TokenId, UserId,
};
use domicile_iam::keys::{Jwk, Jwks, SigningKey, VerificationKey, generate};
use domicile_iam::model::{
    ApplicationType, AuthMethod, Authentication, ClaimsRequest, ClientMetadata, ClientView, GrantType,
    GrantView, Issue, SessionView, SigningAlgorithm, TenantContext, TenantSettings, UserView,
};

use crate::Timestamp;
use crate::form::Form;
use crate::jws::KeySet;

pub const ISSUER: &str = "https://id.example/t/acme";
pub const NOW: Timestamp = Timestamp(1_800_000_000_000);
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub struct Keys {
    pub signers: Vec<SigningKey>,
    pub set: KeySet,
    pub jwks: Jwks,
}

impl Keys {
    pub fn signer(&self, algorithm: SigningAlgorithm) -> &SigningKey {
        self.signers.iter().find(|key| key.alg() == algorithm).unwrap()
    }
}

/// Made once: RSA keys take a while.
pub fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| make_keys(1))
}

pub fn make_keys(seed: u8) -> Keys {
    let (mut signers, mut public, mut jwks) = (Vec::new(), Vec::new(), Vec::new());
    for (place, algorithm) in ALGORITHMS.into_iter().enumerate() {
        let id = SigningKeyId::new(NOW, [u8::try_from(place).unwrap() + seed * 8; 10]);
        let made = generate(algorithm).unwrap();
        signers.push(SigningKey::from_pkcs8(id, algorithm, &made.private_pkcs8).unwrap());
        public.push(Arc::new(VerificationKey::new(id, algorithm, &made.public_key).unwrap()));
        jwks.push(Jwk::new(id, algorithm, &made.public_key));
    }
    Keys { signers, set: public.into_iter().collect(), jwks: Jwks { keys: jwks } }
}

pub const ALGORITHMS: [SigningAlgorithm; 5] = SigningAlgorithm::ALL;

pub fn tenant() -> TenantContext {
    TenantContext {
        id: TenantId::new(NOW, [1; 10]),
        slug: "acme".to_owned(),
        issuer: ISSUER.to_owned(),
        display_name: "Acme".to_owned(),
        disabled: false,
        settings: TenantSettings::default(),
        revision: 1,
    }
}

/// A confidential client with every grant.
pub fn client() -> ClientView {
    ClientView {
        id: ClientId::new(NOW, [2; 10]),
        client_id: "app".to_owned(),
        metadata: ClientMetadata {
            client_name: Some("App".to_owned()),
            redirect_uris: vec!["https://app.example/cb".to_owned(), "http://127.0.0.1/cb".to_owned()],
            post_logout_redirect_uris: vec!["https://app.example/bye".to_owned()],
            response_types: vec!["code".to_owned()],
            grant_types: vec![
                GrantType::AuthorizationCode,
                GrantType::RefreshToken,
                GrantType::ClientCredentials,
            ],
            token_endpoint_auth_method: AuthMethod::ClientSecretBasic,
            application_type: ApplicationType::Web,
            scope: None,
            id_token_signed_response_alg: SigningAlgorithm::RS256,
            access_token_signed_response_alg: SigningAlgorithm::RS256,
            require_pkce: false,
            default_max_age: None,
            require_auth_time: false,
            default_acr_values: Vec::new(),
            resource_identifiers: Vec::new(),
            require_pushed_authorization_requests: false,
            dpop_bound_access_tokens: false,
            userinfo_signed_response_alg: None,
            introspection_signed_response_alg: None,
            subject_type: None,
            backchannel_logout_uri: None,
            backchannel_logout_session_required: false,
            extra: BTreeMap::new(),
        },
        credentials: Vec::new(),
        disabled: false,
        not_before: Timestamp(0),
        created_at: NOW,
        delegation: None,
        registration_access_sha256: None,
        revision: 1,
    }
}

pub fn client_with(change: impl FnOnce(&mut ClientMetadata)) -> ClientView {
    let mut client = client();
    change(&mut client.metadata);
    client
}

/// Another client of the same tenant.
pub fn other_client() -> ClientView {
    ClientView { id: ClientId::new(NOW, [3; 10]), client_id: "other".to_owned(), ..client() }
}

pub fn user() -> UserView {
    let claims = serde_json::json!({
        "name": "Ada Lovelace", "given_name": "Ada", "family_name": "Lovelace", "family_name#ja": "ラブレス",
        "address": { "country": "GB" }, "birthdate": "1815-12-10", "nickname": null,
    });
    UserView {
        id: UserId::new(NOW, [4; 10]),
        subject: "sub-ada".to_owned(),
        username: "ada".to_owned(),
        email: Some("ada@example.org".to_owned()),
        email_verified: true,
        phone_number: Some("+441234567".to_owned()),
        phone_number_verified: false,
        claims: serde_json::from_value(claims).unwrap(),
        has_password: true,
        second_factor: None,
        disabled: false,
        not_before: Timestamp(0),
        created_at: NOW,
        updated_at: Timestamp(NOW.0 - 5_000),
        revision: 1,
    }
}

/// Logged in ten minutes ago.
pub fn session() -> SessionView {
    let at = Timestamp(NOW.0 - 600_000);
    SessionView {
        id: SessionId::new(at, [5; 10]),
        user: user().id,
        authentications: vec![Authentication {
            method: "pwd".to_owned(),
            at,
            acr: "urn:domicile:acr:password".to_owned(),
        }],
        clients: BTreeMap::from([(client().id, "sid-1".to_owned())]),
        started_at: at,
        idle_expires_at: NOW.plus_ms(1_000),
        expires_at: NOW.plus_ms(10_000),
    }
}

pub fn grant(scopes: &[&str]) -> GrantView {
    GrantView {
        id: GrantId::new(NOW, [6; 10]),
        user: user().id,
        client: client().id,
        scopes: set(scopes),
        claims: BTreeSet::new(),
        resources: BTreeSet::new(),
        not_before: Timestamp(0),
    }
}

pub fn issue(scopes: &[&str]) -> Issue {
    Issue {
        family: FamilyId::new(NOW, [7; 10]),
        grant: GrantId::new(NOW, [6; 10]),
        session: Some(session().id),
        sid: Some("sid-1".to_owned()),
        user: user().id,
        client: client().id,
        scopes: set(scopes),
        claims: ClaimsRequest::default(),
        nonce: Some("n-0S6_WzA2Mj".to_owned()),
        auth_time: Timestamp(NOW.0 - 600_000),
        auth_time_wanted: false,
        acr: Some("urn:domicile:acr:password".to_owned()),
        amr: vec!["pwd".to_owned()],
        token_id: TokenId::new(NOW, [8; 10]),
        refresh_token: Some("refresh".to_owned()),
        issued_at: NOW,
        dpop_jkt: None,
        resources: BTreeSet::new(),
    }
}

pub fn set(values: &[&str]) -> BTreeSet<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

pub fn form(pairs: &[(&str, &str)]) -> Form {
    let text = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    Form::parse(text.as_bytes()).unwrap()
}

/// An ID token that `client` got, for hints.
pub fn id_token(client: &ClientView, algorithm: SigningAlgorithm) -> String {
    let claims = crate::id_token::claims(&tenant(), client, &issue(&["openid"]), &user(), "at", algorithm);
    crate::jws::sign(keys().signer(algorithm), crate::jws::TokenType::IdToken, &claims).unwrap()
}

pub fn json(response: &crate::Response) -> serde_json::Value {
    serde_json::from_slice(&response.body).unwrap()
}

/// A JWS with any header, claims and signature.
pub fn unsigned_assertion(
    header: &serde_json::Value,
    claims: &serde_json::Value,
    signature: &[u8],
) -> String {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let message = format!("{}.{}", part(header.to_string().as_bytes()), part(claims.to_string().as_bytes()));
    format!("{message}.{}", part(signature))
}

/// The same with a real signature of `signer`.
pub fn signed_assertion(
    signer: &SigningKey,
    header: &serde_json::Value,
    claims: &serde_json::Value,
) -> String {
    let unsigned = unsigned_assertion(header, claims, b"");
    let message = unsigned.trim_end_matches('.');
    let signature = signer.sign(message.as_bytes()).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}
