//! How much of each operation went well at each node, and between each two regions, and how fast.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::scale::{escape, float};
use crate::history::{Operation, Outcome, Refusal};
use crate::topology::Topology;

/// One row of the table.
#[derive(Clone, Debug, Default, PartialEq)]
struct Row {
    asked: u64,
    /// Refusals that tell something are answers like others.
    answered: u64,
    unknown: u64,
    times_us: Vec<u64>,
}

/// The table, by operation and node.
pub(super) fn table(operations: &[Operation]) -> String {
    let rows = rows(operations, |one| (one.call.name().to_owned(), one.node.clone()));
    text(["operation", "at"], rows)
}

/// The same by where clients are and where the node is that they asked.
pub(super) fn by_region(operations: &[Operation], topology: &Topology) -> String {
    let places = topology.places();
    let at = |node: &str| {
        let turn = node.strip_prefix('n').and_then(|number| number.parse::<usize>().ok());
        let place = turn.and_then(|number| places.get(number.checked_sub(1)?));
        place.map_or_else(|| "?".to_owned(), |(region, _)| region.clone())
    };
    let from = |place: u64| {
        let turn = usize::try_from(place).ok().and_then(|place| place.checked_sub(1));
        let region = turn.and_then(|turn| topology.regions.get(turn));
        region.map_or_else(|| "the harness".to_owned(), |region| region.name.clone())
    };
    text(["clients in", "nodes in"], rows(operations, |one| (from(one.from), at(&one.node))))
}

type Rows = BTreeMap<(String, String), Row>;

fn rows(operations: &[Operation], key: impl Fn(&Operation) -> (String, String)) -> Rows {
    let mut rows = Rows::new();
    for operation in operations {
        let row = rows.entry(key(operation)).or_default();
        row.asked += 1;
        match &operation.outcome {
            Outcome::Ok(_) | Outcome::Fail(Refusal::Taken | Refusal::InvalidGrant) => {
                row.answered += 1;
                let took = operation.completed_ns.unwrap_or_default().saturating_sub(operation.invoked_ns);
                row.times_us.push(took / 1_000);
            }
            Outcome::Fail(_) => {}
            Outcome::Info(_) => row.unknown += 1,
        }
    }
    rows
}

fn text([first, second]: [&str; 2], rows: Rows) -> String {
    let mut out = format!(
        "<table><tr><th>{first}</th><th>{second}</th><th>asked</th><th>answered</th><th>unknown</th><th>median</th><th>p99</th><th>worst</th></tr>\n",
    );
    for ((name, at), mut row) in rows {
        row.times_us.sort_unstable();
        let percent = float(row.answered) * 100.0 / float(row.asked.max(1));
        // Writing into a string cannot fail.
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{percent:.2}%</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&name),
            escape(&at),
            row.asked,
            row.unknown,
            quantile_ms(&row.times_us, 50),
            quantile_ms(&row.times_us, 99),
            quantile_ms(&row.times_us, 100),
        );
    }
    out + "</table>\n"
}

/// Of sorted times in us, as text in ms.
fn quantile_ms(sorted: &[u64], percent: usize) -> String {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).map_or_else(|| "-".to_owned(), |us| format!("{:.1} ms", float(*us) / 1_000.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::place;
    use crate::clock::Stopwatch;
    use crate::history::{Call, Journal, Reply};

    #[test]
    fn what_went_well_is_told_by_the_region_of_clients_and_of_nodes() {
        let journal = Journal::in_memory(Stopwatch::start());
        let write = |node: &str, outcome: Outcome| {
            let ticket = journal.invoke(1, node, None, Call::Write { key: 1, value: 2 });
            journal.complete(ticket, outcome);
        };
        place::set(2);
        write("n1", Outcome::Ok(Reply::Done));
        write("n2", Outcome::Info("lost".to_owned()));
        write("n3", Outcome::Ok(Reply::Done));
        place::set(0);
        write("n3", Outcome::Ok(Reply::Done));
        let page = by_region(&journal.history().unwrap().operations, &"eu2,us1".parse().unwrap());
        for row in [
            "<tr><td>us</td><td>eu</td><td>2</td><td>50.00%</td><td>1</td>",
            "<tr><td>us</td><td>us</td><td>1</td><td>100.00%</td><td>0</td>",
            "<tr><td>the harness</td><td>us</td><td>1</td><td>100.00%</td><td>0</td>",
        ] {
            assert!(page.contains(row), "{row}: {page}");
        }
    }

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let times: Vec<u64> = (1..=100).map(|ms| ms * 1_000).collect();
        assert_eq!(
            (quantile_ms(&times, 50), quantile_ms(&times, 99)),
            ("50.0 ms".to_owned(), "99.0 ms".to_owned())
        );
        assert_eq!((quantile_ms(&times, 100), quantile_ms(&[], 50)), ("100.0 ms".to_owned(), "-".to_owned()));
    }
}
