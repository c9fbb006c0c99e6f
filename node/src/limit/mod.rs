//! Node-local rate limits: GCRA over a table of fixed size.
//!
//! A limit is of this node alone and forgets at a restart; the replicated lock-out of an account is
//! the domain's. Memory is fixed at start: a table never grows, whatever comes from outside.

mod gcra;
mod once;
mod polls;

use std::net::IpAddr;
use std::sync::Arc;

use domicile_iam::ids::{Id as _, TenantId};
use domicile_raft::Clock;

use crate::config::Rates;
use crate::problem::Problem;

pub use gcra::Gcra;
pub use once::{OnceError, UsedOnce};
pub use polls::Polls;

/// All node-local limits. With no rates given (`dev`) everything passes.
pub struct RateLimits {
    tables: Option<Tables>,
    clock: Arc<dyn Clock>,
}

struct Tables {
    login_per_address: Gcra,
    login_per_name: Gcra,
    token_per_address: Gcra,
    token_per_client: Gcra,
    registration_per_address: Gcra,
}

impl RateLimits {
    /// Tables for `rates`; about 1 MiB each.
    pub fn new(rates: Option<Rates>, clock: Arc<dyn Clock>) -> Self {
        let table = |per_minute| Gcra::new(per_minute, clock.as_ref());
        let tables = rates.map(|rates| Tables {
            login_per_address: table(rates.login_per_address),
            login_per_name: table(rates.login_per_name),
            token_per_address: table(rates.token_per_address),
            token_per_client: table(rates.token_per_client),
            registration_per_address: table(rates.registration_per_address),
        });
        Self { tables, clock }
    }

    /// One login attempt from `address` for `blind_name` (the blinded login name, so that no name is
    /// held here).
    ///
    /// # Errors
    /// A 429 with `Retry-After`.
    pub fn login(&self, address: IpAddr, blind_name: &[u8]) -> Result<(), Problem> {
        let Some(tables) = &self.tables else { return Ok(()) };
        self.take(&tables.login_per_address, &address_key(address))?;
        self.take(&tables.login_per_name, blind_name)
    }

    /// One request to an endpoint for clients from `address`, before anything else is known.
    ///
    /// # Errors
    /// A 429 with `Retry-After`.
    pub fn token(&self, address: IpAddr) -> Result<(), Problem> {
        let Some(tables) = &self.tables else { return Ok(()) };
        self.take(&tables.token_per_address, &address_key(address))
    }

    /// One registration of a client from `address` by nobody's leave.
    ///
    /// # Errors
    /// A 429 with `Retry-After`.
    pub fn registration(&self, address: IpAddr) -> Result<(), Problem> {
        let Some(tables) = &self.tables else { return Ok(()) };
        self.take(&tables.registration_per_address, &address_key(address))
    }

    /// The same by `client` of `tenant`, who proved to be that.
    ///
    /// # Errors
    /// A 429 with `Retry-After`.
    pub fn proven_client(&self, tenant: TenantId, client: &str) -> Result<(), Problem> {
        let Some(tables) = &self.tables else { return Ok(()) };
        self.take(&tables.token_per_client, &client_key(&[PROVEN], tenant, client))
    }

    /// The same by somebody who calls themselves `client` and did not, or need not, prove it. Counted
    /// with the address, so that nobody uses up another's allowance.
    ///
    /// # Errors
    /// A 429 with `Retry-After`.
    pub fn unproven_client(&self, address: IpAddr, tenant: TenantId, client: &str) -> Result<(), Problem> {
        let Some(tables) = &self.tables else { return Ok(()) };
        self.take(&tables.token_per_client, &client_key(&address_key(address), tenant, client))
    }

    fn take(&self, table: &Gcra, key: &[u8]) -> Result<(), Problem> {
        let now_ms = u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX);
        table.take(key, now_ms).map_err(|wait_ms| Problem::too_many(wait_ms.div_ceil(1_000).max(1)))
    }
}

/// Where an address key has 4 or 6.
const PROVEN: u8 = 0;

fn client_key(who: &[u8], tenant: TenantId, client: &str) -> Vec<u8> {
    [who, &tenant.bytes(), client.as_bytes()].concat()
}

/// An IPv6 network gets a /64 and can change the rest at will.
fn address_key(address: IpAddr) -> [u8; 9] {
    let mut key = [0_u8; 9];
    match address.to_canonical() {
        IpAddr::V4(address) => {
            key[0] = 4;
            key[1..5].copy_from_slice(&address.octets());
        }
        IpAddr::V6(address) => {
            key[0] = 6;
            key[1..].copy_from_slice(&address.octets()[..8]);
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::StatusCode;
    use domicile_raft::Timestamp;
    use domicile_raft::testing::ManualClock;

    use super::*;

    fn limits(rates: Option<Rates>) -> (RateLimits, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(Timestamp(0), 1));
        (RateLimits::new(rates, clock.clone()), clock)
    }

    fn rates() -> Rates {
        Rates {
            login_per_address: 3,
            login_per_name: 2,
            token_per_address: 100,
            token_per_client: 2,
            registration_per_address: 2,
        }
    }

    fn tenant(number: u8) -> TenantId {
        TenantId::from_bytes([number; 16])
    }

    #[test]
    fn logins_for_one_name_are_limited_from_all_addresses_together() {
        let (limits, clock) = limits(Some(rates()));
        limits.login("192.0.2.1".parse().unwrap(), b"name").unwrap();
        limits.login("192.0.2.2".parse().unwrap(), b"name").unwrap();
        let refused = limits.login("192.0.2.3".parse().unwrap(), b"name").unwrap_err();
        assert_eq!(refused, Problem::too_many(30));
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        limits.login("192.0.2.3".parse().unwrap(), b"other").unwrap();
        clock.advance(Duration::from_secs(30));
        limits.login("192.0.2.4".parse().unwrap(), b"name").unwrap();
    }

    #[test]
    fn who_only_claims_to_be_a_client_uses_up_nothing_of_it() {
        let (limits, _) = limits(Some(rates()));
        let stranger = "192.0.2.66".parse().unwrap();
        limits.unproven_client(stranger, tenant(1), "client").unwrap();
        limits.unproven_client(stranger, tenant(1), "client").unwrap();
        assert!(limits.unproven_client(stranger, tenant(1), "client").is_err());
        limits.unproven_client("192.0.2.1".parse().unwrap(), tenant(1), "client").unwrap();
        limits.proven_client(tenant(1), "client").unwrap();
        limits.proven_client(tenant(1), "client").unwrap();
        assert!(limits.proven_client(tenant(1), "client").is_err());
        limits.proven_client(tenant(2), "client").unwrap();
    }

    #[test]
    fn rfc7591_s5_registrations_by_nobodys_leave_are_few_from_one_address() {
        let (limits, clock) = limits(Some(rates()));
        let address = "192.0.2.1".parse().unwrap();
        limits.registration(address).unwrap();
        limits.registration(address).unwrap();
        assert_eq!(limits.registration(address).unwrap_err(), Problem::too_many(30));
        limits.registration("192.0.2.2".parse().unwrap()).unwrap();
        clock.advance(Duration::from_secs(30));
        limits.registration(address).unwrap();
    }

    #[test]
    fn one_ipv6_network_is_one_address() {
        let (limits, _) = limits(Some(rates()));
        for (place, address) in ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3"].iter().enumerate() {
            limits.login(address.parse().unwrap(), &[u8::try_from(place).unwrap()]).unwrap();
        }
        assert!(limits.login("2001:db8::4".parse().unwrap(), b"x").is_err());
        limits.login("2001:db8:0:1::4".parse().unwrap(), b"x").unwrap();
    }

    #[test]
    fn without_rates_everything_passes() {
        let (limits, _) = limits(None);
        for _ in 0..10_000 {
            limits.token("192.0.2.1".parse().unwrap()).unwrap();
            limits.proven_client(tenant(1), "client").unwrap();
        }
    }
}
