//! Second factors: set up, proved once, taken away, gone with the user (RFC 6238, docs/adr/0026).

use domicile_iam::commands::{
    LoginRefusal, NewSession, PlainPassword, RECOVERY_CODES, STEP_S, SecondFactorProof, SecondFactorRefusal,
};
use domicile_iam::execute::ExecuteError;
use domicile_iam::ids::{TenantId, UserId};
use domicile_iam::model::{
    ACR_PASSWORD, ACR_TWO_FACTORS, Assurance, Authentication, METHOD_OTP, SessionView, TenantSettings,
};
use domicile_iam::query::Consistency;
use domicile_raft::Clock as _;
use proptest::prelude::*;
use totp_rs::{Builder, Secret};
use zeroize::Zeroizing;

use crate::erasure::holds;
use crate::support::{Node, PASSWORD};

/// What an app shows for `secret` at `at_s`.
fn shown(secret: &str, at_s: u64) -> String {
    let secret = Secret::try_from_base32(secret).unwrap();
    Builder::new().with_secret(secret).build().unwrap().generate(at_s).to_string()
}

struct Given {
    node: Node,
    tenant: TenantId,
    user: UserId,
    session: SessionView,
    secret: String,
    recovery_codes: Vec<String>,
}

impl Given {
    /// A user who set an authenticator up just now.
    async fn new() -> Self {
        let (node, tenant) = Node::with_tenant().await;
        let user = node.user(tenant, "alice").await.id;
        let session = node.session(tenant, user).await;
        let secret = node.iam.new_totp_secret().to_string();
        let code = shown(&secret, node.clock.now().seconds());
        let (session, recovery_codes) = enrol(&node, tenant, &session, &secret, &code).await.unwrap();
        node.tick();
        Self { node, tenant, user, session: session.view, secret, recovery_codes }
    }

    fn now_s(&self) -> u64 {
        self.node.clock.now().seconds()
    }

    fn code(&self) -> String {
        shown(&self.secret, self.now_s())
    }

    fn next_step(&self) {
        self.node.advance_ms(STEP_S * 1_000);
    }

    async fn prove_with(&self, proof: SecondFactorProof) -> Result<NewSession, SecondFactorRefusal> {
        let (iam, ctx) = (&self.node.iam, self.node.ctx(self.tenant));
        let settings = TenantSettings::default();
        match iam.prove_second_factor(&ctx, &self.session, &settings, proof).await {
            Ok(written) => Ok(written.reply),
            Err(ExecuteError::Refused(refusal)) => Err(refusal),
            Err(other) => panic!("{other}"),
        }
    }

    async fn prove(&self, code: &str) -> Result<NewSession, SecondFactorRefusal> {
        self.prove_with(SecondFactorProof::Code(Zeroizing::new(code.to_owned()))).await
    }

    async fn recover(&self, code: &str) -> Result<NewSession, SecondFactorRefusal> {
        self.prove_with(SecondFactorProof::Recovery(Zeroizing::new(code.to_owned()))).await
    }

    /// A further login by password in the same session.
    async fn log_in(&self) -> SessionView {
        let at = self.node.clock.now();
        let proof = Authentication { method: "pwd".to_owned(), at, acr: ACR_PASSWORD.to_owned() };
        let (iam, ctx) = (&self.node.iam, self.node.ctx(self.tenant));
        let session = iam.reauthenticate_session(&ctx, self.session.id, proof).await.unwrap().reply.view;
        self.node.tick();
        session
    }

    async fn left(&self) -> Option<u32> {
        let user = self.node.iam.get_user(self.tenant, self.user, &Consistency::Local).await.unwrap();
        user.unwrap().second_factor.map(|factor| factor.recovery_codes_left)
    }
}

async fn enrol(
    node: &Node,
    tenant: TenantId,
    session: &NewSession,
    secret: &str,
    code: &str,
) -> Result<(NewSession, Vec<String>), SecondFactorRefusal> {
    let (secret, code) = (Zeroizing::new(secret.to_owned()), Zeroizing::new(code.to_owned()));
    match node.iam.enrol_totp(&node.ctx(tenant), session.view.id, secret, code).await {
        Ok(written) => Ok(written.reply),
        Err(ExecuteError::Refused(refusal)) => Err(refusal),
        Err(other) => panic!("{other}"),
    }
}

fn has_two(session: &SessionView) -> bool {
    Assurance::of(&session.authentications).unwrap().second.is_some()
}

#[tokio::test]
async fn owasp_asvs_v5_s6_5_an_authenticator_is_set_up_by_a_code_that_it_shows() {
    let (node, tenant) = Node::with_tenant().await;
    let user = node.user(tenant, "alice").await;
    assert_eq!(user.second_factor, None);
    let session = node.session(tenant, user.id).await;
    let secret = node.iam.new_totp_secret().to_string();
    let now_s = node.clock.now().seconds();
    for (secret, code) in [
        (secret.as_str(), "000000"),
        (secret.as_str(), ""),
        ("", "123456"),
        ("AAAA", "123456"),
        (secret.as_str(), shown(&secret, now_s + 2 * STEP_S).as_str()),
    ] {
        let refused = enrol(&node, tenant, &session, secret, code).await.err();
        assert_eq!(refused, Some(SecondFactorRefusal::WrongCode), "{secret} {code}");
    }
    let code = shown(&secret, now_s);
    let (begun, codes) = enrol(&node, tenant, &session, &secret, &code).await.unwrap();
    assert!(has_two(&begun.view) && codes.len() == RECOVERY_CODES);
    assert_ne!(begun.secret, session.secret, "OWASP ASVS 5 §7.2.4");
    let again = enrol(&node, tenant, &session, &secret, &shown(&secret, now_s + STEP_S)).await;
    assert_eq!(again.err(), Some(SecondFactorRefusal::Present));
    let types = node.event_types(tenant).await;
    assert!(types.contains(&"user.totp.enrolled".to_owned()), "{types:?}");
    assert_ne!(*node.iam.new_totp_secret(), secret);
}

#[tokio::test]
async fn rfc6238_s5_2_a_code_counts_once_and_none_before_it_any_more() {
    let given = Given::new().await;
    assert_eq!(given.prove(&given.code()).await.err(), Some(SecondFactorRefusal::WrongCode), "set up by it");
    given.next_step();
    let (early, code) = (shown(&given.secret, given.now_s() - STEP_S), given.code());
    let late = shown(&given.secret, given.now_s() + STEP_S);
    given.prove(&code).await.unwrap();
    for used in [&code, &early] {
        assert_eq!(given.prove(used).await.err(), Some(SecondFactorRefusal::WrongCode), "{used}");
    }
    given.prove(&late).await.unwrap();
}

#[tokio::test]
async fn rfc6238_s5_2_of_two_who_send_a_code_at_once_one_is_let_in() {
    let given = Given::new().await;
    given.next_step();
    let code = given.code();
    let (a, b) = tokio::join!(given.prove(&code), given.prove(&code));
    assert_eq!(u8::from(a.is_ok()) + u8::from(b.is_ok()), 1);
}

#[tokio::test]
async fn rfc4226_s7_3_wrong_codes_lock_the_account_for_passwords_too() {
    let given = Given::new().await;
    given.next_step();
    for _ in 0..5 {
        assert_eq!(given.prove("000000").await.err(), Some(SecondFactorRefusal::WrongCode));
    }
    let locked = |refused: Option<SecondFactorRefusal>| {
        assert!(matches!(refused, Some(SecondFactorRefusal::LockedUntil(_))), "{refused:?}");
    };
    locked(given.prove(&given.code()).await.err());
    locked(given.recover(&given.recovery_codes[0]).await.err());
    let (iam, ctx) = (&given.node.iam, given.node.ctx(given.tenant));
    let login = iam.authenticate_password(&ctx, "alice", &PlainPassword::new(PASSWORD)).await;
    assert_eq!(login.err(), Some(LoginRefusal::BadCredentials));
    given.node.advance_ms(TenantSettings::default().lockout_ms + 1_000);
    given.prove(&given.code()).await.unwrap();
}

#[tokio::test]
async fn owasp_asvs_v5_s6_5_1_a_recovery_code_works_once() {
    let given = Given::new().await;
    let code = &given.recovery_codes[3];
    assert!(has_two(&given.recover(&code.to_uppercase()).await.unwrap().view));
    assert_eq!(given.left().await, Some(9));
    assert_eq!(given.recover(code).await.err(), Some(SecondFactorRefusal::WrongCode));
    given.recover(&given.recovery_codes[4]).await.unwrap();
    let (iam, ctx) = (&given.node.iam, given.node.ctx(given.tenant));
    let others = iam.replace_recovery_codes(&ctx, given.user).await.unwrap().reply;
    assert_eq!(given.left().await, Some(10));
    assert_eq!(given.recover(&given.recovery_codes[0]).await.err(), Some(SecondFactorRefusal::WrongCode));
    given.recover(&others[0]).await.unwrap();
}

#[tokio::test]
async fn a_second_factor_is_after_a_password_and_makes_no_login_newer() {
    let given = Given::new().await;
    let first = Assurance::of(&given.session.authentications).unwrap().first.at;
    given.next_step();
    let session = given.prove(&given.code()).await.unwrap().view;
    assert_eq!(Assurance::of(&session.authentications).unwrap().first.at, first, "auth_time");
    let again = given.log_in().await;
    assert!(!has_two(&again), "a new login asks for both");
    given.next_step();
    let both = given.prove(&given.code()).await.unwrap().view;
    let proofs = Assurance::of(&both.authentications).unwrap();
    assert_eq!(proofs.reached(), [ACR_TWO_FACTORS, ACR_PASSWORD]);
    assert_eq!(proofs.methods(), ["mfa", "otp", "pwd"]);
    assert_eq!(proofs.second.unwrap().method, METHOD_OTP);
}

#[tokio::test]
async fn a_session_that_a_new_password_voided_is_not_revived_by_a_code() {
    let given = Given::new().await;
    given.next_step();
    let (iam, ctx) = (&given.node.iam, given.node.ctx(given.tenant));
    iam.change_password(&ctx, given.user, None, PlainPassword::new("another password")).await.unwrap();
    given.node.tick();
    assert_eq!(given.prove(&given.code()).await.err(), Some(SecondFactorRefusal::SessionOver));
    let page = domicile_iam::model::PageRequest { page_size: None, page_token: None };
    let left = iam.list_sessions(given.tenant, given.user, &page, &Consistency::Local).await.unwrap();
    assert!(left.items.is_empty());
}

#[tokio::test]
async fn a_second_factor_is_removed_and_goes_with_its_user() {
    let given = Given::new().await;
    let (iam, ctx) = (&given.node.iam, given.node.ctx(given.tenant));
    iam.remove_second_factor(&ctx, given.user).await.unwrap();
    assert_eq!(given.left().await, None);
    let gone = iam.remove_second_factor(&ctx, given.user).await.err();
    assert!(matches!(gone, Some(ExecuteError::Refused(SecondFactorRefusal::Absent))));
    given.next_step();
    assert_eq!(given.prove(&given.code()).await.err(), Some(SecondFactorRefusal::Absent));
    let given = Given::new().await;
    let (iam, ctx) = (&given.node.iam, given.node.ctx(given.tenant));
    iam.erase_user(&ctx, given.user, None).await.unwrap();
    given.node.tick();
    assert_eq!(given.prove(&given.code()).await.err(), Some(SecondFactorRefusal::SessionOver));
    assert!(iam.get_user(given.tenant, given.user, &Consistency::Local).await.unwrap().is_none());
    let gone = iam.remove_second_factor(&ctx, given.user).await.err();
    assert!(matches!(gone, Some(ExecuteError::Refused(SecondFactorRefusal::Absent))));
}

#[tokio::test]
async fn what_is_kept_of_a_second_factor_is_sealed_or_hashed() {
    let given = Given::new().await;
    let holds = |text: &str| holds(&given.node, text);
    assert!(holds("user.totp.enrolled"), "what is looked through is what is stored");
    assert!(!holds(&given.secret));
    for code in &given.recovery_codes {
        assert!(!holds(code) && !holds(&code.replace('-', "")), "{code}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// Whatever is sent in whichever order, a code counts exactly if it is of a step near the present that is later
    /// than that of every code before.
    #[test]
    fn a_time_step_is_accepted_at_most_once(steps in prop::collection::vec((0..3_u64, 0..5_u64), 1..16)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let given = Given::new().await;
            let mut last = given.now_s() / STEP_S;
            for (forward, beside) in steps {
                given.node.advance_ms(forward * STEP_S * 1_000);
                let now = given.now_s() / STEP_S;
                let step = now + beside - 2;
                let proved = given.prove(&shown(&given.secret, step * STEP_S)).await;
                let counts = step > last && step + 1 >= now && step <= now + 1;
                match proved {
                    Ok(_) => {
                        assert!(counts, "{step} at {now} after {last}");
                        last = step;
                    }
                    Err(SecondFactorRefusal::LockedUntil(_)) => return,
                    Err(refusal) => assert!(!counts, "{step} at {now} after {last}: {refusal}"),
                }
            }
        });
    }
}
