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
}

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
        command
    }
}

/// The library that fakes a program's wall clock.
pub fn faketime() -> Option<&'static str> {
    LIBRARIES.iter().copied().find(|path| std::path::Path::new(path).is_file())
}
