//! The whole way with a client library that knows nothing of us: discovery, code with PKCE, refresh,
//! userinfo, introspection, revocation, logout; then `kill -9`, and what must still be there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod oidc_support;

use oidc_support::browser::{Browser, PageKind, Stop};
use oidc_support::node::{Node, Person, Ready};
use oidc_support::relying_party::part;
use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreProviderMetadata, CoreUserInfoClaims};
use openidconnect::{
    AccessTokenHash, AsyncHttpClient, AuthorizationCode, ClientId, ClientSecret, CsrfToken, HttpRequest,
    HttpResponse, IntrospectionUrl, IssuerUrl, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge,
    RedirectUrl, RevocationUrl, Scope, TokenIntrospectionResponse as _, TokenResponse as _,
};

/// Carries the library's requests, as it wants it: redirects are not followed. It insists on `https` for
/// revocation, on loopback too; the test node there speaks plain HTTP.
struct Http(reqwest::Client);

impl Http {
    fn new() -> Self {
        Self(reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap())
    }
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = reqwest::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<HttpResponse, Self::Error>> + Send + 'c>>;

    fn call(&'c self, mut request: HttpRequest) -> Self::Future {
        *request.uri_mut() = request.uri().to_string().replacen("https://", "http://", 1).parse().unwrap();
        Box::pin(async move {
            let answer = self.0.execute(request.try_into()?).await?;
            let mut response = HttpResponse::new(Vec::new());
            *response.status_mut() = answer.status();
            response.headers_mut().clone_from(answer.headers());
            *response.body_mut() = answer.bytes().await?.to_vec();
            Ok(response)
        })
    }
}

fn person(ready: &Ready) -> Person {
    Person { username: ready.username.clone(), password: ready.password.clone() }
}

fn revocation_url(issuer: &str) -> String {
    format!("{}/oauth2/revoke", issuer.replacen("http://", "https://", 1))
}

/// The library's client for the demo client of a node.
macro_rules! client {
    ($ready:expr, $http:expr) => {{
        let issuer = IssuerUrl::new($ready.issuer.clone()).unwrap();
        let metadata = CoreProviderMetadata::discover_async(issuer, $http).await.unwrap();
        let id = ClientId::new($ready.client_id.clone());
        let secret = ClientSecret::new($ready.client_secret.clone());
        CoreClient::from_provider_metadata(metadata, id, Some(secret))
            .set_redirect_uri(RedirectUrl::new($ready.redirect_uris[0].clone()).unwrap())
            .set_introspection_url(
                IntrospectionUrl::new(format!("{}/oauth2/introspect", $ready.issuer)).unwrap(),
            )
            .set_revocation_url(RevocationUrl::new(revocation_url(&$ready.issuer)).unwrap())
    }};
}

#[tokio::test]
async fn a_client_library_goes_all_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "127.0.0.1:0").await;
    let (ready, http) = (&node.ready, Http::new());
    let client = client!(ready, &http);
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (url, state, nonce) = client
        .authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random)
        .add_scope(Scope::new("email".to_owned()))
        .add_scope(Scope::new("offline_access".to_owned()))
        .set_pkce_challenge(challenge)
        .url();
    let mut browser = Browser::new(&ready.public_url);
    let callback = browser.approve(url.as_str(), &person(ready)).await;
    assert_eq!(browser.seen, [PageKind::Login, PageKind::Consent]);
    assert_eq!(callback.uri, ready.redirect_uris[0]);
    assert_eq!(callback.get("state"), state.secret().as_str());
    assert_eq!(callback.get("iss"), ready.issuer);

    let code = AuthorizationCode::new(callback.get("code").to_owned());
    let exchange = client.exchange_code(code).unwrap().set_pkce_verifier(verifier);
    let tokens = exchange.request_async(&http).await.unwrap();
    let id_token = tokens.id_token().unwrap();
    let id_token_verifier = client.id_token_verifier();
    let claims = id_token.claims(&id_token_verifier, &nonce).unwrap();
    let signed = (id_token.signing_alg().unwrap(), id_token.signing_key(&id_token_verifier).unwrap());
    let at_hash = AccessTokenHash::from_token(tokens.access_token(), signed.0, signed.1).unwrap();
    assert_eq!(claims.access_token_hash(), Some(&at_hash));

    let asked = client.user_info(tokens.access_token().clone(), Some(claims.subject().clone())).unwrap();
    let info: CoreUserInfoClaims = asked.request_async(&http).await.unwrap();
    assert!(info.email().is_some() && info.name().is_none());

    let introspected = client.introspect(tokens.access_token()).request_async(&http).await.unwrap();
    assert!(introspected.active());
    assert_eq!(introspected.sub(), Some(claims.subject().as_str()));

    let refresh_token = tokens.refresh_token().unwrap();
    let refreshed = client.exchange_refresh_token(refresh_token).unwrap().request_async(&http).await.unwrap();
    assert_ne!(refreshed.access_token().secret(), tokens.access_token().secret());
    let successor = refreshed.refresh_token().unwrap();
    assert_ne!(successor.secret(), refresh_token.secret());

    client.revoke_token(successor.clone().into()).unwrap().request_async(&http).await.unwrap();
    assert!(client.exchange_refresh_token(successor).unwrap().request_async(&http).await.is_err());
    let after = client.introspect(refreshed.access_token()).request_async(&http).await.unwrap();
    assert!(!after.active(), "the family's access tokens end with it (RFC 7009 §2.1)");

    let logout = format!("{}/oauth2/logout?id_token_hint={}", ready.issuer, id_token);
    let page = browser.open(&logout).await.page();
    assert_eq!((page.status, page.kind), (200, PageKind::Other), "{}", page.html);
    let silent = format!("{url}&prompt=none");
    let callback = browser.open(&silent).await.callback();
    assert_eq!(callback.get("error"), "login_required");
}

#[tokio::test]
async fn sessions_and_refresh_tokens_survive_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start(dir.path(), "127.0.0.1:0").await;
    let before = node.ready.clone();
    let http = Http::new();
    let client = client!(before, &http);
    let (url, _, nonce) = client
        .authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random)
        .add_scope(Scope::new("offline_access".to_owned()))
        .url();
    let mut browser = Browser::new(&before.public_url);
    let callback = browser.approve(url.as_str(), &person(&before)).await;
    let code = AuthorizationCode::new(callback.get("code").to_owned());
    let tokens = client.exchange_code(code).unwrap().request_async(&http).await.unwrap();
    let subject =
        tokens.id_token().unwrap().claims(&client.id_token_verifier(), &nonce).unwrap().subject().clone();

    node.kill();
    let listen = before.public_url.trim_start_matches("http://").to_owned();
    let node = Node::start(dir.path(), &listen).await;
    assert_eq!(node.ready.issuer, before.issuer);
    assert_eq!(
        (&node.ready.client_id, &node.ready.client_secret),
        (&before.client_id, &before.client_secret)
    );

    let client = client!(before, &http);
    let refreshed = client.exchange_refresh_token(tokens.refresh_token().unwrap()).unwrap();
    let refreshed = refreshed.request_async(&http).await.unwrap();
    assert!(client.introspect(refreshed.access_token()).request_async(&http).await.unwrap().active());
    assert!(client.introspect(tokens.access_token()).request_async(&http).await.unwrap().active());

    browser.seen.clear();
    let Stop::Callback(callback) = browser.open(url.as_str()).await else {
        panic!("asked for {:?}", browser.seen)
    };
    assert_eq!(browser.seen, [], "the session still stands: no page is shown");
    let code = AuthorizationCode::new(callback.get("code").to_owned());
    let again = client.exchange_code(code).unwrap().request_async(&http).await.unwrap();
    let claims = part(&again.id_token().unwrap().to_string(), 1);
    assert_eq!(claims["sub"], subject.as_str());
}
