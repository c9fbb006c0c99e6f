//! Shapes of partitions, and whom faults hit: each comes before any comes again, so that none is left to chance. What
//! chance draws stays as it is where that did not come yet.

use std::collections::BTreeMap;

use super::draw::SHORT_RUN_MS;
use super::fault::{Fault, Shape, Who};
use super::{Packets, Schedule};
use crate::random::Random;
use crate::topology::Topology;

/// The form of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    Isolate,
    CutOut,
    CutIn,
    Halves,
    Bridge,
    Ring,
    Swizzle,
    Region,
    RegionOneWay,
}

/// Whom a fault hits that may hit many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whom {
    Leader,
    One,
    Minority,
    Region,
    All,
}

/// What is left of a round.
struct Deck<T> {
    all: Vec<T>,
    left: Vec<T>,
}

impl<T: Copy + PartialEq> Deck<T> {
    fn of(all: Vec<T>) -> Self {
        Self { left: Vec::new(), all }
    }

    /// `drawn`, or another one if that was there in this round.
    fn take(&mut self, drawn: T, random: &mut Random) -> T {
        if self.left.is_empty() {
            self.left.clone_from(&self.all);
            random.shuffle(&mut self.left);
        }
        match self.left.iter().position(|one| *one == drawn) {
            Some(at) => self.left.remove(at),
            None => self.left.pop().unwrap_or(drawn),
        }
    }
}

/// Exchanges what came already.
pub(super) struct Spread<'a> {
    topology: &'a Topology,
    /// Its own: other draws of a seed stay as they are.
    random: Random,
    forms: Deck<Form>,
    whom: Deck<Whom>,
}

impl<'a> Spread<'a> {
    pub(super) fn new(seed: u64, topology: &'a Topology) -> Self {
        let mut forms =
            vec![Form::Isolate, Form::CutOut, Form::CutIn, Form::Halves, Form::Bridge, Form::Swizzle];
        // In a ring of three everybody is a neighbour: nothing would be cut.
        if topology.total() > 3 {
            forms.push(Form::Ring);
        }
        // The leader twice: there most can go wrong.
        let mut whom = vec![Whom::Leader, Whom::Leader, Whom::One, Whom::Minority, Whom::All];
        if topology.regions.len() > 1 {
            forms.extend([Form::Region, Form::RegionOneWay]);
            whom.push(Whom::Region);
        }
        let random = Random::fork(seed, "spread");
        Self { topology, random, forms: Deck::of(forms), whom: Deck::of(whom) }
    }

    /// The fault, with another shape or of others if this one came before the rest did.
    pub(super) fn over(&mut self, fault: Fault) -> Fault {
        match fault {
            Fault::Kill(who) => Fault::Kill(self.who(who)),
            Fault::Pause(who) => Fault::Pause(self.who(who)),
            Fault::Slow { who, ms } => Fault::Slow { who: self.who(who), ms },
            Fault::Packets(packets) => {
                Fault::Packets(Packets { who: self.who(packets.who), harm: packets.harm })
            }
            Fault::Machine(machine) if machine.may_hit_many() => {
                let who = self.who(machine.who().clone());
                Fault::Machine(machine.of(who))
            }
            Fault::Partition(shape) => Fault::Partition(self.shape(shape)),
            other @ (Fault::Machine(_)
            | Fault::Restart(_)
            | Fault::Transfer
            | Fault::Replace(_)
            | Fault::Rejoin(_)
            | Fault::Renewal
            | Fault::Snapshot(_)) => other,
        }
    }

    fn who(&mut self, drawn: Who) -> Who {
        let is = whom_of(&drawn, self.topology);
        let wanted = self.whom.take(is, &mut self.random);
        if wanted == is {
            return drawn;
        }
        let mut all = self.everyone();
        match wanted {
            Whom::Leader => return Who::Leader,
            Whom::One => all.truncate(1),
            Whom::Minority => all.truncate((all.len().saturating_sub(1) / 2).max(1)),
            Whom::Region => all = self.topology.nodes_of(&self.region()),
            Whom::All => {}
        }
        all.sort_unstable();
        Who::Nodes(all)
    }

    fn shape(&mut self, drawn: Shape) -> Shape {
        let is = form_of(&drawn);
        let wanted = self.forms.take(is, &mut self.random);
        if wanted == is {
            return drawn;
        }
        let all = self.everyone();
        let side = |count: usize| {
            let mut side: Vec<usize> = all.iter().copied().take(count).collect();
            side.sort_unstable();
            side
        };
        match wanted {
            Form::Isolate => Shape::Isolate(Who::Leader),
            Form::CutOut => Shape::CutOut(Who::Leader),
            Form::CutIn => Shape::CutIn(Who::Leader),
            Form::Halves => Shape::Halves(side((all.len() / 2).max(1))),
            Form::Bridge => Shape::Bridge {
                over: all.last().copied().unwrap_or_default(),
                side: side(all.len().saturating_sub(1) / 2),
            },
            Form::Ring => Shape::Ring(all),
            Form::Swizzle => Shape::Swizzle(all),
            Form::Region => Shape::Region(self.region()),
            Form::RegionOneWay => Shape::RegionOneWay(self.region()),
        }
    }

    /// In a new order.
    fn everyone(&mut self) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.topology.total()).collect();
        self.random.shuffle(&mut all);
        all
    }

    fn region(&mut self) -> String {
        self.random.pick(&self.topology.regions).map(|region| region.name.clone()).unwrap_or_default()
    }
}

fn form_of(shape: &Shape) -> Form {
    match shape {
        Shape::Isolate(_) => Form::Isolate,
        Shape::CutOut(_) => Form::CutOut,
        Shape::CutIn(_) => Form::CutIn,
        Shape::Halves(_) => Form::Halves,
        Shape::Bridge { .. } => Form::Bridge,
        Shape::Ring(_) => Form::Ring,
        Shape::Swizzle(_) => Form::Swizzle,
        Shape::Region(_) => Form::Region,
        Shape::RegionOneWay(_) => Form::RegionOneWay,
    }
}

fn whom_of(who: &Who, topology: &Topology) -> Whom {
    let Who::Nodes(nodes) = who else { return Whom::Leader };
    let is_region = |name: &str| topology.nodes_of(name) == *nodes;
    if nodes.len() == topology.total() {
        Whom::All
    } else if topology.regions.iter().any(|region| is_region(&region.name)) {
        Whom::Region
    } else if nodes.len() == 1 {
        Whom::One
    } else {
        Whom::Minority
    }
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Isolate => "isolation",
            Self::CutOut => "one way out",
            Self::CutIn => "one way in",
            Self::Halves => "halves",
            Self::Bridge => "bridge",
            Self::Ring => "ring",
            Self::Swizzle => "swizzle",
            Self::Region => "region",
            Self::RegionOneWay => "region one way",
        }
    }
}

impl Schedule {
    /// Shapes of partitions that were planned and never took, by whether each step did. A short run is not asked: it has
    /// one or two.
    pub fn shapes_missing(&self, took: &[bool]) -> Vec<&'static str> {
        if self.phases.chaos_ms < SHORT_RUN_MS {
            return Vec::new();
        }
        let mut shapes: BTreeMap<Form, bool> = BTreeMap::new();
        for (turn, step) in self.steps.iter().enumerate() {
            if let Fault::Partition(shape) = &step.fault {
                *shapes.entry(form_of(shape)).or_default() |= took.get(turn).copied().unwrap_or(false);
            }
        }
        shapes.into_iter().filter(|(_, took)| !took).map(|(form, _)| form.name()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{Kind, Phases};
    use super::*;

    fn drawn(seed: u64, topology: &str, kind: Kind) -> Schedule {
        let phases = Phases { healthy_ms: 1_000, chaos_ms: 900_000, liveness_ms: 1_000 };
        Schedule::draw(seed, topology.parse().unwrap(), "proxy", &[kind], phases)
    }

    fn forms(schedule: &Schedule, count: usize) -> BTreeSet<Form> {
        let shapes = schedule.steps.iter().filter_map(|step| {
            if let Fault::Partition(shape) = &step.fault { Some(form_of(shape)) } else { None }
        });
        shapes.take(count).collect()
    }

    #[test]
    fn every_shape_comes_before_any_comes_again_and_none_that_cuts_nothing() {
        for seed in 0..20 {
            // The first one is the isolated leader, by order.
            assert_eq!(forms(&drawn(seed, "eu3,us3", Kind::Partition), 10).len(), 9, "{seed}");
            let small = forms(&drawn(seed, "eu3", Kind::Partition), 30);
            assert!(small.len() == 6 && !small.contains(&Form::Ring), "{seed}");
        }
    }

    #[test]
    fn regions_and_all_nodes_are_hit_in_every_round() {
        for seed in 0..20 {
            let schedule = drawn(seed, "eu3,us3", Kind::Kill);
            let topology = &schedule.topology;
            let whom: Vec<Whom> = schedule
                .steps
                .iter()
                .filter_map(|step| {
                    if let Fault::Kill(who) = &step.fault { Some(whom_of(who, topology)) } else { None }
                })
                .skip(1)
                .take(6)
                .collect();
            for wanted in [Whom::Leader, Whom::One, Whom::Minority, Whom::Region, Whom::All] {
                assert!(whom.contains(&wanted), "{seed} {wanted:?}: {whom:?}");
            }
        }
    }

    #[test]
    fn a_shape_that_never_took_is_missing_in_a_long_run() {
        let mut schedule = drawn(3, "eu3", Kind::Partition);
        let took = vec![true; schedule.steps.len()];
        assert!(schedule.shapes_missing(&took).is_empty());
        assert_eq!(schedule.shapes_missing(&[]).len(), 6);
        assert!(!schedule.shapes_missing(&took[..1]).contains(&"isolation"));
        schedule.phases.chaos_ms = 20_000;
        assert!(schedule.shapes_missing(&[]).is_empty());
    }
}
