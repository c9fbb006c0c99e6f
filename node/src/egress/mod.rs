//! Requests to addresses that somebody else named: clients' key sets and sector documents, and where they
//! hear of logouts.
//!
//! Whoever registers a URL chooses where this node connects, so it is let out only to addresses of the public
//! internet and to networks that the settings name (`egress.allow_networks`). A name is resolved once, each
//! address is checked, and the connection goes to the address that was checked: what the name means a moment
//! later changes nothing. No redirect is followed, no cookie or credential is sent, and time and bytes are
//! bounded.
//!
//! Deliberately absent: proxies, connection pools, HTTP/2 and any method but GET and POST.

mod address;
mod fetch;
mod places;
mod sector;
mod trust;

pub use address::Reach;
pub use fetch::{Egress, EgressError, Fetch, Fetched};
pub use places::{Errand, Purpose};
pub use sector::{SectorFault, check_sector};
pub use trust::TrustError;
pub(crate) use trust::system_roots;
