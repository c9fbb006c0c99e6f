//! Authorization codes, redeemed once.

use std::collections::BTreeSet;

use domicile_raft::Timestamp;
use domicile_storage::{Bug, is_seeded};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use super::device_retry::SpentByDevice;
use super::digest::{base64url, sha256};
use super::key_proof::use_once;
use super::refresh::{Rotation, issue, refresh_record_key};
use super::refresh_token::{FamilySecret, RefreshToken};
use super::resource::narrow;
use super::session::{live_session, settings};
use super::{InvalidGrant, TokenRefusal};
use crate::execute::{Command, DecideError, Decision, Draft, Fresh, LatchKey, LatchSet, Reads, Scope};
use crate::ids::{ClientId, FamilyId, GrantId, SessionId, UserId};
use crate::model::{
    AuthMethod, CodeRequest, FamilyMode, GrantType, Issue, KeyProof, PkceChallenge, TenantSettings,
};
use crate::proposal::{RecordKey, RecordKind};
use crate::streams::client::Client;
use crate::streams::family::{
    Family, FamilyCreated, FamilyEvent, FamilyRevocation, Standing, decide_revoke, stands,
};
use crate::streams::grant::Grant;
use crate::streams::user::User;

/// A code's record, under the SHA-256 of the code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeRecord {
    /// Not redeemed yet.
    Live(Box<LiveCode>),
    /// Redeemed; kept until what it gave has expired, so that a second use finds it.
    Spent {
        /// What it gave.
        family: FamilyId,
        /// To whom, where a device may ask again (docs/adr/0022).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device: Option<Box<SpentByDevice>>,
    },
}

/// What a code stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveCode {
    /// As asked for and checked.
    pub request: CodeRequest,
    /// Who allowed it.
    pub user: UserId,
    /// In which session.
    pub session: SessionId,
    /// `sid` there.
    pub sid: String,
    /// On which consent.
    pub grant: GrantId,
    /// When the user had proved who they are.
    pub auth_time: Timestamp,
    /// Methods used.
    pub amr: Vec<String>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// Whether it stands for a yes to a device, which may lose the answer and ask again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub device: bool,
}

/// Redeems a code.
#[derive(Clone)]
pub struct RedeemCode {
    /// The authenticated client.
    pub client: ClientId,
    /// As sent.
    pub code: String,
    /// As sent.
    pub redirect_uri: Option<String>,
    /// As sent.
    pub verifier: Option<String>,
    /// The key that the request showed to hold.
    pub proof: Option<KeyProof>,
    /// What the access token is to be for; none: all that was granted.
    pub resources: BTreeSet<String>,
}

impl std::fmt::Debug for RedeemCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedeemCode").field("client", &self.client).finish_non_exhaustive()
    }
}

/// What redeeming or rotating came to. A revocation is written, so it is a reply, not a refusal.
#[derive(Clone, Serialize, Deserialize)]
pub enum TokenReply {
    /// Tokens to issue.
    Issued(Box<Issue>),
    /// It was used before: the family was revoked by this.
    ReuseRevoked,
}

type Decided = Result<Decision<TokenReply>, DecideError<TokenRefusal>>;

pub(super) fn invalid(reason: InvalidGrant) -> DecideError<TokenRefusal> {
    DecideError::Refused(TokenRefusal::InvalidGrant(reason))
}

impl Command for RedeemCode {
    type Reply = TokenReply;
    type Refusal = TokenRefusal;
    const NAME: &'static str = "code.redeem";

    fn latches(&self, scope: &Scope<'_>) -> LatchSet {
        let record = RecordKey { kind: RecordKind::AuthorizationCode, key: sha256(self.code.as_bytes()) };
        LatchSet::default().exclusive(LatchKey::Record(scope.tenant(), record))
    }

    fn decide(&self, reads: &mut Reads<'_>, fresh: &mut Fresh) -> Decided {
        let key = sha256(self.code.as_bytes());
        let record = reads.record::<CodeRecord>(RecordKind::AuthorizationCode, key)?;
        match record.map(|row| row.body) {
            None => Err(invalid(InvalidGrant::Unknown)),
            Some(CodeRecord::Spent { family, device }) => {
                let again = device.map(|device| self.ask_again(reads, fresh, family, &device));
                match again.transpose()?.flatten() {
                    Some(issue) => Ok(Decision::Answer(TokenReply::Issued(Box::new(issue)))),
                    None => second_use(reads, family),
                }
            }
            Some(CodeRecord::Live(live)) => self.first_use(reads, fresh, key, &live),
        }
    }
}

/// RFC 6749 §4.1.2: deny, and revoke what the code gave.
fn second_use(reads: &mut Reads<'_>, id: FamilyId) -> Decided {
    let family = reads.stream::<Family>(id)?.ok_or(invalid(InvalidGrant::Reused))?;
    let Some(event) = decide_revoke(&family.state, FamilyRevocation::CodeReused) else {
        return Err(invalid(InvalidGrant::Reused));
    };
    let mut draft = Draft::new();
    if let Some(origin) = &family.state.origin {
        draft.about(origin.user);
    }
    draft.append::<Family>(id, family.version, event);
    Ok(Decision::Propose(draft, TokenReply::ReuseRevoked))
}

impl RedeemCode {
    fn first_use(&self, reads: &mut Reads<'_>, fresh: &mut Fresh, key: [u8; 32], live: &LiveCode) -> Decided {
        self.check_request(&live.request).map_err(invalid)?;
        let settings = settings(reads)?;
        let Allowed { refreshable, public, mode } = check_standing(reads, live, &settings)?;
        let resources = narrow(reads, &live.request.resources, &self.resources)?;
        let id: FamilyId = fresh.id();
        let lifetime =
            if refreshable { settings.refresh_absolute_ms } else { settings.access_token_lifetime_ms };
        let expires_at = fresh.at().plus_ms(lifetime);
        let jkt = self.proof.as_ref().map(|proof| proof.jkt.clone());
        // RFC 9449 §5: a confidential client's refresh tokens are bound to its own authentication.
        let dpop_jkt = jkt.clone().filter(|_| public);
        // RFC 9700 §4.14.2: what neither a client's proof nor a key guards, rotates.
        let mode = if public && dpop_jkt.is_none() { FamilyMode::Rotate } else { mode };
        let created = FamilyCreated { dpop_jkt, mode, ..family_created(live, refreshable, expires_at) };
        let family = Family::default().evolve(&FamilyEvent::Created(created.clone()), fresh.at());
        let mut draft = Draft::new();
        draft.about(live.user);
        use_once(reads, &mut draft, self.proof.as_ref())?;
        draft.append::<Family>(id, 0, FamilyEvent::Created(created));
        // The last access token may be issued just before the family ends.
        let spent_until = expires_at.plus_ms(settings.access_token_lifetime_ms);
        if !is_seeded(Bug::DoubleRedeem) {
            let spent = CodeRecord::Spent { family: id, device: SpentByDevice::of(live, jkt.as_deref()) };
            draft.put_record(RecordKind::AuthorizationCode, key, &spent, spent_until);
        }
        let refresh_token = if refreshable {
            let secret = FamilySecret::derive(reads.token_subkey(FamilySecret::LABEL)?.as_slice(), id);
            let token = if live.device {
                RefreshToken::of_device(&secret, id, &self.code)
            } else {
                RefreshToken::first(&secret, id, fresh.bytes())
            };
            let ends_at = fresh.at().plus_ms(settings.refresh_idle_ms).min(expires_at);
            let rotation = Rotation::first(token.sha256(), fresh.at(), ends_at);
            let kept_until = ends_at.plus_ms(settings.access_token_lifetime_ms);
            draft.put_record(RecordKind::RefreshToken, refresh_record_key(id), &rotation, kept_until);
            Some(token.text())
        } else {
            None
        };
        let origin = family.origin.as_ref().ok_or(invalid(InvalidGrant::Unknown))?;
        let mut issue = issue(id, origin, fresh.id(), fresh.at());
        issue.session = Some(live.session);
        issue.sid = Some(live.sid.clone());
        issue.nonce.clone_from(&live.request.nonce);
        issue.refresh_token = refresh_token;
        issue.dpop_jkt = jkt;
        issue.resources = resources;
        Ok(Decision::Propose(draft, TokenReply::Issued(Box::new(issue))))
    }

    /// Checks that leave the code as it is.
    fn check_request(&self, request: &CodeRequest) -> Result<(), InvalidGrant> {
        if request.client != self.client {
            return Err(InvalidGrant::OtherClient);
        }
        // RFC 6749 §4.1.3: needed if the request had it; never different.
        let fits = match &self.redirect_uri {
            Some(uri) => *uri == request.redirect_uri,
            None => !request.redirect_uri_given,
        };
        if !fits {
            return Err(InvalidGrant::RedirectUri);
        }
        // RFC 9449 §10: a code that was asked for with a key is of no use without it.
        let shown = self.proof.as_ref().map(|proof| proof.jkt.as_str());
        if request.dpop_jkt.is_some() && request.dpop_jkt.as_deref() != shown {
            return Err(InvalidGrant::OtherKey);
        }
        // RFC 9700 §2.1.1: a verifier without a challenge is a downgrade.
        match (&request.challenge, &self.verifier) {
            (None, None) => Ok(()),
            (Some(challenge), Some(verifier)) if pkce_fits(challenge, verifier) => Ok(()),
            (Some(_) | None, _) => Err(InvalidGrant::Pkce),
        }
    }
}

/// RFC 7636 §4.1 and §4.6.
pub(super) fn pkce_fits(challenge: &PkceChallenge, verifier: &str) -> bool {
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    (43..=128).contains(&verifier.len())
        && verifier.bytes().all(unreserved)
        && bool::from(base64url(&sha256(verifier.as_bytes())).as_bytes().ct_eq(challenge.s256.as_bytes()))
}

/// What the client may have of a code.
struct Allowed {
    /// Whether its family may be refreshed.
    refreshable: bool,
    /// Whether the client proves nothing about itself.
    public: bool,
    /// Whether its refresh tokens rotate.
    mode: FamilyMode,
}

/// Whether all that the code stands on holds.
fn check_standing(
    reads: &mut Reads<'_>,
    live: &LiveCode,
    settings: &TenantSettings,
) -> Result<Allowed, DecideError<TokenRefusal>> {
    let revoked = || invalid(InvalidGrant::Revoked);
    let user = reads.stream::<User>(live.user)?.ok_or_else(revoked)?.state;
    let client = reads.stream::<Client>(live.request.client)?.ok_or_else(revoked)?.state;
    live_session(reads, live.session, settings)?.ok_or_else(revoked)?;
    let grant = reads.stream::<Grant>(live.grant)?.ok_or_else(revoked)?.state;
    let standing = Standing { user: Some(&user), client: Some(&client), grant: Some(&grant), family: None };
    if !stands(&standing, live.issued_at, reads.at()) {
        return Err(revoked());
    }
    let metadata = client.usable().map(|registration| &registration.metadata).ok_or_else(revoked)?;
    let grants = metadata.grant_types.as_slice();
    // A device's code is one, bound to the device by PKCE.
    if !grants.contains(&GrantType::AuthorizationCode) && !grants.contains(&GrantType::DeviceCode) {
        return Err(DecideError::Refused(TokenRefusal::UnauthorizedClient));
    }
    let public = metadata.token_endpoint_auth_method == AuthMethod::None;
    let refreshable = grants.contains(&GrantType::RefreshToken);
    Ok(Allowed { refreshable, public, mode: metadata.refresh_token_mode() })
}

fn family_created(live: &LiveCode, refreshable: bool, expires_at: Timestamp) -> FamilyCreated {
    FamilyCreated {
        grant: live.grant,
        session: live.session,
        sid: live.sid.clone(),
        user: live.user,
        client: live.request.client,
        scopes: live.request.scopes.clone(),
        claims: live.request.claims.clone(),
        auth_time: live.auth_time,
        auth_time_wanted: live.request.auth_time_wanted,
        acr: live.request.acr.clone(),
        amr: live.amr.clone(),
        offline: live.request.scopes.contains("offline_access"),
        refreshable,
        expires_at,
        dpop_jkt: None,
        resources: live.request.resources.clone(),
        mode: FamilyMode::Rotate,
    }
}
