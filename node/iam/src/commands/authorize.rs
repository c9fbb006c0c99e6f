//! Consent, and the codes issued on it.

use super::code::{CodeRecord, LiveCode};
use super::digest::{base64url, sha256};
use super::grant_id::grant_id_for;
use super::session::{live_session, settings, touch};
use super::session_watch::watch;
use super::{AuthorizeRefusal, Consent, SYSTEM_SLUG, device, pushed};
use crate::execute::{Command, DecideError, Decision, Draft, Fresh, ReadFault, Reads};
use crate::ids::{ClientId, SessionId, UserId};
use crate::model::{ADMIN_SCOPE, Assurance, AuthorizedCode, ClientMetadata, CodeRequest};
use crate::proposal::RecordKind;
use crate::streams::client::{Client, is_open_to_impersonation};
use crate::streams::grant::{
    Grant, allowed_claims, claims_beyond_scopes, covers, decide_consent, decide_revoke,
};
use crate::streams::session::{Session, decide_join};
use crate::streams::tenant::Tenant;
use crate::streams::user::User;

/// Issues a code.
#[derive(Clone, Debug)]
pub struct IssueCode {
    /// In which session.
    pub session: SessionId,
    /// For what.
    pub request: CodeRequest,
    /// What the user just allowed, if asked.
    pub consent: Option<Consent>,
    /// The pushed request that this answers, which is taken by it.
    pub pushed: Option<String>,
    /// The user code of the device that waits for this (RFC 8628), in normal form.
    pub device: Option<String>,
}

impl Command for IssueCode {
    type Reply = AuthorizedCode;
    type Refusal = AuthorizeRefusal;
    const NAME: &'static str = "code.issue";

    fn decide(
        &self,
        reads: &mut Reads<'_>,
        fresh: &mut Fresh,
    ) -> Result<Decision<AuthorizedCode>, DecideError<AuthorizeRefusal>> {
        if let Some(narrowed) = self.without_admin(reads)? {
            return narrowed.decide(reads, fresh);
        }
        let settings = settings(reads)?;
        let Some((session, _)) = live_session(reads, self.session, &settings)? else {
            return Err(DecideError::Refused(AuthorizeRefusal::SessionOver));
        };
        let client = self.request.client;
        let registered = reads.stream::<Client>(client)?.map(|client| client.state);
        let registered = registered.as_deref().and_then(Client::usable);
        let registered = registered.ok_or(DecideError::Refused(AuthorizeRefusal::ClientRefused))?;
        let listens = registered.metadata.backchannel_logout_uri.is_some();
        let user = session.state.user;
        let grant_id = grant_id_for(user, client);
        let grant = reads.stream::<Grant>(grant_id)?;
        let mut draft = Draft::new();
        draft.about(user);
        let before = grant.as_ref().map(|grant| &*grant.state);
        if let Some(consent) = &self.consent {
            if let Some(event) = decide_consent(before, user, client, consent) {
                draft.append::<Grant>(grant_id, grant.as_ref().map_or(0, |grant| grant.version), event);
            }
        } else if self.asks_each_time(reads, &registered.metadata)? || !covers(before, &self.wanted()) {
            return Err(DecideError::Refused(AuthorizeRefusal::ConsentNeeded));
        }
        if let Some(reference) = &self.pushed {
            pushed::take(reads, &mut draft, reference, client)?;
        }
        let (sid, joined) = decide_join(&session.state, client, base64url(&fresh.bytes::<16>()));
        if let Some(event) = joined {
            draft.append::<Session>(self.session, session.version, event);
            if listens {
                let idle = session.state.idle_expires_at(Some(fresh.at()), settings.session_idle_ms);
                watch(&mut draft, self.session, &session.state, idle);
            }
        }
        touch(reads, &mut draft, self.session, &session.state, &settings)?;
        let (code, expires_at) = if let Some(user_code) = &self.device {
            device::allow(reads, &mut draft, (user_code, client), self.request.challenge.as_ref())?
        } else {
            let ends_at = fresh.at().plus_ms(settings.code_lifetime_ms);
            (base64url(fresh.secret().as_slice()), ends_at)
        };
        let live = LiveCode {
            request: self.allowed_request(before),
            user,
            session: self.session,
            sid: sid.clone(),
            grant: grant_id,
            auth_time: session.state.authenticated_at(),
            amr: Assurance::of(&session.state.authentications)
                .map(|proofs| proofs.methods())
                .unwrap_or_default(),
            issued_at: fresh.at(),
            device: self.device.is_some(),
        };
        let record = CodeRecord::Live(Box::new(live));
        draft.put_record(RecordKind::AuthorizationCode, sha256(code.as_bytes()), &record, expires_at);
        Ok(Decision::Propose(draft, AuthorizedCode { code, sid }))
    }
}

impl IssueCode {
    /// The same without the scope of operators, if it is asked for by who is none. RFC 6749 §3.3 lets
    /// a server give less than was asked for; the answer says what it gave.
    fn without_admin(&self, reads: &mut Reads<'_>) -> Result<Option<Self>, ReadFault> {
        let consented = self.consent.as_ref().is_some_and(|consent| consent.scopes.contains(ADMIN_SCOPE));
        if !consented && !self.request.scopes.contains(ADMIN_SCOPE) {
            return Ok(None);
        }
        let (tenant, session) = (reads.tenant(), reads.stream::<Session>(self.session)?);
        let user = session.map(|session| reads.stream::<User>(session.state.user)).transpose()?.flatten();
        let system = reads.stream::<Tenant>(tenant)?.is_some_and(|tenant| tenant.state.slug == SYSTEM_SLUG);
        if system && user.is_some_and(|user| user.state.operator) {
            return Ok(None);
        }
        let mut narrowed = self.clone();
        narrowed.request.scopes.remove(ADMIN_SCOPE);
        if let Some(consent) = &mut narrowed.consent {
            consent.scopes.remove(ADMIN_SCOPE);
        }
        Ok(Some(narrowed))
    }

    /// Whether what was allowed before does not count, since somebody else might ask in the client's name.
    fn asks_each_time(&self, reads: &mut Reads<'_>, metadata: &ClientMetadata) -> Result<bool, ReadFault> {
        let tenant = reads.tenant();
        let issuer =
            reads.stream::<Tenant>(tenant)?.map(|tenant| tenant.state.issuer.clone()).unwrap_or_default();
        let redirect_uri = &self.request.redirect_uri;
        Ok(self.device.is_none() && is_open_to_impersonation(metadata, redirect_uri, &issuer))
    }

    /// What the grant must cover: claims that the scopes asked for bring are no question of their own.
    fn wanted(&self) -> Consent {
        let CodeRequest { scopes, claims, resources, .. } = &self.request;
        Consent {
            scopes: scopes.clone(),
            claims: claims_beyond_scopes(claims, scopes),
            resources: resources.clone(),
        }
    }

    /// The request narrowed to what is allowed: a user may allow less than was asked for.
    fn allowed_request(&self, before: Option<&Grant>) -> CodeRequest {
        let mut request = self.request.clone();
        let mut allowed = before.and_then(|grant| grant.allowed.clone()).unwrap_or_default();
        if let Some(consent) = &self.consent {
            allowed.scopes.extend(consent.scopes.iter().cloned());
            allowed.claims.extend(consent.claims.iter().cloned());
            allowed.resources.extend(consent.resources.iter().cloned());
            request.scopes.retain(|scope| allowed.scopes.contains(scope));
            request.resources.retain(|resource| allowed.resources.contains(resource));
        }
        request.claims = allowed_claims(&request.claims, &request.scopes, &allowed);
        request
    }
}

/// Takes back all that a user allowed a client.
#[derive(Clone, Debug)]
pub struct RevokeGrant {
    /// Who.
    pub user: UserId,
    /// Whom.
    pub client: ClientId,
}

impl Command for RevokeGrant {
    type Reply = ();
    type Refusal = AuthorizeRefusal;
    const NAME: &'static str = "grant.revoke";

    fn decide(
        &self,
        reads: &mut Reads<'_>,
        _fresh: &mut Fresh,
    ) -> Result<Decision<()>, DecideError<AuthorizeRefusal>> {
        let id = grant_id_for(self.user, self.client);
        let refused = || DecideError::Refused(AuthorizeRefusal::ConsentNeeded);
        let grant = reads.stream::<Grant>(id)?.ok_or_else(refused)?;
        let event = decide_revoke(&grant.state).ok_or_else(refused)?;
        let mut draft = Draft::new();
        draft.about(self.user);
        draft.append::<Grant>(id, grant.version, event);
        Ok(Decision::Propose(draft, ()))
    }
}
