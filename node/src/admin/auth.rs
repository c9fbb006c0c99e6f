//! The gate of the admin API: a bearer token (RFC 6750 §2.1), of an operator or the one of the settings.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use domicile_iam::proposal::{ActorKind, ActorRef};
use domicile_oidc::bearer;
use subtle::ConstantTimeEq as _;

use super::answer::never_stored;
use super::operator_tokens::TokenRefusal;
use super::state::{AdminState, token_sha256};
use crate::problem::Problem;
use crate::serve::RequestScope;

/// Who asks, for the audit log. On every request behind the gate.
#[derive(Clone, Debug)]
pub(super) struct Operator(pub(super) ActorRef);

impl Operator {
    /// Whoever has the token of the settings.
    pub(super) fn of_settings() -> Self {
        Self(ActorRef { kind: ActorKind::Operator, id: "admin".to_owned() })
    }
}

/// As [`require_operator`], around routes of which only those of the API are for operators.
pub(super) async fn require_operator_of_api(
    state: State<AdminState>,
    request: Request,
    next: Next,
) -> Response {
    if request.uri().path().starts_with("/v1/") {
        return require_operator(state, request, next).await;
    }
    next.run(request).await
}

/// Passes requests with a good token on. Who was let in once is not asked again on the same node.
pub(super) async fn require_operator(
    State(state): State<AdminState>,
    mut request: Request,
    next: Next,
) -> Response {
    if request.extensions().get::<Operator>().is_some() {
        return next.run(request).await;
    }
    let scope = request.extensions().get::<RequestScope>().copied();
    let headers = request.headers().clone();
    match operator(&state, &headers, scope).await {
        Ok(operator) => {
            request.extensions_mut().insert(operator);
            next.run(request).await
        }
        Err(refused) => never_stored(refused).await,
    }
}

async fn operator(
    state: &AdminState,
    headers: &HeaderMap,
    scope: Option<RequestScope>,
) -> Result<Operator, Response> {
    let Some(token) = sent(headers) else {
        return Err(Problem::unauthorized().into_response());
    };
    // Digests are compared, so that the time taken says nothing about the token, its length included.
    if bool::from(token_sha256(token).ct_eq(&state.admin_token_sha256)) {
        return Ok(Operator::of_settings());
    }
    let scope = scope.ok_or_else(|| Problem::internal().into_response())?;
    state.operators.check(token, scope).await.map(Operator).map_err(refusal)
}

/// The one bearer token.
pub(super) fn sent(headers: &HeaderMap) -> Option<&str> {
    let mut sent = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (sent.next(), sent.next()) else { return None };
    bearer::token(Some(value.to_str().ok()?), None).ok()
}

/// RFC 6750 §3.
pub(super) fn refusal(refusal: TokenRefusal) -> Response {
    let (problem, challenge) = match refusal {
        TokenRefusal::Unconfirmed => {
            return Problem::unavailable(1).detail(refusal.to_string()).into_response();
        }
        TokenRefusal::Invalid => (Problem::unauthorized(), "Bearer error=\"invalid_token\""),
        TokenRefusal::Scope => {
            let title = "The token may not do this";
            let problem = Problem::new(StatusCode::FORBIDDEN, "insufficient-scope", title);
            let challenge = "Bearer error=\"insufficient_scope\", scope=\"domicile:admin\"";
            (problem.detail(refusal.to_string()), challenge)
        }
    };
    let mut response = problem.into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6750_s2_1_one_bearer_token_in_one_header_is_taken() {
        let cases: [(&[&str], Option<&str>); 8] = [
            (&["Bearer dom_admin_secret"], Some("dom_admin_secret")),
            (&["bearer a.b-c"], Some("a.b-c")),
            (&[], None),
            (&["Bearer"], None),
            (&["Bearer "], None),
            (&["Bearer a b"], None),
            (&["Basic dom_admin_secret"], None),
            (&["Bearer a", "Bearer a"], None),
        ];
        for (given, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in given {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            assert_eq!(sent(&headers), expected, "{given:?}");
        }
    }

    #[test]
    fn rfc6750_s3_1_each_refusal_has_its_status_and_challenge() {
        let answered = |refused| {
            let response = refusal(refused);
            let challenge = response.headers().get("www-authenticate");
            (response.status().as_u16(), challenge.map(|value| value.to_str().unwrap().to_owned()))
        };
        let invalid = "Bearer error=\"invalid_token\"".to_owned();
        assert_eq!(answered(TokenRefusal::Invalid), (401, Some(invalid)));
        let scope = "Bearer error=\"insufficient_scope\", scope=\"domicile:admin\"".to_owned();
        assert_eq!(answered(TokenRefusal::Scope), (403, Some(scope)));
        assert_eq!(answered(TokenRefusal::Unconfirmed), (503, None));
    }
}
