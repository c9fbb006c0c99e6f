//! Pushed authorization requests: opened often, taken once, by their client, in their time.

use domicile_iam::commands::{AuthorizeRefusal, Consent, NewSession, PUSHED_REQUEST_MS};
use domicile_iam::execute::ExecuteError;
use domicile_iam::ids::TenantId;
use domicile_iam::model::{ClientView, TenantSettings};
use domicile_raft::Partition as _;
use domicile_storage::{KeyRange, Order};

use crate::support::{Node, new_tenant, set, zero};

const FORM: &[u8] = b"response_type=code&login_hint=ada%40example.org";
const PAGES_MS: u64 = 30 * 60_000;

struct Given {
    node: Node,
    tenant: TenantId,
    client: ClientView,
    session: NewSession,
}

impl Given {
    async fn new() -> Self {
        let (node, tenant) = Node::with_tenant().await;
        let user = node.user(tenant, "ada").await;
        let client = node.web_client(tenant).await;
        let session = node.session(tenant, user.id).await;
        Self { node, tenant, client, session }
    }

    /// Of a client that proved itself, and of one that did not.
    async fn references(&self) -> [String; 2] {
        let (node, tenant) = (&self.node, self.tenant);
        let stored = node.iam.push_request(&node.ctx(tenant), self.client.id, FORM).await.unwrap().reply;
        let carried = node.iam.carry_request(tenant, self.client.id, FORM).unwrap();
        node.tick();
        [stored, carried]
    }

    async fn opens(&self, client: &ClientView, reference: &str) -> bool {
        let opened = self.node.iam.pushed_request(self.tenant, client.id, reference).await.unwrap();
        assert!(opened.as_ref().is_none_or(|request| request.form.as_slice() == FORM));
        opened.is_some()
    }

    async fn take(&self, client: &ClientView, reference: &str) -> Result<String, AuthorizeRefusal> {
        let node = &self.node;
        let consent = Consent { scopes: set(&["openid"]), ..Consent::default() };
        let request = Node::code_request(client, &["openid"]);
        let (ctx, session) = (node.ctx(self.tenant), self.session.view.id);
        let issued = node.iam.issue_pushed_code(&ctx, session, request, Some(consent), reference).await;
        node.tick();
        match issued {
            Ok(written) => Ok(written.reply.code),
            Err(ExecuteError::Refused(refusal)) => Err(refusal),
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn rfc9126_s4_a_request_is_opened_often_and_taken_once() {
    let given = Given::new().await;
    for reference in given.references().await {
        for _ in 0..2 {
            assert!(given.opens(&given.client, &reference).await);
        }
        assert!(given.take(&given.client, &reference).await.is_ok());
        assert!(!given.opens(&given.client, &reference).await);
        assert_eq!(given.take(&given.client, &reference).await, Err(AuthorizeRefusal::RequestTaken));
    }
}

#[tokio::test]
async fn rfc9126_s7_3_of_two_that_take_a_request_at_once_one_gets_a_code() {
    let given = Given::new().await;
    for reference in given.references().await {
        let (one, two) =
            tokio::join!(given.take(&given.client, &reference), given.take(&given.client, &reference));
        assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1);
    }
}

#[tokio::test]
async fn rfc9126_s2_2_a_request_is_bound_to_the_client_that_pushed_it() {
    let given = Given::new().await;
    let other = given.node.web_client(given.tenant).await;
    for reference in given.references().await {
        assert!(!given.opens(&other, &reference).await);
        assert_eq!(given.take(&other, &reference).await, Err(AuthorizeRefusal::RequestTaken));
        assert!(given.opens(&given.client, &reference).await, "others use up nothing");
    }
}

#[tokio::test]
async fn rfc9126_s2_2_a_request_begins_in_its_time_and_may_wait_for_its_user_a_little_longer() {
    for place in 0..2 {
        let given = Given::new().await;
        let reference = &given.references().await[place];
        given.node.advance_ms(PUSHED_REQUEST_MS);
        assert!(!given.opens(&given.client, reference).await);
        assert!(given.take(&given.client, reference).await.is_ok());
        let late = &given.references().await[place];
        given.node.advance_ms(PUSHED_REQUEST_MS + PAGES_MS);
        assert_eq!(given.take(&given.client, late).await, Err(AuthorizeRefusal::RequestTaken));
    }
}

#[tokio::test]
async fn what_is_no_reference_opens_nothing() {
    let given = Given::new().await;
    let [stored, carried] = given.references().await;
    let foreign = given.node.iam.carry_request(given.tenant, given.client.id, FORM).unwrap();
    let mixed = format!("{}{}", &carried[..40], &foreign[40..]);
    let (cut, longer) = (&stored[1..], format!("{carried}AAAA"));
    for none in ["", "x", "%", cut, &longer, &mixed, &"A".repeat(43), &"A".repeat(20_000)] {
        assert!(!given.opens(&given.client, none).await, "{none}");
        assert_eq!(given.take(&given.client, none).await, Err(AuthorizeRefusal::RequestTaken));
    }
}

#[tokio::test]
async fn rfc9126_s7_5_a_reference_cannot_be_swapped_for_one_of_another_tenant() {
    let given = Given::new().await;
    let (node, ctx) = (&given.node, given.node.ctx(zero()));
    let other = node.iam.create_tenant(&ctx, new_tenant("other", TenantSettings::default())).await;
    let other = other.unwrap().reply.id;
    for reference in given.references().await {
        let opened = given.node.iam.pushed_request(other, given.client.id, &reference).await.unwrap();
        assert!(opened.is_none());
    }
}

#[tokio::test]
async fn a_pushed_request_is_sealed_at_rest_and_a_public_clients_is_not_there() {
    let given = Given::new().await;
    let rows =
        |node: &Node| node.home.state().scan(&KeyRange::prefix(&[]), Order::Ascending, 10_000).unwrap();
    let before = rows(&given.node).len();
    given.node.iam.carry_request(given.tenant, given.client.id, FORM).unwrap();
    assert_eq!(rows(&given.node).len(), before, "who proves nothing makes us write nothing");
    given.references().await;
    let after = rows(&given.node);
    assert!(after.len() > before);
    let clear = |value: &[u8]| value.windows(10).any(|bytes| bytes == b"login_hint");
    assert!(after.iter().all(|(_, value)| !clear(value)));
}
