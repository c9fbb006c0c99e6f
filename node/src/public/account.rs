//! The account page: where a person sees and ends their sessions and what they allowed clients.
//!
//! Seeing it takes a session. Ending another session, or taking access back, takes a login of the last
//! [`FRESH_MS`] (OWASP ASVS 5 §7.5.2): who finds a browser open can end what is open there, and no more.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use domicile_iam::commands::AuthorizeRefusal;
use domicile_iam::ids::{ClientId, SessionId};
use domicile_iam::model::{Assurance, Authentication, GrantView, PageRequest};
use domicile_iam::query::Consistency;
use domicile_oidc::{Form, Timestamp};
use serde::{Deserialize, Serialize};

use super::account_sessions::{self, Listed, Sessions};
use super::context::Caller;
use super::error::{self, Fault, PageError};
use super::interaction::{Hidden, Purpose};
use super::login::{self, Failed};
use super::page::{ACCOUNT, ACCOUNT_PASSWORD, ACCOUNT_SECOND_FACTOR, LoginState, OWN_CLIENTS, name};
use super::visit::{Account, Visit};
use super::{account_second_factor, answer};
use crate::admin;
use crate::pages::{AccountGrant, AccountPage, AccountPaging, AccountSecondFactor, Moment};

/// How old a login may be for what is more than looking: 10 minutes.
const FRESH_MS: u64 = 10 * 60 * 1_000;
/// Grants on the page. Who has more sees the others once these are taken back.
const GRANTS_MAX: u32 = PageRequest::SIZE_MAX;
/// Bytes of what a link to older sessions says.
const AFTER_MAX: usize = 64;

/// What the forms here remember.
#[derive(Debug, Serialize, Deserialize)]
struct Seen {
    /// The session that looked at the page; none on the login page.
    session: Option<SessionId>,
}

/// The page, or a login on the way to it.
pub async fn get(visit: Visit, RawQuery(query): RawQuery) -> Response {
    let form = Form::parse(query.unwrap_or_default().as_bytes()).ok();
    let after = form.as_ref().and_then(|form| form.get_within("after", AFTER_MAX).ok().flatten());
    let shown = show(&visit, after).await;
    visit.answer(shown)
}

async fn show(visit: &Visit, after: Option<&str>) -> Result<Response, PageError> {
    let Some(account) = visit.account().await? else {
        return ask(visit, LoginState::default());
    };
    if account_second_factor::lacks(&account) {
        return account_second_factor::verify_page(visit, &account, None);
    }
    if account_second_factor::must_set_up(visit, &account) {
        return Ok(answer::see_other(visit.path(ACCOUNT_SECOND_FACTOR)));
    }
    let hidden = seal(visit, Purpose::Account, Some(account.session.id))?;
    let page = PageRequest { page_size: Some(GRANTS_MAX), page_token: None };
    let Sessions { items, older, later } = account_sessions::list(visit, &account, after).await?;
    // The session was read after a barrier; what is here now is no older.
    let (iam, user) = (&visit.state.iam, account.user.id);
    let grants = iam.list_grants(visit.tenant.id, user, &page, &Consistency::Local).await?.items;
    let names = names(visit, &items, &grants).await?;
    let sessions = account_sessions::shown(&items, account.session.id, &names);
    let grants = shown_grants(visit, grants, &names);
    let here = visit.path(ACCOUNT);
    // Base64url needs no escapes.
    let older = older.map(|after| format!("{here}?after={after}"));
    let may_have_clients = visit.tenant.settings.developer_clients_max > 0;
    let own_clients = visit.path(OWN_CLIENTS);
    let page = AccountPage {
        frame: visit.plain_frame(&[]),
        action: &here,
        interaction: &hidden.interaction,
        csrf: &hidden.csrf,
        user: &account.user.username,
        sessions: &sessions,
        paging: AccountPaging { older: older.as_deref(), newest: later.then_some(here.as_str()) },
        grants: &grants,
        password_page: &visit.path(ACCOUNT_PASSWORD),
        own_clients: may_have_clients.then_some(own_clients.as_str()),
        second_factor: AccountSecondFactor {
            present: account.user.second_factor.is_some(),
            page: &visit.path(ACCOUNT_SECOND_FACTOR),
        },
    };
    Ok(visit.with_browser(page.respond()))
}

/// What people call the clients that are named; those that are gone have none.
async fn names(
    visit: &Visit,
    sessions: &[Listed],
    grants: &[GrantView],
) -> Result<BTreeMap<ClientId, String>, Fault> {
    let of_sessions = sessions.iter().flat_map(|(session, _)| session.clients.keys());
    let mut names = BTreeMap::new();
    for id in of_sessions.chain(grants.iter().map(|grant| &grant.client)) {
        if names.contains_key(id) {
            continue;
        }
        let client = visit.state.iam.client_by_id(visit.tenant.id, *id, &Consistency::Local).await?;
        if let Some(client) = client {
            names.insert(*id, name(&client).to_owned());
        }
    }
    Ok(names)
}

fn shown_grants(
    visit: &Visit,
    grants: Vec<GrantView>,
    names: &BTreeMap<ClientId, String>,
) -> Vec<AccountGrant> {
    let texts = visit.plain_frame(&[]).texts;
    let mut shown: Vec<AccountGrant> = grants
        .into_iter()
        .filter_map(|grant| {
            let client = names.get(&grant.client)?.clone();
            let scopes = grant.scopes.iter().map(|scope| texts.scope(scope).unwrap_or(scope).to_owned());
            let items = scopes.chain(grant.claims.iter().chain(&grant.resources).cloned()).collect();
            Some(AccountGrant { id: grant.client.to_string(), client, items })
        })
        .collect();
    shown.sort_by(|a, b| a.client.cmp(&b.client));
    shown
}

/// A time for people and for machines.
pub fn moment(at: Timestamp) -> Moment {
    let machine = admin::rfc3339(at);
    // 2026-01-31T12:34:56.789Z
    let (day, time) = (machine.get(..10).unwrap_or_default(), machine.get(11..16).unwrap_or_default());
    Moment { human: format!("{day} {time} UTC"), machine }
}

fn seal(visit: &Visit, purpose: Purpose, session: Option<SessionId>) -> Result<Hidden, PageError> {
    Ok(visit.seal(purpose, &Seen { session })?.ok_or(Fault::Internal)?)
}

/// The login page, without a client.
fn ask(visit: &Visit, state: LoginState<'_>) -> Result<Response, PageError> {
    let hidden = seal(visit, Purpose::AccountLogin, None)?;
    Ok(visit.account_login_page(&hidden, state))
}

/// The login page for who must prove themselves again, by the name they have, or for somebody else.
///
/// # Errors
/// [`PageError`].
pub fn ask_again(visit: &Visit, account: Option<&Account>) -> Result<Response, PageError> {
    let login = account.map(|account| account.user.username.as_str());
    ask(visit, LoginState { login, ..LoginState::default() })
}

/// The login form was sent.
pub async fn log_in(visit: Visit, body: Body) -> Response {
    let answered = submit_login(&visit, body).await;
    visit.answer(answered)
}

async fn submit_login(visit: &Visit, body: Body) -> Result<Response, PageError> {
    let (form, _): (_, Seen) = visit.submitted(Purpose::AccountLogin, body).await?;
    let login = login::typed_login(&form);
    match login::attempt(visit, &form).await? {
        Ok((session, _)) => Ok(visit.with_session(answer::see_other(visit.path(ACCOUNT)), &session)),
        Err(Failed { error, retry_after_s }) => {
            let state = LoginState { login: Some(login), error: Some(error), retry_after_s, account: None };
            ask(visit, state)
        }
    }
}

/// A button was pressed.
pub async fn post(visit: Visit, body: Body) -> Response {
    let done = act(&visit, body).await;
    visit.answer(done)
}

/// What the person wants.
enum Wish {
    End(SessionId),
    EndOthers,
    Revoke(ClientId),
}

async fn act(visit: &Visit, body: Body) -> Result<Response, PageError> {
    let (form, seen): (_, Seen) = visit.submitted(Purpose::Account, body).await?;
    let back = || Ok(answer::see_other(visit.path(ACCOUNT)));
    // Only for the session that looked at the page.
    let account = visit.account().await?.filter(|account| Some(account.session.id) == seen.session);
    let Some(account) = account.filter(|account| !account_second_factor::lacks(account)) else {
        return back();
    };
    let given = |name| form.get(name).ok().flatten();
    let wish = if let Some(id) = given("end").and_then(|id| id.parse().ok()) {
        Wish::End(id)
    } else if form.has("end_others") {
        Wish::EndOthers
    } else if let Some(id) = given("revoke").and_then(|id| id.parse().ok()) {
        Wish::Revoke(id)
    } else {
        return back();
    };
    let here = account.session.id;
    if matches!(wish, Wish::End(id) if id == here) {
        account_sessions::end(visit, &account, here).await?;
        return Ok(visit.without_session(visit.logged_out_page(&[], true)));
    }
    if !is_fresh(&account.session.authentications, visit.now) {
        return ask_again(visit, Some(&account));
    }
    match wish {
        Wish::End(id) => {
            if account_sessions::is_own(visit, &account, id).await? {
                account_sessions::end(visit, &account, id).await?;
            }
        }
        Wish::EndOthers => account_sessions::end_others(visit, &account).await?,
        Wish::Revoke(client) => revoke(visit, &account, client).await?,
    }
    back()
}

/// Whether the login is so new that more than looking is allowed.
pub fn is_fresh(authentications: &[Authentication], now: Timestamp) -> bool {
    Assurance::of(authentications).is_some_and(|proofs| now.since_ms(proofs.first.at) <= FRESH_MS)
}

async fn revoke(visit: &Visit, account: &Account, client: ClientId) -> Result<(), Fault> {
    let context = visit.context(Caller::User(account.user.id));
    let revoked = visit.state.iam.revoke_grant(&context, account.user.id, client).await;
    match error::refusal(revoked)? {
        // Nothing is allowed any more, which is what was wanted.
        Ok(_)
        | Err(
            AuthorizeRefusal::ConsentNeeded
            | AuthorizeRefusal::SessionOver
            | AuthorizeRefusal::RequestTaken
            | AuthorizeRefusal::ClientRefused,
        ) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owasp_asvs_v5_s7_5_2_the_last_login_counts_for_ten_minutes() {
        let at = |ms| Authentication { method: "pwd".to_owned(), at: Timestamp(ms), acr: String::new() };
        let both = [at(1_000), at(600_000)];
        assert!(is_fresh(&both, Timestamp(600_000 + FRESH_MS)));
        assert!(!is_fresh(&both, Timestamp(600_001 + FRESH_MS)));
        assert!(!is_fresh(&both[..1], Timestamp(700_000)));
        assert!(!is_fresh(&[], Timestamp(0)));
    }

    #[test]
    fn times_are_shown_to_the_minute() {
        let shown = moment(Timestamp(1_311_280_970_007));
        assert_eq!(shown.machine, "2011-07-21T20:42:50.007Z");
        assert_eq!(shown.human, "2011-07-21 20:42 UTC");
    }
}
