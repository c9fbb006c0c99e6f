//! The program under test. Beside this one it is built first where cargo runs this one; else it is refused if what it
//! was built from has changed since. What was run is told by its version and its hash.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use aws_lc_rs::digest::{Context, SHA256};

use crate::enclosure;

const NAME: &str = "domicile";
/// What cargo tells the programs that it runs.
const CARGO: &str = "CARGO";
const MANIFEST_DIR: &str = "CARGO_MANIFEST_DIR";
const BLOCK: usize = 1 << 20;

/// The program beside this one, `with_bugs` if it is to have them on purpose (docs/adr/0025).
///
/// # Errors
/// It cannot be built, or is older than what it was built from.
pub fn beside(with_bugs: bool) -> anyhow::Result<PathBuf> {
    let me = std::env::current_exe().context("cannot find this program")?;
    let binary = me.with_file_name(NAME);
    let cargo = std::env::var_os(CARGO).zip(std::env::var_os(MANIFEST_DIR));
    if let Some((cargo, package)) = cargo.filter(|_| !enclosure::is_inside())
        && let Some(mut order) = order(&me, &cargo, Path::new(&package), with_bugs)
    {
        let status = order.status().context("cannot run cargo")?;
        ensure!(status.success(), "`cargo build -p {NAME}` failed");
    }
    if let Some(source) = changed_since(&binary) {
        bail!(
            "{} is older than {}: build it (`cargo build -p {NAME}`) or name it with --binary",
            binary.display(),
            source.display()
        );
    }
    Ok(binary)
}

/// Builds it where this program is, with the profile of this one. `None` if this program is not where cargo puts
/// programs.
fn order(me: &Path, cargo: &OsStr, package: &Path, with_bugs: bool) -> Option<Command> {
    let folder = me.parent()?;
    let profile = folder.file_name()?.to_str()?;
    if matches!(profile, "deps" | "examples") {
        return None;
    }
    let mut order = Command::new(cargo);
    order.args(["build", "-p", NAME, "--manifest-path"]).arg(package.join("Cargo.toml"));
    // Below it there may be the folder of a target, which is as good.
    order.arg("--target-dir").arg(folder.parent()?);
    match profile {
        "debug" => {}
        "release" => {
            order.arg("--release");
        }
        other => {
            order.args(["--profile", other]);
        }
    }
    if with_bugs {
        order.args(["--features", "domicile/seeded-bugs"]);
    }
    Some(order)
}

/// A source of a program that was changed after the program was made, by what cargo wrote of it. Of a program without
/// that nothing is known.
fn changed_since(binary: &Path) -> Option<PathBuf> {
    let made = |path: &Path| std::fs::metadata(path).and_then(|about| about.modified()).ok();
    let built = made(binary)?;
    let told = std::fs::read_to_string(binary.with_extension("d")).ok()?;
    sources(&told).into_iter().find(|source| made(source).is_some_and(|made| made > built))
}

/// The files behind the first colon of a rule for `make`. A space in a name has a backslash before it.
fn sources(told: &str) -> Vec<PathBuf> {
    let Some((_, listed)) = told.lines().next().and_then(|rule| rule.split_once(": ")) else {
        return Vec::new();
    };
    let (mut found, mut name) = (Vec::new(), String::new());
    let mut letters = listed.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if letters.next_if_eq(&' ').is_some() => name.push(' '),
            ' ' => found.push(std::mem::take(&mut name)),
            other => name.push(other),
        }
    }
    found.push(name);
    found.into_iter().filter(|name| !name.is_empty()).map(PathBuf::from).collect()
}

/// Version and SHA-256 of a program, for reports.
///
/// # Errors
/// It is not there, or does not run.
pub fn told(binary: &Path) -> anyhow::Result<String> {
    let mut file = std::fs::File::open(binary).with_context(|| {
        format!(
            "{} is not there: build it (`cargo build -p {NAME}`) or name it with --binary",
            binary.display()
        )
    })?;
    let (mut hash, mut block) = (Context::new(&SHA256), vec![0; BLOCK]);
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            break;
        }
        hash.update(block.get(..read).unwrap_or_default());
    }
    let mut hex = String::new();
    for byte in hash.finish().as_ref() {
        // Writing into a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    let output = Command::new(binary).arg("--version").output();
    let output = output.with_context(|| format!("cannot run {}", binary.display()))?;
    let version = String::from_utf8_lossy(&output.stdout);
    Ok(format!("{}, sha256 {hex}", version.lines().next().unwrap_or("(without a version)").trim()))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::{Duration, SystemTime};

    use super::*;

    fn ordered(me: &str, with_bugs: bool) -> Option<String> {
        let order = order(Path::new(me), OsStr::new("cargo"), Path::new("/w/jepsen"), with_bugs)?;
        let arguments: Vec<_> = order.get_args().map(|one| one.to_string_lossy().into_owned()).collect();
        Some(arguments.join(" "))
    }

    #[test]
    fn it_is_built_where_this_program_is_with_its_profile() {
        let common = "build -p domicile --manifest-path /w/jepsen/Cargo.toml --target-dir";
        let wanted = |rest: &str| Some(format!("{common} {rest}"));
        assert_eq!(ordered("/t/debug/domicile-jepsen", false), wanted("/t"));
        assert_eq!(ordered("/t/release/domicile-jepsen", false), wanted("/t --release"));
        assert_eq!(ordered("/t/x86/quick/domicile-jepsen", false), wanted("/t/x86 --profile quick"));
        let bugs = wanted("/t --features domicile/seeded-bugs");
        assert_eq!(ordered("/t/debug/domicile-jepsen", true), bugs);
        assert_eq!(ordered("/t/debug/deps/domicile-jepsen", false), None);
    }

    #[test]
    fn a_program_is_stale_once_one_of_its_sources_was_changed() {
        let folder = tempfile::tempdir().unwrap();
        let (binary, source) = (folder.path().join("domicile"), folder.path().join("a b.rs"));
        let at = |path: &Path, second: u64| {
            let file = File::options().create(true).append(true).open(path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(second)).unwrap();
        };
        at(&binary, 20);
        at(&source, 10);
        assert_eq!(changed_since(&binary), None, "nothing is known of it");
        let escaped = source.display().to_string().replace(' ', "\\ ");
        let rule = format!("{}: /not/there.rs {escaped}\n", binary.display());
        std::fs::write(folder.path().join("domicile.d"), rule).unwrap();
        assert_eq!(changed_since(&binary), None);
        at(&source, 30);
        assert_eq!(changed_since(&binary), Some(source));
    }

    #[test]
    fn a_program_is_told_by_what_it_says_and_what_it_is() {
        let told = told(Path::new("/bin/sh"));
        // Not every shell knows the question; its hash it has.
        assert!(told.unwrap().split_once(", sha256 ").is_some_and(|(_, hash)| hash.len() == 64));
        assert!(super::told(Path::new("/no/such/program")).is_err());
    }
}
