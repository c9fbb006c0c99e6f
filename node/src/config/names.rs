//! Names of places and addresses.

use url::Url;

/// Longest name of a region or zone.
const PLACE_BYTES_MAX: usize = 32;
/// Longest delay that a demonstration may ask for.
const DELAY_MS_MAX: u64 = 10_000;

/// A region's or zone's name: it is part of certificates, so lowercase letters, digits and hyphens.
pub(super) fn place(text: &str) -> Result<String, String> {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let hyphen_inside = !text.starts_with('-') && !text.ends_with('-');
    if (1..=PLACE_BYTES_MAX).contains(&text.len()) && text.bytes().all(known) && hyphen_inside {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{text}` is not a name of 1 to {PLACE_BYTES_MAX} lowercase letters, digits and inner hyphens"
        ))
    }
}

/// `host:port` with a name, an IPv4 address or an IPv6 address in brackets.
pub(super) fn authority(text: &str) -> Result<String, String> {
    let wrong = || format!("`{text}` is not a host and port such as `node1.example.org:8445`");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    if port.parse::<u16>().ok().is_none_or(|port| port == 0) {
        return Err(wrong());
    }
    match url::Host::parse(host) {
        Ok(url::Host::Ipv4(address)) if address.is_unspecified() => Err(wrong()),
        Ok(url::Host::Ipv6(address)) if address.is_unspecified() => Err(wrong()),
        Ok(url::Host::Domain(_) | url::Host::Ipv4(_) | url::Host::Ipv6(_)) => Ok(text.to_owned()),
        Err(_) => Err(wrong()),
    }
}

/// An origin of the management listener, which is plain HTTP on any address.
pub(super) fn http_origin(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|cause| format!("`{text}` is not a URL: {cause}"))?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    if matches!(url.scheme(), "http" | "https") && bare && anonymous && url.host().is_some() {
        Ok(url)
    } else {
        Err(format!("`{text}` is not an origin such as `http://10.0.0.1:9090`"))
    }
}

/// `region=ms`.
pub(super) fn delay(text: &str) -> Result<(String, u64), String> {
    let wrong = || format!("`{text}` is not a region and a delay of at most {DELAY_MS_MAX} ms: `us-east=45`");
    let (region, ms) = text.split_once('=').ok_or_else(wrong)?;
    let ms = ms.parse().ok().filter(|ms| *ms <= DELAY_MS_MAX).ok_or_else(wrong)?;
    Ok((place(region)?, ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_fit_into_certificates() {
        for name in ["eu-central", "a", "us-east-1"] {
            assert_eq!(place(name).as_deref(), Ok(name));
        }
        for name in ["", "EU", "-a", "a-", "a/b", "a b", "ü", &"x".repeat(33)] {
            assert!(place(name).is_err(), "{name}");
        }
    }

    #[test]
    fn others_must_be_able_to_dial_an_address() {
        for text in ["node1.example.org:8445", "127.0.0.1:1", "[2001:db8::1]:8445"] {
            assert_eq!(authority(text).as_deref(), Ok(text));
        }
        for text in ["node1", "node1:0", "node1:x", ":8445", "0.0.0.0:8445", "[::]:8445", "2001:db8::1"] {
            assert!(authority(text).is_err(), "{text}");
        }
    }

    #[test]
    fn delays_name_a_region() {
        assert_eq!(delay("us-east=45"), Ok(("us-east".to_owned(), 45)));
        for text in ["us-east", "us-east=", "us-east=-1", "=4", "us-east=10001"] {
            assert!(delay(text).is_err(), "{text}");
        }
    }
}
