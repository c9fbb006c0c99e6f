use domicile_iam::model::ClientView;
use proptest::prelude::*;

use super::*;
use crate::error::ErrorCode;
use crate::testing::{client, client_with, form};

fn basic_header(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

fn registered(method: AuthMethod) -> ClientView {
    client_with(|metadata| metadata.token_endpoint_auth_method = method)
}

/// The secret to verify, `-` where there is none to verify.
fn judge(header: Option<&str>, body: &[(&str, &str)], client: &ClientView) -> Result<String, ErrorCode> {
    let presented = parse(header, &form(body)).map_err(|error| error.code)?;
    match presented.proof(client).map_err(|error| error.code)? {
        Proof::Secret(secret) => Ok(secret.to_owned()),
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
