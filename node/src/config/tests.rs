//! Tables over whole files and environments.

use std::path::Path;

use super::{Config, ForwardedHeader, Kek, LogFormat, load_text};

fn read(text: &str, env: &[(&str, &str)]) -> Result<Config, String> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load_text(Path::new("node.toml"), text, env, Config::default()).map_err(|error| error.to_string())
}

const FULL: &str = r#"
public_origin = "https://id.example.org"
trusted_proxies = ["10.0.0.0/8", "::1"]
forwarded_header = "forwarded"
aliases = ["https://node1.example.org:8443"]

[node]
region = "eu-central"
zone = "a"

[advertise]
peer = "node1.example.org:8445"
public = "https://node1.example.org:8443"
admin = "https://node1.example.org:8444"
management = "http://10.0.0.1:9090"

[cluster]
dead_after = "10m"
join_file = "/etc/domicile/join"

[peers]
certificate_lifetime = "12h"

[listen]
peer = "[::]:8445"
public = "[::]:8443"
admin = "127.0.0.1:8444"
management = "127.0.0.1:9090"

[tls]
cert = "/etc/domicile/cert.pem"
key = "/etc/domicile/key.pem"

[storage]
data_dir = "/var/lib/domicile"
cache = "128MiB"
log_entries = 5000

[kek]
command = ["/usr/bin/fetch-kek", "eu-central"]

[egress]
allow_networks = ["10.7.0.0/16", "::1"]
ca_file = "/etc/domicile/partners.pem"

[admin]
token = "0123456789abcdef0123456789abcdef"

[limits]
body = "256KiB"
request_timeout = "5s"
connections = 1000
login_per_name = 5

[log]
format = "text"
filter = "domicile=debug,info"
"#;

#[test]
fn a_full_file_is_read() {
    let config = read(FULL, &[]).unwrap();
    assert_eq!(config.public_origin.as_ref().map(url::Url::as_str), Some("https://id.example.org/"));
    assert_eq!(config.trusted_proxies.len(), 2);
    assert_eq!(config.forwarded_header, ForwardedHeader::Forwarded);
    assert_eq!(config.egress.allow_networks.len(), 2);
    assert_eq!(config.egress.ca_file.as_deref(), Some(Path::new("/etc/domicile/partners.pem")));
    assert_eq!((config.storage.cache_bytes, config.storage.log_entries), (128 << 20, 5000));
    assert_eq!(
        config.kek,
        Some(Kek::Command(vec!["/usr/bin/fetch-kek".to_owned(), "eu-central".to_owned()]))
    );
    assert_eq!(config.limits.body_bytes, 256 << 10);
    assert_eq!(config.limits.connections, 1000);
    assert_eq!(config.limits.rates.map(|rates| rates.login_per_name), Some(5));
    assert_eq!(config.log.format, LogFormat::Text);
    assert_eq!((config.node.region.as_deref(), config.node.zone.as_deref()), (Some("eu-central"), Some("a")));
    assert_eq!(config.peer_address(), "node1.example.org:8445");
    assert_eq!(config.cluster.dead_after.as_secs(), 600);
    assert_eq!(config.peers.certificate_lifetime.as_secs(), 12 * 3_600);
    config.check_complete().unwrap();
}

#[test]
fn the_environment_wins_over_the_file() {
    let env = [
        ("DOMICILE__STORAGE__CACHE", "16MiB"),
        ("DOMICILE__TRUSTED_PROXIES", "192.0.2.1, 2001:db8::/32"),
        ("DOMICILE__LIMITS__CONNECTIONS", "77"),
        ("DOMICILE_ADMIN_URL", "not a setting"),
    ];
    let config = read(FULL, &env).unwrap();
    assert_eq!((config.storage.cache_bytes, config.limits.connections), (16 << 20, 77));
    assert_eq!(config.trusted_proxies.len(), 2);
    assert_eq!(config.trusted_proxies.first().map(ToString::to_string).as_deref(), Some("192.0.2.1/32"));
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (text, expects) in [
        ("\npublic_orign = \"x\"", "node.toml:2: unknown key `public_orign`; did you mean `public_origin`?"),
        (
            "[storage]\ncahce = \"1MiB\"",
            "node.toml:2: unknown key `storage.cahce`; did you mean `storage.cache`?",
        ),
        ("data_dir = \"/x\"", "node.toml:1: unknown key `data_dir`; did you mean `storage.data_dir`?"),
        ("[server]\nport = 1", "node.toml:1: unknown key `server`"),
        ("zzz = 1", "node.toml:1: unknown key `zzz`"),
        (
            "[storage]\ncache = 64",
            "node.toml:2: `storage.cache`: expected text in quotes, found the number 64",
        ),
        ("[storage]\ncache = \"1KiB\"", "node.toml:2: `storage.cache`: `1KiB` is not between 8MiB and 64GiB"),
        (
            "[limits]\nrequest_timeout = \"1h\"",
            "node.toml:2: `limits.request_timeout`: `1h` is not between 1s and 2m",
        ),
        (
            "[limits]\nconnections = -1",
            "node.toml:2: `limits.connections`: -1 is not a whole number from 0 on",
        ),
        ("[limits]\nconnections = 1", "node.toml:2: `limits.connections`: 1 is not between 16 and 1000000"),
        ("[log]\nformat = \"xml\"", "node.toml:2: `log.format`: `xml` is not `text` or `json`"),
        (
            "[log]\nformat = true",
            "node.toml:2: `log.format`: expected text, a number or a list, found a boolean",
        ),
        (
            "public_origin = \"http://id.example.org\"",
            "node.toml:1: `public_origin`: `http://id.example.org` needs https: plain HTTP is for loopback only",
        ),
        (
            "public_origin = \"https://id.example.org/path\"",
            "node.toml:1: `public_origin`: `https://id.example.org/path` is not an origin such as `https://id.example.org`",
        ),
        (
            "forwarded_header = \"via\"",
            "node.toml:1: `forwarded_header`: `via` is not `x-forwarded-for` or `forwarded`",
        ),
        (
            "trusted_proxies = [\"nowhere\"]",
            "node.toml:1: `trusted_proxies`: `nowhere` is not an address or a network such as `10.0.0.0/8` or `2001:db8::/32`",
        ),
        ("[tls]\ncert = \"c\"", "`tls.cert` needs `tls.key`"),
        ("[kek]\nenv = \"A\"\nfile = \"b\"", "give one of `kek.file`, `kek.env` and `kek.command`"),
        (
            "[admin]\ntoken = \"short\"",
            "node.toml:2: `admin.token`: must be at least 32 printable ASCII characters without spaces",
        ),
        (
            "[admin]\ntoken_file = \"/nonexistent/t\"",
            "node.toml:2: `admin.token_file`: cannot read /nonexistent/t: No such file or directory (os error 2)",
        ),
    ] {
        assert_eq!(read(text, &[]).map(|_| ()), Err(expects.to_owned()), "{text}");
    }
}

#[test]
fn broken_toml_names_its_line() {
    let error = read("public_origin = \"https://a\"\n[listen\n", &[]).unwrap_err();
    assert!(error.starts_with("node.toml:2: "), "{error}");
}

#[test]
fn unknown_overrides_are_refused_too() {
    let got = read("", &[("DOMICILE__LOG__FORMATT", "text")]).map(|_| ());
    let expects =
        "environment variable DOMICILE__LOG__FORMATT: unknown key `log.formatt`; did you mean `log.format`?";
    assert_eq!(got, Err(expects.to_owned()));
}

#[test]
fn a_secret_comes_from_a_file_and_is_never_shown() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    std::fs::write(&path, "0123456789abcdef0123456789abcdef\n").unwrap();
    let config = read(&format!("[admin]\ntoken_file = {:?}", path.display().to_string()), &[]).unwrap();
    assert_eq!(
        config.admin.token.as_ref().map(super::Secret::expose),
        Some("0123456789abcdef0123456789abcdef")
    );
    assert!(!format!("{config:?}").contains("0123456789abcdef"));
}

#[test]
fn plain_http_is_for_loopback_only() {
    let config = read("[listen]\npublic = \"0.0.0.0:80\"", &[]).unwrap();
    let message = config.check_transport().unwrap_err().to_string();
    assert_eq!(
        message,
        "`listen.public` = 0.0.0.0:80 needs `tls.cert` and `tls.key`: plain HTTP is for loopback only"
    );
    let config = read("[listen]\npublic = \"[::1]:8080\"", &[]).unwrap();
    config.check_transport().unwrap();
}

#[test]
fn probes_and_figures_are_for_this_machine_unless_a_network_is_meant() {
    let loopback = "[listen]\npublic = \"127.0.0.1:8080\"\n";
    let checked = |more: &str| {
        let config = read(&format!("{loopback}{more}"), &[]).unwrap();
        config.check_transport().map_err(|error| error.to_string())
    };
    let everywhere = "management = \"0.0.0.0:9090\"\n";
    let refused = checked(everywhere).unwrap_err();
    assert!(
        refused.starts_with("`listen.management` = 0.0.0.0:9090 needs `listen.management_open"),
        "{refused}"
    );
    assert_eq!(checked(&format!("{everywhere}management_open = \"off\"\n")), Err(refused));
    assert_eq!(checked(&format!("{everywhere}management_open = \"on\"\n")), Ok(()));
    assert_eq!(checked("management = \"[::1]:9090\"\n"), Ok(()));
    let unclear = read("[listen]\nmanagement_open = \"yes\"", &[]).unwrap_err();
    assert_eq!(unclear, "node.toml:2: `listen.management_open`: `yes` is not `on` or `off`");
}

#[test]
fn a_node_of_a_cluster_says_where_it_is_and_how_it_is_reached() {
    let complete = |text: &str| {
        read(text, &[]).and_then(|config| config.check_complete().map_err(|error| error.to_string()))
    };
    let origin = "public_origin = \"https://id.example.org\"\n[tls]\ncert = \"c\"\nkey = \"k\"\n";
    let place = "[node]\nregion = \"eu-central\"\nzone = \"a\"\n";
    let reach = "[advertise]\npeer = \"[2001:db8::1]:8445\"\n";
    let delay = "[peers]\ndelay_ms = [\"us-east=45\"]\n";
    let local = "[listen]\npeer = \"127.0.0.1:8445\"\n";
    let patience = |timeout: &str| format!("[limits]\nrequest_timeout = \"{timeout}\"\n");
    let bounds = "`limits.request_timeout` must be between 5s and 30s in a cluster";
    for (text, expects) in [
        (origin.to_owned(), "`node.region` is needed, such as `eu-central`"),
        (format!("{origin}[node]\nregion = \"eu-central\""), "`node.zone` is needed, such as `a`"),
        (
            format!("{origin}{place}"),
            "`advertise.peer` is needed, such as `node1.example.org:8445`: `listen.peer` = 0.0.0.0:8445 is no \
             address that others can reach",
        ),
        (format!("{origin}{place}{reach}{delay}"), "`peers.delay_ms` is for nodes on loopback only"),
        (format!("{origin}{place}{reach}{}", patience("4s")), bounds),
        (format!("{origin}{place}{reach}{}", patience("31s")), bounds),
    ] {
        assert_eq!(complete(&text), Err(expects.to_owned()), "{text}");
    }
    assert_eq!(complete(&format!("{origin}{place}{reach}")), Ok(()));
    assert_eq!(complete(&format!("{origin}{place}{reach}{}", patience("5s"))), Ok(()));
    assert_eq!(complete(&format!("{origin}{place}{local}{delay}")), Ok(()));
}

#[test]
fn a_node_says_whose_law_holds_where_it_runs() {
    assert_eq!(
        read("[node]\njurisdiction = \"in\"\n", &[]).unwrap().node.jurisdiction.as_deref(),
        Some("in")
    );
    assert_eq!(read("", &[]).unwrap().node.jurisdiction, None);
    let refused = read("[node]\njurisdiction = \"The Moon\"\n", &[]).unwrap_err();
    assert!(refused.contains("node.jurisdiction"), "{refused}");
}
