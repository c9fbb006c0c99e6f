use domicile_iam::model::ClientView;
use proptest::prelude::*;

use super::*;
use crate::error::ErrorCode;
use serde_json::{Value, json};

use crate::testing::{ISSUER, NOW, client, client_with, form, unsigned_assertion};

fn basic_header(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

fn registered(method: AuthMethod) -> ClientView {
    client_with(|metadata| metadata.token_endpoint_auth_method = method)
}

/// The secret to verify, `-` where there is none to verify.
fn judge(header: Option<&str>, body: &[(&str, &str)], client: &ClientView) -> Result<String, ErrorCode> {
    let presented = parse(header, &form(body)).map_err(|error| error.code)?;
    match presented.proof(client, ISSUER, NOW).map_err(|error| error.code)? {
        Proof::Secret(secret) => Ok(secret.to_owned()),
        Proof::SecretAssertion(_, used) => Ok(format!("secret {}", used.jti)),
        Proof::KeyAssertion(_, used) => Ok(format!("key {}", used.jti)),
        Proof::Public => Ok("-".to_owned()),
    }
}

/// The `Authorization` header.
#[derive(Clone, Copy, Debug)]
enum Header {
    No,
    Basic(&'static str, &'static str),
    Raw(&'static str),
}

struct Case {
    rfc: &'static str,
    header: Header,
    body: &'static [(&'static str, &'static str)],
    registered: AuthMethod,
    expects: Result<&'static str, ErrorCode>,
}

const fn case(
    rfc: &'static str,
    header: Header,
    body: &'static [(&'static str, &'static str)],
    registered: AuthMethod,
    expects: Result<&'static str, ErrorCode>,
) -> Case {
    Case { rfc, header, body, registered, expects }
}

const SECRET: &[(&str, &str)] = &[("client_id", "app"), ("client_secret", "s")];
const BASIC: AuthMethod = AuthMethod::ClientSecretBasic;
const POST: AuthMethod = AuthMethod::ClientSecretPost;
const PUBLIC: AuthMethod = AuthMethod::None;

const CASES: &[Case] = {
    use ErrorCode::{InvalidClient, InvalidRequest};
    use Header::{Basic, No, Raw};
    &[
        case("6749 §2.3.1", Basic("app", "s"), &[], BASIC, Ok("s")),
        case("6749 §2.3.1", Basic("a%70p", "s%3A%25+%2B"), &[], BASIC, Ok("s:% +")),
        case("7617 §2", Basic("app", "a:b"), &[], BASIC, Ok("a:b")),
        case("9110 §11.1", Raw("bASIC YXBwOnM="), &[], BASIC, Ok("s")),
        case("6749 §2.3.1", No, SECRET, POST, Ok("s")),
        case("6749 §3.2.1", No, &[("client_id", "app")], PUBLIC, Ok("-")),
        case("6749 §2.3", Basic("app", "s"), SECRET, BASIC, Err(InvalidRequest)),
        case("6749 §2.3", Basic("app", "s"), &[("client_assertion", "x")], BASIC, Err(InvalidRequest)),
        case("6749 §2.3", Basic("app", "s"), &[("client_id", "app")], BASIC, Ok("s")),
        case("6749 §2.3", Basic("app", "s"), &[("client_id", "other")], BASIC, Err(InvalidRequest)),
        case("6749 §3.2", No, &[("client_id", "app"), ("client_id", "app")], PUBLIC, Err(InvalidRequest)),
        case("7591 §2", Basic("app", "s"), &[], POST, Err(InvalidClient)),
        case("7591 §2", No, SECRET, BASIC, Err(InvalidClient)),
        case("7591 §2", No, &[("client_id", "app")], BASIC, Err(InvalidClient)),
        case("7591 §2", No, SECRET, PUBLIC, Err(InvalidClient)),
        case("6749 §5.2", No, &[], BASIC, Err(InvalidClient)),
        case("6749 §5.2", No, &[("client_id", "app"), ("client_assertion", "x")], PUBLIC, Err(InvalidClient)),
        case("7617 §2", Raw("Basic !!!"), &[], BASIC, Err(InvalidClient)),
        case("7617 §2", Raw("Basic YXBw"), &[], BASIC, Err(InvalidClient)),
        case("6749 §2.3.1", Basic("app", "%zz"), &[], BASIC, Err(InvalidClient)),
        case("6749 §2.3.1", Basic("app", ""), &[], BASIC, Err(InvalidClient)),
        case("6749 §5.2", Raw("Bearer abc"), &[("client_id", "app")], PUBLIC, Err(InvalidClient)),
    ]
};

#[test]
fn a_client_is_taken_for_who_it_says_only_by_its_registered_method() {
    for case in CASES {
        let header = match case.header {
            Header::No => None,
            Header::Basic(id, secret) => Some(basic_header(id, secret)),
            Header::Raw(text) => Some(text.to_owned()),
        };
        let got = judge(header.as_deref(), case.body, &registered(case.registered));
        let got = got.as_deref().map_err(|code| *code);
        assert_eq!(got, case.expects, "RFC {} {:?} {:?}", case.rfc, case.header, case.body);
    }
}

fn assertion(alg: &str, change: &[(&str, Value)]) -> String {
    let mut claims =
        json!({"iss": "app", "sub": "app", "aud": ISSUER, "exp": NOW.seconds() + 60, "jti": "j"});
    for (name, value) in change {
        claims[*name] = value.clone();
    }
    unsigned_assertion(&json!({ "alg": alg }), &claims, b"s")
}

fn by_assertion(assertion: &str, more: &[(&str, &str)], client: &ClientView) -> Result<String, ErrorCode> {
    let mut fields = vec![("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion)];
    fields.extend(more);
    judge(None, &fields, client)
}

#[test]
fn rfc7523_s2_2_an_assertion_proves_a_client_by_its_registered_method_and_algorithm() {
    use ErrorCode::{InvalidClient, InvalidRequest};
    let (with_key, with_secret) =
        (registered(AuthMethod::PrivateKeyJwt), registered(AuthMethod::ClientSecretJwt));
    let (es256, hs256) = (assertion("ES256", &[]), assertion("HS256", &[]));
    assert_eq!(by_assertion(&es256, &[], &with_key), Ok("key j".to_owned()));
    assert_eq!(by_assertion(&hs256, &[], &with_secret), Ok("secret j".to_owned()));
    assert_eq!(by_assertion(&hs256, &[], &with_key), Err(InvalidClient), "RFC 8725 §3.1");
    assert_eq!(by_assertion(&es256, &[], &with_secret), Err(InvalidClient));
    for other in [BASIC, POST, PUBLIC] {
        assert_eq!(
            by_assertion(&es256, &[], &registered(other)),
            Err(InvalidClient),
            "RFC 7591 §2 {other:?}"
        );
    }
    let only = |alg: &str| {
        let mut client = with_key.clone();
        client.metadata.extra.insert("token_endpoint_auth_signing_alg".to_owned(), json!(alg));
        client
    };
    assert_eq!(by_assertion(&es256, &[], &only("ES256")), Ok("key j".to_owned()));
    assert_eq!(by_assertion(&es256, &[], &only("PS256")), Err(InvalidClient), "OIDC Registration §2");

    assert_eq!(by_assertion(&es256, &[("client_id", "app")], &with_key), Ok("key j".to_owned()));
    assert_eq!(by_assertion(&es256, &[("client_id", "b")], &with_key), Err(InvalidRequest), "RFC 7521 §4.2");
    assert_eq!(by_assertion(&es256, &[("client_secret", "s")], &with_key), Err(InvalidRequest));
    let other_type = [("client_assertion_type", "urn:x"), ("client_assertion", es256.as_str())];
    assert_eq!(judge(None, &other_type, &with_key), Err(InvalidClient), "RFC 7521 §4.2.1");
    assert_eq!(judge(None, &other_type[1..], &with_key), Err(InvalidClient));
    let no_assertion = [("client_assertion_type", ASSERTION_TYPE), ("client_id", "app")];
    assert_eq!(judge(None, &no_assertion, &registered(PUBLIC)), Err(InvalidClient));
    for claim in ["iss", "sub"] {
        let foreign = assertion("ES256", &[(claim, json!("b"))]);
        assert_eq!(by_assertion(&foreign, &[], &with_key), Err(InvalidClient), "RFC 7523 §3 {claim}");
    }
}

#[test]
fn rfc9700_s2_5_the_audience_is_the_issuer_and_the_token_endpoint_only_where_it_is_registered() {
    let strict = registered(AuthMethod::PrivateKeyJwt);
    let mut lenient = strict.clone();
    lenient.metadata.extra.insert("token_endpoint_auth_audience".to_owned(), json!("token_endpoint"));
    let token_endpoint = format!("{ISSUER}/oauth2/token");
    for (audience, strictly, leniently) in [
        (json!(ISSUER), true, true),
        (json!([ISSUER]), true, true),
        (json!(token_endpoint), false, true),
        (json!([token_endpoint]), false, true),
        (json!(format!("{ISSUER}/oauth2/par")), false, true),
        (json!([ISSUER, token_endpoint]), false, true),
        (json!(["https://other.example", token_endpoint]), false, true),
        (json!(["https://other.example", format!("{ISSUER}/oauth2/introspect")]), false, false),
        (json!(format!("{ISSUER}/oauth2/introspect")), false, false),
    ] {
        let assertion = assertion("ES256", &[("aud", audience.clone())]);
        assert_eq!(by_assertion(&assertion, &[], &strict).is_ok(), strictly, "{audience}");
        assert_eq!(by_assertion(&assertion, &[], &lenient).is_ok(), leniently, "{audience}");
    }
}

#[test]
fn a_disabled_client_is_not_let_in() {
    let disabled = ClientView { disabled: true, ..client() };
    assert_eq!(judge(Some(&basic_header("app", "s")), &[], &disabled), Err(ErrorCode::InvalidClient));
}

proptest! {
    #[test]
    fn arbitrary_headers_never_panic(header in "(Basic )?\\PC{0,80}", bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = parse(Some(&header), &form(&[]));
        let _ = parse(Some(&format!("Basic {}", STANDARD.encode(bytes))), &form(&[]));
    }
}
