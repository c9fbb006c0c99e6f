//! Pushed authorization requests (RFC 9126).

use zeroize::Zeroizing;

use super::Iam;
use crate::commands::{AuthorizeRefusal, PushRequest, PushedRecord, PushedRequest, Reference, carry};
use crate::execute::{ExecuteError, RequestContext, Written};
use crate::ids::{ClientId, TenantId};
use crate::proposal::RecordKind;
use crate::query::{Consistency, QueryError, fault};

impl Iam {
    /// Keeps the request of a client that proved itself for [`crate::commands::PUSHED_REQUEST_MS`] and
    /// gives what stands for it: 43 characters of base64url.
    ///
    /// # Errors
    /// [`AuthorizeRefusal::ClientRefused`].
    pub async fn push_request(
        &self,
        ctx: &RequestContext,
        client: ClientId,
        form: &[u8],
    ) -> Result<Written<String>, ExecuteError<AuthorizeRefusal>> {
        self.run(ctx, &PushRequest { client, form: Zeroizing::new(form.to_vec()) }).await
    }

    /// The same for a public client: nothing is written, the reference carries the request. `form` is
    /// at most [`crate::commands::CARRIED_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn carry_request(
        &self,
        tenant: TenantId,
        client: ClientId,
        form: &[u8],
    ) -> Result<String, QueryError> {
        let view = self.local_view(tenant)?;
        let mut nonce = [0; 12];
        self.inner.clock.fill_random(&mut nonce);
        carry(&view.keys, tenant, (client, form), (view.now, nonce)).map_err(fault)
    }

    /// The request that a reference stands for, if it is `client`'s, can still be opened and was not
    /// taken. Opening takes nothing: a page may be reloaded (RFC 9126 §4).
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn pushed_request(
        &self,
        tenant: TenantId,
        client: ClientId,
        reference: &str,
    ) -> Result<Option<PushedRequest>, QueryError> {
        let Some(reference) = Reference::parse(reference) else { return Ok(None) };
        let view = self.view(tenant, &Consistency::Linearizable).await?;
        let record = view.record::<PushedRecord>(RecordKind::PushedRequest, reference.record_key())?;
        let request = reference.open(&view.keys, tenant, record.map(|(record, _)| record).as_ref());
        Ok(request.filter(|request| request.client == client && request.opens_at(view.now)))
    }
}
