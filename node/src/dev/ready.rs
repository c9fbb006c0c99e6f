//! What a development node says once it serves: a file for programs, a banner for a person.

use std::path::Path;

use domicile_oidc::endpoint;
use domicile_raft::Clock;
use serde::Serialize;
use url::Url;

use crate::private_file;
use crate::random_text::random_text;

/// The ready file. Other programs rely on these names.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Ready {
    /// The demo tenant's issuer.
    pub issuer: String,
    /// Origin of OIDC and pages.
    pub public_url: String,
    /// Base of the admin API, without `/v1`.
    pub admin_url: String,
    /// Base of `/livez`, `/readyz` and `/metrics`.
    pub management_url: String,
    /// Bearer token of the admin API.
    pub admin_token: String,
    /// Slug of the demo tenant.
    pub tenant: String,
    /// The demo client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// Its redirect URIs.
    pub redirect_uris: Vec<String>,
    /// Login name of the demo user.
    pub username: String,
    /// Their password.
    pub password: String,
    /// This process.
    pub pid: u32,
}

impl Ready {
    /// Writes the file, whole or not at all, mode 0600: it holds credentials.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        private_file::replace(path, &text)
    }

    /// For the terminal. The authorization URL asks for a code with a fresh state and nonce; after the
    /// login the browser goes to the first redirect URI, where nobody may be listening.
    pub fn banner(&self, clock: &dyn Clock) -> String {
        let row = |name: &str, value: &str| format!("  {name:<12}{value}\n");
        let mut out = format!("Domicile {} serves (development mode)\n\n", env!("CARGO_PKG_VERSION"));
        out += &row("issuer", &self.issuer);
        out += &row("login", &format!("{}  password  {}", self.username, self.password));
        out += &row("client", &format!("{}  secret  {}", self.client_id, self.client_secret));
        out += &row("admin API", &format!("{}/v1  token  {}", self.admin_url, self.admin_token));
        out += &row("management", &self.management_url);
        out += "\nLog in with a browser:\n\n  ";
        out += &self.authorization_url(clock);
        out += "\n\nCtrl-C stops the node; everything is kept.\n";
        out
    }

    fn authorization_url(&self, clock: &dyn Clock) -> String {
        let endpoint = format!("{}{}", self.issuer, endpoint::AUTHORIZE);
        let redirect_uri = self.redirect_uris.first().map(String::as_str).unwrap_or_default();
        let (state, nonce) = (random_text(clock, 12), random_text(clock, 12));
        let query = [
            ("response_type", "code"),
            ("client_id", &self.client_id),
            ("redirect_uri", redirect_uri),
            ("scope", "openid profile email"),
            ("state", &state),
            ("nonce", &nonce),
        ];
        Url::parse_with_params(&endpoint, query).map_or(endpoint, String::from)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use domicile_raft::Timestamp;
    use domicile_raft::testing::ManualClock;

    use super::*;

    fn ready() -> Ready {
        let text = |text: &str| text.to_owned();
        Ready {
            issuer: text("http://127.0.0.1:8080/t/demo"),
            public_url: text("http://127.0.0.1:8080"),
            admin_url: text("http://127.0.0.1:8080"),
            management_url: text("http://127.0.0.1:9090"),
            admin_token: text("token"),
            tenant: text("demo"),
            client_id: text("demo"),
            client_secret: text("secret"),
            redirect_uris: vec![text("http://127.0.0.1:9999/cb"), text("http://localhost:3000/callback")],
            username: text("demo"),
            password: text("password"),
            pid: 7,
        }
    }

    #[test]
    fn the_ready_file_has_the_members_that_other_programs_rely_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ready.json");
        ready().write(&path).unwrap();
        let found: BTreeMap<String, serde_json::Value> =
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "admin_token",
                "admin_url",
                "client_id",
                "client_secret",
                "issuer",
                "management_url",
                "password",
                "pid",
                "public_url",
                "redirect_uris",
                "tenant",
                "username",
            ]
        );
        assert_eq!(found["pid"], 7);
    }

    #[test]
    fn the_banner_holds_a_code_request_that_can_be_clicked() {
        let banner = ready().banner(&ManualClock::new(Timestamp(0), 1));
        let link = banner
            .lines()
            .find_map(|line| line.trim().strip_prefix("http://127.0.0.1:8080/t/demo/oauth2/authorize?"));
        let query: BTreeMap<_, _> =
            url::form_urlencoded::parse(link.unwrap().as_bytes()).into_owned().collect();
        assert_eq!(query["response_type"], "code");
        assert_eq!(query["redirect_uri"], "http://127.0.0.1:9999/cb");
        assert_eq!(query["scope"], "openid profile email");
        assert_ne!(query["state"], query["nonce"]);
        assert!(!query.contains_key("code_challenge"));
    }
}
