//! What a checker says.

use std::fmt::Write as _;

use crate::history::Operation;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Who says so.
    pub checker: &'static str,
    /// What was broken, in a sentence.
    pub what: String,
    /// The operations that show it, as few as could be found.
    pub window: Vec<Operation>,
}

/// What one checker found in one history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// Operations that it could judge. Nothing to judge is no pass.
    pub looked_at: u64,
    /// Broken promises.
    pub findings: Vec<Finding>,
    /// What it could not decide, and why.
    pub unknown: Vec<String>,
}

impl Check {
    pub(super) fn named(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    pub(super) fn find(&mut self, what: String, window: &[&Operation]) {
        let mut window: Vec<Operation> = window.iter().map(|operation| (*operation).clone()).collect();
        window.sort_by_key(|operation| operation.index);
        window.dedup();
        self.findings.push(Finding { checker: self.name, what, window });
    }
}

impl Finding {
    /// For people: the sentence, then one line an operation.
    pub fn text(&self) -> String {
        let mut out = format!("{}: {}\n", self.checker, self.what);
        for operation in &self.window {
            // Writing into a string cannot fail.
            let _ = writeln!(out, "    {operation}");
        }
        out
    }
}
