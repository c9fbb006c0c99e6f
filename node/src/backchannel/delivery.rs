//! One try to tell one client.

use domicile_iam::commands::LogoutNotice;
use domicile_iam::ids::TenantId;
use domicile_iam::query::Consistency;
use domicile_iam::service::PendingLogout;
use domicile_oidc::logout_token::{self, LogoutToken};
use url::Url;

use crate::egress::{EgressError, Errand, Fetch, Purpose};
use crate::public::PublicState;

/// What a try came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The client took it.
    Told,
    /// The client is gone or disabled, or is not interested any more.
    NotWanted,
    /// What is registered can never be called.
    Address,
    /// The client refused, or was not reached: again later.
    Failed,
    /// Nothing was sent, for a reason of ours: again later, and not counted.
    Postponed,
}

impl Outcome {
    /// For metrics.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Told => "told",
            Self::NotWanted => "not_wanted",
            Self::Address => "address",
            Self::Failed => "failed",
            Self::Postponed => "postponed",
        }
    }
}

/// Tries. The token is signed now: it counts for two minutes from here.
pub(super) async fn deliver(state: &PublicState, fetch: &dyn Fetch, pending: &PendingLogout) -> Outcome {
    let (url, form) = match prepare(state, pending.tenant, &pending.notice).await {
        Ok(prepared) => prepared,
        Err(outcome) => return outcome,
    };
    match fetch.post(Errand::new(pending.tenant, Purpose::Logout), &url, form).await {
        Ok(()) => Outcome::Told,
        Err(EgressError::Url) => Outcome::Address,
        Err(EgressError::Busy) => Outcome::Postponed,
        Err(cause) => {
            let (tenant, client) = (pending.tenant, pending.notice.client);
            tracing::info!(%tenant, %client, %cause, "a client was not told of a logout; tried again later");
            Outcome::Failed
        }
    }
}

/// Where to send what.
async fn prepare(
    state: &PublicState,
    tenant: TenantId,
    notice: &LogoutNotice,
) -> Result<(Url, String), Outcome> {
    let postponed = |_| Outcome::Postponed;
    let tenant = state.iam.tenant(tenant).await.map_err(postponed)?.ok_or(Outcome::NotWanted)?;
    if tenant.disabled {
        // Its key set is not served, so that nobody could verify a token.
        return Err(Outcome::Postponed);
    }
    let client = state.iam.client_by_id(tenant.id, notice.client, &Consistency::Local).await;
    let client = client.map_err(postponed)?.filter(|client| !client.disabled).ok_or(Outcome::NotWanted)?;
    let uri = client.metadata.backchannel_logout_uri.as_deref().ok_or(Outcome::NotWanted)?;
    let url = Url::parse(uri).map_err(|_| Outcome::Address)?;
    let user = state.iam.get_user(tenant.id, notice.user, &Consistency::Local).await.map_err(postponed)?;
    let subject = match &user {
        Some(user) => Some(state.subject(&tenant, &client, user).map_err(|_| Outcome::Postponed)?),
        // Erased: `sid` alone says which login is over.
        None => None,
    };
    let algorithm = client.metadata.id_token_signed_response_alg;
    let key = state.signing_key(&tenant, algorithm).await.map_err(|_| Outcome::Postponed)?;
    let claims = LogoutToken {
        issuer: &tenant.issuer,
        client_id: &client.client_id,
        subject: subject.as_deref(),
        sid: &notice.sid,
        id: state.token_id(),
        now: state.iam.now(tenant.id).map_err(postponed)?,
    }
    .claims();
    let own = key.clone();
    let token = state.signing.run(&[key.as_ref()], move || logout_token::sign(&claims, own.as_ref())).await;
    Ok((url, logout_token::form(&token.map_err(|_| Outcome::Postponed)?)))
}
