//! Tenants: created in steps on two partitions, each of which may be the last before a crash.

use domicile_iam::commands::{TenantPatch, TenantRefusal};
use domicile_iam::execute::ExecuteError;
use domicile_iam::ids::TenantId;
use domicile_iam::model::{KnownTenant, ListedTenant, PageRequest, TenantSettings, TenantView};
use domicile_iam::query::{Consistency, QueryError};
use domicile_raft::testing::Injected;
use domicile_raft::{Clock as _, UnknownReason};

use crate::support::{Node, new_tenant, zero};

async fn create(node: &Node, slug: &str) -> Result<TenantView, ExecuteError<TenantRefusal>> {
    let created =
        node.iam.create_tenant(&node.ctx(zero()), new_tenant(slug, TenantSettings::default())).await;
    created.map(|written| written.reply)
}

#[tokio::test]
async fn a_created_tenant_is_served_at_once() {
    let node = Node::new();
    let created = create(&node, "acme").await.unwrap();
    let context = node.iam.tenant_by_slug("acme").await.unwrap().unwrap();
    assert_eq!((context.id, context.issuer.as_str()), (created.id, "https://id.example/t/acme"));
    assert!(node.iam.tenant_by_slug("other").await.unwrap().is_none());
    let types = node.event_types(created.id).await;
    assert_eq!(types[0], "tenant.created");
}

#[tokio::test]
async fn a_served_tenant_is_cached_until_it_changes() {
    let (node, tenant) = Node::with_tenant().await;
    let first = node.iam.tenant_by_slug("acme").await.unwrap().unwrap();
    let again = node.iam.tenant_by_slug("acme").await.unwrap().unwrap();
    assert!(std::sync::Arc::ptr_eq(&first, &again));
    let patch = TenantPatch { display_name: Some("New".to_owned()), ..TenantPatch::default() };
    node.iam.update_tenant(&node.ctx(tenant), patch).await.unwrap();
    assert_eq!(node.iam.tenant_by_slug("acme").await.unwrap().unwrap().display_name, "New");
}

#[tokio::test]
async fn a_creation_resumes_with_the_same_idempotency_key() {
    let node = Node::new();
    let ctx = node.keyed(zero(), "create-acme");
    let reserved = node.iam.reserve_tenant(&ctx, "acme").await.unwrap().reply;
    // The process ended here. Nothing is served, and nobody else gets the name.
    assert!(node.iam.tenant_by_slug("acme").await.unwrap().is_none());
    assert!(matches!(create(&node, "acme").await, Err(ExecuteError::Refused(TenantRefusal::SlugTaken))));
    let new = new_tenant("acme", TenantSettings::default());
    node.iam.create_home(&ctx, reserved, &new).await.unwrap();
    // And here.
    assert!(node.iam.tenant_by_slug("acme").await.unwrap().is_none());
    let resumed = node.iam.create_tenant(&ctx, new).await.unwrap().reply;
    assert_eq!(resumed.id, reserved);
    assert_eq!(node.iam.tenant_by_slug("acme").await.unwrap().unwrap().id, reserved);
}

#[tokio::test]
async fn an_unfinished_creation_runs_out_and_leaves_nothing() {
    let node = Node::new();
    let ctx = node.ctx(zero());
    let reserved = node.iam.reserve_tenant(&ctx, "acme").await.unwrap().reply;
    let new = new_tenant("acme", TenantSettings::default());
    node.iam.create_home(&ctx, reserved, &new).await.unwrap();
    let signed = node.iam.sign_entry(&ctx, reserved).await.unwrap().reply;
    node.advance_ms(120_000);
    let late = node.iam.activate_tenant(&ctx, reserved, signed).await;
    assert!(matches!(late, Err(ExecuteError::Refused(TenantRefusal::ReservationExpired))));
    assert_eq!(node.iam.housekeep().await.unwrap(), 1);
    assert_eq!(node.iam.housekeep().await.unwrap(), 0);
    let gone = node.iam.get_tenant(reserved, &Consistency::Local).await;
    assert!(matches!(gone, Ok(None)), "{gone:?}");
    assert_ne!(create(&node, "acme").await.unwrap().id, reserved);
}

#[tokio::test]
async fn a_name_is_free_for_the_next_once_its_reservation_ran_out() {
    let node = Node::new();
    node.iam.reserve_tenant(&node.ctx(zero()), "acme").await.unwrap();
    node.advance_ms(120_000);
    assert!(create(&node, "acme").await.is_ok());
}

#[tokio::test]
async fn a_step_whose_reply_was_lost_is_not_done_twice() {
    let node = Node::new();
    node.directory.inject(Injected::UnknownApplied(UnknownReason::ReplyLost));
    node.home.inject(Injected::UnknownApplied(UnknownReason::ReplyLost));
    let created = create(&node, "acme").await.unwrap();
    let types = node.event_types(created.id).await;
    assert_eq!(types.iter().filter(|t| *t == "tenant.created").count(), 1);
}

#[tokio::test]
async fn a_deleted_tenant_is_gone_and_its_name_is_free() {
    let (node, tenant) = Node::with_tenant().await;
    node.user(tenant, "alice").await;
    node.iam.delete_tenant(&node.ctx(tenant), None).await.unwrap();
    assert!(node.iam.tenant_by_slug("acme").await.unwrap().is_none());
    let lookup = node.iam.find_user(tenant, "alice", &Consistency::Local).await;
    assert!(lookup.is_err(), "{lookup:?}");
    assert_ne!(create(&node, "acme").await.unwrap().id, tenant);
}

#[tokio::test]
async fn another_issuer_is_signed_and_served() {
    let (node, tenant) = Node::with_tenant().await;
    let issuer = "http://127.0.0.1:8080/t/acme".to_owned();
    node.iam.repoint_issuer(&node.ctx(tenant), issuer.clone()).await.unwrap();
    assert_eq!(node.iam.tenant_by_slug("acme").await.unwrap().unwrap().issuer, issuer);
    let bad = node.iam.repoint_issuer(&node.ctx(tenant), "nowhere".to_owned()).await;
    assert!(matches!(bad, Err(ExecuteError::Refused(TenantRefusal::InvalidIssuer))));
}

#[tokio::test]
async fn the_directory_cannot_forge_a_tenant() {
    use domicile_iam::commands::{PublishEntry, SignEntry};
    let (node, tenant) = Node::with_tenant().await;
    let other = create(&node, "other").await.unwrap();
    // An entry that is well signed, but by another tenant's key.
    let signed = node.iam.sign_entry(&node.ctx(other.id), other.id).await.unwrap().reply;
    let _ = SignEntry { home: domicile_raft::PartitionId(1), home_origin: None };
    let executor_free = PublishEntry { tenant, signed };
    assert!(domicile_iam::commands::verify_entry(&executor_free.signed.signed, &[7; 32]).is_none());
    let own = node.iam.sign_entry(&node.ctx(tenant), tenant).await.unwrap().reply;
    let mut changed = own.clone();
    let last = changed.signed.entry.len() - 1;
    changed.signed.entry[last] ^= 1;
    assert!(domicile_iam::commands::verify_entry(&changed.signed, &own.root_public_key).is_none());
    assert!(domicile_iam::commands::verify_entry(&own.signed, &own.root_public_key).is_some());
    let foreign = node.iam.activate_tenant(&node.ctx(zero()), tenant, executor_free.signed).await;
    assert!(foreign.is_err());
}

#[tokio::test]
async fn tenants_are_listed_by_creation_a_page_at_a_time() {
    let node = Node::new();
    let mut created = Vec::new();
    for slug in ["bb", "aa", "cc"] {
        created.push(create(&node, slug).await.unwrap().id);
        node.tick();
    }
    let mut listed: Vec<TenantId> = Vec::new();
    let mut page = PageRequest { page_size: Some(2), page_token: None };
    loop {
        let got = node.iam.list_tenants(&page, &Consistency::Linearizable).await.unwrap();
        listed.extend(got.items.iter().map(ListedTenant::id));
        page.page_token = got.next_page_token;
        if page.page_token.is_none() {
            break;
        }
    }
    assert_eq!(listed, created);
    let bad = PageRequest { page_size: None, page_token: Some("x".to_owned()) };
    let refused = node.iam.list_tenants(&bad, &Consistency::Local).await;
    assert_eq!(refused.err(), Some(QueryError::InvalidPageToken));
}

#[tokio::test]
async fn a_tenant_whose_home_confirms_nothing_is_listed_by_what_the_directory_knows() {
    let (node, tenant) = Node::with_tenant().await;
    let page = PageRequest::default();
    let list = || node.iam.list_tenants(&page, &Consistency::Linearizable);
    assert!(matches!(&list().await.unwrap().items[..], [ListedTenant::Shown(shown)] if shown.id == tenant));
    node.home.lose_leadership();
    let known = KnownTenant { id: tenant, slug: "acme".to_owned(), home: domicile_raft::PartitionId(1) };
    assert_eq!(list().await.unwrap().items, [ListedTenant::Unanswered(known)]);
    node.directory.lose_leadership();
    assert!(list().await.is_err(), "nobody can say which tenants there are");
}

#[tokio::test]
async fn a_change_for_an_old_revision_is_refused() {
    let (node, tenant) = Node::with_tenant().await;
    let before = node.iam.get_tenant(tenant, &Consistency::Local).await.unwrap().unwrap();
    let patch = |name: &str| TenantPatch {
        display_name: Some(name.to_owned()),
        if_revision: Some(before.revision),
        ..TenantPatch::default()
    };
    node.iam.update_tenant(&node.ctx(tenant), patch("One")).await.unwrap();
    let stale = node.iam.update_tenant(&node.ctx(tenant), patch("Two")).await;
    assert!(matches!(stale, Err(ExecuteError::Refused(TenantRefusal::Stale { .. }))));
}

#[tokio::test]
async fn a_deletion_that_stopped_half_way_is_finished_by_a_retry_or_in_the_background() {
    let (node, tenant) = Node::with_tenant().await;
    let other = create(&node, "other").await.unwrap();
    for (slug, id) in [("acme", tenant), ("other", other.id)] {
        let ctx = node.keyed(id, "delete");
        // The home is deleted, the name is not free yet.
        node.directory.inject(Injected::NotLeader(None));
        assert!(node.iam.delete_tenant(&ctx, None).await.is_err(), "{slug}");
        assert!(node.iam.tenant_by_slug(slug).await.unwrap().is_none());
        if slug == "acme" {
            node.iam.delete_tenant_named(&node.ctx(zero()), slug, None).await.unwrap();
        } else {
            assert_eq!(node.iam.housekeep().await.unwrap(), 1);
        }
        let gone = node.iam.delete_tenant_named(&node.ctx(zero()), slug, None).await;
        assert!(matches!(gone, Err(ExecuteError::Refused(TenantRefusal::NotFound))), "{gone:?}");
        assert_ne!(create(&node, slug).await.unwrap().id, id);
    }
    assert_eq!(node.iam.housekeep().await.unwrap(), 0);
}

#[tokio::test]
async fn a_repeated_deletion_means_the_tenant_of_the_first_try_also_once_its_name_is_anothers() {
    let (node, _) = Node::with_tenant().await;
    let ctx = node.keyed(zero(), "delete-acme");
    let first = node.iam.delete_tenant_named(&ctx, "acme", None).await.unwrap();
    let again = node.iam.delete_tenant_named(&ctx, "acme", None).await.unwrap();
    assert_eq!((first.replayed, again.replayed), (false, true));
    let other = create(&node, "acme").await.unwrap().id;
    assert!(node.iam.delete_tenant_named(&ctx, "acme", None).await.unwrap().replayed);
    assert_eq!(node.iam.tenant_by_slug("acme").await.unwrap().unwrap().id, other);
    // The same key for something else is refused, another key means who has the name now.
    let mut something_else = ctx.clone();
    something_else.idempotency.as_mut().unwrap().request_hash = [1; 32];
    let mismatch = node.iam.delete_tenant_named(&something_else, "acme", None).await;
    assert!(matches!(mismatch, Err(ExecuteError::IdempotencyMismatch)), "{mismatch:?}");
    let another = node.keyed(zero(), "delete-acme-again");
    assert!(!node.iam.delete_tenant_named(&another, "acme", None).await.unwrap().replayed);
    assert!(node.iam.tenant_by_slug("acme").await.unwrap().is_none());
}

#[tokio::test]
async fn a_deletion_that_stopped_half_way_goes_on_with_its_key_after_the_name_was_given_away() {
    let (node, tenant) = Node::with_tenant().await;
    let ctx = node.keyed(zero(), "delete-acme");
    // The tenant was chosen, and its home did not answer.
    node.home.inject(Injected::NotLeader(None));
    assert!(node.iam.delete_tenant_named(&ctx, "acme", None).await.is_err());
    assert_eq!(node.iam.tenant_by_slug("acme").await.unwrap().unwrap().id, tenant);
    node.iam.delete_tenant_named(&node.ctx(zero()), "acme", None).await.unwrap();
    let other = create(&node, "acme").await.unwrap().id;
    node.iam.delete_tenant_named(&ctx, "acme", None).await.unwrap();
    assert_eq!(node.iam.tenant_by_slug("acme").await.unwrap().unwrap().id, other);
}

#[tokio::test]
async fn what_is_no_name_of_a_tenant_is_not_found_when_it_is_to_be_deleted() {
    let node = Node::new();
    node.iam.reserve_tenant(&node.ctx(zero()), "reserved").await.unwrap();
    for slug in ["nobody", "reserved", "Not A Name", ""] {
        let refused = node.iam.delete_tenant_named(&node.ctx(zero()), slug, None).await;
        assert!(
            matches!(refused, Err(ExecuteError::Refused(TenantRefusal::NotFound))),
            "{slug}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn a_creation_repeated_after_its_reservation_ran_out_says_so() {
    let node = Node::new();
    let ctx = node.keyed(zero(), "create-acme");
    let reserved = node.iam.reserve_tenant(&ctx, "acme").await.unwrap().reply;
    let new = new_tenant("acme", TenantSettings::default());
    node.iam.create_home(&ctx, reserved, &new).await.unwrap();
    node.advance_ms(120_000);
    let late = node.iam.create_tenant(&ctx, new.clone()).await;
    assert!(matches!(late, Err(ExecuteError::Refused(TenantRefusal::ReservationExpired))), "{late:?}");
    assert!(node.iam.create_tenant(&node.keyed(zero(), "again"), new).await.is_ok());
}

#[tokio::test]
async fn a_home_whose_name_was_given_back_before_a_crash_is_deleted() {
    let node = Node::new();
    let ctx = node.ctx(zero());
    let reserved = node.iam.reserve_tenant(&ctx, "acme").await.unwrap().reply;
    node.iam.create_home(&ctx, reserved, &new_tenant("acme", TenantSettings::default())).await.unwrap();
    node.advance_ms(120_000);
    // The deletion fails when the name is given back, and again when the homes are looked through.
    node.home.inject(Injected::NotLeader(None));
    node.home.inject(Injected::NotLeader(None));
    assert!(node.iam.housekeep().await.is_err());
    assert_eq!(node.iam.housekeep().await.unwrap(), 1);
    assert!(matches!(node.iam.get_tenant(reserved, &Consistency::Local).await, Ok(None)));
    assert_eq!(node.iam.housekeep().await.unwrap(), 0);
}

#[tokio::test]
async fn an_entry_under_a_key_that_the_tenant_does_not_have_is_not_served_and_hides_no_other() {
    use domicile_iam::commands::RootSigned;
    use domicile_iam::seal::RootKey;
    use domicile_iam::streams::directory::{DirectoryEntry, SignedEntry};
    let node = Node::new();
    let ctx = node.ctx(zero());
    let tenant = node.iam.reserve_tenant(&ctx, "acme").await.unwrap().reply;
    node.iam.create_home(&ctx, tenant, &new_tenant("acme", TenantSettings::default())).await.unwrap();
    // Whoever writes to the directory pins a key of their own.
    let forger = RootKey::from_seed(&[7; 32]).unwrap();
    let entry = DirectoryEntry {
        tenant,
        slug: "acme".to_owned(),
        issuer: "https://evil.example".to_owned(),
        home: domicile_raft::PartitionId(1),
        epoch: 1,
        revision: 9,
        root_public_key: forger.public(),
        jwks: None,
        signing_algorithms: Vec::new(),
        scopes: Vec::new(),
        acr_values: Vec::new(),
        disabled: false,
        edge: domicile_iam::model::Edge::Any,
        placement: None,
        home_origin: None,
        require_pushed_authorization_requests: false,
        self_registration: false,
        registration: domicile_iam::model::Registration::Closed,
    };
    let bytes = entry.encode().unwrap();
    let signature = forger.sign("directory entry v1", &bytes).to_vec();
    let signed = SignedEntry { entry: bytes, signature };
    let pinned = RootSigned { signed, root_public_key: forger.public() };
    node.iam.activate_tenant(&ctx, tenant, pinned).await.unwrap();
    assert!(node.iam.tenant_by_slug("acme").await.is_err());
    let other = create(&node, "other").await.unwrap();
    let page = PageRequest::default();
    let listed = node.iam.list_tenants(&page, &Consistency::Linearizable).await.unwrap();
    let known = KnownTenant { id: tenant, slug: "acme".to_owned(), home: domicile_raft::PartitionId(1) };
    let mut wanted = [ListedTenant::Unanswered(known), ListedTenant::Shown(Box::new(other))];
    wanted.sort_by_key(ListedTenant::id);
    assert_eq!(listed.items, wanted);
    node.iam.drive_all_keys().await.unwrap();
}

#[tokio::test]
async fn a_deletion_for_an_old_revision_is_refused_by_the_command_itself() {
    use domicile_iam::commands::{ClientRefusal, UserRefusal};
    let (node, tenant) = Node::with_tenant().await;
    let ctx = node.ctx(tenant);
    let user = node.user(tenant, "alice").await;
    let client = node.web_client(tenant).await;
    let view = node.iam.get_tenant(tenant, &Consistency::Local).await.unwrap().unwrap();
    let refused = node.iam.erase_user(&ctx, user.id, Some(user.revision + 1)).await;
    assert!(matches!(refused, Err(ExecuteError::Refused(UserRefusal::Stale { .. }))));
    let refused = node.iam.rotate_client_secret(&ctx, client.id, 0, Some(client.revision + 1)).await;
    assert!(matches!(refused, Err(ExecuteError::Refused(ClientRefusal::Stale { .. }))));
    let refused = node.iam.delete_client(&ctx, client.id, Some(client.revision + 1)).await;
    assert!(matches!(refused, Err(ExecuteError::Refused(ClientRefusal::Stale { .. }))));
    let refused = node.iam.delete_tenant(&ctx, Some(view.revision + 1)).await;
    assert!(matches!(refused, Err(ExecuteError::Refused(TenantRefusal::Stale { .. }))));
    node.iam.erase_user(&ctx, user.id, Some(user.revision)).await.unwrap();
    node.iam.delete_client(&ctx, client.id, Some(client.revision)).await.unwrap();
    node.iam.delete_tenant(&ctx, Some(view.revision)).await.unwrap();
}

#[tokio::test]
async fn the_time_of_what_is_issued_without_a_write_is_that_of_the_log() {
    let (node, tenant) = Node::with_tenant().await;
    let applied = node.clock.now();
    node.user(tenant, "alice").await;
    // Within what the guard allows, the clock may go back; log time does not.
    node.clock.jump_to(domicile_raft::Timestamp(applied.0 - 100));
    assert!(node.iam.now(tenant).unwrap() >= applied);
    node.clock.jump_to(domicile_raft::Timestamp(applied.0 + 3_600_000));
    assert!(matches!(node.iam.now(tenant), Err(QueryError::Unavailable { .. })));
}
