//! When a key goes to the next phase of its life.

use std::collections::BTreeSet;
use std::sync::Arc;

use domicile_raft::Timestamp;

use super::event::{
    SigningKeyActivated, SigningKeyEnded, SigningKeyEvent, SigningKeyPublished, SigningKeyRemoved,
    SigningKeyRetired,
};
use super::state::{KeyPhase, SigningKeyState};
use crate::ids::SigningKeyId;
use crate::model::{SigningAlgorithm, TenantSettings};

/// One thing to do about a tenant's keys of one algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyStep {
    /// Make a key: there is none, or the active one nears its end.
    Make,
    /// These events, together.
    Move(Vec<(SigningKeyId, SigningKeyEvent)>),
}

/// The keys of one algorithm, oldest first.
type Keys<'a> = [(SigningKeyId, &'a SigningKeyState)];

fn oldest(keys: &Keys<'_>, phase: KeyPhase) -> Option<SigningKeyId> {
    keys.iter().find(|(_, key)| key.phase == phase).map(|(id, _)| *id)
}

/// The next thing to do at `now`; `None` if nothing is due. A tenant's first key signs at once: no
/// verifier has an older key set. In a cluster verifiers are everywhere, and no key signs before it is one
/// of `listed`, those that the tenant's directory entry shows.
pub fn next_steps(
    keys: &Keys<'_>,
    settings: &TenantSettings,
    listed: Option<&BTreeSet<SigningKeyId>>,
    now: Timestamp,
) -> Option<KeyStep> {
    let is_known = |id: &SigningKeyId| listed.is_none_or(|listed| listed.contains(id));
    if let Some(id) = oldest(keys, KeyPhase::Created) {
        return Some(KeyStep::Move(vec![(id, SigningKeyEvent::Published(SigningKeyPublished {}))]));
    }
    let published = keys.iter().find(|(_, key)| key.phase == KeyPhase::Published);
    let active = keys.iter().find(|(_, key)| key.phase == KeyPhase::Active);
    match (published, active) {
        (None, None) => return Some(KeyStep::Make),
        (Some((id, _)), None) if is_known(id) => return Some(KeyStep::Move(activate(*id, None))),
        (Some(_), None) => {}
        (None, Some((_, key))) => {
            let successor_due = settings.key_active_ms.saturating_sub(settings.key_publish_ahead_ms);
            if now.since_ms(key.phase_since) >= successor_due {
                return Some(KeyStep::Make);
            }
        }
        (Some((id, next)), Some((old, _))) => {
            if now.since_ms(next.phase_since) >= settings.key_publish_ahead_ms && is_known(id) {
                return Some(KeyStep::Move(activate(*id, Some(*old))));
            }
        }
    }
    remove_over(keys, settings, now)
}

fn remove_over(keys: &Keys<'_>, settings: &TenantSettings, now: Timestamp) -> Option<KeyStep> {
    let over = |key: &SigningKeyState| {
        key.phase == KeyPhase::Retired && now.since_ms(key.phase_since) >= settings.key_retired_ms
    };
    let ended = keys.iter().find(|(_, key)| over(key)).map(|(id, _)| *id)?;
    Some(KeyStep::Move(vec![(ended, SigningKeyEvent::Ended(SigningKeyEnded {}))]))
}

/// The next thing to do for an algorithm that the settings name no more: what signs retires, what
/// never signed goes, no key is made.
pub fn wind_down(keys: &Keys<'_>, settings: &TenantSettings, now: Timestamp) -> Option<KeyStep> {
    let step = |(id, key): &(SigningKeyId, &SigningKeyState)| match key.phase {
        KeyPhase::Active => Some((*id, SigningKeyEvent::Retired(SigningKeyRetired {}))),
        KeyPhase::Created | KeyPhase::Published => {
            Some((*id, SigningKeyEvent::Removed(SigningKeyRemoved {})))
        }
        KeyPhase::Retired | KeyPhase::Removed => None,
    };
    let events: Vec<_> = keys.iter().filter_map(step).collect();
    if events.is_empty() { remove_over(keys, settings, now) } else { Some(KeyStep::Move(events)) }
}

fn activate(id: SigningKeyId, old: Option<SigningKeyId>) -> Vec<(SigningKeyId, SigningKeyEvent)> {
    let retired = old.map(|old| (old, SigningKeyEvent::Retired(SigningKeyRetired {})));
    std::iter::once((id, SigningKeyEvent::Activated(SigningKeyActivated {}))).chain(retired).collect()
}

/// A rotation on demand: `new` was just created; it is published and signs at once, what signed
/// before retires and still verifies. For a key that leaked see [`decide_revocation`]; the planned
/// rotation publishes ahead.
pub fn decide_rotation(keys: &Keys<'_>, new: SigningKeyId) -> Vec<(SigningKeyId, SigningKeyEvent)> {
    let mut events = vec![(new, SigningKeyEvent::Published(SigningKeyPublished {}))];
    events.extend(activate(new, oldest(keys, KeyPhase::Active)));
    events
}

/// A rotation because a key leaked: `new` signs at once, and nothing that another key of the algorithm
/// signed or will sign verifies any more, retired and published ahead alike.
pub fn decide_revocation(keys: &Keys<'_>, new: SigningKeyId) -> Vec<(SigningKeyId, SigningKeyEvent)> {
    let mut events = vec![(new, SigningKeyEvent::Published(SigningKeyPublished {}))];
    events.extend(activate(new, None));
    let kept = keys.iter().filter(|(_, key)| key.phase != KeyPhase::Removed);
    events.extend(kept.map(|(id, _)| (*id, SigningKeyEvent::Removed(SigningKeyRemoved {}))));
    events
}

/// The end of one key because it leaked: nothing it signed verifies any more. `successor`, which was just
/// made, signs at once where the key did.
///
/// `None` for a key that is gone, and for one that signs where there is no successor.
pub fn decide_end(
    keys: &Keys<'_>,
    leaked: SigningKeyId,
    successor: Option<SigningKeyId>,
) -> Option<Vec<(SigningKeyId, SigningKeyEvent)>> {
    let (_, key) = keys.iter().find(|(id, _)| *id == leaked)?;
    let removed = (leaked, SigningKeyEvent::Removed(SigningKeyRemoved {}));
    match (key.phase, successor) {
        (KeyPhase::Removed, _) | (KeyPhase::Active, None) => None,
        (KeyPhase::Active, Some(new)) => {
            let published = (new, SigningKeyEvent::Published(SigningKeyPublished {}));
            Some(std::iter::once(published).chain(activate(new, None)).chain([removed]).collect())
        }
        (KeyPhase::Created | KeyPhase::Published | KeyPhase::Retired, _) => Some(vec![removed]),
    }
}

/// What comes next for a key of `keys`, and not before when; `None` for one that is gone. `wanted` says whether
/// the settings name its algorithm.
pub fn next_phase(
    keys: &Keys<'_>,
    key: &SigningKeyState,
    settings: &TenantSettings,
    wanted: bool,
) -> Option<(KeyPhase, Timestamp)> {
    let since = key.phase_since;
    let successor = keys.iter().find(|(_, key)| key.phase == KeyPhase::Published).map(|(_, key)| key);
    let is_first = !keys.iter().any(|(_, key)| key.phase == KeyPhase::Active);
    match key.phase {
        KeyPhase::Created | KeyPhase::Published if !wanted => Some((KeyPhase::Removed, since)),
        KeyPhase::Created => Some((KeyPhase::Published, since)),
        KeyPhase::Published if is_first => Some((KeyPhase::Active, since)),
        KeyPhase::Published => Some((KeyPhase::Active, since.plus_ms(settings.key_publish_ahead_ms))),
        KeyPhase::Active if !wanted => Some((KeyPhase::Retired, since)),
        KeyPhase::Active => {
            let planned = since.plus_ms(settings.key_active_ms);
            let taken = successor.map(|next| next.phase_since.plus_ms(settings.key_publish_ahead_ms));
            Some((KeyPhase::Retired, taken.unwrap_or(planned)))
        }
        KeyPhase::Retired => Some((KeyPhase::Removed, since.plus_ms(settings.key_retired_ms))),
        KeyPhase::Removed => None,
    }
}

/// Those of `keys` that sign with `algorithm`.
pub fn of_algorithm(
    keys: &[(SigningKeyId, Arc<SigningKeyState>)],
    algorithm: SigningAlgorithm,
) -> Vec<(SigningKeyId, &SigningKeyState)> {
    let fits = |key: &SigningKeyState| key.material.as_ref().is_some_and(|m| m.algorithm == algorithm);
    keys.iter().filter(|(_, key)| fits(key)).map(|(id, key)| (*id, &**key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id;

    const SETTINGS_PUBLISH: u64 = 100;
    const SETTINGS_ACTIVE: u64 = 1_000;
    const SETTINGS_RETIRED: u64 = 300;

    fn settings() -> TenantSettings {
        TenantSettings {
            key_publish_ahead_ms: SETTINGS_PUBLISH,
            key_active_ms: SETTINGS_ACTIVE,
            key_retired_ms: SETTINGS_RETIRED,
            ..TenantSettings::default()
        }
    }

    fn key(phase: KeyPhase, since: u64) -> SigningKeyState {
        let phase_since = Timestamp(since);
        SigningKeyState { material: None, phase, phase_since, created_at: Timestamp(0), ended: false }
    }

    fn id(byte: u8) -> SigningKeyId {
        SigningKeyId::from_bytes([byte; 16])
    }

    /// What is due at `now` for keys 1, 2, ... in these phases since these times.
    fn due(keys: &[(KeyPhase, u64)], now: u64) -> Option<KeyStep> {
        let keys: Vec<SigningKeyState> = keys.iter().map(|(phase, since)| key(*phase, *since)).collect();
        let named: Vec<(SigningKeyId, &SigningKeyState)> = (1..).map(id).zip(&keys).collect();
        next_steps(&named, &settings(), None, Timestamp(now))
    }

    fn moves(events: Vec<(u8, SigningKeyEvent)>) -> KeyStep {
        KeyStep::Move(events.into_iter().map(|(byte, event)| (id(byte), event)).collect())
    }

    #[test]
    fn the_first_key_is_made_published_and_signs_at_once() {
        assert_eq!(due(&[], 0), Some(KeyStep::Make));
        let published = SigningKeyEvent::Published(SigningKeyPublished {});
        assert_eq!(due(&[(KeyPhase::Created, 0)], 0), Some(moves(vec![(1, published)])));
        let active = SigningKeyEvent::Activated(SigningKeyActivated {});
        assert_eq!(due(&[(KeyPhase::Published, 0)], 0), Some(moves(vec![(1, active)])));
        assert_eq!(due(&[(KeyPhase::Active, 0)], 0), None);
    }

    #[test]
    fn a_successor_is_published_ahead_and_takes_over_in_one_step() {
        assert_eq!(due(&[(KeyPhase::Active, 0)], 899), None);
        assert_eq!(due(&[(KeyPhase::Active, 0)], 900), Some(KeyStep::Make));
        let both = [(KeyPhase::Active, 0), (KeyPhase::Published, 900)];
        assert_eq!(due(&both, 999), None);
        let active = SigningKeyEvent::Activated(SigningKeyActivated {});
        let retired = SigningKeyEvent::Retired(SigningKeyRetired {});
        assert_eq!(due(&both, 1_000), Some(moves(vec![(2, active), (1, retired)])));
    }

    #[test]
    fn in_a_cluster_no_key_signs_before_the_directory_shows_it() {
        let active = |id| (id, SigningKeyEvent::Activated(SigningKeyActivated {}));
        let states = [key(KeyPhase::Active, 0), key(KeyPhase::Published, 900)];
        let named: Vec<(SigningKeyId, &SigningKeyState)> = (1..).map(id).zip(&states).collect();
        let due = |keys: &Keys<'_>, listed: &[u8]| {
            let listed = listed.iter().copied().map(id).collect();
            next_steps(keys, &settings(), Some(&listed), Timestamp(1_000))
        };
        assert_eq!(due(&named, &[1]), None);
        let retired = SigningKeyEvent::Retired(SigningKeyRetired {});
        assert_eq!(due(&named, &[1, 2]), Some(moves(vec![active(2), (1, retired)])));
        assert_eq!(due(&named[1..], &[1]), None, "nor a first one");
        assert_eq!(due(&named[1..], &[2]), Some(moves(vec![active(2)])));
    }

    #[test]
    fn what_is_told_of_a_keys_next_phase_is_what_happens() {
        let cases = [
            (vec![(KeyPhase::Published, 5)], 0, (KeyPhase::Active, 5)),
            (vec![(KeyPhase::Active, 5)], 0, (KeyPhase::Retired, 1_005)),
            (vec![(KeyPhase::Active, 5), (KeyPhase::Published, 950)], 0, (KeyPhase::Retired, 1_050)),
            (vec![(KeyPhase::Active, 5), (KeyPhase::Published, 950)], 1, (KeyPhase::Active, 1_050)),
            (vec![(KeyPhase::Retired, 7), (KeyPhase::Active, 7)], 0, (KeyPhase::Removed, 307)),
        ];
        for (phases, place, (next, at)) in cases {
            let keys: Vec<SigningKeyState> =
                phases.iter().map(|(phase, since)| key(*phase, *since)).collect();
            let named: Vec<(SigningKeyId, &SigningKeyState)> = (1..).map(id).zip(&keys).collect();
            let told = next_phase(&named, &keys[place], &settings(), true);
            assert_eq!(told, Some((next, Timestamp(at))), "{phases:?}");
        }
        let states = [key(KeyPhase::Active, 5)];
        let named = [(id(1), &states[0])];
        let told = next_phase(&named, &states[0], &settings(), false);
        assert_eq!(told, Some((KeyPhase::Retired, Timestamp(5))));
    }

    #[test]
    fn a_leaked_key_ends_and_one_that_signs_needs_a_successor() {
        let states = [key(KeyPhase::Retired, 0), key(KeyPhase::Active, 0), key(KeyPhase::Published, 0)];
        let named: Vec<(SigningKeyId, &SigningKeyState)> = (1..).map(id).zip(&states).collect();
        let removed = |byte| (id(byte), SigningKeyEvent::Removed(SigningKeyRemoved {}));
        assert_eq!(decide_end(&named, id(1), None), Some(vec![removed(1)]));
        assert_eq!(decide_end(&named, id(3), None), Some(vec![removed(3)]));
        assert_eq!(decide_end(&named, id(2), None), None);
        let published = (id(9), SigningKeyEvent::Published(SigningKeyPublished {}));
        let active = (id(9), SigningKeyEvent::Activated(SigningKeyActivated {}));
        assert_eq!(decide_end(&named, id(2), Some(id(9))), Some(vec![published, active, removed(2)]));
        assert_eq!(decide_end(&named, id(8), Some(id(9))), None);
    }

    #[test]
    fn keys_of_an_algorithm_that_is_not_wanted_any_more_end() {
        let keys = [(KeyPhase::Retired, 900), (KeyPhase::Active, 900), (KeyPhase::Published, 950)];
        let states: Vec<SigningKeyState> = keys.iter().map(|(phase, since)| key(*phase, *since)).collect();
        let named: Vec<(SigningKeyId, &SigningKeyState)> = (1..).map(id).zip(&states).collect();
        let retired = SigningKeyEvent::Retired(SigningKeyRetired {});
        let removed = SigningKeyEvent::Removed(SigningKeyRemoved {});
        let first = wind_down(&named, &settings(), Timestamp(1_000));
        assert_eq!(first, Some(moves(vec![(2, retired), (3, removed)])));
        let ended = SigningKeyEvent::Ended(SigningKeyEnded {});
        let rest = wind_down(&named[..1], &settings(), Timestamp(1_200));
        assert_eq!(rest, Some(moves(vec![(1, ended)])));
        assert_eq!(wind_down(&named[..1], &settings(), Timestamp(1_199)), None);
        assert_eq!(wind_down(&[], &settings(), Timestamp(0)), None);
    }

    #[test]
    fn a_retired_key_stays_until_what_it_signed_has_ended() {
        let keys = [(KeyPhase::Retired, 1_000), (KeyPhase::Active, 1_000)];
        assert_eq!(due(&keys, 1_299), None);
        let ended = SigningKeyEvent::Ended(SigningKeyEnded {});
        assert_eq!(due(&keys, 1_300), Some(moves(vec![(1, ended)])));
    }

    #[test]
    fn a_key_that_ended_as_planned_reads_hints_while_a_session_may_be_as_old() {
        let after = |event| SigningKeyState::evolve(Some(key(KeyPhase::Retired, 0)), &event, Timestamp(300));
        let ended = after(SigningKeyEvent::Ended(SigningKeyEnded {}));
        assert_eq!(ended.phase, KeyPhase::Removed);
        assert!(ended.reads_hints(1_000, Timestamp(1_299)) && !ended.reads_hints(1_000, Timestamp(1_300)));
        let removed = SigningKeyEvent::Removed(SigningKeyRemoved {});
        let leaked = after(removed.clone());
        assert!(!leaked.reads_hints(1_000, Timestamp(300)));
        let leaked_later = SigningKeyState::evolve(Some(ended), &removed, Timestamp(400));
        assert!(!leaked_later.reads_hints(1_000, Timestamp(400)));
        assert!(!key(KeyPhase::Retired, 0).reads_hints(1_000, Timestamp(0)), "it is in the key set");
    }
}
