//! The first operator: the tenant of operators, and one invitation to it.

use std::time::Duration;

use domicile_iam::ids::{Id as _, TenantId};
use domicile_iam::service::Iam;
use domicile_raft::Clock;

use super::directory::system_context;

const DEADLINE: Duration = Duration::from_secs(30);
/// How long the invitation lasts.
const MINUTES: u64 = 15;

/// What `init` prints for the first operator.
pub(crate) struct Enrolment {
    /// The page that asks for the code.
    pub(crate) url: String,
    /// Good once, within [`Enrolment::minutes`].
    pub(crate) code: String,
    pub(crate) minutes: u64,
}

/// Makes the tenant of operators and the command line's client if they are not there, and an invitation.
pub(crate) async fn make(iam: &Iam, public_origin: &str, clock: &dyn Clock) -> anyhow::Result<Enrolment> {
    let context = system_context(clock, TenantId::from_bytes([0; 16]), DEADLINE);
    let issuer = format!("{public_origin}/t/system");
    let tenant = iam.ensure_system_tenant(&context, issuer.clone(), None).await?;
    let context = system_context(clock, tenant, DEADLINE);
    iam.ensure_cli_client(&context).await?;
    let invitation = iam.invite_operator(&context).await?.reply;
    Ok(Enrolment { url: format!("{issuer}/enrol"), code: invitation.secret, minutes: MINUTES })
}
