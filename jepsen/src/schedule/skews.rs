//! When clocks were wrong in a run, by what was planned and what the history says of it.

use super::{Fault, Kind, Schedule};
use crate::check::Skew;
use crate::history::FaultEvent;

impl Schedule {
    /// Of the faults of a history that is of this schedule: each begins and ends under the name of its kind, one after
    /// another. One that never ended lasts for ever.
    pub fn skews(&self, faults: &[FaultEvent]) -> Vec<Skew> {
        let begun = faults.iter().enumerate().filter(|(_, event)| event.name.ends_with("-begins"));
        let of_clocks = self.steps.iter().zip(begun).filter_map(|(step, (at, event))| {
            let Fault::Machine(machine) = &step.fault else { return None };
            if !matches!(machine.kind(), Kind::ClockJump | Kind::ClockRate) {
                return None;
            }
            let name = format!("{}-ends", machine.kind().name());
            let end = faults.iter().skip(at).find(|other| other.name == name);
            let until_ns = end.map_or(u64::MAX, |end| end.time_ns);
            let lasted_ms = until_ns.saturating_sub(event.time_ns) / 1_000_000;
            let for_ms = if end.is_some() { lasted_ms } else { step.for_ms };
            Some(Skew { from_ns: event.time_ns, until_ns, ahead_ms: machine.ahead_ms(for_ms) })
        });
        of_clocks.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Machine, Phases, Step, Who};
    use super::*;

    const S: u64 = 1_000_000_000;

    fn schedule(faults: Vec<Fault>) -> Schedule {
        let phases = Phases { healthy_ms: 1, chaos_ms: 1, liveness_ms: 1 };
        let mut schedule = Schedule::draw(1, "eu3".parse().unwrap(), "netns", &[], phases);
        schedule.steps = faults.into_iter().map(|fault| Step { at_ms: 0, for_ms: 5_000, fault }).collect();
        schedule
    }

    fn event(second: u64, name: &str) -> FaultEvent {
        FaultEvent { time_ns: second * S, name: name.to_owned(), told: String::new() }
    }

    fn jump(by_s: i64) -> Fault {
        Fault::Machine(Machine::ClockJump { who: Who::Leader, by_s })
    }

    #[test]
    fn a_clock_was_wrong_from_when_its_fault_began_until_it_was_taken_back() {
        let schedule = schedule(vec![Fault::Transfer, jump(7), jump(-90)]);
        let events = [
            event(1, "transfer-begins"),
            event(2, "transfer-ends"),
            event(3, "clock-jump-begins"),
            event(4, "clock-jump"),
            event(8, "clock-jump-ends"),
            event(20, "clock-jump-begins"),
        ];
        let found = schedule.skews(&events);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].from_ns, found[0].until_ns), (3 * S, 8 * S));
        assert!((7_000..10_000).contains(&found[0].ahead_ms), "by its jump and a little more");
        assert_eq!(found[1], Skew { from_ns: 20 * S, until_ns: u64::MAX, ahead_ms: 0 });
        assert!(schedule.skews(&[]).is_empty());
    }

    #[test]
    fn a_clock_that_is_too_fast_gets_ahead_and_one_that_is_too_slow_does_not() {
        let rate = |permille| Fault::Machine(Machine::ClockRate { who: Who::Leader, permille });
        let events = [event(0, "clock-rate-begins"), event(10, "clock-rate-ends")];
        let ahead_ms = |permille| schedule(vec![rate(permille)]).skews(&events)[0].ahead_ms;
        assert!(ahead_ms(2_000) >= 10_000);
        assert_eq!(ahead_ms(200), 0);
    }
}
