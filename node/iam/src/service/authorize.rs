//! Consent and codes.

use super::Iam;
use crate::commands::{AuthorizeRefusal, Consent, IssueCode, RevokeGrant};
use crate::execute::{ExecuteError, RequestContext, Written};
use crate::ids::{ClientId, Id, SessionId, TenantId, UserId};
use crate::model::{AuthorizedCode, CodeRequest, GrantView, Page, PageRequest};
use crate::projections::{Projection, owner_prefix};
use crate::query::{Consistency, QueryError};

impl Iam {
    /// What `user` allows `client`, if anything.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn grant_for(
        &self,
        tenant: TenantId,
        user: UserId,
        client: ClientId,
        consistency: &Consistency,
    ) -> Result<Option<GrantView>, QueryError> {
        self.view(tenant, consistency).await?.grant_for(user, client)
    }

    /// A user's grants, in the order of their ids.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn list_grants(
        &self,
        tenant: TenantId,
        user: UserId,
        page: &PageRequest,
        consistency: &Consistency,
    ) -> Result<Page<GrantView>, QueryError> {
        let view = self.view(tenant, consistency).await?;
        let prefix = owner_prefix(Projection::GrantsOfUser, tenant, user.bytes());
        view.page(&prefix, page, |id| view.grant_view(id))
    }

    /// Takes back all that `user` allowed `client`; tokens issued on it are void.
    ///
    /// # Errors
    /// [`AuthorizeRefusal::ConsentNeeded`] if there is no grant.
    pub async fn revoke_grant(
        &self,
        ctx: &RequestContext,
        user: UserId,
        client: ClientId,
    ) -> Result<Written<()>, ExecuteError<AuthorizeRefusal>> {
        self.run(ctx, &RevokeGrant { user, client }).await
    }

    /// Issues a code in `session`. `consent` is added to the grant; without it the grant must cover
    /// the request already.
    ///
    /// # Errors
    /// [`AuthorizeRefusal`].
    pub async fn issue_code(
        &self,
        ctx: &RequestContext,
        session: SessionId,
        request: CodeRequest,
        consent: Option<Consent>,
    ) -> Result<Written<AuthorizedCode>, ExecuteError<AuthorizeRefusal>> {
        self.run(ctx, &IssueCode { session, request, consent, pushed: None, device: None }).await
    }

    /// As [`Iam::issue_code`], for a request that was pushed: it is taken by this, once.
    ///
    /// # Errors
    /// [`AuthorizeRefusal`]; [`AuthorizeRefusal::RequestTaken`] for the second of two.
    pub async fn issue_pushed_code(
        &self,
        ctx: &RequestContext,
        session: SessionId,
        request: CodeRequest,
        consent: Option<Consent>,
        reference: &str,
    ) -> Result<Written<AuthorizedCode>, ExecuteError<AuthorizeRefusal>> {
        let pushed = Some(reference.to_owned());
        self.run(ctx, &IssueCode { session, request, consent, pushed, device: None }).await
    }
}
