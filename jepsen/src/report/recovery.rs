//! How long it took, after a fault began and after it was taken back, until a write went well again.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::scale::float;
use crate::history::Operation;
use crate::run::FaultDone;

/// Of one kind of fault, in ms, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Recovery {
    /// From the fault's beginning to the first write that began after it and went well.
    pub(super) during_ms: Vec<u64>,
    /// From its end.
    pub(super) after_ms: Vec<u64>,
    /// Faults after whose beginning no write went well while they lasted.
    pub(super) blocked: u64,
}

/// By kind of fault; only those that took.
pub(super) fn of(operations: &[Operation], faults: &[FaultDone]) -> BTreeMap<&'static str, Recovery> {
    let mut out: BTreeMap<&'static str, Recovery> = BTreeMap::new();
    for done in faults.iter().filter(|done| done.took == "Installed") {
        let entry = out.entry(done.kind.name()).or_default();
        match next_write(operations, done.began_ns) {
            Some(ended) if ended <= done.ended_ns => {
                entry.during_ms.push((ended - done.began_ns) / 1_000_000);
            }
            Some(_) | None => entry.blocked += 1,
        }
        if let Some(ended) = next_write(operations, done.ended_ns) {
            entry.after_ms.push((ended - done.ended_ns) / 1_000_000);
        }
    }
    for entry in out.values_mut() {
        entry.during_ms.sort_unstable();
        entry.after_ms.sort_unstable();
    }
    out
}

/// When the first write that began after `from_ns` and went well ended.
fn next_write(operations: &[Operation], from_ns: u64) -> Option<u64> {
    let writes =
        operations.iter().filter(|one| !one.call.is_read() && one.is_ok() && one.invoked_ns >= from_ns);
    writes.filter_map(|one| one.completed_ns).min()
}

/// The table.
pub(super) fn table(recoveries: &BTreeMap<&'static str, Recovery>) -> String {
    let mut out = String::from(
        "<table><tr><th>fault</th><th>took</th><th>blocked all writes</th><th>first write after it began: median</th><th>worst</th><th>after it ended: median</th><th>p99</th><th>worst</th></tr>\n",
    );
    for (kind, one) in recoveries {
        let total = one.blocked + u64::try_from(one.during_ms.len()).unwrap_or(0);
        // Writing into a string cannot fail.
        let _ = writeln!(
            out,
            "<tr><td>{kind}</td><td>{total}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            one.blocked,
            at(&one.during_ms, 50),
            at(&one.during_ms, 100),
            at(&one.after_ms, 50),
            at(&one.after_ms, 99),
            at(&one.after_ms, 100),
        );
    }
    out + "</table>\n"
}

/// Of sorted times, as text.
pub(super) fn at(sorted: &[u64], percent: usize) -> String {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).map_or_else(|| "-".to_owned(), |ms| format!("{:.2} s", float(*ms) / 1_000.0))
}
