//! DPoP (RFC 9449) against the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod oidc_support;

use oidc_support::assertion::{Key, seconds};
use oidc_support::browser::Browser;
use oidc_support::dpop;
use oidc_support::node::{Admin, CALLBACK, Registered, Shared, shared};
use oidc_support::relying_party::{Answer, Method, RelyingParty, part};
use serde_json::{Value, json};

/// A client that holds a key.
struct Holder {
    shared: &'static Shared,
    client: RelyingParty,
    key: Key,
    public: bool,
}

/// `DPoP-Nonce` and the key's thumbprint come from the node.
impl Holder {
    async fn new(more: Value) -> Self {
        let shared = shared().await;
        let mut body = json!({
            "client_name": "Holder", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = Admin::of(&shared.ready).create("clients", body).await;
        let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
        let registered = Registered { client_id: text("client_id"), client_secret: text("client_secret") };
        let public = registered.client_secret.is_empty();
        let client = RelyingParty::discover(&shared.ready.issuer, &registered, Method::Post).await;
        Self { shared, client, key: Key::new("k"), public }
    }

    fn proof(&self, method: &str, url: &str, more: &Value) -> String {
        dpop::proof(&self.key, method, url, more)
    }

    /// POSTs with this `DPoP` header.
    async fn post(&self, endpoint: &str, proof: Option<&str>, fields: &[(&str, &str)]) -> Answer {
        let Registered { client_id, client_secret } = &self.client.client;
        let mut fields = fields.to_vec();
        fields.push(("client_id", client_id));
        if !self.public {
            fields.push(("client_secret", client_secret));
        }
        let request = self.client.http.post(self.client.endpoint(endpoint)).form(&fields);
        let request = proof.into_iter().fold(request, |request, proof| request.header("dpop", proof));
        Answer::of(request.send().await.unwrap()).await
    }

    /// What the node asks for when a proof has none.
    async fn nonce(&self) -> String {
        let bare = self.proof("POST", self.client.endpoint("token_endpoint"), &json!({}));
        let answer = self.post("token_endpoint", Some(&bare), &[("grant_type", "refresh_token")]).await;
        answer.assert_error(400, "use_dpop_nonce");
        answer.header("dpop-nonce").to_owned()
    }

    async fn good(&self, endpoint: &str) -> String {
        self.proof("POST", self.client.endpoint(endpoint), &json!({ "nonce": self.nonce().await }))
    }

    async fn code(&self, more: &[(&str, &str)]) -> String {
        let challenge = [
            ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
            ("code_challenge_method", "S256"),
            ("scope", "openid offline_access"),
            ("prompt", "consent"),
        ];
        let wanted: Vec<(&str, &str)> = challenge.iter().chain(more).copied().collect();
        let mut browser = Browser::new(&self.shared.ready.public_url);
        let callback = browser.approve(&self.client.request(&wanted), &self.shared.person).await;
        assert!(!callback.get("code").is_empty(), "{callback:?}");
        callback.get("code").to_owned()
    }

    async fn redeem(&self, code: &str, proof: Option<&str>) -> Answer {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        ];
        self.post("token_endpoint", proof, &fields).await
    }

    async fn refresh(&self, token: &str, proof: Option<&str>) -> Answer {
        self.post("token_endpoint", proof, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    async fn userinfo(&self, scheme: &str, token: &str, proof: Option<&str>) -> Answer {
        let request = self.client.http.get(self.client.endpoint("userinfo_endpoint"));
        let request = request.header("authorization", format!("{scheme} {token}"));
        let request = proof.into_iter().fold(request, |request, proof| request.header("dpop", proof));
        Answer::of(request.send().await.unwrap()).await
    }

    async fn proof_of(&self, token: &str) -> String {
        let more = json!({ "ath": dpop::token_hash(token), "nonce": self.nonce().await });
        self.proof("GET", self.client.endpoint("userinfo_endpoint"), &more)
    }

    fn jkt(&self) -> String {
        dpop::thumbprint(&self.key)
    }
}

#[tokio::test]
async fn rfc9449_s5_and_s7_a_bound_token_works_with_its_key_and_in_no_other_way() {
    let holder = Holder::new(json!({})).await;
    assert!(holder.client.metadata["dpop_signing_alg_values_supported"][0].is_string(), "§5.1");
    let issued = holder.redeem(&holder.code(&[]).await, Some(&holder.good("token_endpoint").await)).await;
    assert_eq!((issued.status, issued.text("token_type")), (200, "DPoP"), "{}", issued.body);
    assert!(!issued.header("dpop-nonce").is_empty(), "§8.2");
    let token = issued.text("access_token");
    assert_eq!(part(token, 1)["cnf"]["jkt"], holder.jkt(), "§6.1");

    let good = holder.userinfo("DPoP", token, Some(&holder.proof_of(token).await)).await;
    assert_eq!(good.status, 200, "{}", good.body);
    let bearer = holder.userinfo("Bearer", token, None).await;
    bearer.assert_error(401, "invalid_token");
    let without = holder.userinfo("DPoP", token, None).await;
    without.assert_error(401, "invalid_dpop_proof");
    assert!(without.header("www-authenticate").starts_with("DPoP algs="), "§7.1");
    let thief = Holder { key: Key::new("t"), ..Holder::new(json!({})).await };
    let stolen = thief.userinfo("DPoP", token, Some(&thief.proof_of(token).await)).await;
    stolen.assert_error(401, "invalid_token");
    let other = holder.userinfo("DPoP", token, Some(&holder.proof_of("another").await)).await;
    other.assert_error(401, "invalid_dpop_proof");
}

#[tokio::test]
async fn rfc9449_s4_3_8_a_proof_names_the_method_of_its_request_head_too() {
    let holder = Holder::new(json!({})).await;
    let issued = holder.redeem(&holder.code(&[]).await, Some(&holder.good("token_endpoint").await)).await;
    let token = issued.text("access_token");
    let url = holder.client.endpoint("userinfo_endpoint");
    for (method, status) in [("HEAD", 200), ("GET", 401)] {
        let more = json!({ "ath": dpop::token_hash(token), "nonce": holder.nonce().await });
        let request = holder.client.http.head(url).header("authorization", format!("DPoP {token}"));
        let request = request.header("dpop", holder.proof(method, url, &more));
        assert_eq!(request.send().await.unwrap().status(), status, "{method}");
    }
}

#[tokio::test]
async fn rfc9449_s8_a_proof_without_a_current_nonce_gets_one() {
    let holder = Holder::new(json!({})).await;
    let code = holder.code(&[]).await;
    let url = holder.client.endpoint("token_endpoint");
    for nonce in [json!({}), json!({"nonce": "made-up"})] {
        let refused = holder.redeem(&code, Some(&holder.proof("POST", url, &nonce))).await;
        refused.assert_error(400, "use_dpop_nonce");
        let nonce = refused.header("dpop-nonce");
        assert!(nonce.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)), "§8.1 {nonce}");
    }
    // §8: what was refused used up nothing.
    assert_eq!(holder.redeem(&code, Some(&holder.good("token_endpoint").await)).await.status, 200);
    let token = holder.redeem(&holder.code(&[]).await, Some(&holder.good("token_endpoint").await)).await;
    let ath = dpop::token_hash(token.text("access_token"));
    let url = holder.client.endpoint("userinfo_endpoint");
    let bare = holder.proof("GET", url, &json!({ "ath": ath }));
    let asked = holder.userinfo("DPoP", token.text("access_token"), Some(&bare)).await;
    asked.assert_error(401, "use_dpop_nonce");
    assert!(asked.header("www-authenticate").contains("error=\"use_dpop_nonce\""), "§9");
    assert!(!asked.header("dpop-nonce").is_empty());
}

#[tokio::test]
async fn rfc9449_s4_3_and_s11_1_bad_and_used_proofs_are_refused() {
    let holder = Holder::new(json!({})).await;
    let code = holder.code(&[]).await;
    let nonce = holder.nonce().await;
    let url = holder.client.endpoint("token_endpoint");
    let good = holder.proof("POST", url, &json!({ "nonce": nonce }));
    for bad in [
        "garbage".to_owned(),
        holder.proof("GET", url, &json!({ "nonce": nonce })),
        holder.proof("POST", holder.client.endpoint("userinfo_endpoint"), &json!({ "nonce": nonce })),
        holder.proof("POST", url, &json!({ "nonce": nonce, "iat": seconds() - 3_600 })),
        holder.proof("POST", url, &json!({ "nonce": nonce, "exp": seconds() - 3_600 })),
        holder.proof("POST", url, &json!({ "nonce": nonce, "nbf": seconds() + 3_600 })),
        good[..good.len() - 4].to_owned(),
    ] {
        holder.redeem(&code, Some(&bad)).await.assert_error(400, "invalid_dpop_proof");
    }
    let issued = holder.redeem(&code, Some(&good)).await;
    assert_eq!(issued.status, 200, "{}", issued.body);
    let replayed = holder.refresh(issued.text("refresh_token"), Some(&good)).await;
    replayed.assert_error(400, "invalid_dpop_proof");
    // Two proofs in one request are none.
    let fields = [("grant_type", "refresh_token"), ("refresh_token", "x")];
    let request = holder.client.http.post(url).form(&fields).header("dpop", &good).header("dpop", &good);
    let request =
        request.basic_auth(&holder.shared.basic.client_id, Some(&holder.shared.basic.client_secret));
    Answer::of(request.send().await.unwrap()).await.assert_error(400, "invalid_dpop_proof");
}

#[tokio::test]
async fn rfc9449_s5_a_public_clients_refresh_token_needs_its_key() {
    let holder = Holder::new(json!({})).await;
    let issued = holder.redeem(&holder.code(&[]).await, Some(&holder.good("token_endpoint").await)).await;
    let refresh = issued.text("refresh_token");
    holder.refresh(refresh, None).await.assert_error(400, "invalid_grant");
    let thief = Holder { key: Key::new("t"), client: holder.client, ..Holder::new(json!({})).await };
    let stolen = thief.refresh(refresh, Some(&thief.good("token_endpoint").await)).await;
    stolen.assert_error(400, "invalid_grant");
    let holder = Holder { key: holder.key, ..thief };
    let next = holder.refresh(refresh, Some(&holder.good("token_endpoint").await)).await;
    assert_eq!((next.status, next.text("token_type")), (200, "DPoP"), "{}", next.body);
}

#[tokio::test]
async fn rfc9700_s4_14_2_a_public_clients_refresh_token_that_stays_needs_its_key_each_time() {
    let more = json!({ "dpop_bound_access_tokens": true, "refresh_token_mode": "static" });
    let holder = Holder::new(more).await;
    let issued = holder.redeem(&holder.code(&[]).await, Some(&holder.good("token_endpoint").await)).await;
    let refresh = issued.text("refresh_token");
    for _ in 0..2 {
        let next = holder.refresh(refresh, Some(&holder.good("token_endpoint").await)).await;
        assert_eq!((next.text("refresh_token"), next.text("token_type")), (refresh, "DPoP"), "{}", next.body);
    }
    holder.refresh(refresh, None).await.assert_error(400, "invalid_request");
    let thief = Holder { key: Key::new("t"), ..holder };
    let stolen = thief.refresh(refresh, Some(&thief.good("token_endpoint").await)).await;
    stolen.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn rfc9449_s5_2_a_client_of_bound_tokens_gets_no_others() {
    let more = json!({
        "token_endpoint_auth_method": "client_secret_post", "dpop_bound_access_tokens": true,
        "grant_types": ["authorization_code", "client_credentials"],
    });
    let holder = Holder::new(more).await;
    let fields = [("grant_type", "client_credentials")];
    holder.post("token_endpoint", None, &fields).await.assert_error(400, "invalid_request");
    let good = holder.good("token_endpoint").await;
    let issued = holder.post("token_endpoint", Some(&good), &fields).await;
    assert_eq!((issued.status, issued.text("token_type")), (200, "DPoP"), "{}", issued.body);
    let fields = [("token", issued.text("access_token"))];
    let seen = holder.post("introspection_endpoint", None, &fields).await;
    assert_eq!(seen.body["cnf"]["jkt"], holder.jkt(), "§6.2");
    assert_eq!(seen.text("token_type"), "DPoP");
}

#[tokio::test]
async fn rfc9449_s10_a_code_is_bound_by_dpop_jkt_and_by_a_pushed_proof() {
    let holder = Holder::new(json!({})).await;
    let jkt = holder.jkt();
    let code = holder.code(&[("dpop_jkt", &jkt)]).await;
    holder.redeem(&code, None).await.assert_error(400, "invalid_grant");
    assert_eq!(holder.redeem(&code, Some(&holder.good("token_endpoint").await)).await.status, 200);

    let par = "pushed_authorization_request_endpoint";
    let fields = [
        ("response_type", "code"),
        ("redirect_uri", CALLBACK),
        ("scope", "openid"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ];
    let other = "A".repeat(43);
    let mismatch: Vec<(&str, &str)> = fields.iter().copied().chain([("dpop_jkt", other.as_str())]).collect();
    let refused = holder.post(par, Some(&holder.good(par).await), &mismatch).await;
    refused.assert_error(400, "invalid_dpop_proof");
    let pushed = holder.post(par, Some(&holder.good(par).await), &fields).await;
    assert_eq!(pushed.status, 201, "{}", pushed.body);
    let pairs =
        [("client_id", holder.client.client.client_id.as_str()), ("request_uri", pushed.text("request_uri"))];
    let url = url::Url::parse_with_params(holder.client.endpoint("authorization_endpoint"), pairs).unwrap();
    let mut browser = Browser::new(&holder.shared.ready.public_url);
    let callback = browser.approve(url.as_str(), &holder.shared.person).await;
    holder.redeem(callback.get("code"), None).await.assert_error(400, "invalid_grant");
    let good = holder.good("token_endpoint").await;
    assert_eq!(holder.redeem(callback.get("code"), Some(&good)).await.status, 200);
}
