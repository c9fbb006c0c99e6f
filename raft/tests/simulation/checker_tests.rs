//! Each check of the checker finds what it is for, and nothing where all is well.

use domicile_raft::LogPosition;
use domicile_raft::testing::inspect::VoteFacts;

use crate::checker::{Checker, Entry, Marks};

fn at(term: u64, index: u64) -> LogPosition {
    LogPosition { term, index }
}

fn entry(term: u64, index: u64, digest: u64) -> Entry {
    Entry { at: at(term, index), digest, committed: 0, voters: None }
}

fn vote(term: u64, node: u64, won: bool) -> VoteFacts {
    VoteFacts { term, node, won }
}

/// Has the check find nothing in `before`, and one thing that says `sign` in `broken`.
#[track_caller]
fn finds(sign: &str, before: impl FnOnce(&Checker), broken: impl FnOnce(&Checker)) {
    let checker = Checker::new();
    let violations = || checker.verdict().0;
    before(&checker);
    assert_eq!(violations(), Vec::<String>::new());
    broken(&checker);
    let found = violations();
    assert!(matches!(&found[..], [what] if what.contains(sign)), "{found:?}");
}

#[test]
fn raft_5_3_two_entries_of_one_index_and_term_are_found() {
    let same = [entry(1, 1, 7), entry(1, 2, 8)];
    let before = |checker: &Checker| {
        checker.appended(1, None, &same);
        checker.appended(2, None, &same);
        checker.appended(3, Some(1), &[entry(2, 2, 9)]);
    };
    finds("log matching", before, |checker| checker.appended(3, Some(1), &[entry(1, 2, 9)]));
    finds("log matching", before, |checker| checker.appended(3, Some(2), &[entry(2, 2, 9)]));
}

#[test]
fn raft_5_2_two_winners_of_a_term_are_found() {
    let before = |checker: &Checker| {
        checker.voted(1, vote(1, 1, true), 0, |_| None);
        checker.leads(1, 1);
        checker.voted(2, vote(2, 2, true), 0, |_| None);
    };
    finds("election safety", before, |checker| checker.voted(3, vote(2, 3, true), 0, |_| None));
    finds("election safety", before, |checker| checker.leads(3, 2));
}

#[test]
fn raft_5_2_two_votes_in_a_term_are_found() {
    let before = |checker: &Checker| {
        checker.voted(1, vote(2, 1, false), 0, |_| None);
        // It lost, and follows.
        checker.voted(1, vote(2, 3, true), 0, |_| None);
        checker.voted(2, vote(2, 3, false), 0, |_| None);
    };
    finds("votes for", before, |checker| checker.voted(2, vote(2, 1, false), 0, |_| None));
}

#[test]
fn a_term_that_goes_back_is_found() {
    let before = |checker: &Checker| {
        checker.voted(1, vote(2, 1, false), 0, |_| None);
        checker.looked(1, 1, Marks { term: 2, ..Marks::default() });
    };
    finds("term 1 after term 2", before, |checker| checker.voted(1, vote(1, 2, true), 0, |_| None));
    let older = Marks { term: 1, ..Marks::default() };
    finds("went back", before, |checker| checker.looked(1, 1, older));
}

#[test]
fn only_a_replica_destroyed_by_order_begins_anew() {
    let before = |checker: &Checker| {
        for node in [1, 2] {
            checker.voted(node, vote(3, node, false), 0, |_| None);
            checker.looked(node, 1, Marks { term: 3, committed: 5, last: 9, ..Marks::default() });
        }
        checker.destroyed(1);
        checker.looked(1, 1, Marks { term: 2, ..Marks::default() });
        checker.voted(1, vote(2, 2, false), 0, |_| None);
        checker.voted(1, vote(3, 2, false), 0, |_| None);
    };
    finds("term 2 after term 3", before, |checker| checker.voted(1, vote(2, 2, false), 0, |_| None));
    finds("votes for", before, |checker| checker.voted(2, vote(3, 1, false), 0, |_| None));
    finds("went back", before, |checker| checker.looked(2, 1, Marks { term: 2, ..Marks::default() }));
}

#[test]
fn a_commit_that_goes_back_within_a_start_is_found() {
    let now = |committed| Marks { committed, last: 9, ..Marks::default() };
    let before = |checker: &Checker| {
        checker.looked(1, 1, now(7));
        checker.looked(1, 2, now(5));
        checker.looked(2, 1, now(4));
    };
    finds("went back", before, |checker| checker.looked(1, 2, now(4)));
}

#[test]
fn indexes_out_of_order_are_found() {
    let good = Marks { term: 1, purged: 1, synced: 2, applied: 3, committed: 4, last: 5 };
    let bad = [
        Marks { purged: 3, ..good },
        Marks { synced: 4, ..good },
        Marks { applied: 6, ..good },
        Marks { committed: 6, ..good },
        Marks { last: 3, ..good },
    ];
    for now in bad {
        let sign = "not purged <= snapshot <= applied <= committed <= last";
        finds(sign, |checker| checker.looked(1, 1, good), |checker| checker.looked(1, 1, now));
    }
}

/// Node 1 alone has a vote, and entries 1 and 2 on disk.
fn durable(checker: &Checker) {
    let voters = Entry { voters: Some(vec![[1].into()]), ..entry(0, 0, 0) };
    checker.appended(1, None, &[voters]);
    checker.durable(1, &[entry(1, 1, 7), entry(2, 2, 8)]);
}

/// Entries 1 and 2 are committed, in terms 1 and 2.
fn committed(checker: &Checker) {
    durable(checker);
    checker.applied(1, 0, at(1, 1), Some(&[entry(1, 1, 7)]), 70);
    checker.applied(1, 1, at(2, 2), Some(&[entry(2, 2, 8)]), 80);
    checker.applied(2, 0, at(2, 2), Some(&[entry(1, 1, 7), entry(2, 2, 8)]), 80);
    checker.applied(3, 0, at(2, 2), None, 80);
}

#[test]
fn raft_5_4_a_winner_without_what_is_committed_is_found() {
    let before = |checker: &Checker| {
        committed(checker);
        checker.voted(1, vote(3, 1, true), 2, |_| None);
        checker.voted(2, vote(4, 2, true), 0, |index| (index == 2).then_some(2));
    };
    finds("leader completeness", before, |checker| checker.voted(3, vote(5, 3, true), 1, |_| None));
    finds("leader completeness", before, |checker| checker.voted(3, vote(5, 3, true), 1, |_| Some(1)));
}

#[test]
fn raft_5_4_another_entry_where_one_is_committed_is_found() {
    let other = |checker: &Checker| checker.applied(3, 0, at(1, 1), Some(&[entry(1, 1, 9)]), 70);
    finds("committed entry 1", committed, other);
}

#[test]
fn a_snapshot_of_what_was_never_committed_is_found() {
    finds("committed there is", committed, |checker| checker.applied(3, 0, at(1, 2), None, 80));
    finds("committed there is", committed, |checker| checker.applied(3, 2, at(2, 3), None, 90));
}

#[test]
fn another_state_at_the_same_index_is_found() {
    let other = |checker: &Checker| checker.applied(3, 1, at(2, 2), Some(&[entry(2, 2, 8)]), 81);
    finds("another state at 2", committed, other);
}

#[test]
fn a_state_that_goes_back_is_found() {
    finds("applied 1 after 2", committed, |checker| checker.applied(1, 2, at(1, 1), None, 70));
    let survived = |checker: &Checker| checker.survived(1, &[], 2, 2);
    finds("synced state went back", survived, |checker| checker.survived(1, &[], 2, 1));
}

#[test]
fn a_command_that_comes_to_something_else_is_found() {
    let before = |checker: &Checker| (1..=3).for_each(|node| checker.ordered(node, 1, 7));
    finds("came to something else", before, |checker| checker.ordered(2, 1, 8));
}

#[test]
fn a_log_that_loses_what_counts_is_found() {
    let before = |checker: &Checker| {
        checker.purged(1, 4, 4);
        checker.truncated(1, 4, 4);
    };
    finds("purges through 5", before, |checker| checker.purged(1, 5, 4));
    finds("truncates after 3", before, |checker| checker.truncated(1, 3, 4));
}

#[test]
fn what_is_written_after_a_commit_and_knows_less_is_found() {
    let knows = |index, committed| [Entry { committed, ..entry(1, index, index) }];
    let before = |checker: &Checker| {
        checker.appended(1, None, &knows(4, 3));
        checker.survived(1, &[], 0, 0);
        checker.appended(1, Some(1), &knows(5, 2));
    };
    finds("commit 1 after 2", before, |checker| checker.appended(1, Some(1), &knows(6, 1)));
    finds("commit 6 after 2", before, |checker| checker.appended(1, Some(1), &knows(6, 6)));
}

/// Three voters become four by a joint membership, entry 2, which nodes 1 and 2 have.
fn four_voters(checker: &Checker) {
    let first = Entry { voters: Some(vec![[1, 2, 3].into()]), ..entry(1, 1, 1) };
    let joint = Entry { voters: Some(vec![[1, 2, 3].into(), [1, 2, 3, 4].into()]), ..entry(1, 2, 2) };
    let both = [first, joint];
    checker.appended(1, None, &both);
    for node in [1, 2] {
        checker.durable(node, &both);
    }
    checker.applied(1, 0, at(1, 1), Some(&both[..1]), 10);
}

#[test]
fn raft_5_3_what_is_applied_without_a_quorum_is_found() {
    let sign = "which no quorum has on disk";
    let second = |checker: &Checker| checker.applied(1, 1, at(1, 2), Some(&[entry(1, 2, 2)]), 20);
    let third = |checker: &Checker| checker.durable(3, &[entry(1, 2, 2)]);
    finds(sign, four_voters, second);
    let cut = |checker: &Checker| {
        four_voters(checker);
        third(checker);
        checker.truncated(2, 1, 0);
    };
    finds(sign, cut, second);
    let lost = |checker: &Checker| {
        four_voters(checker);
        third(checker);
        checker.survived(3, &[entry(1, 1, 1)], 0, 1);
    };
    finds(sign, lost, second);
    let with_the_state = |checker: &Checker| {
        four_voters(checker);
        checker.synced(3, 2);
        second(checker);
    };
    let next = |checker: &Checker| checker.applied(1, 2, at(1, 3), Some(&[entry(1, 3, 3)]), 30);
    finds(sign, with_the_state, next);
}
