//! The account page's part for sessions: which are shown, where each was begun, and their end.

use std::collections::BTreeMap;

use domicile_iam::commands::SessionRefusal;
use domicile_iam::ids::{ClientId, SessionId};
use domicile_iam::model::{PageRequest, SessionOrigin, SessionView};
use domicile_iam::query::{Consistency, QueryError};
use domicile_iam::streams::session::SessionEndReason;

use super::account::moment;
use super::context::Caller;
use super::error::{self, Fault};
use super::visit::{Account, Visit};
use crate::pages::{AccountSession, agent_name};

/// Sessions on one page.
const SHOWN: u32 = 20;
/// Sessions that one press of a button ends. Who has more presses it again.
const ENDED_AT_ONCE: u32 = PageRequest::SIZE_MAX;

/// A session, and where it was begun.
pub type Listed = (SessionView, SessionOrigin);

/// What one page shows.
pub struct Sessions {
    /// The one that looks at the page first, on the first page; then the newest.
    pub items: Vec<Listed>,
    /// What the link to the next page says; none on the last.
    pub older: Option<String>,
    /// Whether this is not the first page.
    pub later: bool,
}

/// The sessions of a page: the first, or the one that a link of ours leads to.
///
/// # Errors
/// [`Fault`].
pub async fn list(visit: &Visit, account: &Account, after: Option<&str>) -> Result<Sessions, Fault> {
    let (iam, tenant, user) = (&visit.state.iam, visit.tenant.id, account.user.id);
    // The session was read after a barrier; what is here now is no older.
    let read = Consistency::Local;
    let page = |page_token| PageRequest { page_size: Some(SHOWN), page_token };
    let wanted = page(after.map(str::to_owned));
    let (listed, later) = match iam.list_own_sessions(tenant, user, &wanted, &read).await {
        // No link of ours.
        Err(QueryError::InvalidPageToken) => {
            (iam.list_own_sessions(tenant, user, &page(None), &read).await?, false)
        }
        listed => (listed?, after.is_some()),
    };
    let (mut items, older) = (listed.items, listed.next_page_token);
    let here = items.iter().position(|(session, _)| session.id == account.session.id);
    let here = here.map(|at| items.remove(at));
    if !later {
        let here = match here {
            Some(here) => Some(here),
            // Many began after it.
            None => iam.own_session(tenant, user, account.session.id, &read).await?,
        };
        items = here.into_iter().chain(items).collect();
    }
    Ok(Sessions { items, older, later })
}

/// For the page.
pub fn shown(listed: &[Listed], here: SessionId, names: &BTreeMap<ClientId, String>) -> Vec<AccountSession> {
    let session = |(session, origin): &Listed| AccountSession {
        id: session.id.to_string(),
        here: session.id == here,
        since: moment(session.started_at),
        until: moment(session.idle_expires_at),
        from: begun_from(origin),
        clients: session.clients.keys().filter_map(|id| names.get(id).cloned()).collect(),
    };
    listed.iter().map(session).collect()
}

/// Address and browser, as far as they are known.
fn begun_from(origin: &SessionOrigin) -> String {
    let agent = origin.agent.as_deref().map(agent_name);
    let known: Vec<String> = origin.address.clone().into_iter().chain(agent).collect();
    known.join(", ")
}

/// Whether the session is of the account. Another user's is as good as none.
///
/// # Errors
/// [`Fault`].
pub async fn is_own(visit: &Visit, account: &Account, id: SessionId) -> Result<bool, Fault> {
    let (iam, user) = (&visit.state.iam, account.user.id);
    Ok(iam.own_session(visit.tenant.id, user, id, &Consistency::Linearizable).await?.is_some())
}

/// Ends the account's other sessions.
///
/// # Errors
/// [`Fault`].
pub async fn end_others(visit: &Visit, account: &Account) -> Result<(), Fault> {
    let page = PageRequest { page_size: Some(ENDED_AT_ONCE), page_token: None };
    let (iam, user) = (&visit.state.iam, account.user.id);
    let listed = iam.list_sessions(visit.tenant.id, user, &page, &Consistency::Linearizable).await?;
    for session in listed.items.iter().filter(|session| session.id != account.session.id) {
        end(visit, account, session.id).await?;
    }
    Ok(())
}

/// Ends one.
///
/// # Errors
/// [`Fault`].
pub async fn end(visit: &Visit, account: &Account, id: SessionId) -> Result<(), Fault> {
    let context = visit.context(Caller::User(account.user.id));
    let ended = visit.state.iam.end_session(&context, id, SessionEndReason::Logout).await;
    match error::refusal(ended)? {
        Ok(_) | Err(SessionRefusal::NotFound | SessionRefusal::Over | SessionRefusal::UserRefused) => Ok(()),
    }
}
