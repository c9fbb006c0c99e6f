//! Consent and codes.

use super::Iam;
use crate::commands::{AuthorizeRefusal, Consent};
use crate::execute::{ExecuteError, RequestContext, Written};
use crate::ids::{ClientId, SessionId, TenantId, UserId};
use crate::model::{AuthorizedCode, CodeRequest, GrantView, Page, PageRequest};
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
        todo!()
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
        todo!()
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
        todo!()
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
        todo!()
    }
}
