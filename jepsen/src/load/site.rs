//! The provider under load, and what was made ready there.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::Semaphore;

use super::Plan;
use super::scenario::Action;
use super::target::Target;
use crate::client::{Answer, App, Browser, Door, Http, Person, Provider, pkce};
use crate::random::Random;

/// Families of refresh tokens at most: each is a login before the load begins.
const FAMILIES_MAX: u32 = 64;
const LOGIN_SCOPE: &str = "openid profile offline_access";

/// Why a request does not count as well done.
pub(super) type Trouble = String;

pub(super) struct Site {
    http: Http,
    provider: Provider,
    app: App,
    person: Person,
    token_scope: Option<String>,
    access: String,
    families: Families,
}

/// Current refresh tokens. One is used by one request at a time, as an app would.
struct Families {
    free: Semaphore,
    tokens: Mutex<Vec<String>>,
}

impl Families {
    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Site {
    pub(super) async fn prepare(http: Http, target: &Target, plan: &Plan) -> anyhow::Result<Self> {
        let provider = Provider::discover(&http, &target.issuer, &Door::Named).await?;
        let mut site = Self {
            http,
            provider,
            app: target.app.clone(),
            person: target.person.clone(),
            token_scope: target.token_scope.clone(),
            access: String::new(),
            families: Families { free: Semaphore::new(0), tokens: Mutex::new(Vec::new()) },
        };
        let wanted = if plan.scenario.needs_families() { plan.rate.clamp(4, FAMILIES_MAX) } else { 0 };
        let logins = wanted.max(u32::from(plan.scenario.needs_access()));
        let mut random = Random::fork(plan.seed, "prepare");
        for turn in 0..logins {
            let tokens = site.log_in(random.next()).await.map_err(anyhow::Error::msg)?;
            let text = |name: &str| tokens.get(name).and_then(Value::as_str).map(str::to_owned);
            if turn == 0 {
                site.access = text("access_token").unwrap_or_default();
            }
            if wanted > 0 {
                let token = text("refresh_token");
                let token = token.ok_or_else(|| anyhow::anyhow!("the provider gave no refresh token"))?;
                site.families.lock().push(token);
            }
        }
        site.families.free.add_permits(usize::try_from(wanted)?);
        if logins > 0 {
            println!("prepared {logins} logins");
        }
        Ok(site)
    }

    pub(super) async fn act(&self, action: Action, seed: u64) -> Result<(), Trouble> {
        match action {
            Action::Login => self.log_in(seed).await.map(drop),
            Action::Refresh => self.refresh().await,
            Action::Token => {
                let mut fields = vec![("grant_type", "client_credentials")];
                fields.extend(self.token_scope.as_deref().map(|scope| ("scope", scope)));
                let answer = self.provider.token(&self.http, &Door::Named, &self.app, &fields).await;
                well(&answer.map_err(told)?)
            }
            Action::Introspect => {
                let asked = self.provider.introspect(&self.http, &Door::Named, &self.app, &self.access);
                is_active(&asked.await.map_err(told)?)
            }
            Action::Userinfo => {
                let asked = self.provider.userinfo(&self.http, &Door::Named, &self.access);
                well(&asked.await.map_err(told)?)
            }
        }
    }

    async fn log_in(&self, seed: u64) -> Result<Value, Trouble> {
        let (verifier, challenge) = pkce(&mut Random::new(seed));
        let consent = [("prompt", "consent")];
        let url = self.provider.authorization(&self.app, LOGIN_SCOPE, &challenge, &consent);
        let mut browser = Browser::new(&self.http);
        let callback = browser.log_in(&url, &self.person, || Door::Named).await.map_err(told)?;
        let code = callback.get("code");
        if code.is_empty() {
            return Err(format!("login: {}", callback.get("error")));
        }
        let redeemed = self.provider.redeem(&self.http, &Door::Named, &self.app, code, &verifier).await;
        let answer = redeemed.map_err(told)?;
        well(&answer)?;
        Ok(answer.json())
    }

    async fn refresh(&self) -> Result<(), Trouble> {
        let _turn = self.families.free.acquire().await.map_err(told)?;
        let token = self.families.lock().pop().unwrap_or_default();
        let asked = self.provider.refresh(&self.http, &Door::Named, &self.app, &token).await;
        let next = asked
            .as_ref()
            .ok()
            .and_then(|answer| answer.json().get("refresh_token").and_then(Value::as_str).map(str::to_owned));
        self.families.lock().push(next.unwrap_or(token));
        well(&asked.map_err(told)?)
    }
}

fn well(answer: &Answer) -> Result<(), Trouble> {
    if answer.is_success() { Ok(()) } else { Err(answer.told()) }
}

/// Whether the provider says that the token is good, as it was when it was given.
fn is_active(answer: &Answer) -> Result<(), Trouble> {
    well(answer)?;
    match answer.json().get("active").and_then(Value::as_bool) {
        Some(true) => Ok(()),
        Some(false) => Err("introspection: the token is not active".to_owned()),
        None => Err("introspection: no answer to whether the token is active".to_owned()),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "as an argument of map_err")]
fn told(error: impl std::error::Error) -> Trouble {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;

    #[test]
    fn only_an_active_token_counts_as_a_question_well_answered() {
        let answer = |status, text: &str| Answer { status, headers: HeaderMap::new(), text: text.to_owned() };
        assert_eq!(is_active(&answer(200, r#"{"active":true}"#)), Ok(()));
        for (status, text) in [(200, r#"{"active":false}"#), (200, "{}"), (503, r#"{"active":true}"#)] {
            assert!(is_active(&answer(status, text)).is_err(), "{status} {text}");
        }
    }
}
