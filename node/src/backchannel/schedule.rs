//! Who is told when: bounded in number and age, with pauses that grow, and fair between clients. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domicile_iam::commands::{LOGOUT_NOTICE_MS, LogoutNotice, SettledLogout};
use domicile_iam::ids::{ClientId, SessionId, TenantId};
use domicile_iam::service::PendingLogout;
use domicile_iam::streams::session::LogoutFailure;
use domicile_raft::{PartitionId, Timestamp};

use super::delivery::Outcome;

/// Tries in all by one leader. With the pauses below they take about as long as a notice lives.
const TRIES_MAX: u32 = 20;
/// The pause after the first try; it doubles.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_mins(5);
/// Pause after a try that was none.
const POSTPONED: Duration = Duration::from_secs(2);
/// Tries at a time, and of them those for one tenant and one client: a slow one holds up nobody else. As many as
/// `egress` has places for.
const AT_ONCE_MAX: usize = 64;
const AT_ONCE_OF_TENANT: usize = 16;
const AT_ONCE_OF_CLIENT: usize = 2;
/// Notices known at a time; more are found when these are settled.
const KNOWN_MAX: usize = 65_536;
/// Notices of one tenant that one write takes away.
const SETTLED_MAX: usize = 256;

type Key = (TenantId, ClientId, SessionId);

fn key(tenant: TenantId, notice: &LogoutNotice) -> Key {
    (tenant, notice.client, notice.session)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting { due: Duration },
    InFlight,
    Settled(Option<LogoutFailure>),
}

struct Entry {
    home: PartitionId,
    notice: LogoutNotice,
    tries: u32,
    state: State,
}

/// All notices that this node has to do with.
#[derive(Default)]
pub(super) struct Schedule {
    entries: BTreeMap<Key, Entry>,
}

impl Schedule {
    /// How many are known.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes in what was found in a partition: what is new is due now.
    pub(super) fn learn(&mut self, home: PartitionId, found: Vec<PendingLogout>, now: Duration) {
        for PendingLogout { tenant, notice } in found {
            let key = key(tenant, &notice);
            match self.entries.get(&key) {
                Some(entry) if entry.notice == notice => continue,
                None if self.entries.len() >= KNOWN_MAX => continue,
                // The same session ended again: what was known is of the past.
                Some(_) | None => {}
            }
            let state = State::Waiting { due: now };
            self.entries.insert(key, Entry { home, notice, tries: 0, state });
        }
    }

    /// Forgets the notices of all other partitions: who leads those tells them.
    pub(super) fn keep_only(&mut self, led: &BTreeSet<PartitionId>) {
        self.entries.retain(|_, entry| led.contains(&entry.home));
    }

    /// What is to be tried now; it counts as in flight from here.
    pub(super) fn due(&mut self, now: Duration, wall: Timestamp) -> Vec<PendingLogout> {
        let in_flight = |entry: &Entry| entry.state == State::InFlight;
        let mut at_once = self.entries.values().filter(|entry| in_flight(entry)).count();
        let mut of_tenant: BTreeMap<TenantId, usize> = BTreeMap::new();
        let mut of_client: BTreeMap<(TenantId, ClientId), usize> = BTreeMap::new();
        for ((tenant, client, _), _) in self.entries.iter().filter(|(_, entry)| in_flight(entry)) {
            *of_tenant.entry(*tenant).or_default() += 1;
            *of_client.entry((*tenant, *client)).or_default() += 1;
        }
        let mut due = Vec::new();
        for ((tenant, client, _), entry) in &mut self.entries {
            let State::Waiting { due: from } = entry.state else { continue };
            if wall.since_ms(entry.notice.at) >= LOGOUT_NOTICE_MS {
                entry.state = State::Settled(Some(LogoutFailure::Age));
                continue;
            }
            let of_tenant = of_tenant.entry(*tenant).or_default();
            let of_client = of_client.entry((*tenant, *client)).or_default();
            let full = at_once >= AT_ONCE_MAX || *of_tenant >= AT_ONCE_OF_TENANT;
            if from > now || full || *of_client >= AT_ONCE_OF_CLIENT {
                continue;
            }
            (at_once, *of_tenant, *of_client) = (at_once + 1, *of_tenant + 1, *of_client + 1);
            entry.state = State::InFlight;
            due.push(PendingLogout { tenant: *tenant, notice: entry.notice.clone() });
        }
        due
    }

    /// Notes what a try came to. `jitter` is random.
    pub(super) fn tried(&mut self, tried: &PendingLogout, outcome: Outcome, now: Duration, jitter: u16) {
        let key = key(tried.tenant, &tried.notice);
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.notice == tried.notice) else {
            return;
        };
        entry.state = match outcome {
            Outcome::Told | Outcome::NotWanted => State::Settled(None),
            Outcome::Address => State::Settled(Some(LogoutFailure::Address)),
            Outcome::Postponed => State::Waiting { due: now + POSTPONED },
            Outcome::Failed => {
                entry.tries += 1;
                if entry.tries >= TRIES_MAX {
                    State::Settled(Some(LogoutFailure::Attempts))
                } else {
                    State::Waiting { due: now + pause(entry.tries, jitter) }
                }
            }
        };
    }

    /// What needs no more tries, by tenant, as much as one write takes.
    pub(super) fn settled(&self) -> BTreeMap<TenantId, Vec<SettledLogout>> {
        let mut settled: BTreeMap<TenantId, Vec<SettledLogout>> = BTreeMap::new();
        for ((tenant, _, _), entry) in &self.entries {
            if let State::Settled(failure) = entry.state {
                let of_tenant = settled.entry(*tenant).or_default();
                if of_tenant.len() < SETTLED_MAX {
                    of_tenant.push(SettledLogout { notice: entry.notice.clone(), failure });
                }
            }
        }
        settled
    }

    /// Forgets what was taken away.
    pub(super) fn forget(&mut self, tenant: TenantId, settled: &[SettledLogout]) {
        for SettledLogout { notice, .. } in settled {
            let key = key(tenant, notice);
            if self.entries.get(&key).is_some_and(|entry| entry.notice == *notice) {
                self.entries.remove(&key);
            }
        }
    }
}

/// Doubles up to [`PAUSE_MAX`], and is between half and all of that, so that clients that were down together
/// are not called together.
fn pause(tries: u32, jitter: u16) -> Duration {
    let whole = PAUSE_MIN.saturating_mul(1_u32 << tries.saturating_sub(1).min(16)).min(PAUSE_MAX);
    whole / 2 + whole.mul_f64(f64::from(jitter) / f64::from(u16::MAX) / 2.0)
}

#[cfg(test)]
mod tests;
