//! What a page must remember while a person looks at it: in its form, sealed for this browser.

use aws_lc_rs::hmac;
use axum::body::Body;
use domicile_iam::ids::SessionId;
use domicile_oidc::Form;
use domicile_oidc::authorize::AuthorizationRequest;
use domicile_oidc::flow::Progress;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::body;
use super::error::{Fault, PageError};
use super::visit::Visit;
use crate::cookie::{
    CsrfRefusal, FormTokens, InteractionSealer, OpenError, Scope, SealError, check_same_origin,
};

/// How long a page may stay open.
const LIFETIME_MS: u64 = 30 * 60 * 1_000;
/// Bytes of the hidden field at most: with the other fields it must fit into a form that we read.
const SEALED_MAX: usize = 24 << 10;
/// The hidden field (and the consent page's query parameter) that holds the sealed interaction.
const FIELD: &str = "interaction";
/// The hidden field that holds the form token.
const TOKEN_FIELD: &str = "csrf";

/// Which page made it. Another page's form does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The login page.
    Login,
    /// The consent page.
    Consent,
    /// The logout page.
    Logout,
    /// The page for invited operators.
    Enrol,
    /// The page for codes of devices.
    Device,
    /// The page that says what came of one.
    DeviceDone,
    /// The page on which an account is made.
    Register,
    /// The account page.
    Account,
    /// The login page on the way to it.
    AccountLogin,
    /// The page that asks for a second factor on the way to it.
    AccountVerify,
    /// The page where people see to their second factor.
    AccountSecondFactor,
    /// The page on which people change their password.
    AccountPassword,
    /// The page of a user's own clients.
    OwnClients,
    /// The page of one of them.
    OwnClient,
    /// The page that asks for a second factor.
    SecondFactor,
    /// The page where one is set up.
    SecondFactorSetUp,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Consent => "consent",
            Self::Logout => "logout",
            Self::Enrol => "enrol",
            Self::Device => "device",
            Self::DeviceDone => "device done",
            Self::Register => "register",
            Self::Account => "account",
            Self::AccountLogin => "account login",
            Self::AccountVerify => "account verify",
            Self::AccountSecondFactor => "account second factor",
            Self::AccountPassword => "account password",
            Self::OwnClients => "own clients",
            Self::OwnClient => "own client",
            Self::SecondFactor => "second factor",
            Self::SecondFactorSetUp => "second factor set up",
        }
    }
}

/// An authorization request that waits for its user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interaction {
    /// What the client asked.
    pub request: AuthorizationRequest,
    /// What happened on our pages so far.
    pub progress: Progress,
    /// The session that was present when the page was made. What its form says counts for that one.
    pub session: Option<SessionId>,
}

/// A tenant's keys for browser state.
pub struct Seals {
    interactions: InteractionSealer,
    tokens: FormTokens,
    names: hmac::Key,
}

impl Seals {
    /// `secret` is the tenant's for browser state.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn new(secret: &[u8; 32]) -> Result<Self, SealError> {
        Ok(Self {
            interactions: InteractionSealer::new(secret)?,
            tokens: FormTokens::new(secret)?,
            names: hmac::Key::new(hmac::HMAC_SHA256, secret),
        })
    }

    /// What stands for a login name in the table of rate limits. Close variants of a name count as one.
    pub fn blind_name(&self, login: &str) -> [u8; 32] {
        let mut blind = [0_u8; 32];
        let tag = hmac::sign(&self.names, format!("login name: {}", login.trim().to_lowercase()).as_bytes());
        blind.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        blind
    }
}

/// The hidden fields of a form.
pub struct Hidden {
    /// The sealed interaction.
    pub interaction: String,
    /// The form token.
    pub csrf: String,
}

impl Visit {
    fn seal_scope(&self, purpose: Purpose) -> Scope<'_> {
        Scope { tenant: self.tenant.id, purpose: purpose.name(), browser: self.browser.value() }
    }

    /// Seals what a page must remember; `None` if it is too much for a form.
    ///
    /// # Errors
    /// [`Fault::Internal`].
    pub fn seal<T: Serialize>(&self, purpose: Purpose, value: &T) -> Result<Option<Hidden>, Fault> {
        let scope = self.seal_scope(purpose);
        let sealed = self.seals.interactions.seal(self.state.clock.as_ref(), &scope, LIFETIME_MS, value);
        let interaction = sealed.map_err(|error| {
            tracing::error!(%error, "an interaction could not be sealed");
            Fault::Internal
        })?;
        let csrf = self.seals.tokens.token(&scope);
        Ok((interaction.len() <= SEALED_MAX).then_some(Hidden { interaction, csrf }))
    }

    /// The hidden fields for an interaction that is sealed already.
    pub fn hidden(&self, purpose: Purpose, interaction: String) -> Hidden {
        Hidden { interaction, csrf: self.seals.tokens.token(&self.seal_scope(purpose)) }
    }

    /// What a page remembered, from its form or query.
    ///
    /// # Errors
    /// [`PageError::Interaction`].
    pub fn open<T: DeserializeOwned>(&self, purpose: Purpose, form: &Form) -> Result<T, PageError> {
        let sealed = form.get(FIELD).ok().flatten().ok_or(OpenError::Foreign)?;
        Ok(self.seals.interactions.open(self.now, &self.seal_scope(purpose), sealed)?)
    }

    /// A form that one of our pages sent, once its token and its sender are checked.
    ///
    /// # Errors
    /// [`PageError::Body`], [`PageError::Csrf`], [`PageError::Interaction`].
    pub async fn submitted<T: DeserializeOwned>(
        &self,
        purpose: Purpose,
        body: Body,
    ) -> Result<(Form, T), PageError> {
        check_same_origin(&self.headers, &self.own_origin())?;
        let form = body::form(&self.headers, body).await?;
        let token = form.get(TOKEN_FIELD).ok().flatten().ok_or(CsrfRefusal::Token)?;
        self.seals.tokens.check(&self.seal_scope(purpose), token)?;
        let value = self.open(purpose, &form)?;
        Ok((form, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_of_a_login_name_share_a_limit_and_other_tenants_do_not() {
        let seals = Seals::new(&[1; 32]).unwrap();
        assert_eq!(seals.blind_name("Ada"), seals.blind_name(" ada "));
        assert_ne!(seals.blind_name("ada"), seals.blind_name("bea"));
        assert_ne!(seals.blind_name("ada"), Seals::new(&[2; 32]).unwrap().blind_name("ada"));
    }
}
