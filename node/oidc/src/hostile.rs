//! Every parser of outside bytes under inputs that were made by changing good and bad ones: none may panic, and
//! what is taken must hold what the parser promises.
//!
//! The corpus is `node/oidc/corpus/<target>/`, one input a file: seeds, and inputs that once failed, which stay.
//! A failure prints its input in hexadecimal: put its bytes there under a name that says what it broke.
//! `DOMICILE_FUZZ_CASES` sets how many inputs each target gets (`just fuzz`).

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod mutation;
mod presented;
mod targets;
mod token_requests;

use std::fmt::Write as _;
use std::path::PathBuf;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use mutation::{Mutation, mutations};

/// Inputs for each target in the test suite.
const CASES: u32 = 400;

/// The inputs that are kept for a target, in order of their names.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn cases() -> u32 {
    std::env::var("DOMICILE_FUZZ_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(CASES)
}

/// Runs `target` over its corpus, then over what mutations make of it.
fn run(name: &str, target: impl Fn(&[u8])) {
    run_with(name, &[], target);
}

/// The same with inputs that no file can hold, since they are made by keys.
fn run_with(name: &str, made: &[&str], target: impl Fn(&[u8])) {
    let mut corpus = corpus(name);
    corpus.extend(made.iter().map(|text| text.as_bytes().to_vec()));
    for input in &corpus {
        target(input);
    }
    let strategy = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), mutations());
    let mut runner =
        TestRunner::new(Config { cases: cases(), failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&strategy, |(first, second, changes): (_, _, Vec<Mutation>)| {
        let mut input = first.get(&corpus).clone();
        for change in &changes {
            let other: &Vec<u8> = second.get(&corpus);
            change.apply(&mut input, other);
        }
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| target(&input)));
        prop_assert!(caught.is_ok(), "{name}: {}", hexadecimal(&input));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[test]
fn authorization_requests_lead_to_registered_addresses_whatever_they_hold() {
    run("authorization_request", targets::authorization_request);
}

#[test]
fn pushed_requests_and_client_authentication_are_read_or_refused() {
    run("client_authentication", targets::client_authentication);
}

#[test]
fn jwts_are_refused_unless_they_are_ours() {
    run("jwt", targets::jwt);
}

#[test]
fn jwts_with_a_good_signature_are_judged_by_what_they_say() {
    run("signed_jwt", targets::signed_jwt);
}

#[test]
fn client_assertions_are_judged_by_what_they_say() {
    run("assertion", targets::assertion);
}

#[test]
fn dpop_proofs_are_judged_by_what_they_say() {
    run("dpop_proof", targets::dpop_proof);
}

#[test]
fn client_metadata_is_refused_or_whole() {
    run("client_metadata", targets::client_metadata);
}

#[test]
fn registrations_are_refused_or_hold_nothing_that_is_ours_to_give() {
    run("registration", targets::registration);
}

#[test]
fn software_statements_with_a_good_signature_are_judged_by_what_they_say() {
    run("software_statement", targets::software_statement);
}

#[test]
fn key_sets_of_others_are_read_or_refused() {
    run("key_set", targets::key_set);
}

#[test]
fn claims_parameters_are_read_or_refused() {
    run("claims", targets::claims);
}

#[test]
fn token_requests_are_bounded_and_ask_for_no_more_than_their_client_may() {
    run("grant", token_requests::grant);
}

#[test]
fn token_exchanges_give_no_more_than_subject_and_policy() {
    run("token_exchange", token_requests::token_exchange);
}

#[test]
fn devices_ask_for_no_more_than_their_client_may() {
    run("device_authorization", token_requests::device_authorization);
}

#[test]
fn bearer_tokens_are_taken_from_one_place() {
    run("bearer", presented::bearer);
}

#[test]
fn accept_headers_are_judged_range_by_range() {
    run("accept", presented::accept);
}

#[test]
fn opaque_tokens_are_refused_unless_they_are_as_they_were_sealed() {
    run_with("opaque_token", &[presented::sealed()], presented::opaque_token);
}
