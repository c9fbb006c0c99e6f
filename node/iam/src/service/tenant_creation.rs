//! Creating a tenant: a sequence of proposals on two partitions, each of which may be the last one
//! before a crash. With the same idempotency key it resumes; without, the name is free again once
//! the reservation has run out.

use domicile_raft::PartitionId;

use super::Iam;
use super::route::{read_failed, step_of, with_reply};
use crate::commands::{
    ActivateTenant, CreateHome, CreateTenant, DeleteHome, ReserveTenant, RootSigned, SignEntry, TenantRefusal,
};
use crate::execute::{ExecuteError, RequestContext, Written};
use crate::ids::TenantId;
use crate::model::{SigningAlgorithm, TenantView};
use crate::query::QueryError;
use crate::streams::directory::EntryPhase;
use crate::streams::tenant::{check_display_name, check_issuer, check_slug};
use crate::tables::directory_tenant;

type Outcome<T> = Result<Written<T>, ExecuteError<TenantRefusal>>;

impl Iam {
    /// Creates a tenant: the directory reserves, the home partition creates and signs, the directory
    /// activates. `ctx.tenant` is not looked at. ES256 and EdDSA keys sign on return; RSA keys are
    /// made by [`Iam::drive_keys`], which the node runs in the background.
    ///
    /// # Errors
    /// [`TenantRefusal::SlugTaken`] and others of validity. After any other error the call may be
    /// repeated with the same idempotency key; a reservation that is not finished runs out, and then
    /// the key stands for [`TenantRefusal::ReservationExpired`].
    pub async fn create_tenant(&self, ctx: &RequestContext, new: CreateTenant) -> Outcome<TenantView> {
        let valid = check_slug(&new.slug)
            .and_then(|()| check_display_name(&new.display_name))
            .and_then(|()| check_issuer(&new.issuer))
            .and_then(|()| new.settings.check().map_err(TenantRefusal::from));
        valid.map_err(ExecuteError::Refused)?;
        let reserved = self.reserve_tenant(ctx, &new.slug).await?;
        let tenant = reserved.reply;
        // What an earlier try began may be gone since, with the keys that its kept replies are under.
        if reserved.replayed && self.is_given_back(tenant).map_err(|e| ExecuteError::Fault(e.to_string()))? {
            return Err(ExecuteError::Refused(TenantRefusal::ReservationExpired));
        }
        self.create_home(ctx, tenant, &new).await?;
        let quick = [SigningAlgorithm::ES256, SigningAlgorithm::EdDSA];
        for algorithm in new.settings.signing_algorithms.iter().filter(|algorithm| quick.contains(algorithm))
        {
            self.drive_algorithm(tenant, *algorithm)
                .await
                .map_err(|error| ExecuteError::Fault(error.to_string()))?;
        }
        let signed = self.sign_entry(ctx, tenant).await?;
        match self.activate_tenant(ctx, tenant, signed.reply.clone()).await {
            Ok(_) => {}
            Err(error @ ExecuteError::Refused(TenantRefusal::ReservationExpired)) => {
                // Nobody routes to it, and its name may be another's by now.
                self.run(&self.system_context(tenant), &DeleteHome { if_revision: None }).await?;
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        let view =
            self.local_view(tenant).and_then(|view| view.tenant_view()).map_err(|e| read_failed(&e))?;
        Ok(with_reply(&signed, view.ok_or(ExecuteError::Refused(TenantRefusal::NotFound))?))
    }

    /// Step 1: takes the name, in the directory.
    ///
    /// # Errors
    /// [`TenantRefusal::SlugTaken`] and [`TenantRefusal::InvalidSlug`].
    pub async fn reserve_tenant(&self, ctx: &RequestContext, slug: &str) -> Outcome<TenantId> {
        let home =
            self.new_home().ok_or_else(|| ExecuteError::Fault("no partition holds tenants".to_owned()))?;
        self.expire_slug(slug).await?;
        let step = step_of(ctx, directory_tenant(), "reserve");
        self.inner.directory.execute(&step, &ReserveTenant { slug: slug.to_owned(), home }).await
    }

    /// Where a new tenant goes. One home partition for now; placement chooses later.
    fn new_home(&self) -> Option<PartitionId> {
        self.inner.homes.keys().next().copied()
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
        let command = CreateHome {
            slug: new.slug.clone(),
            display_name: new.display_name.clone(),
            issuer: new.issuer.clone(),
            settings: new.settings.clone(),
        };
        self.run(&step_of(ctx, tenant, "home"), &command).await
    }

    /// Between the steps: the tenant's root key signs the entry, at home. Writes nothing.
    ///
    /// # Errors
    /// [`TenantRefusal::NotFound`].
    pub async fn sign_entry(&self, ctx: &RequestContext, tenant: TenantId) -> Outcome<RootSigned> {
        let executor = self.home(tenant).map_err(|e| ExecuteError::Fault(e.to_string()))?;
        let home = executor.partition().id();
        executor.execute(&step_of(ctx, tenant, "sign"), &SignEntry { home }).await
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
        self.inner.directory.execute(&step, &ActivateTenant { tenant, signed }).await
    }

    fn is_given_back(&self, tenant: TenantId) -> Result<bool, QueryError> {
        let entry = self.directory_tenant(tenant)?.map(|(_, entry)| entry.phase);
        Ok(matches!(entry, Some(EntryPhase::Released)) || self.is_deleted_at_home(tenant)?)
    }

    async fn expire_slug(&self, slug: &str) -> Result<(), ExecuteError<TenantRefusal>> {
        let owner = self.slug_owner(slug).map_err(|e| ExecuteError::Fault(e.to_string()))?;
        if let Some(tenant) = owner {
            self.expire_reservation(tenant).await?;
        }
        Ok(())
    }
}
