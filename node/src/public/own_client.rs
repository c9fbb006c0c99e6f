//! One client of a user: seen, changed, given another secret, deleted.

use axum::body::Body;
use axum::response::Response;
use domicile_iam::commands::DeveloperRefusal;
use domicile_iam::ids::{ClientId, SessionId};
use domicile_iam::model::{AuthMethod, ClientView};
use serde::{Deserialize, Serialize};

use super::answer;
use super::context::Caller;
use super::error::{self, Fault, PageError};
use super::interaction::Purpose;
use super::own_clients::{developer, developer_to_change, fields_of, find, metadata, told, typed};
use super::page::OWN_CLIENTS;
use super::visit::{Account, Visit};
use crate::pages::{ClientFields, FormFields, OwnClientPage};

/// How long the secret before still works.
const OVERLAP_MS: u64 = 24 * 60 * 60 * 1_000;

/// What the form remembers.
#[derive(Serialize, Deserialize)]
struct Seen {
    session: SessionId,
    client: ClientId,
}

/// The page, or the list where there is no such client.
///
/// # Errors
/// [`PageError`].
pub async fn show(visit: &Visit, id: &str) -> Result<Response, PageError> {
    let account = match developer(visit).await? {
        Ok(account) => account,
        Err(elsewhere) => return Ok(elsewhere),
    };
    match find(visit, &account, id).await? {
        Some(client) => page(visit, &account, &client, &fields_of(&client), (None, None)),
        None => Ok(list(visit)),
    }
}

fn list(visit: &Visit) -> Response {
    answer::see_other(visit.path(OWN_CLIENTS))
}

/// The page, with a secret that was just made, or what was wrong.
///
/// # Errors
/// [`PageError`].
pub fn page(
    visit: &Visit,
    account: &Account,
    client: &ClientView,
    fields: &ClientFields,
    (secret, error): (Option<&str>, Option<&str>),
) -> Result<Response, PageError> {
    let seen = Seen { session: account.session.id, client: client.id };
    let hidden = visit.seal(Purpose::OwnClient, &seen)?.ok_or(Fault::Internal)?;
    let page = OwnClientPage {
        frame: visit.plain_frame(&[]),
        form: FormFields {
            action: &visit.path(&format!("{OWN_CLIENTS}/{}", client.id)),
            interaction: &hidden.interaction,
            csrf: &hidden.csrf,
        },
        client_id: &client.client_id,
        secret,
        has_secret: client.metadata.token_endpoint_auth_method.uses_secret(),
        disabled: client.disabled,
        fields,
        error,
        list: &visit.path(OWN_CLIENTS),
    };
    Ok(visit.with_browser(page.respond()))
}

/// A button was pressed.
///
/// # Errors
/// [`PageError`].
pub async fn act(visit: &Visit, id: &str, body: Body) -> Result<Response, PageError> {
    let (form, seen): (_, Seen) = visit.submitted(Purpose::OwnClient, body).await?;
    let account = match developer_to_change(visit, seen.session).await? {
        Ok(account) => account,
        Err(elsewhere) => return Ok(elsewhere),
    };
    let found = find(visit, &account, id).await?.filter(|client| client.id == seen.client);
    let Some(client) = found else { return Ok(list(visit)) };
    let (iam, user) = (&visit.state.iam, account.user.id);
    let context = visit.context(Caller::User(user));
    let again = |fields: &ClientFields, refusal: &DeveloperRefusal| {
        page(visit, &account, &client, fields, (None, Some(&told(refusal))))
    };
    if form.has("rotate") {
        return match error::refusal(iam.rotate_own_secret(&context, user, client.id, OVERLAP_MS).await)? {
            Ok(written) => page(visit, &account, &client, &fields_of(&client), (Some(&written.reply), None)),
            Err(refusal) => again(&fields_of(&client), &refusal),
        };
    }
    if form.has("delete") {
        if !form.has("sure") {
            return page(visit, &account, &client, &fields_of(&client), (None, None));
        }
        return match error::refusal(iam.delete_own_client(&context, user, client.id).await)? {
            Ok(_) | Err(DeveloperRefusal::NotFound) => Ok(list(visit)),
            Err(refusal) => again(&fields_of(&client), &refusal),
        };
    }
    // What kind it is, it stays: that it is public or not cannot be changed.
    let fields = typed(&form, client.metadata.token_endpoint_auth_method == AuthMethod::None)?;
    let changed = metadata(client.metadata.clone(), &fields);
    match error::refusal(iam.update_own_client(&context, user, client.id, changed).await)? {
        Ok(_) => Ok(answer::see_other(visit.path(&format!("{OWN_CLIENTS}/{}", client.id)))),
        Err(refusal) => again(&fields, &refusal),
    }
}
