//! A seed as a schedule: the cluster, its network and disks, and what befalls them when.

use std::collections::BTreeSet;
use std::fmt;

use domicile_raft::peer::Lane;
use domicile_raft::{Retention, TimerProfile};

use crate::comeback;
use crate::rng::Rng;

/// What stays when a node ends without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Of the process only: what was written stays.
    Process,
    /// Of power: what was not synced is gone.
    Power,
    /// Of power, but the state had been flushed by itself: it may be ahead of the log.
    LogOnly,
}

/// Whom a step strikes; the leader is found when the step is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Node(u64),
    Leader,
    /// This node, unless it leads.
    Follower(u64),
}

/// One thing that happens to the cluster.
#[derive(Clone, Debug)]
pub enum Action {
    CutOneWay(u64, u64),
    /// One of the connections from whoever leads to this node; snapshots have others.
    CutLine(u64, Lane),
    /// From this node to whoever leads: it follows, and its answers are lost.
    CutAnswers(u64),
    Isolate(Target),
    /// These hear each other only, and so do the others.
    Split(BTreeSet<u64>),
    /// As a split, but one node hears both sides.
    Bridge(BTreeSet<u64>, u64),
    HealAll,
    Crash {
        target: Target,
        loss: Loss,
        down_ms: u64,
    },
    /// Every node at once.
    Blackout {
        down_ms: u64,
    },
    SlowDisk {
        node: u64,
        sync_ms: u64,
    },
    ClockJump {
        node: u64,
        ms: i64,
    },
    ClockRate {
        node: u64,
        ppm: i64,
    },
    Weather(Weather),
    Order(Wanted),
    /// This node, unless it leads, loses its replica by order and gets another from nothing.
    ComeBack(u64),
}

/// What the group's leader is ordered to do.
#[derive(Clone, Debug)]
pub enum Wanted {
    AddLearner(u64),
    RemoveLearner(u64),
    SetVoters(BTreeSet<u64>),
    FinishJoint,
    Transfer(u64),
    Timers(TimerProfile),
}

/// What the network does to messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    pub lost_per_mille: u64,
    pub twice_per_mille: u64,
    pub delay_ms: (u64, u64),
}

impl Weather {
    pub const CALM: Self = Self { lost_per_mille: 0, twice_per_mille: 0, delay_ms: (1, 3) };
}

#[derive(Clone, Debug)]
pub struct Step {
    pub at_ms: u64,
    pub action: Action,
}

/// Everything that a seed decides beforehand.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub nodes: u64,
    pub voters: u64,
    pub timers: TimerProfile,
    pub retention: Retention,
    pub weather: Weather,
    pub sync_ms: (u64, u64),
    pub clients: u64,
    pub think_ms: (u64, u64),
    pub steps: Vec<Step>,
    /// Drawn apart, so that the steps of a seed are what they were without them.
    pub comebacks: Vec<Step>,
    pub ends_ms: u64,
}

impl Scenario {
    pub fn from_seed(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let nodes = rng.between(3, 5);
        let voters = if nodes == 5 && rng.chance(500) { 5 } else { 3 };
        let retention = Retention {
            snapshot_every: rng.between(4, 30),
            keep_entries: rng.between(0, 15),
            keep_bytes: 1 << 28,
        };
        let ends_ms = rng.between(1_500, 4_000);
        let mut scenario = Self {
            seed,
            nodes,
            voters,
            timers: if rng.chance(800) { TimerProfile::Fast } else { TimerProfile::Zone },
            retention,
            weather: weather(&mut rng),
            sync_ms: if rng.chance(700) { (0, 4) } else { (0, 25) },
            clients: rng.between(2, 3),
            think_ms: (1, rng.between(5, 40)),
            steps: Vec::new(),
            comebacks: Vec::new(),
            ends_ms,
        };
        let mut at_ms = rng.between(50, 300);
        while at_ms < ends_ms {
            scenario.add_steps(&mut rng, at_ms);
            at_ms += rng.between(40, 400);
        }
        scenario.steps.sort_by_key(|step| step.at_ms);
        scenario.comebacks = comeback::steps(&mut comeback::rng(seed), &scenario);
        scenario
    }

    fn add_steps(&mut self, rng: &mut Rng, at_ms: u64) {
        let action = match rng.between(0, 99) {
            0..=4 => return self.starve(rng, at_ms),
            5..=29 => {
                let heals = at_ms + rng.between(100, 1_200);
                self.steps.push(Step { at_ms: heals, action: Action::HealAll });
                self.cut(rng)
            }
            30..=54 => self.end(rng),
            55..=79 => Action::Order(self.change(rng)),
            80..=84 => {
                let node = self.node(rng);
                let again = Action::SlowDisk { node, sync_ms: 0 };
                self.steps.push(Step { at_ms: at_ms + rng.between(100, 800), action: again });
                Action::SlowDisk { node, sync_ms: rng.between(20, 400) }
            }
            85..=89 => {
                let ms = i64::try_from(rng.between(0, 7_200_000)).unwrap() - 3_600_000;
                Action::ClockJump { node: self.node(rng), ms }
            }
            90..=93 => {
                let ppm = i64::try_from(rng.between(0, 20_000)).unwrap() - 10_000;
                Action::ClockRate { node: self.node(rng), ppm }
            }
            _ => Action::Weather(weather(rng)),
        };
        self.steps.push(Step { at_ms, action });
    }

    /// A follower has more than its leader hears of and can commit, and hears of no commit itself: the
    /// leader sends a snapshot that ends inside its log (docs/adr/0013).
    fn starve(&mut self, rng: &mut Rng, at_ms: u64) {
        let node = self.node(rng);
        let isolated_ms = at_ms + rng.between(100, 400);
        let mut steps =
            vec![(at_ms, Action::CutAnswers(node)), (isolated_ms, Action::Isolate(Target::Node(node)))];
        let gone_ms = isolated_ms + rng.between(0, 25);
        for other in (1..=self.nodes).filter(|other| *other != node) {
            // What is committed lags behind what is sent.
            steps.push((at_ms, Action::SlowDisk { node: other, sync_ms: 15 }));
            steps.push((gone_ms + 300, Action::SlowDisk { node: other, sync_ms: 0 }));
            let (target, down_ms) = (Target::Follower(other), rng.between(400, 1_500));
            steps.push((gone_ms, Action::Crash { target, loss: Loss::Process, down_ms }));
        }
        let heard_ms = gone_ms + rng.between(20, 300);
        steps.push((heard_ms, Action::HealAll));
        steps.extend([Lane::Control, Lane::Data].map(|lane| (heard_ms, Action::CutLine(node, lane))));
        steps.push((heard_ms + rng.between(200, 1_500), Action::HealAll));
        self.steps.extend(steps.into_iter().map(|(at_ms, action)| Step { at_ms, action }));
    }

    fn cut(&self, rng: &mut Rng) -> Action {
        let node = self.node(rng);
        let side = self.some(rng, 1, self.nodes - 1);
        match rng.between(0, 8) {
            8 => Action::CutLine(node, if rng.chance(500) { Lane::Control } else { Lane::Data }),
            0 | 1 => Action::CutOneWay(node, node % self.nodes + 1),
            6 | 7 => Action::CutAnswers(node),
            2 | 3 => Action::Isolate(self.target(rng)),
            4 => Action::Split(side),
            _ => Action::Bridge(side, node),
        }
    }

    fn end(&self, rng: &mut Rng) -> Action {
        let down_ms = rng.between(20, 1_000);
        if rng.chance(200) {
            return Action::Blackout { down_ms };
        }
        let loss = match rng.between(0, 3) {
            0 => Loss::Process,
            1 => Loss::LogOnly,
            _ => Loss::Power,
        };
        Action::Crash { target: self.target(rng), loss, down_ms }
    }

    fn change(&self, rng: &mut Rng) -> Wanted {
        match rng.between(0, 9) {
            0 | 1 => Wanted::AddLearner(self.node(rng)),
            2 => Wanted::RemoveLearner(self.node(rng)),
            3..=5 => Wanted::SetVoters(self.some(rng, 2, self.nodes)),
            6 => Wanted::FinishJoint,
            7 if rng.chance(300) => {
                Wanted::Timers(if rng.chance(500) { TimerProfile::Fast } else { TimerProfile::Zone })
            }
            _ => Wanted::Transfer(self.node(rng)),
        }
    }

    fn node(&self, rng: &mut Rng) -> u64 {
        rng.between(1, self.nodes)
    }

    fn target(&self, rng: &mut Rng) -> Target {
        if rng.chance(400) { Target::Leader } else { Target::Node(self.node(rng)) }
    }

    /// Between `least` and `most` of the nodes.
    fn some(&self, rng: &mut Rng, least: u64, most: u64) -> BTreeSet<u64> {
        let wanted = usize::try_from(rng.between(least, most)).unwrap();
        let mut nodes = BTreeSet::new();
        while nodes.len() < wanted {
            nodes.insert(self.node(rng));
        }
        nodes
    }
}

fn weather(rng: &mut Rng) -> Weather {
    let lost_per_mille = if rng.chance(500) { rng.between(1, 40) } else { 0 };
    let twice_per_mille = if rng.chance(500) { rng.between(1, 80) } else { 0 };
    let low = rng.between(0, 3);
    let delay_ms = (low, low + if rng.chance(300) { rng.between(10, 60) } else { rng.between(0, 6) });
    Weather { lost_per_mille, twice_per_mille, delay_ms }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, nodes, voters, timers, retention, weather, sync_ms, clients, think_ms, .. } = self;
        writeln!(f, "seed {seed}: {nodes} nodes, {voters} voters, {timers:?}, {retention:?}")?;
        writeln!(f, "  {weather:?}, sync {sync_ms:?} ms, {clients} clients every {think_ms:?} ms")?;
        let mut steps: Vec<&Step> = self.steps.iter().chain(&self.comebacks).collect();
        steps.sort_by_key(|step| step.at_ms);
        for Step { at_ms, action } in steps {
            writeln!(f, "  {at_ms:>6} ms  {action:?}")?;
        }
        write!(f, "  {:>6} ms  faults end", self.ends_ms)
    }
}
