//! One request of a browser to a tenant's pages: who it is, and what belongs to it.

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_iam::commands::NewSession;
use domicile_iam::execute::RequestContext;
use domicile_iam::model::{SessionView, TenantContext, UserView};
use domicile_iam::query::Consistency;
use domicile_oidc::Timestamp;
use domicile_oidc::flow::Present;
use domicile_raft::Clock;

use super::context::{self, Caller};
use super::error::Fault;
use super::interaction::Seals;
use super::state::PublicState;
use super::{page, tenant};
use crate::cookie::{self, CookieKind, Lifetime};
use crate::serve::RequestScope;

/// Random bytes of the browser cookie.
const BROWSER_BYTES: usize = 32;
/// The same as base64url.
const BROWSER_TEXT: usize = 43;

/// A browser that asks. An extractor.
pub struct Visit {
    /// Shared parts.
    pub state: PublicState,
    /// Whose pages.
    pub tenant: Arc<TenantContext>,
    /// How the request came.
    pub scope: RequestScope,
    /// What it said.
    pub headers: HeaderMap,
    /// The browser cookie.
    pub browser: Browser,
    /// When it came.
    pub now: Timestamp,
    pub(super) seals: Arc<Seals>,
    authority: Option<String>,
}

/// The value that binds pages to one browser.
pub struct Browser {
    value: String,
    fresh: bool,
}

impl Browser {
    /// The one the browser sent, else a new one.
    fn of(sent: Option<&str>, clock: &dyn Clock) -> Self {
        let well_formed = |value: &&str| {
            value.len() == BROWSER_TEXT
                && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if let Some(value) = sent.filter(well_formed) {
            return Self { value: value.to_owned(), fresh: false };
        }
        let mut random = [0_u8; BROWSER_BYTES];
        clock.fill_random(&mut random);
        Self { value: URL_SAFE_NO_PAD.encode(random), fresh: true }
    }

    /// The cookie's value.
    pub fn value(&self) -> &str {
        &self.value
    }
}

/// Who is logged in.
#[derive(Clone, Debug)]
pub struct Account {
    /// The session.
    pub session: SessionView,
    /// Its user.
    pub user: UserView,
}

impl Account {
    /// As the protocol sees it, for a client that knows the user by `subject`.
    pub fn present<'a>(&'a self, subject: &'a str) -> Present<'a> {
        Present { session: &self.session, subject, second_factor: self.user.second_factor.is_some() }
    }
}

impl FromRequestParts<PublicState> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &PublicState) -> Result<Self, Response> {
        let scope =
            RequestScope::from_request_parts(parts, state).await.map_err(IntoResponse::into_response)?;
        // Other parts of the path are the handler's.
        let named = RawPathParams::from_request_parts(parts, state).await.ok();
        let slug = named.as_ref().and_then(|named| named.iter().find(|(name, _)| *name == "tenant"));
        let Some(slug) = slug.map(|(_, slug)| slug.to_owned()) else {
            return Err(page::fault(&parts.headers, scope, Fault::NoTenant));
        };
        let opened = Self::find(state, &slug, scope, parts).await;
        opened.map_err(|fault| page::fault(&parts.headers, scope, fault))
    }
}

impl Visit {
    async fn find(
        state: &PublicState,
        slug: &str,
        scope: RequestScope,
        parts: &Parts,
    ) -> Result<Self, Fault> {
        let tenant = tenant::serving(state, slug).await?;
        let seals = state.seals(&tenant).await?;
        let headers = parts.headers.clone();
        let sent = cookie::get(&headers, CookieKind::Browser, tenant.id, scope.secure);
        let browser = Browser::of(sent, state.clock.as_ref());
        let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
        let authority = parts.uri.authority().map(ToString::to_string).or(host.map(str::to_owned));
        let now = state.clock.now();
        Ok(Self { state: state.clone(), tenant, scope, headers, browser, now, seals, authority })
    }

    /// The origin the browser sees us under. The listener served this host, so it is one of ours.
    pub fn own_origin(&self) -> String {
        let scheme = if self.scope.secure { "https" } else { "http" };
        let authority = self.authority.as_deref().unwrap_or_default().to_ascii_lowercase();
        let default_port = if self.scope.secure { ":443" } else { ":80" };
        format!("{scheme}://{}", authority.strip_suffix(default_port).unwrap_or(&authority))
    }

    /// A path of ours under the tenant.
    pub fn path(&self, page: &str) -> String {
        format!("/t/{}{page}", self.tenant.slug)
    }

    /// The context of a command of this visit.
    pub fn context(&self, caller: Caller) -> RequestContext {
        context::context(self.tenant.id, self.scope, &self.headers, caller)
    }

    /// Who is logged in, by the session cookie.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn account(&self) -> Result<Option<Account>, Fault> {
        let Some(cookie) = cookie::get(&self.headers, CookieKind::Session, self.tenant.id, self.scope.secure)
        else {
            return Ok(None);
        };
        let Some(session) = self.state.iam.session_by_cookie(self.tenant.id, cookie).await? else {
            return Ok(None);
        };
        // The session was read after a barrier; what is here now is no older.
        let user = self.state.iam.get_user(self.tenant.id, session.user, &Consistency::Local).await?;
        Ok(user.map(|user| Account { session, user }))
    }

    /// `response`, which holds a form: the browser gets the cookie the form is bound to.
    #[must_use]
    pub fn with_browser(&self, mut response: Response) -> Response {
        if self.browser.fresh {
            let (kind, secure) = (CookieKind::Browser, self.scope.secure);
            let value =
                cookie::set(kind, self.tenant.id, secure, &self.browser.value, Lifetime::BrowserSession);
            append_cookie(&mut response, value);
        }
        response
    }

    /// `response` with the cookie of a session that just began. It ends with the browser; how long the
    /// session lives, the tenant's settings say.
    #[must_use]
    pub fn with_session(&self, mut response: Response, session: &NewSession) -> Response {
        let (kind, secure) = (CookieKind::Session, self.scope.secure);
        let value = cookie::set(kind, self.tenant.id, secure, &session.cookie(), Lifetime::BrowserSession);
        append_cookie(&mut response, value);
        response
    }

    /// Whether the browser sent a session cookie, valid or not.
    pub fn has_session_cookie(&self) -> bool {
        cookie::get(&self.headers, CookieKind::Session, self.tenant.id, self.scope.secure).is_some()
    }

    /// `response`, after which the browser has no session. Only a cookie that was sent is removed: a
    /// request that another site made comes without it.
    #[must_use]
    pub fn without_session(&self, mut response: Response) -> Response {
        if !self.has_session_cookie() {
            return response;
        }
        append_cookie(&mut response, cookie::clear(CookieKind::Session, self.tenant.id, self.scope.secure));
        response
    }
}

fn append_cookie(response: &mut Response, value: Option<HeaderValue>) {
    let Some(value) = value else {
        tracing::error!("a cookie's value has characters it may not have");
        return;
    };
    response.headers_mut().append(header::SET_COOKIE, value);
}
