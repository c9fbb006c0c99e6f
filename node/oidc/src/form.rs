//! Strict `application/x-www-form-urlencoded`, for queries and bodies alike.

use std::collections::BTreeMap;

use crate::error::OAuthError;

/// Bytes of a whole query or body at most.
pub const BYTES_MAX: usize = 32 * 1024;
/// Parameters at most, the unknown ones too.
pub const PARAMETERS_MAX: usize = 64;

/// Why bytes are no form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// Over [`BYTES_MAX`].
    #[error("form is longer than {BYTES_MAX} bytes")]
    TooLong,
    /// Over [`PARAMETERS_MAX`].
    #[error("form has more than {PARAMETERS_MAX} parameters")]
    TooMany,
    /// A bad percent escape, a raw byte outside of visible ASCII, or text that is not UTF-8.
    #[error("form is not well encoded")]
    Encoding,
}

impl From<FormError> for OAuthError {
    fn from(error: FormError) -> Self {
        Self::invalid_request(match error {
            FormError::TooLong => "the request is too long",
            FormError::TooMany => "the request has too many parameters",
            FormError::Encoding => "the request is not well-formed application/x-www-form-urlencoded",
        })
    }
}

/// A parameter that is known and occurs twice (RFC 6749 §3.1, §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parameter `{name}` is repeated")]
pub struct Repeated {
    /// Which one.
    pub name: &'static str,
}

impl From<Repeated> for OAuthError {
    fn from(_: Repeated) -> Self {
        Self::invalid_request("a parameter is repeated")
    }
}

#[derive(Clone)]
struct Parameter {
    value: String,
    /// What followed the first value.
    more: Vec<String>,
}

/// Parameters by name.
///
/// A repeated one is an error only when it is read: unknown parameters are ignored (RFC 6749 §3.1),
/// and extensions may repeat theirs (RFC 8707 §2).
#[derive(Clone)]
pub struct Form {
    parameters: BTreeMap<String, Parameter>,
}

/// Names only: values may be secrets.
impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.parameters.keys()).finish()
    }
}

impl Form {
    /// Reads a query (without `?`) or a body.
    ///
    /// # Errors
    /// [`FormError`]: nothing of it may be used.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormError> {
        if bytes.len() > BYTES_MAX {
            return Err(FormError::TooLong);
        }
        let mut parameters = BTreeMap::new();
        for (place, pair) in bytes.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()).enumerate() {
            if place >= PARAMETERS_MAX {
                return Err(FormError::TooMany);
            }
            let mut halves = pair.splitn(2, |&byte| byte == b'=');
            let name = decode(halves.next().unwrap_or_default())?;
            let value = decode(halves.next().unwrap_or_default())?;
            parameters
                .entry(name)
                .and_modify(|seen: &mut Parameter| seen.more.push(value.clone()))
                .or_insert_with(|| Parameter { value: value.clone(), more: Vec::new() });
        }
        Ok(Self { parameters })
    }

    /// The value of a known parameter. One without a value counts as absent (RFC 6749 §3.1), each time it is sent.
    ///
    /// # Errors
    /// [`Repeated`] if it occurs with more than one value.
    pub fn get(&self, name: &'static str) -> Result<Option<&str>, Repeated> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (Some(_), Some(_)) => Err(Repeated { name }),
            (value, _) => Ok(value),
        }
    }

    /// All values of a parameter that may repeat, in the order sent; empty ones do not count.
    pub fn all(&self, name: &'static str) -> impl Iterator<Item = &str> {
        let values = self.parameters.get(name).into_iter();
        let values = values.flat_map(|parameter| std::iter::once(&parameter.value).chain(&parameter.more));
        values.map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The same parameters as a form, but for those named.
    pub fn without(&self, names: &[&str]) -> String {
        let kept = self.parameters.iter().filter(|(name, _)| !names.contains(&name.as_str()));
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        for (name, parameter) in kept {
            for value in std::iter::once(&parameter.value).chain(&parameter.more) {
                form.append_pair(name, value);
            }
        }
        form.finish()
    }

    /// Whether a name was sent, with or without a value: how an HTML form says which button was pressed.
    pub fn has(&self, name: &'static str) -> bool {
        self.parameters.contains_key(name)
    }

    /// As [`Form::get`], refusing values over `bytes_max`.
    ///
    /// # Errors
    /// `invalid_request` if it is repeated or too long.
    pub fn get_within(&self, name: &'static str, bytes_max: usize) -> Result<Option<&str>, OAuthError> {
        match self.get(name)? {
            Some(value) if value.len() > bytes_max => {
                Err(OAuthError::invalid_request("a parameter is too long"))
            }
            value => Ok(value),
        }
    }

    /// As [`Form::get_within`] for a parameter that must be there.
    ///
    /// # Errors
    /// `invalid_request`, also if it is absent.
    pub fn require(&self, name: &'static str, bytes_max: usize) -> Result<&str, OAuthError> {
        self.get_within(name, bytes_max)?
            .ok_or(OAuthError::invalid_request("a required parameter is missing"))
    }
}

/// Decodes one name or value.
///
/// # Errors
/// [`FormError::Encoding`].
pub fn decode(text: &[u8]) -> Result<String, FormError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = rest.next().and_then(hex_digit).ok_or(FormError::Encoding)?;
                let low = rest.next().and_then(hex_digit).ok_or(FormError::Encoding)?;
                high << 4 | low
            }
            // A bare space too: Debian's oidc-agent sends scopes with them, and they can mean nothing else.
            0x20..=0x7e => byte,
            _ => return Err(FormError::Encoding),
        });
    }
    String::from_utf8(bytes).map_err(|_| FormError::Encoding)
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn html_button_counts_by_its_name_also_without_a_value() {
        let form = Form::parse(b"allow=&other=1").unwrap();
        assert!(form.has("allow") && !form.has("deny"));
        assert_eq!(form.get("allow"), Ok(None));
    }

    #[test]
    fn rfc6749_s3_1_a_known_parameter_may_not_repeat_and_an_unknown_one_does_no_harm() {
        let form = Form::parse(b"scope=a&x=1&scope=b&x=2&state=s").unwrap();
        assert_eq!(form.get("scope"), Err(Repeated { name: "scope" }));
        assert_eq!(form.get("state"), Ok(Some("s")));
    }

    #[test]
    fn rfc6749_s3_1_a_parameter_without_a_value_counts_as_absent() {
        let form = Form::parse(b"scope=a&scope=&state&state=s&scope").unwrap();
        assert_eq!((form.get("scope"), form.get("state")), (Ok(Some("a")), Ok(Some("s"))));
        let form = Form::parse(b"scope=&state&&nonce=n&").unwrap();
        assert_eq!(form.get("scope"), Ok(None));
        assert_eq!(form.get("state"), Ok(None));
        assert_eq!(form.get("nonce"), Ok(Some("n")));
    }

    #[test]
    fn damaged_encodings_are_refused() {
        for bad in [&b"a=%"[..], b"a=%4", b"a=%zz", b"a=%ff", b"a=\xc3\xa9", b"a=\n"] {
            assert_eq!(Form::parse(bad).map(|_| ()), Err(FormError::Encoding), "{bad:?}");
        }
        assert_eq!(decode(b"%C3%A9+%2B%26").unwrap(), "é +&");
        assert_eq!(decode(b"openid profile").unwrap(), "openid profile");
    }

    #[test]
    fn size_and_count_are_bounded() {
        assert_eq!(Form::parse(&vec![b'a'; BYTES_MAX + 1]).map(|_| ()), Err(FormError::TooLong));
        let many = (0..=PARAMETERS_MAX).map(|i| format!("p{i}=1")).collect::<Vec<_>>().join("&");
        assert_eq!(Form::parse(many.as_bytes()).map(|_| ()), Err(FormError::TooMany));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Form::parse(&bytes);
        }

        #[test]
        fn what_a_serialiser_writes_is_read_back(name in "[a-z_]{1,12}", value in "\\PC{1,40}") {
            let text = url::form_urlencoded::Serializer::new(String::new()).append_pair(&name, &value).finish();
            let form = Form::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(&form.parameters.get(&name).unwrap().value, &value);
        }
    }
}
