//! Apps in browsers (draft-ietf-oauth-browser-based-apps, the Fetch Standard) and native apps (RFC 8252)
//! against the real binary, by section.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod oidc_support;

use oidc_support::browser::{Browser, PageKind};
use oidc_support::node::{Admin, Registered, Shared, shared};
use oidc_support::registration::{Managed, let_register};
use oidc_support::relying_party::{Answer, Method, RelyingParty};
use reqwest::Method as Verb;
use serde_json::{Value, json};

const APP: &str = "https://spa.example.org";
const CALLBACK: &str = "https://spa.example.org/callback";
/// RFC 7636 appendix B.
const CHALLENGE: [(&str, &str); 2] =
    [("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"), ("code_challenge_method", "S256")];
const VERIFIER: (&str, &str) = ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");

async fn client(shared: &Shared, more: Value) -> RelyingParty {
    let mut body = json!({
        "client_name": "App", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = Admin::of(&shared.ready).create("clients", body).await;
    let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
    let registered = Registered { client_id: text("client_id"), client_secret: text("client_secret") };
    RelyingParty::discover(&shared.ready.issuer, &registered, Method::Post).await
}

/// What a browser sends before a script's request.
async fn preflight(url: &str, origin: &str, method: &str) -> Answer {
    let request = reqwest::Client::new()
        .request(Verb::OPTIONS, url)
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", "authorization,dpop");
    Answer::of(request.send().await.unwrap()).await
}

/// A script's POST from a page of `origin`.
async fn post(url: &str, origin: &str, fields: &[(&str, &str)]) -> Answer {
    let request = reqwest::Client::new().post(url).header("origin", origin).form(fields);
    Answer::of(request.send().await.unwrap()).await
}

fn reader(answer: &Answer) -> Option<&str> {
    assert!(answer.headers.get("access-control-allow-credentials").is_none(), "never with cookies");
    answer.headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn browser_apps_s6_3_2_only_a_clients_own_pages_read_its_answers() {
    let shared = shared().await;
    let app = client(shared, json!({})).await;
    client(shared, json!({"redirect_uris": ["https://neighbour.example.org/cb"]})).await;
    let mut browser = Browser::new(&shared.ready.public_url);
    let wanted = [("redirect_uri", CALLBACK), ("scope", "openid offline_access"), CHALLENGE[0], CHALLENGE[1]];
    let callback = browser.approve(&app.request(&wanted), &shared.person).await;
    let url = app.endpoint("token_endpoint");
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", callback.get("code")),
        ("redirect_uri", CALLBACK),
        ("client_id", &app.client.client_id),
        VERIFIER,
    ];
    let tokens = post(url, APP, &fields).await;
    assert_eq!((tokens.status, reader(&tokens)), (200, Some(APP)), "{}", tokens.body);
    assert!(tokens.header("vary").contains("Origin") || tokens.header("vary").contains("origin"));
    assert!(tokens.header("access-control-expose-headers").contains("DPoP-Nonce"));
    let refresh = [
        ("grant_type", "refresh_token"),
        ("refresh_token", tokens.text("refresh_token")),
        ("client_id", &app.client.client_id),
    ];
    for (origin, readable) in [
        ("https://neighbour.example.org", false),
        ("https://evil.example", false),
        ("https://spa.example.org:8443", false),
        ("http://spa.example.org", false),
        ("null", false),
        (APP, true),
    ] {
        let again = post(url, origin, &refresh).await;
        assert_eq!(reader(&again), readable.then_some(origin), "{origin}");
    }
    let userinfo = async |origin: &str| {
        let request = app.http.get(app.endpoint("userinfo_endpoint")).header("origin", origin);
        Answer::of(request.bearer_auth(tokens.text("access_token")).send().await.unwrap()).await
    };
    let info = userinfo(APP).await;
    assert_eq!((info.status, reader(&info)), (200, Some(APP)), "{}", info.body);
    assert_eq!(reader(&userinfo("https://neighbour.example.org").await), None);
    let revoked = [("token", tokens.text("access_token")), ("client_id", &app.client.client_id)];
    assert_eq!(reader(&post(app.endpoint("revocation_endpoint"), APP, &revoked).await), Some(APP));
    let over = userinfo(APP).await;
    assert_eq!((over.status, reader(&over)), (401, Some(APP)), "its code learns that the token is over");
    let pushed = [("client_id", app.client.client_id.as_str()), ("response_type", "code")];
    let refused = post(app.endpoint("pushed_authorization_request_endpoint"), APP, &pushed).await;
    assert_eq!((refused.status, reader(&refused)), (400, Some(APP)));
}

#[tokio::test]
async fn fetch_s3_2_preflights_are_answered_for_pages_of_clients_and_no_others() {
    let shared = shared().await;
    let listed = "https://listed.example.org";
    let app = client(shared, json!({"allowed_origins": [listed, "http://localhost:3000"]})).await;
    client(
        shared,
        json!({
            "token_endpoint_auth_method": "client_secret_basic",
            "redirect_uris": ["https://confidential.example.org/cb"],
        }),
    )
    .await;
    for endpoint in [
        "token_endpoint",
        "userinfo_endpoint",
        "revocation_endpoint",
        "pushed_authorization_request_endpoint",
    ] {
        let url = app.endpoint(endpoint);
        for origin in [listed, "http://localhost:3000"] {
            let answer = preflight(url, origin, "POST").await;
            assert_eq!((answer.status, reader(&answer)), (204, Some(origin)), "{endpoint}");
            assert!(answer.header("access-control-allow-headers").contains("dpop"));
            assert!(answer.header("access-control-allow-methods").contains("POST"));
        }
        for origin in ["https://confidential.example.org", "https://evil.example", "null", "*"] {
            assert_eq!(reader(&preflight(url, origin, "POST").await), None, "{endpoint} {origin}");
        }
    }
    for bad in [
        json!(["*"]),
        json!(["https://*.example"]),
        json!(["http://app.example"]),
        json!("https://a.example"),
    ] {
        let body = json!({"redirect_uris": [CALLBACK], "allowed_origins": bad});
        let refused = Admin::of(&shared.ready).refused("clients", body).await;
        assert_eq!(refused["member"], "allowed_origins", "{refused}");
    }
}

#[tokio::test]
async fn browser_apps_s6_3_2_what_is_public_is_for_all_and_pages_are_for_nobodys_script() {
    let shared = shared().await;
    let app = client(shared, json!({})).await;
    let get = async |url: &str| {
        let request = app.http.get(url).header("origin", APP);
        Answer::of(request.send().await.unwrap()).await
    };
    let discovery = format!("{}/.well-known/openid-configuration", shared.ready.issuer);
    for url in [discovery.as_str(), app.endpoint("jwks_uri")] {
        assert_eq!(reader(&get(url).await), Some("*"), "{url}");
    }
    for url in [app.request(&[("redirect_uri", CALLBACK)]), app.endpoint("end_session_endpoint").to_owned()] {
        assert_eq!(reader(&get(&url).await), None, "{url}");
        let answer = preflight(&url, APP, "GET").await;
        assert_eq!((answer.status, reader(&answer)), (405, None), "{url}");
    }
    let introspection = preflight(app.endpoint("introspection_endpoint"), APP, "POST").await;
    assert_eq!((introspection.status, reader(&introspection)), (405, None), "for servers");
}

#[tokio::test]
async fn rfc9110_s10_2_1_options_allows_what_a_refused_method_says_is_allowed() {
    let shared = shared().await;
    let app = client(shared, json!({})).await;
    let path = |path: &str| format!("{}{path}", shared.ready.issuer);
    for url in [
        path("/.well-known/openid-configuration"),
        app.endpoint("jwks_uri").to_owned(),
        app.endpoint("token_endpoint").to_owned(),
        app.endpoint("userinfo_endpoint").to_owned(),
        app.endpoint("revocation_endpoint").to_owned(),
        app.endpoint("pushed_authorization_request_endpoint").to_owned(),
        path("/oauth2/register"),
        path("/oauth2/register/some-client"),
    ] {
        let allow = async |method| {
            let answer = app.http.request(method, &url).send().await.unwrap();
            (answer.status().as_u16(), answer.headers()["allow"].to_str().unwrap().to_owned())
        };
        let (refused, offered) = allow(Verb::PATCH).await;
        assert_eq!((refused, allow(Verb::OPTIONS).await), (405, (204, offered)), "{url}");
    }
}

#[tokio::test]
async fn fetch_s4_8_what_everybody_may_read_has_a_preflight_for_everybody() {
    let shared = shared().await;
    let app = client(shared, json!({})).await;
    let discovery = format!("{}/.well-known/openid-configuration", shared.ready.issuer);
    for url in [discovery.as_str(), app.endpoint("jwks_uri")] {
        let answer = preflight(url, "https://whoever.example", "GET").await;
        assert_eq!((answer.status, reader(&answer)), (204, Some("*")), "{url}");
        assert_eq!(answer.header("access-control-allow-methods"), "GET");
    }
}

#[tokio::test]
async fn rfc7591_a_page_registers_itself_and_then_its_own_origin_counts() {
    let shared = shared().await;
    let url = format!("{}/oauth2/register", shared.ready.issuer);
    let_register(&shared.ready, "closed").await;
    assert_eq!(reader(&preflight(&url, "https://new.example.org", "POST").await), None);
    let_register(&shared.ready, "open").await;
    let page = "https://new.example.org";
    assert_eq!(reader(&preflight(&url, page, "POST").await), Some(page));
    let body = json!({"redirect_uris": ["https://new.example.org/cb"], "token_endpoint_auth_method": "none"});
    let request = reqwest::Client::new().post(&url).header("origin", page).json(&body);
    let made = Answer::of(request.send().await.unwrap()).await;
    assert_eq!((made.status, reader(&made)), (201, Some(page)), "{}", made.body);
    let managed = Managed::of(&made.body);
    assert_eq!(reader(&preflight(&managed.url, page, "PUT").await), Some(page));
    for (origin, readable) in [(page, true), (APP, false)] {
        let request = reqwest::Client::new().get(&managed.url).header("origin", origin);
        let read = Answer::of(request.bearer_auth(&managed.token).send().await.unwrap()).await;
        assert_eq!((read.status, reader(&read)), (200, readable.then_some(origin)));
    }
}

struct Case {
    rfc: &'static str,
    registered: &'static str,
    asked: &'static str,
    native: bool,
    works: bool,
}

const CASES: &[Case] = &[
    Case {
        rfc: "8252 §7.1",
        registered: "com.example.app:/cb",
        asked: "com.example.app:/cb",
        native: true,
        works: true,
    },
    Case {
        rfc: "8252 §7.1",
        registered: "com.example.app:/cb",
        asked: "com.example.app:/other",
        native: true,
        works: false,
    },
    Case {
        rfc: "8252 §7.1",
        registered: "com.example.app:/cb",
        asked: "com.example.evil:/cb",
        native: true,
        works: false,
    },
    Case {
        rfc: "8252 §7.2",
        registered: "https://app.example.org/cb",
        asked: "https://app.example.org/cb",
        native: true,
        works: true,
    },
    Case {
        rfc: "8252 §7.2",
        registered: "https://app.example.org/cb",
        asked: "https://app.example.org:444/cb",
        native: true,
        works: false,
    },
    Case {
        rfc: "8252 §7.3",
        registered: "http://127.0.0.1/cb",
        asked: "http://127.0.0.1:51004/cb",
        native: true,
        works: true,
    },
    Case {
        rfc: "8252 §7.3",
        registered: "http://[::1]/cb",
        asked: "http://[::1]:61023/cb",
        native: true,
        works: true,
    },
    Case {
        rfc: "8252 §7.3",
        registered: "http://127.0.0.1/cb",
        asked: "http://127.0.0.1:51004/cb",
        native: false,
        works: false,
    },
    Case {
        rfc: "8252 §8.3",
        registered: "http://localhost/cb",
        asked: "http://localhost:51004/cb",
        native: true,
        works: false,
    },
    Case {
        rfc: "8252 §8.10",
        registered: "http://127.0.0.1/cb",
        asked: "http://127.0.0.1:51004/evil",
        native: true,
        works: false,
    },
    Case {
        rfc: "9700 §4.1",
        registered: "https://app.example.org/cb",
        asked: "https://app.example.org/cb?x",
        native: true,
        works: false,
    },
];

#[tokio::test]
async fn rfc8252_s7_each_kind_of_redirect_uri_is_matched_as_its_section_says() {
    let shared = shared().await;
    for case in CASES {
        let kind = if case.native { "native" } else { "web" };
        let app = client(shared, json!({"redirect_uris": [case.registered], "application_type": kind})).await;
        let mut browser = Browser::new(&shared.ready.public_url);
        let wanted = [("redirect_uri", case.asked), CHALLENGE[0], CHALLENGE[1]];
        let page = browser.open(&app.request(&wanted)).await.page();
        let expected = if case.works { PageKind::Login } else { PageKind::Other };
        assert_eq!(page.kind, expected, "RFC {} {} for {}", case.rfc, case.asked, case.registered);
    }
}

#[tokio::test]
async fn rfc8252_s8_1_public_clients_use_pkce_and_s8_4_wildcards_are_not_registered() {
    let shared = shared().await;
    let app =
        client(shared, json!({"application_type": "native", "redirect_uris": ["com.example.app:/cb"]})).await;
    let mut browser = Browser::new(&shared.ready.public_url);
    let plain = [("code_challenge", "x".repeat(43)), ("code_challenge_method", "plain".to_owned())];
    let plain =
        [("redirect_uri", "com.example.app:/cb"), (plain[0].0, &plain[0].1), (plain[1].0, &plain[1].1)];
    for wanted in [&plain[..1], &plain[..]] {
        let refused = browser.open(&app.request(wanted)).await.callback();
        assert_eq!(refused.get("error"), "invalid_request", "{wanted:?}");
    }
    for bad in
        ["https://*.example.org/cb", "https://app.example.org/*", "app:/cb", "http://app.example.org/cb"]
    {
        let body = json!({"redirect_uris": [bad], "application_type": "native", "token_endpoint_auth_method": "none"});
        let refused = Admin::of(&shared.ready).refused("clients", body).await;
        assert_eq!(refused["error"], "invalid_redirect_uri", "{bad}");
    }
}

#[tokio::test]
async fn rfc8252_s8_6_an_app_that_others_may_pass_for_is_agreed_to_each_time() {
    let shared = shared().await;
    let (port, claimed) = ("http://127.0.0.1:51004/cb", "https://app.example.org/native");
    let uris = json!(["http://127.0.0.1/cb", "com.example.app:/cb", claimed]);
    let app = client(shared, json!({"application_type": "native", "redirect_uris": uris})).await;
    let at = |uri: &str, more: &[(&str, &str)]| {
        let wanted: Vec<(&str, &str)> =
            CHALLENGE.into_iter().chain([("redirect_uri", uri)]).chain(more.iter().copied()).collect();
        app.request(&wanted)
    };
    let mut browser = Browser::new(&shared.ready.public_url);
    assert!(!browser.approve(&at(port, &[]), &shared.person).await.get("code").is_empty());
    for uri in [port, "com.example.app:/cb"] {
        let again = browser.open(&at(uri, &[])).await.page();
        assert_eq!(again.kind, PageKind::Consent, "{uri}: {}", again.html);
        let silent = browser.open(&at(uri, &[("prompt", "none")])).await.callback();
        assert_eq!(silent.get("error"), "consent_required", "{uri}");
        assert!(!browser.submit(&again, &[], "allow").await.callback().get("code").is_empty(), "{uri}");
    }
    let silent = browser.open(&at(claimed, &[("prompt", "none")])).await.callback();
    assert!(!silent.get("code").is_empty(), "an address that is the app's alone: {silent:?}");
}

#[tokio::test]
async fn browser_apps_s6_3_2_a_public_clients_refresh_token_is_good_for_one_use() {
    let shared = shared().await;
    let app = client(shared, json!({})).await;
    let mut browser = Browser::new(&shared.ready.public_url);
    let wanted = [("redirect_uri", CALLBACK), ("scope", "openid offline_access"), CHALLENGE[0], CHALLENGE[1]];
    let callback = browser.approve(&app.request(&wanted), &shared.person).await;
    let id = app.client.client_id.as_str();
    let code = callback.get("code");
    let redeem = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("client_id", id),
        VERIFIER,
    ];
    let first = app.post("token_endpoint", &redeem).await;
    let refresh = async |token: &str| {
        app.post(
            "token_endpoint",
            &[("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", id)],
        )
        .await
    };
    let second = refresh(first.text("refresh_token")).await;
    let third = refresh(second.text("refresh_token")).await;
    assert_eq!((second.status, third.status), (200, 200));
    let reused = refresh(first.text("refresh_token")).await;
    reused.assert_error(400, "invalid_grant");
    refresh(third.text("refresh_token")).await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn rfc8252_s8_12_a_native_app_does_not_show_our_pages_inside_itself() {
    let shared = shared().await;
    let app =
        client(shared, json!({"application_type": "native", "redirect_uris": ["com.example.app:/cb"]})).await;
    let web = client(shared, json!({})).await;
    let webview = "Mozilla/5.0 (Linux; Android 14; Pixel 8; wv) AppleWebKit/537.36 Version/4.0 Chrome/120.0 Mobile Safari/537.36";
    let chrome = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Mobile Safari/537.36";
    let open = async |client: &RelyingParty, redirect_uri: &str, agent: &str| {
        let wanted = [("redirect_uri", redirect_uri), CHALLENGE[0], CHALLENGE[1]];
        let request = client.http.get(client.request(&wanted)).header("user-agent", agent);
        request.send().await.unwrap()
    };
    let refused = open(&app, "com.example.app:/cb", webview).await;
    assert_eq!(refused.status(), 400);
    assert!(refused.text().await.unwrap().contains("browser"));
    assert_eq!(open(&app, "com.example.app:/cb", chrome).await.status(), 200);
    assert_eq!(open(&web, CALLBACK, webview).await.status(), 200, "nobody's app to refuse");
    let framed = open(&app, "com.example.app:/cb", chrome).await;
    let policy = framed.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
}
