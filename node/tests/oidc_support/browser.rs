//! A browser: cookies, redirects and forms. It stops where the node's own pages end.

use std::collections::BTreeMap;

use reqwest::header::{COOKIE, HOST, HeaderMap, LOCATION, SET_COOKIE, USER_AGENT};
use url::Url;

use super::html::{HtmlForm, forms};
use super::node::Person;

/// Redirects in a row at most.
const HOPS_MAX: usize = 10;

/// One person's browser.
pub struct Browser {
    http: reqwest::Client,
    origin: String,
    pub cookies: BTreeMap<String, String>,
    /// What it calls itself.
    pub agent: Option<&'static str>,
    /// Which of our pages were shown, in order.
    pub seen: Vec<PageKind>,
    /// Nodes that requests go to in turn, as behind a balancer; none: to where the address says.
    nodes: Vec<Url>,
    turn: usize,
}

/// What a page asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageKind {
    Login,
    Consent,
    Logout,
    FormPost,
    Other,
}

/// A page of the node.
#[derive(Clone, Debug)]
pub struct Page {
    pub url: Url,
    pub status: u16,
    pub headers: HeaderMap,
    pub html: String,
    pub kind: PageKind,
}

/// The browser was sent away, with these parameters.
#[derive(Clone, Debug)]
pub struct Callback {
    /// Without the query.
    pub uri: String,
    pub parameters: BTreeMap<String, String>,
}

impl Callback {
    /// A parameter.
    pub fn get(&self, name: &str) -> &str {
        self.parameters.get(name).map(String::as_str).unwrap_or_default()
    }
}

struct SentForm {
    fields: Vec<(String, String)>,
    from: String,
}

/// Where it came to rest.
#[derive(Clone, Debug)]
pub enum Stop {
    Page(Page),
    Callback(Callback),
}

impl Stop {
    pub fn page(self) -> Page {
        match self {
            Self::Page(page) => page,
            Self::Callback(callback) => panic!("left the node for {callback:?}"),
        }
    }

    pub fn callback(self) -> Callback {
        match self {
            Self::Callback(callback) => callback,
            Self::Page(page) if page.kind == PageKind::FormPost => page.form_post(),
            Self::Page(page) => {
                panic!("stopped at {:?} {} {}\n{}", page.kind, page.status, page.url, page.html)
            }
        }
    }
}

impl Page {
    /// The form that asks what the page asks.
    pub fn form(&self) -> HtmlForm {
        let fits = |form: &HtmlForm| match self.kind {
            PageKind::Login => form.find(|control| control.kind == "password").is_some(),
            PageKind::Consent => form.has_button("allow"),
            PageKind::Logout => form.has_button("logout"),
            PageKind::FormPost | PageKind::Other => true,
        };
        forms(&self.html).into_iter().find(fits).expect("a form")
    }

    /// The parameters that a form-post page would send.
    pub fn form_post(&self) -> Callback {
        assert_eq!(self.kind, PageKind::FormPost, "{}", self.html);
        let form = self.form();
        let hidden = form.controls.iter().filter(|control| control.kind == "hidden");
        let parameters = hidden.map(|control| (control.name.clone(), control.value.clone())).collect();
        Callback { uri: form.action, parameters }
    }
}

impl Browser {
    /// One that only knows the node at `public_url`.
    pub fn new(public_url: &str) -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let origin = Url::parse(public_url).unwrap().origin().ascii_serialization();
        let (cookies, seen, nodes) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { http, origin, cookies, agent: None, seen, nodes, turn: 0 }
    }

    /// One whose every request goes to the next of `nodes`.
    pub fn balanced(public_url: &str, nodes: &[&str]) -> Self {
        let nodes = nodes.iter().map(|node| Url::parse(node).unwrap()).collect();
        Self { nodes, ..Self::new(public_url) }
    }

    /// What the person was asked: our pages but for those that only send an answer on.
    pub fn asked(&self) -> Vec<PageKind> {
        self.seen.iter().copied().filter(|kind| *kind != PageKind::FormPost).collect()
    }

    /// Where a request for `url` goes, and what it names as its host.
    fn address(&mut self, url: &Url) -> (Url, String) {
        let host = url.authority().to_owned();
        let Some(node) = self.nodes.get(self.turn % self.nodes.len().max(1)) else {
            return (url.clone(), host);
        };
        self.turn += 1;
        let mut address = url.clone();
        address.set_host(node.host_str()).unwrap();
        address.set_port(node.port()).unwrap();
        (address, host)
    }

    /// Follows a link.
    pub async fn open(&mut self, url: &str) -> Stop {
        self.walk(Url::parse(url).unwrap(), None).await
    }

    /// Sends a form that stands on another site: without `SameSite=Lax` cookies.
    pub async fn post_from_elsewhere(&mut self, url: &str, fields: &[(&str, &str)]) -> Stop {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let form = SentForm { fields, from: "https://rp.example.org".to_owned() };
        self.walk(Url::parse(url).unwrap(), Some(form)).await
    }

    /// Fills in the page's form and presses a button.
    pub async fn submit(&mut self, page: &Page, fill: &[(&str, &str)], press: &str) -> Stop {
        let form = page.form();
        assert_eq!(form.method, "post");
        let mut fields = Vec::new();
        for control in &form.controls {
            let filled =
                fill.iter().find(|(name, _)| *name == control.name).map(|(_, value)| (*value).to_owned());
            if control.tag == "input" {
                fields.push((control.name.clone(), filled.unwrap_or_else(|| control.value.clone())));
            } else if !press.is_empty() && control.name == press {
                fields.push((control.name.clone(), control.value.clone()));
            }
        }
        let form_of_page = SentForm { fields, from: self.origin.clone() };
        self.walk(page.url.join(&form.action).unwrap(), Some(form_of_page)).await
    }

    /// Presses the button of this name and value, in whichever form it is.
    pub async fn press(&mut self, page: &Page, name: &str, value: &str) -> Stop {
        let has = |form: &HtmlForm| {
            form.find(|control| control.tag == "button" && control.name == name && control.value == value)
                .is_some()
        };
        let form = forms(&page.html).into_iter().find(has).expect("a form with the button");
        let hidden = form.controls.iter().filter(|control| control.kind == "hidden");
        let mut fields: Vec<_> =
            hidden.map(|control| (control.name.clone(), control.value.clone())).collect();
        fields.push((name.to_owned(), value.to_owned()));
        self.send_form(page, &form.action, fields).await
    }

    /// Sends these fields to where a form of the page leads.
    pub async fn send_form(&mut self, page: &Page, action: &str, fields: Vec<(String, String)>) -> Stop {
        let form_of_page = SentForm { fields, from: self.origin.clone() };
        self.walk(page.url.join(action).unwrap(), Some(form_of_page)).await
    }

    /// Fills in the login form.
    pub async fn log_in(&mut self, page: &Page, person: &Person) -> Stop {
        assert_eq!(page.kind, PageKind::Login, "{}", page.html);
        let form = page.form();
        let login =
            form.find(|control| matches!(control.kind.as_str(), "text" | "email")).unwrap().name.clone();
        let password = form.find(|control| control.kind == "password").unwrap().name.clone();
        self.submit(page, &[(&login, &person.username), (&password, &person.password)], "").await
    }

    /// Goes all the way: logs in and allows where asked.
    pub async fn approve(&mut self, url: &str, person: &Person) -> Callback {
        let mut stop = self.open(url).await;
        for _ in 0..3 {
            stop = match stop {
                Stop::Callback(callback) => return callback,
                Stop::Page(page) => match page.kind {
                    PageKind::Login => self.log_in(&page, person).await,
                    PageKind::Consent => self.submit(&page, &[], "allow").await,
                    PageKind::FormPost => return page.form_post(),
                    PageKind::Logout | PageKind::Other => return Stop::Page(page).callback(),
                },
            };
        }
        match stop {
            Stop::Page(page) if page.kind == PageKind::FormPost => page.form_post(),
            Stop::Page(_) | Stop::Callback(_) => stop.callback(),
        }
    }

    async fn walk(&mut self, mut url: Url, mut form: Option<SentForm>) -> Stop {
        for _ in 0..HOPS_MAX {
            if url.origin().ascii_serialization() != self.origin {
                let parameters = url.query_pairs().into_owned().collect();
                url.set_query(None);
                return Stop::Callback(Callback { uri: url.to_string(), parameters });
            }
            let answer = self.send(&url, form.take()).await;
            let status = answer.status().as_u16();
            let headers = answer.headers().clone();
            if let Some(location) = headers.get(LOCATION) {
                assert!(matches!(status, 302 | 303), "{status}");
                url = url.join(location.to_str().unwrap()).unwrap();
                continue;
            }
            let html = answer.text().await.unwrap();
            let kind = kind(&html);
            self.seen.push(kind);
            return Stop::Page(Page { url, status, headers, html, kind });
        }
        panic!("too many redirects");
    }

    async fn send(&mut self, url: &Url, form: Option<SentForm>) -> reqwest::Response {
        let own = form.as_ref().is_none_or(|form| form.from == self.origin);
        let (address, host) = self.address(url);
        let request = match form {
            Some(form) => self.http.post(address).form(&form.fields).header("origin", form.from),
            None => self.http.get(address),
        };
        let request = request.header(HOST, host);
        let request =
            self.agent.into_iter().fold(request, |request, agent| request.header(USER_AGENT, agent));
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request =
            if cookies.is_empty() || !own { request } else { request.header(COOKIE, cookies.join("; ")) };
        let answer = request.send().await.unwrap();
        for cookie in answer.headers().get_all(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if cookie.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }
}

fn kind(html: &str) -> PageKind {
    let forms = forms(html);
    let any = |fits: &dyn Fn(&HtmlForm) -> bool| forms.iter().any(fits);
    if any(&|form| form.find(|control| control.kind == "password").is_some()) {
        PageKind::Login
    } else if any(&|form| form.has_button("allow")) {
        PageKind::Consent
    } else if any(&|form| form.has_button("logout")) {
        PageKind::Logout
    } else if any(&|form| form.action.starts_with("http")) {
        PageKind::FormPost
    } else {
        PageKind::Other
    }
}
