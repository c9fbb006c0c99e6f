//! Cookies, sealed interactions and form tokens as anybody may send them. The corpus is `node/corpus/cookie/`, one
//! `Cookie` header a file; inputs that once failed are put there.

use axum::http::{HeaderMap, HeaderValue, header};
use domicile_iam::ids::{Id as _, TenantId};
use domicile_raft::testing::ManualClock;
use domicile_raft::{Clock as _, Timestamp};

use super::{CookieKind, FormTokens, InteractionSealer, Scope, get};

const CASES: usize = 4_000;
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
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/cookie");
    let mut corpus: Vec<Vec<u8>> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            text.trim_end().replace("TENANT", &scope().tenant.to_string()).into_bytes()
        })
        .collect();
    corpus.sort();
    // Good for another browser: a byte of them must not be good here.
    let other = Scope { browser: "another", ..scope() };
    corpus.push(sealer.seal(&clock, &other, 60_000, &"state").unwrap().into_bytes());
    corpus.push(tokens.token(&other).into_bytes());
    for input in &corpus {
        judge(input, &sealer, &tokens);
    }
    let pick = |below: usize| {
        let mut random = [0; 4];
        clock.fill_random(&mut random);
        u32::from_be_bytes(random) as usize % below.max(1)
    };
    for _ in 0..CASES {
        let mut input = corpus[pick(corpus.len())].clone();
        for _ in 0..=pick(4) {
            let at = pick(input.len() + 1);
            match pick(4) {
                0 => input.truncate(at),
                1 => drop(input.splice(at..at, WORDS[pick(WORDS.len())].iter().copied())),
                2 => input.extend(corpus[pick(corpus.len())].iter().skip(at).take(pick(200))),
                _ => {
                    if let Some(byte) = input.get_mut(at) {
                        *byte ^= 1 << pick(8);
                    }
                }
            }
        }
        judge(&input, &sealer, &tokens);
    }
}
