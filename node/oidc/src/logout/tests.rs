use domicile_iam::model::{SessionView, SigningAlgorithm};
use proptest::prelude::*;

use super::*;
use crate::testing::{ISSUER, client, form, id_token, keys, other_client, session};

const BYE: &str = "https://app.example/bye";

fn request(pairs: &[(&str, &str)]) -> Result<LogoutRequest, LogoutError> {
    parse(&form(pairs), ISSUER, &keys().set)
}

/// What happens in a browser where `session` is live, with the named client found as registered.
fn logout(pairs: &[(&str, &str)], session: Option<&SessionView>) -> Result<Logout, LogoutError> {
    let request = request(pairs)?;
    let known = [client(), other_client()];
    let client = known.iter().find(|client| Some(&client.client_id) == request.client_id.as_ref());
    decide(
        &request,
        client,
        session.map(|session| Present { session, subject: "sub-ada", second_factor: false }),
    )
}

fn hint() -> String {
    id_token(&client(), SigningAlgorithm::EdDSA)
}

#[test]
fn rp_initiated_s2_the_clients_own_hint_ends_the_session_without_a_question() {
    let session = session();
    let pairs = [
        ("id_token_hint", hint()),
        ("post_logout_redirect_uri", BYE.to_owned()),
        ("state", "a b".to_owned()),
    ];
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let wanted = Logout {
        session: Some(session.id),
        ask: false,
        return_to: Some(format!("{BYE}?state=a+b")),
        registration: Some(("app".to_owned(), BYE.to_owned())),
    };
    assert_eq!(logout(&pairs, Some(&session)), Ok(wanted));
}

#[test]
fn rp_initiated_s2_a_hint_of_a_key_that_is_published_no_more_names_its_key() {
    let hint = hint();
    let request = form(&[("id_token_hint", &hint)]);
    assert_eq!(id_token_hint::missing_key(&request, &keys().set), None);
    let none = KeySet::default();
    let missing = id_token_hint::missing_key(&request, &none);
    assert!(missing.is_some() && missing == crate::jws::kid(&hint));
    assert_eq!(parse(&request, ISSUER, &none), Err(LogoutError::BadHint));
    assert!(parse(&request, ISSUER, &keys().set).is_ok(), "given its key it is read");
    let without: [&[(&str, &str)]; 3] = [&[], &[("id_token_hint", "")], &[("id_token_hint", "e30.e30.e30")]];
    for pairs in without {
        assert_eq!(id_token_hint::missing_key(&form(pairs), &none), None);
    }
}

#[test]
fn rp_initiated_s2_without_a_hint_of_this_session_the_user_is_asked() {
    let session = session();
    let asks =
        |pairs: &[(&str, &str)], session: &SessionView| logout(pairs, Some(session)).map(|logout| logout.ask);
    assert_eq!(asks(&[], &session), Ok(true));
    assert_eq!(asks(&[("state", "only")], &session), Ok(true));
    assert_eq!(asks(&[("client_id", "app")], &session), Ok(true));
    let mut renewed = session;
    renewed.clients.insert(client().id, "sid-2".to_owned());
    assert_eq!(asks(&[("id_token_hint", &hint())], &renewed), Ok(true), "an older session's hint");
}

#[test]
fn rp_initiated_s3_nothing_unregistered_is_followed() {
    let session = session();
    let go = |pairs: &[(&str, &str)]| logout(pairs, Some(&session)).map(|logout| logout.return_to);
    let to = |uri| ("post_logout_redirect_uri", uri);
    assert_eq!(go(&[to(BYE)]), Ok(None), "no client is named");
    assert_eq!(go(&[to(BYE), ("client_id", "app")]), Ok(Some(BYE.to_owned())));
    for bad in ["https://app.example/bye?foo=bar", "https://app.example/bye/", "https://evil.example/"] {
        assert_eq!(
            go(&[to(bad), ("id_token_hint", &hint())]),
            Err(LogoutError::RedirectUriNotRegistered),
            "{bad}"
        );
    }
}

#[test]
fn an_address_that_was_removed_while_the_user_was_asked_is_not_followed() {
    let session = session();
    let asked = [("client_id", "app"), ("post_logout_redirect_uri", BYE), ("state", "s")];
    let logout = logout(&asked, Some(&session)).unwrap();
    let mut client = client();
    assert_eq!(logout.clone().return_to_now(Some(&client)), Some(format!("{BYE}?state=s")));
    client.metadata.post_logout_redirect_uris.clear();
    assert_eq!(logout.clone().return_to_now(Some(&client)), None);
    assert_eq!(logout.return_to_now(None), None);
}

#[test]
fn rp_initiated_s4_requests_that_do_not_fit_together_end_on_an_error_page() {
    let hint = hint();
    let last = if hint.ends_with('A') { 'Q' } else { 'A' };
    let modified = format!("{}{last}", hint.get(..hint.len() - 1).unwrap());
    assert_eq!(request(&[("id_token_hint", &modified)]), Err(LogoutError::BadHint));
    assert_eq!(request(&[("id_token_hint", "nonsense")]), Err(LogoutError::BadHint));
    assert_eq!(request(&[("id_token_hint", &hint), ("client_id", "other")]), Err(LogoutError::OtherClient));
    assert_eq!(request(&[("state", "1"), ("state", "2")]), Err(LogoutError::Malformed));
    assert_eq!(logout(&[("client_id", "nobody")], None), Err(LogoutError::UnknownClient));
}

#[test]
fn without_a_session_there_is_nothing_to_ask() {
    let registration = Some(("app".to_owned(), BYE.to_owned()));
    let done = Logout { session: None, ask: false, return_to: Some(BYE.to_owned()), registration };
    assert_eq!(logout(&[("client_id", "app"), ("post_logout_redirect_uri", BYE)], None), Ok(done));
}

proptest! {
    #[test]
    fn arbitrary_parameters_never_panic(
        pairs in proptest::collection::vec(("(id_token_hint|client_id|post_logout_redirect_uri|state|ui_locales)", "\\PC{0,40}"), 0..6)
    ) {
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let _ = logout(&pairs, None);
    }
}
