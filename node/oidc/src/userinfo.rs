//! The UserInfo endpoint (OpenID Connect Core §5.3): claims by scope and by the `claims` parameter.

use domicile_iam::ids::UserId;
use domicile_iam::model::{AccessTokenClaims, UserView};
use serde_json::{Map, Value};

use crate::bearer::BearerError;
use crate::response::Response;
use crate::{claims, scope};

/// Whose claims a valid token may read.
///
/// # Errors
/// [`BearerError::InsufficientScope`] without `openid` (RFC 6750 §3.1), [`BearerError::InvalidToken`]
/// if it acts for no user.
pub fn user_of(token: &AccessTokenClaims) -> Result<UserId, BearerError> {
    if !scope::holds(token.scope.as_deref(), scope::OPENID) {
        return Err(BearerError::InsufficientScope(scope::OPENID));
    }
    token.user.ok_or(BearerError::InvalidToken)
}

/// The answer: always `sub`, and what was granted and is known (§5.3.2: unknown claims are left out).
pub fn response(token: &AccessTokenClaims, user: &UserView) -> Response {
    let mut body = Map::new();
    let tagged = user.claims.keys().map(String::as_str).filter(|name| name.contains('#'));
    for name in claims::STANDARD.iter().map(|(name, _)| *name).chain(tagged) {
        let by_scope =
            claims::scope_of(name).is_some_and(|scope| scope::holds(token.scope.as_deref(), scope));
        if by_scope || token.userinfo_claims.contains_key(name) {
            body.extend(claim(user, name).map(|value| (name.to_owned(), value)));
        }
    }
    body.insert("sub".to_owned(), user.subject.as_str().into());
    Response::json(200, &Value::Object(body))
}

/// One standard claim (§5.1), also with a language tag (§5.2); `None` if the user has no such value.
pub fn claim(user: &UserView, name: &str) -> Option<Value> {
    claims::scope_of(name)?;
    match name {
        "email" => user.email.as_deref().map(Value::from),
        "email_verified" => user.email.as_ref().map(|_| user.email_verified.into()),
        "phone_number" => user.phone_number.as_deref().map(Value::from),
        "phone_number_verified" => user.phone_number.as_ref().map(|_| user.phone_number_verified.into()),
        "updated_at" => Some(user.updated_at.seconds().into()),
        "preferred_username" => Some(stored(user, name).unwrap_or_else(|| user.username.as_str().into())),
        _ => stored(user, name),
    }
}

fn stored(user: &UserView, name: &str) -> Option<Value> {
    user.claims.get(name).filter(|value| !value.is_null()).cloned()
}
