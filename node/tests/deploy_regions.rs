//! The example regions are what the program and systemd accept.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_domicile");

fn regions() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/regions");
    let mut regions: Vec<PathBuf> =
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    regions.sort();
    assert!(regions.len() >= 3, "three regions show a placement that survives one");
    regions
}

fn name(region: &Path) -> &str {
    region.file_name().unwrap().to_str().unwrap()
}

#[test]
fn every_configuration_passes_its_check_and_names_its_own_region() {
    for region in regions() {
        let file = region.join("domicile.toml");
        let output = Command::new(BINARY).env_clear().args(["config", "check"]).arg(&file).output().unwrap();
        let (said, failed) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{}: {failed}", file.display());
        assert!(said.contains(&format!("region {},", name(&region))), "{said}");
    }
}

#[test]
fn a_host_sets_its_own_zone_over_the_region_s_file() {
    let file = regions()[0].join("domicile.toml");
    let mut check = Command::new(BINARY);
    check.env_clear().env("DOMICILE__NODE__ZONE", "b").args(["config", "check"]).arg(&file);
    let said = String::from_utf8(check.output().unwrap().stdout).unwrap();
    assert!(said.contains("zone b"), "{said}");
}

/// Whether systemd is here to ask. With `DOMICILE_TOOLS=required`, as in CI, it has to be.
fn has_systemd() -> bool {
    let mut asked = Command::new("systemd-analyze");
    let asked = asked.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let found = asked.status().is_ok();
    let required = std::env::var("DOMICILE_TOOLS").is_ok_and(|value| value == "required");
    assert!(found || !required, "systemd-analyze is not installed (Debian's `systemd`)");
    if !found {
        eprintln!("SKIPPED: systemd-analyze is not installed (Debian's `systemd`), so no unit was verified");
    }
    found
}

#[test]
fn every_unit_passes_systemd_analyze_verify() {
    if !has_systemd() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    for region in regions() {
        // Verification looks for the program itself, which is not installed where tests run.
        let unit = fs::read_to_string(region.join("domicile.service")).unwrap();
        assert!(unit.contains("ExecStart=/usr/bin/domicile start "), "{unit}");
        let copy = scratch.path().join("domicile.service");
        fs::write(&copy, unit.replace("/usr/bin/domicile", BINARY)).unwrap();
        let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        // Whatever it says of this unit is a fault; of other units on this machine it may say what it likes.
        let faults: Vec<&str> = said.lines().filter(|line| line.contains("domicile")).collect();
        assert!(faults.is_empty(), "{}: {faults:#?}", region.display());
    }
}

#[test]
fn every_image_runs_the_program_as_nobody_s_root_on_its_region_s_file() {
    for region in regions() {
        let image = fs::read_to_string(region.join("Containerfile")).unwrap();
        let last = image.rsplit("\nFROM ").next().unwrap();
        assert!(last.contains(&format!("COPY deploy/regions/{}/domicile.toml ", name(&region))), "{last}");
        assert!(last.contains("\nUSER 10001:10001\n"), "{last}");
        assert!(last.contains("\nENTRYPOINT [\"/usr/bin/domicile\"]\n"), "{last}");
        for line in image.lines().filter(|line| line.starts_with("COPY ") && !line.contains("--from")) {
            let source = line.split(' ').nth(1).unwrap();
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(source);
            assert!(path.exists(), "{} copies `{source}`, which is not there", region.display());
        }
    }
}
