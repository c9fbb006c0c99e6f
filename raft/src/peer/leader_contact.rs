//! When a group last heard of its leader.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Of the newest term only: who led before may go on sending.
#[derive(Debug, Default)]
pub(crate) struct LeaderContact(Mutex<Option<Contact>>);

#[derive(Clone, Copy, Debug)]
struct Contact {
    term: u64,
    /// On the monotonic clock.
    at: Duration,
}

impl LeaderContact {
    /// A message of the leader of `term` came.
    pub(crate) fn heard(&self, term: u64, now: Duration) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| term >= last.term) {
            *last = Some(Contact { term, at: now });
        }
    }

    /// How long nothing came of the leader of `term`. One of whom only others told, or a vote from before the
    /// start, is waited for from the first call on.
    pub(crate) fn silence(&self, term: u64, now: Duration) -> Duration {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let contact = match *last {
            Some(contact) if contact.term >= term => contact,
            Some(_) | None => *last.insert(Contact { term, at: now }),
        };
        now.saturating_sub(contact.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_leader_is_silent_since_its_last_message() {
        let contact = LeaderContact::default();
        contact.heard(3, at(10));
        assert_eq!(contact.silence(3, at(12)), at(2));
        contact.heard(3, at(13));
        assert_eq!(contact.silence(3, at(14)), at(1));
    }

    #[test]
    fn who_led_before_does_not_speak_for_the_leader() {
        let contact = LeaderContact::default();
        contact.heard(4, at(10));
        contact.heard(3, at(15));
        assert_eq!(contact.silence(4, at(16)), at(6));
    }

    #[test]
    fn a_leader_that_was_never_heard_of_is_waited_for_from_the_first_look_on() {
        let contact = LeaderContact::default();
        assert_eq!(contact.silence(3, at(100)), at(0));
        assert_eq!(contact.silence(3, at(107)), at(7));
        contact.heard(3, at(108));
        assert_eq!(contact.silence(5, at(120)), at(0), "another leader is another wait");
        assert_eq!(contact.silence(5, at(121)), at(1));
    }
}
