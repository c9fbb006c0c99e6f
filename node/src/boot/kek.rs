//! The region's key-encryption key, from where the configuration says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use domicile_iam::seal::{FixedKek, Kek, SealError};
use domicile_raft::Clock;
use zeroize::Zeroizing;

use crate::config;
use crate::private_file;

/// The first version. Others come with rotation.
const VERSION: u32 = 1;
const DEVELOPMENT_FILE: &str = "dev.kek";
const NODE_FILE: &str = "node.kek";

/// The key-encryption key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KekError {
    /// A file cannot be read or written.
    #[error("cannot use the key-encryption key in {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The variable is not set.
    #[error("environment variable {0} holds no key-encryption key")]
    Env(String),
    /// The program failed. What it printed is not repeated.
    #[error("`{program}` gave no key-encryption key: {reason}")]
    Command {
        /// Which.
        program: String,
        /// Why.
        reason: String,
    },
    /// Not 32 bytes or 64 hexadecimal digits.
    #[error("the key-encryption key is not 32 bytes or 64 hexadecimal digits")]
    Length(#[source] SealError),
}

/// The node's key-encryption key: from where the settings say, or made up on the first start in the data
/// directory. It is never sent anywhere.
///
/// # Errors
/// [`KekError`].
pub fn node_kek(
    source: Option<&config::Kek>,
    data_dir: &Path,
    clock: &dyn Clock,
) -> Result<FixedKek, KekError> {
    source.map_or_else(|| own_kek(&data_dir.join(NODE_FILE), clock), load_kek)
}

/// Reads the key-encryption key.
///
/// # Errors
/// [`KekError`].
pub fn load_kek(source: &config::Kek) -> Result<FixedKek, KekError> {
    match source {
        config::Kek::File(path) => of_bytes(&read(path)?),
        config::Kek::Env(name) => {
            let text = std::env::var(name).map(Zeroizing::new).map_err(|_| KekError::Env(name.clone()))?;
            of_bytes(text.as_bytes())
        }
        config::Kek::Command(words) => of_bytes(&run(words)?),
    }
}

/// The key-encryption key of a development node: made up on the first start, in its data directory.
/// It protects nothing from whoever has that directory.
///
/// # Errors
/// [`KekError`].
pub fn development_kek(data_dir: &Path, clock: &dyn Clock) -> Result<FixedKek, KekError> {
    own_kek(&data_dir.join(DEVELOPMENT_FILE), clock)
}

fn own_kek(path: &Path, clock: &dyn Clock) -> Result<FixedKek, KekError> {
    if !path.exists() {
        let mut key = Zeroizing::new([0_u8; 32]);
        clock.fill_random(key.as_mut_slice());
        // Of two first starts one wins; both read what it made.
        private_file::create(path, key.as_slice())
            .map_err(|cause| KekError::File { path: path.to_owned(), cause })?;
    }
    of_bytes(&read(path)?)
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, KekError> {
    fs::read(path).map(Zeroizing::new).map_err(|cause| KekError::File { path: path.to_owned(), cause })
}

fn run(words: &[String]) -> Result<Zeroizing<Vec<u8>>, KekError> {
    let (program, arguments) =
        words.split_first().map_or(("", words), |(first, rest)| (first.as_str(), rest));
    let failed = |reason: String| KekError::Command { program: program.to_owned(), reason };
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|cause| failed(cause.to_string()))?;
    let printed = Zeroizing::new(output.stdout);
    if output.status.success() { Ok(printed) } else { Err(failed(output.status.to_string())) }
}

fn of_bytes(bytes: &[u8]) -> Result<FixedKek, KekError> {
    Kek::from_bytes(VERSION, bytes).map(|kek| FixedKek::new(kek, Vec::new())).map_err(KekError::Length)
}

#[cfg(test)]
mod tests {
    use domicile_raft::Timestamp;
    use domicile_raft::testing::ManualClock;

    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn command(words: &[&str]) -> Result<(), String> {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        load_kek(&config::Kek::Command(words)).map(|_| ()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_program_prints_it() {
        assert_eq!(command(&["echo", HEX]), Ok(()));
        assert_eq!(command(&["false"]), Err("`false` gave no key-encryption key: exit status: 1".to_owned()));
        let short = "the key-encryption key is not 32 bytes or 64 hexadecimal digits";
        assert_eq!(command(&["echo", "abc"]), Err(short.to_owned()));
        assert!(command(&["/nonexistent/program"]).is_err());
    }

    #[test]
    fn a_file_holds_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kek");
        assert!(matches!(load_kek(&config::Kek::File(path.clone())), Err(KekError::File { .. })));
        fs::write(&path, format!("{HEX}\n")).unwrap();
        load_kek(&config::Kek::File(path)).unwrap();
        let missing = load_kek(&config::Kek::Env("DOMICILE_NO_SUCH_VARIABLE".to_owned()));
        assert!(matches!(missing, Err(KekError::Env(_))));
    }

    #[test]
    fn a_development_node_makes_one_and_keeps_it() {
        let directory = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(Timestamp(0), 1);
        development_kek(directory.path(), &clock).unwrap();
        let first = fs::read(directory.path().join(DEVELOPMENT_FILE)).unwrap();
        development_kek(directory.path(), &clock).unwrap();
        assert_eq!(fs::read(directory.path().join(DEVELOPMENT_FILE)).unwrap(), first);
    }
}
