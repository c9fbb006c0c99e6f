//! One fault of the schedule, from its beginning to its end.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::outcry::{self, Mark};
use super::told::{FaultDone, Told};
use crate::nemesis::{Begun, Nemesis};
use crate::schedule::Step;
use crate::workload::{Ground, compare_suspect};

/// Does it, waits, takes it back. Clients know who was left alone meanwhile;
/// the excuses are told of disks that fail; what failed before explains nothing any more.
pub(super) async fn one(ground: &Ground, nemesis: &Nemesis, step: &Step, dir: &Path, told: &mut Told) {
    let name = step.fault.kind().name();
    let mark = Mark::of(ground);
    told.excuses.close(&mark);
    ground.set_disk_fails(outcry::is_of_disks(step.fault.kind()));
    ground.journal.fault(&format!("{name}-begins"), &step.fault.to_string());
    let (began_ns, start) = (ground.journal.now_ns(), Instant::now());
    let mut doing: Begun = nemesis.begin(&step.fault).await;
    told.excuses.open(doing.kind, doing.machines(), &mark);
    ground.journal.fault(name, &format!("{:?}: {}", doing.took, doing.told));
    ground.set_astray(doing.astray.clone());
    nemesis.bites(&step.fault, &doing).await;
    tokio::time::sleep_until(until(step, start, Instant::now())).await;
    ground.set_astray(Vec::new());
    told.unstopped.extend_from_slice(doing.unstopped());
    let suspicion = suspects(ground, dir, doing.unnoticed(), told).await;
    let ended = nemesis.end(&step.fault, &mut doing).await;
    ground.journal.fault(&format!("{name}-ends"), &ended);
    told.faults.push(FaultDone {
        fault: step.fault.to_string(),
        kind: doing.kind,
        took: format!("{:?}", doing.took),
        told: format!("{} {suspicion}{ended}", doing.told).trim().to_owned(),
        began_ns,
        ended_ns: ground.journal.now_ns(),
    });
}

/// Nodes that run on damaged files are judged before these are gone. Says what came of it.
async fn suspects(ground: &Ground, dir: &Path, nodes: &[usize], told: &mut Told) -> String {
    let mut out = String::new();
    for node in nodes {
        let found = Box::pin(compare_suspect(ground, dir, *node)).await;
        let why = found.unreadable.first().map(|why| format!("; {why}")).unwrap_or_default();
        let (looked_at, differ) = (found.looked_at, found.differs.len());
        // Writing into a string cannot fail.
        let _ = write!(out, "({looked_at} logs and lists compared, {differ} differ{why}) ");
        told.compared += found.looked_at;
        told.differs.extend(found.differs);
        told.broken.extend(found.broken);
    }
    out
}

/// When it is over: finding whom it hits, and what comes of it, takes time of which it has nothing. What is done
/// in a moment has no more to wait for than its turn.
fn until(step: &Step, began: Instant, bites: Instant) -> Instant {
    let from = if step.fault.is_a_moment() { began } else { bites };
    from + Duration::from_millis(step.for_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Fault, Shape, Who};

    #[test]
    fn a_fault_lasts_as_planned_from_when_it_bites() {
        let (began, late) = (Instant::now(), Duration::from_secs(2));
        let lasts = |fault: Fault| {
            let step = Step { at_ms: 7, for_ms: 5_000, fault };
            until(&step, began, began + late) - began
        };
        let planned = Duration::from_secs(5);
        assert_eq!(lasts(Fault::Partition(Shape::Isolate(Who::Leader))), planned + late);
        assert_eq!(lasts(Fault::Kill(Who::Leader)), planned + late);
        assert_eq!(lasts(Fault::Transfer), planned);
    }
}
