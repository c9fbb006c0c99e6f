//! Initial access tokens (RFC 7591 §1.2).

use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use super::RegistrationRefusal;
use super::digest::{base64url, from_base64url, sha256};
use crate::execute::{Command, DecideError, Decision, Draft, Fresh, ReadFault, Reads, Versioned};
use crate::ids::{Id, InitialAccessTokenId};
use crate::model::RegistrationPolicy;
use crate::streams::initial_access_token::{
    InitialAccessToken, InitialAccessTokenCreated, InitialAccessTokenEvent, InitialAccessTokenRevoked,
};

type Decided<R> = Result<Decision<R>, DecideError<RegistrationRefusal>>;

/// The longest life of a token: a year.
pub const INITIAL_ACCESS_TOKEN_MS_MAX: u64 = 366 * 24 * 3_600_000;
/// What its text begins with, for those who search for leaked secrets.
const PREFIX: &str = "dom_iat_";
const ID_LEN: usize = 16;
const SECRET_LEN: usize = 32;

/// What was made. The text is nowhere else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewInitialAccessToken {
    /// Its id.
    pub id: InitialAccessTokenId,
    /// The token.
    pub token: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A token that lets who holds it register clients.
#[derive(Clone, Debug)]
pub struct CreateInitialAccessToken {
    /// How long it can be used: 1 s to a year.
    pub lifetime_ms: u64,
    /// How many clients it may register; `None`: any number.
    pub uses_max: Option<u32>,
    /// What may be registered with it, in place of the tenant's own bounds.
    pub policy: Option<RegistrationPolicy>,
}

impl Command for CreateInitialAccessToken {
    type Reply = NewInitialAccessToken;
    type Refusal = RegistrationRefusal;
    const NAME: &'static str = "initial_access_token.create";

    fn decide(&self, _reads: &mut Reads<'_>, fresh: &mut Fresh) -> Decided<NewInitialAccessToken> {
        let refuse = |field, rule| Err(DecideError::Refused(RegistrationRefusal::Invalid { field, rule }));
        if !(1_000..=INITIAL_ACCESS_TOKEN_MS_MAX).contains(&self.lifetime_ms) {
            return refuse("lifetime_s", "is not 1 second to 366 days");
        }
        if self.uses_max == Some(0) {
            return refuse("uses_max", "is 0");
        }
        if let Some(policy) = &self.policy {
            if !policy.software_statement_issuers.is_empty() {
                return refuse("policy", "names software statement issuers, which are the tenant's to name");
            }
            let own = RegistrationPolicy { require_software_statement: false, ..policy.clone() };
            if let Err(broken) = own.check() {
                return refuse("policy", broken.rule);
            }
        }
        let id: InitialAccessTokenId = fresh.id();
        let secret = fresh.secret();
        let expires_at = fresh.at().plus_ms(self.lifetime_ms);
        let created = InitialAccessTokenCreated {
            secret_sha256: sha256(secret.as_slice()),
            expires_at,
            uses_max: self.uses_max,
            policy: self.policy.clone(),
        };
        let mut draft = Draft::new();
        draft.append::<InitialAccessToken>(id, 0, InitialAccessTokenEvent::Created(created));
        let token = format!("{PREFIX}{}", base64url(&[&id.bytes()[..], secret.as_slice()].concat()));
        Ok(Decision::Propose(draft, NewInitialAccessToken { id, token, expires_at }))
    }
}

/// Takes a token back. What was registered with it stays.
#[derive(Clone, Copy, Debug)]
pub struct RevokeInitialAccessToken {
    /// Which.
    pub id: InitialAccessTokenId,
}

impl Command for RevokeInitialAccessToken {
    type Reply = ();
    type Refusal = RegistrationRefusal;
    const NAME: &'static str = "initial_access_token.revoke";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let token = reads.stream::<InitialAccessToken>(self.id)?.filter(|token| !token.state.revoked);
        let Some(token) = token else { return Err(DecideError::Refused(RegistrationRefusal::NotFound)) };
        let mut draft = Draft::new();
        let event = InitialAccessTokenEvent::Revoked(InitialAccessTokenRevoked {});
        draft.append::<InitialAccessToken>(self.id, token.version, event);
        Ok(Decision::Propose(draft, ()))
    }
}

/// The token that `text` is, if it may register one more client now.
pub(super) fn usable(
    reads: &mut Reads<'_>,
    text: &str,
) -> Result<Option<(InitialAccessTokenId, Versioned<InitialAccessToken>)>, ReadFault> {
    let bytes = text.strip_prefix(PREFIX).and_then(from_base64url).unwrap_or_default();
    let Some((id, secret)) = bytes.split_first_chunk::<ID_LEN>().filter(|(_, rest)| rest.len() == SECRET_LEN)
    else {
        return Ok(None);
    };
    let id = InitialAccessTokenId::from_bytes(*id);
    let Some(token) = reads.stream::<InitialAccessToken>(id)? else { return Ok(None) };
    let fits = bool::from(sha256(secret).ct_eq(&token.state.secret_sha256));
    let counts = token.state.counts_at(reads.at());
    Ok((fits && counts).then_some((id, token)))
}
