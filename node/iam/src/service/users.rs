//! Users and their passwords.

use super::Iam;
use crate::commands::{AuthenticatedUser, CreateUser, LoginRefusal, PlainPassword, UserPatch, UserRefusal};
use crate::execute::{ExecuteError, RequestContext, Written};
use crate::ids::{TenantId, UserId};
use crate::model::{Page, PageRequest, UserView};
use crate::query::{Consistency, QueryError};

type Outcome<T> = Result<Written<T>, ExecuteError<UserRefusal>>;

impl Iam {
    /// Creates a user. A password in clear is hashed first, on the bounded pool.
    ///
    /// # Errors
    /// [`UserRefusal`].
    pub async fn create_user(&self, ctx: &RequestContext, new: CreateUser) -> Outcome<UserView> {
        todo!()
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
        todo!()
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
        todo!()
    }

    /// The user with this login name or e-mail address.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn find_user(
        &self,
        tenant: TenantId,
        login: &str,
        consistency: &Consistency,
    ) -> Result<Option<UserId>, QueryError> {
        todo!()
    }

    /// Changes a user. Disabling voids sessions and tokens.
    ///
    /// # Errors
    /// [`UserRefusal`].
    pub async fn update_user(&self, ctx: &RequestContext, id: UserId, patch: UserPatch) -> Outcome<UserView> {
        todo!()
    }

    /// First step of erasure: the user's key, login names and sessions are gone at once.
    ///
    /// # Errors
    /// [`UserRefusal::NotFound`].
    pub async fn erase_user(&self, ctx: &RequestContext, id: UserId) -> Outcome<()> {
        todo!()
    }

    /// Sets a password; all sessions and tokens from before are void. With `current` it is checked
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
        todo!()
    }

    /// Checks a password. `login` is a username or an e-mail address; an unknown one costs the same
    /// hash. A hash of another kind or of lower cost is replaced on success.
    ///
    /// # Errors
    /// [`LoginRefusal`].
    pub async fn authenticate_password(
        &self,
        ctx: &RequestContext,
        login: &str,
        password: &PlainPassword,
    ) -> Result<AuthenticatedUser, LoginRefusal> {
        todo!()
    }
}
