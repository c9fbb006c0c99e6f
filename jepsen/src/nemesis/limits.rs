//! Limits of a node's process by control groups, version 1 or 2. The groups bear the name of the run, and
//! are empty as soon as its processes are gone; whoever waits outside the enclosure removes them.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::enclosure::{self, GROUPS};

/// In which a share of the processor is counted, in µs.
const PERIOD_US: u64 = 100_000;

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

    /// Leaves a process so many percent of one processor.
    pub(super) fn processor(&self, process: u32, percent: u64) -> anyhow::Result<()> {
        let quota_us = percent * PERIOD_US / 100;
        let group = self.group("cpu", process)?;
        if is_two() {
            return write(&group, "cpu.max", &format!("{quota_us} {PERIOD_US}"));
        }
        write(&group, "cpu.cfs_period_us", &PERIOD_US.to_string())?;
        write(&group, "cpu.cfs_quota_us", &quota_us.to_string())
    }

    /// As much as there is; says how often it was held back.
    pub(super) fn whole_processor(&self) -> anyhow::Result<u64> {
        let group = self.path("cpu");
        let told = std::fs::read_to_string(group.join("cpu.stat"))?;
        let count = told.lines().find_map(|line| line.strip_prefix("nr_throttled "));
        if is_two() {
            write(&group, "cpu.max", "max")?;
        } else {
            write(&group, "cpu.cfs_quota_us", "-1")?;
        }
        Ok(count.and_then(|count| count.trim().parse().ok()).unwrap_or(0))
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

fn is_two() -> bool {
    Path::new(GROUPS).join("cgroup.controllers").exists()
}

fn write(group: &Path, name: &str, value: &str) -> anyhow::Result<()> {
    std::fs::write(group.join(name), value).with_context(|| format!("cannot write {name}"))
}
