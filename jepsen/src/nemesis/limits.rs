//! Limits of a node's process by control groups, version 1 or 2. The groups bear the name of the run, and
//! are empty as soon as its processes are gone; whoever waits outside the enclosure removes them.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;

use crate::enclosure::{self, GROUPS};

/// In which a share of the processor is counted, in µs.
const PERIOD_US: u64 = 100_000;

/// Its arguments are the group's list of processes, a file, and how many writes.
const PROBE: &str =
    "echo $$ > \"$1\" && exec dd if=/dev/zero of=\"$2\" bs=4096 count=\"$3\" oflag=direct,dsync";

/// The groups of one node.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    name: String,
}

impl Limits {
    /// Of the node of this name.
    pub(super) fn of(node: &str) -> Self {
        Self { name: node.to_owned() }
    }

    /// Leaves a process so many percent of one processor; says how often its group was held back before.
    pub(super) fn processor(&self, process: u32, percent: u64) -> anyhow::Result<u64> {
        let quota_us = percent * PERIOD_US / 100;
        let group = self.group("cpu", process)?;
        let before = held_back(&group)?;
        if is_two() {
            write(&group, "cpu.max", &format!("{quota_us} {PERIOD_US}"))?;
        } else {
            write(&group, "cpu.cfs_period_us", &PERIOD_US.to_string())?;
            write(&group, "cpu.cfs_quota_us", &quota_us.to_string())?;
        }
        Ok(before)
    }

    /// As much as there is; says how often its group was held back since it was made.
    pub(super) fn whole_processor(&self) -> anyhow::Result<u64> {
        let group = self.path("cpu");
        let count = held_back(&group)?;
        if is_two() {
            write(&group, "cpu.max", "max")?;
        } else {
            write(&group, "cpu.cfs_quota_us", "-1")?;
        }
        Ok(count)
    }

    /// Lets a process do so many writes a second on a device (`major:minor`); no limit for 0.
    pub(super) fn writes(&self, process: u32, device: &str, writes: u64) -> anyhow::Result<()> {
        if is_two() {
            let limit = if writes == 0 { "max".to_owned() } else { writes.to_string() };
            return write(&self.group("io", process)?, "io.max", &format!("{device} wiops={limit}"));
        }
        let group = self.group("blkio", process)?;
        write(&group, "blkio.throttle.write_iops_device", &format!("{device} {writes}"))
    }

    /// A shell command that does so many writes into a file, one after another and each to the device, under the same
    /// limit as the node.
    pub(super) fn probe(&self, file: &Path, writes: u64) -> tokio::process::Command {
        let group = self.path(if is_two() { "io" } else { "blkio" });
        let mut command = tokio::process::Command::new("sh");
        command.args(["-c", PROBE, "sh"]).arg(group.join("cgroup.procs")).arg(file).arg(writes.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Lifts what was limited. A group that is not there limits nothing.
    pub(super) fn lift(&self, device: Option<&str>) {
        let (processor, disk) = (self.path("cpu"), self.path(if is_two() { "io" } else { "blkio" }));
        if processor.exists() {
            let _ = self.whole_processor();
        }
        if let (true, Some(device)) = (disk.exists(), device) {
            let _ = if is_two() {
                write(&disk, "io.max", &format!("{device} wiops=max"))
            } else {
                write(&disk, "blkio.throttle.write_iops_device", &format!("{device} 0"))
            };
        }
    }

    fn path(&self, controller: &str) -> PathBuf {
        let controller = if is_two() { "" } else { controller };
        Path::new(GROUPS).join(controller).join(enclosure::name()).join(&self.name)
    }

    fn group(&self, controller: &str, process: u32) -> anyhow::Result<PathBuf> {
        let path = self.path(controller);
        std::fs::create_dir_all(&path).with_context(|| format!("no control group for `{controller}`"))?;
        if is_two() {
            for above in path.ancestors().skip(1).take(2) {
                write(above, "cgroup.subtree_control", &format!("+{controller}"))?;
            }
        }
        write(&path, "cgroup.procs", &process.to_string())?;
        Ok(path)
    }
}

/// How often a group was held back since it was made.
fn held_back(group: &Path) -> anyhow::Result<u64> {
    let told = std::fs::read_to_string(group.join("cpu.stat")).context("cannot read cpu.stat")?;
    Ok(throttled(&told))
}

fn throttled(told: &str) -> u64 {
    let count = told.lines().find_map(|line| line.strip_prefix("nr_throttled "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

fn is_two() -> bool {
    Path::new(GROUPS).join("cgroup.controllers").exists()
}

fn write(group: &Path, name: &str, value: &str) -> anyhow::Result<()> {
    std::fs::write(group.join(name), value).with_context(|| format!("cannot write {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_often_a_group_was_held_back_is_read_off_its_figures() {
        assert_eq!(throttled("nr_periods 90\nnr_throttled 17\nthrottled_time 5\n"), 17);
        assert_eq!(throttled("usage_usec 1\n"), 0);
    }
}
