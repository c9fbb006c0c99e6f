//! No sequence of requests of one client or tenant yields another's token, over HTTP: sequences of exchanges, trusted
//! issuers' assertions, introspections, phantom tokens and bound tokens, by any client of any tenant, against a model
//! that knows whose each token is. Codes, devices and refresh tokens are in the same test of the domain
//! (node/iam/tests/domain/isolation.rs).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

#[path = "../admin_support/mod.rs"]
mod admin_support;
mod model;
#[path = "../oidc_support/mod.rs"]
mod oidc_support;
mod world;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use model::{Case, Mistake, Step, With};
use world::{GATES, KEYS, PARTIES, TENANTS, World};

/// Lists grow as a sequence goes on: what it picks of them is taken modulo their length.
const PICKS: usize = 1_000;

fn step() -> impl Strategy<Value = Step> {
    let (party, pick) = (|| 0..PARTIES, || 0..PICKS);
    let key = || prop::option::weighted(0.3, 0..KEYS);
    let by = || prop::option::weighted(0.4, 0..PARTIES);
    let mistake = prop_oneof![
        3 => Just(Mistake::None),
        1 => Just(Mistake::Issuer),
        1 => Just(Mistake::Key),
        1 => Just(Mistake::Audience),
        1 => Just(Mistake::Person),
    ];
    let with = prop_oneof![Just(With::ItsOwn), key().prop_map(With::Key)];
    let target = || prop::option::weighted(0.4, 0..GATES);
    prop_oneof![
        4 => (party(), key(), target()).prop_map(|(party, key, target)| Step::Give { party, key, target }),
        5 => (by(), pick(), key(), target())
            .prop_map(|(by, token, key, target)| Step::Exchange { by, token, key, target }),
        2 => (party(), mistake, key()).prop_map(|(by, mistake, key)| Step::Assert { by, mistake, key }),
        4 => (by(), pick(), any::<bool>()).prop_map(|(by, token, jwt)| Step::Introspect { by, token, jwt }),
        4 => (prop::option::weighted(0.2, 0..TENANTS), pick(), with)
            .prop_map(|(at, token, with)| Step::AskForClaims { at, token, with }),
        1 => (by(), pick()).prop_map(|(by, token)| Step::Revoke { by, token }),
    ]
}

#[test]
fn rfc9700_s4_10_no_sequence_of_requests_yields_or_uses_a_token_of_another_client_tenant_or_key() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    let config = ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() };
    let sequences = prop::collection::vec(step(), 1..32);
    let outcome = TestRunner::new(config).run(&sequences, |steps| {
        runtime.block_on(async {
            let mut case = Case::new(&world);
            for step in steps {
                case.take(step).await;
            }
        });
        Ok(())
    });
    outcome.unwrap();

    // Else the sequences might be about nothing.
    runtime.block_on(each_way_to_a_token_leads_there_for_whom_it_belongs_to(&world));
}

async fn each_way_to_a_token_leads_there_for_whom_it_belongs_to(world: &World) {
    for tenant in 0..TENANTS {
        let mut case = Case::new(world);
        for place in 0..GATES {
            let (app, gate) = (world::app(tenant, place), world::gate(tenant, place));
            for key in [None, Some(0)] {
                let first = case.tokens.len();
                case.take(Step::Give { party: app, key, target: None }).await;
                case.take(Step::AskForClaims { at: None, token: first, with: With::Key(key) }).await;
                case.take(Step::Exchange { by: Some(gate), token: first, key, target: Some(place) }).await;
                case.take(Step::Introspect { by: Some(gate), token: first + 1, jwt: true }).await;
                case.take(Step::Exchange { by: Some(gate), token: first, key, target: None }).await;
                case.take(Step::AskForClaims { at: None, token: first + 2, with: With::ItsOwn }).await;
                case.take(Step::Give { party: gate, key, target: Some(1 - place) }).await;
                case.take(Step::Assert { by: gate, mistake: Mistake::None, key }).await;
                assert_eq!(case.tokens.len(), first + 5, "{tenant} {place} {key:?}");
                assert_eq!((case.claims_seen, case.jwts_seen), (2, 1), "{tenant} {place} {key:?}");
                case.take(Step::Revoke { by: None, token: first }).await;
                assert_eq!(
                    case.counting(),
                    [false, false, false, true, true],
                    "what stands on it goes with it"
                );
                case = Case::new(world);
            }
        }
    }
}
