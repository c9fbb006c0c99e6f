//! With what a node's process is started.

use std::path::PathBuf;
use std::process::Command;

/// Where Debian, and others, keep libfaketime for programs with threads.
const LIBRARIES: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];

/// What a node's processes have around them.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its settings.
    pub config: PathBuf,
    /// Its network namespace.
    pub space: Option<PathBuf>,
    /// A file that says how its wall clock goes (libfaketime). Without one the clock is the machine's.
    pub clock: Option<PathBuf>,
    /// Where it keeps what it sends to other nodes, if it was built so that it can (docs/adr/0029).
    pub sent: Option<PathBuf>,
    /// Whether it speaks to them in the clear, which takes such a build too.
    pub in_clear: bool,
}

/// What a build that can be looked into is asked by.
const SENT_TO: &str = "PEERS_SENT_TO";
const IN_CLEAR: &str = "PEERS_IN_CLEAR";

impl Start {
    /// Runs `binary`, which dies with the thread that starts it.
    pub(super) fn command(&self, binary: &std::path::Path) -> Command {
        let mut command = match &self.space {
            Some(space) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={}", space.display())).args(["--", "setpriv"]);
                command
            }
            None => Command::new("setpriv"),
        };
        command.args(["--pdeathsig", "KILL", "--"]);
        if let (Some(clock), Some(library)) = (&self.clock, faketime()) {
            command.arg("env").arg(format!("LD_PRELOAD={library}"));
            // Faked monotonic time hangs timers; a file that is read anew each time is what changes it.
            command.args(["FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME_NO_CACHE=1", "FAKETIME_DISABLE_SHM=1"]);
            command.arg(format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()));
        }
        command.arg(binary).env("DOMICILE_CONFIG", &self.config);
        // Only what this run asks for.
        command.env_remove(SENT_TO).env_remove(IN_CLEAR);
        if let Some(sent) = &self.sent {
            command.env(SENT_TO, sent);
        }
        if self.in_clear {
            command.env(IN_CLEAR, "1");
        }
        command
    }
}

/// Whether the links of a program can be looked into: the name of what asks for it stands in such a build only.
///
/// # Errors
/// It cannot be read.
pub fn can_be_looked_into(binary: &std::path::Path) -> anyhow::Result<bool> {
    let status = Command::new("grep").args(["-q", "-a", "-F", IN_CLEAR]).arg(binary).status()?;
    match status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => anyhow::bail!("`grep` cannot read {}", binary.display()),
    }
}

/// The library that fakes a program's wall clock.
pub fn faketime() -> Option<&'static str> {
    LIBRARIES.iter().copied().find(|path| std::path::Path::new(path).is_file())
}
