//! What commands say on standard output and standard error: the one place that writes there. `println!` would end
//! the program with a panic where nobody reads any more (`domicile status | head -1`).

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// 128 + SIGPIPE: as a shell tells the end of any other program whose output nobody reads.
const UNREAD: u8 = 141;

/// What a command says did not get out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// Who read it reads no more.
    #[error("nobody reads standard output any more")]
    Unread,
    /// A full disk, for example.
    #[error("cannot write to standard output")]
    Failed(#[source] io::Error),
}

/// Prints `text` as it is.
///
/// # Errors
/// [`OutputError`].
pub(crate) fn text(text: &str) -> Result<(), OutputError> {
    write(&mut io::stdout().lock(), text)
}

/// Prints a line.
///
/// # Errors
/// [`OutputError`].
pub(crate) fn line(line: fmt::Arguments<'_>) -> Result<(), OutputError> {
    text(&format!("{line}\n"))
}

/// Prints a line of a process that goes on whether it is read or not.
pub(crate) fn offer(offered: fmt::Arguments<'_>) {
    let _ = line(offered);
}

/// Says something on standard error. Who closed that wants to hear nothing.
pub(crate) fn note(noted: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "domicile: {noted}");
}

/// How the process ends: a failure is told on standard error. Output that nobody reads ends it quietly, with the
/// status that a shell shows for the end by SIGPIPE.
pub fn ended(outcome: anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    if is_unread(&error) {
        return ExitCode::from(UNREAD);
    }
    note(format_args!("{error:#}"));
    ExitCode::FAILURE
}

fn is_unread(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<OutputError>(), Some(OutputError::Unread))
}

fn write(out: &mut impl Write, text: &str) -> Result<(), OutputError> {
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|cause| {
        if cause.kind() == io::ErrorKind::BrokenPipe {
            OutputError::Unread
        } else {
            OutputError::Failed(cause)
        }
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    struct Refuses(io::ErrorKind);

    impl Write for Refuses {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_told_from_an_output_that_fails_and_from_a_pipe_of_somebody_else() {
        let failed = |kind| Err::<(), _>(write(&mut Refuses(kind), "text").unwrap_err());
        let unread = failed(io::ErrorKind::BrokenPipe).context("around it").unwrap_err();
        assert!(is_unread(&unread));
        let full = failed(io::ErrorKind::StorageFull).context("around it").unwrap_err();
        assert!(!is_unread(&full) && format!("{full:#}").contains("cannot write to standard output"));
        assert!(
            !is_unread(&io::Error::from(io::ErrorKind::BrokenPipe).into()),
            "of a connection, for example"
        );
        let mut out = Vec::new();
        write(&mut out, "two\nlines\n").unwrap();
        assert_eq!(out, b"two\nlines\n");
    }
}
