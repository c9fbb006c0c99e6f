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
    let text = history::elle(operations);
    // It is young: a panic of it is no verdict.
    let judged = catch_unwind(AssertUnwindSafe(|| {
        let history = adya::History::from_edn(&text)?;
        let models = vec!["strict-serializable".to_owned()];
        Ok(adya::check(&history, adya::Workload::ListAppend, &adya::Opts { models, ..adya::Opts::default() }))
    }));
    let report = match judged {
        Ok(Ok(report)) => report,
        Ok(Err(error)) => {
            let error: adya::Error = error;
            return out.unknown.push(format!("adya does not read the history: {error}"));
        }
        Err(_) => return out.unknown.push("adya panicked".to_owned()),
    };
    match report.valid {
        adya::Valid::True => {}
        // Writes that nobody read.
        adya::Valid::Unknown if report.anomaly_types == ["empty-transaction-graph"] => {}
        adya::Valid::Unknown => out.unknown.push(format!("adya cannot say: {:?}", report.anomaly_types)),
        adya::Valid::False => {
            for anomaly in report.anomalies.values().flatten().take(TOLD_MAX) {
                out.find(format!("{}: {}", anomaly.kind, anomaly.explanation), &[]);
            }
        }
    }
}
