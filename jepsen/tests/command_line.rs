//! What the program tells its caller by its exit status.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::path::Path;
use std::process::{Command, Output};

const SCHEDULE: &str = r#"{"format":1,"seed":7,"topology":{"regions":[{"name":"eu","nodes":3}]},"net":"proxy",
    "kinds":[],"phases":{"healthy_ms":1,"chaos_ms":1,"liveness_ms":1},"steps":[]}"#;
const TOLD: &str = r#"{"format":1,"grace_ms":3000,"bound_ms":2000,"partition":1,"faults":[],"recovered_ms":[5],
    "odd":[],"unreachable":[],"sightings":[],"finished":true}"#;
const WRITTEN: &str = "{:index 0, :time 0, :process 1, :type :invoke, :f :write, :value [1 2], :node \"n1\"}
{:index 1, :time 9, :process 1, :type :ok, :f :write, :value [1 2], :node \"n1\"}
{:index 2, :time 20, :process 2, :type :invoke, :f :read, :value [1 nil], :node \"n2\", :class :strong}
";

fn check(dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_domicile-jepsen")).arg("check").arg(dir).output().unwrap()
}

fn read_of(seen: &str) -> String {
    format!(
        "{{:index 3, :time 30, :process 2, :type :ok, :f :read, :value [1 {seen}], :node \"n2\", :class :strong}}\n"
    )
}

fn run_with(seen: &str) -> (i32, String) {
    run_of(TOLD, &format!("{WRITTEN}{}", read_of(seen)))
}

fn run_of(told: &str, history: &str) -> (i32, String) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [("schedule.json", SCHEDULE), ("run.json", told), ("history.edn", history)] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let output = check(dir.path());
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

/// What stands in the directory of a run that was killed: what was written down last, and a line that was cut off.
fn killed_with(seen: &str) -> (i32, String) {
    let told = TOLD.replace("\"finished\":true", "\"finished\":false").replace("[5]", "[]");
    run_of(&told, &format!("{WRITTEN}{}{{:index 4, :time 31, :pro", read_of(seen)))
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
fn a_failure_of_the_harness_is_3_also_in_a_run_that_came_to_its_end() {
    let nothing = tempfile::tempdir().unwrap();
    assert_eq!(check(nothing.path()).status.code(), Some(3));
    let told = TOLD.replace("\"finished\"", "\"broken\":[\"umount: busy\"],\"finished\"");
    let (status, said) = run_of(&told, &format!("{WRITTEN}{}", read_of("2")));
    assert!(status == 3 && said.contains("umount: busy"), "{said}");
    assert_eq!(run_of(&told, &format!("{WRITTEN}{}", read_of("nil"))).0, 1, "a violation counts more");
}

#[test]
fn a_node_that_ended_by_itself_is_a_violation() {
    let told = TOLD.replace("\"finished\"", "\"died\":[\"n2 ended by itself: signal: 6\"],\"finished\"");
    let (status, said) = run_of(&told, &format!("{WRITTEN}{}", read_of("2")));
    assert!(status == 1 && said.contains("exits: n2 ended by itself"), "{said}");
}

#[test]
fn a_run_that_was_killed_is_judged_by_what_there_is() {
    let (status, said) = killed_with("2");
    assert!(status == 2 && said.contains("the run did not come to its end"), "{said}");
    let (status, said) = killed_with("nil");
    assert!(status == 1 && said.contains("register 1 is not linearizable"), "{said}");
}

#[test]
fn power_cuts_are_judged_again_from_their_directory() {
    let judged = |listed: &str| {
        let dir = tempfile::tempdir().unwrap();
        let told = r#"{"format":1,"program":"domicile 0","rounds":1,"broken":[],
            "outcry":{"logs":1,"loud":[],"missing":[]},"finished":true}"#;
        let history = format!(
            "{{:index 0, :time 0, :process 1, :type :invoke, :f :add, :value [1 7], :node \"dev\"}}
{{:index 1, :time 9, :process 1, :type :ok, :f :add, :value [1 7]}}
{{:index 2, :time 20, :process :nemesis, :type :info, :f :power, :value \"round 1\"}}
{{:index 3, :time 30, :process 0, :type :invoke, :f :members, :value [1 nil], :node \"dev\", :class :strong}}
{{:index 4, :time 40, :process 0, :type :ok, :f :members, :value [1 [{listed}]]}}
"
        );
        for (name, text) in [
            ("schedule.json", r#"{"format":1,"power_rounds":1,"seed":3}"#),
            ("run.json", told),
            ("history.edn", &history),
        ] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let output = check(dir.path());
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (status, said) = judged("7");
    assert!(status == 0 && said.contains("1 acknowledged before them"), "{said}");
    let (status, said) = judged("");
    assert_eq!(status, 1, "{said}");
    for wanted in ["sets: set 1 lost element 7", "again    domicile-jepsen replay"] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}

#[test]
fn an_export_is_written_where_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let history = format!("{WRITTEN}{}", read_of("2"));
    for (name, text) in [("schedule.json", SCHEDULE), ("run.json", TOLD), ("history.edn", &history)] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_domicile-jepsen"));
    assert_eq!(command.arg("check").arg(dir.path()).arg("--export").status().unwrap().code(), Some(2));
    let register = std::fs::read_to_string(dir.path().join("export/register-1.edn")).unwrap();
    assert_eq!(register.lines().count(), 4);
    assert!(dir.path().join("export/elle.edn").is_file());
}

#[test]
fn what_cannot_be_understood_is_3_and_what_was_asked_for_is_0() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_domicile-jepsen")).args(arguments).output().unwrap();
        output.status.code()
    };
    assert_eq!(run(&["run", "--time-limt", "10"]), Some(3));
    assert_eq!(run(&["no-such-thing"]), Some(3));
    assert_eq!((run(&["--help"]), run(&["run", "--help"]), run(&["--version"])), (Some(0), Some(0), Some(0)));
}

#[test]
fn the_command_that_repeats_a_run_is_the_one_that_was_written_down() {
    let again = "SEEDED_BUG=x domicile-jepsen replay d --binary b --out o";
    let told = TOLD.replace("\"finished\"", &format!("\"again\":\"{again}\",\"finished\""));
    let (status, said) = run_of(&told, &format!("{WRITTEN}{}", read_of("nil")));
    assert!(status == 1 && said.contains(&format!("again    {again}\n")), "{said}");
}

#[test]
fn a_replay_is_of_the_same_schedule_and_a_cluster_that_does_not_come_up_is_a_failure_of_the_harness() {
    let dir = tempfile::tempdir().unwrap();
    let (first, out, node) = (dir.path().join("first"), dir.path().join("out"), dir.path().join("node"));
    std::fs::create_dir(&first).unwrap();
    std::fs::write(first.join("schedule.json"), SCHEDULE).unwrap();
    std::fs::write(&node, "#!/bin/sh\nexit 1\n").unwrap();
    assert!(Command::new("chmod").arg("+x").arg(&node).status().unwrap().success());
    let mut command = Command::new(env!("CARGO_BIN_EXE_domicile-jepsen"));
    command.arg("replay").arg(&first).arg("--binary").arg(&node).arg("--out").arg(&out);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let again = std::fs::read_dir(&out).unwrap().next().unwrap().unwrap().path().join("schedule.json");
    let read = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let (planned, done) = (read(SCHEDULE.to_owned()), read(std::fs::read_to_string(again).unwrap()));
    for (name, value) in planned.as_object().unwrap() {
        assert_eq!(&done[name], value, "{name}");
    }
}
