//! How much of each operation went well at each node, and how fast.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::scale::{escape, float};
use crate::history::{Operation, Outcome, Refusal};

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
    let mut rows: BTreeMap<(&str, &str), Row> = BTreeMap::new();
    for operation in operations {
        let row = rows.entry((operation.call.name(), &operation.node)).or_default();
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
    let mut out = String::from(
        "<table><tr><th>operation</th><th>at</th><th>asked</th><th>answered</th><th>unknown</th><th>median</th><th>p99</th><th>worst</th></tr>\n",
    );
    for ((name, node), mut row) in rows {
        row.times_us.sort_unstable();
        let percent = float(row.answered) * 100.0 / float(row.asked.max(1));
        // Writing into a string cannot fail.
        let _ = writeln!(
            out,
            "<tr><td>{name}</td><td>{}</td><td>{}</td><td>{percent:.2}%</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(node),
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
