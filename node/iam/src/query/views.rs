//! States as callers see them: opened, without secrets.

use std::sync::Arc;

use serde_json::Value;
use zeroize::Zeroizing;

use super::view::View;
use super::{QueryError, fault};
use crate::commands::{SessionUse, grant_id_for, parse_claims, session_use_key};
use crate::ids::{ClientId, GrantId, SessionId, UserId};
use crate::model::{
    ClientView, CredentialView, GrantView, ProfileClaims, SessionView, TenantContext, TenantView, UserView,
};
use crate::personal::Personal;
use crate::proposal::RecordKind;
use crate::streams::StreamRef;
use crate::streams::client::{CONTACTS_FIELD, Client};
use crate::streams::grant::Grant;
use crate::streams::session::{Session, is_live};
use crate::streams::tenant::Tenant;
use crate::streams::user::{SecondFactor, User, field};

impl View {
    /// The tenant, unless deleted.
    pub(crate) fn tenant_state(&self) -> Result<Option<(u64, Arc<Tenant>)>, QueryError> {
        Ok(self.stream::<Tenant>(self.tenant)?.filter(|(_, tenant)| !tenant.deleted))
    }

    /// For the admin API.
    pub(crate) fn tenant_view(&self) -> Result<Option<TenantView>, QueryError> {
        Ok(self.tenant_state()?.map(|(revision, tenant)| TenantView {
            id: self.tenant,
            slug: tenant.slug.clone(),
            display_name: tenant.display_name.clone(),
            issuer: tenant.issuer.clone(),
            disabled: tenant.disabled,
            settings: tenant.settings.clone(),
            created_at: tenant.created_at,
            updated_at: tenant.updated_at,
            placement: tenant.placement.clone(),
            revision,
        }))
    }

    /// For serving requests.
    pub(crate) fn tenant_context(&self) -> Result<Option<TenantContext>, QueryError> {
        Ok(self.tenant_state()?.map(|(revision, tenant)| TenantContext {
            id: self.tenant,
            slug: tenant.slug.clone(),
            issuer: tenant.issuer.clone(),
            display_name: tenant.display_name.clone(),
            disabled: tenant.disabled,
            settings: tenant.settings.clone(),
            revision,
        }))
    }

    /// A user with opened values; `None` if there is none, or erased.
    pub(crate) fn user_view(&self, id: UserId) -> Result<Option<UserView>, QueryError> {
        let Some((revision, user)) = self.stream::<User>(id)? else { return Ok(None) };
        let Some(person) = &user.person else { return Ok(None) };
        let stream = StreamRef::of::<User>(id);
        let text = |name: &str, value: &Personal| self.open(stream, name, value);
        let some = |name: &str, value: &Option<Personal>| -> Result<Option<String>, QueryError> {
            let opened = value.as_ref().map(|value| text(name, value)).transpose()?.flatten();
            Ok(opened.as_ref().map(plain))
        };
        // A user whose key is gone reads as gone, even between the key's end and the event's.
        let (Some(subject), Some(username)) =
            (text(field::SUBJECT, &person.subject)?, text(field::USERNAME, &person.username)?)
        else {
            return Ok(None);
        };
        let claims = match some(field::CLAIMS, &person.claims)? {
            Some(json) => parse_claims(&json).map_err(fault)?,
            None => ProfileClaims::new(),
        };
        Ok(Some(UserView {
            id,
            subject: plain(&subject),
            username: plain(&username),
            email: some(field::EMAIL, &person.email)?,
            email_verified: person.email_verified,
            phone_number: some(field::PHONE_NUMBER, &person.phone_number)?,
            phone_number_verified: person.phone_number_verified,
            claims,
            has_password: person.password.is_some(),
            second_factor: person.second_factor.as_ref().map(SecondFactor::view),
            disabled: user.disabled,
            not_before: user.not_before,
            created_at: user.created_at,
            updated_at: user.updated_at,
            revision,
        }))
    }

    /// A client with all its metadata; `None` if there is none, or deleted.
    pub(crate) fn client_view(&self, id: ClientId) -> Result<Option<ClientView>, QueryError> {
        let Some((revision, client)) = self.stream::<Client>(id)? else { return Ok(None) };
        let Some(registration) = client.registration.clone() else { return Ok(None) };
        let mut metadata = registration.metadata;
        if let Some(sealed) = &registration.contacts
            && let Some(json) = self.open(StreamRef::of::<Client>(id), CONTACTS_FIELD, sealed)?
        {
            let contacts: Value = serde_json::from_str(&json).map_err(fault)?;
            metadata.extra.insert("contacts".to_owned(), contacts);
        }
        let credentials = registration
            .credentials
            .into_iter()
            .map(|credential| CredentialView {
                id: credential.id,
                secret_sha256: credential.secret_sha256,
                sealed_secret: credential.secret,
                created_at: credential.created_at,
                expires_at: credential.expires_at,
            })
            .collect();
        Ok(Some(ClientView {
            id,
            client_id: registration.client_id,
            metadata,
            credentials,
            disabled: client.disabled,
            not_before: client.not_before,
            created_at: client.created_at,
            delegation: client.delegation.clone(),
            registration_access_sha256: client.registration_access_sha256,
            revision,
        }))
    }

    /// A session that counts now, with the hash of its cookie's secret.
    pub(crate) fn live_session(&self, id: SessionId) -> Result<Option<(SessionView, [u8; 32])>, QueryError> {
        let Some((_, session)) = self.stream::<Session>(id)? else { return Ok(None) };
        let Some((_, user)) = self.stream::<User>(session.user)? else { return Ok(None) };
        let settings = self.tenant_state()?.map(|(_, tenant)| tenant.settings.clone()).unwrap_or_default();
        let seen =
            self.record::<SessionUse>(RecordKind::SessionUse, session_use_key(id))?.map(|(seen, _)| seen.at);
        if !is_live(&session, &user, seen, self.now, &settings) {
            return Ok(None);
        }
        let idle_expires_at = session.idle_expires_at(seen, settings.session_idle_ms);
        let view = SessionView {
            id,
            user: session.user,
            authentications: session.authentications.clone(),
            clients: session.clients.clone(),
            started_at: session.started_at,
            idle_expires_at,
            expires_at: session.expires_at,
        };
        Ok(Some((view, session.secret_sha256)))
    }

    /// A grant that allows something.
    pub(crate) fn grant_view(&self, id: GrantId) -> Result<Option<GrantView>, QueryError> {
        let Some((_, grant)) = self.stream::<Grant>(id)? else { return Ok(None) };
        Ok(grant.allowed.clone().map(|allowed| GrantView {
            resources: allowed.resources,
            id,
            user: grant.user,
            client: grant.client,
            scopes: allowed.scopes,
            claims: allowed.claims,
            not_before: grant.not_before,
        }))
    }

    /// The grant of a user to a client.
    pub(crate) fn grant_for(&self, user: UserId, client: ClientId) -> Result<Option<GrantView>, QueryError> {
        self.grant_view(grant_id_for(user, client))
    }
}

fn plain(text: &Zeroizing<String>) -> String {
    text.as_str().to_owned()
}
