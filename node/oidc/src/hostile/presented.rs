//! Targets: tokens as they are presented, and the form that an answer is asked for in.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::OnceLock;

use domicile_iam::ids::{Id as _, TenantId};

use super::targets::head_and_form;
use crate::bearer::{self, Scheme};
use crate::opaque::{self, OpaqueTokens, SALT_BYTES};
use crate::testing::{client, issue, tenant, user};
use crate::{accept, access_token, signed};

/// The first line is the `Authorization` header, the rest a form.
pub fn bearer(input: &[u8]) {
    let Some((header, form)) = head_and_form(input) else { return };
    let in_body = matches!(form.get("access_token"), Ok(Some(_)));
    for body in [None, Some(&form)] {
        let Ok(presented) = bearer::presented(header.as_deref(), body) else { continue };
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\",\\".contains(&byte);
        assert!(!presented.token.is_empty() && presented.token.bytes().all(is_plain));
        let in_body = body.is_some() && in_body;
        assert_ne!(header.is_some(), in_body, "from one place");
        let named = header.as_ref().is_some_and(|header| header.to_ascii_lowercase().starts_with("dpop "));
        assert_eq!(presented.scheme == Scheme::Dpop, named);
    }
}

/// The value of an `Accept` header.
pub fn accept(input: &[u8]) {
    const OFFERED: [&str; 2] = ["application/json", signed::INTROSPECTION];
    let Ok(text) = std::str::from_utf8(input) else { return };
    let preferred = accept::preferred(text, &OFFERED);
    let lower = text.to_ascii_lowercase();
    let named = lower.contains(OFFERED[1]) || lower.contains("/*");
    assert!(preferred != Some(OFFERED[1]) || named);
    // The closest range counts, and of two of the same name the weightier.
    assert_eq!(accept::preferred(&format!("{text},application/json"), &OFFERED), Some(OFFERED[0]));
    let refused = accept::preferred(&format!("{text},{};q=0.0", OFFERED[1]), &OFFERED);
    assert!(refused != Some(OFFERED[1]) || lower.contains(OFFERED[1]));
}

/// An opaque token.
pub fn opaque_token(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let opened = tokens(1).open(text);
    assert_eq!(opened.is_some(), text == sealed(), "{text}");
    assert!(opened.is_none() || opaque::is_opaque(text));
    assert!(tokens(2).open(text).is_none(), "of another tenant: {text}");
}

/// A good one.
pub fn sealed() -> &'static str {
    static SEALED: OnceLock<String> = OnceLock::new();
    SEALED.get_or_init(|| {
        let claims = access_token::for_user(&tenant(), &client(), &issue(&["openid"]), &user());
        tokens(1).seal(&claims, [7; SALT_BYTES]).unwrap()
    })
}

fn tokens(of: u8) -> OpaqueTokens {
    OpaqueTokens::new(&[9; 32], TenantId::from_bytes([of; 16]))
}
