//! Whether a token counts.

use std::sync::Arc;

use super::QueryError;
use super::view::View;
use crate::commands::{
    FamilySecret, RefreshToken, RevokedToken, Rotation, refresh_record_key, revoked_record_key,
};
use crate::model::{AccessTokenClaims, TenantSettings, TokenSource};
use crate::proposal::RecordKind;
use crate::service::{RefreshTokenView, TokenStatus};
use crate::streams::Aggregate;
use crate::streams::client::Client;
use crate::streams::family::{Family, Standing, stands};
use crate::streams::grant::Grant;
use crate::streams::session::{Session, is_live};
use crate::streams::tenant::Tenant;
use crate::streams::user::User;

impl View {
    /// Its own record and the `not_before` of all it names, and so of each token that it was exchanged for.
    pub(crate) fn access_token(&self, token: &AccessTokenClaims) -> Result<TokenStatus, QueryError> {
        if self.now.seconds() >= token.exp {
            return Ok(TokenStatus::Inactive);
        }
        let own = TokenSource {
            jti: token.jti,
            client: token.client,
            issued_at: token.issued_at,
            user: token.user,
            session: token.session,
            grant: token.grant,
            family: token.family,
        };
        for source in std::iter::once(&own).chain(&token.sources) {
            if !self.holds(source)? {
                return Ok(TokenStatus::Inactive);
            }
        }
        Ok(TokenStatus::Active)
    }

    fn holds(&self, token: &TokenSource) -> Result<bool, QueryError> {
        let revoked = self.record::<RevokedToken>(RecordKind::RevokedToken, revoked_record_key(token.jti))?;
        if revoked.is_some() {
            return Ok(false);
        }
        let client = self.stream::<Client>(token.client)?.map(|(_, state)| state);
        let user = self.named::<User>(token.user)?;
        let grant = self.named::<Grant>(token.grant)?;
        let family = self.named::<Family>(token.family)?;
        let (Some(client), Some(user), Some(grant), Some(family)) = (client, user, grant, family) else {
            return Ok(false);
        };
        let offline =
            family.as_ref().and_then(|family| family.origin.as_ref()).is_some_and(|origin| origin.offline);
        let standing = Standing {
            user: user.as_deref(),
            client: Some(&client),
            grant: grant.as_deref(),
            family: family.as_deref(),
        };
        let session_holds = match (token.session, &user) {
            (Some(session), Some(user)) if !offline => self.session_is_live(session, user)?,
            (Some(_), None) if !offline => false,
            (Some(_) | None, _) => true,
        };
        Ok(session_holds && stands(&standing, token.issued_at, self.now))
    }

    /// The state of what a token names; the outer `None`: it names something that is not there.
    #[allow(clippy::option_option, reason = "a part that is not named and one that is not there differ")]
    fn named<A: Aggregate>(&self, id: Option<A::Id>) -> Result<Option<Option<Arc<A>>>, QueryError> {
        match id {
            None => Ok(Some(None)),
            Some(id) => Ok(self.stream::<A>(id)?.map(|(_, state)| Some(state))),
        }
    }

    /// The current token of a family that counts.
    pub(crate) fn refresh_token(&self, text: &str) -> Result<Option<RefreshTokenView>, QueryError> {
        let Some(token) = RefreshToken::parse(text) else { return Ok(None) };
        let id = token.family();
        let subkey = self.keys.token_subkey(FamilySecret::LABEL).map_err(super::fault)?;
        if !token.is_authentic(&FamilySecret::derive(subkey.as_slice(), id)) {
            return Ok(None);
        }
        let Some((_, family)) = self.stream::<Family>(id)? else { return Ok(None) };
        let Some(origin) = family.live(self.now) else { return Ok(None) };
        let record = self.record::<Rotation>(RecordKind::RefreshToken, refresh_record_key(id))?;
        let Some((rotation, kept_until)) = record else { return Ok(None) };
        let expires_at = rotation.ends_at(kept_until);
        if self.now >= expires_at {
            return Ok(None);
        }
        let (user, client, grant) = (
            self.stream::<User>(origin.user)?,
            self.stream::<Client>(origin.client)?,
            self.stream::<Grant>(origin.grant)?,
        );
        let (Some((_, user)), Some((_, client)), Some((_, grant))) = (user, client, grant) else {
            return Ok(None);
        };
        let standing =
            Standing { user: Some(&user), client: Some(&client), grant: Some(&grant), family: Some(&family) };
        let session_holds = origin.offline || self.session_is_live(origin.session, &user)?;
        let holds = rotation.current == token.sha256() && stands(&standing, origin.created_at, self.now);
        Ok((holds && session_holds).then(|| RefreshTokenView {
            family: id,
            user: origin.user,
            client: origin.client,
            scopes: origin.scopes.clone(),
            issued_at: rotation.issued_at,
            expires_at,
        }))
    }

    fn session_is_live(&self, id: crate::ids::SessionId, user: &User) -> Result<bool, QueryError> {
        let Some((_, session)) = self.stream::<Session>(id)? else { return Ok(false) };
        let (tenant, unset) = (self.stream::<Tenant>(self.tenant)?, TenantSettings::default());
        let settings = tenant.as_ref().map_or(&unset, |(_, tenant)| &tenant.settings);
        let key = crate::commands::session_use_key(id);
        let seen = self.record::<crate::commands::SessionUse>(RecordKind::SessionUse, key)?;
        Ok(is_live(&session, user, seen.map(|(seen, _)| seen.at), self.now, settings))
    }
}
