//! Dynamic registration (RFC 7591) and its management (RFC 7592).

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::cluster_guest::{CALLBACK, Reply};
use crate::world::{App, World};

/// What a client that registers itself says.
pub fn metadata(name: &str) -> Value {
    json!({
        "client_name": name, "redirect_uris": [CALLBACK], "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token"],
    })
}

pub async fn register(world: &World, host: usize, metadata: &Value) -> Result<Reply, reqwest::Error> {
    Reply::of(world.doors.http.post(world.at(host, "register")).json(metadata).send().await?).await
}

/// A request to the client configuration endpoint, at this node's own address.
pub async fn manage(
    world: &World,
    host: usize,
    method: Method,
    (client, token): (&str, &str),
    body: Option<&Value>,
) -> Result<Reply, reqwest::Error> {
    let url = world.at(host, &format!("register/{client}"));
    let request = world.doors.http.request(method, url).bearer_auth(token);
    let request = body.into_iter().fold(request, reqwest::RequestBuilder::json);
    Reply::of(request.send().await?).await
}

/// The metadata of an update: with the client's id (RFC 7592 §2.2).
pub fn update(name: &str, client: &str) -> Value {
    let mut body = metadata(name);
    body["client_id"] = json!(client);
    body
}

pub async fn a_client_is_managed_elsewhere(world: &World, at: [usize; 4]) {
    let [a, b, c, d] = at;
    let made = register(world, a, &metadata("Registered")).await.unwrap().expect(StatusCode::CREATED);
    let (id, first) = (made.text("client_id"), made.text("registration_access_token"));
    let place = made.text("registration_client_uri");
    assert_eq!(place, world.url(&format!("/oauth2/register/{id}")), "the issuer's, whoever was asked");
    let send = async |host: usize, method: Method, token: &str, body: Option<&Value>| {
        manage(world, host, method, (id.as_str(), token), body).await.unwrap()
    };
    let read = send(b, Method::GET, &first, None).await.expect(StatusCode::OK);
    assert_eq!(read.body["client_name"], "Registered");
    let renamed = update("Renamed", &id);
    let updated = send(c, Method::PUT, &first, Some(&renamed)).await.expect(StatusCode::OK);
    let second = updated.text("registration_access_token");
    for host in [a, d] {
        send(host, Method::GET, &first, None).await.expect(StatusCode::UNAUTHORIZED);
        let read = send(host, Method::GET, &second, None).await.expect(StatusCode::OK);
        assert_eq!(read.body["client_name"], "Renamed", "host {host}");
    }
    send(b, Method::DELETE, &second, None).await.expect(StatusCode::NO_CONTENT);
    send(c, Method::GET, &second, None).await.expect(StatusCode::UNAUTHORIZED);
    let own = world.refresh(d, &App::of(&made), "none", None).await.unwrap();
    assert_eq!((own.status, own.text("error").as_str()), (StatusCode::UNAUTHORIZED, "invalid_client"));
}
