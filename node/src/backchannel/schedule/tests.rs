use domicile_iam::ids::{Id, UserId};

use super::*;

const HOME: PartitionId = PartitionId(1);
const WALL: Timestamp = Timestamp(1_800_000_000_000);
const NOW: Duration = Duration::from_secs(100);

fn notice(client: u8, session: u8, at: Timestamp) -> PendingLogout {
    let notice = LogoutNotice {
        client: ClientId::from_bytes([client; 16]),
        session: SessionId::from_bytes([session; 16]),
        user: UserId::from_bytes([9; 16]),
        sid: "sid".to_owned(),
        at,
    };
    PendingLogout { tenant: TenantId::from_bytes([1; 16]), notice }
}

fn with(found: Vec<PendingLogout>) -> Schedule {
    let mut schedule = Schedule::default();
    schedule.learn(HOME, found, NOW);
    schedule
}

#[test]
fn what_is_new_is_tried_at_once_and_only_once_at_a_time() {
    let one = notice(1, 1, WALL);
    let mut schedule = with(vec![one.clone()]);
    assert_eq!(schedule.due(NOW, WALL), std::slice::from_ref(&one));
    assert!(schedule.due(NOW, WALL).is_empty());
    schedule.learn(HOME, vec![one.clone()], NOW);
    assert!(schedule.due(NOW, WALL).is_empty(), "it is known already");
    schedule.tried(&one, Outcome::Told, NOW, 0);
    let settled = schedule.settled().remove(&one.tenant).unwrap();
    assert_eq!((settled.len(), settled[0].failure), (1, None));
    schedule.forget(one.tenant, &settled);
    assert_eq!(schedule.len(), 0);
}

#[test]
fn pauses_grow_up_to_a_bound_and_are_never_the_same_for_all() {
    for (tries, least_ms, most_ms) in
        [(1, 500, 1_000), (2, 1_000, 2_000), (9, 128_000, 256_000), (60, 150_000, 300_000)]
    {
        assert_eq!(pause(tries, 0).as_millis(), least_ms);
        assert_eq!(pause(tries, u16::MAX).as_millis(), most_ms);
    }
}

#[test]
fn tries_are_bounded_in_number() {
    let one = notice(1, 1, WALL);
    let mut schedule = with(vec![one.clone()]);
    let mut now = NOW;
    for _ in 0..TRIES_MAX {
        assert_eq!(schedule.due(now, WALL).len(), 1);
        schedule.tried(&one, Outcome::Failed, now, 0);
        assert!(schedule.due(now, WALL).is_empty(), "not before a pause");
        now += PAUSE_MAX;
    }
    assert_eq!(schedule.settled()[&one.tenant][0].failure, Some(LogoutFailure::Attempts));
}

#[test]
fn tries_are_bounded_in_age_also_for_a_leader_that_comes_late() {
    let one = notice(1, 1, WALL);
    let mut schedule = with(vec![one.clone()]);
    assert!(schedule.due(NOW, WALL.plus_ms(LOGOUT_NOTICE_MS)).is_empty());
    assert_eq!(schedule.settled()[&one.tenant][0].failure, Some(LogoutFailure::Age));
}

#[test]
fn a_try_that_was_none_does_not_count() {
    let one = notice(1, 1, WALL);
    let mut schedule = with(vec![one.clone()]);
    let mut now = NOW;
    for _ in 0..2 * TRIES_MAX {
        assert_eq!(schedule.due(now, WALL).len(), 1);
        schedule.tried(&one, Outcome::Postponed, now, 0);
        now += POSTPONED;
    }
    assert!(schedule.settled().is_empty());
}

#[test]
fn a_client_that_does_not_answer_holds_up_no_other() {
    let slow = (0..40).map(|session| notice(1, session, WALL));
    let other = notice(2, 200, WALL);
    let mut schedule = with(slow.chain([other.clone()]).collect());
    let due = schedule.due(NOW, WALL);
    assert_eq!(due.len(), AT_ONCE_OF_CLIENT + 1);
    assert!(due.contains(&other));
    let crowd: Vec<_> = (10..40).map(|client| notice(client, 1, WALL)).collect();
    schedule.learn(HOME, crowd, NOW);
    assert_eq!(schedule.due(NOW, WALL).len(), AT_ONCE_OF_TENANT - AT_ONCE_OF_CLIENT - 1);
    // All of one tenant's are taken, and it is before the others by its id.
    let of = |tenant: u8, client: u8| PendingLogout {
        tenant: TenantId::from_bytes([tenant; 16]),
        ..notice(client, 1, WALL)
    };
    schedule.learn(HOME, (10..60).map(|client| of(2, client)).collect(), NOW);
    assert_eq!(schedule.due(NOW, WALL).len(), AT_ONCE_OF_TENANT, "another tenant's are told");
    let rest = (3..20).flat_map(|tenant| (10..30).map(move |client| of(tenant, client)));
    schedule.learn(HOME, rest.collect(), NOW);
    assert_eq!(schedule.due(NOW, WALL).len(), AT_ONCE_MAX - 2 * AT_ONCE_OF_TENANT);
}

#[test]
fn a_later_logout_of_the_same_session_is_told_again() {
    let (first, second) = (notice(1, 1, WALL), notice(1, 1, WALL.plus_ms(5)));
    let mut schedule = with(vec![first.clone()]);
    schedule.due(NOW, WALL);
    schedule.learn(HOME, vec![second.clone()], NOW);
    schedule.tried(&first, Outcome::Told, NOW, 0);
    assert!(schedule.settled().is_empty(), "that was the logout before");
    assert_eq!(schedule.due(NOW, WALL), [second]);
}

#[test]
fn what_another_node_leads_is_forgotten() {
    let mut schedule = with(vec![notice(1, 1, WALL)]);
    schedule.keep_only(&BTreeSet::from([HOME]));
    assert_eq!(schedule.len(), 1);
    schedule.keep_only(&BTreeSet::from([PartitionId(7)]));
    assert_eq!(schedule.len(), 0);
}

#[test]
fn one_write_settles_many_up_to_a_bound() {
    let mut schedule =
        with((0..=255).flat_map(|client| [notice(client, 1, WALL), notice(client, 2, WALL)]).collect());
    let mut told = 0;
    while told < 512 {
        for one in schedule.due(NOW, WALL) {
            schedule.tried(&one, Outcome::Told, NOW, 0);
            told += 1;
        }
    }
    let settled = schedule.settled();
    assert_eq!(settled.values().map(Vec::len).collect::<Vec<_>>(), [SETTLED_MAX]);
}
