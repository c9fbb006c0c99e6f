//! `domicile config check`.

use std::path::Path;

use crate::config::{self, Config};

/// Reads the file and the environment as a node would; prints what the node would use.
pub(super) fn run(file: &Path) -> anyhow::Result<()> {
    let config = config::load(Some(file), std::env::vars(), Config::default())?;
    config.check_complete()?;
    let origin = config.public_origin.as_ref().map(url::Url::as_str).unwrap_or_default();
    println!("{}: ok", file.display());
    println!("public      {} as {}", config.listen.public, origin.trim_end_matches('/'));
    println!("admin       {}", config.listen.admin);
    println!("management  {}", config.listen.management);
    println!(
        "tls         {}",
        config.tls.as_ref().map_or("none".to_owned(), |tls| tls.cert.display().to_string())
    );
    println!("data        {}", config.storage.data_dir.display());
    Ok(())
}
