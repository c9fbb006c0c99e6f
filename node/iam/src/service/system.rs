//! The tenant `system`: operators, their invitations, and the clients that act for them.

use domicile_raft::Timestamp;
use domicile_raft::placement::Placement;

use super::Iam;
use super::route::{home_failed, with_reply};
use crate::commands::{
    ClientRefusal, CreateEnrolment, CreateTenant, CreateUser, CreateUserCommand, EnrolmentRefusal,
    RedeemEnrolment, SYSTEM_SLUG, SetOperator, TenantRefusal, UserRefusal, base64url, sha256,
};
use crate::execute::{ExecuteError, RequestContext, Written};
use crate::ids::{TenantId, UserId};
use crate::model::{
    ADMIN_SCOPE, ApplicationType, AuthMethod, CLI_CLIENT_ID, ClientMetadata, GrantType, SigningAlgorithm,
    TenantSettings,
};
use crate::proposal::RecordKind;
use crate::query::{Consistency, QueryError};
use crate::streams::user::User;

/// An invitation of an operator.
#[derive(Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// 256 random bits, base64url; only its SHA-256 is stored.
    pub secret: String,
    /// Until when it can be taken.
    pub expires_at: Timestamp,
}

impl Iam {
    /// The tenant of operators, made if it is not there. Its issuer stays as it was made.
    ///
    /// # Errors
    /// As [`Iam::create_tenant`].
    pub async fn ensure_system_tenant(
        &self,
        ctx: &RequestContext,
        issuer: String,
        placement: Option<Placement>,
    ) -> Result<TenantId, ExecuteError<TenantRefusal>> {
        let known = self.route(SYSTEM_SLUG).map_err(|error| ExecuteError::Fault(error.to_string()))?;
        if let Some(route) = known {
            return Ok(route.tenant);
        }
        let new = CreateTenant {
            slug: SYSTEM_SLUG.to_owned(),
            display_name: "Operators".to_owned(),
            issuer,
            settings: TenantSettings::default(),
            placement,
        };
        Ok(self.create_any_tenant(ctx, new).await?.reply.id)
    }

    /// The command line's client in the tenant `system`, which `ctx` names, made if it is not there: public,
    /// native, with PKCE, at any port of the loopback address (RFC 8252 §7.3), or as a device (RFC 8628). One that is
    /// there stays.
    ///
    /// # Errors
    /// [`ClientRefusal`].
    pub async fn ensure_cli_client(&self, ctx: &RequestContext) -> Result<(), ExecuteError<ClientRefusal>> {
        match self.register_client(ctx, cli_metadata(), Some(CLI_CLIENT_ID.to_owned())).await {
            Ok(_) | Err(ExecuteError::Refused(ClientRefusal::ClientIdTaken)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Invites one operator to the tenant `system`, which `ctx` names: once, for 15 minutes. The secret is
    /// not kept anywhere, so a repeated call gives another.
    ///
    /// # Errors
    /// [`EnrolmentRefusal::Unknown`] in another tenant.
    pub async fn invite_operator(
        &self,
        ctx: &RequestContext,
    ) -> Result<Written<Enrolment>, ExecuteError<EnrolmentRefusal>> {
        let mut random = zeroize::Zeroizing::new([0; 32]);
        self.inner.clock.fill_random(random.as_mut_slice());
        let secret = base64url(random.as_slice());
        let unkept = RequestContext { idempotency: None, ..ctx.clone() };
        let invite = CreateEnrolment { secret_sha256: sha256(secret.as_bytes()) };
        let written = self.run(&unkept, &invite).await?;
        let expires_at = written.reply;
        Ok(with_reply(&written, Enrolment { secret, expires_at }))
    }

    /// Takes an invitation: makes the operator. One of several calls with one secret succeeds; a refusal
    /// of the user's name or password does not use the invitation up.
    ///
    /// # Errors
    /// [`EnrolmentRefusal`].
    pub async fn enrol_operator(
        &self,
        ctx: &RequestContext,
        secret: &str,
        new: CreateUser,
    ) -> Result<Written<UserId>, ExecuteError<EnrolmentRefusal>> {
        // Hashing is dear, and anybody can ask: only for one who is invited.
        let secret_sha256 = sha256(secret.as_bytes());
        let invited =
            self.is_invited(ctx.tenant, secret_sha256).await.map_err(|error| home_failed(&error))?;
        if !invited {
            return Err(ExecuteError::Refused(EnrolmentRefusal::Unknown));
        }
        let missing = UserRefusal::Password(crate::commands::PasswordRule::TooShort { min: 1 });
        let password = new.password.clone().ok_or(ExecuteError::Refused(missing.into()))?;
        let password = Some(self.hash_new::<EnrolmentRefusal>(ctx.tenant, &password).await?);
        let user = CreateUserCommand { new, password };
        self.run(ctx, &RedeemEnrolment { secret_sha256, user }).await
    }

    async fn is_invited(&self, tenant: TenantId, secret_sha256: [u8; 32]) -> Result<bool, QueryError> {
        let view = self.view(tenant, &Consistency::Linearizable).await?;
        let invitation = view.record::<serde::de::IgnoredAny>(RecordKind::Enrolment, secret_sha256)?;
        Ok(invitation.is_some())
    }

    /// Makes a user of `system` an operator, or ends that.
    ///
    /// # Errors
    /// [`UserRefusal::NotFound`].
    pub async fn set_operator(
        &self,
        ctx: &RequestContext,
        user: UserId,
        operator: bool,
    ) -> Result<Written<()>, ExecuteError<UserRefusal>> {
        self.run(ctx, &SetOperator { user, operator }).await
    }

    /// Whether a user is an operator. Local consistency.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn is_operator(&self, tenant: TenantId, user: UserId) -> Result<bool, QueryError> {
        let known = self.route(SYSTEM_SLUG)?.is_some_and(|route| route.tenant == tenant);
        let user = self.local_view(tenant)?.stream::<User>(user)?;
        Ok(known && user.is_some_and(|(_, user)| user.operator && user.is_usable()))
    }
}

fn cli_metadata() -> ClientMetadata {
    ClientMetadata {
        client_name: Some("Domicile command line".to_owned()),
        redirect_uris: vec!["http://127.0.0.1/callback".to_owned()],
        post_logout_redirect_uris: Vec::new(),
        response_types: vec!["code".to_owned()],
        grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken, GrantType::DeviceCode],
        token_endpoint_auth_method: AuthMethod::None,
        application_type: ApplicationType::Native,
        scope: Some(format!("openid {ADMIN_SCOPE}")),
        // Quick to make: an operator logs in as soon as the first node runs.
        id_token_signed_response_alg: SigningAlgorithm::ES256,
        access_token_signed_response_alg: SigningAlgorithm::ES256,
        require_pkce: true,
        default_max_age: None,
        require_auth_time: false,
        default_acr_values: Vec::new(),
        resource_identifiers: Vec::new(),
        require_pushed_authorization_requests: false,
        dpop_bound_access_tokens: false,
        userinfo_signed_response_alg: None,
        introspection_signed_response_alg: None,
        subject_type: None,
        backchannel_logout_uri: None,
        backchannel_logout_session_required: false,
        extra: std::collections::BTreeMap::new(),
    }
}
