//! The process that is crashed: it works until it is killed and says on stdout what is durable.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::channel;

use domicile_storage::{Engine as _, LogError, LogOptions, RaftEngineLog, SledEngine, SledOptions};

use crate::workload::{IN_FLIGHT_MAX, LogModel, StateModel, choice, read_log, read_state, submit};

const DIRECTORY: &str = "DOMICILE_CRASH_DIRECTORY";
const SEED: &str = "DOMICILE_CRASH_SEED";
const FROM: &str = "DOMICILE_CRASH_FROM";
const STEPS: &str = "DOMICILE_CRASH_STEPS";
pub const SYNC_EVERY: &str = "DOMICILE_CRASH_SYNC_EVERY";

/// Batches from one sync of the state to the next, about, where nothing else is asked for.
pub const OFTEN: u64 = 6;
/// As a node does, whose state is synced with a snapshot.
pub const RARELY: u64 = 2_000;
/// Nor is there a log, whose syncs would take along what the file system holds back of the state.
pub const NEVER: u64 = u64::MAX;

/// How many steps of the workload are known to be in the log and in the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub log: u64,
    pub state: u64,
}

pub fn log_options() -> LogOptions {
    LogOptions { file_bytes: 256 * 1024, purge_threshold_bytes: 1024 * 1024, cache_bytes: 64 * 1024 }
}

pub fn open(directory: &Path, flush_every_ms: u64) -> (RaftEngineLog, SledEngine) {
    let options = SledOptions { cache_bytes: 4 << 20, flush_every_ms, ..SledOptions::default() };
    open_with(directory, &options)
}

fn open_with(directory: &Path, options: &SledOptions) -> (RaftEngineLog, SledEngine) {
    let state = SledEngine::open(directory.join("state"), options);
    let log = RaftEngineLog::open(directory.join("log"), &log_options());
    (log.unwrap_or_else(|e| panic!("{e}")), state.unwrap_or_else(|e| panic!("{e}")))
}

/// The command that runs this test binary as a child on `directory`.
pub fn arguments(command: &mut Command, directory: &Path, seed: u64, from: Position, steps: u64) {
    command
        .args(["--exact", "child::a_workload_left_alone_ends_where_its_model_does", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(SEED, seed.to_string())
        .env(FROM, format!("{} {}", from.log, from.state))
        .env(STEPS, steps.to_string())
        .stdout(Stdio::piped());
}

pub fn spawn(directory: &Path, seed: u64, from: Position, sync_every: u64) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    arguments(&mut command, directory, seed, from, u64::MAX);
    command.env(SYNC_EVERY, sync_every.to_string()).spawn().unwrap()
}

/// What the child says, until `enough` lines were read or it is gone.
pub struct Answers {
    lines: std::io::Lines<BufReader<ChildStdout>>,
    pub position: Position,
}

impl Answers {
    pub fn of(child: &mut Child, from: Position) -> Self {
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { lines, position: from }
    }

    /// Reads one line; false at the end.
    pub fn read(&mut self) -> bool {
        let Some(Ok(line)) = self.lines.next() else { return false };
        // A line that the crash cut is no answer.
        match line.split_once(' ').map(|(what, n)| (what, n.strip_suffix('.').and_then(|n| n.parse().ok()))) {
            Some(("log", Some(n))) => self.position.log = n,
            Some(("state", Some(n))) => self.position.state = n,
            Some(_) | None => {}
        }
        true
    }

    pub fn read_some(&mut self, count: u64) {
        for _ in 0..count {
            assert!(self.read(), "the child ended by itself");
        }
    }

    pub fn read_rest(&mut self) {
        while self.read() {}
    }
}

fn say(what: &str, n: u64) {
    let mut stdout = std::io::stdout().lock();
    // One write a line, and the stop shows that it is whole.
    stdout.write_all(format!("{what} {n}.\n").as_bytes()).unwrap();
    stdout.flush().unwrap();
}

fn work(directory: &Path, seed: u64, from: Position, steps: u64, sync_every: u64) {
    // A run to be crashed also meets sled's own flushes; one to be traced would be blurred by them.
    let flush_every_ms = if steps == u64::MAX { 20 } else { 60_000 };
    // Where syncs are rare, sled writes much between two of them.
    let write_behind_bytes =
        if sync_every > OFTEN { 16 * 1024 } else { SledOptions::default().write_behind_bytes };
    let cache_bytes = 4 << 20;
    let options = SledOptions { cache_bytes, flush_every_ms, write_behind_bytes, ..SledOptions::default() };
    let (log, state) = open_with(directory, &options);
    let mut log_model = LogModel::after(seed, from.log);
    let mut state_model = StateModel::after(seed, from.state);
    let (answer, answers) = channel();
    let mut answered = from.log;
    for _ in 0..steps {
        if sync_every == NEVER {
            state.commit(state_model.step()).unwrap();
            continue;
        }
        let (group, step) = log_model.step();
        let number = log_model.done;
        let answer = answer.clone();
        let done = move |result: Result<(), LogError>| {
            // Under power loss writes fail; then there is nothing to say.
            if result.is_ok() {
                say("log", number);
                let _ = answer.send(number);
            }
        };
        submit(&log, group, step, Box::new(done));
        while log_model.done - answered >= IN_FLIGHT_MAX {
            answered = answers.recv().unwrap();
        }
        answered = answers.try_iter().last().unwrap_or(answered);
        state.commit(state_model.step()).unwrap();
        if state_model.syncs_now(sync_every) {
            state.sync().unwrap();
            say("state", state_model.done);
        }
    }
}

/// Opens what a crash left and finds the step that it stands at: all that was answered, perhaps some
/// of what was under way, in order, and no half of a step.
pub fn check(directory: &Path, seed: u64, answered: Position) -> Position {
    let (log, state) = open(directory, 60_000);
    let found = read_log(&log);
    let mut log_model = LogModel::after(seed, answered.log);
    while log_model.groups != found {
        assert!(
            log_model.done < answered.log + IN_FLIGHT_MAX,
            "seed {seed}: the log is at no step from {} on",
            answered.log
        );
        log_model.step();
    }
    let applied = check_state(&state, seed);
    assert!(
        applied >= answered.state,
        "seed {seed}: batch {} was synced, {applied} is there",
        answered.state
    );
    Position { log: log_model.done, state: applied }
}

/// The batch that the state is at: all up to it and nothing of the next.
pub fn check_state(state: &SledEngine, seed: u64) -> u64 {
    let rows = read_state(state);
    let applied =
        rows.get(b"applied".as_slice()).map_or(0, |v| u64::from_be_bytes(v[..].try_into().unwrap()));
    assert!(
        StateModel::after(seed, applied).rows == rows,
        "seed {seed}: the state is not that of batch {applied}"
    );
    applied
}

/// Also the child's entry point, when its environment is set.
#[test]
fn a_workload_left_alone_ends_where_its_model_does() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let Some((directory, seed)) = std::env::var_os(DIRECTORY).zip(number(SEED)) else {
        let directory = tempfile::tempdir().unwrap();
        let seed = 1;
        work(directory.path(), seed, Position::default(), 300, OFTEN);
        let end = check(directory.path(), seed, Position { log: 300, state: 300 });
        assert_eq!(end, Position { log: 300, state: 300 });
        assert_eq!(choice(seed, 0, 1), 0);
        return;
    };
    let from = std::env::var(FROM).unwrap();
    let (log, state) = from.split_once(' ').unwrap();
    let from = Position { log: log.parse().unwrap(), state: state.parse().unwrap() };
    let sync_every = number(SYNC_EVERY).unwrap_or(OFTEN);
    work(Path::new(&directory), seed, from, number(STEPS).unwrap(), sync_every);
}
