//! Users.

use domicile_raft::Timestamp;

use super::Iam;
use super::login::password_proved;
use super::route::{read_failed, with_reply};
use crate::commands::{
    AuthenticatedUser, CreateUser, CreateUserCommand, EraseUser, PlainPassword, SetPassword, UpdateUser,
    UserPatch, UserRefusal,
};
use crate::execute::{ExecuteError, RequestContext, Written};
use crate::ids::{Id as _, TenantId, UserId};
use crate::model::{Page, PageRequest, SubjectKind, UserView};
use crate::password::{HashingFault, check_import, check_length};
use crate::personal::Personal;
use crate::projections::{Projection, tenant_prefix};
use crate::proposal::ClaimKind;
use crate::query::{Consistency, QueryError, View};
use crate::streams::user::{User, field};
use crate::streams::{StreamKind, StreamRef};

type Outcome<T> = Result<Written<T>, ExecuteError<UserRefusal>>;

fn hashing<R: From<UserRefusal>>(fault: HashingFault) -> ExecuteError<R> {
    match fault {
        HashingFault::Busy { retry_after_s } => {
            ExecuteError::Refused(UserRefusal::Busy { retry_after_s }.into())
        }
        HashingFault::Failed => ExecuteError::Fault(fault.to_string()),
    }
}

fn broken<R: From<UserRefusal>>(rule: crate::commands::PasswordRule) -> ExecuteError<R> {
    ExecuteError::Refused(UserRefusal::from(rule).into())
}

/// Who is known by `name`, in whatever spelling means the same.
fn holder(view: &View, kind: SubjectKind, name: &str) -> Result<Option<UserId>, QueryError> {
    let claim = match kind {
        SubjectKind::Subject => ClaimKind::Subject,
        SubjectKind::Username => ClaimKind::LoginName,
        SubjectKind::Email => ClaimKind::Email,
    };
    let owner = view.claim(claim, name)?.filter(|owner| owner.kind == StreamKind::User);
    Ok(owner.map(|owner| UserId::from_bytes(owner.id)))
}

impl Iam {
    /// Creates a user. A password in clear is hashed first, on the bounded pool.
    ///
    /// # Errors
    /// [`UserRefusal`].
    pub async fn create_user(&self, ctx: &RequestContext, new: CreateUser) -> Outcome<UserView> {
        let password = match (&new.password, &new.password_hash) {
            (Some(password), _) => Some(self.hash_new(ctx.tenant, password).await?),
            (None, Some(hash)) => {
                check_import(hash).map_err(broken)?;
                Some(hash.clone())
            }
            (None, None) => None,
        };
        let written = self.run(ctx, &CreateUserCommand { new, password }).await?;
        self.user_after(ctx.tenant, written.reply, &written)
    }

    pub(super) async fn hash_new<R: From<UserRefusal>>(
        &self,
        tenant: TenantId,
        password: &PlainPassword,
    ) -> Result<String, ExecuteError<R>> {
        let settings = self.local_view(tenant).and_then(|view| view.tenant_state());
        let settings = settings
            .map_err(|e| read_failed(&e))?
            .map(|(_, tenant)| tenant.settings.clone())
            .unwrap_or_default();
        check_length(password.text(), settings.password_length_min).map_err(broken)?;
        self.inner.hasher.hash(password).await.map_err(hashing)
    }

    fn user_after<T>(&self, tenant: TenantId, id: UserId, written: &Written<T>) -> Outcome<UserView> {
        let view =
            self.local_view(tenant).and_then(|view| view.user_view(id)).map_err(|e| read_failed(&e))?;
        Ok(with_reply(written, view.ok_or(ExecuteError::Refused(UserRefusal::NotFound))?))
    }

    /// A user with opened values; `None` also when erased.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn get_user(
        &self,
        tenant: TenantId,
        id: UserId,
        consistency: &Consistency,
    ) -> Result<Option<UserView>, QueryError> {
        self.view(tenant, consistency).await?.user_view(id)
    }

    /// A user by what names them; by e-mail only while the address is verified and the tenant keeps addresses
    /// unique.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn user_named(
        &self,
        tenant: TenantId,
        kind: SubjectKind,
        name: &str,
        consistency: &Consistency,
    ) -> Result<Option<UserView>, QueryError> {
        let view = self.view(tenant, consistency).await?;
        let user = holder(&view, kind, name)?.map(|id| view.user_view(id)).transpose()?.flatten();
        if kind != SubjectKind::Email {
            return Ok(user);
        }
        let unique = view.tenant_context()?.is_some_and(|tenant| tenant.settings.email_unique);
        Ok(user.filter(|user| unique && user.email_verified))
    }

    /// The user who holds all of `names`; `None` also without any. Nobody holds an address that was set while the
    /// tenant does not keep them unique.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn user_holding(
        &self,
        tenant: TenantId,
        names: &[(SubjectKind, String)],
        consistency: &Consistency,
    ) -> Result<Option<UserView>, QueryError> {
        let view = self.view(tenant, consistency).await?;
        let mut found: Option<UserId> = None;
        for (kind, name) in names {
            match (holder(&view, *kind, name)?, found) {
                (Some(id), None) => found = Some(id),
                (Some(id), Some(before)) if id == before => {}
                (Some(_) | None, _) => return Ok(None),
            }
        }
        Ok(found.map(|id| view.user_view(id)).transpose()?.flatten())
    }

    /// Users in order of creation, without the erased.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn list_users(
        &self,
        tenant: TenantId,
        page: &PageRequest,
        consistency: &Consistency,
    ) -> Result<Page<UserView>, QueryError> {
        let view = self.view(tenant, consistency).await?;
        view.page(&tenant_prefix(Projection::Users, tenant), page, |id| view.user_view(id))
    }

    /// Changes a user. Disabling voids sessions and tokens.
    ///
    /// # Errors
    /// [`UserRefusal`].
    pub async fn update_user(&self, ctx: &RequestContext, id: UserId, patch: UserPatch) -> Outcome<UserView> {
        let written = self.run(ctx, &UpdateUser { id, patch }).await?;
        self.user_after(ctx.tenant, id, &written)
    }

    /// First step of erasure: the user's key, login names and sessions are gone at once.
    ///
    /// # Errors
    /// [`UserRefusal::NotFound`]; [`UserRefusal::Stale`] if the user is not at `if_revision`.
    pub async fn erase_user(
        &self,
        ctx: &RequestContext,
        id: UserId,
        if_revision: Option<u64>,
    ) -> Outcome<()> {
        self.run(ctx, &EraseUser { id, if_revision }).await
    }

    /// Sets a password and lifts the locks of this node and of the user; all sessions and tokens from before are void. With `current` it is checked
    /// first (a user changes their own), without it is not (an administrator sets it).
    ///
    /// # Errors
    /// [`UserRefusal::Password`], [`UserRefusal::WrongPassword`], [`UserRefusal::Busy`].
    pub async fn change_password(
        &self,
        ctx: &RequestContext,
        id: UserId,
        current: Option<PlainPassword>,
        new: PlainPassword,
    ) -> Outcome<()> {
        let written = self.set_password(ctx, id, current, new).await?;
        Ok(with_reply(&written, ()))
    }

    async fn set_password(
        &self,
        ctx: &RequestContext,
        id: UserId,
        current: Option<PlainPassword>,
        new: PlainPassword,
    ) -> Outcome<Option<Timestamp>> {
        let checked = match current {
            Some(current) => Some(self.check_current(ctx.tenant, id, &current).await?),
            None => None,
        };
        let hash = self.hash_new(ctx.tenant, &new).await?;
        let written = self.run(ctx, &SetPassword { id, hash, checked }).await?;
        self.forget_failures(ctx.tenant, id);
        Ok(written)
    }

    /// A user changes their own password. All sessions are void, that of who asks too; the reply is what the new
    /// password proves, for another one.
    ///
    /// # Errors
    /// As [`Iam::change_password`].
    pub async fn change_own_password(
        &self,
        ctx: &RequestContext,
        id: UserId,
        current: PlainPassword,
        new: PlainPassword,
    ) -> Outcome<AuthenticatedUser> {
        let written = self.set_password(ctx, id, Some(current), new).await?;
        // Later than this change voids, and no later: it must not outlive what an administrator sets next.
        let at = written.reply.map_or(Timestamp(0), |set_at| set_at.plus_ms(1));
        Ok(with_reply(&written, password_proved(id, at)))
    }

    /// The stored hash, if `current` is right.
    async fn check_current(
        &self,
        tenant: TenantId,
        id: UserId,
        current: &PlainPassword,
    ) -> Result<Personal, ExecuteError<UserRefusal>> {
        let view = self.view(tenant, &Consistency::Linearizable).await.map_err(|e| read_failed(&e))?;
        let user = view.stream::<User>(id).map_err(|e| read_failed(&e))?;
        let stored = user.and_then(|(_, user)| user.person.as_ref()?.password.clone());
        let opened = match &stored {
            Some(sealed) => view.open(StreamRef::of::<User>(id), field::PASSWORD, sealed),
            None => Ok(None),
        };
        let hash = opened.map_err(|e| read_failed(&e))?.map(|text| text.as_str().to_owned());
        let checked = self.inner.hasher.verify(current, hash).await.map_err(hashing)?;
        stored.filter(|_| checked.matches).ok_or(ExecuteError::Refused(UserRefusal::WrongPassword))
    }
}
