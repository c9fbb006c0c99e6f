//! From arguments to admin API requests.

use clap::CommandFactory as _;
use serde_json::{Value, json};

use super::*;

fn request(line: &str) -> (String, Option<Value>) {
    let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
    let request = match cli.command {
        Command::Tenant { action, .. } => action.request(),
        Command::User { action, .. } => action.request().unwrap(),
        Command::Client { action, .. } => action.request(),
        Command::Key { action, .. } => action.request(),
        Command::Cluster { action, .. } => action.request(),
        Command::Node { action, .. } => action.request(),
        Command::Region { action, .. } => action.request(),
        Command::Partition { action, .. } => action.request(),
        Command::Token { action, .. } => action.request(),
        Command::Dev(_)
        | Command::Demo(_)
        | Command::Init(_)
        | Command::Join(_)
        | Command::Start(_)
        | Command::Login(_)
        | Command::Logout(_)
        | Command::Status { .. }
        | Command::Audit { .. }
        | Command::Config { .. } => panic!("no admin request: {line}"),
    };
    (format!("{} {}", request.method, request.path), request.body)
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn how_long_to_wait_is_said_of_any_command_that_asks_the_cluster() {
    for line in ["domicile status --timeout 5", "domicile user delete --tenant t usr_1 --timeout 600"] {
        assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
    }
    for line in ["domicile status --timeout 0", "domicile status --timeout soon"] {
        assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
    }
}

#[test]
fn each_action_is_one_request() {
    for (line, expects) in [
        ("domicile tenant list", "GET /v1/tenants"),
        ("domicile tenant show acme", "GET /v1/tenants/acme"),
        ("domicile tenant delete a/b", "DELETE /v1/tenants/a%2Fb"),
        ("domicile user list --tenant acme", "GET /v1/tenants/acme/users"),
        ("domicile user list --tenant acme --username bob", "GET /v1/tenants/acme/users?username=bob"),
        (
            "domicile user list --tenant acme --username bob --email a+b@example.org",
            "GET /v1/tenants/acme/users?username=bob&email=a%2Bb%40example.org",
        ),
        ("domicile user show --tenant acme usr_1", "GET /v1/tenants/acme/users/usr_1"),
        ("domicile user delete --tenant acme usr_1", "DELETE /v1/tenants/acme/users/usr_1"),
        ("domicile client list --tenant acme --json", "GET /v1/tenants/acme/clients"),
        ("domicile client show --tenant acme https://x", "GET /v1/tenants/acme/clients/https%3A%2F%2Fx"),
        ("domicile cluster show", "GET /v1/cluster/settings"),
        ("domicile node list", "GET /v1/nodes"),
        ("domicile region list", "GET /v1/regions"),
        ("domicile partition list", "GET /v1/partitions"),
        ("domicile partition show 3", "GET /v1/partitions/3"),
        ("domicile partition digest 3", "GET /v1/partitions/3/digest"),
        ("domicile key list --tenant acme", "GET /v1/tenants/acme/keys"),
        ("domicile key revoke --tenant acme sig_1", "DELETE /v1/tenants/acme/keys/sig_1"),
        ("domicile client delete --tenant acme cli_1", "DELETE /v1/tenants/acme/clients/cli_1"),
    ] {
        assert_eq!(request(line), (expects.to_owned(), None), "{line}");
    }
}

#[test]
fn what_is_asked_of_the_cluster_is_in_path_and_body() {
    for (line, head, body) in [
        ("domicile node drain 2", "POST /v1/nodes/2/drain", json!({})),
        (
            "domicile key rotate --tenant acme --alg PS256",
            "POST /v1/tenants/acme/keys/rotate",
            json!({"alg": "PS256"}),
        ),
        (
            "domicile key period --tenant acme --active 86400 --retired 900",
            "PATCH /v1/tenants/acme",
            json!({"settings": {"key_active_ms": 86_400_000, "key_retired_ms": 900_000}}),
        ),
        ("domicile node drain 2 --undo", "POST /v1/nodes/2/activate", json!({})),
        ("domicile node decommission 2", "POST /v1/nodes/2/decommission", json!({})),
        ("domicile partition transfer-leader 1", "POST /v1/partitions/1/transfer-leader", json!({})),
        (
            "domicile partition transfer-leader 1 --to 3",
            "POST /v1/partitions/1/transfer-leader",
            json!({"to": 3}),
        ),
        ("domicile partition snapshot 3", "POST /v1/partitions/3/snapshot", json!({})),
        (
            "domicile token create --region eu-west --lifetime 60",
            "POST /v1/join-tokens",
            json!({"region": "eu-west", "lifetime_s": 60}),
        ),
        (
            "domicile tenant create acme --region eu-central --region eu-west --survive region",
            "POST /v1/tenants",
            json!({
                "slug": "acme",
                "display_name": "acme",
                "placement": {"regions": ["eu-central", "eu-west"], "survive": "region"},
            }),
        ),
        (
            "domicile tenant create acme --region any",
            "POST /v1/tenants",
            json!({"slug": "acme", "display_name": "acme", "placement": {"regions": "any", "survive": "zone"}}),
        ),
    ] {
        assert_eq!(request(line), (head.to_owned(), Some(body)), "{line}");
    }
}

#[test]
fn a_change_of_the_cluster_names_what_changes_and_at_least_one_thing() {
    for (line, head, body) in [
        (
            "domicile cluster set --name Example --dead-after 90",
            "PATCH /v1/cluster/settings",
            json!({"name": "Example", "dead_after_ms": 90_000}),
        ),
        (
            "domicile cluster set --default-region eu-central --default-survive zone",
            "PATCH /v1/cluster/settings",
            json!({"default_placement": {"regions": ["eu-central"], "survive": "zone"}}),
        ),
        (
            "domicile region set-jurisdiction eu-central de",
            "PATCH /v1/regions/eu-central",
            json!({"jurisdiction": "de"}),
        ),
        (
            "domicile partition set-placement 4 --survive region --prefer eu-west --prefer eu-north",
            "PATCH /v1/partitions/4/placement",
            json!({"survive": "region", "preferred_leader_regions": ["eu-west", "eu-north"]}),
        ),
        (
            "domicile partition set-placement 4 --prefer-none --read-replicas false",
            "PATCH /v1/partitions/4/placement",
            json!({"preferred_leader_regions": [], "read_replicas": false}),
        ),
    ] {
        assert_eq!(request(line), (head.to_owned(), Some(body)), "{line}");
    }
    for line in [
        "domicile cluster set",
        "domicile cluster set --default-survive region",
        "domicile partition set-placement 4",
        "domicile partition set-placement 4 --prefer eu-west --prefer-none",
    ] {
        assert!(Cli::try_parse_from(line.split_whitespace()).is_err(), "{line}");
    }
}

#[test]
fn create_says_what_was_given_and_nothing_else() {
    let (_, body) = request("domicile tenant create acme");
    assert_eq!(body, Some(json!({"slug": "acme", "display_name": "acme"})));
    let (head, body) = request("domicile user create --tenant acme alice --email a@example.org");
    assert_eq!(head, "POST /v1/tenants/acme/users");
    assert_eq!(body, Some(json!({"username": "alice", "email": "a@example.org"})));
}

#[test]
fn a_client_from_the_command_line_requires_pkce() {
    let (_, body) = request("domicile client create --tenant acme App --redirect-uri https://app.example/cb");
    assert_eq!(
        body,
        Some(json!({
            "client_name": "App",
            "redirect_uris": ["https://app.example/cb"],
            "post_logout_redirect_uris": [],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "client_secret_basic",
            "application_type": "web",
            "require_pkce": true,
        }))
    );
    let (_, body) =
        request("domicile client create --tenant t M2M --grant-type client_credentials --no-require-pkce");
    let body = body.unwrap();
    assert_eq!((&body["response_types"], &body["require_pkce"]), (&json!([]), &json!(false)));
}

#[test]
fn a_password_comes_from_a_file_and_never_from_an_argument() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("password");
    std::fs::write(&path, "correct horse\n").unwrap();
    let (_, body) =
        request(&format!("domicile user create --tenant t bob --password-file {}", path.display()));
    assert_eq!(body, Some(json!({"username": "bob", "password": "correct horse"})));
    assert!(
        Cli::try_parse_from(["domicile", "user", "create", "--tenant", "t", "bob", "--password", "x"])
            .is_err()
    );
}

#[test]
fn a_sign_in_is_of_one_cluster_with_or_without_a_browser_here() {
    let command = |line: &str| Cli::try_parse_from(line.split(' ')).map(|cli| cli.command);
    for line in ["domicile login", "domicile login --device --url https://id.example"] {
        assert!(matches!(command(line), Ok(Command::Login(_))), "{line}");
    }
    for line in ["domicile logout", "domicile logout --forget --url https://id.example"] {
        assert!(matches!(command(line), Ok(Command::Logout(_))), "{line}");
    }
    assert!(command("domicile tenant list --url https://id.example").is_ok(), "several may be signed in at");
    assert!(command("domicile login --forget").is_err());
}

#[test]
fn dev_has_the_flags_that_other_programs_rely_on() {
    let cli = Cli::try_parse_from(["domicile", "dev"]).unwrap();
    let Command::Dev(dev) = cli.command else { panic!("not dev") };
    assert_eq!(
        (dev.data_dir.to_str(), dev.listen.to_string().as_str()),
        (Some("./domicile-data"), "127.0.0.1:8080")
    );
    let line = "domicile dev --data-dir d --listen 127.0.0.1:0 --ready-file r --public-origin https://a --tls-cert c --tls-key k";
    Cli::try_parse_from(line.split(' ')).unwrap();
    assert!(
        Cli::try_parse_from(["domicile", "dev", "--tls-cert", "c"]).is_err(),
        "a certificate needs its key"
    );
}
