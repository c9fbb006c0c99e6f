use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_iam::model::{ApplicationType, AuthMethod, ClientView, GrantType, SigningAlgorithm};
use proptest::prelude::*;

use super::*;
use crate::error::ErrorCode;
use crate::form::Form;
use crate::testing::{CHALLENGE, NOW, client, client_with, form, id_token, keys, other_client, set, tenant};

const CB: &str = "https://app.example/cb";

/// A good request; `changes` replace, add or (with an empty value) remove parameters.
fn ask(client: &ClientView, changes: &[(&str, &str)]) -> Result<AuthorizationRequest, Refusal> {
    let base = [
        ("client_id", "app"),
        ("redirect_uri", CB),
        ("response_type", "code"),
        ("scope", "openid profile"),
        ("state", "af0ifjsldkj"),
        ("nonce", "n-0S6_WzA2Mj"),
    ];
    let kept = base.iter().filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    let pairs: Vec<(&str, &str)> = kept.chain(changes).copied().collect();
    judge(client, &form(&pairs))
}

fn judge(client: &ClientView, form: &Form) -> Result<AuthorizationRequest, Refusal> {
    let tenant = tenant();
    validate(form, client, Context { tenant: &tenant, keys: &keys().set, now: NOW, pushed: false })
}

enum Expect {
    Valid,
    Page(Fatal),
    Told(ErrorCode),
}

struct Case {
    rfc: &'static str,
    sends: &'static [(&'static str, &'static str)],
    expects: Expect,
}

const fn case(rfc: &'static str, sends: &'static [(&'static str, &'static str)], expects: Expect) -> Case {
    Case { rfc, sends, expects }
}

fn check(client: &ClientView, cases: &[Case]) {
    for case in cases {
        let answer = ask(client, case.sends);
        let as_expected = match (&case.expects, &answer) {
            (Expect::Valid, Ok(_)) => true,
            (Expect::Page(wanted), Err(Refusal::Fatal(fatal))) => wanted == fatal,
            (Expect::Told(wanted), Err(Refusal::Redirect(told))) => {
                *wanted == told.error.code && told.target.redirect_uri == CB
            }
            _ => false,
        };
        assert!(as_expected, "RFC {} {:?}: {answer:?}", case.rfc, case.sends);
    }
}

const CASES: &[Case] = {
    use ErrorCode::*;
    use Expect::{Page, Told, Valid};
    &[
        case("6749 §4.1.1", &[], Valid),
        case("6749 §3.1", &[("unknown", "1"), ("unknown", "2")], Valid),
        case(
            "6749 §4.1.2.1",
            &[("redirect_uri", "https://evil.example/cb")],
            Page(Fatal::RedirectUriNotRegistered),
        ),
        case(
            "6749 §4.1.2.1",
            &[("redirect_uri", "https://app.example/cb?foo=bar")],
            Page(Fatal::RedirectUriNotRegistered),
        ),
        case("OIDC Core §3.1.2.1", &[("redirect_uri", "")], Page(Fatal::NoRedirectUri)),
        case("6749 §3.1", &[("redirect_uri", CB), ("redirect_uri", CB)], Page(Fatal::NoRedirectUri)),
        case(
            "OIDC Core §6.1",
            &[("request", "e30.e30."), ("redirect_uri", "https://evil.example/")],
            Page(Fatal::RedirectUriNotRegistered),
        ),
        case("OIDC Core §6.1", &[("request", "e30.e30.")], Told(RequestNotSupported)),
        case("OIDC Core §6.1", &[("request", "e30.e30."), ("response_type", "")], Told(RequestNotSupported)),
        case("OIDC Core §6.2", &[("request_uri", "https://app.example/r")], Told(RequestUriNotSupported)),
        case("OIDC Core §7.2.1", &[("registration", "{}")], Told(RegistrationNotSupported)),
        case("6749 §3.1.1", &[("response_type", "")], Told(InvalidRequest)),
        case("6749 §3.1.1", &[("response_type", "token")], Told(UnsupportedResponseType)),
        case("OIDC Core §3.3", &[("response_type", "code id_token")], Told(UnsupportedResponseType)),
        case("6749 §3.1", &[("scope", "openid"), ("scope", "openid")], Told(InvalidRequest)),
        case("6749 §3.1", &[("state", "1"), ("state", "2")], Told(InvalidRequest)),
        case("6749 §3.3", &[("scope", "openid unheard-of")], Valid),
        case("6749 §3.3", &[("scope", "unheard-of")], Told(InvalidScope)),
        case("6749 §3.3", &[("scope", "openid \"x\"")], Told(InvalidScope)),
        case("6749 §3.3", &[("scope", "")], Told(InvalidScope)),
        case("OAuth Form Post §1", &[("response_mode", "form_post")], Valid),
        case("OAuth Multiple Response Types §2.1", &[("response_mode", "fragment")], Told(InvalidRequest)),
        case("OIDC Core §3.1.2.1", &[("nonce", "")], Valid),
        case("OIDC Core §3.1.2.1", &[("prompt", "none")], Valid),
        case("OIDC Core §3.1.2.1", &[("prompt", "login consent select_account")], Valid),
        case("OIDC Core §3.1.2.1", &[("prompt", "none login")], Told(InvalidRequest)),
        case("OIDC Prompt Create §4.1", &[("prompt", "create")], Told(InvalidRequest)),
        case("OIDC Core §3.1.2.1", &[("max_age", "10000")], Valid),
        case("OIDC Core §3.1.2.1", &[("max_age", "-1")], Told(InvalidRequest)),
        case("OIDC Core §3.1.2.1", &[("max_age", "+1")], Told(InvalidRequest)),
        case("OIDC Core §3.1.2.1", &[("max_age", "99999999999999999999")], Told(InvalidRequest)),
        case(
            "OIDC Core §3.1.2.1",
            &[
                ("display", "popup"),
                ("ui_locales", "se"),
                ("claims_locales", "se"),
                ("acr_values", "1 2"),
                ("login_hint", "ada"),
            ],
            Valid,
        ),
        case("OIDC Core §3.1.2.1", &[("display", "hologram")], Valid),
        case("OIDC Core §3.1.2.2", &[("id_token_hint", "e30.e30.e30")], Told(InvalidRequest)),
        case("OIDC Core §5.5", &[("claims", r#"{"userinfo":{"name":{"essential":true}}}"#)], Valid),
        case("OIDC Core §5.5", &[("claims", "{")], Told(InvalidRequest)),
        case("7636 §4.3", &[("code_challenge", CHALLENGE), ("code_challenge_method", "S256")], Valid),
        case(
            "7636 §4.4.1",
            &[("code_challenge", CHALLENGE), ("code_challenge_method", "plain")],
            Told(InvalidRequest),
        ),
        case("7636 §4.3", &[("code_challenge", CHALLENGE)], Told(InvalidRequest)),
        case(
            "7636 §4.2",
            &[("code_challenge", "short"), ("code_challenge_method", "S256")],
            Told(InvalidRequest),
        ),
        case("7636 §4.3", &[("code_challenge_method", "S256")], Told(InvalidRequest)),
        case("9449 §10", &[("dpop_jkt", CHALLENGE)], Valid),
        case("9449 §10", &[("dpop_jkt", "short")], Told(InvalidRequest)),
        case("8707 §2.1", &[("resource", "https://a.example/"), ("resource", "urn:b")], Valid),
        case("8707 §2", &[("resource", "a.example")], Told(InvalidTarget)),
    ]
};

#[test]
fn errors_take_the_channel_the_rfc_names() {
    check(&client(), CASES);
}

#[test]
fn oidc_core_s6_1_the_refusal_of_an_object_goes_the_way_that_the_object_names() {
    let told = |claims: &str, outside: &[(&str, &str)]| {
        let object = format!("eyJhbGciOiJub25lIn0.{}.", URL_SAFE_NO_PAD.encode(claims));
        let sent: Vec<(&str, &str)> = outside.iter().copied().chain([("request", object.as_str())]).collect();
        let Err(Refusal::Redirect(told)) = ask(&client(), &sent) else { panic!("it is told: {claims}") };
        assert_eq!(
            (told.error.code, told.target.redirect_uri.as_str()),
            (ErrorCode::RequestNotSupported, CB)
        );
        (told.target.mode, told.target.state.unwrap_or_default())
    };
    let inside = r#"{"state":"in","response_mode":"form_post","redirect_uri":"https://evil.example/"}"#;
    assert_eq!(told(inside, &[("state", "")]), (ResponseMode::FormPost, "in".to_owned()));
    let outside = [("state", "out"), ("response_mode", "query")];
    assert_eq!(
        told(inside, &outside),
        (ResponseMode::Query, "out".to_owned()),
        "what is outside counts first"
    );
    let long = format!(r#"{{"state":"{}"}}"#, "s".repeat(5_000));
    for odd in ["", "[]", r#"{"state":7}"#, r#"{"state":["in"]}"#, r#"{"response_mode":"fragment"}"#, &long] {
        assert_eq!(told(odd, &[("state", "")]), (ResponseMode::Query, String::new()), "{odd}");
    }
}

#[test]
fn rfc9700_s2_1_1_pkce_is_required_of_public_clients_and_where_registered() {
    let public = client_with(|metadata| metadata.token_endpoint_auth_method = AuthMethod::None);
    let strict = client_with(|metadata| metadata.require_pkce = true);
    for client in [public, strict] {
        let cases = [
            case("9700 §2.1.1", &[], Expect::Told(ErrorCode::InvalidRequest)),
            case(
                "9700 §2.1.1",
                &[("code_challenge", CHALLENGE), ("code_challenge_method", "S256")],
                Expect::Valid,
            ),
        ];
        check(&client, &cases);
    }
}

#[test]
fn rfc6749_s4_1_2_1_a_client_without_the_grant_is_told_so_and_a_disabled_one_is_not_followed() {
    let machine = client_with(|metadata| metadata.grant_types = vec![GrantType::ClientCredentials]);
    let told = [case("6749 §4.1.2.1", &[], Expect::Told(ErrorCode::UnauthorizedClient))];
    check(&machine, &told);
    let disabled = ClientView { disabled: true, ..client() };
    let page = [case("6749 §4.1.2.1", &[], Expect::Page(Fatal::UnknownClient))];
    check(&disabled, &page);
}

#[test]
fn rfc6749_s3_1_2_3_only_oauth_may_leave_out_the_one_registered_redirect_uri() {
    let mut client = client_with(|metadata| metadata.redirect_uris = vec![CB.to_owned()]);
    let request = ask(&client, &[("redirect_uri", ""), ("scope", "profile")]).unwrap();
    assert!(!request.redirect_uri_given && request.target.redirect_uri == CB && !request.is_openid());
    assert_eq!(ask(&client, &[("redirect_uri", "")]), Err(Refusal::Fatal(Fatal::NoRedirectUri)));
    client.metadata.redirect_uris.push("https://app.example/cb2".to_owned());
    let two = ask(&client, &[("redirect_uri", ""), ("scope", "profile")]);
    assert_eq!(two, Err(Refusal::Fatal(Fatal::NoRedirectUri)));
}

#[test]
fn rfc8252_s7_3_a_native_client_may_use_any_loopback_port() {
    let native = client_with(|metadata| metadata.application_type = ApplicationType::Native);
    let request = ask(&native, &[("redirect_uri", "http://127.0.0.1:50123/cb")]).unwrap();
    assert_eq!(request.target.redirect_uri, "http://127.0.0.1:50123/cb");
    let web = ask(&client(), &[("redirect_uri", "http://127.0.0.1:50123/cb")]);
    assert_eq!(web, Err(Refusal::Fatal(Fatal::RedirectUriNotRegistered)));
}

#[test]
fn rfc6749_s3_3_scopes_are_narrowed_to_what_the_client_may_ask_for() {
    let request = ask(&client(), &[("scope", "openid email offline_access admin")]).unwrap();
    assert_eq!(request.scopes, set(&["openid", "email", "offline_access"]));
    let narrow = client_with(|metadata| metadata.scope = Some("openid read:things".to_owned()));
    let request = ask(&narrow, &[("scope", "openid email read:things")]).unwrap();
    assert_eq!(request.scopes, set(&["openid", "read:things"]));
    let no_refresh = client_with(|metadata| metadata.grant_types = vec![GrantType::AuthorizationCode]);
    let request = ask(&no_refresh, &[("scope", "openid offline_access")]).unwrap();
    assert_eq!(request.scopes, set(&["openid"]), "OIDC Core §11");
}

#[test]
fn oidc_registration_s2_registered_defaults_apply_where_the_request_is_silent() {
    let strict = client_with(|metadata| {
        metadata.default_max_age = Some(60);
        metadata.default_acr_values = vec!["a".to_owned()];
    });
    let silent = ask(&strict, &[]).unwrap();
    assert_eq!((silent.max_age_s, silent.auth_time_wanted), (Some(60), true));
    assert_eq!(silent.acr_values, ["a"]);
    let says = ask(&strict, &[("max_age", "5"), ("acr_values", "b c")]).unwrap();
    assert_eq!((says.max_age_s, says.acr_values), (Some(5), vec!["b".to_owned(), "c".to_owned()]));
    assert!(!ask(&client(), &[]).unwrap().auth_time_wanted);
}

#[test]
fn oidc_core_s3_1_2_1_a_hint_counts_even_expired_but_only_for_its_client() {
    for algorithm in crate::testing::ALGORITHMS {
        let mine = id_token(&client(), algorithm);
        let request = ask(&client(), &[("id_token_hint", &mine)]).unwrap();
        assert_eq!(request.hint_subject.as_deref(), Some("sub-ada"));
    }
    let foreign = id_token(&other_client(), SigningAlgorithm::ES256);
    assert!(matches!(ask(&client(), &[("id_token_hint", &foreign)]), Err(Refusal::Redirect(_))));
}

#[test]
fn a_request_survives_being_kept_with_the_browser() {
    let claims = r#"{"id_token":{"sub":{"value":"x"},"acr":{"essential":true,"values":["a"]}},"userinfo":{"email":null}}"#;
    let request =
        ask(&client(), &[("claims", claims), ("prompt", "login consent"), ("max_age", "0")]).unwrap();
    let kept = serde_json::to_vec(&request).unwrap();
    assert_eq!(serde_json::from_slice::<AuthorizationRequest>(&kept).unwrap(), request);
    assert_eq!(request.claims_beyond_scopes(), set(&["email"]));
}

#[test]
fn rfc6749_s4_1_1_the_client_is_named_exactly_once() {
    assert_eq!(client_id(&form(&[("client_id", "app")])), Ok("app"));
    for bad in [&[][..], &[("client_id", "")], &[("client_id", "a"), ("client_id", "a")]] {
        assert_eq!(client_id(&form(bad)), Err(Fatal::NoClient));
    }
    assert_eq!(client_id(&form(&[("client_id", &"a".repeat(300))])), Err(Fatal::NoClient));
}

#[test]
fn a_request_that_waited_is_judged_by_the_client_as_it_is_now() {
    let asked = client();
    let request = ask(&asked, &[]).unwrap();
    assert_eq!(request.recheck(&asked, &tenant()), Ok(()));
    let after = |change: &dyn Fn(&mut ClientView)| {
        let mut now = asked.clone();
        change(&mut now);
        request.recheck(&now, &tenant())
    };
    let moved = after(&|now| now.metadata.redirect_uris = vec!["https://app.example/new".to_owned()]);
    assert_eq!(moved, Err(Fatal::RedirectUriNotRegistered));
    assert_eq!(after(&|now| now.metadata.grant_types.clear()), Err(Fatal::NoLongerRegistered));
    assert_eq!(after(&|now| now.metadata.require_pkce = true), Err(Fatal::NoLongerRegistered));
    assert_eq!(after(&|now| now.disabled = true), Err(Fatal::UnknownClient));
}

#[test]
fn rfc9126_s5_a_request_that_must_be_pushed_is_refused_as_it_is() {
    let strict = client_with(|metadata| metadata.require_pushed_authorization_requests = true);
    check(&strict, &[case("9126 §5", &[], Expect::Told(ErrorCode::InvalidRequest))]);
    let plain = ask(&client(), &[]).unwrap();
    assert_eq!(plain.recheck(&strict, &tenant()), Err(Fatal::NoLongerRegistered));
    let mut strict_tenant = tenant();
    strict_tenant.settings.require_pushed_authorization_requests = true;
    assert_eq!(plain.recheck(&client(), &strict_tenant), Err(Fatal::NoLongerRegistered));
    let pushed = AuthorizationRequest { pushed: Some("reference".to_owned()), ..plain };
    assert_eq!(pushed.recheck(&strict, &strict_tenant), Ok(()));
}

proptest! {
    #[test]
    fn arbitrary_parameters_never_panic_and_never_leave_the_registered_uris(
        pairs in proptest::collection::vec((
            "(redirect_uri|response_type|scope|state|response_mode|prompt|max_age|claims|code_challenge|code_challenge_method|id_token_hint|nonce|acr_values|\\PC{1,6})",
            "(https://app\\.example/cb|https://evil\\.example|code|openid|none|S256|form_post|\\PC{0,24})",
        ), 0..10)
    ) {
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let client = client();
        let target = match judge(&client, &form(&pairs)) {
            Ok(request) => Some(request.target),
            Err(Refusal::Redirect(told)) => Some(told.target),
            Err(Refusal::Fatal(_)) => None,
        };
        if let Some(target) = target {
            prop_assert!(client.metadata.redirect_uris.contains(&target.redirect_uri));
        }
    }
}

#[test]
fn oidc_core_s5_2_claims_locales_travel_with_the_claims_asked_for() {
    let asked = ask(&client(), &[("claims_locales", "ja-Kana-JP * de")]).unwrap();
    assert_eq!(asked.claims.locales, ["ja-Kana-JP", "de"]);
    assert_eq!(asked.claims_beyond_scopes(), set(&[]), "a language needs no consent");
    assert_eq!(ask(&client(), &[]).unwrap().claims.locales, Vec::<String>::new());
}
