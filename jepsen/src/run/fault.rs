//! One fault of the schedule, from its beginning to its end.

use std::time::Duration;

use tokio::time::Instant;

use super::outcry::{self, Excuses, Mark};
use super::told::FaultDone;
use crate::nemesis::{Begun, Nemesis};
use crate::schedule::Step;
use crate::workload::Ground;

/// Does it, waits, takes it back. Clients know who was left alone meanwhile;
/// `excuses` are told of disks that fail; what failed before explains nothing any more.
pub(super) async fn one(ground: &Ground, nemesis: &Nemesis, step: &Step, excuses: &mut Excuses) -> FaultDone {
    let name = step.fault.kind().name();
    let mark = Mark::of(ground);
    excuses.close(&mark);
    ground.set_disk_fails(outcry::is_of_disks(step.fault.kind()));
    ground.journal.fault(&format!("{name}-begins"), &step.fault.to_string());
    let (began_ns, start) = (ground.journal.now_ns(), Instant::now());
    let mut doing: Begun = nemesis.begin(&step.fault).await;
    excuses.open(doing.kind, doing.machines(), &mark);
    ground.journal.fault(name, &format!("{:?}: {}", doing.took, doing.told));
    ground.set_astray(doing.astray.clone());
    nemesis.bites(&step.fault, &doing).await;
    tokio::time::sleep_until(until(step, start, Instant::now())).await;
    ground.set_astray(Vec::new());
    let ended = nemesis.end(&step.fault, &mut doing).await;
    ground.journal.fault(&format!("{name}-ends"), &ended);
    FaultDone {
        fault: step.fault.to_string(),
        kind: doing.kind,
        took: format!("{:?}", doing.took),
        told: format!("{} {ended}", doing.told).trim().to_owned(),
        began_ns,
        ended_ns: ground.journal.now_ns(),
    }
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
