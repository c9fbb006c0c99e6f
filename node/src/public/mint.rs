//! What a client's access tokens are made with, and how tokens of ours are read, whatever they look like.

use std::collections::BTreeSet;
use std::sync::Arc;

use domicile_iam::keys::SigningKey;
use domicile_iam::model::{
    AccessTokenClaims, AccessTokenFormat, ClientMetadata, ClientView, SigningAlgorithm, TenantContext,
    TokenSource,
};
use domicile_iam::query::Consistency;
use domicile_oidc::access_token::Authentic;
use domicile_oidc::jws::{self, SignFault, TokenFault, TokenType};
use domicile_oidc::opaque::{self, Mint, OpaqueTokens, SALT_BYTES};
use domicile_oidc::{access_token, pairwise, scope};

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
    /// As one that tells our ids to us alone.
    Hiding {
        /// What signs.
        key: Arc<SigningKey>,
        /// What hides.
        seal: Seal,
    },
    /// As one that says nothing.
    Sealed(Seal),
}

/// What seals one token, or members of one.
#[derive(Clone)]
struct Seal {
    /// The tenant's.
    tokens: Arc<OpaqueTokens>,
    /// Of this token.
    salt: [u8; SALT_BYTES],
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
            Form::Signed(key) | Form::Hiding { key, .. } => vec![key],
            Form::Sealed(_) => Vec::new(),
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
            Form::Hiding { key, seal: Seal { tokens, salt } } => {
                jws::sign(&**key, TokenType::AccessToken, &tokens.seal_members(claims, *salt)?)
            }
            Form::Sealed(Seal { tokens, salt }) => tokens.seal(claims, *salt),
        }
    }
}

/// Why a token was not read.
enum Unread {
    /// It is none of ours.
    Refused(TokenFault),
    /// We cannot tell.
    Fault(Fault),
}

impl From<Fault> for Unread {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
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
        self.exchange_mint(tenant, client, resources, &[]).await
    }

    /// The same for a token that stands on others.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn exchange_mint(
        &self,
        tenant: &Arc<TenantContext>,
        client: &ClientView,
        resources: &BTreeSet<String>,
        sources: &[TokenSource],
    ) -> Result<Arc<AccessMint>, Fault> {
        let Wanted { opaque, known } = self.wanted_at(tenant, resources)?;
        let form = match client.metadata.access_token_format() {
            AccessTokenFormat::Jwt if !opaque => {
                let algorithm = client.metadata.access_token_signed_response_alg;
                let hides = self.hides(tenant, Some(client), sources).await?;
                self.signed_form(tenant, algorithm, hides).await?
            }
            AccessTokenFormat::Jwt | AccessTokenFormat::Opaque => Form::Sealed(self.seal(tenant)?),
        };
        Ok(Arc::new(AccessMint { form, known }))
    }

    /// What makes the `at+jwt` behind a token, as its client's tokens are made where they are not opaque.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn jwt_mint(
        &self,
        tenant: &Arc<TenantContext>,
        claims: &AccessTokenClaims,
    ) -> Result<Arc<AccessMint>, Fault> {
        let client = self.iam.client(tenant.id, &claims.client_id).await?;
        let hides = self.hides(tenant, client.as_deref(), &claims.sources).await?;
        let algorithm = client.map(|client| client.metadata.access_token_signed_response_alg);
        let form = self.signed_form(tenant, algorithm.unwrap_or_default(), hides).await?;
        Ok(Arc::new(AccessMint { form, known: None }))
    }

    /// Whether a token of `client` that stands on `sources` keeps our ids to itself: one of their clients is to know
    /// users by pairwise subjects, or is gone and may have been to.
    async fn hides(
        &self,
        tenant: &TenantContext,
        client: Option<&ClientView>,
        sources: &[TokenSource],
    ) -> Result<bool, Fault> {
        if client.is_none_or(|client| pairwise::is_pairwise(&client.metadata)) {
            return Ok(true);
        }
        for source in sources {
            let client = self.iam.client_by_id(tenant.id, source.client, &Consistency::Local).await?;
            if client.is_none_or(|client| pairwise::is_pairwise(&client.metadata)) {
                return Ok(true);
            }
        }
        Ok(false)
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
        let is_signed = matches!(mint.form, Form::Signed(_) | Form::Hiding { .. });
        let form = if is_signed && opaque { Form::Sealed(self.seal(tenant)?) } else { mint.form.clone() };
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

    async fn signed_form(
        &self,
        tenant: &Arc<TenantContext>,
        algorithm: SigningAlgorithm,
        hides: bool,
    ) -> Result<Form, Fault> {
        let key = self.signing_key(tenant, algorithm).await?;
        Ok(if hides { Form::Hiding { key, seal: self.seal(tenant)? } } else { Form::Signed(key) })
    }

    fn seal(&self, tenant: &Arc<TenantContext>) -> Result<Seal, Fault> {
        let mut salt = [0; SALT_BYTES];
        self.clock.fill_random(&mut salt);
        Ok(Seal { tokens: self.opaque_tokens(tenant)?, salt })
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
    ) -> Result<Result<Arc<AccessTokenClaims>, TokenFault>, Fault> {
        let read = || self.read_access_token(tenant, keys, token);
        let claims = match self.iam.token_claims(tenant.id, token, &keys.jwks, read) {
            Ok(claims) => claims,
            Err(Unread::Refused(fault)) => return Ok(Err(fault)),
            Err(Unread::Fault(fault)) => return Err(fault),
        };
        let counts = access_token::of_issuer(&claims, &tenant.issuer, self.clock.now());
        Ok(counts.map(|()| claims))
    }

    /// What an authentic token of ours says, though it may be over.
    fn read_access_token(
        &self,
        tenant: &Arc<TenantContext>,
        keys: &PublicKeys,
        token: &str,
    ) -> Result<AccessTokenClaims, Unread> {
        if opaque::is_opaque(token) {
            return self.opaque_tokens(tenant)?.open(token).ok_or(Unread::Refused(TokenFault::Malformed));
        }
        match access_token::authentic(token, &keys.set).map_err(Unread::Refused)? {
            Authentic::Clear(claims) => Ok(*claims),
            Authentic::Sealed(members) => {
                self.opaque_tokens(tenant)?.open_members(members).ok_or(Unread::Refused(TokenFault::Sealed))
            }
        }
    }
}
