//! Operators: users of the tenant `system` who may have the scope `domicile:admin`.

use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};

use super::logout::{alone_with, announce_all};
use super::{CreateUserCommand, EnrolmentRefusal, SYSTEM_SLUG, UserRefusal};
use crate::execute::{Command, DecideError, Decision, Draft, Fresh, LatchSet, ReadFault, Reads, Scope};
use crate::ids::UserId;
use crate::proposal::RecordKind;
use crate::streams::event_set::Change;
use crate::streams::tenant::Tenant;
use crate::streams::user::{User, UserEvent, UserOperatorChanged};

/// How long an enrolment can be taken: 15 minutes.
pub const ENROLMENT_MS: u64 = 15 * 60 * 1_000;

/// What an enrolment's record holds beside its key.
#[derive(Serialize, Deserialize)]
struct Enrolment {}

fn in_system(reads: &mut Reads<'_>) -> Result<bool, ReadFault> {
    let tenant = reads.tenant();
    Ok(reads.stream::<Tenant>(tenant)?.is_some_and(|tenant| tenant.state.slug == SYSTEM_SLUG))
}

/// Invites one operator, once, for 15 minutes.
#[derive(Clone, Debug)]
pub struct CreateEnrolment {
    /// SHA-256 of 256 random bits that the invited gets.
    pub secret_sha256: [u8; 32],
}

impl Command for CreateEnrolment {
    type Reply = Timestamp;
    type Refusal = EnrolmentRefusal;
    const NAME: &'static str = "operator.invite";

    fn decide(
        &self,
        reads: &mut Reads<'_>,
        fresh: &mut Fresh,
    ) -> Result<Decision<Timestamp>, DecideError<EnrolmentRefusal>> {
        if !in_system(reads)? {
            return Err(DecideError::Refused(EnrolmentRefusal::Unknown));
        }
        let expires_at = fresh.at().plus_ms(ENROLMENT_MS);
        let mut draft = Draft::new();
        draft.put_record(RecordKind::Enrolment, self.secret_sha256, &Enrolment {}, expires_at);
        Ok(Decision::Propose(draft, expires_at))
    }
}

/// Takes an invitation: the operator is made and the invitation used in one proposal.
#[derive(Clone, Debug)]
pub struct RedeemEnrolment {
    /// SHA-256 of the secret.
    pub secret_sha256: [u8; 32],
    /// Who.
    pub user: CreateUserCommand,
}

impl Command for RedeemEnrolment {
    type Reply = UserId;
    type Refusal = EnrolmentRefusal;
    const NAME: &'static str = "operator.enrol";

    fn decide(
        &self,
        reads: &mut Reads<'_>,
        fresh: &mut Fresh,
    ) -> Result<Decision<UserId>, DecideError<EnrolmentRefusal>> {
        let invited = reads.record::<Enrolment>(RecordKind::Enrolment, self.secret_sha256)?;
        if invited.is_none() || !in_system(reads)? {
            return Err(DecideError::Refused(EnrolmentRefusal::Unknown));
        }
        match self.user.decide(reads, fresh) {
            Ok(Decision::Propose(mut draft, id)) => {
                draft.take_record(RecordKind::Enrolment, self.secret_sha256);
                let operator = Change { before: false, after: true };
                draft.append::<User>(id, 0, UserEvent::OperatorChanged(UserOperatorChanged { operator }));
                Ok(Decision::Propose(draft, id))
            }
            Ok(answer @ Decision::Answer(_)) => Ok(answer),
            Err(DecideError::Refused(refusal)) => Err(DecideError::Refused(refusal.into())),
            Err(DecideError::Fault(fault)) => Err(DecideError::Fault(fault)),
        }
    }
}

/// Makes a user of `system` an operator, or ends that: what it was given before is void then.
#[derive(Clone, Copy, Debug)]
pub struct SetOperator {
    /// Who.
    pub user: UserId,
    /// Whether.
    pub operator: bool,
}

impl Command for SetOperator {
    type Reply = ();
    type Refusal = UserRefusal;
    const NAME: &'static str = "operator.set";

    fn latches(&self, scope: &Scope<'_>) -> LatchSet {
        alone_with(scope, self.user)
    }

    fn decide(
        &self,
        reads: &mut Reads<'_>,
        _fresh: &mut Fresh,
    ) -> Result<Decision<()>, DecideError<UserRefusal>> {
        let user = reads.stream::<User>(self.user)?.filter(|user| user.state.person.is_some());
        let Some(user) = user else {
            return Err(DecideError::Refused(UserRefusal::NotFound));
        };
        if !in_system(reads)? {
            return Err(DecideError::Refused(UserRefusal::NotFound));
        }
        let Some(operator) = Change::between(user.state.operator, self.operator) else {
            return Ok(Decision::Answer(()));
        };
        let mut draft = Draft::new();
        // Who is none any more is logged out everywhere.
        if !self.operator {
            announce_all(reads, &mut draft, self.user, &user.state)?;
        }
        let changed = UserEvent::OperatorChanged(UserOperatorChanged { operator });
        draft.append::<User>(self.user, user.version, changed);
        Ok(Decision::Propose(draft, ()))
    }
}
