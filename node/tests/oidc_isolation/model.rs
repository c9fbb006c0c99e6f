//! What each request must come to, by a model that knows whose each token is.

use serde_json::{Value, json};

use crate::oidc_support::assertion::claims;
use crate::oidc_support::dpop;
use crate::oidc_support::relying_party::{Answer, part};
use crate::world::{BEARER, EXCHANGE, GATES, World, api, gate, idp, username};

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// Actors behind the one who exchanges, at most.
const ACTORS_MAX: usize = 4;

/// One request. A token is any that was ever given.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A client gets a token of its own: an app one of its person, a gateway one for itself, at the API of a gateway.
    Give { party: usize, key: Option<usize>, target: Option<usize> },
    /// A client exchanges a token for one at the API of a gateway. By nobody in particular: who may.
    Exchange { by: Option<usize>, token: usize, key: Option<usize>, target: Option<usize> },
    /// A client brings an assertion.
    Assert { by: usize, mistake: Mistake, key: Option<usize> },
    /// A client asks about a token, or for the JWT behind it. By nobody in particular: its own client.
    Introspect { by: Option<usize>, token: usize, jwt: bool },
    /// A tenant, or the token's own, is asked for claims.
    AskForClaims { at: Option<usize>, token: usize, with: With },
    /// A client revokes a token. By nobody in particular: its own.
    Revoke { by: Option<usize>, token: usize },
}

/// What is shown to hold along with a token.
#[derive(Clone, Copy, Debug)]
pub enum With {
    /// What it is bound to, if it is.
    ItsOwn,
    /// This, or nothing.
    Key(Option<usize>),
}

/// What is wrong with an assertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    None,
    /// It is of an issuer whom another gateway trusts.
    Issuer,
    /// That one's key signed it.
    Key,
    /// It is for the other tenant.
    Audience,
    /// It names a person of the other tenant.
    Person,
}

/// A token that was given.
#[derive(Clone, Debug)]
pub struct Token {
    text: String,
    /// To whom.
    party: usize,
    /// Whether it acts for the tenant's person.
    for_person: bool,
    key: Option<usize>,
    /// The gateway whose API it is for; the issuer without one.
    target: Option<usize>,
    openid: bool,
    actors: usize,
    /// What it was exchanged for.
    source: Option<usize>,
    revoked: bool,
}

/// One sequence.
pub struct Case<'a> {
    world: &'a World,
    pub tokens: Vec<Token>,
    /// How often claims were shown, and JWTs.
    pub claims_seen: usize,
    pub jwts_seen: usize,
}

impl<'a> Case<'a> {
    pub fn new(world: &'a World) -> Self {
        Self { world, tokens: Vec::new(), claims_seen: 0, jwts_seen: 0 }
    }

    /// Which tokens count.
    pub fn counting(&self) -> Vec<bool> {
        (0..self.tokens.len()).map(|place| self.counts(place)).collect()
    }

    pub async fn take(&mut self, step: Step) {
        match step {
            Step::Give { party, key, target } => self.give(party, key, target).await,
            Step::Exchange { by, token, key, target } => {
                if let Some(token) = self.picked(token) {
                    self.exchange(by, token, key, target).await;
                }
            }
            Step::Assert { by, mistake, key } => self.assert(by, mistake, key).await,
            Step::Introspect { by, token, jwt } => {
                if let Some(token) = self.picked(token) {
                    let by = by.unwrap_or(self.tokens[token].party);
                    if jwt { self.ask_for_jwt(by, token).await } else { self.introspect(by, token).await }
                }
            }
            Step::AskForClaims { at, token, with } => {
                if let Some(token) = self.picked(token) {
                    let at = at.unwrap_or(self.tenant_of(token));
                    let key = match with {
                        With::ItsOwn => self.tokens[token].key,
                        With::Key(key) => key,
                    };
                    self.ask_for_claims(at, token, key).await;
                }
            }
            Step::Revoke { by, token } => {
                if let Some(token) = self.picked(token) {
                    let by = by.unwrap_or(self.tokens[token].party);
                    self.revoke(by, token).await;
                }
            }
        }
    }

    fn picked(&self, token: usize) -> Option<usize> {
        (!self.tokens.is_empty()).then(|| token % self.tokens.len())
    }

    fn tenant_of(&self, token: usize) -> usize {
        self.world.parties[self.tokens[token].party].tenant
    }

    fn counts(&self, token: usize) -> bool {
        let token = &self.tokens[token];
        !token.revoked && token.source.is_none_or(|source| self.counts(source))
    }

    async fn give(&mut self, by: usize, key: Option<usize>, target: Option<usize>) {
        let party = &self.world.parties[by];
        let (for_person, openid) = (!party.is_gate(), !party.is_gate());
        let target = target.filter(|_| party.is_gate());
        let resource = target.map(|place| api(party.tenant, place));
        let mut fields = match &party.refresh_token {
            Some(token) => vec![("grant_type", "refresh_token"), ("refresh_token", token.as_str())],
            None => vec![("grant_type", "client_credentials"), ("scope", "read")],
        };
        fields.extend(resource.iter().map(|resource| ("resource", resource.as_str())));
        let answer = self.world.token(by, key, &fields).await;
        let token = Token {
            text: String::new(),
            party: by,
            for_person,
            key,
            target,
            openid,
            actors: 0,
            source: None,
            revoked: false,
        };
        self.got(&answer, Some(token)).await;
    }

    async fn exchange(&mut self, by: Option<usize>, token: usize, key: Option<usize>, target: Option<usize>) {
        let (tenant, subject) = (self.tenant_of(token), self.tokens[token].clone());
        let place = self.world.parties[subject.party].place;
        let by = by.unwrap_or(gate(tenant, place));
        let party = &self.world.parties[by];
        let audience = target.map(|place| api(party.tenant, place));
        let mut fields = vec![
            ("grant_type", EXCHANGE),
            ("subject_token", subject.text.as_str()),
            ("subject_token_type", ACCESS_TOKEN),
        ];
        fields.extend(audience.iter().map(|audience| ("audience", audience.as_str())));
        let answer = self.world.token(by, key, &fields).await;

        // Of its own tokens, and of those of the app of its place.
        let its_app = !self.world.parties[subject.party].is_gate() && place == party.place;
        let may = party.is_gate() && party.tenant == tenant && (subject.party == by || its_app);
        let is_held = subject.key.is_none() || subject.key == key;
        let in_reach = target.is_none_or(|place| place == party.place);
        let fits = subject.actors < ACTORS_MAX;
        let expects = may && is_held && in_reach && fits && self.counts(token);
        let target = target.or(subject.target);
        let given = Token {
            text: String::new(),
            party: by,
            key,
            target,
            openid: subject.openid && target.is_none(),
            actors: subject.actors + 1,
            source: Some(token),
            revoked: false,
            ..subject
        };
        self.got(&answer, expects.then_some(given)).await;
    }

    async fn assert(&mut self, by: usize, mistake: Mistake, key: Option<usize>) {
        let party = &self.world.parties[by];
        let other = |place: usize, wrong: Mistake| if mistake == wrong { 1 - place } else { place };
        let issuer = idp(other(party.place, Mistake::Issuer));
        let aimed_at = gate(other(party.tenant, Mistake::Audience), 0);
        let mut said = claims(&issuer, self.world.parties[aimed_at].issuer());
        said["sub"] = json!(username(other(party.tenant, Mistake::Person)));
        let assertion = self.world.idps[other(party.place, Mistake::Key)].sign(&said);
        let fields = [("grant_type", BEARER), ("assertion", assertion.as_str())];
        let answer = self.world.token(by, key, &fields).await;
        let expects = party.is_gate() && mistake == Mistake::None;
        let token = Token {
            text: String::new(),
            party: by,
            for_person: true,
            key,
            target: None,
            openid: false,
            actors: 0,
            source: None,
            revoked: false,
        };
        self.got(&answer, expects.then_some(token)).await;
    }

    /// A token was given, if it had to be; then it says what it must.
    async fn got(&mut self, answer: &Answer, expects: Option<Token>) {
        let Some(mut token) = expects else {
            assert!(answer.status >= 400 && answer.status < 500, "{} {}", answer.status, answer.body);
            assert_eq!(answer.body.get("access_token"), None, "{}", answer.body);
            return;
        };
        assert_eq!(answer.status, 200, "{token:?}: {}", answer.body);
        answer.text("access_token").clone_into(&mut token.text);
        let said = if token.text.contains('.') {
            part(&token.text, 1)
        } else {
            let fields = [("token", token.text.as_str())];
            let party = &self.world.parties[token.party];
            party.client.call("introspection_endpoint", &fields).await.body
        };
        self.is_said(&token, &said);
        self.tokens.push(token);
    }

    /// Whose it is, for whom, where, and with which key.
    fn is_said(&self, token: &Token, said: &Value) {
        let party = &self.world.parties[token.party];
        let subject = if token.for_person { &self.world.subjects[party.tenant] } else { party.id() };
        let audience = token.target.map_or(party.issuer().to_owned(), |place| api(party.tenant, place));
        let jkt = token.key.map(|key| dpop::thumbprint(&self.world.keys[key]));
        assert_eq!(
            [&said["iss"], &said["client_id"], &said["sub"], &said["aud"], &said["cnf"]["jkt"]],
            [&json!(party.issuer()), &json!(party.id()), &json!(subject), &json!([audience]), &json!(jkt)],
            "{said}"
        );
    }

    async fn introspect(&self, by: usize, token: usize) {
        let fields = [("token", self.tokens[token].text.as_str())];
        let answer = self.world.parties[by].client.call("introspection_endpoint", &fields).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        if self.counts(token) && (self.tokens[token].party == by || self.serves(by, token)) {
            assert_eq!(answer.body["active"], true, "{}", answer.body);
            self.is_said(&self.tokens[token], &answer.body);
        } else {
            assert_eq!(answer.body, json!({ "active": false }));
        }
    }

    /// Whether a client is the resource server that a token is for.
    fn serves(&self, by: usize, token: usize) -> bool {
        let target = self.tokens[token].target;
        target.is_some_and(|place| by == gate(self.tenant_of(token), place))
    }

    async fn ask_for_jwt(&mut self, by: usize, token: usize) {
        let party = &self.world.parties[by];
        let client = &party.client;
        let request = client.http.post(client.endpoint("introspection_endpoint"));
        let request = request.basic_auth(party.id(), Some(&client.client.client_secret));
        let request = request.header("accept", "application/jwt");
        let answer = request.form(&[("token", &self.tokens[token].text)]).send().await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.text().await.unwrap();
        if self.counts(token) && self.serves(by, token) {
            assert_eq!(status, 200, "{body}");
            self.is_said(&self.tokens[token], &part(&body, 1));
            self.jwts_seen += 1;
        } else {
            assert_eq!(status, 403, "{body}");
            assert!(serde_json::from_str::<Value>(&body).unwrap().is_object(), "no JWT: {body}");
        }
    }

    async fn ask_for_claims(&mut self, at: usize, token: usize, key: Option<usize>) {
        let answer = self.world.claims(at, key, &self.tokens[token].text).await;
        let shown = &self.tokens[token];
        let here = at == self.tenant_of(token) && shown.key == key && self.counts(token);
        if here && shown.for_person && shown.openid && shown.target.is_none() {
            assert_eq!(answer.status, 200, "{}", answer.body);
            assert_eq!(answer.body["sub"], self.world.subjects[at].as_str());
            self.claims_seen += 1;
        } else {
            assert!([401, 403].contains(&answer.status), "{} {}", answer.status, answer.body);
            assert_eq!(answer.body.get("sub"), None);
        }
    }

    async fn revoke(&mut self, by: usize, token: usize) {
        let fields = [("token", self.tokens[token].text.as_str())];
        let answer = self.world.parties[by].client.call("revocation_endpoint", &fields).await;
        assert_eq!(answer.status, 200, "RFC 7009 §2.2: {}", answer.body);
        self.tokens[token].revoked |= self.tokens[token].party == by;
        // What is another's goes on to count, which its client is told.
        let owner = self.tokens[token].party;
        self.introspect(owner, token).await;
    }
}

const _: () = assert!(GATES == 2, "the other one is 1 minus this one");
