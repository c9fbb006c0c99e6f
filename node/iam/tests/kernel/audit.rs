//! An export verifies; each kind of tampering is named with the first event it hits.

use domicile_iam::audit::{Export, Flaw, Report, VerifyError, verify};
use domicile_raft::Partition;

use crate::world::{Add, START, World};

async fn exported(events: u64) -> Vec<String> {
    let world = World::new().await;
    let user = world.opened("ada").await;
    for _ in 1..events {
        world.run(&Add { user, by: 1 }).await.unwrap();
    }
    lines(&world)
}

fn lines(world: &World) -> Vec<String> {
    let keys = world.executor.keyring().tenant(world.partition.state(), world.tenant).unwrap().unwrap();
    let mut export =
        Export::begin(world.partition.state(), world.tenant, &keys.root().unwrap(), START).unwrap();
    let mut lines = Vec::new();
    loop {
        // Pages of three, so that the test crosses their bounds.
        let page = export.next_lines(3).unwrap();
        if page.is_empty() {
            return lines;
        }
        lines.extend(page);
    }
}

fn check(lines: &[String]) -> Report {
    verify(lines.join("\n").as_bytes(), None).unwrap()
}

/// Sequence and flaw of the first bad event.
fn bad(lines: &[String]) -> (u64, Flaw) {
    let bad = check(lines).bad.unwrap();
    (bad.sequence, bad.flaw)
}

fn field(line: &str, name: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    value["event"][name].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_export_as_written_holds() {
    for events in [1, 2, 3, 7] {
        let lines = exported(events).await;
        let report = check(&lines);
        assert_eq!((report.good, report.last, report.bad), (events, events, None));
        assert!(verify(lines.join("\n").as_bytes(), Some(&report.root_public)).is_ok());
        assert!(matches!(verify(lines.join("\n").as_bytes(), Some(&[0; 32])), Err(VerifyError::Root)));
    }
}

#[tokio::test]
async fn a_flipped_bit_is_named() {
    let lines = exported(7).await;
    for n in 1..=7_usize {
        let stored = field(&lines[n], "stored");
        let mut changed = stored.clone();
        changed.replace_range(30..31, if &stored[30..31] == "A" { "B" } else { "A" });
        assert_ne!(changed, stored);
        let mut tampered = lines.clone();
        tampered[n] = tampered[n].replace(&stored, &changed);
        assert_eq!(bad(&tampered), (n as u64, Flaw::Hash));
    }
}

#[tokio::test]
async fn a_dropped_event_is_named() {
    let lines = exported(7).await;
    for n in 1..7_usize {
        let mut tampered = lines.clone();
        tampered.remove(n);
        assert_eq!(bad(&tampered), (n as u64, Flaw::Place { found: n as u64 + 1 }));
    }
    let mut tampered = lines;
    tampered.remove(7);
    assert_eq!(bad(&tampered), (7, Flaw::Missing { signed: 7 }));
}

#[tokio::test]
async fn reordered_events_are_named() {
    let mut lines = exported(7).await;
    lines.swap(3, 5);
    assert_eq!(bad(&lines), (3, Flaw::Place { found: 5 }));
}

#[tokio::test]
async fn reordered_bytes_under_the_right_numbers_are_named() {
    let mut lines = exported(7).await;
    let (three, five) = (field(&lines[3], "stored"), field(&lines[5], "stored"));
    lines[3] = lines[3].replace(&three, &five);
    lines[5] = lines[5].replace(&five, &three);
    assert_eq!(bad(&lines), (3, Flaw::Hash));
}

#[tokio::test]
async fn a_cut_export_is_named_with_the_first_missing_event() {
    let lines = exported(7).await;
    for kept in 1..=7_usize {
        let missing = kept as u64;
        assert_eq!(bad(&lines[..kept]), (missing, Flaw::NoCheckpoint));
        let mut with_footer = lines[..kept].to_vec();
        with_footer.push(lines[8].clone());
        assert_eq!(bad(&with_footer), (missing, Flaw::Missing { signed: 7 }));
    }
}

#[tokio::test]
async fn a_checkpoint_of_an_earlier_export_does_not_cover_later_events() {
    let world = World::new().await;
    let user = world.opened("ada").await;
    let early = lines(&world);
    world.run(&Add { user, by: 1 }).await.unwrap();
    let mut late = lines(&world);
    *late.last_mut().unwrap() = early.last().unwrap().clone();
    assert_eq!(bad(&late), (2, Flaw::Surplus { signed: 1 }));
}

#[tokio::test]
async fn a_rewritten_chain_fails_against_the_signed_checkpoint() {
    // Two worlds with other keys, so other bytes: the chain of one under the footer of the other.
    let (one, two) = (exported(3).await, {
        let world = World::new().await;
        let user = world.opened("bob").await;
        for _ in 1..3 {
            world.run(&Add { user, by: 2 }).await.unwrap();
        }
        lines(&world)
    });
    let mut forged = one.clone();
    forged[1..4].clone_from_slice(&two[1..4]);
    assert_eq!(bad(&forged), (3, Flaw::Head));
}

#[tokio::test]
async fn a_forged_checkpoint_and_a_forged_line_are_named() {
    let lines = exported(3).await;
    let mut forged = lines.clone();
    let footer = forged.last_mut().unwrap();
    let at = footer.len() - 20;
    let other = if &footer[at..=at] == "A" { "B" } else { "A" };
    footer.replace_range(at..=at, other);
    assert_eq!(bad(&forged), (4, Flaw::Signature));
    let mut broken = lines.clone();
    broken[2] = "{}".to_owned();
    assert_eq!(bad(&broken), (2, Flaw::Line));
    assert!(matches!(verify(&b""[..], None), Err(VerifyError::Header)));
    assert!(matches!(verify(lines[1].as_bytes(), None), Err(VerifyError::Header)));
}

#[tokio::test]
async fn damage_in_the_state_shows_in_its_own_export() {
    let world = World::new().await;
    let user = world.opened("ada").await;
    world.run(&Add { user, by: 1 }).await.unwrap();
    let engine = world.partition.state();
    let key = domicile_iam::tables::event_key(world.tenant, 1);
    let mut stored = engine.get(&key).unwrap().unwrap();
    *stored.last_mut().unwrap() ^= 1;
    engine
        .commit(domicile_storage::Batch { writes: vec![domicile_storage::Write::Put { key, value: stored }] })
        .unwrap();
    let report = check(&lines(&world));
    assert_eq!(report.bad.map(|bad| bad.flaw), Some(Flaw::Head));
}

#[tokio::test]
async fn whatever_follows_the_signed_checkpoint_is_named() {
    let lines = exported(3).await;
    for more in [lines[3].as_str(), lines[4].as_str(), "", "{}", "not an event"] {
        let text = [&lines.join("\n"), more].join("\n") + "\n";
        let report = verify(text.as_bytes(), None).unwrap();
        assert_eq!(
            report.bad.map(|bad| (bad.sequence, bad.line, bad.flaw)),
            Some((4, Some(6), Flaw::AfterCheckpoint)),
            "{more}"
        );
    }
    assert_eq!(verify((lines.join("\n") + "\n").as_bytes(), None).unwrap().bad, None);
}

#[tokio::test]
async fn a_byte_that_is_no_text_names_its_event() {
    let text = exported(3).await.join("\n").into_bytes();
    let ends: Vec<usize> =
        text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
    let mut tampered = text.clone();
    tampered[ends[2] - 10] = 0xff;
    let bad = verify(tampered.as_slice(), None).unwrap().bad.unwrap();
    assert_eq!((bad.sequence, bad.line, bad.flaw), (2, Some(3), Flaw::Line));
    tampered[0] = 0xff;
    assert!(matches!(verify(tampered.as_slice(), None), Err(VerifyError::Header)));
}

#[tokio::test]
async fn a_line_without_end_is_named_and_not_read_to_its_end() {
    let text = exported(3).await[..2].join("\n") + "\n";
    let endless = std::io::Read::chain(text.as_bytes(), std::io::BufReader::new(std::io::repeat(b' ')));
    let bad = verify(endless, None).unwrap().bad.unwrap();
    assert_eq!((bad.sequence, bad.line, bad.flaw), (2, Some(3), Flaw::Line));
}
