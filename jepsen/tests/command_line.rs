//! What the program tells its caller by its exit status.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::path::Path;
use std::process::{Command, Output};

const SCHEDULE: &str = r#"{"format":1,"seed":7,"topology":{"regions":[{"name":"eu","nodes":3}]},"net":"proxy",
    "kinds":[],"phases":{"healthy_ms":1,"chaos_ms":1,"liveness_ms":1},"steps":[]}"#;
const TOLD: &str = r#"{"format":1,"grace_ms":3000,"bound_ms":2000,"partition":1,"faults":[],"recovered_ms":[5],
    "odd":[],"unreachable":[],"loud":[],"sightings":[]}"#;
const WRITTEN: &str = "{:index 0, :time 0, :process 1, :type :invoke, :f :write, :value [1 2], :node \"n1\"}
{:index 1, :time 9, :process 1, :type :ok, :f :write, :value [1 2], :node \"n1\"}
{:index 2, :time 20, :process 2, :type :invoke, :f :read, :value [1 nil], :node \"n2\", :class :strong}
";

fn check(dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_domicile-jepsen")).arg("check").arg(dir).output().unwrap()
}

fn run_with(seen: &str) -> (i32, String) {
    let dir = tempfile::tempdir().unwrap();
    let line = format!(
        "{{:index 3, :time 30, :process 2, :type :ok, :f :read, :value [1 {seen}], :node \"n2\", :class :strong}}\n"
    );
    for (name, text) in
        [("schedule.json", SCHEDULE), ("run.json", TOLD), ("history.edn", &format!("{WRITTEN}{line}"))]
    {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let output = check(dir.path());
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_violation_is_1_with_its_operations_and_the_command_that_repeats_it() {
    let (status, said) = run_with("nil");
    assert_eq!(status, 1, "{said}");
    for wanted in [
        "register 1 is not linearizable",
        "client 2 at n2: [1 nil] (strong)",
        "again    domicile-jepsen replay",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}

#[test]
fn too_little_to_judge_is_2() {
    let (status, said) = run_with("2");
    assert_eq!(status, 2, "{said}");
    assert!(said.contains("nothing to judge"), "{said}");
}

#[test]
fn a_failure_of_the_harness_is_3() {
    let nothing = tempfile::tempdir().unwrap();
    assert_eq!(check(nothing.path()).status.code(), Some(3));
}
