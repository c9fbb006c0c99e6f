//! How the harness speaks to a node, or to any OpenID provider: HTTP, a browser, the protocol.

mod browser;
mod html;
mod http;
pub mod place;
mod provider;

pub use browser::{Browser, BrowserError, Callback, Person};
pub use http::{Answer, Door, Http, Lost};
pub use provider::{App, Provider, ProviderError, pkce};
