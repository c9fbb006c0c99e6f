//! The page on which users register clients of their own, where their tenant lets them (docs/adr/0027).
//!
//! Everything but looking takes a login of the last minutes, and the second factor there is: what is registered here,
//! others will trust with their data.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use domicile_iam::commands::DeveloperRefusal;
use domicile_iam::ids::{ClientId, SessionId};
use domicile_iam::model::{ApplicationType, AuthMethod, ClientMetadata, ClientView, GrantType};
use domicile_iam::query::Consistency;
use domicile_oidc::Form;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::account::{ask_again, is_fresh};
use super::account_second_factor::{lacks, must_set_up, verify_page};
use super::body::BodyError;
use super::context::Caller;
use super::error::{self, Fault, PageError};
use super::interaction::Purpose;
use super::page::{ACCOUNT, ACCOUNT_SECOND_FACTOR, OWN_CLIENTS, name};
use super::visit::{Account, Visit};
use super::{answer, own_client};
use crate::pages::{ClientFields, FormFields, OwnClientEntry, OwnClientsPage};

/// Bytes of a field that are looked at; the domain's own bounds are lower.
const FIELD_MAX: usize = 8 << 10;

/// What the form remembers.
#[derive(Serialize, Deserialize)]
struct Seen {
    session: SessionId,
}

/// Who is logged in, as far as they may be here; else the page that leads there.
///
/// # Errors
/// [`PageError`].
pub async fn developer(visit: &Visit) -> Result<Result<Account, Response>, PageError> {
    if visit.tenant.settings.developer_clients_max == 0 {
        return Err(PageError::OutOfPlace);
    }
    let Some(account) = visit.account().await? else { return Ok(Err(ask_again(visit, None)?)) };
    if lacks(&account) {
        return Ok(Err(verify_page(visit, &account, None)?));
    }
    if must_set_up(visit, &account) {
        return Ok(Err(answer::see_other(visit.path(ACCOUNT_SECOND_FACTOR))));
    }
    Ok(Ok(account))
}

/// The same for who wants to change something.
///
/// # Errors
/// [`PageError`].
pub async fn developer_to_change(
    visit: &Visit,
    session: SessionId,
) -> Result<Result<Account, Response>, PageError> {
    match developer(visit).await? {
        Ok(account) if account.session.id != session => Ok(Err(answer::see_other(visit.path(OWN_CLIENTS)))),
        Ok(account) if !is_fresh(&account.session.authentications, visit.now) => {
            Ok(Err(ask_again(visit, Some(&account))?))
        }
        other => Ok(other),
    }
}

/// The list.
pub async fn get(visit: Visit) -> Response {
    let shown = show(&visit).await;
    visit.answer(shown)
}

async fn show(visit: &Visit) -> Result<Response, PageError> {
    match developer(visit).await? {
        Ok(account) => page(visit, &account, &ClientFields::default(), None).await,
        Err(elsewhere) => Ok(elsewhere),
    }
}

async fn page(
    visit: &Visit,
    account: &Account,
    fields: &ClientFields,
    error: Option<&str>,
) -> Result<Response, PageError> {
    let seen = Seen { session: account.session.id };
    let hidden = visit.seal(Purpose::OwnClients, &seen)?.ok_or(Fault::Internal)?;
    // The session was read after a barrier; what is here now is no older.
    let found = visit.state.iam.own_clients(visit.tenant.id, account.user.id, &Consistency::Local).await?;
    let clients: Vec<_> = found.iter().map(|client| entry(visit, client)).collect();
    let most = usize::try_from(visit.tenant.settings.developer_clients_max).unwrap_or(usize::MAX);
    let page = OwnClientsPage {
        frame: visit.plain_frame(&[]),
        form: FormFields {
            action: &visit.path(OWN_CLIENTS),
            interaction: &hidden.interaction,
            csrf: &hidden.csrf,
        },
        clients: &clients,
        fields,
        error,
        full: clients.len() >= most,
        account_page: &visit.path(ACCOUNT),
    };
    Ok(visit.with_browser(page.respond()))
}

fn entry(visit: &Visit, client: &ClientView) -> OwnClientEntry {
    OwnClientEntry {
        page: visit.path(&format!("{OWN_CLIENTS}/{}", client.id)),
        name: name(client).to_owned(),
        client_id: client.client_id.clone(),
        disabled: client.disabled,
    }
}

/// A client is registered.
pub async fn post(visit: Visit, body: Body) -> Response {
    let done = register(&visit, body).await;
    visit.answer(done)
}

async fn register(visit: &Visit, body: Body) -> Result<Response, PageError> {
    let (form, seen): (_, Seen) = visit.submitted(Purpose::OwnClients, body).await?;
    let account = match developer_to_change(visit, seen.session).await? {
        Ok(account) => account,
        Err(elsewhere) => return Ok(elsewhere),
    };
    let fields = typed(&form, form.has("public"))?;
    if let Err(problem) = visit.state.limits.registration(visit.scope.address) {
        let wait_s = error::wait_s(problem);
        let texts = visit.plain_frame(&[]).texts;
        let again = page(visit, &account, &fields, Some(texts.too_many)).await?;
        return Ok(error::retry_after(again, wait_s));
    }
    let metadata = metadata(new_metadata(&fields)?, &fields);
    let context = visit.context(Caller::User(account.user.id));
    let made = visit.state.iam.register_own_client(&context, account.user.id, metadata).await;
    match error::refusal(made)? {
        Ok(written) => {
            let (client, secret) = written.reply;
            own_client::page(visit, &account, &client, &fields_of(&client), (secret.as_deref(), None))
        }
        Err(refusal) => page(visit, &account, &fields, Some(&told(&refusal))).await,
    }
}

/// What the person is told of a refusal: in the words of RFC 7591, which developers know.
pub fn told(refusal: &DeveloperRefusal) -> String {
    refusal.to_string()
}

/// The fields of a form. None may be left out for its length: what is saved would lack what was typed.
///
/// # Errors
/// [`BodyError::Field`].
pub fn typed(form: &Form, public: bool) -> Result<ClientFields, BodyError> {
    let field = |name| {
        let value = form.get_within(name, FIELD_MAX).map_err(|_| BodyError::Field)?;
        Ok::<_, BodyError>(value.unwrap_or_default().trim().to_owned())
    };
    Ok(ClientFields {
        name: field("name")?,
        redirect_uris: field("redirect_uris")?,
        post_logout_redirect_uris: field("post_logout_redirect_uris")?,
        scope: field("scope")?,
        public,
        native: form.has("native"),
    })
}

/// The fields of a client.
pub fn fields_of(client: &ClientView) -> ClientFields {
    let metadata = &client.metadata;
    ClientFields {
        name: metadata.client_name.clone().unwrap_or_default(),
        redirect_uris: metadata.redirect_uris.join("\n"),
        post_logout_redirect_uris: metadata.post_logout_redirect_uris.join("\n"),
        scope: metadata.scope.clone().unwrap_or_default(),
        public: metadata.token_endpoint_auth_method == AuthMethod::None,
        native: metadata.application_type == ApplicationType::Native,
    }
}

fn new_metadata(fields: &ClientFields) -> Result<ClientMetadata, Fault> {
    let method = if fields.public { "none" } else { "client_secret_basic" };
    let metadata = json!({ "token_endpoint_auth_method": method, "require_pkce": true });
    let mut metadata: ClientMetadata = serde_json::from_value(metadata).map_err(|_| Fault::Internal)?;
    metadata.grant_types = vec![GrantType::AuthorizationCode, GrantType::RefreshToken];
    Ok(metadata)
}

/// `metadata` with what was typed; the rest of it stays.
pub fn metadata(mut metadata: ClientMetadata, fields: &ClientFields) -> ClientMetadata {
    let lines = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    metadata.client_name = Some(fields.name.clone());
    metadata.redirect_uris = lines(&fields.redirect_uris);
    metadata.post_logout_redirect_uris = lines(&fields.post_logout_redirect_uris);
    metadata.scope =
        Some(fields.scope.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|scope| !scope.is_empty());
    metadata.application_type = if fields.native { ApplicationType::Native } else { ApplicationType::Web };
    metadata
}

/// One client's page.
pub async fn get_one(visit: Visit, Path((_, id)): Path<(String, String)>) -> Response {
    let shown = own_client::show(&visit, &id).await;
    visit.answer(shown)
}

/// A button there was pressed.
pub async fn post_one(visit: Visit, Path((_, id)): Path<(String, String)>, body: Body) -> Response {
    let done = own_client::act(&visit, &id, body).await;
    visit.answer(done)
}

/// The client of this id, if it is the account's.
///
/// # Errors
/// [`Fault`].
pub async fn find(visit: &Visit, account: &Account, id: &str) -> Result<Option<Arc<ClientView>>, Fault> {
    let Ok(id) = id.parse::<ClientId>() else { return Ok(None) };
    let (iam, tenant) = (&visit.state.iam, visit.tenant.id);
    let found = iam.client_by_id(tenant, id, &Consistency::Local).await?;
    Ok(found.filter(|client| {
        let owner = client.delegation.as_ref().and_then(domicile_iam::model::Delegation::owner);
        owner == Some(account.user.id)
    }))
}
