//! Whether a redirect URI is a registered one: compared byte by byte (RFC 9700 §2.1), but for the
//! port of a native client's loopback address (RFC 8252 §7.3).

use domicile_iam::model::{ApplicationType, ClientMetadata};

/// Bytes of a redirect URI at most.
pub const BYTES_MAX: usize = 2048;

/// Whether the client registered `asked`.
pub fn is_registered(client: &ClientMetadata, asked: &str) -> bool {
    client.redirect_uris.iter().any(|registered| matches(registered, asked, client.application_type))
}

/// Whether `asked` is what `registered` stands for.
///
/// `localhost` gets no port exception: it may resolve to something else (RFC 8252 §8.3).
pub fn matches(registered: &str, asked: &str, application: ApplicationType) -> bool {
    if registered == asked {
        return true;
    }
    match application {
        ApplicationType::Web => false,
        ApplicationType::Native => match (without_port(registered), without_port(asked)) {
            (Some(registered), Some(asked)) => registered == asked,
            (Some(_) | None, _) => false,
        },
    }
}

/// Host and what follows the port, if this is an http loopback literal.
fn without_port(uri: &str) -> Option<(&str, &str)> {
    let authority = uri.strip_prefix("http://")?;
    let host = ["127.0.0.1", "[::1]"].into_iter().find(|host| authority.starts_with(host))?;
    let rest = authority.strip_prefix(host)?;
    let tail = match rest.strip_prefix(':') {
        Some(port) => {
            let end = port.find(|c: char| !c.is_ascii_digit()).unwrap_or(port.len());
            let (digits, tail) = port.split_at_checked(end)?;
            digits.parse::<u16>().ok()?;
            tail
        }
        None => rest,
    };
    // Anything else here, such as `@evil.example` or `.evil.example`, would name another host.
    (tail.is_empty() || tail.starts_with('/') || tail.starts_with('?')).then_some((host, tail))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Case {
        rfc: &'static str,
        registered: &'static str,
        asked: &'static str,
        native: bool,
        web: bool,
    }

    const CASES: &[Case] = &[
        Case {
            rfc: "9700 §2.1",
            registered: "https://a.example/cb",
            asked: "https://a.example/cb",
            native: true,
            web: true,
        },
        Case {
            rfc: "9700 §2.1",
            registered: "https://a.example/cb",
            asked: "https://a.example/cb/",
            native: false,
            web: false,
        },
        Case {
            rfc: "9700 §2.1",
            registered: "https://a.example/cb",
            asked: "https://a.example/cb?x=1",
            native: false,
            web: false,
        },
        Case {
            rfc: "9700 §2.1",
            registered: "https://a.example/cb",
            asked: "https://A.example/cb",
            native: false,
            web: false,
        },
        Case {
            rfc: "9700 §2.1",
            registered: "https://a.example/cb",
            asked: "https://a.example:443/cb",
            native: false,
            web: false,
        },
        Case {
            rfc: "9700 §4.1.1",
            registered: "https://a.example/cb",
            asked: "https://a.example/x/../cb",
            native: false,
            web: false,
        },
        Case {
            rfc: "8252 §7.3",
            registered: "http://127.0.0.1/cb",
            asked: "http://127.0.0.1:5123/cb",
            native: true,
            web: false,
        },
        Case {
            rfc: "8252 §7.3",
            registered: "http://127.0.0.1:9999/cb",
            asked: "http://127.0.0.1:1/cb",
            native: true,
            web: false,
        },
        Case {
            rfc: "8252 §7.3",
            registered: "http://[::1]/cb",
            asked: "http://[::1]:61023/cb",
            native: true,
            web: false,
        },
        Case {
            rfc: "8252 §7.3",
            registered: "http://127.0.0.1/cb",
            asked: "http://[::1]:61023/cb",
            native: false,
            web: false,
        },
        Case {
            rfc: "8252 §7.3",
            registered: "http://127.0.0.1/cb",
            asked: "http://127.0.0.1:5123/other",
            native: false,
            web: false,
        },
        Case {
            rfc: "8252 §7.3",
            registered: "http://127.0.0.1/cb",
            asked: "https://127.0.0.1:5123/cb",
            native: false,
            web: false,
        },
        Case {
            rfc: "8252 §7.3",
            registered: "http://127.0.0.1/cb",
            asked: "http://127.0.0.1:70000/cb",
            native: false,
            web: false,
        },
        Case {
            rfc: "8252 §7.3",
            registered: "http://127.0.0.1/cb",
            asked: "http://127.0.0.1:/cb",
            native: false,
            web: false,
        },
        Case {
            rfc: "8252 §8.3",
            registered: "http://localhost/cb",
            asked: "http://localhost:5123/cb",
            native: false,
            web: false,
        },
        Case {
            rfc: "3986 §3.2.1",
            registered: "http://127.0.0.1/",
            asked: "http://127.0.0.1:80@evil.example/",
            native: false,
            web: false,
        },
        Case {
            rfc: "3986 §3.2.1",
            registered: "http://127.0.0.1/",
            asked: "http://127.0.0.1@evil.example/",
            native: false,
            web: false,
        },
        Case {
            rfc: "3986 §3.2.2",
            registered: "http://127.0.0.1",
            asked: "http://127.0.0.1.evil.example",
            native: false,
            web: false,
        },
        Case {
            rfc: "6749 §3.1.2",
            registered: "http://127.0.0.1/cb",
            asked: "http://127.0.0.1:1/cb#f",
            native: false,
            web: false,
        },
    ];

    #[test]
    fn only_registered_uris_match() {
        for case in CASES {
            let judge = |application| matches(case.registered, case.asked, application);
            assert_eq!(judge(ApplicationType::Native), case.native, "RFC {} native {}", case.rfc, case.asked);
            assert_eq!(judge(ApplicationType::Web), case.web, "RFC {} web {}", case.rfc, case.asked);
        }
    }

    proptest! {
        #[test]
        fn rfc9700_s2_1_a_match_never_leads_to_another_host(
            asked in prop_oneof![
                "(http|https|javascript|com\\.app)://?(127\\.0\\.0\\.1|\\[::1\\]|a\\.example|localhost)[:@.0-9a-z/?#\\\\\\[\\]%]{0,24}",
                "http://(127\\.0\\.0\\.1|\\[::1\\])(:[0-9]{0,5})?[@.]?(evil\\.example)?(/cb)?(\\?x=1)?(#f)?",
            ]
        ) {
            let registered = ["https://a.example/cb", "http://127.0.0.1/cb", "http://[::1]:80/cb?x=1"];
            for uri in registered {
                if matches(uri, &asked, ApplicationType::Native) {
                    let (left, right) = (url::Url::parse(uri).unwrap(), url::Url::parse(&asked).unwrap());
                    prop_assert_eq!(left.host(), right.host());
                    prop_assert_eq!(left.scheme(), right.scheme());
                    prop_assert_eq!(left.path(), right.path());
                    prop_assert_eq!(left.query(), right.query());
                    prop_assert_eq!(right.username(), "");
                    prop_assert_eq!(right.fragment(), None);
                }
            }
        }

        #[test]
        fn arbitrary_text_never_panics(a in "\\PC{0,60}", b in "(http://127\\.0\\.0\\.1:?)?\\PC{0,60}") {
            let _ = matches(&a, &b, ApplicationType::Native);
        }
    }
}
