//! A device whose answer was lost asks again (docs/adr/0022).
//!
//! It gets the same refresh token within the grace that a refresh token's retry has. Nothing is written: the
//! token is a function of the code, and the code one of the device code. Afterwards, or once the token was used,
//! a second use is what it is for every code (RFC 6749 §4.1.2).

use serde::{Deserialize, Serialize};

use super::TokenRefusal;
use super::code::{LiveCode, RedeemCode, pkce_fits};
use super::key_proof::use_once;
use super::refresh::{Rotation, check_standing, issue, refresh_record_key};
use super::refresh_token::{FamilySecret, RefreshToken};
use super::resource::narrow;
use super::session::settings;
use crate::execute::{DecideError, Draft, Fresh, Reads};
use crate::ids::FamilyId;
use crate::model::{Issue, PkceChallenge};
use crate::proposal::RecordKind;
use crate::streams::family::Family;

/// What a device must show once more to get what it got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpentByDevice {
    /// PKCE: of the device code.
    pub challenge: PkceChallenge,
    /// The key that the first request showed to hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpop_jkt: Option<String>,
}

impl SpentByDevice {
    /// `None` for codes that browsers carried.
    pub(super) fn of(live: &LiveCode, dpop_jkt: Option<&str>) -> Option<Box<Self>> {
        let challenge = live.request.challenge.clone().filter(|_| live.device)?;
        Some(Box::new(Self { challenge, dpop_jkt: dpop_jkt.map(str::to_owned) }))
    }
}

impl RedeemCode {
    /// What the first use gave, if this is the same request within the grace and nothing came of it yet.
    pub(super) fn ask_again(
        &self,
        reads: &mut Reads<'_>,
        fresh: &mut Fresh,
        id: FamilyId,
        first: &SpentByDevice,
    ) -> Result<Option<Issue>, DecideError<TokenRefusal>> {
        let settings = settings(reads)?;
        let Some(family) = reads.stream::<Family>(id)? else { return Ok(None) };
        let Some(origin) = family.state.live(fresh.at()).cloned() else { return Ok(None) };
        let jkt = self.proof.as_ref().map(|proof| proof.jkt.clone());
        let shown = self.verifier.as_deref().is_some_and(|verifier| pkce_fits(&first.challenge, verifier));
        let same = origin.client == self.client && jkt == first.dpop_jkt && shown;
        if !same || fresh.at().since_ms(origin.created_at) >= settings.refresh_grace_ms {
            return Ok(None);
        }
        let refresh_token = if origin.refreshable {
            let secret = FamilySecret::derive(reads.token_subkey(FamilySecret::LABEL)?.as_slice(), id);
            let token = RefreshToken::of_device(&secret, id, &self.code);
            let record = reads.record::<Rotation>(RecordKind::RefreshToken, refresh_record_key(id))?;
            if record.is_none_or(|record| record.body.current != token.sha256()) {
                return Ok(None);
            }
            Some(token.text())
        } else {
            None
        };
        let (session, _) = check_standing(reads, &family.state, &origin, &settings)?;
        // Checked, and not remembered: nothing is written.
        use_once(reads, &mut Draft::new(), self.proof.as_ref())?;
        let mut issue = issue(id, &origin, fresh.id(), fresh.at());
        issue.session = session.as_ref().map(|_| origin.session);
        issue.sid = session.map(|_| origin.sid.clone());
        issue.refresh_token = refresh_token;
        issue.dpop_jkt = jkt;
        issue.resources = narrow(reads, &origin.resources, &self.resources)?;
        Ok(Some(issue))
    }
}
