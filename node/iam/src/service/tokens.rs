//! The token endpoint's store: codes, refresh tokens, revocation, validity.

use std::collections::BTreeSet;

use domicile_raft::Timestamp;

use super::Iam;
use super::route::with_reply;
use crate::commands::{
    InvalidGrant, RedeemCode, RevokeAccessToken, RevokeRefreshToken, RotateRefreshToken, TokenRefusal,
    TokenReply,
};
use crate::execute::{ExecuteError, RequestContext, Written};
use crate::ids::{FamilyId, TenantId, UserId};
use crate::model::{AccessTokenClaims, ClientView, Issue};
use crate::query::{Consistency, QueryError};

type Outcome<T> = Result<Written<T>, ExecuteError<TokenRefusal>>;

/// Whether a token counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenStatus {
    /// Nothing it stands on was revoked.
    Active,
    /// Revoked, expired, or something it stands on is.
    Inactive,
}

/// What introspection shows of a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshTokenView {
    /// Its family.
    pub family: FamilyId,
    /// The user.
    pub user: UserId,
    /// The client it was issued to.
    pub client: crate::ids::ClientId,
    /// Scopes at most.
    pub scopes: BTreeSet<String>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends unless used.
    pub expires_at: Timestamp,
}

impl Iam {
    /// Redeems a code, once. A second use revokes what the first gave (RFC 6749 §4.1.2). A wrong
    /// client, redirect URI or verifier does not use the code up.
    ///
    /// # Errors
    /// [`TokenRefusal`].
    pub async fn redeem_code(
        &self,
        ctx: &RequestContext,
        client: &ClientView,
        code: &str,
        redirect_uri: Option<&str>,
        verifier: Option<&str>,
    ) -> Outcome<Issue> {
        let command = RedeemCode {
            client: client.id,
            code: code.to_owned(),
            redirect_uri: redirect_uri.map(str::to_owned),
            verifier: verifier.map(str::to_owned),
            proof: None,
            resources: BTreeSet::new(),
        };
        self.redeem(ctx, &command).await
    }

    /// As [`Iam::redeem_code`], with all that a request may say.
    ///
    /// # Errors
    /// [`TokenRefusal`].
    pub async fn redeem(&self, ctx: &RequestContext, command: &RedeemCode) -> Outcome<Issue> {
        issued(&self.run(ctx, command).await?)
    }

    /// Exchanges a refresh token for its successor. The same token gives the same successor within
    /// the tenant's grace; after it the family is revoked (RFC 9700 §4.14.2).
    ///
    /// # Errors
    /// [`TokenRefusal`].
    pub async fn rotate_refresh_token(
        &self,
        ctx: &RequestContext,
        client: &ClientView,
        token: &str,
        scopes: Option<BTreeSet<String>>,
    ) -> Outcome<Issue> {
        let command = RotateRefreshToken {
            client: client.id,
            token: token.to_owned(),
            scopes,
            proof: None,
            resources: BTreeSet::new(),
        };
        self.rotate(ctx, &command).await
    }

    /// As [`Iam::rotate_refresh_token`], with all that a request may say.
    ///
    /// # Errors
    /// [`TokenRefusal`].
    pub async fn rotate(&self, ctx: &RequestContext, command: &RotateRefreshToken) -> Outcome<Issue> {
        issued(&self.run(ctx, command).await?)
    }

    /// Revokes the family of a refresh token. Unknown and foreign tokens change nothing (RFC 7009 §2.2).
    ///
    /// # Errors
    /// Storage only.
    pub async fn revoke_refresh_token(
        &self,
        ctx: &RequestContext,
        client: &ClientView,
        token: &str,
    ) -> Outcome<()> {
        self.run(ctx, &RevokeRefreshToken { client: client.id, token: token.to_owned() }).await
    }

    /// Revokes one access token until it ends. The caller verified its signature and client.
    ///
    /// # Errors
    /// Storage only.
    pub async fn revoke_access_token(&self, ctx: &RequestContext, token: &AccessTokenClaims) -> Outcome<()> {
        self.run(ctx, &RevokeAccessToken { token: token.clone() }).await
    }

    /// Revokes by what the text looks like: a refresh token's family. Access tokens are recognised by
    /// the caller, who can verify them; see [`Iam::revoke_access_token`].
    ///
    /// # Errors
    /// Storage only.
    pub async fn revoke(&self, ctx: &RequestContext, client: &ClientView, token: &str) -> Outcome<()> {
        self.revoke_refresh_token(ctx, client, token).await
    }

    /// Whether an access token whose signature and expiry the caller verified still counts: its own
    /// record and the `not_before` of user, client, session, grant and family.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn check_access_token(
        &self,
        tenant: TenantId,
        token: &AccessTokenClaims,
        consistency: &Consistency,
    ) -> Result<TokenStatus, QueryError> {
        self.view(tenant, consistency).await?.access_token(token)
    }

    /// A current refresh token of `client`, for introspection; `None` if it is not authentic, not
    /// current, or anything it stands on was revoked.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn inspect_refresh_token(
        &self,
        tenant: TenantId,
        token: &str,
        consistency: &Consistency,
    ) -> Result<Option<RefreshTokenView>, QueryError> {
        self.view(tenant, consistency).await?.refresh_token(token)
    }
}

/// A revocation for reuse was written; to the client it is a refusal.
fn issued(written: &Written<TokenReply>) -> Outcome<Issue> {
    match &written.reply {
        TokenReply::Issued(issue) => Ok(with_reply(written, Issue::clone(issue))),
        TokenReply::ReuseRevoked => Err(ExecuteError::Refused(InvalidGrant::Reused.into())),
    }
}
