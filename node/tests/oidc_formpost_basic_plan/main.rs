//! The OpenID Foundation's Form Post Basic certification plan: every module of the Basic plan, each answer as a
//! form that the browser sends (OAuth 2.0 Form Post Response Mode; docs/conformance.md). The parameter is added
//! where requests are made, since this crate's name asks for it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

#[path = "../oidc_basic_plan/main.rs"]
mod basic;

use basic::oidc_support;

use oidc_support::browser::{Browser, PageKind};
use oidc_support::node::{CALLBACK, shared};
use oidc_support::relying_party::{Method, RelyingParty};

#[tokio::test]
async fn form_post_s2_codes_and_errors_are_in_a_form_and_never_in_the_address() {
    let shared = shared().await;
    let client = RelyingParty::discover(&shared.ready.issuer, &shared.basic, Method::Basic).await;
    let mut browser = Browser::new(&shared.ready.public_url);
    let denied = browser.open(&client.request(&[("prompt", "none")])).await.page();
    assert_eq!(denied.kind, PageKind::FormPost);
    assert_eq!(denied.headers["cache-control"], "no-store");
    let answer = denied.form_post();
    assert_eq!((answer.uri.as_str(), answer.get("error")), (CALLBACK, "login_required"));
    let granted = browser.approve(&client.request(&[]), &shared.person).await;
    assert_eq!(browser.seen.last(), Some(&PageKind::FormPost));
    assert!(!granted.get("code").is_empty() && granted.get("state") == "st-0123456789");
}
