//! Notices of logouts for clients (OpenID Connect Back-Channel Logout 1.0): left with what ends a session.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex};

use domicile_iam::commands::{LogoutNotice, NewSession, PlainPassword, SettledLogout, UserPatch};
use domicile_iam::ids::{TenantId, UserId};
use domicile_iam::model::{Authentication, ClientView};
use domicile_iam::service::Search;
use domicile_iam::streams::session::{LogoutFailure, SessionEndReason};
use domicile_raft::{Clock, Partition, PartitionId};
use tracing::field::{Field, Visit};
use tracing::span;

use crate::support::{Node, REDIRECT};

const HOME: PartitionId = PartitionId(1);

/// A user with a session that two clients take part in; the first wants to hear of its end.
struct Given {
    node: Node,
    tenant: TenantId,
    user: UserId,
    told: ClientView,
    silent: ClientView,
    session: NewSession,
}

impl Given {
    async fn new() -> Self {
        let (node, tenant) = Node::with_tenant().await;
        let user = node.user(tenant, "alice").await.id;
        let told = node
            .client(
                tenant,
                serde_json::json!({
                    "redirect_uris": [REDIRECT], "backchannel_logout_uri": "https://rp.example/logout",
                }),
            )
            .await
            .0;
        let silent = node.web_client(tenant).await;
        let session = node.session(tenant, user).await;
        for client in [&told, &silent] {
            node.code(tenant, &session, client, &["openid"]).await;
        }
        Self { node, tenant, user, told, silent, session }
    }

    fn pending(&self, search: Search) -> Vec<LogoutNotice> {
        let pending = self.node.iam.pending_logouts(HOME, search).unwrap();
        assert!(pending.iter().all(|pending| pending.tenant == self.tenant));
        pending.into_iter().map(|pending| pending.notice).collect()
    }

    async fn end(&self, reason: SessionEndReason) {
        let ctx = self.node.ctx(self.tenant);
        self.node.iam.end_session(&ctx, self.session.view.id, reason).await.unwrap();
    }

    async fn settle(&self, notice: &LogoutNotice, failure: Option<LogoutFailure>) {
        let settled = vec![SettledLogout { notice: notice.clone(), failure }];
        self.node.iam.settle_logouts(self.tenant, settled).await.unwrap();
    }

    /// The one notice that there is, by both ways to find it.
    fn the_notice(&self) -> LogoutNotice {
        let noted = self.pending(Search::WhereNoted);
        assert_eq!(noted, self.pending(Search::Everywhere));
        assert_eq!(noted.len(), 1, "{noted:?}");
        noted.into_iter().next().unwrap()
    }
}

#[tokio::test]
async fn oidc_backchannel_s2_5_the_clients_of_an_ended_session_that_want_to_know_are_noted() {
    let given = Given::new().await;
    assert!(given.pending(Search::Everywhere).is_empty());
    given.end(SessionEndReason::Logout).await;
    let notice = given.the_notice();
    assert_eq!(
        (notice.client, notice.session, notice.user),
        (given.told.id, given.session.view.id, given.user)
    );
    assert_ne!(notice.client, given.silent.id);
    assert!(!notice.sid.is_empty());
    assert!(given.pending(Search::WhereNoted).is_empty(), "a hint is given once, the record stays");
    assert_eq!(given.pending(Search::Everywhere), std::slice::from_ref(&notice));
    given.settle(&notice, None).await;
    assert!(given.pending(Search::Everywhere).is_empty());
    let before = given.node.home.applied();
    given.settle(&notice, None).await;
    assert_eq!(given.node.home.applied(), before, "what is settled is not settled again");
}

#[tokio::test]
async fn whatever_ends_a_session_is_told() {
    for how in ["administrator", "replaced", "disabled", "password", "erased"] {
        let given = Given::new().await;
        let (node, ctx) = (&given.node, given.node.ctx(given.tenant));
        node.tick();
        match how {
            "administrator" => given.end(SessionEndReason::Administrator).await,
            "replaced" => {
                let at = node.clock.now();
                let again = Authentication { method: "pwd".to_owned(), at, acr: "urn:test".to_owned() };
                let old = Some(given.session.view.id);
                node.iam.start_session(&ctx, given.user, again, old).await.unwrap();
            }
            "disabled" => {
                let patch = UserPatch { disabled: Some(true), ..UserPatch::default() };
                node.iam.update_user(&ctx, given.user, patch).await.unwrap();
            }
            "password" => {
                let password = PlainPassword::new("another password");
                node.iam.change_password(&ctx, given.user, None, password).await.unwrap();
            }
            _ => {
                node.iam.erase_user(&ctx, given.user, None).await.unwrap();
            }
        }
        assert_eq!(given.the_notice().session, given.session.view.id, "{how}");
    }
}

#[tokio::test]
async fn sessions_that_were_over_before_are_not_told_again() {
    let given = Given::new().await;
    let ctx = given.node.ctx(given.tenant);
    given.end(SessionEndReason::Logout).await;
    let first = given.the_notice();
    given.settle(&first, None).await;
    given.node.tick();
    let password = PlainPassword::new("another password");
    given.node.iam.change_password(&ctx, given.user, None, password).await.unwrap();
    assert!(given.pending(Search::Everywhere).is_empty());
}

#[tokio::test]
async fn a_later_logout_is_not_settled_by_an_earlier_one() {
    let given = Given::new().await;
    let ctx = given.node.ctx(given.tenant);
    let password = PlainPassword::new("another password");
    given.node.iam.change_password(&ctx, given.user, None, password).await.unwrap();
    let first = given.the_notice();
    given.node.tick();
    given.end(SessionEndReason::Logout).await;
    let second = given.the_notice();
    assert!(second.at > first.at);
    given.settle(&first, None).await;
    assert_eq!(given.the_notice_again(), second);
}

impl Given {
    fn the_notice_again(&self) -> LogoutNotice {
        self.pending(Search::Everywhere).remove(0)
    }
}

#[tokio::test]
async fn what_cannot_be_delivered_is_in_the_audit_log() {
    let given = Given::new().await;
    given.end(SessionEndReason::Logout).await;
    let notice = given.the_notice();
    given.settle(&notice, Some(LogoutFailure::Attempts)).await;
    assert!(given.pending(Search::Everywhere).is_empty());
    let types = given.node.event_types(given.tenant).await;
    assert_eq!(types.last().map(String::as_str), Some("session.logout.undelivered"));
}

#[tokio::test]
async fn a_client_that_is_gone_is_not_noted_and_many_are_settled_by_one_write() {
    let given = Given::new().await;
    let (node, tenant) = (&given.node, given.tenant);
    node.iam.delete_client(&node.ctx(tenant), given.told.id, None).await.unwrap();
    let mut sessions = Vec::new();
    for number in 0..3 {
        let uri = format!("https://rp{number}.example/logout");
        let metadata = serde_json::json!({"redirect_uris": [REDIRECT], "backchannel_logout_uri": uri});
        let client = node.client(tenant, metadata).await.0;
        node.code(tenant, &given.session, &client, &["openid"]).await;
        sessions.push(client.id);
    }
    given.end(SessionEndReason::Logout).await;
    let noted = given.pending(Search::WhereNoted);
    let mut clients: Vec<_> = noted.iter().map(|notice| notice.client).collect();
    clients.sort_unstable();
    assert_eq!(clients, sessions);
    let before = node.home.applied();
    let settled = noted.into_iter().map(|notice| SettledLogout { notice, failure: None }).collect();
    node.iam.settle_logouts(tenant, settled).await.unwrap();
    assert_eq!(node.home.applied() - before, 1);
    assert!(given.pending(Search::Everywhere).is_empty());
}

#[tokio::test]
async fn what_nobody_settles_goes_with_the_sweep() {
    let given = Given::new().await;
    given.end(SessionEndReason::Logout).await;
    assert_eq!(given.pending(Search::Everywhere).len(), 1);
    given.node.advance_ms(3 * domicile_iam::commands::LOGOUT_NOTICE_MS);
    let home = given.node.iam.homes().remove(0);
    while home.sweep(500, std::time::Duration::from_secs(5)).await.unwrap() > 0 {}
    assert!(given.pending(Search::Everywhere).is_empty());
}

#[tokio::test]
async fn a_session_that_ends_by_itself_is_told_once_and_only_when_it_ended() {
    let given = Given::new().await;
    let iam = &given.node.iam;
    let idle_ms = domicile_iam::model::TenantSettings::default().session_idle_ms;
    assert_eq!(iam.expire_sessions().await.unwrap(), 0, "nothing is due");
    given.node.advance_ms(idle_ms - 60_000);
    iam.touch_session(&given.node.ctx(given.tenant), given.session.view.id).await.unwrap();
    given.node.advance_ms(120_000);
    assert_eq!(iam.expire_sessions().await.unwrap(), 1, "it was due, and used meanwhile");
    assert!(given.pending(Search::Everywhere).is_empty());
    assert_eq!(iam.expire_sessions().await.unwrap(), 0, "it is looked at again later");
    given.node.advance_ms(idle_ms);
    assert_eq!(iam.expire_sessions().await.unwrap(), 1);
    let notice = given.the_notice();
    assert_eq!((notice.client, notice.session), (given.told.id, given.session.view.id));
    assert_eq!(iam.expire_sessions().await.unwrap(), 0);
    let types = given.node.event_types(given.tenant).await;
    assert_eq!(types.iter().filter(|name| *name == "session.expired").count(), 1);
}

#[tokio::test]
async fn a_session_that_was_ended_is_not_told_of_again_when_it_would_have_run_out() {
    for how in ["logout", "password"] {
        let given = Given::new().await;
        let (iam, ctx) = (&given.node.iam, given.node.ctx(given.tenant));
        given.node.tick();
        if how == "logout" {
            given.end(SessionEndReason::Logout).await;
        } else {
            iam.change_password(&ctx, given.user, None, PlainPassword::new("another password"))
                .await
                .unwrap();
        }
        let notice = given.the_notice();
        given.settle(&notice, None).await;
        let absolute_ms = domicile_iam::model::TenantSettings::default().session_absolute_ms;
        given.node.advance_ms(absolute_ms);
        assert_eq!(iam.expire_sessions().await.unwrap(), 1, "{how}");
        assert!(given.pending(Search::Everywhere).is_empty(), "{how}");
    }
}

/// Warnings that this thread logs.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, "{}={value:?};", field.name()).unwrap();
    }
}

#[tokio::test]
async fn a_logout_of_more_sessions_than_one_write_tells_says_how_many_are_left_out() {
    let given = Given::new().await;
    let (node, ctx) = (&given.node, given.node.ctx(given.tenant));
    let warnings = Warnings::default();
    let _logs = tracing::subscriber::set_default(warnings.clone());
    let change = async |password: &str| {
        node.iam.change_password(&ctx, given.user, None, PlainPassword::new(password)).await.unwrap();
        node.tick();
        warnings.0.lock().unwrap().drain(..).filter(|line| line.contains("not told")).collect::<Vec<_>>()
    };
    assert_eq!(change("another password").await, Vec::<String>::new());
    // One is there already; voided, it is not looked at by the next, but takes its place in the list.
    for _ in 0..257 {
        node.session(given.tenant, given.user).await;
    }
    let said = change("yet another password").await;
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("sessions=2;clients=0;"), "{said:?}");
}
