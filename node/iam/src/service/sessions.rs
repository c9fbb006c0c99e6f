//! Login sessions.

use subtle::ConstantTimeEq as _;

use super::Iam;
use super::route::{read_failed, with_reply};
use crate::commands::{
    EndSession, NewSession, ReauthenticateSession, SessionRefusal, StartSession, TouchSession, sha256,
};
use crate::execute::{ExecuteError, RequestContext, Written};
use crate::ids::{Id, SessionId, TenantId, UserId};
use crate::model::{Authentication, Page, PageRequest, SessionOrigin, SessionView};
use crate::projections::{Projection, owner_prefix};
use crate::query::{Consistency, QueryError, View};
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
        let command = StartSession { user, authentication, replaces };
        let written = self.run(ctx, &command).await?;
        let (id, secret) = written.reply.clone();
        let view = self.session_after(ctx.tenant, id)?;
        Ok(with_reply(&written, NewSession { view, secret }))
    }

    /// The session of a cookie's value (see [`NewSession::cookie`]), if the secret is right and the
    /// session is not over and the user may act. Linearizable: a session that ended is not served.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn session_by_cookie(
        &self,
        tenant: TenantId,
        cookie: &str,
    ) -> Result<Option<SessionView>, QueryError> {
        let Some((id, secret)) = cookie.split_once('.') else { return Ok(None) };
        let Ok(id) = id.parse::<SessionId>() else { return Ok(None) };
        let view = self.view(tenant, &Consistency::Linearizable).await?;
        let Some((session, secret_sha256)) = view.live_session(id)? else { return Ok(None) };
        let fits = bool::from(sha256(secret.as_bytes()).ct_eq(&secret_sha256));
        Ok(fits.then_some(session))
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
        let written = self.run(ctx, &ReauthenticateSession { id, authentication }).await?;
        let view = self.session_after(ctx.tenant, id)?;
        Ok(with_reply(&written, NewSession { view, secret: written.reply.clone() }))
    }

    /// Notes that a session was used. Writes at most once a minute (or a tenth of the idle time).
    ///
    /// # Errors
    /// [`SessionRefusal`].
    pub async fn touch_session(&self, ctx: &RequestContext, id: SessionId) -> Outcome<()> {
        self.run(ctx, &TouchSession { id }).await
    }

    /// Ends a session; tokens issued in it are void, but for offline families. Ending one that is
    /// over changes nothing.
    ///
    /// # Errors
    /// [`SessionRefusal::NotFound`].
    pub async fn end_session(
        &self,
        ctx: &RequestContext,
        id: SessionId,
        reason: SessionEndReason,
    ) -> Outcome<()> {
        self.run(ctx, &EndSession { id, reason }).await
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
        let view = self.view(tenant, consistency).await?;
        let prefix = owner_prefix(Projection::SessionsOfUser, tenant, user.bytes());
        view.page(&prefix, page, |id| Ok(view.live_session(id)?.map(|(session, _)| session)))
    }

    /// The same for the user's own eyes: the newest first, each with where it was begun.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn list_own_sessions(
        &self,
        tenant: TenantId,
        user: UserId,
        page: &PageRequest,
        consistency: &Consistency,
    ) -> Result<Page<(SessionView, SessionOrigin)>, QueryError> {
        let view = self.view(tenant, consistency).await?;
        let prefix = owner_prefix(Projection::SessionsOfUser, tenant, user.bytes());
        view.page_from_last(&prefix, page, |id| with_origin(&view, id))
    }

    /// One of them; `None` for another user's, and for one that is over.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn own_session(
        &self,
        tenant: TenantId,
        user: UserId,
        id: SessionId,
        consistency: &Consistency,
    ) -> Result<Option<(SessionView, SessionOrigin)>, QueryError> {
        let view = self.view(tenant, consistency).await?;
        Ok(with_origin(&view, id)?.filter(|(session, _)| session.user == user))
    }

    fn session_after(
        &self,
        tenant: TenantId,
        id: SessionId,
    ) -> Result<SessionView, ExecuteError<SessionRefusal>> {
        let session =
            self.local_view(tenant).and_then(|view| view.live_session(id)).map_err(|e| read_failed(&e))?;
        session.map(|(session, _)| session).ok_or(ExecuteError::Refused(SessionRefusal::Over))
    }
}

fn with_origin(view: &View, id: SessionId) -> Result<Option<(SessionView, SessionOrigin)>, QueryError> {
    let Some((session, _)) = view.live_session(id)? else { return Ok(None) };
    Ok(Some((session, view.session_origin(id)?)))
}
