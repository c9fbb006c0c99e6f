//! Which pages may read answers for a client by script (Fetch Standard §3.2): those of the client itself.

use std::collections::BTreeSet;

use serde_json::Value;
use url::{Host, Url};

use super::client::{AuthMethod, ClientMetadata};
use super::registration::ALLOWED_ORIGINS;

/// Origins that a client may list.
pub const ORIGINS_MAX: usize = 16;

impl ClientMetadata {
    /// Origins of its pages, as browsers write them. A confidential client has none: its secret would be in
    /// a page. What it lists counts; a client that lists none has those of its redirect URIs.
    #[must_use]
    pub fn browser_origins(&self) -> BTreeSet<String> {
        if self.token_endpoint_auth_method != AuthMethod::None {
            return BTreeSet::new();
        }
        match self.extra.get(ALLOWED_ORIGINS) {
            Some(listed) => {
                let listed = listed.as_array().into_iter().flatten().filter_map(Value::as_str);
                listed.filter(|text| is_origin(text)).map(str::to_owned).collect()
            }
            None => self.redirect_uris.iter().filter_map(|uri| origin_of(uri)).collect(),
        }
    }
}

/// Whether `text` is the origin of a page: `https`, or `http` on this machine; nothing after the port, and no
/// pattern (draft-ietf-oauth-browser-based-apps: exact origins).
#[must_use]
pub fn is_origin(text: &str) -> bool {
    !text.contains('*') && origin_of(text).is_some_and(|origin| origin == text)
}

fn origin_of(uri: &str) -> Option<String> {
    let url = Url::parse(uri).ok()?;
    let here = match url.host()? {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    let fits = url.scheme() == "https" || (url.scheme() == "http" && here);
    fits.then(|| url.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[allow(clippy::needless_pass_by_value, reason = "made where it is passed")]
    fn origins(more: Value) -> Vec<String> {
        let mut whole = json!({
            "token_endpoint_auth_method": "none",
            "redirect_uris": [
                "https://app.example/cb", "https://app.example:443/other", "https://app.example:8443/cb",
                "http://localhost:3000/cb", "com.example.app:/cb",
            ],
        });
        whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let metadata: ClientMetadata = serde_json::from_value(whole).unwrap();
        metadata.browser_origins().into_iter().collect()
    }

    #[test]
    fn browser_apps_origins_are_listed_or_those_of_the_redirect_uris() {
        let derived = ["http://localhost:3000", "https://app.example", "https://app.example:8443"];
        assert_eq!(origins(json!({})), derived);
        assert_eq!(origins(json!({"allowed_origins": ["https://spa.example"]})), ["https://spa.example"]);
        assert!(origins(json!({"allowed_origins": []})).is_empty(), "it wants none");
        assert!(origins(json!({"token_endpoint_auth_method": "client_secret_basic"})).is_empty());
    }

    #[test]
    fn browser_apps_an_origin_is_exact() {
        for good in
            ["https://app.example", "https://app.example:8443", "http://127.0.0.1:3000", "http://[::1]:1"]
        {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "*",
            "null",
            "https://*.example",
            "https://app.example/",
            "https://app.example:443",
            "https://App.example",
            "http://app.example",
            "https://u@app.example",
            "app.example",
            "https://app.example?x",
            "com.example.app://x",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
