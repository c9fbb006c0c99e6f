//! Devices that wait for their users (RFC 8628).

use std::collections::BTreeSet;

use super::Iam;
use super::route::with_reply;
use crate::commands::{
    AuthorizeRefusal, Consent, DEVICE_SUBKEY, DenyDevice, DeviceCode, DeviceCodes, DeviceRefusal, IssueCode,
    StartDevice, UserCodeRecord, Word, user_code_key, yes_code,
};
use crate::execute::{ExecuteError, RequestContext, Written};
use crate::ids::{ClientId, SessionId, TenantId};
use crate::model::{ClientView, CodeRequest, PkceChallenge};
use crate::proposal::RecordKind;
use crate::query::{Consistency, QueryError, fault};

/// What a user code asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingDevice {
    /// Whose device.
    pub client: ClientId,
    /// For what.
    pub scopes: BTreeSet<String>,
    /// At which resource servers; none: the issuer.
    pub resources: BTreeSet<String>,
    /// The code for it must carry this.
    pub challenge: PkceChallenge,
}

/// What a device that asks learns.
#[derive(Clone, PartialEq, Eq)]
pub enum DeviceStanding {
    /// The user said nothing yet.
    Pending,
    /// The user said no.
    Denied,
    /// The user said yes: to be redeemed as a code.
    Approved {
        /// The code.
        code: String,
        /// Its PKCE verifier.
        verifier: String,
    },
    /// Never issued, or over, or another client's.
    Unknown,
}

impl Iam {
    /// Codes for a device.
    ///
    /// # Errors
    /// [`DeviceRefusal`].
    pub async fn start_device(
        &self,
        ctx: &RequestContext,
        device: &StartDevice,
    ) -> Result<Written<DeviceCodes>, ExecuteError<DeviceRefusal>> {
        self.run(ctx, device).await
    }

    /// What waits under a user code in normal form; `None` if nothing does any more. Linearizable: a device may
    /// show its code before another replica heard of it.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn waiting_device(
        &self,
        tenant: TenantId,
        user_code: &str,
    ) -> Result<Option<WaitingDevice>, QueryError> {
        let view = self.view(tenant, &Consistency::Linearizable).await?;
        let key = user_code_key(&view.keys.token_subkey(DEVICE_SUBKEY).map_err(fault)?, user_code);
        let found = view.record::<UserCodeRecord>(RecordKind::UserCode, key)?.map(|(record, _)| record);
        Ok(found.filter(|record| record.word == Word::Awaited).map(|record| WaitingDevice {
            client: record.client,
            scopes: record.scopes,
            resources: record.resources,
            challenge: PkceChallenge { s256: record.challenge },
        }))
    }

    /// The user says yes in `session`: the device that waits under `user_code` may redeem what is written. Once;
    /// nobody is handed a code.
    ///
    /// # Errors
    /// [`AuthorizeRefusal`]; [`AuthorizeRefusal::RequestTaken`] if it was answered, or is over.
    pub async fn allow_device(
        &self,
        ctx: &RequestContext,
        session: SessionId,
        request: CodeRequest,
        consent: Option<Consent>,
        user_code: &str,
    ) -> Result<Written<()>, ExecuteError<AuthorizeRefusal>> {
        let device = Some(user_code.to_owned());
        let issued = self.run(ctx, &IssueCode { session, request, consent, pushed: None, device }).await?;
        Ok(with_reply(&issued, ()))
    }

    /// The user says no.
    ///
    /// # Errors
    /// [`DeviceRefusal::Unknown`] if it was answered, or is over.
    pub async fn deny_device(
        &self,
        ctx: &RequestContext,
        denied: &DenyDevice,
    ) -> Result<Written<()>, ExecuteError<DeviceRefusal>> {
        self.run(ctx, denied).await
    }

    /// How it stands with a device of `client`. Linearizable: "unknown" is final for the device.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn device_standing(
        &self,
        tenant: TenantId,
        client: &ClientView,
        device_code: &str,
    ) -> Result<DeviceStanding, QueryError> {
        let Some(device_code) = DeviceCode::parse(device_code) else { return Ok(DeviceStanding::Unknown) };
        let view = self.view(tenant, &Consistency::Linearizable).await?;
        let subkey = view.keys.token_subkey(DEVICE_SUBKEY).map_err(fault)?;
        let key = user_code_key(&subkey, device_code.user_code);
        let waiting = view.record::<UserCodeRecord>(RecordKind::UserCode, key)?.map(|(record, _)| record);
        let own = |waiting: &UserCodeRecord| waiting.client == client.id && device_code.fits(waiting);
        let Some(waiting) = waiting.filter(own) else { return Ok(DeviceStanding::Unknown) };
        Ok(match waiting.word {
            Word::Awaited => DeviceStanding::Pending,
            Word::No => DeviceStanding::Denied,
            Word::Yes => DeviceStanding::Approved {
                code: yes_code(&subkey, &waiting.challenge),
                verifier: device_code.verifier(),
            },
        })
    }
}
