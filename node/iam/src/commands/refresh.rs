//! Refresh tokens: rotation or staying, reuse, revocation (RFC 6749 §6, RFC 9700 §4.14.2, RFC 7009).

use std::collections::BTreeSet;
use std::sync::Arc;

use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};

use super::code::{TokenReply, invalid};
use super::digest::sha256;
use super::key_proof::use_once;
use super::refresh_token::{FamilySecret, RefreshToken};
use super::resource::narrow;
use super::session::{last_seen, settings, touch};
use super::{InvalidGrant, TokenRefusal};
use crate::execute::{
    Command, DecideError, Decision, Draft, Fresh, LatchKey, LatchSet, ReadFault, Reads, Scope, Versioned,
};
use crate::ids::{ClientId, FamilyId, Id, TokenId};
use crate::model::{AccessTokenClaims, FamilyMode, GrantType, Issue, KeyProof, TenantSettings};
use crate::proposal::{RecordKey, RecordKind};
use crate::streams::client::Client;
use crate::streams::family::{
    Family, FamilyRevocation, Origin, Standing, decide_reuse, decide_revoke, stands,
};
use crate::streams::grant::Grant;
use crate::streams::session::{Session, is_live};
use crate::streams::user::User;

/// A family's rotation record. It is kept for an access token's lifetime longer than its token can be
/// used, so that reuse is told from mere lateness while anything that the family gave still counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// Place of the current token in the chain.
    pub generation: u32,
    /// SHA-256 of the current token.
    #[serde(with = "serde_bytes")]
    pub current: [u8; 32],
    /// The one before it.
    #[serde(default)]
    pub previous: Option<PreviousToken>,
    /// When the current one was issued.
    pub issued_at: Timestamp,
    /// When the current one ends unless used; with the record where absent.
    #[serde(default)]
    pub ends_at: Option<Timestamp>,
    /// When one that stays was last noted as used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_at: Option<Timestamp>,
}

/// The token that the current one followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousToken {
    /// Its SHA-256.
    #[serde(with = "serde_bytes")]
    pub sha256: [u8; 32],
}

impl Rotation {
    /// Of a new family.
    pub fn first(current: [u8; 32], at: Timestamp, ends_at: Timestamp) -> Self {
        Self { generation: 1, current, previous: None, issued_at: at, ends_at: Some(ends_at), used_at: None }
    }

    /// When the current token ends unless used, given until when the record is kept.
    pub(crate) fn ends_at(&self, kept_until: Timestamp) -> Timestamp {
        self.ends_at.unwrap_or(kept_until)
    }
}

/// Notes of the use of a token that stays are at most so far apart: a day, or a tenth of its idle time.
const NOTE_MS: u64 = 24 * 60 * 60 * 1_000;

/// Where a family's rotation record is.
pub(crate) fn refresh_record_key(family: FamilyId) -> [u8; 32] {
    sha256(&family.bytes())
}

/// Where an access token's revocation record is.
pub(crate) fn revoked_record_key(token: TokenId) -> [u8; 32] {
    sha256(&token.bytes())
}

/// What a family gives at `at`; session, nonce and refresh token are the caller's to fill in.
pub(super) fn issue(family: FamilyId, origin: &Origin, token_id: TokenId, at: Timestamp) -> Issue {
    Issue {
        family,
        grant: origin.grant,
        session: None,
        sid: None,
        user: origin.user,
        client: origin.client,
        scopes: origin.scopes.clone(),
        claims: origin.claims.clone(),
        nonce: None,
        auth_time: origin.auth_time,
        auth_time_wanted: origin.auth_time_wanted,
        acr: origin.acr.clone(),
        amr: origin.amr.clone(),
        token_id,
        refresh_token: None,
        issued_at: at,
        dpop_jkt: None,
        resources: origin.resources.clone(),
    }
}

/// Exchanges a refresh token for its successor.
#[derive(Clone)]
pub struct RotateRefreshToken {
    /// The authenticated client.
    pub client: ClientId,
    /// As sent.
    pub token: String,
    /// Fewer scopes, if wanted.
    pub scopes: Option<BTreeSet<String>>,
    /// The key that the request showed to hold.
    pub proof: Option<KeyProof>,
    /// What the access token is to be for; none: all that was granted.
    pub resources: BTreeSet<String>,
}

type Decided = Result<Decision<TokenReply>, DecideError<TokenRefusal>>;

impl Command for RotateRefreshToken {
    type Reply = TokenReply;
    type Refusal = TokenRefusal;
    const NAME: &'static str = "refresh_token.rotate";

    fn latches(&self, scope: &Scope<'_>) -> LatchSet {
        let Some(token) = RefreshToken::parse(&self.token) else { return LatchSet::default() };
        let record = RecordKey { kind: RecordKind::RefreshToken, key: refresh_record_key(token.family()) };
        LatchSet::default().exclusive(LatchKey::Record(scope.tenant(), record))
    }

    fn decide(&self, reads: &mut Reads<'_>, fresh: &mut Fresh) -> Decided {
        let (token, secret) = authentic(reads, &self.token)?.ok_or(invalid(InvalidGrant::Unknown))?;
        let id = token.family();
        let family = reads.stream::<Family>(id)?.ok_or(invalid(InvalidGrant::Unknown))?;
        let origin = family.state.origin.clone().ok_or(invalid(InvalidGrant::Unknown))?;
        if origin.client != self.client {
            return Err(invalid(InvalidGrant::OtherClient));
        }
        if family.state.revoked_at.is_some() {
            return Err(invalid(InvalidGrant::Revoked));
        }
        let jkt = self.proof.as_ref().map(|proof| proof.jkt.clone());
        if origin.dpop_jkt.is_some() && origin.dpop_jkt != jkt {
            return Err(invalid(InvalidGrant::OtherKey));
        }
        let settings = settings(reads)?;
        let record = reads.record::<Rotation>(RecordKind::RefreshToken, refresh_record_key(id))?;
        let record = record.ok_or(invalid(InvalidGrant::Unknown))?;
        let (rotation, kept_until) = (record.body, record.expires_at);
        let presented = token.sha256();
        let in_grace = fresh.at().since_ms(rotation.issued_at) < settings.refresh_grace_ms;
        let is_retry =
            in_grace && rotation.previous.as_ref().is_some_and(|previous| previous.sha256 == presented);
        if presented != rotation.current && !is_retry {
            return reuse(id, &family, &token, &rotation);
        }
        if fresh.at() >= origin.expires_at.min(rotation.ends_at(kept_until)) {
            return Err(invalid(InvalidGrant::Unknown));
        }
        let (session, mode) = check_standing(reads, &family.state, &origin, &settings)?;
        let mut issue = issue(id, &origin, fresh.id(), fresh.at());
        issue.session = session.as_ref().map(|_| origin.session);
        issue.sid = session.as_ref().map(|_| origin.sid.clone());
        if let Some(scopes) = &self.scopes {
            if !scopes.is_subset(&origin.scopes) {
                return Err(DecideError::Refused(TokenRefusal::InvalidScope));
            }
            issue.scopes.clone_from(scopes);
        }
        issue.dpop_jkt = jkt;
        issue.resources = narrow(reads, &origin.resources, &self.resources)?;
        let mut draft = Draft::new();
        draft.about(origin.user);
        use_once(reads, &mut draft, self.proof.as_ref())?;
        // A client that rotates by now has its older families rotate, too, and none stops.
        let stays = !origin.mode.is_rotate() && !mode.is_rotate() && !is_retry;
        let noted = if stays {
            issue.refresh_token = Some(token.text());
            note_use(&mut draft, id, &origin, &rotation, (&settings, fresh.at()))
        } else {
            let successor = token.successor(&secret);
            issue.refresh_token = Some(successor.text());
            if !is_retry {
                follow(&mut draft, id, &origin, (&successor, presented), (&settings, fresh.at()));
            }
            !is_retry
        };
        let touched = match session.filter(|_| !origin.offline && !is_retry) {
            Some(session) => touch(reads, &mut draft, origin.session, &session, &settings)?,
            None => false,
        };
        let reply = TokenReply::Issued(Box::new(issue));
        // A proof is remembered where something is written anyway (docs/adr/0016).
        Ok(if noted || touched { Decision::Propose(draft, reply) } else { Decision::Answer(reply) })
    }
}

/// The successor takes the place of the token that was presented.
fn follow(
    draft: &mut Draft,
    id: FamilyId,
    origin: &Origin,
    (successor, presented): (&RefreshToken, [u8; 32]),
    (settings, now): (&TenantSettings, Timestamp),
) {
    let ends_at = now.plus_ms(settings.refresh_idle_ms).min(origin.expires_at);
    let next = Rotation {
        generation: successor.generation(),
        current: successor.sha256(),
        previous: Some(PreviousToken { sha256: presented }),
        issued_at: now,
        ends_at: Some(ends_at),
        used_at: None,
    };
    let kept_until = ends_at.plus_ms(settings.access_token_lifetime_ms);
    draft.put_record(RecordKind::RefreshToken, refresh_record_key(id), &next, kept_until);
}

/// Notes, coarsely, that a token that stays was used, so that it does not end as unused. True if it did.
fn note_use(
    draft: &mut Draft,
    id: FamilyId,
    origin: &Origin,
    rotation: &Rotation,
    (settings, now): (&TenantSettings, Timestamp),
) -> bool {
    let noted = rotation.used_at.unwrap_or(rotation.issued_at);
    let due = now.since_ms(noted) >= NOTE_MS.min(settings.refresh_idle_ms / 10);
    if due {
        let ends_at = now.plus_ms(settings.refresh_idle_ms).min(origin.expires_at);
        let used = Rotation { used_at: Some(now), ends_at: Some(ends_at), ..rotation.clone() };
        let kept_until = ends_at.plus_ms(settings.access_token_lifetime_ms);
        draft.put_record(RecordKind::RefreshToken, refresh_record_key(id), &used, kept_until);
    }
    due
}

/// An authentic token that is neither current nor a retry: the family ends.
fn reuse(id: FamilyId, family: &Versioned<Family>, token: &RefreshToken, rotation: &Rotation) -> Decided {
    let events = decide_reuse(&family.state, token.generation(), rotation.generation);
    if events.is_empty() {
        return Err(invalid(InvalidGrant::Reused));
    }
    let mut draft = Draft::new();
    if let Some(origin) = &family.state.origin {
        draft.about(origin.user);
    }
    for event in events {
        draft.append::<Family>(id, family.version, event);
    }
    Ok(Decision::Propose(draft, TokenReply::ReuseRevoked))
}

/// Whether all that the family stands on holds; gives the session while it lives, and how the client's tokens
/// are to be now.
pub(super) fn check_standing(
    reads: &mut Reads<'_>,
    family: &Family,
    origin: &Origin,
    settings: &TenantSettings,
) -> Result<(Option<Arc<Session>>, FamilyMode), DecideError<TokenRefusal>> {
    let revoked = || invalid(InvalidGrant::Revoked);
    let user = reads.stream::<User>(origin.user)?.ok_or_else(revoked)?.state;
    let client = reads.stream::<Client>(origin.client)?.ok_or_else(revoked)?.state;
    let grant = reads.stream::<Grant>(origin.grant)?.ok_or_else(revoked)?.state;
    let standing =
        Standing { user: Some(&user), client: Some(&client), grant: Some(&grant), family: Some(family) };
    if !stands(&standing, origin.created_at, reads.at()) {
        return Err(revoked());
    }
    let may_refresh = |registration: &&crate::streams::client::Registration| {
        !origin.refreshable || registration.metadata.grant_types.contains(&GrantType::RefreshToken)
    };
    let Some(registration) = client.usable().filter(may_refresh) else {
        return Err(DecideError::Refused(TokenRefusal::UnauthorizedClient));
    };
    let mode = registration.metadata.refresh_token_mode();
    let seen = last_seen(reads, origin.session)?;
    let session = reads.stream::<Session>(origin.session)?.map(|session| session.state);
    let live = session.filter(|session| is_live(session, &user, seen, reads.at(), settings));
    if live.is_none() && !origin.offline {
        return Err(revoked());
    }
    Ok((live, mode))
}

/// The token with its family's secret, if we made it.
pub(super) fn authentic(
    reads: &Reads<'_>,
    text: &str,
) -> Result<Option<(RefreshToken, FamilySecret)>, ReadFault> {
    let Some(token) = RefreshToken::parse(text) else { return Ok(None) };
    let secret = FamilySecret::derive(reads.token_subkey(FamilySecret::LABEL)?.as_slice(), token.family());
    Ok(token.is_authentic(&secret).then_some((token, secret)))
}

/// Revokes the family of a refresh token (RFC 7009 §2.1). What is not the client's changes nothing.
#[derive(Clone)]
pub struct RevokeRefreshToken {
    /// The authenticated client.
    pub client: ClientId,
    /// As sent.
    pub token: String,
}

impl Command for RevokeRefreshToken {
    type Reply = ();
    type Refusal = TokenRefusal;
    const NAME: &'static str = "refresh_token.revoke";

    fn decide(
        &self,
        reads: &mut Reads<'_>,
        _fresh: &mut Fresh,
    ) -> Result<Decision<()>, DecideError<TokenRefusal>> {
        let Some((token, _)) = authentic(reads, &self.token)? else { return Ok(Decision::Answer(())) };
        let Some(family) = reads.stream::<Family>(token.family())? else { return Ok(Decision::Answer(())) };
        let own = family.state.origin.as_ref().filter(|origin| origin.client == self.client);
        match own.zip(decide_revoke(&family.state, FamilyRevocation::Client)) {
            Some((origin, event)) => {
                let mut draft = Draft::new();
                draft.about(origin.user);
                draft.append::<Family>(token.family(), family.version, event);
                Ok(Decision::Propose(draft, ()))
            }
            None => Ok(Decision::Answer(())),
        }
    }
}

/// Revokes one access token until it ends.
#[derive(Clone, Debug)]
pub struct RevokeAccessToken {
    /// Verified by the caller.
    pub token: AccessTokenClaims,
}

/// That a token is revoked is all there is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedToken {}

impl Command for RevokeAccessToken {
    type Reply = ();
    type Refusal = TokenRefusal;
    const NAME: &'static str = "access_token.revoke";

    fn decide(
        &self,
        reads: &mut Reads<'_>,
        fresh: &mut Fresh,
    ) -> Result<Decision<()>, DecideError<TokenRefusal>> {
        let key = revoked_record_key(self.token.jti);
        let ends_at = Timestamp(self.token.exp.saturating_mul(1000));
        let known = reads.record::<RevokedToken>(RecordKind::RevokedToken, key)?.is_some();
        if known || ends_at <= fresh.at() {
            return Ok(Decision::Answer(()));
        }
        let mut draft = Draft::new();
        if let Some(user) = self.token.user {
            draft.about(user);
        }
        draft.put_record(RecordKind::RevokedToken, key, &RevokedToken {}, ends_at);
        Ok(Decision::Propose(draft, ()))
    }
}
