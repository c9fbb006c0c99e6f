//! Clients that users register for themselves, within the tenant's policy (docs/adr/0027).

use std::fmt;

use domicile_storage::{KeyRange, Order};
use serde::{Deserialize, Serialize};

use super::client::{contacts, delete, existing, new_credential, register};
use super::{ClientRefusal, SYSTEM_SLUG};
use crate::execute::{Command, DecideError, Decision, Draft, Fresh, ReadFault, Reads, Versioned};
use crate::ids::{ClientId, Id, UserId};
use crate::model::{ClientMetadata, Delegate, Delegation, TenantSettings};
use crate::projections::{Projection, id_of_row, owner_prefix};
use crate::proposal::{RangeKey, RangeKind};
use crate::streams::client::{
    Client, ClientDelegated, ClientEvent, admitted, decide_add_secret, decide_switch, decide_update,
};
use crate::streams::tenant::Tenant;
use crate::streams::user::User;

/// Clients that a user may have at most, whatever the tenant says.
pub const DEVELOPER_CLIENTS_MAX: u32 = 100;

/// Why a user may not do this with a client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeveloperRefusal {
    /// The tenant lets no user register clients, or not this one.
    #[error("users register no clients here")]
    Closed,
    /// The user has as many as the tenant allows.
    #[error("the user has {0} clients, which is as many as one may have")]
    TooMany(u32),
    /// No such client, or not this user's: all the same from outside.
    #[error("no such client")]
    NotFound,
    /// What is asked for breaks a rule.
    #[error(transparent)]
    Client(#[from] ClientRefusal),
}

type Refused = DecideError<DeveloperRefusal>;
type Decided<R> = Result<Decision<R>, Refused>;

fn refused(refusal: DeveloperRefusal) -> Refused {
    DecideError::Refused(refusal)
}

fn widened(error: DecideError<ClientRefusal>) -> Refused {
    match error {
        DecideError::Refused(ClientRefusal::NotFound) => refused(DeveloperRefusal::NotFound),
        DecideError::Refused(refusal) => refused(refusal.into()),
        DecideError::Fault(fault) => DecideError::Fault(fault),
    }
}

/// The tenant's settings, if `user` may register clients under them.
fn allowed(reads: &mut Reads<'_>, user: UserId) -> Result<TenantSettings, Refused> {
    let tenant = reads.tenant();
    let tenant = reads.stream::<Tenant>(tenant)?.map(|tenant| tenant.state);
    let open = tenant.filter(|tenant| {
        !tenant.deleted && tenant.slug != SYSTEM_SLUG && tenant.settings.developer_clients_max > 0
    });
    let usable = reads.stream::<User>(user)?.is_some_and(|user| user.state.is_usable());
    open.filter(|_| usable).map(|tenant| tenant.settings.clone()).ok_or(refused(DeveloperRefusal::Closed))
}

/// The range of a user's clients: who adds to them changes it, who decides by them depends on it.
fn range_of(user: UserId) -> RangeKey {
    RangeKey { kind: RangeKind::OwnedClients, id: user.bytes() }
}

/// A user's clients, as they are applied.
fn clients_of(reads: &mut Reads<'_>, user: UserId) -> Result<Vec<ClientId>, ReadFault> {
    reads.range(range_of(user))?;
    let prefix = owner_prefix(Projection::ClientsOfOwner, reads.tenant(), user.bytes());
    let max = usize::try_from(DEVELOPER_CLIENTS_MAX).unwrap_or(usize::MAX);
    let rows = reads.engine().scan(&KeyRange::prefix(&prefix), Order::Ascending, max)?;
    Ok(rows.iter().filter_map(|(key, _)| id_of_row(key)).collect())
}

/// The client, if it is of `user`.
fn own(reads: &mut Reads<'_>, user: UserId, id: ClientId) -> Result<Versioned<Client>, Refused> {
    let client = existing(reads, id).map_err(widened)?;
    let owner = client.state.delegation.as_ref().and_then(Delegation::owner);
    if owner == Some(user) { Ok(client) } else { Err(refused(DeveloperRefusal::NotFound)) }
}

/// A new client of a user.
#[derive(Clone, Debug)]
pub struct RegisterOwnClient {
    /// Whose.
    pub user: UserId,
    /// RFC 7591 §2.
    pub metadata: ClientMetadata,
}

/// A client that was registered, or got another secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnClient {
    /// The client.
    pub client: ClientId,
    /// Its secret, where it has one. Nowhere else.
    pub secret: Option<String>,
}

impl Command for RegisterOwnClient {
    type Reply = OwnClient;
    type Refusal = DeveloperRefusal;
    const NAME: &'static str = "client.register_own";

    fn decide(&self, reads: &mut Reads<'_>, fresh: &mut Fresh) -> Decided<OwnClient> {
        let settings = allowed(reads, self.user)?;
        let max = settings.developer_clients_max;
        let count = u32::try_from(clients_of(reads, self.user)?.len()).unwrap_or(u32::MAX);
        if count >= max.min(DEVELOPER_CLIENTS_MAX) {
            return Err(refused(DeveloperRefusal::TooMany(count)));
        }
        let metadata = admitted(self.metadata.clone(), &settings.registration_policy, &settings);
        let metadata = metadata.map_err(|refusal| refused(refusal.into()))?;
        let client: ClientId = fresh.id();
        let (mut draft, secret) =
            register(reads, fresh, client, (&client.to_string(), &metadata)).map_err(widened)?;
        let delegation = Delegation { by: Delegate::Developer(self.user), policy: None };
        draft.append::<Client>(client, 0, ClientEvent::Delegated(ClientDelegated { delegation }));
        draft.touch_range(range_of(self.user));
        draft.about(self.user);
        Ok(Decision::Propose(draft, OwnClient { client, secret }))
    }
}

/// Other metadata of a client of a user.
#[derive(Clone, Debug)]
pub struct UpdateOwnClient {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub client: ClientId,
    /// All of its metadata.
    pub metadata: ClientMetadata,
}

impl Command for UpdateOwnClient {
    type Reply = ();
    type Refusal = DeveloperRefusal;
    const NAME: &'static str = "client.update_own";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let settings = allowed(reads, self.user)?;
        let client = own(reads, self.user, self.client)?;
        let broken = |refusal: ClientRefusal| refused(refusal.into());
        let metadata = admitted(self.metadata.clone(), &settings.registration_policy, &settings);
        let metadata = metadata.map_err(broken)?;
        let contacts = contacts(reads, self.client, &client)?;
        let contacts = contacts.as_ref().map(|text| text.as_str());
        let changed = decide_update(&client.state, contacts, &metadata).map_err(broken)?;
        let Some(changed) = changed else { return Ok(Decision::Answer(())) };
        let mut draft = Draft::new();
        draft.append::<Client>(self.client, client.version, changed);
        Ok(Decision::Propose(draft, ()))
    }
}

/// Another secret of a client of a user, in place of those before.
#[derive(Clone, Debug)]
pub struct RotateOwnSecret {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub client: ClientId,
    /// How long the others still work.
    pub overlap_ms: u64,
}

impl Command for RotateOwnSecret {
    type Reply = String;
    type Refusal = DeveloperRefusal;
    const NAME: &'static str = "client.secret.rotate_own";

    fn decide(&self, reads: &mut Reads<'_>, fresh: &mut Fresh) -> Decided<String> {
        allowed(reads, self.user)?;
        let client = own(reads, self.user, self.client)?;
        let method =
            client.state.registration.as_ref().map(|found| found.metadata.token_endpoint_auth_method);
        let method = method.ok_or(refused(DeveloperRefusal::NotFound))?;
        let (secret, credential) = new_credential(fresh, method);
        let others_end = fresh.at().plus_ms(self.overlap_ms);
        let event = decide_add_secret(&client.state, credential, others_end);
        let mut draft = Draft::new();
        let event = event.map_err(|refusal| refused(refusal.into()))?;
        draft.append::<Client>(self.client, client.version, event);
        Ok(Decision::Propose(draft, secret))
    }
}

/// The end of a client of a user. Also where the tenant lets users register none any more.
#[derive(Clone)]
pub struct DeleteOwnClient {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub client: ClientId,
}

impl fmt::Debug for DeleteOwnClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeleteOwnClient").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Command for DeleteOwnClient {
    type Reply = ();
    type Refusal = DeveloperRefusal;
    const NAME: &'static str = "client.delete_own";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let client = own(reads, self.user, self.client)?;
        Ok(Decision::Propose(delete(reads, self.client, &client).map_err(widened)?, ()))
    }
}

/// Disables the clients of a user who is disabled or erased by `draft`: nobody answers for them any more.
pub(super) fn disable_all(reads: &mut Reads<'_>, draft: &mut Draft, user: UserId) -> Result<(), ReadFault> {
    for id in clients_of(reads, user)? {
        if let Some(client) = reads.stream::<Client>(id)?
            && let Some(event) = decide_switch(&client.state, true)
        {
            draft.append::<Client>(id, client.version, event);
        }
    }
    Ok(())
}
