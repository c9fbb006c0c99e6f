//! Password logins: names and addresses, imports, locks, load.

use domicile_iam::commands::{CreateUser, LoginRefusal, PasswordRule, PlainPassword, UserPatch, UserRefusal};
use domicile_iam::execute::ExecuteError;
use domicile_iam::ids::TenantId;
use domicile_iam::model::TenantSettings;
use domicile_iam::password::{Argon2Cost, HashingLimits, PasswordHasher};
use domicile_raft::SystemClock;

use crate::support::{Node, PASSWORD};

async fn login(node: &Node, tenant: TenantId, name: &str, password: &str) -> Result<(), LoginRefusal> {
    let password = PlainPassword::new(password);
    node.iam.authenticate_password(&node.ctx(tenant), name, &password).await.map(|_| ())
}

#[tokio::test]
async fn a_name_or_an_address_in_any_case_and_the_password_log_in() {
    let (node, tenant) = Node::with_tenant().await;
    let user = node.user(tenant, "alice").await;
    for name in ["alice", "ALICE", "alice@example.org", "Alice@EXAMPLE.org"] {
        let ok = node
            .iam
            .authenticate_password(&node.ctx(tenant), name, &PlainPassword::new(PASSWORD))
            .await
            .unwrap();
        assert_eq!((ok.user, ok.authentication.method.as_str()), (user.id, "pwd"), "{name}");
    }
    for (name, password) in [("alice", "wrong"), ("nobody", PASSWORD), ("", PASSWORD), ("alice", "")] {
        assert_eq!(login(&node, tenant, name, password).await, Err(LoginRefusal::BadCredentials), "{name}");
    }
}

#[tokio::test]
async fn a_disabled_user_may_not_log_in() {
    let (node, tenant) = Node::with_tenant().await;
    let user = node.user(tenant, "alice").await;
    for (disabled, outcome) in [(true, Err(LoginRefusal::BadCredentials)), (false, Ok(()))] {
        let patch = UserPatch { disabled: Some(disabled), ..UserPatch::default() };
        node.iam.update_user(&node.ctx(tenant), user.id, patch).await.unwrap();
        assert_eq!(login(&node, tenant, "alice", PASSWORD).await, outcome);
    }
}

#[tokio::test]
async fn a_login_right_after_a_password_change_starts_a_session() {
    let (node, tenant) = Node::with_tenant().await;
    let user = node.user(tenant, "alice").await;
    let ctx = node.ctx(tenant);
    let new = PlainPassword::new("another password");
    node.iam.change_password(&ctx, user.id, Some(PlainPassword::new(PASSWORD)), new.clone()).await.unwrap();
    // The clock stands still: what comes after is told by what was read, not by the time.
    let ok = node.iam.authenticate_password(&ctx, "alice", &new).await.unwrap();
    assert!(node.iam.start_session(&ctx, ok.user, ok.authentication, None).await.is_ok());
    assert_eq!(login(&node, tenant, "alice", PASSWORD).await, Err(LoginRefusal::BadCredentials));
    let wrong = PlainPassword::new(PASSWORD);
    let refused = node.iam.change_password(&ctx, user.id, Some(wrong), new).await;
    assert!(matches!(refused, Err(ExecuteError::Refused(UserRefusal::WrongPassword))));
}

#[tokio::test]
async fn owasp_asvs_6_2_1_short_and_endless_passwords_are_refused() {
    let (node, tenant) = Node::with_tenant().await;
    for (password, rule) in [
        ("short12".to_owned(), PasswordRule::TooShort { min: 8 }),
        ("x".repeat(1025), PasswordRule::TooLong { max_bytes: 1024 }),
    ] {
        let new = CreateUser {
            username: "bob".to_owned(),
            password: Some(PlainPassword::new(password)),
            ..CreateUser::default()
        };
        let refused = node.iam.create_user(&node.ctx(tenant), new).await;
        assert!(
            matches!(refused, Err(ExecuteError::Refused(UserRefusal::Password(broken))) if broken == rule)
        );
    }
}

#[tokio::test]
async fn imported_hashes_work_and_are_renewed_at_the_first_login() {
    // "correct horse battery" under each kind, made with other tools.
    let (node, tenant) = Node::with_tenant().await;
    let bcrypt = bcrypt::hash(PASSWORD, 4).unwrap();
    let salt = argon2::password_hash::SaltString::encode_b64(b"saltsaltsaltsalt").unwrap();
    let mut out = [0_u8; 32];
    aws_lc_rs::pbkdf2::derive(
        aws_lc_rs::pbkdf2::PBKDF2_HMAC_SHA256,
        std::num::NonZeroU32::new(1000).unwrap(),
        b"saltsaltsaltsalt",
        PASSWORD.as_bytes(),
        &mut out,
    );
    let encoded = argon2::password_hash::Output::new(&out).unwrap();
    let pbkdf2 = format!("$pbkdf2-sha256$i=1000,l=32${salt}${encoded}");
    let params = scrypt::Params::new(4, 8, 1, 32).unwrap();
    scrypt::scrypt(PASSWORD.as_bytes(), b"saltsaltsaltsalt", &params, &mut out).unwrap();
    let encoded = argon2::password_hash::Output::new(&out).unwrap();
    let scrypt = format!("$scrypt$ln=4,r=8,p=1${salt}${encoded}");
    for (name, hash) in [("b", bcrypt), ("p", pbkdf2), ("s", scrypt)] {
        let new =
            CreateUser { username: name.to_owned(), password_hash: Some(hash), ..CreateUser::default() };
        node.iam.create_user(&node.ctx(tenant), new).await.unwrap();
        assert_eq!(
            login(&node, tenant, name, "wrong password").await,
            Err(LoginRefusal::BadCredentials),
            "{name}"
        );
        let renewed = |types: Vec<String>| types.iter().filter(|t| *t == "user.password.rehashed").count();
        let before = renewed(node.event_types(tenant).await);
        for _ in 0..2 {
            assert_eq!(login(&node, tenant, name, PASSWORD).await, Ok(()), "{name}");
        }
        assert_eq!(renewed(node.event_types(tenant).await) - before, 1, "{name}");
    }
    let new = CreateUser {
        username: "x".to_owned(),
        password_hash: Some("md5".to_owned()),
        ..CreateUser::default()
    };
    let refused = node.iam.create_user(&node.ctx(tenant), new).await;
    let rule = PasswordRule::UnusableHash;
    assert!(matches!(refused, Err(ExecuteError::Refused(UserRefusal::Password(broken))) if broken == rule));
}

#[tokio::test]
async fn too_many_wrong_passwords_lock_and_tell_nothing_of_who_exists() {
    let settings = TenantSettings { lockout_attempts: 3, lockout_ms: 60_000, ..TenantSettings::default() };
    let (node, tenant) = Node::with_settings(settings).await;
    node.user(tenant, "alice").await;
    for name in ["alice", "nobody"] {
        for _ in 0..3 {
            assert_eq!(
                login(&node, tenant, name, "wrong").await,
                Err(LoginRefusal::BadCredentials),
                "{name}"
            );
        }
        let locked = login(&node, tenant, name, PASSWORD).await;
        assert!(matches!(locked, Err(LoginRefusal::LockedUntil(_))), "{name} {locked:?}");
    }
    assert_eq!(node.event_types(tenant).await.iter().filter(|t| *t == "user.locked").count(), 1);
    node.advance_ms(60_000);
    assert_eq!(login(&node, tenant, "alice", PASSWORD).await, Ok(()));
}

#[tokio::test]
async fn a_full_hashing_queue_says_when_to_come_back() {
    let slow = Argon2Cost { memory_kib: 19_456, passes: 8, lanes: 1 };
    let limits = HashingLimits { cost: slow, threads: 1, queue_max: 1 };
    let hasher = PasswordHasher::new(limits, std::sync::Arc::new(SystemClock::new())).unwrap();
    let password = PlainPassword::new(PASSWORD);
    let (a, b, c) = tokio::join!(hasher.hash(&password), hasher.hash(&password), hasher.hash(&password));
    assert!(a.is_ok() && b.is_ok());
    assert_eq!(c, Err(domicile_iam::password::HashingFault::Busy { retry_after_s: 1 }));
    let a = a.unwrap();
    assert!(a.starts_with("$argon2id$v=19$m=19456,t=8,p=1$"), "{a}");
    assert_ne!(Ok(a), b, "each has its own salt");
}

#[tokio::test]
async fn an_unknown_name_costs_the_hash_that_a_wrong_password_costs() {
    let slow = Argon2Cost { memory_kib: 19_456, passes: 8, lanes: 1 };
    let (node, tenant) = Node::with_hashing(HashingLimits { cost: slow, threads: 1, queue_max: 0 }).await;
    node.user(tenant, "alice").await;
    // One hash at a time, and no queue: of two logins at once one finds the pool at work.
    for names in [["alice", "alice"], ["nobody", "alice"], ["nobody", "nobody-else"]] {
        let [one, other] = names.map(|name| login(&node, tenant, name, "wrong"));
        let (one, other) = tokio::join!(one, other);
        let busy = Err(LoginRefusal::Busy { retry_after_s: 1 });
        assert!((one == busy) != (other == busy), "{names:?}: {one:?}, {other:?}");
        assert!(one == Err(LoginRefusal::BadCredentials) || other == Err(LoginRefusal::BadCredentials));
    }
}

#[tokio::test]
async fn a_lock_out_is_written_once_a_minute_by_whichever_name_it_came_about() {
    let settings = TenantSettings { lockout_attempts: 1, lockout_ms: 1_000, ..TenantSettings::default() };
    let (node, tenant) = Node::with_settings(settings).await;
    node.user(tenant, "alice").await;
    let written = async || node.event_types(tenant).await.iter().filter(|t| *t == "user.locked").count();
    let wrong = async |name: &str| login(&node, tenant, name, "wrong").await;
    assert_eq!(wrong("alice").await, Err(LoginRefusal::BadCredentials));
    assert_eq!(written().await, 1);
    // That lock is over, and the other name has a count of its own.
    node.advance_ms(2_000);
    assert_eq!(wrong("alice@example.org").await, Err(LoginRefusal::BadCredentials));
    assert_eq!(written().await, 1, "the same account");
    let locked = login(&node, tenant, "alice@example.org", PASSWORD).await;
    assert!(matches!(locked, Err(LoginRefusal::LockedUntil(_))), "it holds where it was counted: {locked:?}");
    node.advance_ms(60_000);
    assert_eq!(wrong("alice").await, Err(LoginRefusal::BadCredentials));
    assert_eq!(written().await, 2);
}

#[tokio::test]
async fn a_lock_does_not_tell_which_names_are_one_persons() {
    let settings = TenantSettings { lockout_attempts: 3, lockout_ms: 60_000, ..TenantSettings::default() };
    let (node, tenant) = Node::with_settings(settings).await;
    node.user(tenant, "alice").await;
    for _ in 0..3 {
        assert_eq!(login(&node, tenant, "alice", "wrong").await, Err(LoginRefusal::BadCredentials));
    }
    assert!(matches!(login(&node, tenant, "alice", PASSWORD).await, Err(LoginRefusal::LockedUntil(_))));
    // The same answer as for an address that is nobody's, but no way around the lock either.
    for name in ["alice@example.org", "nobody@example.org"] {
        assert_eq!(login(&node, tenant, name, PASSWORD).await, Err(LoginRefusal::BadCredentials), "{name}");
    }
    node.advance_ms(60_000);
    assert_eq!(login(&node, tenant, "alice@example.org", PASSWORD).await, Ok(()));
}

#[tokio::test]
async fn a_password_that_an_administrator_sets_lifts_the_lock() {
    let settings = TenantSettings { lockout_attempts: 3, lockout_ms: 60_000, ..TenantSettings::default() };
    let (node, tenant) = Node::with_settings(settings).await;
    let user = node.user(tenant, "alice").await;
    for name in ["alice", "Alice@Example.org"] {
        for _ in 0..3 {
            assert_eq!(login(&node, tenant, name, "wrong").await, Err(LoginRefusal::BadCredentials));
        }
    }
    let new = PlainPassword::new("another password");
    node.iam.change_password(&node.ctx(tenant), user.id, None, new).await.unwrap();
    for name in ["alice", "alice@example.org"] {
        assert_eq!(login(&node, tenant, name, "another password").await, Ok(()), "{name}");
    }
}
