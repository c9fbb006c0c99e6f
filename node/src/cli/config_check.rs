//! `domicile config check`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::output;
use crate::config::{self, Config, Kek};

/// Permission bits of a file for who is neither its owner nor of its group.
const OTHERS: u32 = 0o007;

/// Reads the file and the environment as a node would; prints what the node would use.
pub(super) fn run(file: &Path) -> anyhow::Result<()> {
    let config = config::load(Some(file), std::env::vars(), Config::default())?;
    config.check_complete()?;
    for path in open_to_others(&config) {
        let path = path.display();
        output::note(format_args!(
            "everybody on this host can use the secret in {path}: run `chmod o= {path}`"
        ));
    }
    let mut lines = vec![format!("{}: ok", file.display())];
    lines.extend(used(&config));
    Ok(output::line(format_args!("{}", lines.join("\n")))?)
}

/// What the node would use, one thing a line.
fn used(config: &Config) -> Vec<String> {
    let origin = config.public_origin.as_ref().map(url::Url::as_str).unwrap_or_default();
    let place = |name: &Option<String>| name.clone().unwrap_or_default();
    let law =
        config.node.jurisdiction.as_ref().map_or_else(String::new, |name| format!(", jurisdiction {name}"));
    let kek = match &config.kek {
        Some(Kek::File(path)) => format!("file {}", path.display()),
        Some(Kek::Env(name)) => format!("environment variable {name}"),
        Some(Kek::Command(words)) => format!("command {}", words.join(" ")),
        None => format!("{} (made at the first start)", config.storage.data_dir.join("node.kek").display()),
    };
    let tls = config.tls.as_ref().map_or("none".to_owned(), |tls| tls.cert.display().to_string());
    let mut lines = vec![
        format!("place       region {}, zone {}{law}", place(&config.node.region), place(&config.node.zone)),
        format!("public      {} as {}", config.listen.public, origin.trim_end_matches('/')),
    ];
    let aliases = config.aliases.iter().map(|alias| alias.as_str().trim_end_matches('/'));
    lines.extend(aliases.map(|alias| format!("            also as {alias}")));
    lines.extend([
        format!("admin       {}", config.listen.admin),
        format!("management  {}", config.listen.management),
        format!("peers       {} as {}", config.listen.peer, config.peer_address()),
        format!("tls         {tls}"),
        format!("kek         {kek}"),
        format!("data        {}", config.storage.data_dir.display()),
    ]);
    lines
}

/// The files with secrets that others than their owner and group may read, write or run. One that is not there
/// yet, or cannot be seen by who asks, is not among them.
fn open_to_others(config: &Config) -> Vec<PathBuf> {
    let mut secret = config.secret_files.clone();
    if let Some(Kek::File(path)) = &config.kek {
        secret.push(path.clone());
    }
    secret.extend(config.tls.iter().map(|tls| tls.key.clone()));
    secret.extend(config.cluster.join_file.clone());
    let open = |path: &PathBuf| fs::metadata(path).is_ok_and(|file| file.permissions().mode() & OTHERS != 0);
    secret.retain(open);
    secret
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn a_file_with_a_secret_that_everybody_may_read_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for (name, mode) in [("token", 0o644), ("kek", 0o640), ("tls.key", 0o604)] {
            fs::write(path(name), "0123456789abcdef0123456789abcdef\n").unwrap();
            fs::set_permissions(path(name), Permissions::from_mode(mode)).unwrap();
        }
        let text = format!(
            "[admin]\ntoken_file = {:?}\n[kek]\nfile = {:?}\n[tls]\ncert = {:?}\nkey = {:?}\n[cluster]\njoin_file = {:?}\n",
            path("token"),
            path("kek"),
            path("tls.key"),
            path("tls.key"),
            path("not there"),
        );
        let config = config::load_text(Path::new("t"), &text, std::iter::empty(), Config::default()).unwrap();
        assert_eq!(open_to_others(&config), [path("token"), path("tls.key")]);
        let closed = |name| fs::set_permissions(path(name), Permissions::from_mode(0o600)).unwrap();
        ["token", "tls.key"].into_iter().for_each(closed);
        assert_eq!(open_to_others(&config), Vec::<PathBuf>::new());
    }
}
