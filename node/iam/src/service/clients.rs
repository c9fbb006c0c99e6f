//! Clients.

use std::sync::Arc;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::Iam;
use super::cache::States;
use super::route::{read_failed, with_reply};
use crate::commands::{
    AddClientSecret, ClientPatch, ClientRefusal, DeleteClient, RegisterClient, UpdateClient, sha256,
};
use crate::execute::{ExecuteError, RequestContext, Written};
use crate::ids::{ClientId, Id, TenantId};
use crate::model::{ClientMetadata, ClientView, Page, PageRequest};
use crate::projections::{Projection, host_key, owner_prefix, tenant_prefix};
use crate::proposal::ClaimKind;
use crate::query::{Consistency, QueryError, View};
use crate::streams::client::{Client, SECRET_FIELD};
use crate::streams::{StreamKind, StreamRef};

type Outcome<T> = Result<Written<T>, ExecuteError<ClientRefusal>>;

impl Iam {
    /// The resource server that an identifier names (RFC 8707), as it is known here.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn resource_server(
        &self,
        tenant: TenantId,
        identifier: &str,
    ) -> Result<Option<ClientId>, QueryError> {
        let owner = self.local_view(tenant)?.claim(ClaimKind::ResourceIdentifier, identifier)?;
        Ok(owner.filter(|owner| owner.kind == StreamKind::Client).map(|owner| ClientId::from_bytes(owner.id)))
    }

    /// What the resource server that an identifier names is registered as, as it is known here.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn registered_resource_server(
        &self,
        tenant: TenantId,
        identifier: &str,
    ) -> Result<Option<Arc<ClientView>>, QueryError> {
        let view = self.local_view(tenant)?;
        let owner = view.claim(ClaimKind::ResourceIdentifier, identifier)?;
        let Some(owner) = owner.filter(|owner| owner.kind == StreamKind::Client) else { return Ok(None) };
        self.cached_client(&view, ClientId::from_bytes(owner.id))
    }

    /// Registers a client by RFC 7591 §2 metadata; the secret of a confidential one is given once.
    ///
    /// # Errors
    /// [`ClientRefusal`].
    pub async fn register_client(
        &self,
        ctx: &RequestContext,
        metadata: ClientMetadata,
        client_id: Option<String>,
    ) -> Outcome<(ClientView, Option<String>)> {
        let written = self.run(ctx, &RegisterClient { metadata, client_id }).await?;
        let (id, secret) = written.reply.clone();
        let view = self.client_after(ctx.tenant, id)?;
        Ok(with_reply(&written, (view, secret)))
    }

    /// Whether a client of the tenant has pages of this origin, as it is known here. A disabled one still has.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn is_browser_origin(&self, tenant: TenantId, origin: &str) -> Result<bool, QueryError> {
        let prefix = owner_prefix(Projection::ClientsByOrigin, tenant, host_key(origin));
        Ok(!self.local_view(tenant)?.ids::<ClientId>(&prefix, 1)?.is_empty())
    }

    fn client_after(
        &self,
        tenant: TenantId,
        id: ClientId,
    ) -> Result<ClientView, ExecuteError<ClientRefusal>> {
        let view =
            self.local_view(tenant).and_then(|view| view.client_view(id)).map_err(|e| read_failed(&e))?;
        view.ok_or(ExecuteError::Refused(ClientRefusal::NotFound))
    }

    /// A client by its OAuth `client_id`; cached until it changes. Local consistency. Disabled ones
    /// are returned, deleted ones not.
    ///
    /// # Errors
    /// [`QueryError`].
    #[allow(clippy::unused_async, reason = "a replica elsewhere will be asked when this node has none")]
    pub async fn client(
        &self,
        tenant: TenantId,
        client_id: &str,
    ) -> Result<Option<Arc<ClientView>>, QueryError> {
        let view = self.local_view(tenant)?;
        let key = (tenant, client_id.to_owned());
        if let Some(id) = self.inner.client_ids.get(&key) {
            // A deleted client's id can become another's; a cached view of this one says it is not.
            if let Some(client) = self.cached_client(&view, id)? {
                return Ok(Some(client));
            }
        }
        let owner = view.claim(ClaimKind::ClientId, client_id)?;
        let Some(owner) = owner.filter(|owner| owner.kind == StreamKind::Client) else { return Ok(None) };
        let id = ClientId::from_bytes(owner.id);
        self.inner.client_ids.put(key, id);
        self.cached_client(&view, id)
    }

    fn cached_client(&self, view: &View, id: ClientId) -> Result<Option<Arc<ClientView>>, QueryError> {
        let (key, states) = ((view.tenant, id), States::of_home(&*view.engine));
        if let Some(client) = self.inner.clients.unchanged(&key, states) {
            return Ok(Some(client));
        }
        let versions = [view.version::<Client>(id)?, 0];
        if let Some(client) = self.inner.clients.current(&key, versions, states) {
            return Ok(Some(client));
        }
        let Some(client) = view.client_view(id)?.map(Arc::new) else { return Ok(None) };
        // The view says at which revision it was read: a change in between is not cached as if old.
        let versions = [client.revision, 0];
        self.inner.clients.keep(key, versions, states, &client);
        Ok(Some(client))
    }

    /// A client by its internal id; cached as [`Iam::client`].
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn client_by_id(
        &self,
        tenant: TenantId,
        id: ClientId,
        consistency: &Consistency,
    ) -> Result<Option<Arc<ClientView>>, QueryError> {
        let view = self.view(tenant, consistency).await?;
        self.cached_client(&view, id)
    }

    /// Clients in order of registration, without the deleted.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn list_clients(
        &self,
        tenant: TenantId,
        page: &PageRequest,
        consistency: &Consistency,
    ) -> Result<Page<ClientView>, QueryError> {
        let view = self.view(tenant, consistency).await?;
        view.page(&tenant_prefix(Projection::Clients, tenant), page, |id| view.client_view(id))
    }

    /// Replaces the metadata (`None` keeps it), disables or enables.
    ///
    /// # Errors
    /// [`ClientRefusal`].
    pub async fn update_client(
        &self,
        ctx: &RequestContext,
        id: ClientId,
        patch: ClientPatch,
    ) -> Outcome<ClientView> {
        let written = self.run(ctx, &UpdateClient { id, patch }).await?;
        let view = self.client_after(ctx.tenant, id)?;
        Ok(with_reply(&written, view))
    }

    /// Deletes a client: its `client_id` is free again, its tokens are void.
    ///
    /// # Errors
    /// [`ClientRefusal::NotFound`]; [`ClientRefusal::Stale`] if the client is not at `if_revision`.
    pub async fn delete_client(
        &self,
        ctx: &RequestContext,
        id: ClientId,
        if_revision: Option<u64>,
    ) -> Outcome<()> {
        self.run(ctx, &DeleteClient { id, if_revision }).await
    }

    /// Adds a secret; those before it work for `overlap_ms` more.
    ///
    /// # Errors
    /// [`ClientRefusal::NoSecret`]; [`ClientRefusal::Stale`] if the client is not at `if_revision`.
    pub async fn rotate_client_secret(
        &self,
        ctx: &RequestContext,
        id: ClientId,
        overlap_ms: u64,
        if_revision: Option<u64>,
    ) -> Outcome<(ClientView, String)> {
        let written = self.run(ctx, &AddClientSecret { id, overlap_ms, if_revision }).await?;
        let view = self.client_after(ctx.tenant, id)?;
        Ok(with_reply(&written, (view, written.reply.clone())))
    }

    /// Whether `secret` is one of the client's and not expired. Constant time in the secret.
    pub fn verify_client_secret(&self, client: &ClientView, secret: &str) -> bool {
        let now = self.inner.clock.now();
        let given = sha256(secret.as_bytes());
        let mut fits = subtle::Choice::from(0);
        for credential in &client.credentials {
            let live = credential.expires_at.is_none_or(|end| end > now);
            fits |= given.ct_eq(&credential.secret_sha256) & subtle::Choice::from(u8::from(live));
        }
        bool::from(fits)
    }

    /// The client's secrets that have not expired, as HMAC keys: `client_secret_jwt` only. Opened for each
    /// use and wiped after it.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn hmac_secrets(
        &self,
        tenant: TenantId,
        client: &ClientView,
    ) -> Result<Vec<Zeroizing<String>>, QueryError> {
        let view = self.local_view(tenant)?;
        let now = self.inner.clock.now();
        let stream = StreamRef::of::<Client>(client.id);
        let mut secrets = Vec::new();
        for credential in &client.credentials {
            let live = credential.expires_at.is_none_or(|end| end > now);
            if let Some(sealed) = credential.sealed_secret.as_ref().filter(|_| live) {
                secrets.extend(view.open(stream, SECRET_FIELD, sealed)?);
            }
        }
        Ok(secrets)
    }
}
