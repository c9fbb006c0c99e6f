//! The way from here to an address of a client that nobody vouches for (RFC 9700 §4.11.2, docs/adr/0031).
//!
//! Who registers a client could have us send people anywhere, by a request that is refused at once. To such an address
//! a browser goes by itself only with a code, or if its user let the client in before; else a page names it.

use axum::response::Response;
use domicile_iam::model::ClientView;
use domicile_iam::query::Consistency;
use domicile_oidc::OAuthError;
use domicile_oidc::authorize::RedirectError;
use domicile_oidc::respond::{self, AuthorizationResponse};

use super::error::{Fault, PageError};
use super::page;
use super::visit::Visit;
use crate::pages::LeavePage;

impl Visit {
    /// Tells a client, by way of the browser, why it gets no code.
    ///
    /// # Errors
    /// [`PageError`].
    pub async fn refuse(&self, client: &ClientView, refusal: &RedirectError) -> Result<Response, PageError> {
        let response = respond::error(refusal, &self.tenant.issuer);
        if self.trusts(client) || self.has_let_in(client).await? {
            return Ok(self.to_client(response));
        }
        Ok(self.leave_page(response, Some(refusal.error)))
    }

    /// Whether browsers may be sent to the client's addresses with nobody's leave.
    pub fn trusts(&self, client: &ClientView) -> bool {
        let policy = &self.tenant.settings.registration_policy;
        client.delegation.as_ref().is_none_or(|delegation| delegation.trusts_redirect_uris(policy))
    }

    async fn has_let_in(&self, client: &ClientView) -> Result<bool, Fault> {
        let Some(account) = self.account().await? else { return Ok(false) };
        // The session was read after a barrier; what is here now is no older.
        let (user, local) = (account.user.id, Consistency::Local);
        let grant = self.state.iam.grant_for(self.tenant.id, user, client.id, &local).await?;
        Ok(grant.is_some())
    }

    /// Says where the way would lead, and leaves it to the person.
    pub fn leave_page(&self, response: AuthorizationResponse, error: Option<OAuthError>) -> Response {
        let (link, action, fields) = match response {
            AuthorizationResponse::Redirect(location) => (Some(location), String::new(), Vec::new()),
            AuthorizationResponse::FormPost { action, fields } => (None, action, fields),
        };
        let parameters: Vec<(String, String)> =
            fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let page = LeavePage {
            frame: self.plain_frame(&[]),
            host: &page::host(link.as_deref().unwrap_or(&action)),
            link: link.as_deref(),
            action: &action,
            parameters: &parameters,
            code: error.map(|error| error.code.as_str()),
            detail: error.map(|error| error.description).unwrap_or_default(),
        };
        page.respond()
    }
}
