//! Pages for people: rendered here, whole without JavaScript, with nothing fetched from elsewhere.
//!
//! The style sheet is inside each page, allowed by its hash. A second request for it would need every
//! node to serve every version's sheet during a rolling upgrade, and a first visit would wait for it.

mod about;
mod account;
mod agent;
mod content;
mod csp;
mod developer;
mod developer_texts;
mod device;
mod enrol;
mod leave;
mod locale;
mod password;
mod password_texts;
mod qr;
mod register;
mod second_factor;
mod second_factor_texts;
mod texts;

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use crate::problem::Problem;

pub use about::AboutClient;
pub use account::{AccountGrant, AccountPage, AccountPaging, AccountSecondFactor, AccountSession, Moment};
pub use agent::agent_name;
pub use content::{
    ConsentPage, ErrorPage, FormPostPage, LoggedOutPage, LoginError, LoginPage, LogoutPage, PresentAccount,
};
pub use csp::{FormAction, form_action_source};
pub use developer::{ClientFields, OwnClientEntry, OwnClientPage, OwnClientsPage};
pub use device::{DeviceDonePage, DeviceError, DevicePage};
pub use enrol::{EnrolError, EnrolPage, EnrolledPage};
pub use leave::LeavePage;
pub use locale::{Display, Locale};
pub use password::{PasswordChangedPage, PasswordError, PasswordPage};
pub use register::RegisterPage;
pub use second_factor::{
    FormFields, RecoveryCodesPage, SecondFactorError, SecondFactorManagePage, SecondFactorPage,
    SecondFactorSetUpPage,
};
pub use texts::Texts;

/// The style sheet, as it stands between the `style` tags.
pub(super) const STYLE: &str = include_str!("../../templates/style.css");

/// What all pages share.
#[derive(Clone, Copy)]
pub struct Frame<'a> {
    /// The tenant's display name.
    pub tenant: &'a str,
    /// In which language.
    pub texts: &'static Texts,
    /// How much room there is.
    pub display: Display,
    style: &'static str,
}

impl<'a> Frame<'a> {
    /// A page of `tenant` in `locale`.
    pub fn new(tenant: &'a str, locale: Locale, display: Display) -> Self {
        Self { tenant, texts: Texts::of(locale), display, style: STYLE }
    }

    fn initial(&self) -> String {
        self.tenant.chars().next().map(|first| first.to_uppercase().to_string()).unwrap_or_default()
    }
}

/// Renders `page` with its status and the policy that fits it.
fn respond(status: StatusCode, page: &impl Template, policy: &str) -> Response {
    let (Ok(html), Ok(policy)) = (page.render(), HeaderValue::from_str(policy)) else {
        tracing::error!("a page could not be rendered");
        return Problem::internal().into_response();
    };
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // For browsers that do not know `frame-ancestors`.
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    ];
    (status, headers, Html(html)).into_response()
}

#[cfg(test)]
mod tests;
