//! Pages: what the templates are given, and the errors people see.

use axum::http::{HeaderMap, header};
use axum::response::Response;
use domicile_iam::model::ClientView;
use domicile_oidc::authorize::{self, AuthorizationRequest};
use domicile_oidc::endpoint;
use domicile_oidc::respond::AuthorizationResponse;

use super::answer;
use super::error::{self, Fault, PageError};
use super::interaction::Hidden;
use super::visit::{Account, Visit};
use crate::pages::{
    self, AboutClient, ConsentPage, DeviceDonePage, DeviceError, DevicePage, EnrolError, EnrolPage,
    EnrolledPage, ErrorPage, FormAction, FormPostPage, Frame, Locale, LoggedOutPage, LoginError, LoginPage,
    LogoutPage, PresentAccount, RegisterPage,
};
use crate::serve::{RequestScope, standing};

/// Where the login form goes, under the tenant.
pub const LOGIN: &str = "/login";
/// Where the button that goes on with the present account leads.
pub const CONTINUE: &str = "/login/continue";
/// The consent page and its form.
pub const CONSENT: &str = "/consent";
/// Where the logout form goes.
pub const LOGOUT: &str = "/logout";
/// The account page and its form.
pub const ACCOUNT: &str = "/account";
/// Where the login form on the way to it goes.
pub const ACCOUNT_LOGIN: &str = "/account/login";
/// Where the form goes by which a second factor is shown.
pub const SECOND_FACTOR: &str = "/login/second-factor";
/// Where the form goes by which one is set up.
pub const SECOND_FACTOR_SET_UP: &str = "/login/second-factor/set-up";
/// Where the form goes by which one is shown on the way to the account page.
pub const ACCOUNT_VERIFY: &str = "/account/login/second-factor";
/// Where people see to their second factor.
pub const ACCOUNT_SECOND_FACTOR: &str = "/account/second-factor";
/// Where people change their password.
pub const ACCOUNT_PASSWORD: &str = "/account/password";
/// Where people see to clients of their own.
pub const OWN_CLIENTS: &str = "/account/clients";
/// One of them.
pub const OWN_CLIENT: &str = "/account/clients/{client_id}";
/// Where the form of who makes an account goes.
pub const REGISTER: &str = "/register";
/// The page for invited operators and its form.
pub const ENROL: &str = "/enrol";

fn locale(headers: &HeaderMap, ui_locales: &[String]) -> Locale {
    let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    Locale::choose(Some(&ui_locales.join(" ")), accepted)
}

fn display(display: authorize::Display) -> pages::Display {
    match display {
        authorize::Display::Page => pages::Display::Page,
        authorize::Display::Popup => pages::Display::Popup,
        authorize::Display::Touch => pages::Display::Touch,
    }
}

/// The name people know a client by.
pub fn name(client: &ClientView) -> &str {
    client.metadata.client_name.as_deref().unwrap_or(&client.client_id)
}

/// What people are shown of an address of a client: the host with its port, or the scheme for an app.
pub fn host(uri: &str) -> String {
    let source = pages::form_action_source(uri).unwrap_or_default();
    source.split_once("://").map_or(source.as_str(), |(_, host)| host).to_owned()
}

/// What a login page says besides asking.
#[derive(Clone, Copy, Default)]
pub struct LoginState<'a> {
    /// What was typed before.
    pub login: Option<&'a str>,
    /// What went wrong.
    pub error: Option<LoginError>,
    /// Seconds until a further attempt makes sense.
    pub retry_after_s: Option<u64>,
    /// An account to go on with.
    pub account: Option<&'a Account>,
}

impl Visit {
    /// What the pages on the way of a request share.
    pub fn frame(&self, request: &AuthorizationRequest) -> Frame<'_> {
        let locale = locale(&self.headers, &request.ui_locales);
        Frame::new(&self.tenant.display_name, locale, display(request.display))
    }

    /// What a page that no request is behind shares with the others.
    pub fn plain_frame(&self, ui_locales: &[String]) -> Frame<'_> {
        Frame::new(&self.tenant.display_name, locale(&self.headers, ui_locales), pages::Display::Page)
    }

    /// The login page.
    pub async fn login_page(
        &self,
        request: &AuthorizationRequest,
        client: &ClientView,
        hidden: &Hidden,
        login: LoginState<'_>,
    ) -> Response {
        let go_on = self.path(CONTINUE);
        let frame = self.frame(request);
        let page = LoginPage {
            frame,
            about: self.about(client, frame.texts.lang).await,
            action: &self.path(LOGIN),
            interaction: &hidden.interaction,
            csrf: &hidden.csrf,
            client: Some(name(client)),
            login: login.login.or(request.login_hint.as_deref()).unwrap_or_default(),
            error: login.error,
            account: login
                .account
                .map(|account| PresentAccount { action: &go_on, name: &account.user.username }),
            may_register: self.tenant.settings.self_registration,
        };
        let response = page.respond(&FormAction::OwnThenRedirect(request.target.redirect_uri.clone()));
        self.with_browser(error::retry_after(response, login.retry_after_s))
    }

    /// The login page on the way to the account page: nobody waits for it.
    pub fn account_login_page(&self, hidden: &Hidden, login: LoginState<'_>) -> Response {
        let page = LoginPage {
            frame: self.plain_frame(&[]),
            action: &self.path(ACCOUNT_LOGIN),
            interaction: &hidden.interaction,
            csrf: &hidden.csrf,
            client: None,
            about: AboutClient::default(),
            login: login.login.unwrap_or_default(),
            error: login.error,
            account: None,
            may_register: false,
        };
        let response = page.respond(&FormAction::Own);
        self.with_browser(error::retry_after(response, login.retry_after_s))
    }

    /// The page on which an account is made.
    pub fn register_page(
        &self,
        request: &AuthorizationRequest,
        client: &ClientView,
        hidden: &Hidden,
        username: &str,
        error: Option<EnrolError>,
    ) -> Response {
        let page = RegisterPage {
            frame: self.frame(request),
            action: &self.path(REGISTER),
            interaction: &hidden.interaction,
            csrf: &hidden.csrf,
            client: name(client),
            username,
            terms: self.tenant.settings.terms_uri.as_deref(),
            error,
        };
        let next = FormAction::OwnThenRedirect(request.target.redirect_uri.clone());
        self.with_browser(page.respond(&next))
    }

    /// The consent page.
    pub async fn consent_page(
        &self,
        request: &AuthorizationRequest,
        client: &ClientView,
        account: &Account,
        hidden: &Hidden,
    ) -> Response {
        let frame = self.frame(request);
        let claims = request.claims_beyond_scopes();
        let scopes = request.scopes.iter().map(|scope| frame.texts.scope(scope).unwrap_or(scope));
        let returns_to = host(&request.target.redirect_uri);
        let page = ConsentPage {
            frame,
            action: &self.path(CONSENT),
            interaction: &hidden.interaction,
            csrf: &hidden.csrf,
            client: name(client),
            about: self.about(client, frame.texts.lang).await,
            items: scopes.chain(claims.iter().chain(&request.resources).map(String::as_str)).collect(),
            user: &account.user.username,
            account_page: &self.path(ACCOUNT),
            returns_to: request.device.is_none().then_some(returns_to.as_str()),
        };
        self.with_browser(page.respond(&FormAction::OwnThenRedirect(request.target.redirect_uri.clone())))
    }

    /// Asks whether to log out.
    pub fn logout_page(
        &self,
        ui_locales: &[String],
        client: Option<&ClientView>,
        hidden: &Hidden,
        return_to: Option<&str>,
    ) -> Response {
        let page = LogoutPage {
            frame: self.plain_frame(ui_locales),
            action: &self.path(LOGOUT),
            interaction: &hidden.interaction,
            csrf: &hidden.csrf,
            client: client.map(name),
            account_page: &self.path(ACCOUNT),
        };
        let next = return_to.map_or(FormAction::Own, |uri| FormAction::OwnThenRedirect(uri.to_owned()));
        self.with_browser(page.respond(&next))
    }

    /// Says that nobody is logged in now, or that all stayed as it was.
    pub fn logged_out_page(&self, ui_locales: &[String], ended: bool) -> Response {
        LoggedOutPage { frame: self.plain_frame(ui_locales), ended, account_page: &self.path(ACCOUNT) }
            .respond()
    }

    /// Asks an invited operator who they want to be.
    pub fn enrol_page(&self, hidden: &Hidden, username: &str, error: Option<EnrolError>) -> Response {
        let page = EnrolPage {
            frame: self.plain_frame(&[]),
            action: &self.path(ENROL),
            interaction: &hidden.interaction,
            csrf: &hidden.csrf,
            username,
            error,
        };
        self.with_browser(page.respond())
    }

    /// Says that there is a new operator.
    pub fn enrolled_page(&self) -> Response {
        EnrolledPage { frame: self.plain_frame(&[]) }.respond()
    }

    /// Asks for the code that a device shows.
    pub fn device_page(&self, hidden: &Hidden, user_code: &str, error: Option<DeviceError>) -> Response {
        let page = DevicePage {
            frame: self.plain_frame(&[]),
            action: &self.path(endpoint::DEVICE),
            interaction: &hidden.interaction,
            csrf: &hidden.csrf,
            user_code,
            error,
        };
        self.with_browser(page.respond())
    }

    /// Says what came of it.
    pub fn device_done_page(&self, connected: bool) -> Response {
        DeviceDonePage { frame: self.plain_frame(&[]), connected }.respond()
    }

    /// The browser goes back to the client.
    pub fn to_client(&self, response: AuthorizationResponse) -> Response {
        match response {
            AuthorizationResponse::Redirect(location) => answer::see_other(location),
            AuthorizationResponse::FormPost { action, fields } => {
                let fields: Vec<(String, String)> =
                    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
                FormPostPage::new(self.plain_frame(&[]), &action, &fields).respond()
            }
        }
    }

    /// The answer, or the page that says why there is none.
    pub fn answer(&self, outcome: Result<Response, PageError>) -> Response {
        outcome.unwrap_or_else(|error| error_page(self.plain_frame(&[]), self.scope, error))
    }
}

fn error_page(frame: Frame<'_>, scope: RequestScope, error: PageError) -> Response {
    // Also where what was asked for was written, and only the page could not be made.
    let is_unknown = matches!(&error, PageError::Fault(fault) if fault.retry_after_s().is_some())
        && standing::is_touched();
    let error = if is_unknown { PageError::Fault(Fault::Unknown) } else { error };
    let (code, detail) = error.detail();
    let page = ErrorPage {
        frame,
        title: frame.texts.error_title,
        text: frame.texts.error_text,
        code,
        detail: Some(&detail),
        request_id: &scope.id.to_string(),
    };
    let wait_s = match error {
        PageError::Fault(fault) => fault.retry_after_s(),
        PageError::Authorize(_)
        | PageError::Logout(_)
        | PageError::Body(_)
        | PageError::Csrf(_)
        | PageError::Interaction(_)
        | PageError::OutOfPlace => None,
    };
    error::retry_after(page.respond(error.status()), wait_s)
}

/// The page for a request that could not even be tied to a tenant.
pub fn fault(headers: &HeaderMap, scope: RequestScope, fault: Fault) -> Response {
    let frame = Frame::new("Domicile", locale(headers, &[]), pages::Display::Page);
    error_page(frame, scope, fault.into())
}

/// A form's address that was called up by itself, perhaps from a bookmark.
pub async fn out_of_place(visit: Visit) -> Response {
    visit.answer(Err(PageError::OutOfPlace))
}
