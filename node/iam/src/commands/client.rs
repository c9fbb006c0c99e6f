//! Clients.

use zeroize::Zeroizing;

use super::algorithm_use::signed_by;
use super::digest::{base64url, sha256};
use super::resource::claim_identifiers;
use super::session::settings;
use super::{ClientPatch, ClientRefusal};
use crate::execute::{Command, DecideError, Decision, Draft, Fresh, ReadFault, Reads, Versioned};
use crate::ids::ClientId;
use crate::model::{AuthMethod, ClientMetadata, SigningAlgorithm};
use crate::personal::Personal;
use crate::proposal::ClaimKind;
use crate::streams::StreamRef;
use crate::streams::client::{
    CONTACTS_FIELD, Client, Credential, decide_add_secret, decide_delete, decide_register, decide_switch,
    decide_update, is_on_loopback, web_over_http,
};
use crate::streams::tenant::Tenant;

type Decided<R> = Result<Decision<R>, DecideError<ClientRefusal>>;

/// A new client.
#[derive(Clone, Debug)]
pub struct RegisterClient {
    /// RFC 7591 §2.
    pub metadata: ClientMetadata,
    /// An import's `client_id`; the internal id's text when absent.
    pub client_id: Option<String>,
}

/// A fresh secret of 256 bits with what is stored of it: its hash, and itself only for a client that needs
/// it as an HMAC key.
pub(super) fn new_credential(fresh: &mut Fresh, method: AuthMethod) -> (String, Credential) {
    let secret = base64url(fresh.secret().as_slice());
    let credential = Credential {
        id: fresh.id(),
        secret_sha256: sha256(secret.as_bytes()),
        created_at: fresh.at(),
        expires_at: None,
        secret: (method == AuthMethod::ClientSecretJwt).then(|| Personal::plain(secret.as_str())),
    };
    (secret, credential)
}

impl Command for RegisterClient {
    type Reply = (ClientId, Option<String>);
    type Refusal = ClientRefusal;
    const NAME: &'static str = "client.register";

    fn decide(&self, reads: &mut Reads<'_>, fresh: &mut Fresh) -> Decided<Self::Reply> {
        let id: ClientId = fresh.id();
        let client_id = self.client_id.clone().unwrap_or_else(|| id.to_string());
        let metadata = with_kept_defaults(reads, self.metadata.clone())?;
        let (draft, secret) = register(reads, fresh, id, (&client_id, &metadata))?;
        Ok(Decision::Propose(draft, (id, secret)))
    }
}

/// The default that nobody has to name gives way to the tenant's first algorithm where the tenant keeps no key for
/// it (RFC 7591 §3.2.1): the client would get nothing signed.
fn with_kept_defaults(
    reads: &mut Reads<'_>,
    mut metadata: ClientMetadata,
) -> Result<ClientMetadata, ReadFault> {
    let kept = settings(reads)?.signing_algorithms;
    let default = SigningAlgorithm::default();
    if let Some(first) = kept.first().copied().filter(|_| !kept.contains(&default)) {
        for algorithm in
            [&mut metadata.id_token_signed_response_alg, &mut metadata.access_token_signed_response_alg]
        {
            if *algorithm == default {
                *algorithm = first;
            }
        }
    }
    Ok(metadata)
}

/// A client asks for signatures only by algorithms for which the tenant keeps keys, or it would get none. The
/// default is not asked for, and what it had `before` it keeps.
fn check_algorithms(
    reads: &mut Reads<'_>,
    metadata: &ClientMetadata,
    before: Option<&ClientMetadata>,
) -> Result<(), DecideError<ClientRefusal>> {
    let had: Vec<_> = before.map(signed_by).into_iter().flatten().collect();
    let asked = signed_by(metadata).into_iter().filter(|asked| !had.contains(asked));
    let asked: Vec<_> = asked.filter(|(_, algorithm)| *algorithm != SigningAlgorithm::default()).collect();
    if asked.is_empty() {
        return Ok(());
    }
    let kept = settings(reads)?.signing_algorithms;
    match asked.into_iter().find(|(_, algorithm)| !kept.contains(algorithm)) {
        None => Ok(()),
        Some((field, _)) => Err(DecideError::Refused(ClientRefusal::InvalidClientMetadata {
            field: field.to_owned(),
            rule: "is not one of the tenant's `signing_algorithms`",
        })),
    }
}

/// RFC 9700 §2.6: no authorization response goes over `http`, but to native clients and on this machine.
pub(super) fn check_plain_redirects(
    reads: &mut Reads<'_>,
    metadata: &ClientMetadata,
    before: Option<&ClientMetadata>,
) -> Result<(), DecideError<ClientRefusal>> {
    let Some(uri) = web_over_http(metadata, before) else { return Ok(()) };
    let tenant = reads.tenant();
    if reads.stream::<Tenant>(tenant)?.is_some_and(|tenant| is_on_loopback(&tenant.state.issuer)) {
        return Ok(());
    }
    let rule = "is http, which only native clients may use";
    Err(DecideError::Refused(ClientRefusal::InvalidRedirectUri { uri: uri.to_owned(), rule }))
}

/// Makes the client `id`; gives its secret, where it has one.
pub(super) fn register(
    reads: &mut Reads<'_>,
    fresh: &mut Fresh,
    id: ClientId,
    (client_id, metadata): (&str, &ClientMetadata),
) -> Result<(Draft, Option<String>), DecideError<ClientRefusal>> {
    let method = metadata.token_endpoint_auth_method;
    let (secret, credential) = method.uses_secret().then(|| new_credential(fresh, method)).unzip();
    let event = decide_register(metadata, client_id, credential).map_err(DecideError::Refused)?;
    check_algorithms(reads, metadata, None)?;
    check_plain_redirects(reads, metadata, None)?;
    match reads.claim(ClaimKind::ClientId, client_id) {
        Ok(None) => {}
        Ok(Some(_)) => return Err(DecideError::Refused(ClientRefusal::ClientIdTaken)),
        Err(ReadFault::NotNormal(_)) => return Err(DecideError::Refused(ClientRefusal::InvalidClientId)),
        Err(other) => return Err(other.into()),
    }
    let mut draft = Draft::new();
    draft.take_claim(ClaimKind::ClientId, client_id, StreamRef::of::<Client>(id));
    claim_identifiers(reads, &mut draft, id, (&[], &metadata.resource_identifiers))?;
    draft.append::<Client>(id, 0, event);
    Ok((draft, secret))
}

pub(super) fn existing(
    reads: &mut Reads<'_>,
    id: ClientId,
) -> Result<Versioned<Client>, DecideError<ClientRefusal>> {
    let client = reads.stream::<Client>(id)?.filter(|client| client.state.registration.is_some());
    client.ok_or(DecideError::Refused(ClientRefusal::NotFound))
}

fn check_revision(wanted: Option<u64>, client: &Versioned<Client>) -> Result<(), DecideError<ClientRefusal>> {
    if wanted.is_some_and(|wanted| wanted != client.version) {
        return Err(DecideError::Refused(ClientRefusal::Stale { current: client.version }));
    }
    Ok(())
}

/// Other metadata, disabled, enabled.
#[derive(Clone, Debug)]
pub struct UpdateClient {
    /// Which.
    pub id: ClientId,
    /// What.
    pub patch: ClientPatch,
}

impl Command for UpdateClient {
    type Reply = ();
    type Refusal = ClientRefusal;
    const NAME: &'static str = "client.update";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let client = existing(reads, self.id)?;
        check_revision(self.patch.if_revision, &client)?;
        let mut events = Vec::new();
        if let Some(metadata) = &self.patch.metadata {
            let contacts = contacts(reads, self.id, &client)?;
            let contacts = contacts.as_ref().map(|text| text.as_str());
            let before = client.state.registration.as_ref().map(|registration| &registration.metadata);
            check_algorithms(reads, metadata, before)?;
            check_plain_redirects(reads, metadata, before)?;
            events.extend(decide_update(&client.state, contacts, metadata).map_err(DecideError::Refused)?);
        }
        if let Some(disabled) = self.patch.disabled {
            events.extend(decide_switch(&client.state, disabled));
        }
        if events.is_empty() {
            return Ok(Decision::Answer(()));
        }
        let mut draft = Draft::new();
        if let (Some(after), Some(before)) = (&self.patch.metadata, &client.state.registration) {
            let change = (&before.metadata.resource_identifiers[..], &after.resource_identifiers[..]);
            claim_identifiers(reads, &mut draft, self.id, change)?;
        }
        for event in events {
            draft.append::<Client>(self.id, client.version, event);
        }
        Ok(Decision::Propose(draft, ()))
    }
}

/// The contacts of a client in clear.
pub(super) fn contacts(
    reads: &Reads<'_>,
    id: ClientId,
    client: &Versioned<Client>,
) -> Result<Option<Zeroizing<String>>, ReadFault> {
    let sealed = client.state.registration.as_ref().and_then(|registration| registration.contacts.as_ref());
    sealed.map(|value| reads.open(StreamRef::of::<Client>(id), CONTACTS_FIELD, value)).transpose()
}

/// A further secret.
#[derive(Clone, Debug)]
pub struct AddClientSecret {
    /// Whose.
    pub id: ClientId,
    /// How long the others still work.
    pub overlap_ms: u64,
    /// Only if the stream is at this revision.
    pub if_revision: Option<u64>,
}

impl Command for AddClientSecret {
    type Reply = String;
    type Refusal = ClientRefusal;
    const NAME: &'static str = "client.secret.add";

    fn decide(&self, reads: &mut Reads<'_>, fresh: &mut Fresh) -> Decided<String> {
        let client = existing(reads, self.id)?;
        check_revision(self.if_revision, &client)?;
        let registration = client.state.registration.as_ref();
        let method = registration.map_or(AuthMethod::None, |found| found.metadata.token_endpoint_auth_method);
        let (secret, credential) = new_credential(fresh, method);
        let others_end = fresh.at().plus_ms(self.overlap_ms);
        let event = decide_add_secret(&client.state, credential, others_end).map_err(DecideError::Refused)?;
        let mut draft = Draft::new();
        draft.append::<Client>(self.id, client.version, event);
        Ok(Decision::Propose(draft, secret))
    }
}

/// The end of a client.
#[derive(Clone, Debug)]
pub struct DeleteClient {
    /// Which.
    pub id: ClientId,
    /// Only if the stream is at this revision.
    pub if_revision: Option<u64>,
}

impl Command for DeleteClient {
    type Reply = ();
    type Refusal = ClientRefusal;
    const NAME: &'static str = "client.delete";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let client = existing(reads, self.id)?;
        check_revision(self.if_revision, &client)?;
        Ok(Decision::Propose(delete(reads, self.id, &client)?, ()))
    }
}

/// Deletes the client: its `client_id` and identifiers are free again.
pub(super) fn delete(
    reads: &mut Reads<'_>,
    id: ClientId,
    client: &Versioned<Client>,
) -> Result<Draft, DecideError<ClientRefusal>> {
    let event = decide_delete(&client.state).map_err(DecideError::Refused)?;
    let mut draft = Draft::new();
    if let Some(registration) = &client.state.registration {
        draft.release_claim(ClaimKind::ClientId, &registration.client_id, StreamRef::of::<Client>(id));
        let identifiers = &registration.metadata.resource_identifiers[..];
        claim_identifiers(reads, &mut draft, id, (identifiers, &[]))?;
    }
    draft.append::<Client>(id, client.version, event);
    Ok(draft)
}
