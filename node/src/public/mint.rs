//! What a client's access tokens are made with, and how tokens of ours are read, whatever they look like.

use std::collections::BTreeSet;
use std::sync::Arc;

use domicile_iam::keys::SigningKey;
use domicile_iam::model::{AccessTokenClaims, AccessTokenFormat, ClientMetadata, ClientView, TenantContext};
use domicile_oidc::jws::{SignFault, TokenFault};
use domicile_oidc::opaque::{self, Mint, OpaqueTokens, SALT_BYTES};
use domicile_oidc::{access_token, scope};

use super::error::Fault;
use super::state::{PublicKeys, Shared};

/// Makes one access token.
pub struct AccessMint {
    form: Form,
    /// The scopes that mean something where it is for; `None`: any.
    known: Option<BTreeSet<String>>,
}

/// What the token looks like.
#[derive(Clone)]
enum Form {
    /// As an `at+jwt`.
    Signed(Arc<SigningKey>),
    /// As one that says nothing.
    Sealed {
        /// The tenant's.
        tokens: Arc<OpaqueTokens>,
        /// Of this token.
        salt: [u8; SALT_BYTES],
    },
}

/// What the resource servers that a token is for ask of it.
struct Wanted {
    opaque: bool,
    known: Option<BTreeSet<String>>,
}

impl AccessMint {
    /// The keys that it signs with, for [`super::sign::SigningPool::run`].
    pub fn keys(&self) -> Vec<&SigningKey> {
        match &self.form {
            Form::Signed(key) => vec![key],
            Form::Sealed { .. } => Vec::new(),
        }
    }
}

impl Mint for AccessMint {
    fn narrowed(&self, claims: AccessTokenClaims) -> AccessTokenClaims {
        match &self.known {
            Some(known) => access_token::with_known_scopes(claims, known),
            None => claims,
        }
    }

    fn mint(&self, claims: &AccessTokenClaims) -> Result<String, SignFault> {
        match &self.form {
            Form::Signed(key) => key.mint(claims),
            Form::Sealed { tokens, salt } => tokens.seal(claims, *salt),
        }
    }
}

impl Shared {
    /// What makes an access token for `client` at `resources`: an opaque one where the client or one of the resource
    /// servers asks for that, with the scopes that mean something there.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn access_mint(
        &self,
        tenant: &Arc<TenantContext>,
        client: &ClientView,
        resources: &BTreeSet<String>,
    ) -> Result<Arc<AccessMint>, Fault> {
        let Wanted { opaque, known } = self.wanted_at(tenant, resources)?;
        let form = match client.metadata.access_token_format() {
            AccessTokenFormat::Jwt if !opaque => {
                let algorithm = client.metadata.access_token_signed_response_alg;
                Form::Signed(self.signing_key(tenant, algorithm).await?)
            }
            AccessTokenFormat::Jwt | AccessTokenFormat::Opaque => self.sealed_form(tenant)?,
        };
        Ok(Arc::new(AccessMint { form, known }))
    }

    /// `mint` of a client, for a token of which it is only now known that it is for `resources`: needs no key that was
    /// not there before.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn access_mint_at(
        &self,
        tenant: &Arc<TenantContext>,
        mint: Arc<AccessMint>,
        resources: &BTreeSet<String>,
    ) -> Result<Arc<AccessMint>, Fault> {
        if resources.is_empty() {
            return Ok(mint);
        }
        let Wanted { opaque, known } = self.wanted_at(tenant, resources)?;
        let is_signed = matches!(mint.form, Form::Signed(_));
        let form = if is_signed && opaque { self.sealed_form(tenant)? } else { mint.form.clone() };
        Ok(Arc::new(AccessMint { form, known }))
    }

    /// The issuer alone, also where nothing is named, wants nothing.
    fn wanted_at(&self, tenant: &TenantContext, resources: &BTreeSet<String>) -> Result<Wanted, Fault> {
        let (mut opaque, mut listed) = (false, Vec::new());
        for resource in resources.iter().filter(|resource| **resource != tenant.issuer) {
            let server = self.iam.registered_resource_server(tenant.id, resource)?;
            let metadata = server.as_ref().map(|server| &server.metadata);
            opaque |= metadata.is_some_and(|found| found.access_token_format() == AccessTokenFormat::Opaque);
            listed.push(metadata.and_then(ClientMetadata::resource_scopes));
        }
        if listed.is_empty() {
            return Ok(Wanted { opaque, known: None });
        }
        Ok(Wanted { opaque, known: scope::known(listed, resources.contains(&tenant.issuer)) })
    }

    fn sealed_form(&self, tenant: &Arc<TenantContext>) -> Result<Form, Fault> {
        let mut salt = [0; SALT_BYTES];
        self.clock.fill_random(&mut salt);
        Ok(Form::Sealed { tokens: self.opaque_tokens(tenant)?, salt })
    }

    /// Reads a token of ours that has not expired. Whether it was revoked, `iam` knows.
    ///
    /// # Errors
    /// The inner [`TokenFault`]; [`Fault`].
    pub fn open_access_token(
        &self,
        tenant: &Arc<TenantContext>,
        keys: &PublicKeys,
        token: &str,
    ) -> Result<Result<AccessTokenClaims, TokenFault>, Fault> {
        let now = self.clock.now();
        if !opaque::is_opaque(token) {
            return Ok(access_token::open(token, &tenant.issuer, &keys.set, now));
        }
        let claims = self.opaque_tokens(tenant)?.open(token).ok_or(TokenFault::Malformed);
        Ok(claims.and_then(|claims| access_token::of_issuer(claims, &tenant.issuer, now)))
    }
}
