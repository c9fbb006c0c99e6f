//! Users: names, addresses, claims, pages.

use domicile_iam::commands::{CreateUser, UserPatch, UserRefusal};
use domicile_iam::execute::ExecuteError;
use domicile_iam::ids::TenantId;
use domicile_iam::model::{PageRequest, TenantSettings, UserView};
use domicile_iam::query::Consistency;
use serde_json::json;

use crate::support::Node;

async fn create(node: &Node, tenant: TenantId, new: CreateUser) -> Result<UserView, UserRefusal> {
    match node.iam.create_user(&node.ctx(tenant), new).await {
        Ok(written) => Ok(written.reply),
        Err(ExecuteError::Refused(refusal)) => Err(refusal),
        Err(other) => panic!("{other}"),
    }
}

async fn update(
    node: &Node,
    tenant: TenantId,
    user: &UserView,
    patch: UserPatch,
) -> Result<UserView, UserRefusal> {
    match node.iam.update_user(&node.ctx(tenant), user.id, patch).await {
        Ok(written) => Ok(written.reply),
        Err(ExecuteError::Refused(refusal)) => Err(refusal),
        Err(other) => panic!("{other}"),
    }
}

fn named(username: &str) -> CreateUser {
    CreateUser { username: username.to_owned(), ..CreateUser::default() }
}

fn with_email(username: &str, email: &str) -> CreateUser {
    CreateUser { email: Some(email.to_owned()), email_verified: true, ..named(username) }
}

#[tokio::test]
async fn oidc_core_s5_1_all_standard_claims_read_back_as_written() {
    let (node, tenant) = Node::with_tenant().await;
    let claims = json!({
        "name": "Jane Doe", "family_name#ja-Kana-JP": "ドウ", "profile": "https://example.org/jane",
        "birthdate": "1984-02-29", "zoneinfo": "Europe/Berlin", "locale": "de-DE",
        "address": {"formatted": "1 Way\nTown", "country": "DE"},
    });
    let new = CreateUser {
        claims: serde_json::from_value(claims.clone()).unwrap(),
        phone_number: Some("+1604555123;ext=5678".to_owned()),
        ..with_email("jane", "jane@example.org")
    };
    let user = create(&node, tenant, new).await.unwrap();
    let read = node.iam.get_user(tenant, user.id, &Consistency::Linearizable).await.unwrap().unwrap();
    assert_eq!(read, user);
    assert_eq!(serde_json::to_value(&read.claims).unwrap(), claims);
    assert_eq!(read.subject, user.id.to_string());
    assert!(read.email_verified && !read.phone_number_verified && !read.has_password);
}

#[tokio::test]
async fn malformed_values_are_refused_by_name() {
    let (node, tenant) = Node::with_tenant().await;
    let claim = |name: &str, value| CreateUser { claims: [(name.to_owned(), value)].into(), ..named("x") };
    let cases = [
        (named(""), UserRefusal::InvalidUsername),
        (named("two words"), UserRefusal::InvalidUsername),
        (with_email("x", "nobody"), UserRefusal::InvalidEmail),
        (CreateUser { subject: Some("ü".to_owned()), ..named("x") }, UserRefusal::InvalidSubject),
        (CreateUser { subject: Some("s".repeat(256)), ..named("x") }, UserRefusal::InvalidSubject),
        (CreateUser { phone_number: Some("0123".to_owned()), ..named("x") }, UserRefusal::InvalidPhoneNumber),
        (
            claim("birthdate", json!("yesterday")),
            UserRefusal::InvalidClaim {
                name: "birthdate".to_owned(),
                rule: "is not `YYYY-MM-DD`, `0000-MM-DD` or `YYYY`",
            },
        ),
    ];
    for (new, refusal) in cases {
        assert_eq!(create(&node, tenant, new).await.err(), Some(refusal));
    }
}

#[tokio::test]
async fn a_subject_is_never_used_again() {
    let (node, tenant) = Node::with_tenant().await;
    let imported = CreateUser { subject: Some("legacy-7".to_owned()), ..named("alice") };
    let user = create(&node, tenant, imported.clone()).await.unwrap();
    assert_eq!(user.subject, "legacy-7");
    let again = CreateUser { username: "bob".to_owned(), ..imported };
    assert_eq!(create(&node, tenant, again.clone()).await.err(), Some(UserRefusal::SubjectTaken));
    node.iam.erase_user(&node.ctx(tenant), user.id, None).await.unwrap();
    assert_eq!(create(&node, tenant, again).await.err(), Some(UserRefusal::SubjectTaken));
}

#[tokio::test]
async fn a_changed_name_frees_the_old_one_but_another_spelling_does_not() {
    let (node, tenant) = Node::with_tenant().await;
    let user = create(&node, tenant, named("alice")).await.unwrap();
    let rename = |name: &str| UserPatch { username: Some(name.to_owned()), ..UserPatch::default() };
    assert_eq!(update(&node, tenant, &user, rename("Alice")).await.unwrap().username, "Alice");
    assert_eq!(create(&node, tenant, named("alice")).await.err(), Some(UserRefusal::UsernameTaken));
    update(&node, tenant, &user, rename("carol")).await.unwrap();
    assert!(create(&node, tenant, named("ALICE")).await.is_ok());
    assert_eq!(update(&node, tenant, &user, rename("alice")).await.err(), Some(UserRefusal::UsernameTaken));
}

#[tokio::test]
async fn nobody_takes_anothers_address_as_a_name() {
    let (node, tenant) = Node::with_tenant().await;
    create(&node, tenant, with_email("alice", "alice@example.org")).await.unwrap();
    assert_eq!(
        create(&node, tenant, named("alice@example.org")).await.err(),
        Some(UserRefusal::UsernameTaken)
    );
    let own = with_email("bob@example.org", "bob@example.org");
    assert!(create(&node, tenant, own).await.is_ok());
    create(&node, tenant, named("carol@example.org")).await.unwrap();
    let taken = with_email("dave", "carol@example.org");
    assert_eq!(create(&node, tenant, taken).await.err(), Some(UserRefusal::EmailTaken));
}

#[tokio::test]
async fn a_changed_address_holds_both_until_it_is_verified() {
    let (node, tenant) = Node::with_tenant().await;
    let user = create(&node, tenant, with_email("alice", "old@example.org")).await.unwrap();
    let patch = UserPatch { email: Some(Some("new@example.org".to_owned())), ..UserPatch::default() };
    let changed = update(&node, tenant, &user, patch).await.unwrap();
    assert!(!changed.email_verified);
    for held in ["old@example.org", "NEW@example.org"] {
        assert_eq!(create(&node, tenant, with_email("bob", held)).await.err(), Some(UserRefusal::EmailTaken));
        let found = node.iam.find_user(tenant, held, &Consistency::Local).await.unwrap();
        assert_eq!(found, Some(user.id), "{held}");
    }
    let verified = UserPatch { email_verified: Some(true), ..UserPatch::default() };
    assert!(update(&node, tenant, &user, verified).await.unwrap().email_verified);
    assert!(create(&node, tenant, with_email("bob", "old@example.org")).await.is_ok());
    assert_eq!(
        create(&node, tenant, with_email("eve", "new@example.org")).await.err(),
        Some(UserRefusal::EmailTaken)
    );
}

#[tokio::test]
async fn an_address_that_was_never_verified_is_not_held_and_spellings_are_one() {
    let (node, tenant) = Node::with_tenant().await;
    let user = create(&node, tenant, with_email("alice", "a@example.org")).await.unwrap();
    for email in ["b@example.org", "c@example.org", "A@example.org"] {
        let patch = UserPatch { email: Some(Some(email.to_owned())), ..UserPatch::default() };
        update(&node, tenant, &user, patch).await.unwrap();
    }
    assert!(create(&node, tenant, with_email("bob", "b@example.org")).await.is_ok());
    assert!(create(&node, tenant, with_email("carol", "c@example.org")).await.is_ok());
    assert_eq!(
        create(&node, tenant, with_email("eve", "a@example.org")).await.err(),
        Some(UserRefusal::EmailTaken)
    );
    let gone = UserPatch { email: Some(None), ..UserPatch::default() };
    update(&node, tenant, &user, gone).await.unwrap();
    assert!(create(&node, tenant, with_email("eve", "a@example.org")).await.is_ok());
}

#[tokio::test]
async fn a_tenant_may_let_users_share_an_address() {
    let settings = TenantSettings { email_unique: false, ..TenantSettings::default() };
    let (node, tenant) = Node::with_settings(settings).await;
    create(&node, tenant, with_email("alice", "us@example.org")).await.unwrap();
    let bob = create(&node, tenant, with_email("bob", "us@example.org")).await.unwrap();
    let patch = UserPatch { email: Some(Some("bob@example.org".to_owned())), ..UserPatch::default() };
    update(&node, tenant, &bob, patch).await.unwrap();
    node.iam.erase_user(&node.ctx(tenant), bob.id, None).await.unwrap();
}

#[tokio::test]
async fn claims_are_patched_by_name() {
    let (node, tenant) = Node::with_tenant().await;
    let new = CreateUser {
        claims: serde_json::from_value(json!({"name": "A", "nickname": "N"})).unwrap(),
        ..named("alice")
    };
    let user = create(&node, tenant, new).await.unwrap();
    node.tick();
    let claims = serde_json::from_value(json!({"nickname": null, "gender": "x"})).unwrap();
    let changed = update(&node, tenant, &user, UserPatch { claims, ..UserPatch::default() }).await.unwrap();
    assert_eq!(serde_json::to_value(&changed.claims).unwrap(), json!({"name": "A", "gender": "x"}));
    assert!(changed.updated_at > user.updated_at);
    let same = update(&node, tenant, &user, UserPatch::default()).await.unwrap();
    assert_eq!(same.revision, changed.revision, "nothing changed, nothing is written");
}

#[tokio::test]
async fn users_are_listed_by_creation_a_page_at_a_time() {
    let (node, tenant) = Node::with_tenant().await;
    let mut created = Vec::new();
    for n in 0..5 {
        created.push(create(&node, tenant, named(&format!("user{n}"))).await.unwrap().id);
        node.tick();
    }
    node.iam.erase_user(&node.ctx(tenant), created.remove(2), None).await.unwrap();
    let mut listed = Vec::new();
    let mut page = PageRequest { page_size: Some(3), page_token: None };
    loop {
        let got = node.iam.list_users(tenant, &page, &Consistency::Linearizable).await.unwrap();
        assert!(got.items.len() <= 3);
        listed.extend(got.items.iter().map(|user| user.id));
        page.page_token = got.next_page_token;
        if page.page_token.is_none() {
            break;
        }
    }
    assert_eq!(listed, created);
}

#[tokio::test]
async fn a_repeated_request_gives_the_first_reply() {
    let (node, tenant) = Node::with_tenant().await;
    let ctx = node.keyed(tenant, "create-alice");
    let first = node.iam.create_user(&ctx, named("alice")).await.unwrap();
    let again = node.iam.create_user(&ctx, named("alice")).await.unwrap();
    assert!(!first.replayed && again.replayed);
    assert_eq!(first.reply.id, again.reply.id);
}

#[tokio::test]
async fn a_read_with_a_writes_token_sees_it_and_a_foreign_token_is_refused() {
    let (node, tenant) = Node::with_tenant().await;
    let written = node.iam.create_user(&node.ctx(tenant), named("alice")).await.unwrap();
    let consistency = Consistency::AtLeast(written.consistency);
    assert!(node.iam.get_user(tenant, written.reply.id, &consistency).await.unwrap().is_some());
    let mut foreign = written.consistency;
    foreign.incarnation = domicile_raft::Incarnation(0);
    let refused = node.iam.get_user(tenant, written.reply.id, &Consistency::AtLeast(foreign)).await;
    assert_eq!(refused.err(), Some(domicile_iam::query::QueryError::ForeignToken));
}

#[tokio::test]
async fn a_user_is_found_by_all_names_that_are_asked_for_until_it_is_erased() {
    use domicile_iam::model::SubjectKind::{Email, Username};
    let (node, tenant) = Node::with_tenant().await;
    let alice = create(&node, tenant, with_email("alice", "alice@example.org")).await.unwrap();
    create(&node, tenant, with_email("bob", "bob@example.org")).await.unwrap();
    let find = async |names: &[(domicile_iam::model::SubjectKind, &str)]| {
        let names: Vec<_> = names.iter().map(|(kind, name)| (*kind, (*name).to_owned())).collect();
        let found = node.iam.user_holding(tenant, &names, &Consistency::Linearizable).await.unwrap();
        found.map(|user| user.id)
    };
    assert_eq!(find(&[(Username, "ALICE")]).await, Some(alice.id));
    assert_eq!(find(&[(Email, "Alice@Example.org")]).await, Some(alice.id));
    assert_eq!(find(&[(Username, "alice"), (Email, "alice@example.org")]).await, Some(alice.id));
    assert_eq!(find(&[(Username, "alice"), (Email, "bob@example.org")]).await, None);
    assert_eq!(find(&[(Username, "alice@example.org")]).await, None);
    assert_eq!(find(&[]).await, None);
    node.iam.erase_user(&node.ctx(tenant), alice.id, None).await.unwrap();
    assert_eq!(find(&[(Username, "alice")]).await, None);
}

#[tokio::test]
async fn an_address_is_given_back_also_when_addresses_need_not_be_unique_any_more() {
    use domicile_iam::commands::TenantPatch;
    let (node, tenant) = Node::with_tenant().await;
    let unique = |email_unique| TenantPatch {
        settings: Some(TenantSettings { email_unique, ..TenantSettings::default() }),
        ..TenantPatch::default()
    };
    let alice = create(&node, tenant, with_email("alice", "first@example.org")).await.unwrap();
    let carol = create(&node, tenant, with_email("carol", "carol@example.org")).await.unwrap();
    node.iam.update_tenant(&node.ctx(tenant), unique(false)).await.unwrap();
    let patch = UserPatch {
        email: Some(Some("second@example.org".to_owned())),
        email_verified: Some(true),
        ..UserPatch::default()
    };
    update(&node, tenant, &alice, patch).await.unwrap();
    node.iam.erase_user(&node.ctx(tenant), carol.id, None).await.unwrap();
    node.iam.update_tenant(&node.ctx(tenant), unique(true)).await.unwrap();
    assert!(create(&node, tenant, with_email("bob", "first@example.org")).await.is_ok());
    assert!(create(&node, tenant, with_email("dave", "carol@example.org")).await.is_ok());
}
