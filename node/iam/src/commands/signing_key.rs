//! Signing keys: made outside, stored and moved here.

use std::collections::BTreeSet;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::KeyRefusal;
use super::session::settings;
use crate::execute::{Command, DecideError, Decision, Draft, Fresh, ReadFault, Reads, Versioned};
use crate::ids::{DataKeyId, Id, SigningKeyId};
use crate::keys::{GeneratedKey, Jwk, Jwks};
use crate::model::SigningAlgorithm;
use crate::projections::{Projection, id_of_row, tenant_prefix};
use crate::proposal::{RangeKey, RangeKind};
use crate::seal::KeyPurpose;
use crate::streams::signing_key::{
    KeyPhase, KeyStep, SigningKeyCreated, SigningKeyEvent, SigningKeyRemoved, SigningKeyState, decide_end,
    decide_revocation, decide_rotation, next_steps, of_algorithm, wind_down,
};
use domicile_storage::{KeyRange, Order};

type Decided<R> = Result<Decision<R>, DecideError<KeyRefusal>>;

const RANGE: RangeKey = RangeKey { kind: RangeKind::SigningKeys, id: [0; 16] };
/// Keys of one algorithm that were not removed.
const KEYS_OF_ALGORITHM_MAX: usize = 32;
/// More keys than a tenant can have; a bound for the scan.
const KEYS_MAX: usize = 256;

/// All keys of the tenant that were not removed, oldest first, with the range they are in.
fn all_keys(reads: &mut Reads<'_>) -> Result<Vec<(SigningKeyId, Versioned<SigningKeyState>)>, ReadFault> {
    reads.range(RANGE)?;
    let prefix = tenant_prefix(Projection::SigningKeys, reads.tenant());
    let rows = reads.engine().scan(&KeyRange::prefix(&prefix), Order::Ascending, KEYS_MAX)?;
    let mut keys = Vec::with_capacity(rows.len());
    for id in rows.iter().filter_map(|(key, _)| id_of_row::<SigningKeyId>(key)) {
        if let Some(key) = reads.stream::<SigningKeyState>(id)? {
            keys.push((id, key));
        }
    }
    Ok(keys)
}

/// The key set as it is published.
pub(super) fn public_keys(reads: &mut Reads<'_>) -> Result<Jwks, ReadFault> {
    let published = all_keys(reads)?.into_iter().filter(|(_, key)| key.state.phase.is_public());
    let jwk = |(id, key): (SigningKeyId, Versioned<SigningKeyState>)| {
        key.state.material.as_ref().map(|material| Jwk::new(id, material.algorithm, &material.public_key))
    };
    Ok(Jwks { keys: published.filter_map(jwk).collect() })
}

fn states(keys: &[(SigningKeyId, Versioned<SigningKeyState>)]) -> Vec<(SigningKeyId, Arc<SigningKeyState>)> {
    keys.iter().map(|(id, key)| (*id, Arc::clone(&key.state))).collect()
}

/// A key pair to be stored. The PKCS#8 bytes are wrapped by the tenant's key.
pub struct NewKey {
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// Wiped when dropped.
    pub private_pkcs8: Zeroizing<Vec<u8>>,
    /// Its public half.
    pub public_key: crate::streams::signing_key::PublicKey,
}

impl From<GeneratedKey> for NewKey {
    fn from(key: GeneratedKey) -> Self {
        Self { algorithm: key.algorithm, private_pkcs8: key.private_pkcs8, public_key: key.public_key }
    }
}

/// Why a key is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewKeyUse {
    /// When it will sign is [`MoveKeys`]' to say.
    Planned,
    /// It signs at once; what signed before retires.
    Rotate,
    /// It signs at once; all others of the algorithm are gone at once, with what they signed.
    Revoke,
}

/// Stores a key.
pub struct AddSigningKey {
    /// The key.
    pub key: NewKey,
    /// Why.
    pub usage: NewKeyUse,
}

impl Command for AddSigningKey {
    type Reply = Option<SigningKeyId>;
    type Refusal = KeyRefusal;
    const NAME: &'static str = "signing_key.add";

    fn decide(&self, reads: &mut Reads<'_>, fresh: &mut Fresh) -> Decided<Self::Reply> {
        let keys = all_keys(reads)?;
        let known = states(&keys);
        let same = of_algorithm(&known, self.key.algorithm);
        let settings = settings(reads)?;
        let wanted = settings.signing_algorithms.contains(&self.key.algorithm);
        let due = || wanted && next_steps(&same, &settings, None, fresh.at()) == Some(KeyStep::Make);
        if self.usage == NewKeyUse::Planned && !due() {
            // Another round made one meanwhile.
            return Ok(Decision::Answer(None));
        }
        if !wanted {
            return Err(DecideError::Refused(KeyRefusal::NotKept));
        }
        if self.usage != NewKeyUse::Revoke && same.len() >= KEYS_OF_ALGORITHM_MAX {
            return Err(DecideError::Refused(KeyRefusal::TooMany));
        }
        let mut draft = Draft::new();
        let id = create(&mut draft, &self.key, fresh);
        let moves = match self.usage {
            NewKeyUse::Planned => Vec::new(),
            NewKeyUse::Rotate => decide_rotation(&same, id),
            NewKeyUse::Revoke => decide_revocation(&same, id),
        };
        move_all(&mut draft, &keys, moves);
        Ok(Decision::Propose(draft, Some(id)))
    }
}

/// Stores a key under a fresh id.
fn create(draft: &mut Draft, key: &NewKey, fresh: &mut Fresh) -> SigningKeyId {
    let id: SigningKeyId = fresh.id();
    let private_key = DataKeyId::from_bytes(id.bytes());
    draft.put_key(private_key, KeyPurpose::Signing, key.private_pkcs8.clone());
    let created =
        SigningKeyCreated { algorithm: key.algorithm, public_key: key.public_key.clone(), private_key };
    draft.append::<SigningKeyState>(id, 0, SigningKeyEvent::Created(created));
    id
}

/// Ends one key at once: it leaked.
pub struct RevokeSigningKey {
    /// Which.
    pub id: SigningKeyId,
    /// Signs from now on if the key does; not stored otherwise.
    pub successor: Option<NewKey>,
}

impl Command for RevokeSigningKey {
    /// The successor, if there is one.
    type Reply = Option<SigningKeyId>;
    type Refusal = KeyRefusal;
    const NAME: &'static str = "signing_key.revoke";

    fn decide(&self, reads: &mut Reads<'_>, fresh: &mut Fresh) -> Decided<Self::Reply> {
        let keys = all_keys(reads)?;
        let known = states(&keys);
        let key = known.iter().find(|(id, key)| *id == self.id && key.phase != KeyPhase::Removed);
        let Some((_, key)) = key else { return self.forget(reads) };
        let algorithm = key.material.as_ref().map(|material| material.algorithm);
        let fits = |new: &&NewKey| key.phase == KeyPhase::Active && Some(new.algorithm) == algorithm;
        let mut draft = Draft::new();
        let successor = self.successor.as_ref().filter(fits).map(|new| create(&mut draft, new, fresh));
        let same = algorithm.map(|algorithm| of_algorithm(&known, algorithm)).unwrap_or_default();
        // It came to sign meanwhile: the caller makes a successor first.
        let moves = decide_end(&same, self.id, successor);
        let moves = moves.ok_or(DecideError::Refused(KeyRefusal::WrongPhase))?;
        move_all(&mut draft, &keys, moves);
        Ok(Decision::Propose(draft, successor))
    }
}

impl RevokeSigningKey {
    /// A key that ended as planned still reads hints: from now on it does not.
    fn forget(&self, reads: &mut Reads<'_>) -> Decided<Option<SigningKeyId>> {
        let ended = reads.stream::<SigningKeyState>(self.id)?.filter(|key| key.state.ended);
        let ended = ended.ok_or(DecideError::Refused(KeyRefusal::NotFound))?;
        let mut draft = Draft::new();
        let removed = SigningKeyEvent::Removed(SigningKeyRemoved {});
        draft.append::<SigningKeyState>(self.id, ended.version, removed);
        Ok(Decision::Propose(draft, None))
    }
}

/// Appends each event; the private bytes of what is removed are destroyed with it.
fn move_all(
    draft: &mut Draft,
    keys: &[(SigningKeyId, Versioned<SigningKeyState>)],
    moves: Vec<(SigningKeyId, SigningKeyEvent)>,
) {
    for (id, event) in moves {
        let key = keys.iter().find(|(known, _)| *known == id).map(|(_, key)| key);
        let material = key.and_then(|key| key.state.material.as_ref());
        if let (SigningKeyEvent::Removed(_) | SigningKeyEvent::Ended(_), Some(material)) = (&event, material)
        {
            draft.destroy_key(material.private_key);
        }
        // One that is not there yet is made by this very draft.
        draft.append::<SigningKeyState>(id, key.map_or(0, |key| key.version), event);
    }
    draft.touch_range(RANGE);
}

/// What the next step of an algorithm's keys is, after taking it unless a key must be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum KeyProgress {
    /// Nothing is due.
    Idle,
    /// A step was taken; ask again.
    Moved,
    /// A key must be made first.
    MakeFirst,
}

/// Takes the next step for the keys of one algorithm.
#[derive(Clone, Debug)]
pub struct MoveKeys {
    /// Which.
    pub algorithm: SigningAlgorithm,
    /// Keys that all nodes know, so that they may sign; `None` if every key may.
    pub listed: Option<BTreeSet<SigningKeyId>>,
}

impl Command for MoveKeys {
    type Reply = KeyProgress;
    type Refusal = KeyRefusal;
    const NAME: &'static str = "signing_key.move";

    fn decide(&self, reads: &mut Reads<'_>, fresh: &mut Fresh) -> Decided<KeyProgress> {
        let keys = all_keys(reads)?;
        let known = states(&keys);
        let settings = settings(reads)?;
        let same = of_algorithm(&known, self.algorithm);
        let step = if settings.signing_algorithms.contains(&self.algorithm) {
            next_steps(&same, &settings, self.listed.as_ref(), fresh.at())
        } else {
            wind_down(&same, &settings, fresh.at())
        };
        let events = match step {
            None => return Ok(Decision::Answer(KeyProgress::Idle)),
            Some(KeyStep::Make) => return Ok(Decision::Answer(KeyProgress::MakeFirst)),
            Some(KeyStep::Move(events)) => events,
        };
        let mut draft = Draft::new();
        move_all(&mut draft, &keys, events);
        Ok(Decision::Propose(draft, KeyProgress::Moved))
    }
}
