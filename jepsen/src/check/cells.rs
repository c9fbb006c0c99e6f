//! Registers and names: each is linearizable by itself.

use super::finding::{Check, Finding};
use super::linear::{Judgement, judge};
use super::model::{Cell, cell_of, deciding};
use super::window;
use crate::history::{Class, History, Operation};

/// Judges every register by its strong reads and every name by its claims.
pub fn check(history: &History) -> Check {
    let mut out = Check::named("linearizability");
    let strong = |operation: &Operation| operation.class.is_none_or(|class| class == Class::Strong);
    for ((is_name, key), operations) in history.by_key(|one| cell_of(one).filter(|_| strong(one))) {
        out.looked_at += operations.len() as u64;
        match judge(&Cell, &deciding(&operations)) {
            Judgement::Linearizable => {}
            Judgement::Unknown => {
                out.unknown.push(format!("{} {key}: too many orders to try", kind(is_name)));
            }
            Judgement::Not => {
                let fails = |list: &[&Operation]| judge(&Cell, &deciding(list)) == Judgement::Not;
                out.findings.push(Finding {
                    checker: "linearizability",
                    what: format!(
                        "{} {key} is not linearizable: no order of these explains all",
                        kind(is_name)
                    ),
                    window: window::smallest(&operations, fails),
                });
            }
        }
    }
    out
}

fn kind(is_name: bool) -> &'static str {
    if is_name { "name" } else { "register" }
}
