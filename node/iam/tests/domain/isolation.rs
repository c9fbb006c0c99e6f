//! No sequence of requests of one client or tenant yields another's token: sequences of everything that takes or
//! gives a token, by any client of any tenant, against a model that knows whose each token is.

use std::collections::BTreeMap;

use domicile_iam::commands::NewSession;
use domicile_iam::ids::TenantId;
use domicile_iam::model::{ClientView, Issue, TenantSettings};
use domicile_iam::query::Consistency;
use domicile_iam::service::TokenStatus;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::{Node, claims_of, new_tenant, zero};

/// Clients of each tenant, and users.
const EACH: usize = 2;
const TENANTS: usize = 2;

/// One request. A client is any of any tenant; a token is any that was ever given, or the text of one that was not.
#[derive(Clone, Debug)]
enum Step {
    /// A user lets a client have a code.
    Authorize { client: Index, user: Index },
    /// A client redeems a code.
    Redeem { client: Index, code: Index },
    /// A client uses a refresh token.
    Refresh { client: Index, token: Index },
    /// A client revokes a refresh token.
    Revoke { client: Index, token: Index },
    /// A client, at its tenant, asks about a refresh token.
    Inspect { client: Index, token: Index },
    /// A tenant is shown an access token.
    Present { tenant: Index, token: Index },
    /// Time goes on.
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let any = any::<Index>;
    let pair = || (any(), any());
    let one = prop_oneof![
        3 => pair().prop_map(|(client, user)| Step::Authorize { client, user }),
        5 => pair().prop_map(|(client, code)| Step::Redeem { client, code }),
        5 => pair().prop_map(|(client, token)| Step::Refresh { client, token }),
        1 => pair().prop_map(|(client, token)| Step::Revoke { client, token }),
        2 => pair().prop_map(|(client, token)| Step::Inspect { client, token }),
        2 => pair().prop_map(|(tenant, token)| Step::Present { tenant, token }),
        1 => Just(Step::Wait),
    ];
    prop::collection::vec(one, 1..28)
}

/// A client with where it is.
struct Party {
    tenant: TenantId,
    client: ClientView,
}

/// Whose a code or refresh token is: the client's place, and the user's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    party: usize,
    user: usize,
}

struct World {
    node: Node,
    parties: Vec<Party>,
    /// Of each tenant.
    sessions: Vec<Vec<NewSession>>,
    codes: Vec<(String, Owner)>,
    refresh_tokens: Vec<(String, Owner)>,
    access_tokens: Vec<(Issue, Owner)>,
    /// Ids of access tokens: given once.
    ids: BTreeMap<String, Owner>,
}

impl World {
    async fn new() -> Self {
        let node = Node::new();
        let (mut parties, mut sessions) = (Vec::new(), Vec::new());
        for number in 0..TENANTS {
            let new = new_tenant(&format!("tenant-{number}"), TenantSettings::default());
            let tenant = node.iam.create_tenant(&node.ctx(zero()), new).await.unwrap().reply.id;
            node.tick();
            for _ in 0..EACH {
                parties.push(Party { tenant, client: node.web_client(tenant).await });
            }
            let mut here = Vec::new();
            for name in ["alice", "bob"] {
                let user = node.user(tenant, name).await;
                here.push(node.session(tenant, user.id).await);
            }
            sessions.push(here);
        }
        let (codes, refresh_tokens, access_tokens) = (Vec::new(), Vec::new(), Vec::new());
        Self { node, parties, sessions, codes, refresh_tokens, access_tokens, ids: BTreeMap::new() }
    }

    /// Looks at what a client was given: it must be its own.
    fn given(&mut self, party: usize, owner: Owner, issue: Issue) {
        let session = &self.sessions[owner.party / EACH][owner.user];
        assert_eq!(party, owner.party, "another client's");
        assert_eq!((issue.client, issue.user), (self.parties[party].client.id, session.view.user));
        assert!(self.ids.insert(issue.token_id.to_string(), owner).is_none(), "an id was given twice");
        if let Some(token) = &issue.refresh_token {
            self.refresh_tokens.push((token.clone(), owner));
        }
        self.access_tokens.push((issue, owner));
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Authorize { client, user } => {
                let owner = Owner { party: client.index(self.parties.len()), user: user.index(EACH) };
                let Party { tenant, client } = &self.parties[owner.party];
                let session = &self.sessions[owner.party / EACH][owner.user];
                let code = self.node.code(*tenant, session, client, &["openid", "offline_access"]).await;
                self.codes.push((code, owner));
            }
            Step::Redeem { client, code } if !self.codes.is_empty() => {
                let (party, (code, owner)) =
                    (client.index(self.parties.len()), code.get(&self.codes).clone());
                let Party { tenant, client } = &self.parties[party];
                let given = self.node.redeem(*tenant, client, &code).await;
                if let Ok(issue) = given {
                    self.given(party, owner, issue);
                }
            }
            Step::Refresh { client, token } if !self.refresh_tokens.is_empty() => {
                let (party, (token, owner)) =
                    (client.index(self.parties.len()), token.get(&self.refresh_tokens).clone());
                let Party { tenant, client } = &self.parties[party];
                let given = self.node.rotate(*tenant, client, &token).await;
                if let Ok(issue) = given {
                    self.given(party, owner, issue);
                }
            }
            Step::Revoke { client, token } if !self.refresh_tokens.is_empty() => {
                let (party, (token, owner)) =
                    (client.index(self.parties.len()), token.get(&self.refresh_tokens).clone());
                let before = self.active(owner).await;
                let Party { tenant, client } = &self.parties[party];
                let ctx = self.node.ctx(*tenant);
                let _refusals_say_nothing = self.node.iam.revoke_refresh_token(&ctx, client, &token).await;
                self.node.tick();
                if party != owner.party {
                    assert_eq!(self.active(owner).await, before, "others revoke nothing");
                }
            }
            Step::Inspect { client, token } if !self.refresh_tokens.is_empty() => {
                let (party, (token, owner)) =
                    (client.index(self.parties.len()), token.get(&self.refresh_tokens).clone());
                let Party { tenant, client } = &self.parties[party];
                let read = &Consistency::Linearizable;
                let seen = self.node.iam.inspect_refresh_token(*tenant, &token, read).await.unwrap();
                // The endpoint shows it to its own client only: the domain tells whose it is.
                if seen.is_some_and(|seen| seen.client == client.id) {
                    assert_eq!(party, owner.party);
                }
            }
            Step::Present { tenant, token } if !self.access_tokens.is_empty() => {
                let tenant = tenant.index(TENANTS);
                let (issue, owner) = token.get(&self.access_tokens).clone();
                let claims = claims_of(&issue, &self.parties[owner.party].client);
                let status = self.node.status(self.parties[tenant * EACH].tenant, &claims).await;
                if owner.party / EACH != tenant {
                    assert_eq!(status, TokenStatus::Inactive, "of another tenant");
                }
            }
            Step::Wait => self.node.advance_ms(7_000),
            Step::Redeem { .. }
            | Step::Refresh { .. }
            | Step::Revoke { .. }
            | Step::Inspect { .. }
            | Step::Present { .. } => {}
        }
    }

    /// How many access tokens of an owner count.
    async fn active(&self, owner: Owner) -> usize {
        let Party { tenant, client } = &self.parties[owner.party];
        let mut active = 0;
        for (issue, _) in self.access_tokens.iter().filter(|(_, of)| *of == owner) {
            let status = self.node.status(*tenant, &claims_of(issue, client)).await;
            active += usize::from(status == TokenStatus::Active);
        }
        active
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn rfc9700_s4_5_no_sequence_of_requests_yields_a_token_of_another_client_or_tenant(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.unwrap().block_on(async {
            let mut world = World::new().await;
            for step in &steps {
                world.take(step).await;
            }
        });
    }
}
