//! What every page holds, whatever its content.

use axum::body::to_bytes;

use super::*;

const HOSTILE: &str = "\"><script>alert(1)</script>";

fn frame(locale: Locale) -> Frame<'static> {
    Frame::new("Ünïted <b>", locale, Display::Page)
}

async fn read(response: Response) -> (StatusCode, String, String) {
    let (parts, body) = response.into_parts();
    let policy = parts.headers["content-security-policy"].to_str().unwrap().to_owned();
    assert_eq!(parts.headers["cache-control"], "no-store");
    let body = to_bytes(body, 1 << 20).await.unwrap();
    (parts.status, policy, String::from_utf8(body.to_vec()).unwrap())
}

fn about() -> AboutClient {
    AboutClient {
        logo: Some("data:image/png;base64,AAAA".into()),
        policy: Some(format!("https://rp.example/policy?{HOSTILE}")),
        terms: Some("https://rp.example/terms".to_owned()),
        self_made: true,
    }
}

fn login(error: Option<LoginError>, locale: Locale) -> Response {
    LoginPage {
        frame: frame(locale),
        action: "/t/demo/login",
        interaction: "sealed",
        csrf: "token",
        client: Some(HOSTILE),
        about: about(),
        login: HOSTILE,
        error,
        account: Some(PresentAccount { action: "/t/demo/login/continue", name: HOSTILE }),
        may_register: false,
    }
    .respond(&FormAction::Own)
}

fn consent() -> Response {
    ConsentPage {
        frame: frame(Locale::English),
        action: "/t/demo/consent",
        interaction: "sealed",
        csrf: "token",
        client: HOSTILE,
        about: about(),
        items: vec![HOSTILE],
        user: HOSTILE,
        account_page: "/t/demo/account",
        returns_to: Some(HOSTILE),
    }
    .respond(&FormAction::OwnThenRedirect("http://127.0.0.1:9999/cb".to_owned()))
}

fn logout() -> Response {
    LogoutPage {
        frame: frame(Locale::English),
        action: "/l",
        interaction: "sealed",
        csrf: "token",
        client: None,
        account_page: "/t/demo/account",
    }
    .respond(&FormAction::Own)
}

fn account() -> Response {
    let moment = || Moment { machine: "2026-01-31T12:34:56.789Z".to_owned(), human: "2026-01-31".to_owned() };
    let session = |here| AccountSession {
        id: format!("ses_{here}"),
        here,
        since: moment(),
        until: moment(),
        from: HOSTILE.to_owned(),
        clients: vec![HOSTILE.to_owned()],
    };
    let grant =
        AccountGrant { id: "cli_1".to_owned(), client: HOSTILE.to_owned(), items: vec![HOSTILE.to_owned()] };
    AccountPage {
        frame: frame(Locale::English),
        action: "/t/demo/account",
        interaction: "sealed",
        csrf: "token",
        user: HOSTILE,
        sessions: &[session(true), session(false)],
        paging: AccountPaging { older: Some("/t/demo/account?after=x"), newest: Some("/t/demo/account") },
        grants: &[grant],
        own_clients: Some("/t/demo/account/clients"),
        password_page: "/t/demo/account/password",
        second_factor: AccountSecondFactor { present: false, page: "/t/demo/account/second-factor" },
    }
    .respond()
}

fn enrol(error: Option<EnrolError>) -> Response {
    EnrolPage {
        frame: frame(Locale::English),
        action: "/t/system/enrol",
        interaction: "sealed",
        csrf: "token",
        username: HOSTILE,
        error,
    }
    .respond()
}

fn register(error: Option<EnrolError>) -> Response {
    RegisterPage {
        frame: frame(Locale::German),
        action: "/t/demo/register",
        interaction: "sealed",
        csrf: "token",
        client: HOSTILE,
        username: HOSTILE,
        terms: Some(HOSTILE),
        error,
    }
    .respond(&FormAction::Own)
}

fn error() -> Response {
    ErrorPage {
        frame: frame(Locale::English),
        title: HOSTILE,
        text: HOSTILE,
        code: Some(HOSTILE),
        detail: Some(HOSTILE),
        request_id: "req_1",
    }
    .respond(StatusCode::BAD_REQUEST)
}

fn form_post() -> Response {
    let parameters = [("state".to_owned(), HOSTILE.to_owned())];
    FormPostPage::new(frame(Locale::English), "https://app.example/cb?a=1&b=\"2", &parameters).respond()
}

fn logged_out() -> Response {
    LoggedOutPage { frame: frame(Locale::German), ended: true, account_page: "/t/demo/account" }.respond()
}

fn device(error: Option<DeviceError>) -> Response {
    DevicePage {
        frame: frame(Locale::German),
        action: "/t/acme/device",
        interaction: "sealed",
        csrf: "token",
        user_code: HOSTILE,
        error,
    }
    .respond()
}

const FORM: FormFields<'static> = FormFields { action: "/t/demo/x", interaction: "sealed", csrf: "token" };

fn second_factor(error: Option<SecondFactorError>) -> Response {
    let frame = frame(Locale::English);
    SecondFactorPage { frame, form: FORM, user: HOSTILE, client: Some(HOSTILE), error }
        .respond(&FormAction::Own)
}

fn set_up() -> Response {
    let uri = "otpauth://totp/A:b?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=A";
    let (frame, secret) = (frame(Locale::German), "GEZDGNBVGY3TQOJQ");
    SecondFactorSetUpPage { frame, form: FORM, secret, uri, required: true, error: None }
        .respond(&FormAction::Own)
}

fn recovery_codes() -> Response {
    let codes = [HOSTILE.to_owned()];
    let frame = frame(Locale::English);
    RecoveryCodesPage { frame, codes: &codes, form: Some(FORM), account_page: "/t/demo/account" }
        .respond(&FormAction::Own)
}

fn manage() -> Response {
    let since = Moment { machine: "2026-01-31T12:34:56.789Z".to_owned(), human: HOSTILE.to_owned() };
    SecondFactorManagePage {
        frame: frame(Locale::English),
        form: FORM,
        since,
        left: 7,
        account_page: "/t/demo/account",
    }
    .respond()
}

fn password(error: Option<PasswordError>) -> Response {
    let frame = frame(Locale::English);
    PasswordPage { frame, form: FORM, user: HOSTILE, error, account_page: "/t/demo/account" }.respond()
}

fn client_fields() -> ClientFields {
    let text = || HOSTILE.to_owned();
    ClientFields {
        name: text(),
        redirect_uris: text(),
        post_logout_redirect_uris: text(),
        scope: text(),
        public: true,
        native: true,
    }
}

fn own_clients() -> Response {
    let entry = OwnClientEntry {
        page: "/t/demo/account/clients/cli_1".to_owned(),
        name: HOSTILE.to_owned(),
        client_id: HOSTILE.to_owned(),
        disabled: true,
    };
    OwnClientsPage {
        frame: frame(Locale::German),
        form: FORM,
        clients: &[entry],
        fields: &client_fields(),
        error: Some(HOSTILE),
        full: false,
        account_page: "/t/demo/account",
    }
    .respond()
}

fn own_client() -> Response {
    OwnClientPage {
        frame: frame(Locale::English),
        form: FORM,
        client_id: HOSTILE,
        secret: Some(HOSTILE),
        has_secret: true,
        disabled: false,
        fields: &client_fields(),
        error: Some(HOSTILE),
        list: "/t/demo/account/clients",
    }
    .respond()
}

fn leave(link: bool) -> Response {
    LeavePage {
        frame: frame(Locale::German),
        host: HOSTILE,
        link: link.then_some("https://rp.example/cb?error=login_required&state=x"),
        action: "https://rp.example/cb",
        parameters: &[("state".to_owned(), HOSTILE.to_owned())],
        code: Some("login_required"),
        detail: HOSTILE,
    }
    .respond()
}

fn all() -> [Response; 20] {
    let login = login(None, Locale::English);
    [
        login,
        consent(),
        logout(),
        error(),
        form_post(),
        logged_out(),
        enrol(None),
        device(Some(DeviceError::Code)),
        account(),
        register(None),
        second_factor(Some(SecondFactorError::Wrong)),
        set_up(),
        recovery_codes(),
        manage(),
        own_clients(),
        own_client(),
        leave(true),
        leave(false),
        password(None),
        PasswordChangedPage { frame: frame(Locale::German), account_page: "/t/demo/account" }.respond(),
    ]
}

#[tokio::test]
async fn no_page_lets_what_it_was_given_become_markup() {
    for response in all() {
        let (_, _, html) = read(response).await;
        assert!(!html.contains("<script>alert") && !html.contains("<b>"), "{html}");
        assert!(html.contains("&#38;") || html.contains("&#60;"), "{html}");
    }
}

/// Else what one of them holds could turn the words around it.
#[tokio::test]
async fn names_that_others_chose_are_isolated_from_the_text_around_them() {
    let login = login(None, Locale::English);
    for (response, names) in [
        (login, 2),
        (consent(), 2),
        (account(), 4),
        (register(None), 1),
        (second_factor(None), 2),
        (own_clients(), 1),
        (password(None), 1),
    ] {
        let (_, _, html) = read(response).await;
        assert_eq!(html.matches("<bdi>&#34;&#62;&#60;script").count(), names, "{html}");
        assert_eq!(html.matches("<strong>&#").count(), 0, "{html}");
    }
}

#[tokio::test]
async fn every_page_has_a_language_one_heading_and_its_style_by_hash() {
    for response in all() {
        let (_, policy, html) = read(response).await;
        assert!(html.starts_with("<!doctype html>\n<html lang=\""), "{html}");
        assert_eq!(html.matches("<h1>").count(), 1, "{html}");
        assert_eq!(html.matches("<main").count(), 1, "{html}");
        assert!(
            !html.contains(" style=\"") && !html.contains("http-equiv"),
            "inline styles are not allowed by the policy"
        );
        let style = html.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        assert!(policy.contains(&hash(style)), "{policy}");
        match html.split_once("<script>") {
            Some((_, rest)) => {
                assert!(policy.contains(&hash(rest.split_once("</script>").unwrap().0)), "{policy}");
            }
            None => assert!(!policy.contains("script-src"), "{policy}"),
        }
    }
}

fn hash(text: &str) -> String {
    use aws_lc_rs::digest::{SHA256, digest};
    use base64::Engine as _;
    format!("'sha256-{}'", base64::engine::general_purpose::STANDARD.encode(digest(&SHA256, text.as_bytes())))
}

#[tokio::test]
async fn the_login_form_is_what_programs_and_password_managers_look_for() {
    let (status, _, html) = read(login(None, Locale::English)).await;
    assert_eq!(status, StatusCode::OK);
    for part in [
        "<form method=\"post\" action=\"/t/demo/login\">",
        "<input id=\"login\" name=\"login\" type=\"text\"",
        "autocomplete=\"username\"",
        "<input id=\"password\" name=\"password\" type=\"password\" autocomplete=\"current-password\"",
        "<label for=\"login\">",
        "<label for=\"password\">",
    ] {
        assert!(html.contains(part), "{part} is not in\n{html}");
    }
    let form = html.split_once("action=\"/t/demo/login\"").unwrap().1.split_once("</form>").unwrap().0;
    assert_eq!(form.matches("type=\"submit\"").count(), 1);
    assert_eq!(html.matches("type=\"password\"").count(), 1);
    assert_eq!(html.matches("type=\"text\"").count() + html.matches("type=\"email\"").count(), 1);
}

#[tokio::test]
async fn wcag_s3_3_1_a_failed_login_is_announced_and_tied_to_its_fields() {
    let (status, _, html) = read(login(Some(LoginError::BadCredentials), Locale::German)).await;
    assert_eq!(status, StatusCode::OK);
    assert!(html.contains("<html lang=\"de\""));
    assert!(html.contains("<title>Fehler: Anmelden"));
    assert!(html.contains("role=\"alert\" id=\"summary\""));
    assert_eq!(html.matches("aria-invalid=\"true\" aria-describedby=\"summary\"").count(), 2);
    assert_eq!(html.matches("autofocus").count(), 1);
}

#[tokio::test]
async fn a_full_node_says_so_without_blaming_the_fields() {
    let (status, _, html) = read(login(Some(LoginError::Busy), Locale::English)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!html.contains("aria-invalid=\"true\""));
    assert_eq!(
        read(login(Some(LoginError::TooMany), Locale::English)).await.0,
        StatusCode::TOO_MANY_REQUESTS
    );
}

#[tokio::test]
async fn consent_has_both_buttons_and_its_policy_lets_the_redirect_through() {
    let (_, policy, html) = read(consent()).await;
    assert!(html.contains("name=\"allow\"") && html.contains("name=\"deny\""), "{html}");
    assert!(policy.contains("form-action 'self' http://127.0.0.1:9999 "), "{policy}");
}

#[tokio::test]
async fn form_post_s2_sends_itself_and_has_a_button_for_those_without_scripts() {
    let (_, policy, html) = read(form_post()).await;
    assert!(
        html.contains("<input type=\"hidden\" name=\"state\" value=\"&#34;&#62;&#60;script&#62;"),
        "{html}"
    );
    assert!(html.contains("type=\"submit\"") && html.contains("document.getElementById"), "{html}");
    assert!(policy.contains("form-action https://app.example "), "{policy}");
}

#[tokio::test]
async fn rfc9700_s4_11_2_an_address_that_nobody_vouches_for_is_left_to_the_person() {
    let (status, policy, html) = read(leave(true)).await;
    assert_eq!(status, StatusCode::OK);
    assert!(policy.contains("form-action 'none'") && !html.contains("<form"), "{policy} {html}");
    assert!(html.contains("<a href=\"https://rp.example/cb?error=login_required&#38;state="), "{html}");
    let (_, policy, html) = read(leave(false)).await;
    assert!(policy.contains("form-action 'self' https://rp.example "), "{policy}");
    assert!(html.contains("action=\"https://rp.example/cb\"") && html.contains("type=\"submit\""), "{html}");
    assert!(!html.contains("<script>") && !policy.contains("script-src"), "it does not send itself: {html}");
}

#[tokio::test]
async fn wcag_s3_3_1_a_failed_enrolment_names_its_field_and_repeats_no_secret() {
    let (status, policy, html) = read(enrol(Some(EnrolError::TooShort(8)))).await;
    assert_eq!(status, StatusCode::OK);
    assert!(policy.contains("form-action 'self'"), "{policy}");
    assert!(html.contains("<a href=\"#password\">") && html.contains("characters: 8"), "{html}");
    assert_eq!(html.matches("aria-invalid=\"true\" aria-describedby=\"summary\"").count(), 1);
    let (status, _, html) = read(enrol(Some(EnrolError::TooMany))).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert!(!html.contains("aria-invalid=\"true\""), "{html}");
    assert_eq!(html.matches("value=").count(), 3, "the hidden fields and the username");
}

#[tokio::test]
async fn wcag_s3_3_1_terms_that_were_not_agreed_to_are_pointed_at() {
    let (status, policy, html) = read(register(Some(EnrolError::Terms))).await;
    assert_eq!(status, StatusCode::OK);
    assert!(policy.contains("form-action 'self'"), "{policy}");
    assert!(html.contains("<a href=\"#terms\">") && html.contains("id=\"terms\""), "{html}");
    assert_eq!(html.matches("aria-invalid=\"true\" aria-describedby=\"summary\"").count(), 1);
}

#[tokio::test]
async fn wcag_s3_3_1_a_wrong_code_is_announced_and_tied_to_its_field() {
    let (status, _, html) = read(second_factor(Some(SecondFactorError::Wrong))).await;
    assert_eq!(status, StatusCode::OK);
    assert!(html.contains("role=\"alert\" id=\"summary\"") && html.contains("<a href=\"#code\">"), "{html}");
    assert_eq!(html.matches("aria-invalid=\"true\" aria-describedby=\"summary\"").count(), 1);
    assert!(
        html.contains("autocomplete=\"one-time-code\"") && html.contains("<label for=\"code\">"),
        "WCAG §1.3.5"
    );
    let (status, _, html) = read(second_factor(Some(SecondFactorError::Locked))).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{html}");
}

#[tokio::test]
async fn wcag_s3_3_1_a_password_that_was_not_changed_names_its_field_and_repeats_none() {
    for (error, field) in [
        (PasswordError::Wrong, "current_password"),
        (PasswordError::TooShort(8), "password"),
        (PasswordError::Differ, "password_again"),
    ] {
        let (status, policy, html) = read(password(Some(error))).await;
        assert_eq!(status, StatusCode::OK);
        assert!(policy.contains("form-action 'self'") && !policy.contains("script-src"), "{policy}");
        assert!(html.contains(&format!("<a href=\"#{field}\">")), "{html}");
        assert!(html.contains(&format!("<label for=\"{field}\">")), "{html}");
        assert_eq!(html.matches("aria-invalid=\"true\" aria-describedby=\"summary\"").count(), 1);
        assert_eq!(html.matches("value=").count(), 2, "the hidden fields and nothing else");
    }
    let (status, _, html) = read(password(Some(PasswordError::Locked))).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert!(!html.contains("aria-invalid=\"true\""), "{html}");
}

#[tokio::test]
async fn a_secret_is_shown_as_a_picture_and_as_text() {
    let (_, policy, html) = read(set_up()).await;
    assert!(html.contains("<svg class=\"qr\" role=\"img\" aria-label=\""), "{html}");
    assert!(html.contains("<code id=\"secret\">GEZD GNBV GY3T QOJQ</code>"), "{html}");
    assert!(policy.contains("img-src data:") && !policy.contains("unsafe"), "{policy}");
}
