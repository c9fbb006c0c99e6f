//! A node's settings file.

use std::net::SocketAddr;

use url::Url;

use super::{Node, TOKEN};

/// Entries kept behind a snapshot: few, so that a node that was away needs a snapshot.
const LOG_ENTRIES: u32 = 100;

/// `door` is where other nodes reach it, `first` the origin in every issuer.
pub(super) fn text(node: &Node, door: SocketAddr, first: &Url, renews: bool) -> String {
    let peers = if renews { "[peers]\ncertificate_lifetime = \"60s\"\n" } else { "" };
    let authority = |url: &Url| url.authority().to_owned();
    let origin = |url: &Url| url.origin().ascii_serialization();
    format!(
        "public_origin = \"{first}\"\naliases = [\"{public_url}\"]\n\
         [node]\nregion = \"{region}\"\nzone = \"{zone}\"\n\
         [listen]\npublic = \"{public}\"\nadmin = \"{admin}\"\nmanagement = \"{management}\"\npeer = \"{peer}\"\n\
         [advertise]\npublic = \"{public_url}\"\nadmin = \"{admin_url}\"\nmanagement = \"{management_url}\"\npeer = \"{door}\"\n\
         [storage]\ndata_dir = {data:?}\ncache = \"8MiB\"\nlog_entries = {LOG_ENTRIES}\n\
         [admin]\ntoken = \"{TOKEN}\"\n[limits]\nrates = \"off\"\n[cluster]\ndead_after = \"1h\"\n{peers}\
         [log]\nformat = \"text\"\nfilter = \"info,openraft=error\"\n",
        first = origin(first),
        public_url = origin(&node.public),
        admin_url = origin(&node.admin),
        management_url = origin(&node.management),
        region = node.region,
        zone = node.zone,
        public = authority(&node.public),
        admin = authority(&node.admin),
        management = authority(&node.management),
        peer = node.peer,
        data = node.data().display().to_string(),
    )
}
