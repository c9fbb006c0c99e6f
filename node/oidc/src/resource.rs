//! Resource indicators (RFC 8707): what tokens are asked for.

use std::collections::BTreeSet;

use url::Url;

use crate::error::{ErrorCode, OAuthError};
use crate::form::Form;

/// Values of `resource` at most.
const VALUES_MAX: usize = 16;
/// Bytes of one at most.
const BYTES_MAX: usize = 2048;

/// All `resource` parameters (§2): absolute URIs without fragment, compared exactly with those that are
/// registered. None of them: the issuer is meant.
///
/// # Errors
/// `invalid_target`.
pub fn read(form: &Form) -> Result<BTreeSet<String>, OAuthError> {
    let resources: BTreeSet<String> = form.all("resource").map(str::to_owned).collect();
    let good = |text: &String| text.len() <= BYTES_MAX && !text.contains('#') && Url::parse(text).is_ok();
    if resources.len() <= VALUES_MAX && resources.iter().all(good) { Ok(resources) } else { Err(invalid()) }
}

/// `invalid_target`: malformed, not registered, or not granted (§2).
#[must_use]
pub fn invalid() -> OAuthError {
    OAuthError::new(ErrorCode::InvalidTarget, "the resource is not one that tokens are given for")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{form, set};

    #[test]
    fn rfc8707_s2_a_resource_is_an_absolute_uri_without_fragment_and_may_repeat() {
        let two = form(&[("resource", "https://a.example/"), ("resource", "urn:b"), ("resource", "")]);
        assert_eq!(read(&two), Ok(set(&["https://a.example/", "urn:b"])));
        assert_eq!(read(&form(&[])), Ok(set(&[])));
        for bad in ["a", "/a", "//a.example", "https://a.example/#f", "https://a.example#", "https://"] {
            assert_eq!(
                read(&form(&[("resource", bad)])).map_err(|error| error.code),
                Err(ErrorCode::InvalidTarget),
                "{bad}"
            );
        }
        let many: Vec<String> = (0..=VALUES_MAX).map(|n| format!("urn:{n}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|uri| ("resource", uri.as_str())).collect();
        assert!(read(&form(&many)).is_err());
        assert!(read(&form(&[("resource", &format!("urn:{}", "x".repeat(BYTES_MAX)))])).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_resources_never_panic(text in "\\PC{0,80}") {
            let _ = read(&form(&[("resource", &text)]));
        }
    }
}
