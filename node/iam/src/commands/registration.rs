//! Clients that no operator makes (RFC 7591), and how they are managed (RFC 7592).

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::client::{check_plain_redirects, contacts, delete, existing, new_credential, register};
use super::digest::{base64url, sha256};
use super::{ClientRefusal, RegistrationRefusal, SYSTEM_SLUG, initial_access_token};
use crate::execute::{Command, DecideError, Decision, Draft, Fresh, Reads, Versioned};
use crate::ids::ClientId;
use crate::model::{ClientMetadata, Delegate, Delegation, Registration, TenantSettings};
use crate::streams::client::{
    Client, ClientDelegated, ClientEvent, ClientRegistrationTokenChanged, admitted, decide_add_secret,
    decide_update,
};
use crate::streams::initial_access_token::{
    InitialAccessToken, InitialAccessTokenEvent, InitialAccessTokenUsed,
};
use crate::streams::tenant::Tenant;

type Refused = DecideError<RegistrationRefusal>;
type Decided<R> = Result<Decision<R>, Refused>;

fn refused(refusal: RegistrationRefusal) -> Refused {
    DecideError::Refused(refusal)
}

fn widened(error: DecideError<ClientRefusal>) -> Refused {
    match error {
        DecideError::Refused(refusal) => DecideError::Refused(refusal.into()),
        DecideError::Fault(fault) => DecideError::Fault(fault),
    }
}

fn broken(refusal: ClientRefusal) -> Refused {
    refused(refusal.into())
}

/// By what right a client is registered.
#[derive(Clone)]
pub enum RegistrationAuthority {
    /// By none: the tenant is open.
    Nobodys,
    /// By an initial access token.
    Token(Zeroizing<String>),
}

impl std::fmt::Debug for RegistrationAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nobodys => "Nobodys",
            Self::Token(_) => "Token",
        })
    }
}

/// What a registration gives. Both texts are nowhere else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationReply {
    /// The client.
    pub client: ClientId,
    /// Its secret, where a new one was made.
    pub secret: Option<String>,
    /// What its registration is managed by from here on.
    pub registration_token: String,
}

/// A new client within the tenant's bounds (RFC 7591 §3.1).
#[derive(Clone, Debug)]
pub struct RegisterByRequest {
    /// RFC 7591 §2. That `sector_identifier_uri` lists the redirect URIs was looked up.
    pub metadata: ClientMetadata,
    /// By what right.
    pub authority: RegistrationAuthority,
}

/// A fresh registration access token, and that it counts from here on.
fn new_token(fresh: &mut Fresh) -> (String, ClientEvent) {
    let token = base64url(fresh.secret().as_slice());
    let changed = ClientRegistrationTokenChanged { token_sha256: sha256(token.as_bytes()) };
    (token, ClientEvent::RegistrationTokenChanged(changed))
}

fn settings(reads: &mut Reads<'_>) -> Result<(TenantSettings, bool), Refused> {
    let tenant = reads.tenant();
    let tenant = reads.stream::<Tenant>(tenant)?.filter(|tenant| !tenant.state.deleted);
    let tenant = tenant.ok_or_else(|| refused(RegistrationRefusal::Closed))?.state;
    Ok((tenant.settings.clone(), tenant.slug == SYSTEM_SLUG))
}

impl Command for RegisterByRequest {
    type Reply = RegistrationReply;
    type Refusal = RegistrationRefusal;
    const NAME: &'static str = "client.register_by_request";

    fn decide(&self, reads: &mut Reads<'_>, fresh: &mut Fresh) -> Decided<RegistrationReply> {
        let (settings, operators) = settings(reads)?;
        let used = match (settings.registration, &self.authority) {
            _ if operators => return Err(refused(RegistrationRefusal::Closed)),
            (Registration::Closed, _) => return Err(refused(RegistrationRefusal::Closed)),
            (Registration::InitialAccessToken, RegistrationAuthority::Nobodys) => {
                return Err(refused(RegistrationRefusal::TokenNeeded));
            }
            (Registration::Open, RegistrationAuthority::Nobodys) => None,
            (_, RegistrationAuthority::Token(text)) => {
                let token = initial_access_token::usable(reads, text)?;
                Some(token.ok_or_else(|| refused(RegistrationRefusal::InvalidToken))?)
            }
        };
        let own = used.as_ref().and_then(|(_, token)| token.state.policy.clone());
        let policy = own.as_ref().unwrap_or(&settings.registration_policy);
        let metadata = admitted(self.metadata.clone(), policy, &settings).map_err(broken)?;
        let by = used.as_ref().map_or(Delegate::Anybody, |(id, _)| Delegate::InitialAccessToken(*id));
        let client: ClientId = fresh.id();
        let (mut draft, secret) =
            register(reads, fresh, client, (&client.to_string(), &metadata)).map_err(widened)?;
        let delegation = Delegation { by, policy: own };
        draft.append::<Client>(client, 0, ClientEvent::Delegated(ClientDelegated { delegation }));
        let (registration_token, changed) = new_token(fresh);
        draft.append::<Client>(client, 0, changed);
        if let Some((id, token)) = used {
            let event = InitialAccessTokenEvent::Used(InitialAccessTokenUsed { client });
            draft.append::<InitialAccessToken>(id, token.version, event);
        }
        Ok(Decision::Propose(draft, RegistrationReply { client, secret, registration_token }))
    }
}

/// The client that `token` manages. One that is disabled or gone has none (RFC 7592 §2.1: 401).
fn managed(reads: &mut Reads<'_>, id: ClientId, token: &str) -> Result<Versioned<Client>, Refused> {
    let invalid = || refused(RegistrationRefusal::InvalidToken);
    let client = reads.stream::<Client>(id)?.ok_or_else(invalid)?;
    let kept = client.state.registration_access_sha256.filter(|_| client.state.usable().is_some());
    let fits = kept.is_some_and(|kept| bool::from(sha256(token.as_bytes()).ct_eq(&kept)));
    if fits { Ok(client) } else { Err(invalid()) }
}

/// Other metadata, by the registration access token, which is replaced (RFC 7592 §2.2).
#[derive(Clone)]
pub struct UpdateRegistration {
    /// Which client.
    pub client: ClientId,
    /// What it is managed by until now.
    pub token: Zeroizing<String>,
    /// All of its metadata: what is absent is removed. The sector was looked up as for a new client.
    pub metadata: ClientMetadata,
}

impl std::fmt::Debug for UpdateRegistration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpdateRegistration").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Command for UpdateRegistration {
    type Reply = RegistrationReply;
    type Refusal = RegistrationRefusal;
    const NAME: &'static str = "client.update_by_request";

    fn decide(&self, reads: &mut Reads<'_>, fresh: &mut Fresh) -> Decided<RegistrationReply> {
        let client = managed(reads, self.client, &self.token)?;
        let (settings, _) = settings(reads)?;
        let own = client.state.delegation.as_ref().and_then(|delegation| delegation.policy.as_ref());
        let policy = own.unwrap_or(&settings.registration_policy);
        let metadata = admitted(self.metadata.clone(), policy, &settings).map_err(broken)?;
        let contacts = contacts(reads, self.client, &client)?;
        let contacts = contacts.as_ref().map(|text| text.as_str());
        let before = client.state.registration.as_ref().map(|registration| &registration.metadata);
        check_plain_redirects(reads, &metadata, before).map_err(widened)?;
        let changed = decide_update(&client.state, contacts, &metadata).map_err(broken)?;
        let mut draft = Draft::new();
        if let Some(changed) = changed {
            draft.append::<Client>(self.client, client.version, changed);
        }
        let secret = missing_secret(&client.state, &metadata, fresh)?;
        let secret = secret.map(|(secret, added)| {
            draft.append::<Client>(self.client, client.version, added);
            secret
        });
        let (registration_token, changed) = new_token(fresh);
        draft.append::<Client>(self.client, client.version, changed);
        let reply = RegistrationReply { client: self.client, secret, registration_token };
        Ok(Decision::Propose(draft, reply))
    }
}

/// A secret for a client whose new method needs one that it does not have.
fn missing_secret(
    client: &Client,
    metadata: &ClientMetadata,
    fresh: &mut Fresh,
) -> Result<Option<(String, ClientEvent)>, Refused> {
    let method = metadata.token_endpoint_auth_method;
    let credentials = client.registration.iter().flat_map(|registration| &registration.credentials);
    let mut live = credentials.filter(|credential| credential.expires_at.is_none_or(|end| end > fresh.at()));
    let readable = method == crate::model::AuthMethod::ClientSecretJwt;
    if !method.uses_secret() || live.any(|credential| !readable || credential.secret.is_some()) {
        return Ok(None);
    }
    let (secret, credential) = new_credential(fresh, method);
    let mut after = client.clone();
    if let Some(registration) = &mut after.registration {
        registration.metadata = metadata.clone();
    }
    let at = credential.created_at;
    Ok(Some((secret, decide_add_secret(&after, credential, at).map_err(broken)?)))
}

/// The end of a client, by its registration access token (RFC 7592 §2.3).
#[derive(Clone)]
pub struct DeleteRegistration {
    /// Which client.
    pub client: ClientId,
    /// What it is managed by.
    pub token: Zeroizing<String>,
}

impl std::fmt::Debug for DeleteRegistration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeleteRegistration").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Command for DeleteRegistration {
    type Reply = ();
    type Refusal = RegistrationRefusal;
    const NAME: &'static str = "client.delete_by_request";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        managed(reads, self.client, &self.token)?;
        let client = existing(reads, self.client).map_err(widened)?;
        Ok(Decision::Propose(delete(reads, self.client, &client).map_err(widened)?, ()))
    }
}
