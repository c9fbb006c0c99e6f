//! Clients of users.

use super::Iam;
use super::route::{read_failed, with_reply};
use crate::commands::{
    DEVELOPER_CLIENTS_MAX, DeleteOwnClient, DeveloperRefusal, RegisterOwnClient, RotateOwnSecret,
    UpdateOwnClient,
};
use crate::execute::{ExecuteError, RequestContext, Written};
use crate::ids::{ClientId, Id, TenantId, UserId};
use crate::model::{ClientMetadata, ClientView};
use crate::projections::{Projection, owner_prefix};
use crate::query::{Consistency, QueryError};

type Outcome<T> = Result<Written<T>, ExecuteError<DeveloperRefusal>>;

impl Iam {
    /// Registers a client of `user` within the tenant's policy. Its secret is given once.
    ///
    /// # Errors
    /// [`DeveloperRefusal`].
    pub async fn register_own_client(
        &self,
        ctx: &RequestContext,
        user: UserId,
        metadata: ClientMetadata,
    ) -> Outcome<(ClientView, Option<String>)> {
        let written = self.run(ctx, &RegisterOwnClient { user, metadata }).await?;
        let made = written.reply.clone();
        let view = self.local_view(ctx.tenant).and_then(|view| view.client_view(made.client));
        let view = view.map_err(|error| read_failed(&error))?;
        let view = view.ok_or(ExecuteError::Refused(DeveloperRefusal::NotFound))?;
        Ok(with_reply(&written, (view, made.secret)))
    }

    /// Replaces the metadata of a client of `user`, within the tenant's policy.
    ///
    /// # Errors
    /// [`DeveloperRefusal`].
    pub async fn update_own_client(
        &self,
        ctx: &RequestContext,
        user: UserId,
        client: ClientId,
        metadata: ClientMetadata,
    ) -> Outcome<()> {
        self.run(ctx, &UpdateOwnClient { user, client, metadata }).await
    }

    /// Another secret of a client of `user`, given once; those before work for `overlap_ms` more.
    ///
    /// # Errors
    /// [`DeveloperRefusal`].
    pub async fn rotate_own_secret(
        &self,
        ctx: &RequestContext,
        user: UserId,
        client: ClientId,
        overlap_ms: u64,
    ) -> Outcome<String> {
        self.run(ctx, &RotateOwnSecret { user, client, overlap_ms }).await
    }

    /// Deletes a client of `user`.
    ///
    /// # Errors
    /// [`DeveloperRefusal::NotFound`].
    pub async fn delete_own_client(
        &self,
        ctx: &RequestContext,
        user: UserId,
        client: ClientId,
    ) -> Outcome<()> {
        self.run(ctx, &DeleteOwnClient { user, client }).await
    }

    /// The clients of `user`, in order of creation.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn own_clients(
        &self,
        tenant: TenantId,
        user: UserId,
        consistency: &Consistency,
    ) -> Result<Vec<ClientView>, QueryError> {
        let view = self.view(tenant, consistency).await?;
        let prefix = owner_prefix(Projection::ClientsOfOwner, tenant, user.bytes());
        let max = usize::try_from(DEVELOPER_CLIENTS_MAX).unwrap_or(usize::MAX);
        let ids = view.ids::<ClientId>(&prefix, max)?;
        let views: Result<Vec<_>, _> = ids.into_iter().map(|id| view.client_view(id)).collect();
        Ok(views?.into_iter().flatten().collect())
    }
}
