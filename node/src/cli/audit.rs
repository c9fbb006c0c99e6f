//! `domicile audit verify`.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_iam::audit::{self, Report};

use super::output;

/// Checks an export offline. An export that does not hold is a failure that names the first bad event.
pub(super) fn verify(path: &Path, root_key: Option<&str>) -> anyhow::Result<()> {
    let pinned = root_key.map(parse_key).transpose()?;
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let report = audit::verify(BufReader::new(file), pinned.as_ref())
        .with_context(|| format!("{} cannot be checked", path.display()))?;
    judge(path, &report)?;
    output::line(format_args!("{}: ok", path.display()))?;
    output::line(format_args!("tenant    {}", report.tenant))?;
    output::line(format_args!("events    {} checked, the last is event {}", report.good, report.last))?;
    output::line(format_args!("root key  {}", URL_SAFE_NO_PAD.encode(report.root_public)))?;
    if pinned.is_none() {
        output::line(format_args!(
            "The root key comes from the export itself. Give the tenant's with --root-key to rule out a forgery."
        ))?;
    }
    Ok(())
}

fn judge(path: &Path, report: &Report) -> anyhow::Result<()> {
    let Some(bad) = &report.bad else { return Ok(()) };
    let line = bad.line.map(|line| format!(" (line {line})")).unwrap_or_default();
    anyhow::bail!(
        "{}: event {}{line}: {}; {} events before it hold",
        path.display(),
        bad.sequence,
        bad.flaw,
        report.good
    )
}

fn parse_key(text: &str) -> anyhow::Result<[u8; 32]> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.with_context(|| "--root-key is not the base64url of 32 bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use domicile_iam::audit::{BadEvent, Flaw};
    use domicile_iam::ids::{Id as _, TenantId};

    use super::*;

    fn report(bad: Option<BadEvent>) -> Report {
        Report { tenant: TenantId::from_bytes([1; 16]), root_public: [2; 32], good: 6, last: 6, bad }
    }

    #[test]
    fn the_first_bad_event_is_named_with_its_line() {
        let path = Path::new("audit.jsonl");
        judge(path, &report(None)).unwrap();
        let bad = BadEvent { sequence: 7, line: Some(8), flaw: Flaw::Content };
        let message = judge(path, &report(Some(bad))).unwrap_err().to_string();
        assert_eq!(
            message,
            "audit.jsonl: event 7 (line 8): stored bytes are not this event; 6 events before it hold"
        );
    }

    #[test]
    fn a_file_that_is_no_export_or_a_key_that_is_none_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let message = |key| format!("{:#}", verify(&path, key).unwrap_err());
        assert!(message(None).starts_with("cannot read "), "{}", message(None));
        std::fs::write(&path, "hello\n").unwrap();
        assert!(
            message(None).ends_with("the first line is not the header of an audit export"),
            "{}",
            message(None)
        );
        assert_eq!(message(Some("abc")), "--root-key is not the base64url of 32 bytes");
    }
}
