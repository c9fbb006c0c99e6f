//! Attacks on tokens that are bound to a key (RFC 9449): who has the token has nothing yet.

use reqwest::Method as Verb;
use serde_json::json;

use crate::oidc_support::assertion::Key;
use crate::oidc_support::dpop;
use crate::oidc_support::node::CALLBACK;
use crate::oidc_support::relying_party::{Answer, RelyingParty, part};
use crate::{PKCE, VERIFIER, World};

/// A client whose tokens are bound to its key.
struct Holder {
    client: RelyingParty,
    key: Key,
}

impl Holder {
    async fn new(world: &World) -> Self {
        let more = json!({ "token_endpoint_auth_method": "none", "dpop_bound_access_tokens": true });
        Self { client: world.registered(more).await, key: Key::new("holder") }
    }

    /// A token request with this proof.
    async fn request(&self, proof: &str, fields: &[(&str, &str)]) -> Answer {
        let mut fields = fields.to_vec();
        fields.push(("client_id", self.client.client.client_id.as_str()));
        let request = self.client.http.post(self.client.endpoint("token_endpoint"));
        Answer::of(request.header("dpop", proof).form(&fields).send().await.unwrap()).await
    }

    /// A nonce, as the node gives it to everybody.
    async fn nonce(&self) -> String {
        let bare = dpop::proof(&self.key, "POST", self.client.endpoint("token_endpoint"), &json!({}));
        let asked = self.request(&bare, &[("grant_type", "refresh_token")]).await;
        asked.assert_error(400, "use_dpop_nonce");
        asked.header("dpop-nonce").to_owned()
    }

    /// A proof for the token endpoint by any key.
    async fn for_tokens(&self, key: &Key) -> String {
        let nonce = json!({ "nonce": self.nonce().await });
        dpop::proof(key, "POST", self.client.endpoint("token_endpoint"), &nonce)
    }

    /// A proof by any key that goes with `token` to `url`.
    async fn for_use(&self, key: &Key, url: &str, token: &str) -> String {
        let more = json!({ "ath": dpop::token_hash(token), "nonce": self.nonce().await });
        dpop::proof(key, "GET", url, &more)
    }

    /// What its user let it have, and the proof that fetched it.
    async fn tokens(&self, world: &World, more: &[(&str, &str)]) -> (Answer, String) {
        let wanted: Vec<(&str, &str)> = PKCE.into_iter().chain(more.iter().copied()).collect();
        let callback = world.approved(&self.client, &wanted).await;
        let proof = self.for_tokens(&self.key).await;
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", callback.get("code")),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        let issued = self.request(&proof, &fields).await;
        assert_eq!((issued.status, issued.text("token_type")), (200, "DPoP"), "{}", issued.body);
        (issued, proof)
    }

    fn userinfo(&self) -> &str {
        self.client.endpoint("userinfo_endpoint")
    }

    /// Somebody shows `token` at userinfo.
    async fn shown(&self, verb: Verb, scheme: &str, token: &str, proof: Option<&str>) -> Answer {
        let request = self.client.http.request(verb, self.userinfo());
        let request = request.header("authorization", format!("{scheme} {token}"));
        let request = proof.into_iter().fold(request, |request, proof| request.header("dpop", proof));
        Answer::of(request.send().await.unwrap()).await
    }
}

#[tokio::test]
async fn rfc9700_s4_10_1_a_stolen_token_that_is_bound_to_a_key_is_refused() {
    let world = World::new().await;
    let holder = Holder::new(&world).await;
    let wanted = [("scope", "openid offline_access"), ("prompt", "consent")];
    let (issued, fetched) = holder.tokens(&world, &wanted).await;
    let token = issued.text("access_token");
    let used = holder.for_use(&holder.key, holder.userinfo(), token).await;
    let good = holder.shown(Verb::GET, "DPoP", token, Some(&used)).await;
    assert_eq!(good.status, 200, "its holder's: {}", good.body);

    // The thief read all of it: tokens and proofs. What it lacks is the key.
    let thief = Key::new("thief");
    let own = holder.for_use(&thief, holder.userinfo(), token).await;
    holder.shown(Verb::GET, "Bearer", token, None).await.assert_error(401, "invalid_token");
    holder.shown(Verb::GET, "DPoP", token, None).await.assert_error(401, "invalid_dpop_proof");
    holder.shown(Verb::GET, "DPoP", token, Some(&own)).await.assert_error(401, "invalid_token");
    // A proof that was seen is good for no other request; for the same one until its nonce ends (docs/adr/0016).
    let (next, _) = holder.tokens(&world, &wanted).await;
    for (verb, token, seen) in [
        (Verb::POST, token, &used),
        (Verb::GET, next.text("access_token"), &used),
        (Verb::GET, token, &fetched),
    ] {
        holder.shown(verb, "DPoP", token, Some(seen)).await.assert_error(401, "invalid_dpop_proof");
    }
    // Where something is written, not for the same one either.
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", issued.text("refresh_token"))];
    holder.request(&fetched, &refresh).await.assert_error(400, "invalid_dpop_proof");
    let own = holder.for_tokens(&thief).await;
    holder.request(&own, &refresh).await.assert_error(400, "invalid_grant");
    let mine = holder.for_tokens(&holder.key).await;
    assert_eq!(holder.request(&mine, &refresh).await.status, 200, "its holder lost nothing");
}

#[tokio::test]
async fn rfc9700_s4_9_2_what_a_compromised_resource_server_was_sent_opens_no_other() {
    const URL: &str = "https://compromised.example/";
    let world = World::new().await;
    let server = |name: &str| {
        json!({
            "client_name": name, "grant_types": ["client_credentials"], "redirect_uris": [],
            "response_types": [], "resource_identifiers": [format!("https://{name}.example/")],
        })
    };
    let (compromised, spared) =
        (world.registered(server("compromised")).await, world.registered(server("spared")).await);
    let holder = Holder::new(&world).await;
    // Its audience is the issuer too, so that it is the key alone that keeps it from userinfo.
    let wanted = [("resource", URL), ("resource", holder.client.endpoint("issuer"))];
    let (issued, _) = holder.tokens(&world, &wanted).await;
    let token = issued.text("access_token");
    assert_eq!(part(token, 1)["aud"].as_array().map(Vec::len), Some(2), "{}", part(token, 1));

    // It was sent the token, and a proof that goes with it to its own address; and it may ask about it.
    let sent = holder.for_use(&holder.key, URL, token).await;
    let seen = compromised.call("introspection_endpoint", &[("token", token)]).await;
    assert_eq!((&seen.body["active"], seen.text("token_type")), (&json!(true), "DPoP"), "{}", seen.body);
    assert_eq!(seen.body["cnf"]["jkt"], dpop::thumbprint(&holder.key));
    let own = holder.for_use(&Key::new("server"), holder.userinfo(), token).await;
    for (scheme, proof, error) in [
        ("Bearer", None, "invalid_token"),
        ("DPoP", None, "invalid_dpop_proof"),
        ("DPoP", Some(&sent), "invalid_dpop_proof"),
        ("DPoP", Some(&own), "invalid_token"),
    ] {
        let refused = holder.shown(Verb::GET, scheme, token, proof.map(String::as_str)).await;
        refused.assert_error(401, error);
    }
    // To a server that it is not for it does not count, whoever shows it.
    let seen = spared.call("introspection_endpoint", &[("token", token)]).await;
    assert_eq!(seen.body, json!({ "active": false }));
    let good = holder.for_use(&holder.key, holder.userinfo(), token).await;
    assert_eq!(holder.shown(Verb::GET, "DPoP", token, Some(&good)).await.status, 200, "its holder's");
}
