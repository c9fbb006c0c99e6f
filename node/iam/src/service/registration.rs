//! Clients that no operator makes (RFC 7591, RFC 7592), and the tokens that allow it.

use std::sync::Arc;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::Iam;
use super::route::with_reply;
use crate::commands::{
    CreateInitialAccessToken, DeleteRegistration, NewInitialAccessToken, RegisterByRequest,
    RegistrationAuthority, RegistrationRefusal, RegistrationReply, RevokeInitialAccessToken,
    UpdateRegistration, sha256,
};
use crate::execute::{ExecuteError, RequestContext, Written};
use crate::ids::{ClientId, InitialAccessTokenId, TenantId};
use crate::model::{ClientMetadata, ClientView, InitialAccessTokenView, Page, PageRequest};
use crate::projections::{Projection, tenant_prefix};
use crate::query::{Consistency, QueryError, View};
use crate::streams::initial_access_token::InitialAccessToken;

type Outcome<T> = Result<Written<T>, ExecuteError<RegistrationRefusal>>;

impl Iam {
    /// Registers a client within the tenant's bounds. Secret and token are given once.
    ///
    /// # Errors
    /// [`RegistrationRefusal`].
    pub async fn register_by_request(
        &self,
        ctx: &RequestContext,
        metadata: ClientMetadata,
        authority: RegistrationAuthority,
    ) -> Outcome<(ClientView, RegistrationReply)> {
        let written = self.run(ctx, &RegisterByRequest { metadata, authority }).await?;
        self.with_view(ctx, &written)
    }

    /// Replaces the metadata by the registration access token, which is replaced too.
    ///
    /// # Errors
    /// [`RegistrationRefusal::InvalidToken`], [`RegistrationRefusal::Client`].
    pub async fn update_registration(
        &self,
        ctx: &RequestContext,
        client: ClientId,
        token: &str,
        metadata: ClientMetadata,
    ) -> Outcome<(ClientView, RegistrationReply)> {
        let token = Zeroizing::new(token.to_owned());
        let written = self.run(ctx, &UpdateRegistration { client, token, metadata }).await?;
        self.with_view(ctx, &written)
    }

    fn with_view(
        &self,
        ctx: &RequestContext,
        written: &Written<RegistrationReply>,
    ) -> Outcome<(ClientView, RegistrationReply)> {
        let reply = written.reply.clone();
        let view = self.local_view(ctx.tenant).and_then(|view| view.client_view(reply.client));
        let view = view.map_err(|error| super::route::read_failed(&error))?;
        let view = view.ok_or(ExecuteError::Refused(RegistrationRefusal::InvalidToken))?;
        Ok(with_reply(written, (view, reply)))
    }

    /// Deletes a client by its registration access token.
    ///
    /// # Errors
    /// [`RegistrationRefusal::InvalidToken`].
    pub async fn delete_registration(
        &self,
        ctx: &RequestContext,
        client: ClientId,
        token: &str,
    ) -> Outcome<()> {
        self.run(ctx, &DeleteRegistration { client, token: Zeroizing::new(token.to_owned()) }).await
    }

    /// The client that a registration access token manages. Linearizable: a token that was replaced counts
    /// nowhere.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn registration(
        &self,
        tenant: TenantId,
        client_id: &str,
        token: &str,
    ) -> Result<Option<Arc<ClientView>>, QueryError> {
        self.view(tenant, &Consistency::Linearizable).await?;
        let given = sha256(token.as_bytes());
        let found = self.client(tenant, client_id).await?;
        Ok(found.filter(|client| {
            let kept = client.registration_access_sha256.filter(|_| !client.disabled);
            kept.is_some_and(|kept| bool::from(given.ct_eq(&kept)))
        }))
    }

    /// Makes a token that lets who holds it register clients. Its text is given once.
    ///
    /// # Errors
    /// [`RegistrationRefusal::Invalid`].
    pub async fn create_initial_access_token(
        &self,
        ctx: &RequestContext,
        new: CreateInitialAccessToken,
    ) -> Outcome<NewInitialAccessToken> {
        self.run(ctx, &new).await
    }

    /// Takes an initial access token back; what was registered with it stays.
    ///
    /// # Errors
    /// [`RegistrationRefusal::NotFound`].
    pub async fn revoke_initial_access_token(
        &self,
        ctx: &RequestContext,
        id: InitialAccessTokenId,
    ) -> Outcome<()> {
        self.run(ctx, &RevokeInitialAccessToken { id }).await
    }

    /// An initial access token that was not revoked.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn initial_access_token(
        &self,
        tenant: TenantId,
        id: InitialAccessTokenId,
        consistency: &Consistency,
    ) -> Result<Option<InitialAccessTokenView>, QueryError> {
        token_view(&self.view(tenant, consistency).await?, id)
    }

    /// Initial access tokens in the order they were made, without the revoked.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn list_initial_access_tokens(
        &self,
        tenant: TenantId,
        page: &PageRequest,
        consistency: &Consistency,
    ) -> Result<Page<InitialAccessTokenView>, QueryError> {
        let view = self.view(tenant, consistency).await?;
        let prefix = tenant_prefix(Projection::InitialAccessTokens, tenant);
        view.page(&prefix, page, |id| token_view(&view, id))
    }
}

fn token_view(view: &View, id: InitialAccessTokenId) -> Result<Option<InitialAccessTokenView>, QueryError> {
    let found = view.stream::<InitialAccessToken>(id)?.filter(|(_, token)| !token.revoked);
    Ok(found.map(|(_, token)| InitialAccessTokenView {
        id,
        created_at: token.created_at,
        expires_at: token.expires_at,
        uses_max: token.uses_max,
        uses: token.uses,
        policy: token.policy.clone(),
    }))
}
