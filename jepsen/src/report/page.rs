//! The page around the pictures.

use std::fmt::Write as _;

use super::scale::{Across, escape};
use super::{Facts, availability, latency, leaders, recovery, stale};
use crate::check::{Finding, staleness};
use crate::history::Operation;

const STYLE: &str = "body{font:14px/1.45 sans-serif;max-width:1020px;margin:2em auto;padding:0 1em;color:#111;background:#fff}\
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em;border-bottom:1px solid #999}\
svg{width:100%;font:11px sans-serif}table{border-collapse:collapse;font-size:13px}\
th,td{border:1px solid #bbb;padding:2px 8px;text-align:right}th:first-child,td:first-child{text-align:left}\
pre{background:#f4f4f4;border:1px solid #ccc;padding:.6em;overflow-x:auto}\
.verdict{display:inline-block;border:3px solid #000;padding:.2em .8em;font-weight:bold;font-size:1.3em}";
/// Findings shown in full.
const SHOWN: usize = 20;

pub(super) fn html(facts: &Facts<'_>) -> String {
    let operations = &facts.history.operations;
    let ends = operations.iter().map(|one| one.completed_ns.unwrap_or(one.invoked_ns));
    let total_ns = ends.max().unwrap_or(1);
    let across = Across::new(total_ns);
    let single = requests(operations);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style></head><body>\n\
         <h1>{title}</h1>\n<p class=\"verdict\">{}</p>\n<p>{} operations in {} s, {} faults; {} more answers are taken from listings of many pages, and have no time of their own.</p>\n<pre>{}</pre>\n",
        facts.verdict.name(),
        single.len(),
        total_ns / 1_000_000_000,
        facts.faults.len(),
        operations.len() - single.len(),
        escape(facts.again),
        title = escape(facts.title),
    );
    out += &checks(facts);
    out += "<h2>Time of each operation</h2>\n<p>Dot: it went well. Cross: it was refused. Ring: nobody knows. Hatched: a fault that took.</p>\n";
    out += &latency::scatter(&single, facts.faults, across);
    out += "<h2>Operations each second</h2>\n<p>Solid: went well. Dashed: refused or unknown.</p>\n";
    out += &latency::rate(&single, facts.faults, across, total_ns);
    out += "<h2>Leaders</h2>\n<p>One row for each partition and each node that was asked: the node id that it named, and the term. Dashed: it knew none.</p>\n";
    out += &leaders::picture(facts.sightings, facts.faults, across, total_ns);
    out += "<h2>Recovery</h2>\n<p>Until the first write that began later went well, at any node.</p>\n";
    out += &recovery::table(&recovery::of(operations, facts.faults));
    out += "<h2>Availability</h2>\n";
    if let Some(topology) = facts.topology {
        out += &availability::by_region(&single, topology);
    }
    out += &availability::table(&single);
    out += &stale::section(&staleness(facts.history));
    out += &faults(facts);
    out += &searched(facts.searched);
    out + "</body></html>\n"
}

/// Those that have a time of their own.
fn requests(operations: &[Operation]) -> Vec<Operation> {
    operations.iter().filter(|one| !one.call.is_listed()).cloned().collect()
}

fn checks(facts: &Facts<'_>) -> String {
    let mut out = String::from(
        "<h2>Checks</h2>\n<table><tr><th>check</th><th>looked at</th><th>findings</th><th>undecided</th></tr>\n",
    );
    for check in facts.checks {
        // Writing into a string cannot fail.
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            check.name,
            check.looked_at,
            check.findings.len(),
            check.unknown.len()
        );
    }
    out += "</table>\n";
    for missing in &facts.coverage.missing {
        let _ = writeln!(out, "<p>Missing: {}.</p>", escape(missing));
    }
    let findings: Vec<&Finding> = facts.checks.iter().flat_map(|check| &check.findings).collect();
    for finding in findings.iter().take(SHOWN) {
        let _ = writeln!(out, "<pre>{}</pre>", escape(&finding.text()));
    }
    if findings.len() > SHOWN {
        let _ = writeln!(out, "<p>And {} more findings.</p>", findings.len() - SHOWN);
    }
    out
}

/// Nothing where nothing was searched.
fn searched(lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "<h2>What left the placement</h2>\n<p>Where it was looked for, and what the search was tried on.</p>\n<ul>\n",
    );
    for line in lines {
        let _ = writeln!(out, "<li>{}</li>", escape(line));
    }
    out + "</ul>\n"
}

fn faults(facts: &Facts<'_>) -> String {
    let mut out = String::from(
        "<h2>Faults</h2>\n<table><tr><th>fault</th><th>from</th><th>to</th><th>took</th><th>what</th></tr>\n",
    );
    for done in facts.faults {
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{} s</td><td>{} s</td><td>{}</td><td>{}</td></tr>",
            escape(&done.fault),
            done.began_ns / 1_000_000_000,
            done.ended_ns / 1_000_000_000,
            escape(&done.took),
            escape(&done.told)
        );
    }
    out + "</table>\n"
}

#[cfg(test)]
mod tests {
    use super::super::html;
    use super::*;
    use crate::check::{Coverage, Promises, Verdict, all};
    use crate::clock::Stopwatch;
    use crate::history::{Call, Journal, Outcome, Refusal, Reply};
    use crate::run::{FaultDone, Sighting};
    use crate::schedule::Kind;

    #[test]
    fn a_report_is_one_page_without_network_or_script() {
        let journal = Journal::in_memory(Stopwatch::start());
        for (call, outcome) in [
            (Call::Write { key: 1, value: 2 }, Outcome::Ok(Reply::Done)),
            (Call::Read { key: 1, after: None }, Outcome::Ok(Reply::Value(Some(3)))),
            (Call::Redeem { code: 4 }, Outcome::Fail(Refusal::InvalidGrant)),
            (Call::Revoke { token: 5 }, Outcome::Info("<lost>".to_owned())),
        ] {
            let ticket = journal.invoke(1, "n1", None, call);
            journal.complete(ticket, outcome);
        }
        let history = journal.history().unwrap();
        let checks = all(&history, Promises::default());
        let faults = [FaultDone {
            fault: "kill the leader".to_owned(),
            kind: Kind::Kill,
            took: "Installed".to_owned(),
            told: "n1 & <n2>".to_owned(),
            began_ns: 0,
            ended_ns: 1_000,
        }];
        let sightings = [(1, Some(1)), (2, None)].map(|(term, leader)| Sighting {
            time_ms: 0,
            asked: 0,
            partition: 1,
            term,
            leader,
        });
        let coverage = Coverage { missing: vec!["no leader changed".to_owned()] };
        let topology = "eu1".parse().unwrap();
        let facts = Facts {
            title: "seed 7",
            again: "domicile-jepsen replay x",
            verdict: Verdict::Violation,
            checks: &checks,
            coverage: &coverage,
            history: &history,
            topology: Some(&topology),
            faults: &faults,
            sightings: &sightings,
            searched: &["the wire: 4 of 5 <canaries>".to_owned()],
        };
        let page = html(&facts);
        for wanted in [
            "VIOLATION",
            "register 1 is not linearizable",
            "n1 &amp; &lt;n2&gt;",
            "no leader known",
            "url(#hatch)",
            "<li>the wire: 4 of 5 &lt;canaries&gt;</li>",
        ] {
            assert!(page.contains(wanted), "{wanted}");
        }
        for unwanted in ["<script", "http://", "https://", "src=", "<lost>"] {
            assert!(!page.contains(unwanted), "{unwanted}");
        }
    }

    #[test]
    fn a_log_that_was_read_by_pages_is_no_slow_request() {
        let journal = Journal::in_memory(Stopwatch::start());
        for (call, reply) in [
            (Call::Log { log: 1 }, Reply::Entries(Vec::new())),
            (Call::Write { key: 1, value: 2 }, Reply::Done),
            (Call::Owner { name: 3 }, Reply::Value(None)),
        ] {
            let ticket = journal.invoke(1, "n1", None, call);
            journal.complete(ticket, Outcome::Ok(reply));
        }
        let all = journal.history().unwrap().operations;
        let names: Vec<_> = requests(&all).iter().map(|one| one.call.name()).collect();
        assert_eq!((all.len(), names), (3, vec!["write"]));
    }
}
