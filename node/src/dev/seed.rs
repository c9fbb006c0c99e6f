//! The demo tenant, user and client. Every step looks first, so that a start after a crash in the
//! middle goes on where the last one stopped.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use domicile_iam::commands::{
    ClientRefusal, CreateTenant, CreateUser, PlainPassword, TenantRefusal, UserRefusal,
};
use domicile_iam::execute::{Actor, ExecuteError, RequestContext};
use domicile_iam::ids::{Id as _, RequestId, TenantId};
use domicile_iam::model::{
    ClientMetadata, ListedTenant, PageRequest, ProfileClaims, SigningAlgorithm, TenantContext, TenantSettings,
};
use domicile_iam::proposal::{ActorKind, ActorRef};
use domicile_iam::query::{Consistency, QueryError};
use domicile_iam::service::Iam;
use domicile_raft::Clock;
use serde_json::json;

use super::credentials::{Credentials, CredentialsError};

/// Where the demo client's codes go.
pub(super) const REDIRECT_URIS: [&str; 2] = ["http://127.0.0.1:9999/cb", "http://localhost:3000/callback"];

const DEADLINE: Duration = Duration::from_secs(30);

/// The demo data cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// Something could not be read.
    #[error("cannot read the demo data")]
    Query(#[from] QueryError),
    /// The tenant.
    #[error("cannot make the demo tenant")]
    Tenant(#[from] ExecuteError<TenantRefusal>),
    /// The user.
    #[error("cannot make the demo user")]
    User(#[from] ExecuteError<UserRefusal>),
    /// The client.
    #[error("cannot make the demo client")]
    Client(#[from] ExecuteError<ClientRefusal>),
    /// The metadata above does not fit the model.
    #[error("the demo client's metadata is malformed")]
    Metadata(#[from] serde_json::Error),
    /// The credentials file.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// It was there a moment ago.
    #[error("the demo {0} is gone")]
    Gone(&'static str),
}

/// Seeds through the domain like any caller.
pub(super) struct Seeder<'a> {
    pub(super) iam: &'a Iam,
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) data_dir: &'a Path,
    /// Scheme, host and port, without a slash at the end.
    pub(super) public_url: &'a str,
}

impl Seeder<'_> {
    /// Makes what is missing, re-points issuers to where this node listens now, and waits until every
    /// signing algorithm has its key. Completes `credentials`.
    pub(super) async fn run(&self, credentials: &mut Credentials) -> Result<Arc<TenantContext>, SeedError> {
        self.repoint_issuers().await?;
        let tenant = self.tenant(&credentials.tenant).await?;
        self.user(tenant.id, credentials).await?;
        self.client(tenant.id, credentials).await?;
        while self.iam.signing_key(tenant.id, SigningAlgorithm::RS256).await?.is_none() {
            self.iam.drive_keys(tenant.id).await?;
        }
        Ok(tenant)
    }

    fn issuer(&self, slug: &str) -> String {
        format!("{}/t/{slug}", self.public_url)
    }

    /// Tenants made with the issuer of an earlier address.
    async fn repoint_issuers(&self) -> Result<(), SeedError> {
        let mut page = PageRequest::default();
        loop {
            let found = self.iam.list_tenants(&page, &Consistency::Linearizable).await?;
            for listed in found.items {
                let ListedTenant::Shown(tenant) = listed else {
                    return Err(QueryError::Unavailable { retry_after_s: 1 }.into());
                };
                let wanted = self.issuer(&tenant.slug);
                if tenant.issuer != wanted {
                    self.iam.repoint_issuer(&self.context(tenant.id), wanted).await?;
                }
            }
            let Some(next) = found.next_page_token else { return Ok(()) };
            page.page_token = Some(next);
        }
    }

    async fn tenant(&self, slug: &str) -> Result<Arc<TenantContext>, SeedError> {
        if let Some(tenant) = self.iam.tenant_by_slug(slug).await? {
            return Ok(tenant);
        }
        let new = CreateTenant {
            slug: slug.to_owned(),
            display_name: "Demo".to_owned(),
            issuer: self.issuer(slug),
            settings: TenantSettings::default(),
            placement: None,
        };
        let made = self.iam.create_tenant(&self.context(TenantId::from_bytes([0; 16])), new).await?;
        self.iam.tenant(made.reply.id).await?.ok_or(SeedError::Gone("tenant"))
    }

    async fn user(&self, tenant: TenantId, credentials: &Credentials) -> Result<(), SeedError> {
        if self.iam.find_user(tenant, &credentials.username, &Consistency::Linearizable).await?.is_some() {
            return Ok(());
        }
        let claims = [("name", "Demo User"), ("given_name", "Demo"), ("family_name", "User")];
        let claims: ProfileClaims = claims.map(|(name, value)| (name.to_owned(), value.into())).into();
        let new = CreateUser {
            username: credentials.username.clone(),
            email: Some(format!("{}@example.org", credentials.username)),
            email_verified: true,
            password: Some(PlainPassword::new(credentials.password.as_str())),
            claims,
            ..CreateUser::default()
        };
        self.iam.create_user(&self.context(tenant), new).await?;
        Ok(())
    }

    /// A client without the secret that belongs to it gets a new one.
    async fn client(&self, tenant: TenantId, credentials: &mut Credentials) -> Result<(), SeedError> {
        let secret = match self.iam.client(tenant, &credentials.client_id).await? {
            None => {
                let (context, id) = (self.context(tenant), credentials.client_id.clone());
                let made = self.iam.register_client(&context, demo_client()?, Some(id)).await?;
                made.reply.1.ok_or(SeedError::Gone("client's secret"))?
            }
            Some(client) => {
                let known = credentials.client_secret.as_deref();
                if known.is_some_and(|secret| self.iam.verify_client_secret(&client, secret)) {
                    return Ok(());
                }
                self.iam.rotate_client_secret(&self.context(tenant), client.id, 0, None).await?.reply.1
            }
        };
        credentials.client_secret = Some(secret);
        Ok(credentials.store(self.data_dir)?)
    }

    fn context(&self, tenant: TenantId) -> RequestContext {
        let mut random = [0_u8; 10];
        self.clock.fill_random(&mut random);
        RequestContext {
            tenant,
            actor: Actor {
                who: ActorRef { kind: ActorKind::System, id: String::new() },
                key: None,
                name: None,
            },
            request_id: RequestId::new(self.clock.now(), random),
            idempotency: None,
            deadline: DEADLINE,
            address: None,
            agent: None,
        }
    }
}

fn demo_client() -> Result<ClientMetadata, serde_json::Error> {
    serde_json::from_value(json!({
        "client_name": "Demo application",
        "redirect_uris": REDIRECT_URIS,
        "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
        "token_endpoint_auth_method": "client_secret_basic",
        "require_pkce": false,
    }))
}

#[cfg(test)]
mod tests {
    use domicile_iam::model::{AuthMethod, GrantType};

    use super::*;

    #[test]
    fn the_demo_client_is_what_other_programs_rely_on() {
        let client = demo_client().unwrap();
        assert_eq!(client.redirect_uris, REDIRECT_URIS);
        assert_eq!(client.token_endpoint_auth_method, AuthMethod::ClientSecretBasic);
        assert!(!client.require_pkce);
        let grants = [GrantType::AuthorizationCode, GrantType::RefreshToken, GrantType::ClientCredentials];
        assert_eq!(client.grant_types, grants);
    }
}
