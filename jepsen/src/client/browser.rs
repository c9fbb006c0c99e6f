//! A browser: cookies, redirects, and the forms of a login. It stops where the provider's pages end.

use std::collections::BTreeMap;

use reqwest::Method;
use reqwest::header::{COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use url::Url;

use super::html::{self, Form};
use super::http::{Answer, Door, Http, Lost};

/// Pages and redirects of one login at most.
const STEPS_MAX: usize = 16;
/// Times that the password is given: a page may have belonged to an earlier try.
const PASSWORDS_MAX: usize = 2;

/// Who logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Login name.
    pub username: String,
    /// Password.
    pub password: String,
}

/// Where the browser was sent with the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// The parameters, those of the query.
    pub parameters: BTreeMap<String, String>,
}

/// A login that did not end at the app.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BrowserError {
    /// A request got no answer.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// A page says no.
    #[error("the provider answered {0}")]
    Refused(String),
    /// The password was asked for again, after it had been given twice.
    #[error("the password is not accepted")]
    Denied,
    /// A page without a form that we know.
    #[error("a page with nothing to fill in, status {0}")]
    Page(u16),
    /// More steps than a login has.
    #[error("too many pages")]
    TooMany,
    /// An address that is none.
    #[error("an address that cannot be followed")]
    Address,
}

impl Callback {
    /// A parameter, or nothing.
    pub fn get(&self, name: &str) -> &str {
        self.parameters.get(name).map(String::as_str).unwrap_or_default()
    }
}

/// One person's browser.
#[derive(Clone, Debug)]
pub struct Browser {
    http: Http,
    /// By name. One provider only, so that no domains are needed.
    cookies: BTreeMap<String, String>,
}

struct Next {
    url: Url,
    form: Option<Vec<(String, String)>>,
}

impl Browser {
    /// One without cookies.
    pub fn new(http: &Http) -> Self {
        Self { http: http.clone(), cookies: BTreeMap::new() }
    }

    /// From `url` to the app, logging in and agreeing where asked. `doors` gives the door of each request.
    ///
    /// # Errors
    /// [`BrowserError`]. After [`BrowserError::Lost`] the same browser may try again.
    pub async fn log_in(
        &mut self,
        url: &Url,
        person: &Person,
        mut doors: impl FnMut() -> Door + Send,
    ) -> Result<Callback, BrowserError> {
        let home = url.origin();
        let mut next = Next { url: url.clone(), form: None };
        let mut passwords = 0;
        for _ in 0..STEPS_MAX {
            if next.url.origin() != home {
                let parameters = next.url.query_pairs().into_owned().collect();
                return Ok(Callback { parameters });
            }
            let answer = self.send(&next, &doors()).await?;
            next = follow(&next.url, &answer, person)?;
            let is_it = |(_, value): &(String, String)| *value == person.password;
            passwords += usize::from(next.form.as_ref().is_some_and(|fields| fields.iter().any(is_it)));
            if passwords > PASSWORDS_MAX {
                return Err(BrowserError::Denied);
            }
        }
        Err(BrowserError::TooMany)
    }

    async fn send(&mut self, next: &Next, door: &Door) -> Result<Answer, BrowserError> {
        let request = match &next.form {
            Some(fields) => {
                let request = self.http.request(Method::POST, &next.url, door).form(fields);
                request.header(ORIGIN, next.url.origin().ascii_serialization())
            }
            None => self.http.request(Method::GET, &next.url, door),
        };
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = if cookies.is_empty() { request } else { request.header(COOKIE, cookies.join("; ")) };
        let answer = self.http.send(request).await?;
        for cookie in answer.headers.get_all(SET_COOKIE) {
            let pair = cookie.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
            let Some((name, value)) = pair.split_once('=') else { continue };
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(answer)
    }
}

/// What the browser does with a page.
fn follow(at: &Url, answer: &Answer, person: &Person) -> Result<Next, BrowserError> {
    let join = |to: &str| at.join(to).map_err(|_| BrowserError::Address);
    if let Some(to) = answer.headers.get(LOCATION).and_then(|to| to.to_str().ok()) {
        return Ok(Next { url: join(to)?, form: None });
    }
    if answer.status >= 400 {
        return Err(BrowserError::Refused(answer.told()));
    }
    let forms = html::forms(&answer.text);
    let fill = |form: &Form| -> Result<Next, BrowserError> {
        let fields = form.filled(&person.username, &person.password, form.agreement());
        Ok(Next { url: join(&form.action)?, form: Some(fields) })
    };
    let wanted = forms.iter().find(|form| form.asks_for_password());
    match wanted.or_else(|| forms.iter().find(|form| form.agreement().is_some())) {
        Some(form) => fill(form),
        None => Err(BrowserError::Page(answer.status)),
    }
}
