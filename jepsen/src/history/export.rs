//! Histories for checkers of others: Knossos (a register) and Elle (lists).

use std::fmt::Write as _;

use super::edn::Edn;
use super::form;
use super::operation::{Call, Key, Operation, Outcome, Reply, Step};

/// A history as another checker takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Export {
    /// EDN, one map a line.
    pub text: String,
    /// Of which operation each line is, by its index.
    pub lines: Vec<u64>,
}

/// The reads and writes of one register, as `knossos.model/register` takes them.
pub fn knossos(operations: &[&Operation], key: Key) -> Export {
    let of_key = operations.iter().filter_map(|operation| match operation.call {
        Call::Read { key: found, .. } if found == key => Some((*operation, "read", Edn::Nil)),
        Call::Write { key: found, value } if found == key => Some((*operation, "write", Edn::number(value))),
        Call::Read { .. }
        | Call::Write { .. }
        | Call::Claim { .. }
        | Call::Owner { .. }
        | Call::Redeem { .. }
        | Call::Refresh { .. }
        | Call::Revoke { .. }
        | Call::Introspect { .. }
        | Call::Add { .. }
        | Call::Members { .. }
        | Call::Log { .. }
        | Call::Txn(_) => None,
    });
    let lines = of_key.flat_map(|(operation, name, asked)| {
        let answered = match &operation.outcome {
            Outcome::Ok(Reply::Value(value)) => Edn::number_or_nil(*value),
            Outcome::Ok(_) | Outcome::Fail(_) | Outcome::Info(_) => asked.clone(),
        };
        pair(operation, name, asked, answered)
    });
    export(lines.collect())
}

/// The transactions, as `elle.list-append` takes them.
pub fn elle(operations: &[Operation]) -> Export {
    let lines = operations.iter().flat_map(|operation| {
        let Call::Txn(asked) = &operation.call else { return Vec::new() };
        let answered: &[Step] = match &operation.outcome {
            Outcome::Ok(Reply::Txn(steps)) => steps,
            Outcome::Ok(_) | Outcome::Fail(_) | Outcome::Info(_) => asked,
        };
        pair(operation, "txn", form::steps(asked), form::steps(answered))
    });
    export(lines.collect())
}

/// When a line was written, of which operation it is, and what stands there.
type Line = (u64, u64, [Edn; 4]);

/// The invocation and the end.
fn pair(operation: &Operation, name: &str, asked: Edn, answered: Edn) -> Vec<Line> {
    let process = Edn::number(operation.process);
    let line = |kind: &str, value: Edn| [process.clone(), Edn::keyword(kind), Edn::keyword(name), value];
    let mut lines = vec![(operation.invoked_ns, operation.index, line("invoke", asked))];
    if let Some(ended) = operation.completed_ns {
        let kind = match operation.outcome {
            Outcome::Ok(_) => "ok",
            Outcome::Fail(_) => "fail",
            Outcome::Info(_) => "info",
        };
        lines.push((ended, operation.index, line(kind, answered)));
    }
    lines
}

fn export(mut lines: Vec<Line>) -> Export {
    lines.sort_by_key(|(time, ..)| *time);
    let mut out = Export::default();
    for (index, (time, operation, [process, kind, name, value])) in lines.into_iter().enumerate() {
        // Writing into a string cannot fail.
        let _ = writeln!(
            out.text,
            "{{:index {index}, :time {time}, :process {process}, :type {kind}, :f {name}, :value {value}}}"
        );
        out.lines.push(operation);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::journal::Journal;
    use super::super::operation::Refusal;
    use super::*;
    use crate::clock::Stopwatch;

    #[test]
    fn exports_have_the_forms_that_knossos_and_elle_take() {
        let journal = Journal::in_memory(Stopwatch::start());
        let put = |process, call, outcome| {
            let ticket = journal.invoke(process, "n1", None, call);
            journal.complete(ticket, outcome);
        };
        put(0, Call::Write { key: 1, value: 5 }, Outcome::Ok(Reply::Done));
        put(1, Call::Read { key: 1, after: None }, Outcome::Ok(Reply::Value(Some(5))));
        put(2, Call::Write { key: 2, value: 6 }, Outcome::Info("lost".to_owned()));
        put(3, Call::Txn(vec![Step::Append(9, 1)]), Outcome::Fail(Refusal::Unavailable));
        let history = journal.history().unwrap();
        let all: Vec<&Operation> = history.operations.iter().collect();
        let shapes = |export: &Export| -> Vec<String> {
            export
                .text
                .lines()
                .map(|line| {
                    let map = Edn::parse(line).unwrap();
                    format!(
                        "{} {} {}",
                        map.get("type").unwrap(),
                        map.get("f").unwrap(),
                        map.get("value").unwrap()
                    )
                })
                .collect()
        };
        assert_eq!(
            shapes(&knossos(&all, 1)),
            [":invoke :write 5", ":ok :write 5", ":invoke :read nil", ":ok :read 5"]
        );
        assert_eq!(shapes(&knossos(&all, 2)), [":invoke :write 6", ":info :write 6"]);
        assert_eq!(
            shapes(&elle(&history.operations)),
            [":invoke :txn [[:append 9 1]]", ":fail :txn [[:append 9 1]]"]
        );
        let index = history.operations[3].index;
        assert_eq!(elle(&history.operations).lines, [index, index]);
    }
}
