//! Everything that a run makes of the system, it makes in namespaces of its own: mounts, networks and
//! processes. The kernel takes them all away when the first process in there ends, however it ends; names
//! and addresses of two runs cannot collide.
//!
//! The program runs itself again in there, and the first one waits outside. If that one is killed, the one
//! within is killed too.

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};

/// In which a program finds that it is the second of its kind.
const INSIDE: &str = "DOMICILE_JEPSEN_ENCLOSED";
const FAILED: u8 = 3;
/// Control groups are the one thing that the kernel does not take away; this is where they are.
pub(crate) const GROUPS: &str = "/sys/fs/cgroup";
const PREFIX: &str = "domicile-chaos-";
/// Looks at groups whose last process is just dying, 100 ms apart.
const LOOKS: u32 = 30;

/// Whether this process may make one.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether this process is in one.
pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs this program again in an enclosure, to its end; `None` if it is in one already. Call it on the main
/// thread: what it starts ends with that thread.
///
/// # Errors
/// Not root, or no `unshare`.
pub fn enter() -> anyhow::Result<Option<ExitCode>> {
    if is_inside() {
        up()?;
        return Ok(None);
    }
    Ok(Some(run(std::env::args_os().skip(1))?.into()))
}

/// Runs this program with other arguments in an enclosure, to its end; gives its exit status. Call it on the main
/// thread, as [`enter`].
///
/// # Errors
/// Not root, or no `unshare`.
pub(crate) fn run(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> anyhow::Result<u8> {
    if !is_root() {
        bail!("network namespaces and mounts need root");
    }
    // The verdict is the exit status, so that unshare must not fail with one of its own.
    let possible = command().arg("true").status().context("cannot run setpriv and unshare (util-linux)")?;
    anyhow::ensure!(possible.success(), "no namespaces can be made here; `--net proxy` needs no rights");
    sweep(false);
    let name = format!("{PREFIX}{}", std::process::id());
    let mut command = command();
    command.arg(std::env::current_exe()?).args(arguments).env(INSIDE, name);
    let status = command.status();
    sweep(true);
    let status = status?;
    if let Some(signal) = status.signal() {
        bail!("the run was ended by signal {signal}");
    }
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED))
}

/// The start of a command that runs enclosed, and ends with the thread that starts it.
fn command() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", "unshare"]);
    command.args(["--mount", "--propagation", "slave", "--net", "--pid", "--mount-proc"]);
    command.args(["--kill-child", "--fork", "--"]);
    command
}

/// The network in here has a loopback device that is down, and shared memory is still everybody's.
fn up() -> anyhow::Result<()> {
    let shared = ["-t", "tmpfs", "domicile-chaos", "/dev/shm"];
    for (program, arguments) in [("ip", &["link", "set", "lo", "up"]), ("mount", &shared)] {
        let status = Command::new(program).args(arguments).status();
        let status = status.with_context(|| format!("cannot run {program}"))?;
        anyhow::ensure!(status.success(), "{program} {} failed", arguments.join(" "));
    }
    Ok(())
}

/// What this run's groups are called.
pub(crate) fn name() -> String {
    std::env::var(INSIDE).unwrap_or_else(|_| format!("{PREFIX}{}", std::process::id()))
}

/// Removes the groups of runs whose program is gone, and `own` ones. Groups with processes stay.
fn sweep(own: bool) {
    let Ok(controllers) = std::fs::read_dir(GROUPS) else { return };
    let mut places: Vec<_> = controllers.flatten().map(|entry| entry.path()).collect();
    places.push(GROUPS.into());
    let me = std::process::id();
    for group in places.iter().filter_map(|place| std::fs::read_dir(place).ok()).flatten().flatten() {
        let name = group.file_name();
        let Some(owner) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let Ok(owner) = owner.parse::<u32>() else { continue };
        let is_gone = !std::path::Path::new(&format!("/proc/{owner}")).exists();
        if is_gone || (own && owner == me) {
            remove(&group.path());
        }
    }
}

fn remove(group: &std::path::Path) {
    for below in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if below.path().is_dir() {
            remove(&below.path());
        }
    }
    for _ in 0..LOOKS {
        match std::fs::remove_dir(group) {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                let _ = Command::new("sleep").arg("0.1").status();
            }
            Ok(()) | Err(_) => return,
        }
    }
}
