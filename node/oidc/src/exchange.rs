//! Token exchange (RFC 8693): an access token of ours for another, narrower one that says who acts.
//!
//! Deliberately absent: tokens of others (the JWT bearer grant takes those), ID and refresh tokens as subject,
//! and refresh tokens as result.

use std::collections::BTreeSet;

use domicile_iam::model::{
    ADMIN_SCOPE, AccessTokenClaims, AccessTokenFormat, ClientView, ExchangePolicy, TenantContext, TokenSource,
};
use serde_json::{Map, Value, json};

use crate::access_token::{self, Terms};
use crate::error::{ErrorCode, OAuthError};
use crate::form::Form;
use crate::{resource, scope};

/// `grant_type`.
pub const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// The type of all that is taken and given (RFC 8693 §3).
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// Another name of what is taken; what is given is one where the client's tokens are not opaque.
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// Bytes of a token at most.
const TOKEN_MAX: usize = 16 * 1024;
/// Bytes of a name at most.
const NAME_MAX: usize = 2048;
/// Targets of one request at most.
const TARGETS_MAX: usize = 16;
/// Actors behind each other at most: each takes room in the token.
const CHAIN_MAX: usize = 4;
/// Tokens that one stands on at most: each takes about 150 bytes in it.
const SOURCES_MAX: usize = 8;

/// What is asked for. Tokens are in it: not for logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Exchange<'a> {
    /// Whose rights.
    pub subject_token: &'a str,
    /// Who acts, if it is not the client itself.
    pub actor_token: Option<&'a str>,
    /// Names of those who are to take the new token.
    pub audiences: BTreeSet<String>,
    /// Their URIs (RFC 8707). Whether they are registered, the caller knows.
    pub resources: BTreeSet<String>,
    /// What for.
    pub scopes: Option<BTreeSet<String>>,
    /// Whether nothing but a JWT will do.
    pub as_jwt: bool,
}

/// The tokens that were brought: ours, and they count now. Their `sub` is that by which the client that
/// exchanges knows their user.
#[derive(Clone, Copy, Debug)]
pub struct Brought<'a> {
    /// Whose rights.
    pub subject: &'a AccessTokenClaims,
    /// Who acts.
    pub actor: Option<&'a AccessTokenClaims>,
    /// Thumbprint of the key that the request showed to hold (RFC 9449).
    pub jkt: Option<&'a str>,
}

/// What is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchanged {
    /// No more than the subject's.
    pub scopes: BTreeSet<String>,
    /// What it is bound to, and for; for nothing else: the subject's audience.
    pub terms: Terms,
    /// `act` (§4.1), the last actor outermost.
    pub act: Option<Value>,
    /// What was brought, and what that was exchanged for.
    pub sources: Vec<TokenSource>,
    /// When the first of them ends, in seconds since 1970.
    pub ends_at_s: u64,
}

/// Reads the request.
///
/// # Errors
/// `invalid_request`, also for kinds of tokens that are not taken or not given (§2.2.2); `invalid_target`;
/// `invalid_scope`.
pub fn parse(form: &Form) -> Result<Exchange<'_>, OAuthError> {
    let subject_token = form.require("subject_token", TOKEN_MAX)?;
    check_type(form.require("subject_token_type", NAME_MAX)?)?;
    let actor_token = form.get_within("actor_token", TOKEN_MAX)?;
    match (actor_token, form.get_within("actor_token_type", NAME_MAX)?) {
        (Some(_), Some(kind)) => check_type(kind)?,
        (None, None) => {}
        (Some(_), None) => return Err(OAuthError::invalid_request("actor_token_type is missing")),
        (None, Some(_)) => {
            return Err(OAuthError::invalid_request("actor_token_type is without actor_token"));
        }
    }
    let wanted = form.get_within("requested_token_type", NAME_MAX)?;
    wanted.map_or(Ok(()), check_type)?;
    let audiences: BTreeSet<String> = form.all("audience").take(TARGETS_MAX + 1).map(str::to_owned).collect();
    if audiences.len() > TARGETS_MAX || audiences.iter().any(|name| name.len() > NAME_MAX) {
        return Err(resource::invalid());
    }
    let resources = resource::read(form)?;
    let scopes = form.get("scope")?.map(scope::parse).transpose()?;
    let as_jwt = wanted == Some(JWT);
    Ok(Exchange { subject_token, actor_token, audiences, resources, scopes, as_jwt })
}

fn check_type(kind: &str) -> Result<(), OAuthError> {
    if kind == ACCESS_TOKEN || kind == JWT {
        Ok(())
    } else {
        Err(OAuthError::invalid_request("a token type is not supported"))
    }
}

/// Decides by the client's policy.
///
/// # Errors
/// `invalid_request` for tokens that the policy does not let through (§2.2.2), `invalid_target` and
/// `invalid_scope` for what it does not give.
pub fn decide(
    exchange: &Exchange<'_>,
    brought: Brought<'_>,
    client: &ClientView,
    tenant: &TenantContext,
) -> Result<Exchanged, OAuthError> {
    const REFUSED: OAuthError =
        OAuthError::invalid_request("the policy does not let this client exchange these tokens");
    let Brought { subject, actor, jkt } = brought;
    let policy = client.metadata.exchange_policy().ok_or(REFUSED)?;
    if !lets_in(&policy, brought, client) {
        return Err(REFUSED);
    }
    if exchange.as_jwt && client.metadata.access_token_format() != AccessTokenFormat::Jwt {
        return Err(OAuthError::invalid_request("the access tokens of this client are not JWTs"));
    }
    if !is_held(brought, client) {
        return Err(OAuthError::invalid_request("a token is bound to a key that was not shown"));
    }
    let sources = sources(brought)?;
    let ends_at_s = actor.map_or(subject.exp, |actor| actor.exp.min(subject.exp));
    Ok(Exchanged {
        scopes: scopes(exchange, subject, client, tenant, &policy)?,
        terms: Terms { dpop_jkt: jkt.map(str::to_owned), resources: targets(exchange, &policy)? },
        act: acts(actor, subject, client, &policy)?,
        sources,
        ends_at_s,
    })
}

/// Whether the policy is about these tokens.
fn lets_in(
    policy: &ExchangePolicy,
    Brought { subject, actor, .. }: Brought<'_>,
    client: &ClientView,
) -> bool {
    // Who will use the new token: it must be whom `may_act` names, if it names anybody (§4.4). It names
    // clients; a user's `sub` is no client's, whatever it looks like.
    let acting = match actor {
        None => Some(client.client_id.as_str()),
        Some(actor) => actor.user.is_none().then_some(actor.sub.as_str()),
    };
    let named = subject
        .may_act
        .as_ref()
        .map(|may_act| acting.is_some() && may_act.get("sub").and_then(Value::as_str) == acting);
    let listed = subject.client == client.id || policy.subject_clients.contains(&subject.client_id);
    let acts = actor
        .is_none_or(|actor| actor.client == client.id || policy.actor_clients.contains(&actor.client_id));
    acts && named.unwrap_or(listed)
}

/// A bound token is good with its key only, and never becomes one that anybody may use (RFC 9449 §7). The key
/// of the subject's holder may be missing where who acts is bound to a key of its own, which the request shows:
/// a resource server that was handed a token along with a proof cannot make another one.
fn is_held(Brought { subject, actor, jkt }: Brought<'_>, client: &ClientView) -> bool {
    let key = |token: &AccessTokenClaims| token.confirmation.as_ref().map(|bound| bound.jkt.clone());
    let actor_key = actor.and_then(key);
    let actor_holds = actor_key.is_none() || actor_key.as_deref() == jkt;
    let constrained = jkt.is_some() && (actor_key.is_some() || client.metadata.dpop_bound_access_tokens);
    let subject_holds = match key(subject) {
        None => true,
        Some(bound) => Some(bound.as_str()) == jkt || constrained,
    };
    actor_holds && subject_holds
}

/// All tokens that the new one stands on.
fn sources(Brought { subject, actor, .. }: Brought<'_>) -> Result<Vec<TokenSource>, OAuthError> {
    let mut sources = Vec::new();
    for token in std::iter::once(subject).chain(actor) {
        sources.push(access_token::source(token));
        sources.extend(token.sources.iter().cloned());
    }
    if sources.len() > SOURCES_MAX {
        return Err(OAuthError::invalid_request("too many tokens stand behind these"));
    }
    Ok(sources)
}

/// §4.1: who acts now, around who acted before. A client that may impersonate and names no actor is not told.
fn acts(
    actor: Option<&AccessTokenClaims>,
    subject: &AccessTokenClaims,
    client: &ClientView,
    policy: &ExchangePolicy,
) -> Result<Option<Value>, OAuthError> {
    let before = subject.act.as_ref().map(earlier);
    let mut act = match actor {
        Some(actor) => Map::from_iter([
            ("sub".to_owned(), json!(actor.sub)),
            ("client_id".to_owned(), json!(actor.client_id)),
        ]),
        None if policy.impersonation => return Ok(before),
        None => Map::from_iter([("sub".to_owned(), json!(client.client_id))]),
    };
    if let Some(before) = before {
        if depth(&before) >= CHAIN_MAX {
            return Err(OAuthError::invalid_request("too many actors stand behind each other"));
        }
        act.insert("act".to_owned(), before);
    }
    Ok(Some(Value::Object(act)))
}

/// Who acted before. Users among them may be named as another sector knows them, so that only the client that they
/// used is left of them (OpenID Connect Core §8.1); nobody is to decide by earlier actors (§4.1).
fn earlier(act: &Value) -> Value {
    let mut act = act.clone();
    let mut level = Some(&mut act);
    while let Some(actor) = level.and_then(Value::as_object_mut) {
        // A client is its own subject, or is named by `sub` alone.
        if actor.get("client_id").is_some_and(|name| Some(name) != actor.get("sub")) {
            actor.remove("sub");
        }
        level = actor.get_mut("act");
    }
    act
}

fn depth(act: &Value) -> usize {
    std::iter::successors(Some(act), |act| act.get("act")).take(CHAIN_MAX + 1).count()
}

/// Never more than the subject has, the policy allows and the client is registered for.
fn scopes(
    exchange: &Exchange<'_>,
    subject: &AccessTokenClaims,
    client: &ClientView,
    tenant: &TenantContext,
    policy: &ExchangePolicy,
) -> Result<BTreeSet<String>, OAuthError> {
    let has: BTreeSet<&str> = subject.scope.as_deref().unwrap_or_default().split(' ').collect();
    let registered = scope::allowed(&client.metadata, &tenant.settings.scopes);
    let mut given = policy.scopes();
    given.retain(|scope| has.contains(scope.as_str()) && registered.contains(scope));
    // Neither is given; and operators prove themselves.
    given.remove(scope::OFFLINE_ACCESS);
    given.remove(ADMIN_SCOPE);
    let Some(asked) = &exchange.scopes else { return Ok(given) };
    given.retain(|scope| asked.contains(scope));
    if given.is_empty() && !asked.is_empty() {
        return Err(OAuthError::new(
            ErrorCode::InvalidScope,
            "no scope that the subject and the policy give",
        ));
    }
    Ok(given)
}

/// What the policy names. None: the subject's own audience stays.
fn targets(exchange: &Exchange<'_>, policy: &ExchangePolicy) -> Result<BTreeSet<String>, OAuthError> {
    let targets: BTreeSet<String> = exchange.audiences.union(&exchange.resources).cloned().collect();
    if targets.iter().all(|target| policy.audiences.contains(target)) {
        Ok(targets)
    } else {
        Err(resource::invalid())
    }
}

#[cfg(test)]
mod tests;
