//! Every endpoint with its consistency: the one table. `docs/consistency.md` shows it to people, and a
//! test holds the two together.

use axum::http::Method;

use crate::admin::OPERATOR_TOKEN_PATH;

const JOIN_TOKENS: &str = "/v1/join-tokens";

/// What an endpoint needs of the node that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The tenant's signed entry, which every node has.
    Documents,
    /// A replica that can show that it is no staler than the tenant allows.
    Bounded,
    /// A replica after a read index, or one that has what the caller's consistency token names.
    Read,
    /// The leader of the tenant's home; of the directory where the path names no tenant.
    Write,
    /// Any node: its steps go to the leaders they need by themselves.
    Anywhere,
    /// The node that was asked, as it is.
    Local,
}

impl Class {
    /// As the documentation and the metrics name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Documents => "documents",
            Self::Bounded => "bounded",
            Self::Read => "read",
            Self::Write => "write",
            Self::Anywhere => "anywhere",
            Self::Local => "local",
        }
    }
}

/// Whether a request whose answer was lost may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Always: a second time changes nothing that anybody sees.
    Safe,
    /// With an `Idempotency-Key` only.
    WithKey,
    /// Never: a second use of a code ends what the first one gave.
    Never,
}

/// One route and method.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    /// `GET` stands for `HEAD` too.
    pub method: &'static str,
    /// As routed.
    pub path: &'static str,
    /// What it needs.
    pub class: Class,
    /// When its answer is lost.
    pub repeat: Repeat,
}

impl Endpoint {
    /// Whether its home is the directory, not that of a tenant.
    #[must_use]
    pub fn is_of_directory(&self) -> bool {
        let of_tenant = self.path.contains("{tenant}") || self.path.contains("{slug}");
        self.class == Class::Write && !of_tenant
    }

    /// Whether any voter of the directory carries it out, which its leader believes: a token's repeat is known in
    /// the region of the token alone, so that a node there is better than the leader.
    pub(crate) fn is_for_voters(&self) -> bool {
        self.path == JOIN_TOKENS
    }

    /// Whether its answer shows what is known of a person, and not only whether a token counts.
    pub(crate) fn shows_profiles(&self) -> bool {
        self.class == Class::Bounded && self.path.ends_with("/oauth2/userinfo")
    }

    /// Whether handling it may change something that stays.
    pub(crate) fn may_write(&self) -> bool {
        match self.class {
            Class::Write => true,
            Class::Anywhere | Class::Local => self.method != "GET",
            Class::Documents | Class::Bounded | Class::Read => false,
        }
    }
}

const fn document(path: &'static str) -> Endpoint {
    Endpoint { method: "GET", path, class: Class::Documents, repeat: Repeat::Safe }
}

const fn bounded(method: &'static str, path: &'static str) -> Endpoint {
    Endpoint { method, path, class: Class::Bounded, repeat: Repeat::Safe }
}

const fn read(path: &'static str) -> Endpoint {
    Endpoint { method: "GET", path, class: Class::Read, repeat: Repeat::Safe }
}

/// What browsers send on the way through our pages. A second time gives another session or code, and
/// nobody was handed the first.
const fn page(method: &'static str, path: &'static str) -> Endpoint {
    Endpoint { method, path, class: Class::Write, repeat: Repeat::Safe }
}

const fn write(method: &'static str, path: &'static str) -> Endpoint {
    Endpoint { method, path, class: Class::Write, repeat: Repeat::WithKey }
}

const fn anywhere(method: &'static str, path: &'static str) -> Endpoint {
    Endpoint { method, path, class: Class::Anywhere, repeat: Repeat::Never }
}

/// Carried out by the leader of the directory, whose orders other nodes obey.
const fn directory(method: &'static str, path: &'static str) -> Endpoint {
    Endpoint { method, path, class: Class::Write, repeat: Repeat::Never }
}

const fn local(method: &'static str, path: &'static str) -> Endpoint {
    Endpoint { method, path, class: Class::Local, repeat: Repeat::Never }
}

/// Every endpoint of the public and admin listeners.
pub const ENDPOINTS: &[Endpoint] = &[
    document("/t/{tenant}/.well-known/openid-configuration"),
    document("/.well-known/oauth-authorization-server/t/{tenant}"),
    document("/t/{tenant}/oauth2/jwks"),
    Endpoint { method: "OPTIONS", ..document("/t/{tenant}/.well-known/openid-configuration") },
    Endpoint { method: "OPTIONS", ..document("/.well-known/oauth-authorization-server/t/{tenant}") },
    Endpoint { method: "OPTIONS", ..document("/t/{tenant}/oauth2/jwks") },
    bounded("POST", "/t/{tenant}/oauth2/introspect"),
    bounded("GET", "/t/{tenant}/oauth2/userinfo"),
    bounded("POST", "/t/{tenant}/oauth2/userinfo"),
    bounded("OPTIONS", "/t/{tenant}/oauth2/userinfo"),
    bounded("OPTIONS", "/t/{tenant}/oauth2/par"),
    bounded("OPTIONS", "/t/{tenant}/oauth2/token"),
    bounded("OPTIONS", "/t/{tenant}/oauth2/revoke"),
    bounded("OPTIONS", "/t/{tenant}/oauth2/register"),
    bounded("OPTIONS", "/t/{tenant}/oauth2/register/{client_id}"),
    page("GET", "/t/{tenant}/oauth2/authorize"),
    page("POST", "/t/{tenant}/oauth2/authorize"),
    // A request pushed twice is two references, of which nobody was handed the first.
    page("POST", "/t/{tenant}/oauth2/par"),
    page("GET", "/t/{tenant}/login"),
    page("POST", "/t/{tenant}/login"),
    page("GET", "/t/{tenant}/login/continue"),
    page("POST", "/t/{tenant}/login/continue"),
    page("GET", "/t/{tenant}/consent"),
    page("POST", "/t/{tenant}/consent"),
    page("GET", "/t/{tenant}/oauth2/logout"),
    page("POST", "/t/{tenant}/oauth2/logout"),
    page("GET", "/t/{tenant}/logout"),
    page("POST", "/t/{tenant}/logout"),
    // What is ended twice is ended.
    page("GET", "/t/{tenant}/account"),
    page("POST", "/t/{tenant}/account"),
    page("GET", "/t/{tenant}/account/login"),
    page("POST", "/t/{tenant}/account/login"),
    // A code counts once, and what is shown once is not shown again.
    page("GET", "/t/{tenant}/login/second-factor"),
    Endpoint { repeat: Repeat::Never, ..write("POST", "/t/{tenant}/login/second-factor") },
    page("GET", "/t/{tenant}/login/second-factor/set-up"),
    Endpoint { repeat: Repeat::Never, ..write("POST", "/t/{tenant}/login/second-factor/set-up") },
    page("GET", "/t/{tenant}/account/login/second-factor"),
    Endpoint { repeat: Repeat::Never, ..write("POST", "/t/{tenant}/account/login/second-factor") },
    page("GET", "/t/{tenant}/account/second-factor"),
    Endpoint { repeat: Repeat::Never, ..write("POST", "/t/{tenant}/account/second-factor") },
    // The password that was the current one is not the second time.
    page("GET", "/t/{tenant}/account/password"),
    Endpoint { repeat: Repeat::Never, ..write("POST", "/t/{tenant}/account/password") },
    // A client registered twice is two, and a secret is shown once.
    page("GET", "/t/{tenant}/account/clients"),
    Endpoint { repeat: Repeat::Never, ..write("POST", "/t/{tenant}/account/clients") },
    page("GET", "/t/{tenant}/account/clients/{client_id}"),
    Endpoint { repeat: Repeat::Never, ..write("POST", "/t/{tenant}/account/clients/{client_id}") },
    page("GET", "/t/{tenant}/register"),
    // The name is taken by the first.
    Endpoint { repeat: Repeat::Never, ..write("POST", "/t/{tenant}/register") },
    page("GET", "/t/{tenant}/enrol"),
    // An invitation that was taken is not taken again.
    Endpoint { repeat: Repeat::Never, ..write("POST", "/t/{tenant}/enrol") },
    Endpoint { repeat: Repeat::Never, ..write("POST", "/t/{tenant}/oauth2/token") },
    // A second time gives other codes, and nobody was handed the first.
    page("POST", "/t/{tenant}/oauth2/device_authorization"),
    page("GET", "/t/{tenant}/device"),
    page("POST", "/t/{tenant}/device"),
    page("GET", "/t/{tenant}/device/done"),
    // A client registered twice is two clients; a token that was replaced opens nothing.
    Endpoint { repeat: Repeat::Never, ..write("POST", "/t/{tenant}/oauth2/register") },
    read("/t/{tenant}/oauth2/register/{client_id}"),
    Endpoint { repeat: Repeat::Never, ..write("PUT", "/t/{tenant}/oauth2/register/{client_id}") },
    Endpoint { repeat: Repeat::Never, ..write("DELETE", "/t/{tenant}/oauth2/register/{client_id}") },
    // Revoked twice is revoked.
    page("POST", "/t/{tenant}/oauth2/revoke"),
    anywhere("GET", "/v1/tenants"),
    anywhere("POST", "/v1/tenants"),
    read("/v1/tenants/{slug}"),
    write("PATCH", "/v1/tenants/{slug}"),
    anywhere("DELETE", "/v1/tenants/{slug}"),
    read("/v1/tenants/{slug}/users"),
    write("POST", "/v1/tenants/{slug}/users"),
    read("/v1/tenants/{slug}/users/{user_id}"),
    write("PATCH", "/v1/tenants/{slug}/users/{user_id}"),
    write("DELETE", "/v1/tenants/{slug}/users/{user_id}"),
    write("POST", "/v1/tenants/{slug}/users/{user_id}/password"),
    write("DELETE", "/v1/tenants/{slug}/users/{user_id}/second-factor"),
    read("/v1/tenants/{slug}/users/{user_id}/sessions"),
    write("DELETE", "/v1/tenants/{slug}/sessions/{session_id}"),
    read("/v1/tenants/{slug}/users/{user_id}/grants"),
    write("DELETE", "/v1/tenants/{slug}/users/{user_id}/grants/{client_id}"),
    read("/v1/tenants/{slug}/clients"),
    write("POST", "/v1/tenants/{slug}/clients"),
    read("/v1/tenants/{slug}/clients/{client_id}"),
    write("PATCH", "/v1/tenants/{slug}/clients/{client_id}"),
    write("DELETE", "/v1/tenants/{slug}/clients/{client_id}"),
    write("POST", "/v1/tenants/{slug}/clients/{client_id}/secret"),
    read("/v1/tenants/{slug}/initial-access-tokens"),
    write("POST", "/v1/tenants/{slug}/initial-access-tokens"),
    read("/v1/tenants/{slug}/initial-access-tokens/{token_id}"),
    write("DELETE", "/v1/tenants/{slug}/initial-access-tokens/{token_id}"),
    read("/v1/tenants/{slug}/keys"),
    write("POST", "/v1/tenants/{slug}/keys/rotate"),
    write("DELETE", "/v1/tenants/{slug}/keys/{kid}"),
    read("/v1/tenants/{slug}/events"),
    read("/v1/tenants/{slug}/events/export"),
    local("GET", "/v1/cluster"),
    local("GET", "/v1/cluster/settings"),
    write("PATCH", "/v1/cluster/settings"),
    local("GET", "/v1/nodes"),
    write("POST", "/v1/nodes/{id}/drain"),
    write("POST", "/v1/nodes/{id}/activate"),
    write("POST", "/v1/nodes/{id}/decommission"),
    local("GET", "/v1/regions"),
    write("PATCH", "/v1/regions/{name}"),
    local("GET", "/v1/partitions"),
    local("GET", "/v1/partitions/{id}"),
    local("GET", "/v1/partitions/{id}/digest"),
    local("GET", "/v1/partitions/{id}/placement"),
    write("PATCH", "/v1/partitions/{id}/placement"),
    directory("POST", "/v1/partitions/{id}/transfer-leader"),
    local("POST", "/v1/partitions/{id}/snapshot"),
    directory("POST", JOIN_TOKENS),
    local("GET", "/openapi.json"),
];

/// What nodes ask each other; on no listener.
const BETWEEN_NODES: &[Endpoint] = &[bounded("GET", OPERATOR_TOKEN_PATH)];

/// The endpoint of a request; `None` for a method that the route does not offer, which any node refuses.
pub(crate) fn of(method: &Method, path: &str) -> Option<&'static Endpoint> {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    let mut endpoints = ENDPOINTS.iter().chain(BETWEEN_NODES);
    endpoints.find(|endpoint| endpoint.path == path && endpoint.method == method)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use domicile_oidc::endpoint;

    use super::*;

    fn listed(prefix: &[&str]) -> BTreeSet<(String, String)> {
        let own = |path: &str| prefix.iter().any(|prefix| path.starts_with(prefix));
        let all = ENDPOINTS.iter().filter(|endpoint| own(endpoint.path));
        all.map(|endpoint| (endpoint.method.to_owned(), endpoint.path.to_owned())).collect()
    }

    fn path_named(name: &str) -> String {
        let of_tenant = |path: &str| format!("/t/{{tenant}}{path}");
        match name {
            "rfc8414" => format!("{}/t/{{tenant}}", endpoint::OAUTH_AUTHORIZATION_SERVER),
            "endpoint::OPENID_CONFIGURATION" => of_tenant(endpoint::OPENID_CONFIGURATION),
            "endpoint::JWKS" => of_tenant(endpoint::JWKS),
            "endpoint::AUTHORIZE" => of_tenant(endpoint::AUTHORIZE),
            "endpoint::PAR" => of_tenant(endpoint::PAR),
            "endpoint::TOKEN" => of_tenant(endpoint::TOKEN),
            "endpoint::INTROSPECT" => of_tenant(endpoint::INTROSPECT),
            "endpoint::DEVICE_AUTHORIZATION" => of_tenant(endpoint::DEVICE_AUTHORIZATION),
            "endpoint::DEVICE" => of_tenant(endpoint::DEVICE),
            "endpoint::DEVICE_DONE" => of_tenant(endpoint::DEVICE_DONE),
            "endpoint::REVOKE" => of_tenant(endpoint::REVOKE),
            "endpoint::USERINFO" => of_tenant(endpoint::USERINFO),
            "endpoint::REGISTER" => of_tenant(endpoint::REGISTER),
            "endpoint::REGISTRATION" => of_tenant(endpoint::REGISTRATION),
            "endpoint::LOGOUT" => of_tenant(endpoint::LOGOUT),
            "page::LOGIN" => of_tenant("/login"),
            "page::CONTINUE" => of_tenant("/login/continue"),
            "page::CONSENT" => of_tenant("/consent"),
            "page::LOGOUT" => of_tenant("/logout"),
            "page::ACCOUNT" => of_tenant("/account"),
            "page::ACCOUNT_LOGIN" => of_tenant("/account/login"),
            "page::SECOND_FACTOR" => of_tenant("/login/second-factor"),
            "page::SECOND_FACTOR_SET_UP" => of_tenant("/login/second-factor/set-up"),
            "page::ACCOUNT_VERIFY" => of_tenant("/account/login/second-factor"),
            "page::ACCOUNT_SECOND_FACTOR" => of_tenant("/account/second-factor"),
            "page::ACCOUNT_PASSWORD" => of_tenant("/account/password"),
            "page::OWN_CLIENTS" => of_tenant("/account/clients"),
            "page::OWN_CLIENT" => of_tenant("/account/clients/{client_id}"),
            "page::REGISTER" => of_tenant("/register"),
            "page::ENROL" => of_tenant("/enrol"),
            other => unreachable!("`{other}` is a new route: class it above, name it here"),
        }
    }

    /// What `public::routes` declares, read from its source: axum does not list routes.
    fn public_routes() -> BTreeSet<(String, String)> {
        let source = include_str!("../../public/mod.rs");
        let mut routes = BTreeSet::new();
        for line in source.lines().map(str::trim).filter(|line| line.starts_with(".route(")) {
            let named = line.trim_start_matches(".route(&of_tenant(").trim_start_matches(".route(&");
            let (name, handlers) = named.split_once(',').unwrap();
            for (call, method) in [
                ("get(", "GET"),
                ("post(", "POST"),
                ("put(", "PUT"),
                ("delete(", "DELETE"),
                ("options(", "OPTIONS"),
            ] {
                if handlers.contains(&format!(" {call}")) || handlers.contains(&format!(".{call}")) {
                    routes.insert((method.to_owned(), path_named(name.trim_end_matches(')'))));
                }
            }
        }
        routes
    }

    #[test]
    fn every_public_route_has_a_class() {
        assert_eq!(public_routes(), listed(&["/t/", "/.well-known/"]));
    }

    #[test]
    fn every_admin_route_has_a_class() {
        let described: BTreeSet<_> = crate::admin::operations().into_iter().collect();
        assert_eq!(described, listed(&["/v1/"]));
    }

    #[test]
    fn an_endpoint_is_found_by_method_and_route() {
        let class = |method, path| of(&method, path).map(|endpoint| endpoint.class);
        assert_eq!(class(Method::HEAD, "/t/{tenant}/oauth2/jwks"), Some(Class::Documents));
        assert_eq!(class(Method::POST, "/t/{tenant}/oauth2/token"), Some(Class::Write));
        assert_eq!(class(Method::DELETE, "/t/{tenant}/oauth2/token"), None);
        let mut seen = BTreeSet::new();
        assert!(ENDPOINTS.iter().all(|endpoint| seen.insert((endpoint.method, endpoint.path))));
    }

    #[test]
    fn persons_are_shown_at_userinfo_only() {
        let shown = ENDPOINTS.iter().filter(|endpoint| endpoint.shows_profiles());
        let shown: BTreeSet<_> = shown.map(|endpoint| (endpoint.method, endpoint.path)).collect();
        let userinfo = "/t/{tenant}/oauth2/userinfo";
        assert_eq!(shown, BTreeSet::from(["GET", "OPTIONS", "POST"].map(|method| (method, userinfo))));
    }

    #[test]
    fn what_may_be_sent_again_without_a_key_is_no_write_of_the_admin_api() {
        for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.path.starts_with("/v1/")) {
            assert_eq!(endpoint.repeat == Repeat::Safe, endpoint.class == Class::Read, "{endpoint:?}");
        }
    }
}
