//! Creating a tenant: a sequence of proposals on two partitions, each of which may be the last one
//! before a crash. With the same idempotency key it resumes; without, the name is free again once
//! the reservation has run out.

use std::sync::Arc;
use std::time::Duration;

use domicile_raft::PartitionId;
use domicile_raft::placement::Placement;
use serde::{Deserialize, Serialize};

use super::Iam;
use super::deadline::Deadline;
use super::remote::Ask;
use super::route::{home_failed, step_of, with_reply};
use crate::commands::{
    ActivateTenant, CreateHome, CreateTenant, Reservation, ReserveTenant, RootSigned, SYSTEM_SLUG,
    TenantRefusal,
};
use crate::execute::{ConsistencyToken, ExecuteError, Executor, RequestContext, Written};
use crate::ids::{Id, TenantId};
use crate::model::TenantView;
use crate::query::{Consistency, QueryError};
use crate::streams::directory::EntryPhase;
use crate::streams::tenant::{check_display_name, check_issuer, check_slug};
use crate::tables::directory_tenant;

type Outcome<T> = Result<Written<T>, ExecuteError<TenantRefusal>>;

/// What a home made ready to be routed to.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Prepared {
    signed: RootSigned,
    view: TenantView,
}

impl Iam {
    /// Creates a tenant: the directory reserves, the home partition creates and signs, the directory
    /// activates; whichever nodes lead them. `ctx.tenant` is not looked at. With a placement whose
    /// partition does not exist yet it waits for the controller, within the deadline. ES256, ES384
    /// and EdDSA keys sign on return; RSA keys are due then: [`Iam::keys_due`], which the node of the home's leader follows
    /// in the background.
    ///
    /// # Errors
    /// [`TenantRefusal::SlugTaken`] and others of validity, [`TenantRefusal::Placement`] with the reason.
    /// After any other error the call may be repeated with the same idempotency key; a reservation that
    /// is not finished runs out, and then the key stands for [`TenantRefusal::ReservationExpired`].
    pub async fn create_tenant(&self, ctx: &RequestContext, new: CreateTenant) -> Outcome<TenantView> {
        if new.slug == SYSTEM_SLUG {
            return Err(ExecuteError::Refused(TenantRefusal::SlugTaken));
        }
        self.create_any_tenant(ctx, new).await
    }

    pub(super) async fn create_any_tenant(
        &self,
        ctx: &RequestContext,
        new: CreateTenant,
    ) -> Outcome<TenantView> {
        let valid = check_slug(&new.slug)
            .and_then(|()| check_display_name(&new.display_name))
            .and_then(|()| check_issuer(&new.issuer))
            .and_then(|()| new.settings.check().map_err(TenantRefusal::from));
        valid.map_err(ExecuteError::Refused)?;
        let call = Deadline::of(ctx, &*self.inner.clock);
        let (home, placement) = self.new_home(&call, new.placement.as_ref()).await?;
        let reserved = self.reserve(&call, &new.slug, home, placement.clone()).await?;
        let Reservation { tenant, home } = reserved.reply;
        // What an earlier try began may be gone since, with the keys that its kept replies are under.
        if reserved.replayed && self.is_given_back(tenant).map_err(|e| ExecuteError::Fault(e.to_string()))? {
            return Err(ExecuteError::Refused(TenantRefusal::ReservationExpired));
        }
        // What it gets is what it may count on, also where it asked for nothing.
        let new = CreateTenant { placement, ..new };
        self.create_home_in(home, &call.left()?, tenant, &new).await?;
        let step = step_of(&call.left()?, tenant, "prepare");
        let prepared = self.ask::<Prepared, TenantRefusal>(home, &step, || Ask::Prepare).await?;
        match self.activate_tenant(&call.left()?, tenant, prepared.reply.signed.clone()).await {
            Ok(activated) => self.see(&activated.consistency, call.remaining()).await,
            Err(error @ ExecuteError::Refused(TenantRefusal::ReservationExpired)) => {
                // Nobody routes to it, and its name may be another's by now. The housekeepers do the same.
                if let Err(error) = self.give_back(tenant, home).await {
                    tracing::info!(%tenant, %error, "a tenant that came too late is removed later");
                }
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        let view = prepared.reply.view.clone();
        Ok(with_reply(&prepared, view))
    }

    /// Waits a little until the directory here shows a write, so that who made it is served at once.
    pub(super) async fn see(&self, token: &ConsistencyToken, within: Duration) {
        let seen = Consistency::AtLeast(*token);
        let seen = self.wait_within(&self.inner.directory, directory_tenant(), &seen, within);
        if let Err(error) = seen.await {
            tracing::debug!(%error, "the directory here lags behind");
        }
    }

    /// Step 1: takes the name, in the directory, for the first home there is.
    ///
    /// # Errors
    /// [`TenantRefusal::SlugTaken`] and [`TenantRefusal::InvalidSlug`].
    pub async fn reserve_tenant(&self, ctx: &RequestContext, slug: &str) -> Outcome<TenantId> {
        let call = Deadline::of(ctx, &*self.inner.clock);
        let (home, placement) = self.new_home(&call, None).await?;
        let reserved = self.reserve(&call, slug, home, placement).await?;
        let tenant = reserved.reply.tenant;
        Ok(with_reply(&reserved, tenant))
    }

    async fn reserve(
        &self,
        call: &Deadline<'_>,
        slug: &str,
        home: PartitionId,
        placement: Option<Placement>,
    ) -> Outcome<Reservation> {
        self.expire_slug(slug).await?;
        let mut random = [0; 10];
        self.inner.clock.fill_random(&mut random);
        let tenant = TenantId::new(self.inner.clock.now(), random);
        let step = step_of(&call.left()?, directory_tenant(), "reserve");
        let reserve = ReserveTenant { tenant, slug: slug.to_owned(), home, placement };
        let reserved = self.directory(&step, &reserve).await?;
        self.see(&reserved.consistency, call.remaining()).await;
        Ok(reserved)
    }

    /// Step 2: creates the tenant and its keys, at home.
    ///
    /// # Errors
    /// [`TenantRefusal`] of validity.
    pub async fn create_home(
        &self,
        ctx: &RequestContext,
        tenant: TenantId,
        new: &CreateTenant,
    ) -> Outcome<()> {
        let home = self.home_id(tenant).map_err(|error| home_failed(&error))?;
        self.create_home_in(home, ctx, tenant, new).await
    }

    async fn create_home_in(
        &self,
        home: PartitionId,
        ctx: &RequestContext,
        tenant: TenantId,
        new: &CreateTenant,
    ) -> Outcome<()> {
        let command = CreateHome {
            slug: new.slug.clone(),
            display_name: new.display_name.clone(),
            issuer: new.issuer.clone(),
            settings: new.settings.clone(),
            placement: new.placement.clone(),
        };
        self.step(home, &step_of(ctx, tenant, "home"), &command).await
    }

    /// What [`Ask::Prepare`] answers, at home: the keys that are made quickly are, and the root key signs.
    pub(super) async fn prepare_here(&self, home: &Arc<Executor>, ctx: &RequestContext) -> Outcome<Prepared> {
        let tenant = ctx.tenant;
        let read = self.wait_within(home, tenant, &Consistency::Linearizable, ctx.deadline).await;
        read.map_err(|error| home_failed(&error))?;
        let state = self.view_of(home, tenant).and_then(|view| view.tenant_state());
        let Some((_, state)) = state.map_err(|error| home_failed(&error))? else {
            return Err(ExecuteError::Refused(TenantRefusal::NotFound));
        };
        let wanted = state.settings.signing_algorithms.iter();
        for algorithm in wanted.copied().filter(|algorithm| algorithm.is_made_quickly()) {
            self.drive_algorithm(home, tenant, algorithm).await?;
        }
        self.inner.keys_due.put(tenant);
        let ctx = RequestContext { idempotency: None, ..ctx.clone() };
        let signed = home.execute(&ctx, &self.signature(home)).await?;
        let view = self.view_of(home, tenant).and_then(|view| view.tenant_view());
        let view = view.map_err(|error| home_failed(&error))?;
        let view = view.ok_or(ExecuteError::Refused(TenantRefusal::NotFound))?;
        let prepared = Prepared { signed: signed.reply.clone(), view };
        Ok(with_reply(&signed, prepared))
    }

    /// Between the steps: the tenant's root key signs the entry, at home. Writes nothing.
    ///
    /// # Errors
    /// [`TenantRefusal::NotFound`].
    pub async fn sign_entry(&self, ctx: &RequestContext, tenant: TenantId) -> Outcome<RootSigned> {
        let home = self.home_id(tenant).map_err(|error| home_failed(&error))?;
        let origin = self.inner.locality.origin.clone();
        let command = crate::commands::SignEntry { home, home_origin: origin };
        self.step(home, &step_of(ctx, tenant, "sign"), &command).await
    }

    /// Step 3: routes the tenant, in the directory.
    ///
    /// # Errors
    /// [`TenantRefusal::ReservationExpired`].
    pub async fn activate_tenant(
        &self,
        ctx: &RequestContext,
        tenant: TenantId,
        signed: RootSigned,
    ) -> Outcome<()> {
        let step = step_of(ctx, directory_tenant(), "activate");
        self.directory(&step, &ActivateTenant { tenant, signed }).await
    }

    fn is_given_back(&self, tenant: TenantId) -> Result<bool, QueryError> {
        let entry = self.directory_tenant(tenant)?.map(|(_, entry)| entry.phase);
        let deleted = match self.is_deleted_at_home(tenant) {
            Err(QueryError::Elsewhere { .. }) => false,
            deleted => deleted?,
        };
        Ok(matches!(entry, Some(EntryPhase::Released)) || deleted)
    }

    async fn expire_slug(&self, slug: &str) -> Result<(), ExecuteError<TenantRefusal>> {
        let owner = self.slug_owner(slug).map_err(|e| ExecuteError::Fault(e.to_string()))?;
        if let Some(tenant) = owner {
            self.expire_reservation(tenant).await?;
        }
        Ok(())
    }
}
