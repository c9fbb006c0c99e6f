//! Whose key seals the address and agent of a caller, and what of them shows in logs.

use domicile_iam::event::StoredEvent;
use domicile_iam::execute::{
    Actor, Command, DecideError, Decision, Draft, Fresh, Reads, RequestContext, Written, user_key,
};
use domicile_iam::ids::{DataKeyId, UserId};
use domicile_iam::personal::Personal;
use domicile_iam::proposal::{ActorKind, ActorRef};
use domicile_iam::seal::decode_sealed;
use domicile_iam::tables;

use crate::streams::{Account, AccountEvent, Opened};
use crate::world::{Add, No, World};

/// An event on a stream that is no user's, about a user.
struct Note {
    about: Option<UserId>,
}

impl Command for Note {
    type Reply = ();
    type Refusal = No;
    const NAME: &'static str = "note";

    fn decide(&self, _reads: &mut Reads<'_>, fresh: &mut Fresh) -> Result<Decision<()>, DecideError<No>> {
        let mut draft = Draft::new();
        if let Some(user) = self.about {
            draft.about(user);
            draft.append_about::<Account>(fresh.id(), 0, user, opened());
        }
        Ok(Decision::Propose(draft, ()))
    }
}

fn opened() -> AccountEvent {
    AccountEvent::Opened(Opened { name: Personal::plain("x") })
}

/// The key of the actor details in the tenant's last event.
async fn key_of_details<C: Command>(world: &World, kind: ActorKind, command: &C) -> DataKeyId {
    let who = ActorRef { kind, id: "who".to_owned() };
    let context = RequestContext { actor: Actor { who, key: None, name: None }, ..world.context() };
    assert!(world.executor.execute(&context, command).await.is_ok());
    let engine = world.executor.engine();
    let last = tables::tenant_row(&*engine, world.tenant).unwrap().unwrap().sequence;
    let stored = engine.get(&tables::event_key(world.tenant, last)).unwrap().unwrap();
    let details = StoredEvent::decode(&stored).unwrap().actor_details.unwrap();
    decode_sealed(&details).unwrap().key
}

#[tokio::test]
async fn details_of_one_who_is_not_proven_are_under_the_key_of_whom_the_event_is_about() {
    let world = World::new().await;
    let user = world.opened("ada").await;
    let keys = world.executor.keyring().tenant(world.executor.engine(), world.tenant).unwrap().unwrap();
    let tenant = keys.ids().data;
    for (kind, expected) in [
        (ActorKind::Anonymous, user_key(user)),
        (ActorKind::Client, user_key(user)),
        (ActorKind::Operator, tenant),
        (ActorKind::System, tenant),
    ] {
        assert_eq!(key_of_details(&world, kind, &Note { about: Some(user) }).await, expected, "{kind:?}");
        assert_eq!(key_of_details(&world, kind, &Add { user, by: 1 }).await, expected, "{kind:?}");
    }
}

#[tokio::test]
async fn a_context_and_a_reply_in_a_log_line_tell_nothing_personal_or_secret() {
    let world = World::new().await;
    let context = RequestContext { agent: Some("Lynx".to_owned()), ..world.idempotent("my-key", 1) };
    let written = Written {
        reply: "the-secret",
        consistency: world.run(&Note { about: None }).await.unwrap().consistency,
        replayed: false,
    };
    let decision = Decision::Answer("the-secret");
    let shown =
        format!("{context:?} {written:?} {decision:?} {:?}", Decision::Propose(Draft::new(), "the-secret"));
    for hidden in ["Olga", "192.0.2.1", "Lynx", "my-key", "the-secret"] {
        assert!(!shown.contains(hidden), "{hidden} in {shown}");
    }
    assert!(shown.contains(&world.tenant.to_string()), "{shown}");
}
