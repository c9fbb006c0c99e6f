//! Many seeds over the cores.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::coverage::Coverage;
use crate::run::simulate;

/// Seeds in the ordinary suite.
const SEEDS: u64 = 200;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}=`{text}`")))
}

pub fn run_all() {
    let first = number("DOMICILE_SIM_SEED");
    let count = number("DOMICILE_SIM_SEEDS").unwrap_or(if first.is_some() { 1 } else { SEEDS });
    let first = first.unwrap_or(0);
    let next = AtomicU64::new(first);
    let found = Mutex::new((Coverage::default(), Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let report = simulate(seed, None);
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    found.0.add(&report.coverage);
                    if count == 1 || !report.violations.is_empty() {
                        println!("{report}");
                    }
                    if !report.violations.is_empty() {
                        found.1.push(seed);
                    }
                }
            });
        }
    });
    let (coverage, failed) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{count} seeds: {coverage:?}");
    assert!(failed.is_empty(), "failing seeds: {failed:?}");
    if count >= SEEDS {
        coverage.assert_enough(count);
    }
}
