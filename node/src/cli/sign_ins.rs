//! Where a user's sign-ins are kept: `$XDG_CONFIG_HOME/domicile/tokens/`, else `~/.config/domicile/tokens/`, one file
//! for each cluster, and `domicile/token` from before there could be several.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use domicile_raft::Timestamp;

use super::stored_token::{StoredToken, origin};
use super::token_endpoint::TokenEndpoint;
use super::trust::Trust;
use crate::config::Secret;

/// What else is in the folder is being written.
const EXTENSION: &str = "json";

/// Which sign-in is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted<'a> {
    /// That of the cluster with this public origin.
    At(&'a str),
    /// That of the cluster whose admin API is at this URL, which may have a name and port of its own.
    Reaching(&'a str),
}

/// The sign-ins of one user.
pub(super) struct SignIns {
    folder: PathBuf,
}

/// One of them.
pub(super) struct Kept {
    pub(super) path: PathBuf,
    pub(super) token: StoredToken,
}

impl SignIns {
    /// Of who runs this; `None` without a home.
    pub(super) fn of_user() -> Option<Self> {
        let folder = folder_in(
            std::env::var_os("XDG_CONFIG_HOME").map(Into::into),
            std::env::var_os("HOME").map(Into::into),
        );
        folder.map(|folder| Self { folder })
    }

    /// Keeps a token in the place of the one before.
    pub(super) fn keep(&self, token: &StoredToken) -> anyhow::Result<PathBuf> {
        let origin = token.origin()?;
        let path = self.tokens().join(file_name(&origin));
        token.store(&path)?;
        let older = self.single();
        if StoredToken::load(&older).is_ok_and(|older| older.is_some_and(|older| is_at(&older, &origin))) {
            remove(&older)?;
        }
        Ok(path)
    }

    /// The sign-in that is meant; `None` if there is none.
    ///
    /// # Errors
    /// It could be one or another, or a file cannot be used.
    pub(super) fn find(&self, wanted: Wanted<'_>) -> anyhow::Result<Option<Kept>> {
        let mut all = self.all()?;
        let chosen = choose(&all.keys().map(String::as_str).collect::<Vec<_>>(), wanted)?;
        Ok(chosen.and_then(|origin| all.remove(&origin)))
    }

    fn tokens(&self) -> PathBuf {
        self.folder.join("tokens")
    }

    fn single(&self) -> PathBuf {
        self.folder.join("token")
    }

    /// By public origin.
    fn all(&self) -> anyhow::Result<BTreeMap<String, Kept>> {
        let folder = self.tokens();
        let mut paths = vec![self.single()];
        match std::fs::read_dir(&folder) {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
            entries => {
                for entry in entries.with_context(|| format!("cannot read {}", folder.display()))? {
                    paths.push(entry.with_context(|| format!("cannot read {}", folder.display()))?.path());
                }
            }
        }
        let mut all = BTreeMap::new();
        let single = self.single();
        let is_one = |path: &Path| path == single || path.extension().is_some_and(|name| name == EXTENSION);
        for path in paths.into_iter().filter(|path| is_one(path)) {
            if let Some(token) = StoredToken::load(&path)? {
                all.insert(token.origin()?, Kept { path, token });
            }
        }
        Ok(all)
    }
}

impl Kept {
    /// Removes it here.
    pub(super) fn forget(&self) -> anyhow::Result<()> {
        remove(&self.path)
    }
}

fn remove(path: &Path) -> anyhow::Result<()> {
    std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
}

fn is_at(token: &StoredToken, wanted: &str) -> bool {
    token.origin().is_ok_and(|origin| origin == wanted)
}

/// The origin in letters that any file system takes.
fn file_name(origin: &str) -> String {
    let name: String = url::form_urlencoded::byte_serialize(origin.as_bytes()).collect();
    format!("{name}.{EXTENSION}")
}

/// Of the origins in `kept` the one that is meant. A token goes to no cluster that it may not be for: where it could
/// be one or another, the user says.
fn choose(kept: &[&str], wanted: Wanted<'_>) -> anyhow::Result<Option<String>> {
    let url = match wanted {
        Wanted::At(url) => {
            let wanted = origin(url)?;
            return Ok(kept.contains(&wanted.as_str()).then_some(wanted));
        }
        Wanted::Reaching(url) => url,
    };
    let wanted = origin(url)?;
    if kept.contains(&wanted.as_str()) {
        return Ok(Some(wanted));
    }
    let of_host = |origin: &str| host(origin).is_some_and(|name| Some(name) == host(&wanted));
    let on_this_host = is_loopback(&wanted);
    // What was got over TLS crosses no network in clear.
    let may_go = |origin: &str| on_this_host || is_https(&wanted) || !is_https(origin);
    let near: Vec<&str> = kept.iter().copied().filter(|origin| of_host(origin) && may_go(origin)).collect();
    match (near.as_slice(), kept) {
        ([one], _) => Ok(Some((*one).to_owned())),
        ([], [one]) if on_this_host => Ok(Some((*one).to_owned())),
        ([], []) => Ok(None),
        (_, _) => anyhow::bail!("signed in at {}: give --url with the one that is meant", kept.join(", ")),
    }
}

fn host(origin: &str) -> Option<String> {
    url::Url::parse(origin).ok()?.host_str().map(str::to_owned)
}

fn is_https(origin: &str) -> bool {
    origin.starts_with("https://")
}

fn is_loopback(origin: &str) -> bool {
    let Ok(url) = url::Url::parse(origin) else { return false };
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// XDG Base Directory Specification: a path that is not absolute is ignored.
fn folder_in(xdg: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let config = xdg.filter(|path| path.is_absolute());
    let config = config.or_else(|| home.filter(|home| home.is_absolute()).map(|home| home.join(".config")));
    config.map(|config| config.join("domicile"))
}

/// The token to use now, exchanged for its successor if it is about to end; `None` if nobody signed in.
pub(super) async fn current(
    now: Timestamp,
    trust: &Trust,
    wanted: Wanted<'_>,
) -> anyhow::Result<Option<Secret>> {
    let Some(sign_ins) = SignIns::of_user() else { return Ok(None) };
    let Some(Kept { path, token: stored }) = sign_ins.find(wanted)? else { return Ok(None) };
    if !stored.ends_soon(now) {
        return Ok(Some(Secret::new(stored.access_token)));
    }
    let refresh_token = stored.refresh_token.context("the sign-in has ended: run `domicile login`")?;
    let endpoint = TokenEndpoint::at(&stored.token_endpoint, trust)?;
    let refreshed = endpoint.refresh(&refresh_token, now).await;
    let fresh = refreshed.context("the sign-in cannot be renewed: run `domicile login`")?;
    fresh.store(&path)?;
    Ok(Some(Secret::new(fresh.access_token)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(origin: &str, access_token: &str) -> StoredToken {
        let endpoint = format!("{origin}/t/system/oauth2/token");
        StoredToken::new(&endpoint, access_token.to_owned(), None, Timestamp(100_000))
    }

    #[test]
    fn the_folder_is_below_the_configuration_directory() {
        let folder = |xdg: Option<&str>, home: Option<&str>| {
            folder_in(xdg.map(Into::into), home.map(Into::into)).map(|path| path.display().to_string())
        };
        assert_eq!(folder(Some("/x"), Some("/h")), Some("/x/domicile".to_owned()));
        assert_eq!(folder(None, Some("/h")), Some("/h/.config/domicile".to_owned()));
        assert_eq!(folder(Some("relative"), Some("/h")), Some("/h/.config/domicile".to_owned()));
        assert_eq!(folder(Some(""), None), None);
    }

    #[test]
    fn a_token_goes_to_the_cluster_that_gave_it_and_to_no_other() {
        let (one, two, three) = ("https://id.example", "http://127.0.0.1:8080", "http://127.0.0.1:9090");
        let chosen = |kept: &[&str], wanted| choose(kept, wanted).map_err(|error| error.to_string());
        let at = |origin: &str| Ok(Some(origin.to_owned()));
        assert_eq!(chosen(&[one, two], Wanted::At("https://id.example:443/")), at(one));
        assert_eq!(chosen(&[one], Wanted::At(two)), Ok(None), "what is named is meant");
        assert_eq!(chosen(&[one, two], Wanted::Reaching("http://127.0.0.1:8080")), at(two));
        assert_eq!(chosen(&[one, two], Wanted::Reaching("http://127.0.0.1:8444")), at(two), "the same host");
        for url in ["http://127.0.0.1:8444", "http://[::1]:8444", "http://localhost"] {
            assert_eq!(chosen(&[one], Wanted::Reaching(url)), at(one), "the only one, and this host");
        }
        assert_eq!(chosen(&[one, two], Wanted::Reaching("https://id.example:8444")), at(one));
        let clear = "http://id.example";
        assert_eq!(chosen(&[clear], Wanted::Reaching("http://id.example:8444")), at(clear));
        assert_eq!(chosen(&[], Wanted::Reaching(two)), Ok(None));
        let cases = [
            (&[two, three][..], "http://127.0.0.1:1"),
            (&[one, two], "https://admin.example"),
            (&[one], "https://admin.example:8444"),
            (&[one], "http://id.example:8444"),
        ];
        for (kept, url) in cases {
            let refused = chosen(kept, Wanted::Reaching(url)).unwrap_err();
            assert!(
                refused.contains("--url") && kept.iter().all(|origin| refused.contains(origin)),
                "{refused}"
            );
        }
    }

    #[test]
    fn each_cluster_has_a_file_and_one_from_before_is_found_until_it_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let sign_ins = SignIns { folder: directory.path().to_owned() };
        let (one, two) = ("https://id.example", "http://[::1]:8080");
        let read = |origin| {
            let found = sign_ins.find(Wanted::At(origin)).unwrap();
            found.map(|kept| kept.token.access_token)
        };
        assert_eq!(read(one), None);
        token(one, "before").store(&sign_ins.single()).unwrap();
        sign_ins.keep(&token(two, "two")).unwrap();
        assert_eq!((read(one).as_deref(), read(two).as_deref()), (Some("before"), Some("two")));
        sign_ins.keep(&token(one, "one")).unwrap();
        assert!(!sign_ins.single().exists() && read(one).as_deref() == Some("one"));
        let left = sign_ins.tokens().join(file_name(two) + ".new");
        std::fs::write(left, "half of").unwrap();
        sign_ins.find(Wanted::At(one)).unwrap().unwrap().forget().unwrap();
        assert_eq!((read(one), read(two).as_deref()), (None, Some("two")));
    }
}
