//! Device authorization (RFC 8628): what waits for a user's word on another device.
//!
//! A yes is an ordinary authorization code, bound by PKCE to the device code, that nobody is ever handed: it is
//! made from the device code's hash under a key of the tenant, and made again when the device asks.

use std::collections::BTreeSet;

use aws_lc_rs::hmac;
use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::digest::{base64url, sha256};
use super::{AuthorizeRefusal, DeviceRefusal};
use crate::execute::{Command, DecideError, Decision, Draft, Fresh, Reads};
use crate::ids::ClientId;
use crate::model::{GrantType, PkceChallenge};
use crate::proposal::RecordKind;
use crate::streams::client::Client;

/// How long a user has to give their word, and the device to ask (RFC 8628 §3.2): 10 minutes.
pub const DEVICE_CODE_MS: u64 = 10 * 60 * 1_000;
/// No vowels, so no words, and nothing that looks like another (RFC 8628 §6.1).
const ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// 20^8: 34 bits.
const USER_CODE_LETTERS: usize = 8;
/// Codes that are tried until one is free.
const TRIES_MAX: usize = 4;
/// What the tenant's key of user codes, and of what stands for a yes, is for.
pub(crate) const DEVICE_SUBKEY: &str = "device authorization v1";

/// What a user code leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserCodeRecord {
    pub(crate) client: ClientId,
    pub(crate) scopes: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) resources: BTreeSet<String>,
    /// PKCE, S256, of the device code's verifier.
    pub(crate) challenge: String,
    pub(crate) word: Word,
}

/// What the user said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    Awaited,
    Yes,
    No,
}

/// The letters that count: what people add for reading is left out (RFC 8628 §6.1).
#[must_use]
pub fn normal_user_code(text: &str) -> Option<String> {
    let mut letters = String::with_capacity(USER_CODE_LETTERS);
    for letter in text.chars().filter(|letter| !letter.is_whitespace() && !letter.is_ascii_punctuation()) {
        let letter = letter.to_ascii_uppercase();
        if letters.len() == USER_CODE_LETTERS || !u8::try_from(letter).is_ok_and(|b| ALPHABET.contains(&b)) {
            return None;
        }
        letters.push(letter);
    }
    (letters.len() == USER_CODE_LETTERS).then_some(letters)
}

/// A device code as its device sends it: a secret, the user code that belongs to it, and when both end.
pub(crate) struct DeviceCode<'a> {
    text: &'a str,
    pub(crate) user_code: &'a str,
}

impl<'a> DeviceCode<'a> {
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (_, rest) = text.split_once('.')?;
        let (user_code, _) = rest.split_once('.')?;
        (normal_user_code(user_code)? == user_code).then_some(Self { text, user_code })
    }

    /// The PKCE verifier that only its holder knows.
    pub(crate) fn verifier(&self) -> String {
        base64url(&sha256(format!("device code verifier:{}", self.text).as_bytes()))
    }

    fn challenge(&self) -> String {
        base64url(&sha256(self.verifier().as_bytes()))
    }

    /// Whether the record is that of this very code.
    pub(crate) fn fits(&self, waiting: &UserCodeRecord) -> bool {
        bool::from(self.challenge().as_bytes().ct_eq(waiting.challenge.as_bytes()))
    }
}

/// The record key of a user code: blinded, since there are not many codes.
pub(crate) fn user_code_key(subkey: &Zeroizing<[u8; 32]>, code: &str) -> [u8; 32] {
    keyed(subkey, "user code", code)
}

/// The authorization code that stands for a yes.
pub(crate) fn yes_code(subkey: &Zeroizing<[u8; 32]>, challenge: &str) -> String {
    base64url(&keyed(subkey, "yes", challenge))
}

fn keyed(subkey: &Zeroizing<[u8; 32]>, what: &str, text: &str) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, subkey.as_slice());
    let mut out = [0; 32];
    let tag = hmac::sign(&key, format!("{what}:{text}").as_bytes());
    out.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    out
}

/// A device asks.
#[derive(Clone, Debug)]
pub struct StartDevice {
    /// Whose device.
    pub client: ClientId,
    /// For what; checked.
    pub scopes: BTreeSet<String>,
    /// At which resource servers; checked.
    pub resources: BTreeSet<String>,
}

/// What the device shows and keeps.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceCodes {
    /// 256 random bits, base64url, and what finds their record.
    pub device_code: String,
    /// Eight letters with a hyphen.
    pub user_code: String,
    /// When both end.
    pub expires_at: Timestamp,
}

impl Command for StartDevice {
    type Reply = DeviceCodes;
    type Refusal = DeviceRefusal;
    const NAME: &'static str = "device.start";

    fn decide(
        &self,
        reads: &mut Reads<'_>,
        fresh: &mut Fresh,
    ) -> Result<Decision<DeviceCodes>, DecideError<DeviceRefusal>> {
        let client = reads.stream::<Client>(self.client)?;
        let may = client
            .as_ref()
            .and_then(|client| client.state.usable())
            .is_some_and(|registration| registration.metadata.grant_types.contains(&GrantType::DeviceCode));
        if !may {
            return Err(DecideError::Refused(DeviceRefusal::ClientRefused));
        }
        let subkey = reads.token_subkey(DEVICE_SUBKEY)?;
        let (user_code, key) = free_user_code(reads, fresh, &subkey)?;
        let expires_at = fresh.at().plus_ms(DEVICE_CODE_MS);
        // It says itself when it ends, so that late is told from wrong.
        let secret = base64url(fresh.secret().as_slice());
        let device_code = format!("{secret}.{user_code}.{}", expires_at.seconds());
        let made = DeviceCode { text: &device_code, user_code: &user_code };
        let waiting = UserCodeRecord {
            client: self.client,
            scopes: self.scopes.clone(),
            resources: self.resources.clone(),
            challenge: made.challenge(),
            word: Word::Awaited,
        };
        let mut draft = Draft::new();
        draft.put_record(RecordKind::UserCode, key, &waiting, expires_at);
        let (first, second) = user_code.split_at(USER_CODE_LETTERS / 2);
        let user_code = format!("{first}-{second}");
        Ok(Decision::Propose(draft, DeviceCodes { device_code, user_code, expires_at }))
    }
}

fn free_user_code(
    reads: &mut Reads<'_>,
    fresh: &mut Fresh,
    subkey: &Zeroizing<[u8; 32]>,
) -> Result<(String, [u8; 32]), DecideError<DeviceRefusal>> {
    for _ in 0..TRIES_MAX {
        let code = user_code(fresh);
        let key = user_code_key(subkey, &code);
        if reads.record::<UserCodeRecord>(RecordKind::UserCode, key)?.is_none() {
            return Ok((code, key));
        }
    }
    Err(DecideError::Refused(DeviceRefusal::NoCode))
}

/// Eight letters, each as likely as the others: bytes beyond a multiple of 20 are passed over.
fn user_code(fresh: &mut Fresh) -> String {
    let mut code = String::with_capacity(USER_CODE_LETTERS);
    while code.len() < USER_CODE_LETTERS {
        let letters = fresh.bytes::<32>().into_iter().filter(|byte| *byte < 240);
        let letters = letters.filter_map(|byte| ALPHABET.get(usize::from(byte % 20)));
        code.extend(letters.map(|letter| char::from(*letter)).take(USER_CODE_LETTERS - code.len()));
    }
    code
}

/// The user says yes, in the proposal that writes the code: gives that code and when it ends. What waits must be
/// the very question that the user was asked.
pub(super) fn allow(
    reads: &mut Reads<'_>,
    draft: &mut Draft,
    (user_code, client): (&str, ClientId),
    challenge: Option<&PkceChallenge>,
) -> Result<(String, Timestamp), DecideError<AuthorizeRefusal>> {
    let subkey = reads.token_subkey(DEVICE_SUBKEY)?;
    let key = user_code_key(&subkey, user_code);
    let row = reads.record::<UserCodeRecord>(RecordKind::UserCode, key)?;
    let asked = |record: &UserCodeRecord| {
        record.word == Word::Awaited
            && record.client == client
            && challenge.is_some_and(|challenge| challenge.s256 == record.challenge)
    };
    let row =
        row.filter(|row| asked(&row.body)).ok_or(DecideError::Refused(AuthorizeRefusal::RequestTaken))?;
    let code = yes_code(&subkey, &row.body.challenge);
    let answered = UserCodeRecord { word: Word::Yes, ..row.body };
    draft.put_record(RecordKind::UserCode, key, &answered, row.expires_at);
    Ok((code, row.expires_at))
}

/// The user says no.
#[derive(Clone, Debug)]
pub struct DenyDevice {
    /// Normal form.
    pub user_code: String,
    /// Of the question that was asked.
    pub challenge: PkceChallenge,
}

impl Command for DenyDevice {
    type Reply = ();
    type Refusal = DeviceRefusal;
    const NAME: &'static str = "device.deny";

    fn decide(
        &self,
        reads: &mut Reads<'_>,
        _fresh: &mut Fresh,
    ) -> Result<Decision<()>, DecideError<DeviceRefusal>> {
        let key = user_code_key(&reads.token_subkey(DEVICE_SUBKEY)?, &self.user_code);
        let row = reads.record::<UserCodeRecord>(RecordKind::UserCode, key)?;
        let asked =
            |record: &UserCodeRecord| record.word == Word::Awaited && record.challenge == self.challenge.s256;
        let row = row.filter(|row| asked(&row.body)).ok_or(DecideError::Refused(DeviceRefusal::Unknown))?;
        let mut draft = Draft::new();
        let answered = UserCodeRecord { word: Word::No, ..row.body };
        draft.put_record(RecordKind::UserCode, key, &answered, row.expires_at);
        Ok(Decision::Propose(draft, ()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rfc8628_s6_1_user_codes_are_easy_to_type_and_read_leniently() {
        let mut fresh = Fresh::new(Timestamp(0), &Zeroizing::new([7; 32]));
        let mut seen = BTreeSet::new();
        for _ in 0..1_000 {
            let code = user_code(&mut fresh);
            assert_eq!(normal_user_code(&code).as_deref(), Some(code.as_str()));
            seen.insert(code);
        }
        assert_eq!(seen.len(), 1_000);
        let letters: BTreeSet<char> = seen.iter().flat_map(|code| code.chars()).collect();
        assert_eq!(letters.len(), ALPHABET.len(), "§5.1: 20^8 codes, 34 bits");
        assert_eq!(normal_user_code(" wdjb-mjht ").as_deref(), Some("WDJBMJHT"));
        assert_eq!(normal_user_code("WDJB MJHT.").as_deref(), Some("WDJBMJHT"));
        for bad in ["", "WDJB-MJH", "WDJB-MJHTT", "WDJA-MJHT", "WDJ0-MJHT", "ＷDJB-MJHT", "WDJB-MJHTé"] {
            assert_eq!(normal_user_code(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_device_code_names_its_user_code_and_nothing_else_fits_its_record() {
        let code = DeviceCode::parse("secret.WDJBMJHT.1800000600").unwrap();
        assert_eq!(code.user_code, "WDJBMJHT");
        let waiting = UserCodeRecord {
            client: crate::ids::Id::from_bytes([1; 16]),
            scopes: BTreeSet::new(),
            resources: BTreeSet::new(),
            challenge: code.challenge(),
            word: Word::Awaited,
        };
        assert!(code.fits(&waiting));
        for other in ["Secret.WDJBMJHT.1800000600", "secret.WDJBMJHT.1800000601", ".WDJBMJHT."] {
            assert!(!DeviceCode::parse(other).unwrap().fits(&waiting), "{other}");
        }
        for none in ["", "secret", "secret.WDJBMJHT", "secret.wdjbmjht.1", "secret.WDJB-MJHT.1"] {
            assert!(DeviceCode::parse(none).is_none(), "{none}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_codes_never_panic(text in "\\PC{0,80}") {
            let _ = normal_user_code(&text);
            let _ = DeviceCode::parse(&text).map(|code| code.verifier());
        }
    }
}
