//! When a second factor is asked for, and what is said of it.

use domicile_iam::model::{ACR_PASSWORD, Authentication, METHOD_OTP, SessionView};

use super::*;
use crate::authorize::{Context, validate};
use crate::testing::{NOW, client, form, grant, keys, session, tenant};

const TWO: &str = ACR_TWO_FACTORS;

fn request(extra: &[(&str, &str)]) -> AuthorizationRequest {
    let base = [
        ("client_id", "app"),
        ("redirect_uri", "https://app.example/cb"),
        ("response_type", "code"),
        ("scope", "openid profile"),
    ];
    let pairs: Vec<(&str, &str)> = base.iter().chain(extra).copied().collect();
    let tenant = tenant();
    let context = Context { tenant: &tenant, keys: &keys().set, now: NOW, pushed: false };
    validate(&form(&pairs), &client(), context).unwrap()
}

fn essential_acr(values: &[&str]) -> String {
    serde_json::json!({"id_token": {"acr": {"essential": true, "values": values}}}).to_string()
}

/// A login of ten minutes ago, and a code `second_ago_s` ago.
fn with_code(second_ago_s: u64) -> SessionView {
    let mut session = session();
    session.authentications.push(Authentication {
        method: METHOD_OTP.to_owned(),
        at: Timestamp(NOW.0 - second_ago_s * 1_000),
        acr: TWO.to_owned(),
    });
    session
}

#[derive(Debug, PartialEq)]
enum Step {
    Code(Option<String>),
    SecondFactor,
    SetUp,
    Login(LoginReason),
    Error(ErrorCode),
}

struct Case<'a> {
    request: &'a AuthorizationRequest,
    session: &'a SessionView,
    has_one: bool,
    policy: SecondFactorPolicy,
    fresh: bool,
}

fn step(case: &Case<'_>) -> Step {
    let mut tenant = tenant();
    tenant.settings.second_factor = case.policy;
    let present = Present { session: case.session, subject: "sub-ada", second_factor: case.has_one };
    let authenticated = case.fresh.then_some(case.session.id);
    let progress = Progress { authenticated, ..Progress::default() };
    match next(case.request, &tenant, Some(present), Some(&grant(&["openid", "profile"])), &progress, NOW) {
        Next::Issue(code) => Step::Code(code.acr),
        Next::SecondFactor => Step::SecondFactor,
        Next::SetUpSecondFactor => Step::SetUp,
        Next::Login { reason, .. } => Step::Login(reason),
        Next::Error(error) => Step::Error(error.error.code),
        Next::Register | Next::Consent { .. } => panic!("granted, and nobody is new"),
    }
}

fn asked(request: &AuthorizationRequest, session: &SessionView, has_one: bool) -> Step {
    step(&Case { request, session, has_one, policy: SecondFactorPolicy::WhenAsked, fresh: false })
}

fn code(acr: &str) -> Step {
    Step::Code(Some(acr.to_owned()))
}

#[test]
fn rfc9470_s5_acr_values_step_a_session_up_by_the_second_factor_alone() {
    let stronger = request(&[("acr_values", TWO)]);
    assert_eq!(asked(&stronger, &session(), true), Step::SecondFactor);
    assert_eq!(asked(&stronger, &with_code(5), true), code(TWO));
    assert_eq!(asked(&stronger, &session(), false), code(ACR_PASSWORD), "voluntary: as good as it gets");
    let either = request(&[("acr_values", &format!("{ACR_PASSWORD} {TWO}"))]);
    assert_eq!(asked(&either, &session(), true), code(ACR_PASSWORD), "the first is there already");
    assert_eq!(asked(&either, &with_code(5), true), code(ACR_PASSWORD), "§3.1.2.1: in order of preference");
    let unknown = request(&[("acr_values", "gold")]);
    assert_eq!(asked(&unknown, &session(), true), code(ACR_PASSWORD));
    assert_eq!(asked(&unknown, &with_code(5), true), code(TWO));
    assert_eq!(asked(&request(&[]), &with_code(5), true), code(TWO));
    let mut registered = request(&[]);
    registered.acr_values = vec![TWO.to_owned()];
    assert_eq!(asked(&registered, &session(), true), Step::SecondFactor, "default_acr_values");
}

#[test]
fn oidc_core_s5_5_1_1_an_essential_second_factor_is_shown_or_the_request_fails() {
    let insists = request(&[("claims", &essential_acr(&[TWO]))]);
    assert_eq!(asked(&insists, &session(), true), Step::SecondFactor);
    assert_eq!(asked(&insists, &with_code(5), true), code(TWO));
    let unmet = Step::Error(ErrorCode::UnmetAuthenticationRequirements);
    assert_eq!(asked(&insists, &session(), false), unmet);
    let either = request(&[("claims", &essential_acr(&[ACR_PASSWORD, TWO]))]);
    assert_eq!(asked(&either, &session(), false), code(ACR_PASSWORD));
    let password = request(&[("claims", &essential_acr(&[ACR_PASSWORD]))]);
    assert_eq!(asked(&password, &with_code(5), true), code(ACR_PASSWORD), "one that was asked for is told");
    let silent = request(&[("claims", &essential_acr(&[TWO])), ("prompt", "none")]);
    assert_eq!(asked(&silent, &session(), true), Step::Error(ErrorCode::LoginRequired));
}

#[test]
fn a_login_that_is_too_old_is_asked_for_before_the_second_factor() {
    let stronger = request(&[("acr_values", TWO), ("max_age", "300")]);
    assert_eq!(asked(&stronger, &session(), true), Step::Login(LoginReason::TooOld));
    assert_eq!(
        asked(&stronger, &with_code(5), true),
        Step::Login(LoginReason::TooOld),
        "a code makes no login newer"
    );
    let (policy, session) = (SecondFactorPolicy::WhenAsked, session());
    let case = Case { request: &stronger, session: &session, has_one: true, policy, fresh: true };
    assert_eq!(step(&case), Step::SecondFactor, "after the password, and not before");
}

#[test]
fn owasp_asvs_v5_s6_3_3_a_tenant_says_of_whom_a_second_factor_is_wanted() {
    use SecondFactorPolicy::{Required, WhenAsked, WhenEnrolled};
    let plain = request(&[]);
    let old = session();
    for (policy, has_one, wanted) in [
        (WhenAsked, true, code(ACR_PASSWORD)),
        (WhenEnrolled, true, Step::SecondFactor),
        (WhenEnrolled, false, code(ACR_PASSWORD)),
        (Required, true, Step::SecondFactor),
        (Required, false, Step::SetUp),
    ] {
        let case = Case { request: &plain, session: &old, has_one, policy, fresh: false };
        assert_eq!(step(&case), wanted, "{policy:?} {has_one}");
        let silent = request(&[("prompt", "none")]);
        let case = Case { request: &silent, ..case };
        let told = if wanted == code(ACR_PASSWORD) { wanted } else { Step::Error(ErrorCode::LoginRequired) };
        assert_eq!(step(&case), told, "{policy:?} {has_one}");
    }
    let mut older = session();
    older.authentications[0].at = Timestamp(NOW.0 - SET_UP_WITHIN_MS - 1);
    let case = Case { request: &plain, session: &older, has_one: false, policy: Required, fresh: false };
    assert_eq!(step(&case), Step::Login(LoginReason::TooOld), "none is set up on a login of some time ago");
}
