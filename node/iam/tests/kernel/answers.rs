//! Answers without a write: they wait for their barrier together, and give nothing that was overtaken.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use domicile_iam::execute::{
    Command, DecideError, Decision, ExecuteError, Executor, Fresh, LatchKey, LatchSet, Reads, RequestContext,
    Scope,
};
use domicile_iam::ids::UserId;
use domicile_iam::streams::StreamRef;
use domicile_raft::{BoxFuture, ReadError};
use tokio::sync::Barrier;

use crate::link::{Link, beside};
use crate::streams::Account;
use crate::world::{Add, No, World};

const DEADLINE: Duration = Duration::from_secs(20);

/// Looks, under the latch of a command that may come to write.
struct Look {
    user: UserId,
}

impl Command for Look {
    type Reply = u64;
    type Refusal = No;
    const NAME: &'static str = "account.look";

    fn latches(&self, scope: &Scope<'_>) -> LatchSet {
        LatchSet::default().exclusive(LatchKey::Stream(scope.tenant(), StreamRef::of::<Account>(self.user)))
    }

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Result<Decision<u64>, DecideError<No>> {
        let account = reads.stream::<Account>(self.user)?.ok_or(DecideError::Refused(No::NotFound))?;
        Ok(Decision::Answer(account.state.hits))
    }
}

/// No read index before so many ask for one.
struct Together(Barrier);

impl Link for Together {
    fn before_read(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(async {
            self.0.wait().await;
            Ok(())
        })
    }
}

#[tokio::test]
async fn answers_under_the_same_latch_wait_for_their_barrier_together() {
    const COUNT: usize = 8;
    let world = World::new().await;
    let user = world.opened("ada").await;
    let executor = beside(&world, Together(Barrier::new(COUNT)));
    let looks = (0..COUNT).map(|_| {
        let (executor, context) = (Arc::clone(&executor), world.context());
        tokio::spawn(async move { executor.execute(&context, &Look { user }).await.unwrap().reply })
    });
    for look in looks.collect::<Vec<_>>() {
        assert_eq!(tokio::time::timeout(DEADLINE, look).await.unwrap().unwrap(), 0);
    }
}

/// A write for each of the first reads; what came of them.
#[derive(Default)]
struct Writes {
    executor: OnceLock<Arc<Executor>>,
    due: Mutex<Vec<(RequestContext, Add)>>,
    outcomes: Mutex<Vec<Result<u64, String>>>,
}

impl Link for Arc<Writes> {
    fn before_read(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(async {
            let due = self.due.lock().unwrap().pop();
            let Some((context, add)) = due else { return Ok(()) };
            let outcome = self.executor.get().unwrap().execute(&context, &add).await;
            let outcome = outcome.map(|written| written.reply).map_err(|error| error.to_string());
            self.outcomes.lock().unwrap().push(outcome);
            Ok(())
        })
    }
}

#[tokio::test]
async fn an_answer_that_a_write_overtakes_is_made_again_and_is_not_overtaken_twice() {
    let world = World::new().await;
    let user = world.opened("ada").await;
    let writes = Arc::new(Writes::default());
    let executor = beside(&world, Arc::clone(&writes));
    let _ = writes.executor.set(Arc::clone(&executor));
    let short = RequestContext { deadline: Duration::from_millis(5), ..world.context() };
    *writes.due.lock().unwrap() = vec![(short, Add { user, by: 10 }), (world.context(), Add { user, by: 1 })];
    assert_eq!(executor.execute(&world.context(), &Look { user }).await.unwrap().reply, 1);
    let outcomes = writes.outcomes.lock().unwrap().clone();
    assert_eq!(outcomes.first(), Some(&Ok(1)));
    let waited = ExecuteError::<No>::Unavailable {
        retry_after_s: 1,
        reason: "waited past the deadline for other commands",
    };
    assert_eq!(outcomes.get(1), Some(&Err(waited.to_string())));
    assert_eq!((outcomes.len(), world.hits(user).await), (2, 1));
}
