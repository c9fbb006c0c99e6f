//! Reads the file and the environment into settings.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Origin, Problem};
use super::keys::{Draft, Halves, KEYS, KeySpec, Raw};
use super::{Config, check};

const ENV_PREFIX: &str = "DOMICILE__";
/// Beyond this many edits a suggestion would be a guess.
const NEAR_EDITS_MAX: usize = 4;

/// Reads `file` (if any), then the overrides in `env`, on top of `defaults`.
///
/// # Errors
/// [`ConfigError`]: the first thing wrong, with its place.
pub fn load(
    file: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
    defaults: Config,
) -> Result<Config, ConfigError> {
    let text = match file {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })?,
        None => String::new(),
    };
    load_text(file.unwrap_or_else(|| Path::new("(none)")), &text, env, defaults)
}

/// As [`load`], with the file's text at hand; `path` is for messages.
///
/// # Errors
/// [`ConfigError`]: the first thing wrong, with its place.
pub fn load_text(
    path: &Path,
    text: &str,
    env: impl Iterator<Item = (String, String)>,
    defaults: Config,
) -> Result<Config, ConfigError> {
    let mut draft = Draft { config: defaults, halves: Halves::default() };
    let table = DeTable::parse(text).map_err(|cause| ConfigError::Syntax {
        path: path.to_owned(),
        line: line_of(text, cause.span().map_or(0, |span| span.start)),
        message: cause.message().to_owned(),
    })?;
    let place = |offset| Origin::File { path: path.to_owned(), line: line_of(text, offset) };
    read_table(&mut draft, "", table.get_ref(), &place)?;
    read_env(&mut draft, env)?;
    check::finish(draft)
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn read_table(
    draft: &mut Draft,
    section: &str,
    table: &DeTable<'_>,
    place: &dyn Fn(usize) -> Origin,
) -> Result<(), ConfigError> {
    for (name, value) in table {
        let path = if section.is_empty() {
            name.get_ref().to_string()
        } else {
            format!("{section}.{}", name.get_ref())
        };
        let origin = place(name.span().start);
        if let DeValue::Table(inner) = value.get_ref() {
            if !KEYS.iter().any(|key| key.path.split_once('.').is_some_and(|(known, _)| known == path)) {
                return Err(unknown(origin, path));
            }
            read_table(draft, &path, inner, place)?;
        } else {
            let raw = raw_of(value.get_ref()).map_err(|reason| wrong(origin.clone(), &path, reason))?;
            assign(draft, &path, &raw, origin)?;
        }
    }
    Ok(())
}

fn raw_of(value: &DeValue<'_>) -> Result<Raw, String> {
    match value {
        DeValue::String(text) => Ok(Raw::Text(text.to_string())),
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix())
            .map(Raw::Integer)
            .map_err(|_| format!("{} is not a whole number from 0 on", number.as_str())),
        DeValue::Array(items) => items
            .iter()
            .map(|item| {
                item.get_ref()
                    .as_str()
                    .map(str::to_owned)
                    .ok_or("expected a list of texts in quotes".to_owned())
            })
            .collect::<Result<_, _>>()
            .map(Raw::List),
        DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Table(_) => {
            Err(format!("expected text, a number or a list, found a {}", value.type_str()))
        }
    }
}

/// The environment in name order, so that the first error is always the same one.
fn read_env(draft: &mut Draft, env: impl Iterator<Item = (String, String)>) -> Result<(), ConfigError> {
    let mut given: Vec<(String, String)> = env.filter(|(name, _)| name.starts_with(ENV_PREFIX)).collect();
    given.sort_unstable();
    for (name, value) in given {
        let path = name.trim_start_matches(ENV_PREFIX).replace("__", ".").to_ascii_lowercase();
        assign(draft, &path, &Raw::Text(value), Origin::Env(name))?;
    }
    Ok(())
}

fn assign(draft: &mut Draft, path: &str, raw: &Raw, origin: Origin) -> Result<(), ConfigError> {
    let (spec, raw) = match find(path) {
        Some((spec, false)) => (spec, raw.clone()),
        Some((spec, true)) => {
            let (file, read) = from_file(raw).map_err(|reason| wrong(origin.clone(), path, reason))?;
            draft.config.secret_files.push(file);
            (spec, read)
        }
        None => return Err(unknown(origin, path.to_owned())),
    };
    (spec.set)(draft, &raw).map_err(|reason| wrong(origin, path, reason))
}

/// The key of that path, and whether it was named with `_file`.
fn find(path: &str) -> Option<(&'static KeySpec, bool)> {
    KEYS.iter().find_map(|spec| {
        if spec.path == path {
            return Some((spec, false));
        }
        (spec.secret && path.strip_suffix("_file") == Some(spec.path)).then_some((spec, true))
    })
}

fn from_file(raw: &Raw) -> Result<(PathBuf, Raw), String> {
    let Raw::Text(path) = raw else { return Err("expected the path of a file".to_owned()) };
    let path = PathBuf::from(path);
    let text =
        std::fs::read_to_string(&path).map_err(|cause| format!("cannot read {}: {cause}", path.display()))?;
    Ok((path, Raw::Text(text.trim_end_matches(['\r', '\n']).to_owned())))
}

fn wrong(origin: Origin, key: &str, reason: String) -> ConfigError {
    ConfigError::Key { origin, problem: Problem::Value { key: key.to_owned(), reason } }
}

fn unknown(origin: Origin, key: String) -> ConfigError {
    let nearest = nearest(&key);
    ConfigError::Key { origin, problem: Problem::Unknown { key, nearest } }
}

/// The known key with the fewest edits; a key in the wrong section is near its namesake.
fn nearest(key: &str) -> Option<&'static str> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let distance = |known: &str| {
        let whole = strsim::damerau_levenshtein(key, known);
        whole.min(strsim::damerau_levenshtein(&last(key), &last(known)) + 1)
    };
    let best = KEYS.iter().map(|spec| (distance(spec.path), spec.path)).min()?;
    (best.0 <= NEAR_EDITS_MAX.min(key.len() / 2)).then_some(best.1)
}
