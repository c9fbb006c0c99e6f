//! A history on disk: one EDN map a line, as Jepsen writes it.

use std::collections::BTreeMap;
use std::io::BufRead;

use super::edn::{Edn, EdnError};
use super::form;
use super::operation::{Call, Class, Operation, Outcome, Refusal, Reply};
use super::{FaultEvent, History};

/// A file that is not a history.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// Reading failed.
    #[error("cannot read the history")]
    Io(#[from] std::io::Error),
    /// A line is not EDN.
    #[error("line {line} is not EDN")]
    Edn {
        /// Which, from 1.
        line: usize,
        /// Why.
        #[source]
        cause: EdnError,
    },
    /// A line is EDN, and no operation.
    #[error("line {line} is no operation: {what}")]
    Form {
        /// Which, from 1.
        line: usize,
        /// What is missing.
        what: &'static str,
    },
}

/// An invocation or an end, as a line.
pub(super) fn invocation(operation: &Operation) -> String {
    let mut pairs = head(operation.index, operation.invoked_ns, operation.process, "invoke", &operation.call);
    pairs.push((Edn::keyword("value"), form::call(&operation.call)));
    pairs.push((Edn::keyword("node"), Edn::Text(operation.node.clone())));
    if operation.from > 0 {
        pairs.push((Edn::keyword("from"), Edn::number(operation.from)));
    }
    if let Some(class) = operation.class {
        pairs.push((Edn::keyword("class"), Edn::keyword(class.name())));
    }
    if let Call::Read { after: Some(after), .. } = operation.call {
        pairs.push((Edn::keyword("after"), Edn::number(after)));
    }
    Edn::Map(pairs).to_string()
}

/// The end of an operation, as a line under its own index.
pub(super) fn completion(operation: &Operation, index: u64, time_ns: u64) -> String {
    let (kind, value, error) = match &operation.outcome {
        Outcome::Ok(reply) => ("ok", form::completed(&operation.call, reply), None),
        Outcome::Fail(refusal) => ("fail", form::call(&operation.call), Some(refusal.to_string())),
        Outcome::Info(why) => ("info", form::call(&operation.call), Some(why.clone())),
    };
    let mut pairs = head(index, time_ns, operation.process, kind, &operation.call);
    pairs.push((Edn::keyword("value"), value));
    pairs.push((Edn::keyword("of"), Edn::number(operation.index)));
    if let Some(error) = error {
        pairs.push((Edn::keyword("error"), Edn::Text(error)));
    }
    Edn::Map(pairs).to_string()
}

/// Something done to the cluster, as a line.
pub(super) fn fault(event: &FaultEvent, index: u64) -> String {
    Edn::Map(vec![
        (Edn::keyword("index"), Edn::number(index)),
        (Edn::keyword("time"), Edn::number(event.time_ns)),
        (Edn::keyword("process"), Edn::keyword("nemesis")),
        (Edn::keyword("type"), Edn::keyword("info")),
        (Edn::keyword("f"), Edn::keyword(&event.name)),
        (Edn::keyword("value"), Edn::Text(event.told.clone())),
    ])
    .to_string()
}

fn head(index: u64, time_ns: u64, process: u64, kind: &str, call: &Call) -> Vec<(Edn, Edn)> {
    vec![
        (Edn::keyword("index"), Edn::number(index)),
        (Edn::keyword("time"), Edn::number(time_ns)),
        (Edn::keyword("process"), Edn::number(process)),
        (Edn::keyword("type"), Edn::keyword(kind)),
        (Edn::keyword("f"), Edn::keyword(call.name())),
    ]
}

/// Reads a history. An operation without an end is unknown; a last line that was cut off is left out.
///
/// # Errors
/// [`HistoryError`], with the line.
pub fn read(file: impl BufRead) -> Result<History, HistoryError> {
    let mut history = History::default();
    // Client to the place of what it waits for.
    let mut open: BTreeMap<u64, usize> = BTreeMap::new();
    let lines: Vec<String> = file.lines().collect::<Result<_, _>>()?;
    for (turn, text) in lines.iter().enumerate() {
        let line = turn + 1;
        if text.trim().is_empty() {
            continue;
        }
        let map = match Edn::parse(text) {
            Ok(map) => map,
            Err(_) if line == lines.len() => break,
            Err(cause) => return Err(HistoryError::Edn { line, cause }),
        };
        one(&map, &mut history, &mut open).map_err(|what| HistoryError::Form { line, what })?;
    }
    history.operations.sort_by_key(|operation| operation.index);
    Ok(history)
}

fn one(map: &Edn, history: &mut History, open: &mut BTreeMap<u64, usize>) -> Result<(), &'static str> {
    let number = |name: &str| map.get(name).and_then(Edn::as_number);
    let word = |name: &str| map.get(name).and_then(Edn::as_keyword);
    let text = |name: &str| map.get(name).and_then(Edn::as_text).unwrap_or_default().to_owned();
    let time_ns = number("time").ok_or("`:time` is missing")?;
    let name = word("f").ok_or("`:f` is missing")?;
    if word("process") == Some("nemesis") {
        history.faults.push(FaultEvent { time_ns, name: name.to_owned(), told: text("value") });
        return Ok(());
    }
    let process = number("process").ok_or("`:process` is missing")?;
    let value = map.get("value").ok_or("`:value` is missing")?;
    let kind = word("type").ok_or("`:type` is missing")?;
    if kind == "invoke" {
        let call = form::parse_call(name, value, number("after")).ok_or("`:value` does not fit `:f`")?;
        open.insert(process, history.operations.len());
        history.operations.push(Operation {
            index: number("index").ok_or("`:index` is missing")?,
            process,
            node: text("node"),
            from: number("from").unwrap_or_default(),
            class: word("class").and_then(form::parse_class),
            call,
            invoked_ns: time_ns,
            completed_ns: None,
            outcome: Outcome::Info("no end was written".to_owned()),
        });
        return Ok(());
    }
    let place = open.remove(&process).ok_or("an end without its beginning")?;
    let operation = history.operations.get_mut(place).ok_or("an end without its beginning")?;
    operation.completed_ns = Some(time_ns);
    operation.outcome = match kind {
        "ok" => Outcome::Ok(reply(&operation.call, value)?),
        "fail" => Outcome::Fail(Refusal::of(&text("error"))),
        "info" => Outcome::Info(text("error")),
        _ => return Err("`:type` is not invoke, ok, fail or info"),
    };
    Ok(())
}

fn reply(call: &Call, value: &Edn) -> Result<Reply, &'static str> {
    form::parse_reply(call, value).ok_or("`:value` is no answer to `:f`")
}

/// Which class a read has that says none.
pub(super) fn class_of(call: &Call) -> Option<Class> {
    call.is_read().then_some(Class::Strong)
}
