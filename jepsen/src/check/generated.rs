//! Histories made by running a register and lists in a known order, and what becomes of them when one
//! answer is changed.

use proptest::prelude::*;

use super::*;
use crate::history::{Call, Class, Operation, Outcome, Reply, Step};
use crate::random::Random;

const CLIENTS: usize = 5;

fn at(place: u64) -> usize {
    usize::try_from(place).unwrap()
}

/// A linearizable history of one register: each operation takes effect at a moment between its request
/// and its answer; some answers are lost, with or without the effect.
fn register(seed: u64, length: u64) -> Vec<Operation> {
    let mut random = Random::new(seed);
    let mut free_at = [0_u64; CLIENTS];
    let mut drafts: Vec<(u64, u64, u64, u64)> = Vec::new();
    for _ in 0..length {
        let client = random.below(CLIENTS as u64);
        let from = free_at[at(client)] + random.between(1, 40);
        let to = from + random.between(1, 60);
        free_at[at(client)] = to;
        drafts.push((random.between(from, to), from, to, client));
    }
    drafts.sort_unstable();
    let mut held = None;
    let mut out = Vec::new();
    for (turn, (_, from, to, client)) in drafts.into_iter().enumerate() {
        let is_lost = random.chance(15);
        let (call, outcome) = if random.chance(50) {
            let value = turn as u64 + 1;
            if !is_lost || random.chance(50) {
                held = Some(value);
            }
            (Call::Write { key: 1, value }, Outcome::Ok(Reply::Done))
        } else {
            (Call::Read { key: 1, after: None }, Outcome::Ok(Reply::Value(held)))
        };
        out.push(Operation {
            index: 0,
            process: client,
            node: "n".to_owned(),
            from: 0,
            class: call.is_read().then_some(Class::Strong),
            call,
            invoked_ns: from,
            completed_ns: (!is_lost).then_some(to),
            outcome: if is_lost { Outcome::Info("lost".to_owned()) } else { outcome },
        });
    }
    out.sort_by_key(|operation| operation.invoked_ns);
    for (index, operation) in out.iter_mut().enumerate() {
        operation.index = index as u64;
    }
    out
}

fn findings(operations: Vec<Operation>) -> Vec<Finding> {
    let history = History { operations, faults: Vec::new() };
    all(&history, Promises::default()).into_iter().flat_map(|check| check.findings).collect()
}

/// All orders, by trial: the meaning of linearizability, for short histories.
fn by_trial(operations: &[Operation], placed: &mut Vec<usize>, held: Option<u64>) -> bool {
    let left: Vec<usize> = (0..operations.len()).filter(|turn| !placed.contains(turn)).collect();
    if left.iter().all(|turn| operations[*turn].is_unknown()) {
        return true;
    }
    left.iter().any(|turn| {
        let one = &operations[*turn];
        if left.iter().any(|other| operations[*other].precedes(one)) {
            return false;
        }
        let after = match (&one.call, &one.outcome) {
            (Call::Write { value, .. }, _) => Some(*value),
            (_, Outcome::Ok(Reply::Value(seen))) if *seen != held => return false,
            _ => held,
        };
        placed.push(*turn);
        let found = by_trial(operations, placed, after);
        placed.pop();
        found
    })
}

/// Transactions that ran one after another, with requests and answers around them.
fn transactions(seed: u64, length: u64) -> Vec<Operation> {
    let mut random = Random::new(seed);
    let mut lists = vec![Vec::new(); 3];
    let mut out = Vec::new();
    for turn in 0..length {
        let now = (turn + 1) * 100;
        let mut steps = Vec::new();
        for step in 0..random.between(1, 4) {
            let key = random.below(3);
            if random.chance(50) {
                lists[at(key)].push(turn * 10 + step);
                steps.push(Step::Append(key, turn * 10 + step));
            } else {
                steps.push(Step::Read(key, Some(lists[at(key)].clone())));
            }
        }
        out.push(Operation {
            index: turn,
            process: turn,
            node: "n".to_owned(),
            from: 0,
            class: None,
            call: Call::Txn(steps.clone()),
            invoked_ns: now - random.below(300).min(now),
            completed_ns: Some(now + random.below(300)),
            outcome: Outcome::Ok(Reply::Txn(steps)),
        });
    }
    out.sort_by_key(|operation| operation.invoked_ns);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_register_that_ran_in_some_order_passes(seed in any::<u64>()) {
        prop_assert_eq!(findings(register(seed, 60)), Vec::new());
    }

    #[test]
    fn the_search_agrees_with_trying_all_orders(seed in any::<u64>(), wrong in any::<prop::sample::Index>()) {
        let mut operations = register(seed, 7);
        let written = operations.iter().filter_map(|one| {
            if let Call::Write { value, .. } = one.call { Some(value) } else { None }
        });
        let written: Vec<u64> = written.collect();
        let reads: Vec<usize> = (0..operations.len())
            .filter(|turn| operations[*turn].is_ok() && operations[*turn].call.is_read())
            .collect();
        if !reads.is_empty() && !written.is_empty() {
            operations[*wrong.get(&reads)].outcome = Outcome::Ok(Reply::Value(Some(*wrong.get(&written))));
        }
        let tells: Vec<&Operation> =
            operations.iter().filter(|one| !(one.call.is_read() && one.is_unknown())).collect();
        let copy: Vec<Operation> = tells.iter().map(|one| (*one).clone()).collect();
        let expected = if by_trial(&copy, &mut Vec::new(), None) { Judgement::Linearizable } else { Judgement::Not };
        prop_assert_eq!(judge(&Cell, &tells), expected);
    }

    #[test]
    fn a_window_fails_by_itself_and_is_small(seed in any::<u64>()) {
        let mut operations = register(seed, 60);
        // A read after all the others, of the first value that was acknowledged and then overwritten.
        let writes: Vec<u64> = operations.iter().filter(|one| one.is_ok()).filter_map(|one| {
            if let Call::Write { value, .. } = one.call { Some(value) } else { None }
        }).collect();
        prop_assume!(writes.len() > 4);
        let last = operations.iter().map(|one| one.completed_ns.unwrap_or(one.invoked_ns)).max().unwrap_or(0);
        for (turn, value) in [writes[writes.len() - 1], writes[0]].into_iter().enumerate() {
            let from = last + 10 + turn as u64 * 10;
            operations.push(Operation {
                index: 1_000 + turn as u64,
                process: 99,
                node: "n".to_owned(),
                from: 0,
                class: Some(Class::Strong),
                call: Call::Read { key: 1, after: None },
                invoked_ns: from,
                completed_ns: Some(from + 1),
                outcome: Outcome::Ok(Reply::Value(Some(value))),
            });
        }
        let found: Vec<Finding> =
            findings(operations).into_iter().filter(|one| one.checker == "linearizability").collect();
        prop_assert_eq!(found.len(), 1);
        prop_assert!(found[0].window.len() <= 6, "{}", found[0].text());
    }

    #[test]
    fn transactions_that_ran_one_after_another_pass(seed in any::<u64>()) {
        prop_assert_eq!(findings(transactions(seed, 40)), Vec::new());
    }

    #[test]
    fn a_lost_append_is_found(seed in any::<u64>(), which in any::<prop::sample::Index>()) {
        let mut operations = transactions(seed, 40);
        let long = |step: &Step| matches!(step, Step::Read(_, Some(values)) if values.len() > 1);
        let nonempty = |one: &Operation| {
            matches!(&one.outcome, Outcome::Ok(Reply::Txn(steps)) if steps.iter().any(long))
        };
        let reads: Vec<usize> = (0..operations.len()).filter(|turn| nonempty(&operations[*turn])).collect();
        prop_assume!(reads.len() > 3);
        let turn = *which.get(&reads);
        if let Outcome::Ok(Reply::Txn(steps)) = &mut operations[turn].outcome {
            for step in steps {
                if let Step::Read(_, Some(values)) = step && values.len() > 1 {
                    values.remove(0);
                    break;
                }
            }
        }
        prop_assert!(!findings(operations).is_empty());
    }
}
