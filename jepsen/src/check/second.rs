//! A second opinion on transactions: the crate `adya`, written by others after Elle, on our export for Elle.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::applied;
use super::finding::Check;
use crate::history::{self, Call, History, Operation};

/// Anomalies told at most.
const TOLD_MAX: usize = 5;

/// Judges the log as lists, and transactions if there are any, as [`applied::as_lists`] does.
pub fn opinion(history: &History) -> Check {
    let mut out = Check::named("log as lists (adya)");
    let asked = history.operations.iter().filter(|one| matches!(one.call, Call::Txn(_))).cloned();
    for operations in [applied::transactions(history).operations, asked.collect()] {
        out.looked_at += operations.iter().filter(|one: &&Operation| one.is_ok()).count() as u64;
        if !operations.is_empty() {
            one(&mut out, &operations);
        }
    }
    out
}

fn one(out: &mut Check, operations: &[Operation]) {
    let export = history::elle(operations);
    // It is young: a panic of it is no verdict.
    let judged = catch_unwind(AssertUnwindSafe(|| {
        let history = adya::History::from_edn(&export.text)?;
        let models = vec!["strict-serializable".to_owned()];
        Ok(adya::check(&history, adya::Workload::ListAppend, &adya::Opts { models, ..adya::Opts::default() }))
    }));
    match judged {
        Ok(Ok(report)) => tell(out, &report, operations, &export.lines),
        Ok(Err(error)) => {
            let error: adya::Error = error;
            out.unknown.push(format!("adya does not read the history: {error}"));
        }
        Err(_) => out.unknown.push("adya panicked".to_owned()),
    }
}

/// What it says, in our words. Its anomalies name lines of the export.
fn tell(out: &mut Check, report: &adya::Report, operations: &[Operation], lines: &[u64]) {
    match report.valid {
        adya::Valid::True => {}
        // Writes that nobody read.
        adya::Valid::Unknown if report.anomaly_types == ["empty-transaction-graph"] => {}
        adya::Valid::Unknown => out.unknown.push(format!("adya cannot say: {:?}", report.anomaly_types)),
        adya::Valid::False => {
            let before = out.findings.len();
            for anomaly in report.anomalies.values().flatten().take(TOLD_MAX) {
                let of_line = |line: &u64| {
                    let index = lines.get(usize::try_from(*line).ok()?)?;
                    operations.iter().find(|one| one.index == *index)
                };
                let window: Vec<&Operation> = anomaly.ops.iter().filter_map(of_line).collect();
                out.find(format!("{}: {}", anomaly.kind, anomaly.explanation), &window);
            }
            if out.findings.len() == before {
                out.find(
                    format!("adya refuses the history and lists nothing: {:?}", report.anomaly_types),
                    &[],
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::history::{Outcome, Reply, Step};

    fn txn(index: u64, at_ns: u64, steps: Vec<Step>) -> Operation {
        Operation {
            index,
            process: index,
            node: "n1".to_owned(),
            from: 0,
            class: None,
            call: Call::Txn(steps.clone()),
            invoked_ns: at_ns,
            completed_ns: Some(at_ns + 1),
            outcome: Outcome::Ok(Reply::Txn(steps)),
        }
    }

    fn report(valid: adya::Valid) -> adya::Report {
        let anomaly_types = vec!["strange".to_owned()];
        adya::Report {
            valid,
            anomaly_types,
            anomalies: BTreeMap::new(),
            not: Vec::new(),
            also_not: Vec::new(),
        }
    }

    #[test]
    fn what_adya_finds_is_shown_with_the_operations_that_it_names() {
        // An append that is over is not seen by a later reading.
        let append = txn(7, 0, vec![Step::Append(1, 5)]);
        let missed = txn(9, 10, vec![Step::Read(1, Some(Vec::new()))]);
        let mut out = Check::named("log as lists (adya)");
        one(&mut out, &[append, missed]);
        let shown: Vec<u64> = out.findings.iter().flat_map(|one| &one.window).map(|one| one.index).collect();
        assert!(shown.contains(&7) && shown.contains(&9), "{shown:?}");
    }

    #[test]
    fn a_refusal_that_lists_nothing_is_a_finding_all_the_same() {
        let told = |valid| {
            let mut out = Check::default();
            tell(&mut out, &report(valid), &[], &[]);
            (out.findings.len(), out.unknown.len())
        };
        let [yes, no, perhaps] = [adya::Valid::True, adya::Valid::False, adya::Valid::Unknown];
        assert_eq!((told(yes), told(no), told(perhaps)), ((0, 0), (1, 0), (0, 1)));
    }
}
