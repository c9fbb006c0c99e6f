//! The gate of the admin API: a bearer token (RFC 6750 §2.1).

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use subtle::ConstantTimeEq as _;

use super::state::{AdminState, token_sha256};
use crate::problem::Problem;

/// Passes requests with the admin token on; all others are 401.
pub(super) async fn require_admin_token(
    State(state): State<AdminState>,
    request: Request,
    next: Next,
) -> Response {
    if proves(request.headers(), &state.admin_token_sha256) {
        next.run(request).await
    } else {
        Problem::unauthorized().into_response()
    }
}

/// Compares digests, so that the time taken says nothing about the token, its length included.
fn proves(headers: &HeaderMap, sha256: &[u8; 32]) -> bool {
    let mut sent = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (sent.next(), sent.next()) else { return false };
    let Some((scheme, token)) = value.to_str().ok().and_then(|text| text.split_once(' ')) else {
        return false;
    };
    scheme.eq_ignore_ascii_case("bearer") && bool::from(token_sha256(token).ct_eq(sha256))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6750_s2_1_only_the_one_bearer_token_proves() {
        let sha256 = token_sha256("dom_admin_secret");
        let cases: [(&[&str], bool); 9] = [
            (&["Bearer dom_admin_secret"], true),
            (&["bearer dom_admin_secret"], true),
            (&[], false),
            (&["Bearer"], false),
            (&["Bearer "], false),
            (&["Bearer dom_admin_secre"], false),
            (&["Bearer dom_admin_secret "], false),
            (&["Basic dom_admin_secret"], false),
            (&["Bearer dom_admin_secret", "Bearer dom_admin_secret"], false),
        ];
        for (sent, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in sent {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            assert_eq!(proves(&headers, &sha256), expected, "{sent:?}");
        }
    }
}
