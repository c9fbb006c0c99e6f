//! Clients and users of several tenants, and whose is all that they were given.

use std::collections::BTreeSet;

use domicile_iam::commands::{DeviceCodes, NewSession};
use domicile_iam::ids::{Id as _, TenantId, TokenId, UserId};
use domicile_iam::model::{
    AccessTokenClaims, AuthMethod, ClientView, Confirmation, Issue, KeyProof, SigningAlgorithm,
    TenantSettings, UserView,
};
use domicile_iam::service::TokenStatus;
use domicile_raft::Clock as _;
use serde_json::json;

use crate::support::{Node, REDIRECT, claims_of, new_tenant, zero};

pub const TENANTS: usize = 2;
/// Clients of each tenant, and users: the first are of the first tenant.
const EACH: usize = 2;
/// Clients of all tenants, and users.
pub const ALL: usize = TENANTS * EACH;
pub const KEYS: usize = 2;
/// Access tokens outlive every sequence: `active` is compared over time.
const TOKEN_S: u64 = 86_400;

/// Whose a code or token is: a client's, for a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub party: usize,
    pub person: usize,
}

/// A client with where it is.
pub struct Party {
    pub tenant: TenantId,
    pub client: ClientView,
}

impl Party {
    pub fn is_public(&self) -> bool {
        self.client.metadata.token_endpoint_auth_method == AuthMethod::None
    }
}

/// A user who is logged in.
pub struct Person {
    pub user: UserView,
    pub session: NewSession,
}

/// A code with all that belongs to it: who steals it has that, too.
#[derive(Clone)]
pub struct Code {
    pub text: String,
    pub redirect_uri: String,
    pub verifier: String,
    /// Which it was asked for with.
    pub key: Option<usize>,
    pub owner: Owner,
}

pub struct Pushed {
    pub reference: String,
    pub form: Vec<u8>,
    pub party: usize,
    pub taken: bool,
}

/// What a device was told, and what a user said.
pub struct Device {
    pub codes: DeviceCodes,
    pub party: usize,
    pub word: Option<Word>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Yes { person: usize },
    No,
}

#[derive(Clone)]
pub struct RefreshToken {
    pub text: String,
    pub owner: Owner,
    /// Which it is bound to.
    pub key: Option<usize>,
}

pub struct AccessToken {
    pub claims: AccessTokenClaims,
    pub owner: Owner,
    /// What opens it where it is opaque.
    pub sealed_under: [u8; 32],
    /// What it was exchanged for.
    pub stands_on: Option<usize>,
}

pub struct World {
    pub node: Node,
    pub tenants: Vec<TenantId>,
    pub parties: Vec<Party>,
    pub people: Vec<Person>,
    pub codes: Vec<Code>,
    pub pushed: Vec<Pushed>,
    pub devices: Vec<Device>,
    pub refresh_tokens: Vec<RefreshToken>,
    pub access_tokens: Vec<AccessToken>,
    /// Ids of access tokens: given once.
    ids: BTreeSet<TokenId>,
    /// Proofs and ids that were made here.
    made: u64,
}

/// The place of a client's or user's tenant.
pub fn home(of: usize) -> usize {
    of / EACH
}

/// A key's.
pub fn thumbprint(key: usize) -> String {
    format!("key-{key}")
}

impl World {
    pub async fn new() -> Self {
        let mut world = Self {
            node: Node::new(),
            tenants: Vec::new(),
            parties: Vec::new(),
            people: Vec::new(),
            codes: Vec::new(),
            pushed: Vec::new(),
            devices: Vec::new(),
            refresh_tokens: Vec::new(),
            access_tokens: Vec::new(),
            ids: BTreeSet::new(),
            made: 0,
        };
        for (slug, mode) in [("rotating", "rotate"), ("staying", "static")] {
            world.settle(slug, mode).await;
        }
        world
    }

    /// A tenant whose clients' refresh tokens rotate or stay: a client that proves itself and one that does not, and
    /// users of the same names everywhere.
    async fn settle(&mut self, slug: &str, mode: &str) {
        let node = &self.node;
        let signing_algorithms = vec![SigningAlgorithm::ES256];
        let settings = TenantSettings { signing_algorithms, ..TenantSettings::default() };
        let new = new_tenant(slug, settings);
        let tenant = node.iam.create_tenant(&node.ctx(zero()), new).await.unwrap().reply.id;
        node.tick();
        for method in ["client_secret_basic", "none"] {
            let metadata = json!({
                "redirect_uris": [REDIRECT], "token_endpoint_auth_method": method,
                "grant_types": [
                    "authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code",
                ],
                "dpop_bound_access_tokens": mode == "static", "refresh_token_mode": mode,
            });
            let client = node.client(tenant, metadata).await.0;
            self.parties.push(Party { tenant, client });
        }
        for name in ["alice", "bob"] {
            let user = node.user(tenant, name).await;
            let session = node.session(tenant, user.id).await;
            self.people.push(Person { user, session });
        }
        self.tenants.push(tenant);
    }

    /// The tenant of a client or user.
    pub fn tenant_of(&self, of: usize) -> TenantId {
        self.tenants[home(of)]
    }

    fn next(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    /// That a key is held, each time anew.
    pub fn proof(&mut self, key: Option<usize>) -> Option<KeyProof> {
        let jti = self.next().to_string();
        let ends_at_s = self.node.clock.now().seconds() + 300;
        key.map(|key| KeyProof::new(&thumbprint(key), &jti, ends_at_s))
    }

    /// What a tenant's opaque tokens are sealed under.
    pub fn secret(&self, tenant: usize) -> [u8; 32] {
        *self.node.iam.opaque_token_secret(self.tenants[tenant]).unwrap()
    }

    /// Claims of a token for a user that no session, grant or family stands behind.
    pub fn claims(&mut self, party: usize, user: UserId) -> AccessTokenClaims {
        let id = TokenId::from_bytes(u128::from(self.next()).to_be_bytes());
        let Party { tenant, client } = &self.parties[party];
        let at = self.node.iam.now(*tenant).unwrap();
        let claims = json!({
            "iss": "https://id.example/t/acme", "sub": user, "aud": [], "exp": at.seconds() + TOKEN_S,
            "iat": at.seconds(), "jti": id, "client_id": client.client_id, "dom_iat_ms": at, "dom_usr": user,
            "dom_cli": client.id,
        });
        serde_json::from_value(claims).unwrap()
    }

    /// Keeps an access token with whose it is.
    pub fn keep(&mut self, claims: AccessTokenClaims, owner: Owner, stands_on: Option<usize>) {
        assert!(self.ids.insert(claims.jti), "an id was given twice");
        let sealed_under = self.secret(home(owner.party));
        self.access_tokens.push(AccessToken { claims, owner, sealed_under, stands_on });
    }

    /// Looks at what a client was given that showed a key: it must be its own. `bound` is the refresh token to.
    pub fn given(
        &mut self,
        party: usize,
        owner: Owner,
        issue: &Issue,
        (shown, bound): (Option<usize>, Option<usize>),
    ) {
        assert_eq!(party, owner.party, "another client's");
        let client = &self.parties[party].client;
        assert_eq!((issue.client, issue.user), (client.id, self.people[owner.person].user.id));
        assert_eq!(issue.dpop_jkt, shown.map(thumbprint), "bound to the key that was shown");
        let claims = AccessTokenClaims {
            exp: issue.issued_at.seconds() + TOKEN_S,
            confirmation: issue.dpop_jkt.clone().map(|jkt| Confirmation { jkt }),
            ..claims_of(issue, client)
        };
        if let Some(text) = issue.refresh_token.clone() {
            self.refresh_tokens.push(RefreshToken { text, owner, key: bound });
        }
        self.keep(claims, owner, None);
    }

    /// How many access tokens of an owner count.
    pub async fn active(&self, owner: Owner) -> usize {
        let mut active = 0;
        for token in self.access_tokens.iter().filter(|token| token.owner == owner) {
            let status = self.node.status(self.tenant_of(owner.party), &token.claims).await;
            active += usize::from(status == TokenStatus::Active);
        }
        active
    }
}
