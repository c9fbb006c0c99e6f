//! What `iam` is told about who asks.

use std::time::Duration;

use axum::http::{HeaderMap, header};
use domicile_iam::execute::{Actor, RequestContext};
use domicile_iam::ids::{ClientId, DataKeyId, Id, TenantId, UserId};
use domicile_iam::proposal::{ActorKind, ActorRef};

use crate::serve::RequestScope;

/// Retries inside included. A caller hears what came of it within 5 s.
const DEADLINE: Duration = Duration::from_millis(4_500);
/// Bytes of a `User-Agent` that are kept, sealed, with an event.
const AGENT_MAX: usize = 256;

/// Who acts.
#[derive(Clone, Copy, Debug)]
pub enum Caller {
    /// Nobody proven yet.
    Anonymous,
    /// A user in their browser.
    User(UserId),
    /// A client at the token endpoint.
    Client(ClientId),
}

/// The context of a command.
pub fn context(tenant: TenantId, scope: RequestScope, headers: &HeaderMap, caller: Caller) -> RequestContext {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    RequestContext {
        tenant,
        actor: actor(caller),
        request_id: scope.id,
        idempotency: None,
        deadline: DEADLINE.min(scope.deadline),
        address: Some(scope.address.to_string()),
        agent: agent.map(|agent| agent.chars().take(AGENT_MAX).collect()),
    }
}

fn actor(caller: Caller) -> Actor {
    let (kind, id, key) = match caller {
        Caller::Anonymous => (ActorKind::Anonymous, String::new(), None),
        Caller::User(user) => (ActorKind::User, user.to_string(), Some(DataKeyId::from_bytes(user.bytes()))),
        Caller::Client(client) => (ActorKind::Client, client.to_string(), None),
    };
    Actor { who: ActorRef { kind, id }, key, name: None }
}
