//! Cookies, sealed interactions and form tokens as anybody may send them. The corpus has one `Cookie` header a file.

use axum::http::{HeaderMap, HeaderValue, header};
use domicile_iam::ids::{Id as _, TenantId};
use domicile_raft::Timestamp;
use domicile_raft::testing::ManualClock;

use super::{CookieKind, FormTokens, InteractionSealer, Scope, get};
use crate::hostile::{corpus, run};

const WORDS: [&[u8]; 8] = [b";", b"=", b" ", b"__Host-", b"dom-", b"\"", b"%3B", &[0x80]];

fn scope() -> Scope<'static> {
    Scope { tenant: TenantId::from_bytes([7; 16]), purpose: "login", browser: "b" }
}

/// What must hold, whatever was sent.
fn judge(input: &[u8], sealer: &InteractionSealer, tokens: &FormTokens) {
    let tenant = scope().tenant;
    let text = String::from_utf8_lossy(input);
    assert!(sealer.open::<serde_json::Value>(Timestamp(5), &scope(), &text).is_err());
    assert!(tokens.check(&scope(), &text).is_err());
    let Ok(value) = HeaderValue::from_bytes(input) else { return };
    let headers: HeaderMap = [(header::COOKIE, value)].into_iter().collect();
    for secure in [false, true] {
        for kind in [CookieKind::Session, CookieKind::Browser] {
            let Some(value) = get(&headers, kind, tenant, secure) else { continue };
            assert!(!value.is_empty() && !value.contains(';'), "{value:?}");
            let name = super::name(kind, tenant, secure);
            assert!(text.contains(&format!("{name}=")), "{name} of {text:?}");
        }
    }
}

#[test]
fn cookies_interactions_and_form_tokens_stand_whatever_is_sent() {
    let sealer = InteractionSealer::new(&[9; 32]).unwrap();
    let tokens = FormTokens::new(&[9; 32]).unwrap();
    let clock = ManualClock::new(Timestamp(5), 11);
    let tenant = scope().tenant.to_string();
    let of_tenant = |input: Vec<u8>| match String::from_utf8(input) {
        Ok(text) => text.trim_end().replace("TENANT", &tenant).into_bytes(),
        Err(no_text) => no_text.into_bytes(),
    };
    let mut seeds: Vec<Vec<u8>> = corpus("cookie").into_iter().map(of_tenant).collect();
    // Good for another browser: a byte of them must not be good here.
    let other = Scope { browser: "another", ..scope() };
    seeds.push(sealer.seal(&clock, &other, 60_000, &"state").unwrap().into_bytes());
    seeds.push(tokens.token(&other).into_bytes());
    run(&seeds, &WORDS, |input| judge(input, &sealer, &tokens));
}
