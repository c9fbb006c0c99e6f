//! HTTP servers: listeners, TLS, bounds, and what is done to every request before a handler sees it.

mod address;
mod connection;
mod front;
mod host;
mod listener;
mod management;
mod request_ids;
mod signal;
pub mod standing;
mod tls;

pub use address::client_address;
pub use connection::{Bounds, PeerAddress};
pub use front::{Front, Guard, HEADERS_ADDED, RequestScope};
pub use host::Hosts;
pub use listener::{BindError, Listener, Server};
pub use management::{Check, Readiness, ReadinessSource, routes as management_routes};
pub use signal::{SignalError, shutdown_signal};
pub use tls::{TlsError, TlsFiles};
