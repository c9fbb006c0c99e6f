//! Login sessions.

use super::Iam;
use crate::commands::{NewSession, SessionRefusal};
use crate::execute::{ExecuteError, RequestContext, Written};
use crate::ids::{SessionId, TenantId, UserId};
use crate::model::{Authentication, Page, PageRequest, SessionView};
use crate::query::{Consistency, QueryError};
use crate::streams::session::SessionEndReason;

type Outcome<T> = Result<Written<T>, ExecuteError<SessionRefusal>>;

impl Iam {
    /// Begins a session of `user`, in place of `replaces` (which ends), if given.
    ///
    /// # Errors
    /// [`SessionRefusal::UserRefused`].
    pub async fn start_session(
        &self,
        ctx: &RequestContext,
        user: UserId,
        authentication: Authentication,
        replaces: Option<SessionId>,
    ) -> Outcome<NewSession> {
        todo!()
    }

    /// The session of a cookie's value (see [`NewSession::cookie`]), if the secret is right and the
    /// session is not over and the user may act. Linearizable: a session that ended is not served.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn session_by_cookie(&self, tenant: TenantId, cookie: &str) -> Result<Option<SessionView>, QueryError> {
        todo!()
    }

    /// A further authentication in a session; its cookie's secret changes.
    ///
    /// # Errors
    /// [`SessionRefusal`].
    pub async fn reauthenticate_session(
        &self,
        ctx: &RequestContext,
        id: SessionId,
        authentication: Authentication,
    ) -> Outcome<NewSession> {
        todo!()
    }

    /// Notes that a session was used. Writes at most once a minute (or a tenth of the idle time).
    ///
    /// # Errors
    /// [`SessionRefusal`].
    pub async fn touch_session(&self, ctx: &RequestContext, id: SessionId) -> Outcome<()> {
        todo!()
    }

    /// Ends a session; tokens issued in it are void, but for offline families. Ending one that is
    /// over changes nothing.
    ///
    /// # Errors
    /// [`SessionRefusal::NotFound`].
    pub async fn end_session(&self, ctx: &RequestContext, id: SessionId, reason: SessionEndReason) -> Outcome<()> {
        todo!()
    }

    /// A user's sessions that are not over, in order of start.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn list_sessions(
        &self,
        tenant: TenantId,
        user: UserId,
        page: &PageRequest,
        consistency: &Consistency,
    ) -> Result<Page<SessionView>, QueryError> {
        todo!()
    }
}
