use domicile_iam::model::SessionView;

use super::*;
use crate::authorize::{Context, validate};
use crate::testing::{NOW, client, form, grant, id_token, keys, session, set, tenant};

const GRANTED: &[&str] = &["openid", "profile"];
const ALL_DONE: fn(SessionId) -> Progress =
    |id| Progress { authenticated: Some(id), chosen: Some(id), consented: Some(id) };

fn request(extra: &[(&str, &str)]) -> AuthorizationRequest {
    let base = [
        ("client_id", "app"),
        ("redirect_uri", "https://app.example/cb"),
        ("response_type", "code"),
        ("scope", "openid profile"),
        ("state", "s"),
    ];
    let pairs: Vec<(&str, &str)> = base.iter().chain(extra).copied().collect();
    let tenant = tenant();
    validate(
        &form(&pairs),
        &client(),
        Context { tenant: &tenant, keys: &keys().set, now: NOW, pushed: false },
    )
    .unwrap()
}

/// Session, grant and progress a case starts from.
#[derive(Clone, Copy)]
enum Who {
    Nobody,
    Expired,
    LoggedIn,
    /// Just now, for this request.
    Fresh,
}

#[derive(Debug, PartialEq)]
enum Step {
    Login(LoginReason, bool),
    Register,
    Consent,
    Issue,
    Error(ErrorCode),
}

fn step(
    request: &AuthorizationRequest,
    session: Option<&SessionView>,
    granted: &[&str],
    progress: &Progress,
) -> Step {
    let present = session.map(|session| Present { session, subject: "sub-ada", second_factor: false });
    let grant = grant(granted);
    match next(request, &tenant(), present, Some(&grant), progress, NOW) {
        Next::Login { reason, reauthenticate } => Step::Login(reason, reauthenticate),
        Next::Register => Step::Register,
        Next::SecondFactor | Next::SetUpSecondFactor => panic!("nobody has, or needs, one here"),
        Next::Consent { .. } => Step::Consent,
        Next::Issue(_) => Step::Issue,
        Next::Error(told) => Step::Error(told.error.code),
    }
}

struct Case {
    /// Of OpenID Connect Core.
    section: &'static str,
    sends: &'static [(&'static str, &'static str)],
    who: Who,
    granted: &'static [&'static str],
    expects: Step,
}

const fn case(
    section: &'static str,
    sends: &'static [(&'static str, &'static str)],
    who: Who,
    granted: &'static [&'static str],
    expects: Step,
) -> Case {
    Case { section, sends, who, granted, expects }
}

fn check(cases: &[Case]) {
    for case in cases {
        let mut session = session();
        let mut progress = Progress::default();
        match case.who {
            Who::Nobody | Who::LoggedIn => {}
            Who::Expired => session.idle_expires_at = NOW,
            Who::Fresh => progress.authenticated = Some(session.id),
        }
        let session = if matches!(case.who, Who::Nobody) { None } else { Some(&session) };
        let got = step(&request(case.sends), session, case.granted, &progress);
        assert_eq!(got, case.expects, "OIDC Core {} {:?}", case.section, case.sends);
    }
}

const LOGIN: &[Case] = {
    use LoginReason::*;
    use Step::{Error, Issue, Login};
    use Who::{Expired, Fresh, LoggedIn, Nobody};
    &[
        case("§3.1.2.3", &[], Nobody, GRANTED, Login(NotLoggedIn, false)),
        case("§3.1.2.3", &[], Expired, GRANTED, Login(NotLoggedIn, false)),
        case("§3.1.2.3", &[], LoggedIn, GRANTED, Issue),
        case("§3.1.2.1 none", &[("prompt", "none")], Nobody, GRANTED, Error(ErrorCode::LoginRequired)),
        case("§3.1.2.1 none", &[("prompt", "none")], LoggedIn, GRANTED, Issue),
        case(
            "§3.1.2.1 none",
            &[("prompt", "none"), ("max_age", "60")],
            LoggedIn,
            GRANTED,
            Error(ErrorCode::LoginRequired),
        ),
        case("§3.1.2.1 login", &[("prompt", "login")], LoggedIn, GRANTED, Login(Prompted, true)),
        case("§3.1.2.1 login", &[("prompt", "login")], Fresh, GRANTED, Issue),
        case(
            "§3.1.2.1 select_account",
            &[("prompt", "select_account")],
            LoggedIn,
            GRANTED,
            Login(SelectAccount, false),
        ),
        case("§3.1.2.1 select_account", &[("prompt", "select_account")], Fresh, GRANTED, Issue),
        case("§3.1.2.1 max_age", &[("max_age", "10000")], LoggedIn, GRANTED, Issue),
        case("§3.1.2.1 max_age", &[("max_age", "600")], LoggedIn, GRANTED, Issue),
        case("§3.1.2.1 max_age", &[("max_age", "599")], LoggedIn, GRANTED, Login(TooOld, true)),
        case("§3.1.2.1 max_age", &[("max_age", "0")], LoggedIn, GRANTED, Login(TooOld, true)),
        case("§3.1.2.1 max_age", &[("max_age", "0")], Fresh, GRANTED, Issue),
        case("§3.1.2.1 acr_values", &[("acr_values", "never")], LoggedIn, GRANTED, Issue),
    ]
};

#[test]
fn login_is_asked_for_when_the_request_or_the_session_needs_it() {
    check(LOGIN);
}

const CONSENT: &[Case] = {
    use Step::{Consent, Error, Issue, Login};
    use Who::{Fresh, LoggedIn};
    const CLAIMS: (&str, &str) = ("claims", r#"{"userinfo":{"email":null,"name":null}}"#);
    &[
        case("§3.1.2.4", &[], LoggedIn, &["openid"], Consent),
        case("§3.1.2.4", &[], LoggedIn, &["openid", "profile", "email"], Issue),
        case("§3.1.2.4", &[("prompt", "none")], LoggedIn, &[], Error(ErrorCode::ConsentRequired)),
        case("§3.1.2.4", &[CLAIMS], LoggedIn, GRANTED, Consent),
        case("§3.1.2.1 consent", &[("prompt", "consent")], LoggedIn, GRANTED, Consent),
        case("§3.1.2.1 consent", &[("prompt", "consent")], Fresh, GRANTED, Consent),
        case(
            "§3.1.2.1",
            &[("prompt", "login consent")],
            LoggedIn,
            GRANTED,
            Login(LoginReason::Prompted, true),
        ),
    ]
};

#[test]
fn consent_is_asked_for_when_no_grant_covers_the_request_or_the_request_says_so() {
    check(CONSENT);
}

#[test]
fn what_happened_in_another_session_counts_for_nothing() {
    let session = session();
    let other = SessionView { id: domicile_iam::ids::Id::from_bytes([9; 16]), ..session.clone() };
    let request = request(&[("prompt", "login consent select_account")]);
    let done = ALL_DONE(session.id);
    assert_eq!(step(&request, Some(&session), &[], &done), Step::Issue);
    assert_eq!(step(&request, Some(&other), &[], &done), Step::Login(LoginReason::Prompted, true));
}

#[test]
fn oidc_core_s3_1_2_2_nobody_else_than_the_hinted_user_is_answered_for() {
    let token = id_token(&client(), domicile_iam::model::SigningAlgorithm::ES256);
    let hinted = request(&[("id_token_hint", &token)]);
    let silent = request(&[("id_token_hint", &token), ("prompt", "none")]);
    let session = session();
    assert_eq!(step(&silent, Some(&session), GRANTED, &Progress::default()), Step::Issue);

    let another = Present { session: &session, subject: "sub-bob", second_factor: false };
    let judge = |request: &AuthorizationRequest, progress: &Progress| {
        next(request, &tenant(), Some(another), Some(&grant(GRANTED)), progress, NOW)
    };
    let asks = Next::Login { reason: LoginReason::OtherUser, reauthenticate: false };
    assert_eq!(judge(&hinted, &Progress::default()), asks);
    for (request, progress) in [(&silent, Progress::default()), (&hinted, ALL_DONE(session.id))] {
        assert!(
            matches!(judge(request, &progress), Next::Error(told) if told.error.code == ErrorCode::LoginRequired)
        );
    }
}

#[test]
fn oidc_core_s5_5_1_a_sub_value_binds_like_a_hint() {
    let wanted = request(&[("claims", r#"{"id_token":{"sub":{"value":"sub-bob"}}}"#)]);
    let session = session();
    let asks = Step::Login(LoginReason::OtherUser, false);
    assert_eq!(step(&wanted, Some(&session), GRANTED, &Progress::default()), asks);
    let mine = request(&[("claims", r#"{"id_token":{"sub":{"values":["sub-bob","sub-ada"]}}}"#)]);
    assert_eq!(step(&mine, Some(&session), GRANTED, &Progress::default()), Step::Issue);
}

#[test]
fn oidc_core_s5_5_1_1_an_essential_acr_is_reached_or_the_request_fails() {
    let claims = |acr: &str| format!(r#"{{"id_token":{{"acr":{{"essential":true,"values":["{acr}"]}}}}}}"#);
    let session = session();
    let unknown = request(&[("claims", &claims("gold"))]);
    let failed = Step::Error(ErrorCode::UnmetAuthenticationRequirements);
    assert_eq!(step(&unknown, Some(&session), GRANTED, &Progress::default()), failed);

    let known = request(&[("claims", &claims("urn:domicile:acr:password"))]);
    assert_eq!(step(&known, Some(&session), GRANTED, &Progress::default()), Step::Issue);
    let mut weak = session.clone();
    weak.authentications[0].acr = "0".to_owned();
    let asks = Step::Login(LoginReason::Assurance, true);
    assert_eq!(step(&known, Some(&weak), GRANTED, &Progress::default()), asks);
    assert_eq!(step(&known, Some(&weak), GRANTED, &ALL_DONE(weak.id)), failed);
}

#[test]
fn the_code_carries_what_was_asked_and_reached() {
    let request =
        request(&[("max_age", "10000"), ("nonce", "n"), ("claims", r#"{"userinfo":{"name":null}}"#)]);
    let session = session();
    let present = Some(Present { session: &session, subject: "sub-ada", second_factor: false });
    let Next::Issue(code) =
        next(&request, &tenant(), present, Some(&grant(GRANTED)), &Progress::default(), NOW)
    else {
        panic!("no code");
    };
    assert_eq!(code.scopes, set(GRANTED));
    assert_eq!(code.nonce.as_deref(), Some("n"));
    assert_eq!(code.acr.as_deref(), Some("urn:domicile:acr:password"));
    assert!(code.auth_time_wanted && code.redirect_uri_given && code.claims.userinfo.contains_key("name"));
}

#[test]
fn rfc6749_s4_1_2_1_a_refusal_by_the_user_goes_back_with_state() {
    let told = denied(&request(&[]));
    assert_eq!((told.error.code, told.target.state.as_deref()), (ErrorCode::AccessDenied, Some("s")));
    assert_eq!(failed(&request(&[]), true).error.code, ErrorCode::TemporarilyUnavailable);
    assert_eq!(failed(&request(&[]), false).error.code, ErrorCode::ServerError);
}

#[test]
fn oidc_prompt_create_s4_an_account_is_made_first_whoever_is_logged_in() {
    let mut request = request(&[]);
    request.prompt = [Prompt::Create, Prompt::Login].into();
    let session = session();
    let nothing = Progress::default();
    assert_eq!(step(&request, None, GRANTED, &nothing), Step::Register);
    assert_eq!(step(&request, Some(&session), GRANTED, &nothing), Step::Register);
    let made = Progress { authenticated: Some(session.id), ..nothing };
    assert_eq!(step(&request, Some(&session), GRANTED, &made), Step::Issue);
    assert_eq!(step(&request, None, GRANTED, &made), Step::Register, "that session is gone");
}
