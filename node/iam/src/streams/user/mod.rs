//! A user: profile, password, whether they may act.

mod claims;
mod decide;
mod event;
mod profile;
mod second_factor;
mod state;

use domicile_storage::codec::CodecError;

use super::{Aggregate, EventMeta, StreamKind, decode_first_format};
use crate::ids::UserId;

pub use claims::check_claims;
pub use decide::{decide_create, decide_erase, decide_lock, decide_password_change, decide_rehash};
pub use profile::{OpenPerson, ProfileUpdate, decide_update, locked_until};
pub use second_factor::{
    SecondFactor, decide_enrol, decide_recover, decide_remove, decide_replace_recovery_codes,
};

pub use event::{
    UserCreated, UserDisabled, UserEnabled, UserErased, UserEvent, UserLocked, UserOperatorChanged,
    UserPasswordChanged, UserPasswordRehashed, UserProfileChanged, UserRecoveryCodeUsed,
    UserRecoveryCodesReplaced, UserTotpEnrolled, UserTotpRemoved, field,
};
pub use state::{Person, User};

impl Aggregate for User {
    const KIND: StreamKind = StreamKind::User;
    const STATE_FORMAT: u8 = 1;
    type Id = UserId;
    type Event = UserEvent;

    fn evolve(state: Option<Self>, event: &Self::Event, meta: &EventMeta) -> Self {
        state.unwrap_or_default().evolve(event, meta.at)
    }

    fn decode_state(format: u8, body: &[u8]) -> Result<Self, CodecError> {
        decode_first_format(format, body)
    }
}
