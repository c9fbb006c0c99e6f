//! Users: profile, password hash, lock, erasure.

use std::fmt;

use domicile_raft::Timestamp;

use super::developer::disable_all;
use super::logout::{alone_with, announce_all};
use super::{CreateUser, UserPatch, UserRefusal};
use crate::blind::normalise;
use crate::execute::{
    Command, DecideError, Decision, Draft, Fresh, LatchSet, ReadFault, Reads, Scope, Versioned,
};
use crate::ids::{Id, UserId};
use crate::model::ProfileClaims;
use crate::personal::Personal;
use crate::proposal::ClaimKind;
use crate::streams::StreamRef;
use crate::streams::tenant::Tenant;
use crate::streams::user::{
    OpenPerson, Person, ProfileUpdate, User, UserEvent, decide_create, decide_erase, decide_lock,
    decide_password_change, decide_rehash, decide_update, field,
};

type Decided<R> = Result<Decision<R>, DecideError<UserRefusal>>;
type Step = Result<(), DecideError<UserRefusal>>;

/// A new user, its password hashed before.
#[derive(Clone)]
pub struct CreateUserCommand {
    /// What was asked for; its password in clear is not looked at.
    pub new: CreateUser,
    /// PHC string.
    pub password: Option<String>,
}

impl fmt::Debug for CreateUserCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateUserCommand").finish_non_exhaustive()
    }
}

impl Command for CreateUserCommand {
    type Reply = UserId;
    type Refusal = UserRefusal;
    const NAME: &'static str = "user.create";

    fn decide(&self, reads: &mut Reads<'_>, fresh: &mut Fresh) -> Decided<UserId> {
        let id: UserId = fresh.id();
        let subject = self.new.subject.clone().unwrap_or_else(|| id.to_string());
        let event =
            decide_create(&self.new, &subject, self.password.as_deref()).map_err(DecideError::Refused)?;
        let email_unique = email_unique(reads)?;
        let owner = StreamRef::of::<User>(id);
        let mut draft = Draft::new();
        take_username(reads, &mut draft, owner, &self.new.username)?;
        if let Some(email) = self.new.email.as_ref().filter(|_| email_unique) {
            take_email(reads, &mut draft, owner, email)?;
        }
        if reads.claim(ClaimKind::Subject, &subject).map_err(unusable(UserRefusal::InvalidSubject))?.is_some()
        {
            return Err(DecideError::Refused(UserRefusal::SubjectTaken));
        }
        draft.take_claim(ClaimKind::Subject, &subject, owner);
        draft.put_user_key(id, &fresh.secret());
        draft.append::<User>(id, 0, event);
        Ok(Decision::Propose(draft, id))
    }
}

fn email_unique(reads: &mut Reads<'_>) -> Result<bool, ReadFault> {
    let tenant = reads.tenant();
    Ok(reads.stream::<Tenant>(tenant)?.is_none_or(|tenant| tenant.state.settings.email_unique))
}

/// A value without a normal form is malformed, not a fault.
fn unusable(refusal: UserRefusal) -> impl FnOnce(ReadFault) -> DecideError<UserRefusal> {
    move |fault| {
        if matches!(fault, ReadFault::NotNormal(_)) {
            DecideError::Refused(refusal)
        } else {
            DecideError::Fault(fault)
        }
    }
}

/// Login looks at usernames first and at addresses next, so nobody may take another's address as a
/// username, nor the other way round.
fn take_username(reads: &mut Reads<'_>, draft: &mut Draft, owner: StreamRef, username: &str) -> Step {
    let holder =
        reads.claim(ClaimKind::LoginName, username).map_err(unusable(UserRefusal::InvalidUsername))?;
    if holder.is_some_and(|holder| holder != owner) {
        return Err(DecideError::Refused(UserRefusal::UsernameTaken));
    }
    if username.contains('@') && held_by_another(reads, ClaimKind::Email, username, owner)? {
        return Err(DecideError::Refused(UserRefusal::UsernameTaken));
    }
    draft.take_claim(ClaimKind::LoginName, username, owner);
    Ok(())
}

fn take_email(reads: &mut Reads<'_>, draft: &mut Draft, owner: StreamRef, email: &str) -> Step {
    let holder = reads.claim(ClaimKind::Email, email).map_err(unusable(UserRefusal::InvalidEmail))?;
    if holder.is_some_and(|holder| holder != owner)
        || held_by_another(reads, ClaimKind::LoginName, email, owner)?
    {
        return Err(DecideError::Refused(UserRefusal::EmailTaken));
    }
    draft.take_claim(ClaimKind::Email, email, owner);
    Ok(())
}

fn held_by_another(
    reads: &mut Reads<'_>,
    kind: ClaimKind,
    value: &str,
    owner: StreamRef,
) -> Result<bool, ReadFault> {
    match reads.claim(kind, value) {
        Ok(holder) => Ok(holder.is_some_and(|holder| holder != owner)),
        Err(ReadFault::NotNormal(_)) => Ok(false),
        Err(other) => Err(other),
    }
}

fn existing(reads: &mut Reads<'_>, id: UserId) -> Result<Versioned<User>, DecideError<UserRefusal>> {
    let user = reads.stream::<User>(id)?.filter(|user| user.state.person.is_some());
    user.ok_or(DecideError::Refused(UserRefusal::NotFound))
}

fn open_person(reads: &Reads<'_>, id: UserId, person: &Person) -> Result<OpenPerson, ReadFault> {
    let stream = StreamRef::of::<User>(id);
    let open = |name: &str, value: &Personal| reads.open(stream, name, value).map(|text| text.to_string());
    let open_some =
        |name: &str, value: &Option<Personal>| value.as_ref().map(|value| open(name, value)).transpose();
    let claims = match open_some(field::CLAIMS, &person.claims)? {
        Some(text) => parse_claims(&text)?,
        None => ProfileClaims::new(),
    };
    Ok(OpenPerson {
        username: open(field::USERNAME, &person.username)?,
        email: open_some(field::EMAIL, &person.email)?,
        email_held: open_some(field::EMAIL, &person.email_held)?,
        phone_number: open_some(field::PHONE_NUMBER, &person.phone_number)?,
        claims,
    })
}

/// Claims from their sealed form.
pub(crate) fn parse_claims(text: &str) -> Result<ProfileClaims, domicile_storage::codec::CodecError> {
    serde_json::from_str(text)
        .map_err(|cause| domicile_storage::codec::CodecError::Malformed(cause.to_string()))
}

/// Changes a profile, disables or enables.
#[derive(Clone)]
pub struct UpdateUser {
    /// Which.
    pub id: UserId,
    /// What.
    pub patch: UserPatch,
}

impl fmt::Debug for UpdateUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpdateUser").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Command for UpdateUser {
    type Reply = ();
    type Refusal = UserRefusal;
    const NAME: &'static str = "user.update";

    fn latches(&self, scope: &Scope<'_>) -> LatchSet {
        alone_with(scope, self.id)
    }

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let user = existing(reads, self.id)?;
        let Some(person) = &user.state.person else {
            return Err(DecideError::Refused(UserRefusal::NotFound));
        };
        let open = open_person(reads, self.id, person)?;
        let update =
            decide_update(&user.state, user.version, &open, &self.patch).map_err(DecideError::Refused)?;
        if update.events.is_empty() {
            return Ok(Decision::Answer(()));
        }
        let owner = StreamRef::of::<User>(self.id);
        let mut draft = Draft::new();
        if let Some(change) = &update.username {
            let same = normalise(ClaimKind::LoginName, &change.before)
                == normalise(ClaimKind::LoginName, &change.after);
            take_username(reads, &mut draft, owner, &change.after)?;
            // Another spelling of the same name is the same claim: giving it back would free it.
            if !same {
                draft.release_claim(ClaimKind::LoginName, &change.before, owner);
            }
        }
        change_emails(reads, &mut draft, owner, &update)?;
        if update.events.iter().any(|event| matches!(event, UserEvent::Disabled(_))) {
            announce_all(reads, &mut draft, self.id, &user.state)?;
            disable_all(reads, &mut draft, self.id)?;
        }
        for event in update.events {
            draft.append::<User>(self.id, user.version, event);
        }
        Ok(Decision::Propose(draft, ()))
    }
}

fn change_emails(reads: &mut Reads<'_>, draft: &mut Draft, owner: StreamRef, update: &ProfileUpdate) -> Step {
    // Only taking depends on the setting: what was taken while addresses were unique is given back
    // also when they no longer are.
    if let Some(email) = update.email_taken.as_ref()
        && email_unique(reads)?
    {
        take_email(reads, draft, owner, email)?;
    }
    let form = |email: &String| normalise(ClaimKind::Email, email).ok();
    let mut settled: Vec<_> = update.emails_kept.iter().map(form).collect();
    for email in &update.emails_released {
        // Another spelling of an address is the same claim. One from before addresses were unique may
        // be nobody's or another's.
        if !settled.contains(&form(email)) && reads.claim(ClaimKind::Email, email)? == Some(owner) {
            draft.release_claim(ClaimKind::Email, email, owner);
            settled.push(form(email));
        }
    }
    Ok(())
}

/// Another password hash.
#[derive(Clone)]
pub struct SetPassword {
    /// Whose.
    pub id: UserId,
    /// PHC string.
    pub hash: String,
    /// The stored hash that the current password was checked against, where it was.
    pub checked: Option<Personal>,
}

impl fmt::Debug for SetPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetPassword").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Command for SetPassword {
    /// When, for who proved the one before: what the new one proves is just later. An administrator is told nothing.
    type Reply = Option<Timestamp>;
    type Refusal = UserRefusal;
    const NAME: &'static str = "user.password.set";

    fn latches(&self, scope: &Scope<'_>) -> LatchSet {
        alone_with(scope, self.id)
    }

    fn decide(&self, reads: &mut Reads<'_>, fresh: &mut Fresh) -> Decided<Option<Timestamp>> {
        let user = existing(reads, self.id)?;
        let stored = user.state.person.as_ref().and_then(|person| person.password.as_ref());
        if self.checked.as_ref().is_some_and(|checked| Some(checked) != stored) {
            return Err(DecideError::Refused(UserRefusal::WrongPassword));
        }
        let event = decide_password_change(&user.state, &self.hash).map_err(DecideError::Refused)?;
        let mut draft = Draft::new();
        announce_all(reads, &mut draft, self.id, &user.state)?;
        draft.append::<User>(self.id, user.version, event);
        Ok(Decision::Propose(draft, self.checked.is_some().then(|| fresh.at())))
    }
}

/// The same password under our own hash.
#[derive(Clone)]
pub struct RehashPassword {
    /// Whose.
    pub id: UserId,
    /// PHC string.
    pub hash: String,
    /// The stored hash that the password was checked against.
    pub checked: Personal,
}

impl fmt::Debug for RehashPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RehashPassword").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Command for RehashPassword {
    type Reply = ();
    type Refusal = UserRefusal;
    const NAME: &'static str = "user.password.rehash";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let user = existing(reads, self.id)?;
        let Some(event) = decide_rehash(&user.state, &self.checked, &self.hash) else {
            return Ok(Decision::Answer(()));
        };
        let mut draft = Draft::new();
        draft.append::<User>(self.id, user.version, event);
        Ok(Decision::Propose(draft, ()))
    }
}

/// Locks an account after wrong passwords, once a minute at most. Answers until when it is, or last was.
#[derive(Clone, Debug)]
pub struct LockUser {
    /// Whose.
    pub id: UserId,
    /// For how long.
    pub for_ms: u64,
}

impl Command for LockUser {
    type Reply = Timestamp;
    type Refusal = UserRefusal;
    const NAME: &'static str = "user.lock";

    fn decide(&self, reads: &mut Reads<'_>, fresh: &mut Fresh) -> Decided<Timestamp> {
        let user = existing(reads, self.id)?;
        let until = fresh.at().plus_ms(self.for_ms);
        let Some(event) = decide_lock(&user.state, fresh.at(), self.for_ms) else {
            return Ok(Decision::Answer(user.state.locked_until.unwrap_or(until)));
        };
        let mut draft = Draft::new();
        draft.append::<User>(self.id, user.version, event);
        Ok(Decision::Propose(draft, until))
    }
}

/// First step of erasure. The subject stays reserved: it is never used again.
#[derive(Clone, Debug)]
pub struct EraseUser {
    /// Whom.
    pub id: UserId,
    /// Only if the stream is at this revision.
    pub if_revision: Option<u64>,
}

impl Command for EraseUser {
    type Reply = ();
    type Refusal = UserRefusal;
    const NAME: &'static str = "user.erase";

    fn latches(&self, scope: &Scope<'_>) -> LatchSet {
        alone_with(scope, self.id)
    }

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let user = existing(reads, self.id)?;
        if self.if_revision.is_some_and(|wanted| wanted != user.version) {
            return Err(DecideError::Refused(UserRefusal::Stale { current: user.version }));
        }
        let event = decide_erase(&user.state).map_err(DecideError::Refused)?;
        let owner = StreamRef::of::<User>(self.id);
        let mut draft = Draft::new();
        if let Some(person) = &user.state.person {
            let open = open_person(reads, self.id, person)?;
            draft.release_claim(ClaimKind::LoginName, &open.username, owner);
            for email in [open.email, open.email_held].into_iter().flatten() {
                if reads.claim(ClaimKind::Email, &email)? == Some(owner) {
                    draft.release_claim(ClaimKind::Email, &email, owner);
                }
            }
        }
        announce_all(reads, &mut draft, self.id, &user.state)?;
        disable_all(reads, &mut draft, self.id)?;
        draft.append::<User>(self.id, user.version, event);
        draft.destroy_key(crate::ids::DataKeyId::from_bytes(self.id.bytes()));
        Ok(Decision::Propose(draft, ()))
    }
}
