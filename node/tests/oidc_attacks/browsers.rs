//! Attacks on the way through the browser.

use crate::World;
use crate::oidc_support::browser::{PageKind, Stop};
use crate::oidc_support::node::CALLBACK;

/// Near misses of `https://rp.example.org/callback`.
const NEARLY: [&str; 14] = [
    "https://evil.example/callback",
    "https://rp.example.org.evil.example/callback",
    "https://rp.example.org@evil.example/callback",
    "https://evil.example#@rp.example.org/callback",
    "https://rp.example.org/callback/../evil",
    "https://rp.example.org/callback%2f..%2fevil",
    "https://rp.example.org/callback/",
    "https://rp.example.org/callback?next=https://evil.example",
    "https://rp.example.org/callback#fragment",
    "https://rp.example.org:8443/callback",
    "https://sub.rp.example.org/callback",
    "https://RP.example.org/callback",
    "http://rp.example.org/callback",
    "javascript:alert(1)//rp.example.org/callback",
];

#[tokio::test]
async fn rfc9700_s4_1_only_a_registered_redirect_uri_is_followed() {
    let world = World::new().await;
    for wrong in NEARLY {
        // Neither a code nor an error goes there.
        for more in [("prompt", "none"), ("response_type", "token")] {
            let url = world.client.request(&[("redirect_uri", wrong), more]);
            let Stop::Page(page) = world.browser().open(&url).await else { panic!("{wrong} was followed") };
            assert_eq!((page.status, page.kind), (400, PageKind::Other), "{wrong}");
        }
    }
    let two = format!("{}&redirect_uri=https%3A%2F%2Fevil.example%2F", world.client.request(&[]));
    assert_eq!(world.browser().open(&two).await.page().status, 400, "two of them");
}

#[tokio::test]
async fn rfc9700_s4_1_1_a_code_is_redeemed_with_the_redirect_uri_it_was_sent_to() {
    let world = World::new().await;
    let callback = world.approved(&world.client, &[]).await;
    for wrong in NEARLY {
        let fields =
            [("grant_type", "authorization_code"), ("code", callback.get("code")), ("redirect_uri", wrong)];
        world.client.call("token_endpoint", &fields).await.assert_error(400, "invalid_grant");
    }
    assert_eq!(world.client.redeem(&callback, &[]).await.status, 200, "the code is still good");
}

#[tokio::test]
async fn rfc9700_s4_2_pages_send_no_referrer_and_load_nothing_from_elsewhere() {
    let world = World::new().await;
    let mut browser = world.browser();
    let login = browser.open(&world.client.request(&[("prompt", "consent")])).await.page();
    let consent = browser.log_in(&login, &world.shared.person).await.page();
    for page in [&login, &consent] {
        assert_eq!(page.headers["referrer-policy"], "no-referrer");
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        for outside in ["src=\"http", "<img", "<iframe", "href=\"http", "@import", "url("] {
            assert!(!page.html.contains(outside), "{outside} in {}", page.html);
        }
    }
    // What leaks all the same is of no use a second time.
    let callback = browser.submit(&consent, &[], "allow").await.callback();
    assert_eq!(world.client.redeem(&callback, &[]).await.status, 200);
    world.client.redeem(&callback, &[]).await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn rfc9700_s4_3_1_a_code_in_the_history_is_single_use_and_form_post_leaves_none() {
    let world = World::new().await;
    let mut browser = world.browser();
    let url = world.client.request(&[("response_mode", "form_post")]);
    let login = browser.open(&url).await.page();
    let mut stop = browser.log_in(&login, &world.shared.person).await;
    if let Stop::Page(page) = &stop
        && page.kind == PageKind::Consent
    {
        let page = page.clone();
        stop = browser.submit(&page, &[], "allow").await;
    }
    let page = stop.page();
    assert_eq!(page.kind, PageKind::FormPost);
    assert!(!page.url.as_str().contains("code="), "{}", page.url);
    assert_eq!(page.headers["cache-control"], "no-store");
    assert_eq!(page.form_post().uri, CALLBACK);
}

#[tokio::test]
async fn rfc9700_s4_3_2_no_token_travels_in_a_url() {
    let world = World::new().await;
    for kind in ["token", "id_token", "id_token token", "code token", "code id_token"] {
        let refused =
            world.browser().open(&world.client.request(&[("response_type", kind)])).await.callback();
        assert_eq!(refused.get("error"), "unsupported_response_type", "{kind}");
    }
    let issued = world.tokens("openid").await;
    assert_eq!(issued.header("cache-control"), "no-store");
    let in_query = format!(
        "{}?access_token={}",
        world.client.endpoint("userinfo_endpoint"),
        issued.text("access_token")
    );
    assert_eq!(world.client.get(&in_query).await.status, 401, "not taken from there either");
}

#[tokio::test]
async fn rfc9700_s4_7_another_sites_form_logs_nobody_in_and_state_comes_back_whole() {
    let world = World::new().await;
    let mut browser = world.browser();
    let login = browser.open(&world.client.request(&[])).await.page();
    let form = login.form();
    let fields: Vec<(String, String)> =
        form.controls.iter().map(|control| (control.name.clone(), control.value.clone())).collect();
    let fields: Vec<(&str, &str)> =
        fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let target = login.url.join(&form.action).unwrap();
    let forged = browser.post_from_elsewhere(target.as_str(), &fields).await.page();
    assert!(matches!(forged.status, 400 | 403), "{}", forged.status);

    let state = "a b&c=d%25#\u{e4}";
    let callback = world.approved(&world.client, &[("state", state)]).await;
    assert_eq!(callback.get("state"), state);
    let refused = world.browser().open(&world.client.request(&[("state", state), ("prompt", "none")])).await;
    assert_eq!(refused.callback().get("state"), state, "with an error too");
}

#[tokio::test]
async fn rfc9700_s4_11_the_server_redirects_to_registered_addresses_only() {
    let world = World::new().await;
    // §4.11.2: an unknown client, or one that is not whose address this is.
    for wrong in [("client_id", "nobody"), ("redirect_uri", "https://evil.example/")] {
        let page = world.browser().open(&world.client.request(&[wrong])).await.page();
        assert_eq!((page.status, page.kind), (400, PageKind::Other));
        assert!(!page.html.contains("http-equiv") && !page.html.contains("location"), "{}", page.html);
    }
    let logout = world.client.endpoint("end_session_endpoint");
    for more in ["", "&client_id=nobody", &format!("&client_id={}", world.client.client.client_id)] {
        let url = format!("{logout}?post_logout_redirect_uri=https://evil.example/{more}");
        world.browser().open(&url).await.page();
    }
    let login = format!("{}/login?return_to=https://evil.example/", world.shared.ready.issuer);
    world.browser().open(&login).await.page();
}

#[tokio::test]
async fn rfc9700_s4_12_the_answer_to_a_password_is_303_so_that_it_is_not_sent_on() {
    let world = World::new().await;
    let mut browser = world.browser();
    let login = browser.open(&world.client.request(&[])).await.page();
    let form = login.form();
    let fields: Vec<(&str, &str)> = form
        .controls
        .iter()
        .filter(|control| control.tag == "input")
        .map(|control| match control.kind.as_str() {
            "password" => (control.name.as_str(), world.shared.person.password.as_str()),
            "text" | "email" => (control.name.as_str(), world.shared.person.username.as_str()),
            _ => (control.name.as_str(), control.value.as_str()),
        })
        .collect();
    let cookies: Vec<String> =
        browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let request = world.client.http.post(login.url.join(&form.action).unwrap()).form(&fields);
    let answer = request
        .header("cookie", cookies.join("; "))
        .header("origin", &world.shared.ready.public_url)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 303);
}

#[tokio::test]
async fn rfc9700_s4_13_headers_of_a_proxy_count_only_from_one() {
    let world = World::new().await;
    let url = format!("{}/.well-known/openid-configuration", world.shared.ready.issuer);
    let plain = world.client.get(&url).await.body;
    let forged = [
        ("forwarded", "for=127.0.0.1;host=evil.example;proto=https"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-original-url", "/t/other/"),
    ];
    let request = world.client.http.get(&url);
    let request = forged.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let answer: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer, plain);
    let foreign = world.client.http.get(&url).header("host", "evil.example").send().await.unwrap();
    assert_eq!(foreign.status(), 421);
}

#[tokio::test]
async fn rfc9700_s4_16_no_page_is_shown_in_a_frame() {
    let world = World::new().await;
    let mut browser = world.browser();
    let login = browser.open(&world.client.request(&[("prompt", "consent")])).await.page();
    let consent = browser.log_in(&login, &world.shared.person).await.page();
    let logout = browser.open(world.client.endpoint("end_session_endpoint")).await.page();
    let error = browser.open(&world.client.request(&[("client_id", "nobody")])).await.page();
    for page in [login, consent, logout, error] {
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("frame-ancestors 'none'"), "{} {policy}", page.url);
    }
}

#[tokio::test]
async fn rfc9700_s4_17_nothing_is_handed_over_within_the_browser() {
    let world = World::new().await;
    let modes = world.client.metadata["response_modes_supported"].as_array().unwrap().clone();
    assert!(!modes.iter().any(|mode| mode == "web_message" || mode == "fragment"), "{modes:?}");
    for mode in ["web_message", "fragment", "jwt"] {
        let stop = world.browser().open(&world.client.request(&[("response_mode", mode)])).await;
        match stop {
            Stop::Callback(callback) => assert_eq!(callback.get("error"), "invalid_request", "{mode}"),
            Stop::Page(page) => assert_eq!((page.status, page.kind), (400, PageKind::Other), "{mode}"),
        }
    }
    let login = world.browser().open(&world.client.request(&[])).await.page();
    assert!(!login.html.contains("<script") && !login.html.contains("postMessage"), "{}", login.html);
    assert!(!world.client.metadata.as_object().unwrap().contains_key("check_session_iframe"));
}
