//! No sequence of requests of one client or tenant yields another's token: sequences of everything that takes or
//! gives a token, by any client of any tenant, against a model that knows whose each token is.
//!
//! Judged here are codes, pushed requests, device codes, refresh tokens, and the keys that codes and refresh tokens are
//! bound to (DPoP). Of the rest the domain has a part only, and that part is all that is looked at; all of it is in the
//! same test over HTTP (node/tests/oidc_isolation):
//! - token exchange: which tokens count where, and that what was exchanged counts no longer than what it stands on. Who may
//!   exchange whose tokens is decided in `oidc`;
//! - the JWT bearer grant: which user a tenant knows by a name. Whose assertions count is decided in `oidc`;
//! - opaque tokens: under whose secret they open. The envelope is of `oidc`, and the JWT behind one of its `phantom`;
//! - access tokens that are bound to a key: what they are bound to. That the key is shown with them, the endpoints see to.
//!
//! That a client is who it says is taken as given.

use domicile_iam::model::SubjectKind;
use proptest::prelude::*;

mod requests;
mod world;

use world::{ALL, KEYS, Owner, TENANTS, World};

/// Lists grow as a sequence goes on: what it picks of them is taken modulo their length.
const PICKS: usize = 1_000;

/// Who sends a request about something that was given to somebody.
#[derive(Clone, Copy, Debug)]
enum By {
    /// Whose it is.
    Owner,
    /// Any client of any tenant.
    Party(usize),
}

impl By {
    fn party(self, owner: usize) -> usize {
        match self {
            Self::Owner => owner,
            Self::Party(party) => party,
        }
    }
}

/// One request. A code or token is any that was ever given.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A user lets a client have a code, which may be bound to a key.
    Authorize { party: usize, person: usize, key: Option<usize> },
    /// A client pushes an authorization request.
    Push { party: usize },
    /// A pushed request is opened in a client's name.
    Open { by: By, request: usize },
    /// A user lets a client have a code for a pushed request.
    Take { by: By, person: usize, request: usize },
    /// A device of a client asks for codes.
    StartDevice { party: usize },
    /// A user types a device's code and answers.
    Answer { person: usize, device: usize, yes: bool },
    /// A client asks how it stands with a device.
    Poll { by: By, device: usize },
    /// A client redeems a code, with all that belongs to it but the key.
    Redeem { by: By, code: usize, key: Option<usize> },
    /// A client uses a refresh token.
    Refresh { by: By, token: usize, key: Option<usize> },
    /// A client revokes a refresh token.
    Revoke { by: By, token: usize },
    /// A client, at its tenant, asks about a refresh token.
    Inspect { by: By, token: usize },
    /// A client exchanges an access token.
    Exchange { by: By, token: usize },
    /// Somebody whom a client trusts names a user to it.
    Assert { party: usize, person: usize, kind: SubjectKind },
    /// An access token is revoked at a tenant.
    RevokeAccess { tenant: usize, token: usize },
    /// A tenant is shown an access token.
    Present { tenant: usize, token: usize },
    /// Time goes on.
    Wait { ms: u64 },
}

fn by() -> impl Strategy<Value = By> {
    prop_oneof![2 => Just(By::Owner), 1 => (0..ALL).prop_map(By::Party)]
}

fn asks() -> impl Strategy<Value = Step> {
    let (any, pick, key) = (|| 0..ALL, || 0..PICKS, || prop::option::of(0..KEYS));
    prop_oneof![
        4 => (any(), any(), key()).prop_map(|(party, person, key)| Step::Authorize { party, person, key }),
        2 => any().prop_map(|party| Step::Push { party }),
        1 => (by(), pick()).prop_map(|(by, request)| Step::Open { by, request }),
        3 => (by(), any(), pick()).prop_map(|(by, person, request)| Step::Take { by, person, request }),
        2 => any().prop_map(|party| Step::StartDevice { party }),
        4 => (any(), pick(), prop::bool::weighted(0.8))
            .prop_map(|(person, device, yes)| Step::Answer { person, device, yes }),
        3 => (by(), pick()).prop_map(|(by, device)| Step::Poll { by, device }),
    ]
}

fn tokens() -> impl Strategy<Value = Step> {
    let (any, pick, key) = (|| 0..ALL, || 0..PICKS, || prop::option::of(0..KEYS));
    let kind = prop_oneof![Just(SubjectKind::Subject), Just(SubjectKind::Username), Just(SubjectKind::Email)];
    prop_oneof![
        7 => (by(), pick(), key()).prop_map(|(by, code, key)| Step::Redeem { by, code, key }),
        5 => (by(), pick(), key()).prop_map(|(by, token, key)| Step::Refresh { by, token, key }),
        1 => (by(), pick()).prop_map(|(by, token)| Step::Revoke { by, token }),
        2 => (by(), pick()).prop_map(|(by, token)| Step::Inspect { by, token }),
        3 => (by(), pick()).prop_map(|(by, token)| Step::Exchange { by, token }),
        1 => (any(), any(), kind).prop_map(|(party, person, kind)| Step::Assert { party, person, kind }),
        1 => (0..TENANTS, pick()).prop_map(|(tenant, token)| Step::RevokeAccess { tenant, token }),
        3 => (0..TENANTS, pick()).prop_map(|(tenant, token)| Step::Present { tenant, token }),
        // Beyond the grace of rotation, and beyond a code's life.
        1 => prop_oneof![Just(7_000), Just(70_000)].prop_map(|ms| Step::Wait { ms }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(prop_oneof![asks(), tokens()], 1..48)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn rfc9700_s4_5_no_sequence_of_requests_yields_a_token_of_another_client_or_tenant(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.unwrap().block_on(async {
            let mut world = World::new().await;
            for step in steps {
                world.take(step).await;
            }
        });
    }
}

/// Else the sequences might be about nothing.
#[tokio::test]
async fn each_way_to_a_token_of_those_sequences_leads_there_for_whom_it_belongs_to() {
    let (by, key) = (By::Owner, Some(0));
    let mut world = World::new().await;
    for party in 0..ALL {
        // Of the same tenant. Each party before has three codes, four refresh tokens and six access tokens.
        let person = party;
        for step in [
            Step::Authorize { party, person, key },
            Step::Redeem { by, code: 3 * party, key },
            Step::Push { party },
            Step::Open { by, request: party },
            Step::Take { by, person, request: party },
            Step::Redeem { by, code: 3 * party + 1, key },
            Step::StartDevice { party },
            Step::Answer { person, device: party, yes: true },
            Step::Poll { by, device: party },
            Step::Redeem { by, code: 3 * party + 2, key },
            Step::Refresh { by, token: 4 * party, key },
            Step::Inspect { by, token: 4 * party + 1 },
            Step::Exchange { by, token: 6 * party },
            Step::Assert { party, person, kind: SubjectKind::Username },
        ] {
            world.take(step).await;
        }
        assert_eq!(world.active(Owner { party, person }).await, 6, "{party}");
    }
}
