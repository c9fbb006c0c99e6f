//! Clients.

use std::sync::Arc;

use super::Iam;
use crate::commands::{ClientPatch, ClientRefusal};
use crate::execute::{ExecuteError, RequestContext, Written};
use crate::ids::{ClientId, TenantId};
use crate::model::{ClientMetadata, ClientView, Page, PageRequest};
use crate::query::{Consistency, QueryError};

type Outcome<T> = Result<Written<T>, ExecuteError<ClientRefusal>>;

impl Iam {
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
        todo!()
    }

    /// A client by its OAuth `client_id`; cached until it changes. Local consistency. Disabled ones
    /// are returned, deleted ones not.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn client(&self, tenant: TenantId, client_id: &str) -> Result<Option<Arc<ClientView>>, QueryError> {
        todo!()
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
        todo!()
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
        todo!()
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
        todo!()
    }

    /// Deletes a client: its `client_id` is free again, its tokens are void.
    ///
    /// # Errors
    /// [`ClientRefusal::NotFound`].
    pub async fn delete_client(&self, ctx: &RequestContext, id: ClientId) -> Outcome<()> {
        todo!()
    }

    /// Adds a secret; those before it work for `overlap_ms` more.
    ///
    /// # Errors
    /// [`ClientRefusal::PublicClient`].
    pub async fn rotate_client_secret(
        &self,
        ctx: &RequestContext,
        id: ClientId,
        overlap_ms: u64,
    ) -> Outcome<(ClientView, String)> {
        todo!()
    }

    /// Whether `secret` is one of the client's and not expired. Constant time in the secret.
    pub fn verify_client_secret(&self, client: &ClientView, secret: &str) -> bool {
        todo!()
    }
}
