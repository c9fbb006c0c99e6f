//! Attacks on tokens.

use serde_json::json;

use crate::World;
use crate::oidc_support::relying_party::part;

#[tokio::test]
async fn rfc9700_s4_9_1_a_token_is_of_no_use_where_it_was_not_meant_for() {
    let world = World::new().await;
    let server = |name: &str| {
        json!({
            "client_name": name, "grant_types": ["client_credentials"], "redirect_uris": [],
            "response_types": [], "resource_identifiers": [format!("https://{name}.example/")],
        })
    };
    let (counterfeit, other) =
        (world.registered(server("counterfeit")).await, world.registered(server("honest")).await);
    let wanted = [
        ("scope", "openid offline_access"),
        ("resource", "https://counterfeit.example/"),
        ("prompt", "consent"),
    ];
    let callback = world.approved(&world.client, &wanted).await;
    let token = world.client.redeem(&callback, &[]).await.text("access_token").to_owned();
    assert_eq!(part(&token, 1)["aud"], json!(["https://counterfeit.example/"]));
    let seen = counterfeit.call("introspection_endpoint", &[("token", &token)]).await;
    assert_eq!(seen.body["active"], true);
    // It hands the token on: to us, and to another resource server.
    world.client.userinfo(&token).await.assert_error(401, "invalid_token");
    let seen = other.call("introspection_endpoint", &[("token", &token)]).await;
    assert_eq!(seen.body, json!({ "active": false }));
    let admin = format!("{}/v1/tenants", world.shared.ready.admin_url);
    let refused = world.client.http.get(admin).bearer_auth(&token).send().await.unwrap();
    assert_eq!(refused.status(), 401);
}

#[tokio::test]
async fn rfc9700_s4_10_2_a_stolen_token_is_short_lived_and_ends_when_it_is_revoked() {
    let world = World::new().await;
    let issued = world.tokens("openid").await;
    let token = issued.text("access_token");
    let claims = part(token, 1);
    let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert!(life <= 600, "{life} s");
    assert!(world.is_active(token).await);
    world.client.call("revocation_endpoint", &[("token", token)]).await;
    assert!(!world.is_active(token).await);
    world.client.userinfo(token).await.assert_error(401, "invalid_token");
}

#[tokio::test]
async fn rfc9700_s4_14_2_a_replayed_refresh_token_ends_what_thief_and_owner_have() {
    let world = World::new().await;
    let issued = world.tokens("openid offline_access").await;
    let stolen = issued.text("refresh_token");
    let (first, attacker) = (world.client.refresh(stolen).await, world.attacker().await);
    // Another client cannot use it.
    attacker.refresh(first.text("refresh_token")).await.assert_error(400, "invalid_grant");
    let second = world.client.refresh(first.text("refresh_token")).await;
    assert_eq!(second.status, 200);
    // The first one again, when two successors were used: somebody has a copy.
    world.client.refresh(stolen).await.assert_error(400, "invalid_grant");
    world.client.refresh(second.text("refresh_token")).await.assert_error(400, "invalid_grant");
    for token in [&issued, &first, &second] {
        assert!(!world.is_active(token.text("access_token")).await);
    }
}

#[tokio::test]
async fn rfc9700_s4_14_1_a_refresh_token_gives_no_more_than_was_granted() {
    let world = World::new().await;
    let issued = world.tokens("openid offline_access").await;
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", issued.text("refresh_token")),
        ("scope", "openid email profile"),
    ];
    world.client.call("token_endpoint", &fields).await.assert_error(400, "invalid_scope");
}

#[tokio::test]
async fn rfc9700_s4_15_a_client_cannot_pass_for_a_user() {
    let world = World::new().await;
    let issued = world.tokens("openid").await;
    let subject = part(issued.text("id_token"), 1)["sub"].as_str().unwrap().to_owned();
    let service = world
        .registered(
            json!({ "grant_types": ["client_credentials"], "response_types": [], "redirect_uris": [] }),
        )
        .await;
    let own = service.call("token_endpoint", &[("grant_type", "client_credentials")]).await;
    let claims = part(own.text("access_token"), 1);
    assert_eq!(claims["sub"], service.client.client_id.as_str());
    assert_ne!(claims["sub"], subject.as_str(), "ids of clients and of users have different beginnings");
    assert_eq!(
        world.client.userinfo(own.text("access_token")).await.status,
        403,
        "there is no user behind it"
    );
    let fields = [("grant_type", "client_credentials"), ("scope", "openid"), ("sub", subject.as_str())];
    let chosen = service.call("token_endpoint", &fields).await;
    if chosen.status == 200 {
        assert_ne!(part(chosen.text("access_token"), 1)["sub"], subject.as_str());
    } else {
        chosen.assert_error(400, "invalid_scope");
    }
}
