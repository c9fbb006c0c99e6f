//! A history while it is being made: every line is on its way to the file before the request leaves.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::operation::{Call, Class, Operation, Outcome};
use super::{FaultEvent, History, lines};
use crate::client::place;
use crate::clock::Stopwatch;

/// What [`Journal::invoke`] gives and [`Journal::complete`] takes back.
#[derive(Debug)]
#[must_use = "an operation that is never completed counts as unknown"]
pub struct Ticket {
    place: usize,
    /// Index of the invocation.
    pub index: u64,
}

/// Takes what clients and the nemesis say.
#[derive(Debug)]
pub struct Journal {
    began: Stopwatch,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    next: u64,
    history: History,
    file: Option<File>,
    /// The first failure to write, which makes the run worthless.
    failure: Option<std::io::Error>,
}

impl Journal {
    /// A new history in `path`, with times since `began`.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn create(path: &Path, began: Stopwatch) -> std::io::Result<Self> {
        Ok(Self::with(Some(File::create(path)?), began))
    }

    /// One that is only in memory.
    pub fn in_memory(began: Stopwatch) -> Self {
        Self::with(None, began)
    }

    fn with(file: Option<File>, began: Stopwatch) -> Self {
        let inner = Inner { next: 0, history: History::default(), file, failure: None };
        Self { began, inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time of the history, in ns.
    pub fn now_ns(&self) -> u64 {
        self.began.elapsed_ns()
    }

    /// Before a request leaves. Reads are strong unless `class` says otherwise.
    pub fn invoke(&self, process: u64, node: &str, class: Option<Class>, call: Call) -> Ticket {
        let mut inner = self.lock();
        let operation = Operation {
            index: inner.take_index(),
            process,
            node: node.to_owned(),
            from: u64::try_from(place::here()).unwrap_or_default(),
            class: class.or_else(|| lines::class_of(&call)),
            call,
            invoked_ns: self.began.elapsed_ns(),
            completed_ns: None,
            outcome: Outcome::Info("not ended".to_owned()),
        };
        inner.write(&lines::invocation(&operation));
        let ticket = Ticket { place: inner.history.operations.len(), index: operation.index };
        inner.history.operations.push(operation);
        ticket
    }

    /// After the answer came, or did not.
    #[allow(clippy::needless_pass_by_value, reason = "a ticket is used once")]
    pub fn complete(&self, ticket: Ticket, outcome: Outcome) {
        let mut inner = self.lock();
        let (index, now) = (inner.take_index(), self.began.elapsed_ns());
        let Some(operation) = inner.history.operations.get_mut(ticket.place) else { return };
        operation.completed_ns = Some(now);
        operation.outcome = outcome;
        let line = lines::completion(operation, index, now);
        inner.write(&line);
    }

    /// Something was done to the cluster.
    pub fn fault(&self, name: &str, told: &str) {
        let mut inner = self.lock();
        let event =
            FaultEvent { time_ns: self.began.elapsed_ns(), name: name.to_owned(), told: told.to_owned() };
        let index = inner.take_index();
        inner.write(&lines::fault(&event, index));
        inner.history.faults.push(event);
    }

    /// How many operations began, ended well, were refused, are unknown.
    pub fn counts(&self) -> [usize; 4] {
        let inner = self.lock();
        let operations = &inner.history.operations;
        let count = |fits: fn(&Operation) -> bool| operations.iter().filter(|one| fits(one)).count();
        [
            operations.len(),
            count(Operation::is_ok),
            count(|one| matches!(one.outcome, Outcome::Fail(_))),
            count(|one| one.is_unknown() && one.completed_ns.is_some()),
        ]
    }

    /// A copy of what there is by now.
    pub fn so_far(&self) -> History {
        self.lock().history.clone()
    }

    /// The history so far.
    ///
    /// # Errors
    /// It could not all be written to its file.
    pub fn history(&self) -> std::io::Result<History> {
        let mut inner = self.lock();
        match inner.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(inner.history.clone()),
        }
    }
}

impl Inner {
    fn take_index(&mut self) -> u64 {
        let index = self.next;
        self.next += 1;
        index
    }

    fn write(&mut self, line: &str) {
        let Some(file) = &mut self.file else { return };
        if let Err(failure) = file.write_all(format!("{line}\n").as_bytes()) {
            self.failure.get_or_insert(failure);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::operation::{Refusal, Reply, Step};
    use super::*;

    fn calls() -> Vec<(Call, Outcome)> {
        let ok = Outcome::Ok;
        vec![
            (Call::Read { key: 1, after: Some(0) }, ok(Reply::Value(None))),
            (Call::Read { key: 1, after: None }, ok(Reply::Value(Some(4)))),
            (Call::Write { key: 1, value: 4 }, Outcome::Info("timed \"out\"".to_owned())),
            (Call::Claim { name: 2, by: 9 }, Outcome::Fail(Refusal::Taken)),
            (Call::Claim { name: 2, by: 8 }, ok(Reply::Done)),
            (Call::Owner { name: 2 }, ok(Reply::Value(Some(8)))),
            (Call::Redeem { code: 3 }, Outcome::Fail(Refusal::InvalidGrant)),
            (Call::Refresh { family: 4, token: 1 }, ok(Reply::Successor(2))),
            (Call::Revoke { token: 5 }, ok(Reply::Done)),
            (Call::Introspect { token: 5 }, ok(Reply::Active(true))),
            (Call::Add { set: 6, element: 1 }, Outcome::Fail(Refusal::Other("no route".to_owned()))),
            (Call::Members { set: 6 }, ok(Reply::Members(vec![1, 2]))),
            (Call::Log { log: 7 }, ok(Reply::Entries(vec![(1, 10), (2, 11)]))),
            (
                Call::Txn(vec![Step::Append(1, 2), Step::Read(1, None)]),
                ok(Reply::Txn(vec![Step::Append(1, 2), Step::Read(1, Some(vec![2]))])),
            ),
        ]
    }

    #[test]
    fn a_history_reads_back_as_it_was_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let journal = Journal::create(file.path(), Stopwatch::start()).unwrap();
        for (process, (call, outcome)) in calls().into_iter().enumerate() {
            let ticket = journal.invoke(process as u64, "n1", None, call);
            journal.complete(ticket, outcome);
        }
        let (before, region) = (place::here(), 2);
        place::set(region);
        let elsewhere = journal.invoke(98, "n2", None, Call::Write { key: 1, value: 5 });
        place::set(before);
        journal.complete(elsewhere, Outcome::Ok(Reply::Done));
        let _never_ended = journal.invoke(99, "n2", Some(Class::Bounded), Call::Introspect { token: 1 });
        journal.fault("kill", "n1: took");
        let mut wrote = journal.history().unwrap();
        let text = std::fs::read(file.path()).unwrap();
        let found = super::lines::read(text.as_slice()).unwrap();
        wrote.operations.last_mut().unwrap().outcome = Outcome::Info("no end was written".to_owned());
        assert_eq!(found, wrote);
        let from: Vec<u64> = found.operations.iter().map(|one| one.from).filter(|from| *from > 0).collect();
        assert_eq!(from, [2], "a client's region is written down");
        assert_eq!(journal.counts(), [16, 11, 3, 1]);
    }

    #[test]
    fn a_last_line_that_was_cut_off_is_left_out() {
        let text = "{:index 0, :time 1, :process 0, :type :invoke, :f :read, :value [1 nil], :node \"n\"}\n{:index 1, :ti";
        let found = super::lines::read(text.as_bytes()).unwrap();
        assert_eq!(found.operations.len(), 1);
        assert!(found.operations[0].is_unknown());
        let broken = format!("{{:index\n{text}");
        assert!(super::lines::read(broken.as_bytes()).unwrap_err().to_string().contains("line 1"));
    }
}
