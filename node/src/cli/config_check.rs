//! `domicile config check`.

use std::path::Path;

use crate::config::{self, Config, Kek};

/// Reads the file and the environment as a node would; prints what the node would use.
pub(super) fn run(file: &Path) -> anyhow::Result<()> {
    let config = config::load(Some(file), std::env::vars(), Config::default())?;
    config.check_complete()?;
    let origin = config.public_origin.as_ref().map(url::Url::as_str).unwrap_or_default();
    let place = |name: &Option<String>| name.clone().unwrap_or_default();
    let kek = match &config.kek {
        Some(Kek::File(path)) => format!("file {}", path.display()),
        Some(Kek::Env(name)) => format!("environment variable {name}"),
        Some(Kek::Command(words)) => format!("command {}", words.join(" ")),
        None => format!("{} (made at the first start)", config.storage.data_dir.join("node.kek").display()),
    };
    println!("{}: ok", file.display());
    let law =
        config.node.jurisdiction.as_ref().map_or_else(String::new, |name| format!(", jurisdiction {name}"));
    println!("place       region {}, zone {}{law}", place(&config.node.region), place(&config.node.zone));
    println!("public      {} as {}", config.listen.public, origin.trim_end_matches('/'));
    for alias in &config.aliases {
        println!("            also as {}", alias.as_str().trim_end_matches('/'));
    }
    println!("admin       {}", config.listen.admin);
    println!("management  {}", config.listen.management);
    println!("peers       {} as {}", config.listen.peer, config.peer_address());
    println!(
        "tls         {}",
        config.tls.as_ref().map_or("none".to_owned(), |tls| tls.cert.display().to_string())
    );
    println!("kek         {kek}");
    println!("data        {}", config.storage.data_dir.display());
    Ok(())
}
