//! One deadline over several steps.

use std::time::Duration;

use domicile_raft::Clock;

use crate::execute::{ExecuteError, RequestContext};

/// A call that takes several steps, each of which gets what the others left of its time.
pub(super) struct Deadline<'a> {
    context: &'a RequestContext,
    clock: &'a dyn Clock,
    /// On the monotonic clock.
    ends: Duration,
}

impl<'a> Deadline<'a> {
    /// Counts from now.
    pub(super) fn of(context: &'a RequestContext, clock: &'a dyn Clock) -> Self {
        Self { context, clock, ends: clock.monotonic().saturating_add(context.deadline) }
    }

    /// The call's context as it came.
    pub(super) fn context(&self) -> &'a RequestContext {
        self.context
    }

    /// The time left; zero once it is over.
    pub(super) fn remaining(&self) -> Duration {
        self.ends.saturating_sub(self.clock.monotonic())
    }

    /// The context of the next step.
    ///
    /// # Errors
    /// [`ExecuteError::Unavailable`] once the time is over: the step was not begun.
    pub(super) fn left<R>(&self) -> Result<RequestContext, ExecuteError<R>> {
        let deadline = self.remaining();
        if deadline.is_zero() {
            let reason = "the deadline is over between two steps";
            return Err(ExecuteError::Unavailable { retry_after_s: 1, reason });
        }
        Ok(RequestContext { deadline, ..self.context.clone() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]
    use domicile_raft::Timestamp;
    use domicile_raft::testing::ManualClock;

    use super::*;
    use crate::execute::Actor;
    use crate::ids::{Id, RequestId, TenantId};
    use crate::proposal::{ActorKind, ActorRef};

    #[test]
    fn each_step_gets_what_is_left_and_none_begins_after_the_end() {
        let clock = ManualClock::new(Timestamp(1_800_000_000_000), 1);
        let context = RequestContext {
            tenant: TenantId::from_bytes([0; 16]),
            actor: Actor {
                who: ActorRef { kind: ActorKind::System, id: String::new() },
                key: None,
                name: None,
            },
            request_id: RequestId::from_bytes([0; 16]),
            idempotency: None,
            deadline: Duration::from_secs(5),
            address: None,
            agent: None,
        };
        let call = Deadline::of(&context, &clock);
        clock.advance(Duration::from_secs(3));
        assert_eq!(call.left::<std::fmt::Error>().unwrap().deadline, Duration::from_secs(2));
        clock.advance(Duration::from_secs(2));
        assert!(matches!(call.left::<std::fmt::Error>(), Err(ExecuteError::Unavailable { .. })));
    }
}
