//! From refusals and failures to problem documents: the one place that knows both.

use axum::http::{HeaderName, StatusCode, header};
use domicile_iam::commands::{
    AuthorizeRefusal, ClientRefusal, ClusterRefusal, KeyRefusal, RegistrationRefusal, SecondFactorRefusal,
    SessionRefusal, TenantRefusal, UserRefusal,
};
use domicile_iam::execute::ExecuteError;
use domicile_iam::query::QueryError;

use crate::problem::Problem;
use crate::serve::standing;

/// RFC 5789 §3.1.
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
/// After a change of leader or a full queue.
const RETRY_SOON_S: u64 = 1;

/// A refusal of the domain that callers of the admin API can meet.
pub(super) trait Refusal: std::fmt::Display {
    /// How it is said.
    fn problem(&self) -> Problem;
}

/// A command that was not done, or may have been.
pub(super) fn refused<R: Refusal>(error: &ExecuteError<R>) -> Problem {
    match error {
        ExecuteError::Refused(refusal) => refusal.problem(),
        ExecuteError::IdempotencyMismatch => {
            let title = "The idempotency key was used for another request";
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-mismatch", title)
        }
        ExecuteError::Unavailable { retry_after_s, reason } => {
            standing::unconfirmed();
            not_done((*retry_after_s).into()).detail(format!("nothing was done: {reason}"))
        }
        ExecuteError::NotLeader { leader, .. } => {
            standing::elsewhere(*leader);
            not_done(RETRY_SOON_S)
        }
        ExecuteError::Overloaded(what) => not_done(RETRY_SOON_S).detail(format!("nothing was done: {what}")),
        ExecuteError::Unknown => {
            standing::unknown();
            let title = "Whether it happened is not known";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "outcome-unknown", title)
                .detail("it may have happened: retry with the same `Idempotency-Key`, or read before trying again")
                .retry_after(RETRY_SOON_S)
        }
        ExecuteError::Fault(_) => Problem::internal(),
        ExecuteError::TenantErased | ExecuteError::KeyGone => Problem::not_found(),
    }
}

/// A read that could not be served.
pub(super) fn unread(error: &QueryError) -> Problem {
    match error {
        QueryError::NotLeader { leader, .. } => {
            standing::elsewhere(*leader);
            Problem::unavailable(RETRY_SOON_S)
        }
        QueryError::Elsewhere { .. } => {
            standing::elsewhere(None);
            Problem::unavailable(RETRY_SOON_S)
        }
        QueryError::Unavailable { retry_after_s } => {
            standing::unconfirmed();
            Problem::unavailable(*retry_after_s)
        }
        QueryError::UnknownTenant | QueryError::Erased => Problem::not_found(),
        QueryError::InvalidPageToken => {
            Problem::bad_request("`page_token` is not one of ours, or of another list")
        }
        QueryError::ForeignToken => {
            Problem::conflict("`Domicile-Consistency` is of another tenant or of an abandoned incarnation")
        }
        QueryError::Fault(_) => Problem::internal(),
    }
}

/// 412: the revision is not the one that `If-Match` names.
pub(super) fn precondition_failed(current: Option<u64>) -> Problem {
    let problem = Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "precondition-failed",
        "It is not at the revision named",
    );
    match current {
        Some(current) => problem.with("current_revision", current),
        None => problem,
    }
}

/// 415, with what is taken instead (RFC 9110 §15.5.16); of a PATCH also as RFC 5789 §2.2 has it. Merge patches (RFC 7396)
/// are not: a member that is an object is replaced here as a whole.
pub(super) fn unsupported_media_type(is_patch: bool) -> Problem {
    let title = "The body's media type is not supported";
    let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", title)
        .detail("send `Content-Type: application/json`")
        .header(header::ACCEPT, "application/json");
    if is_patch { problem.header(ACCEPT_PATCH, "application/json") } else { problem }
}

/// 415: the body is compressed, or some such.
pub(super) fn unsupported_coding() -> Problem {
    let title = "The body's content coding is not supported";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", title)
        .detail("send it without `Content-Encoding`")
        .header(header::ACCEPT_ENCODING, "identity")
}

fn not_done(retry_after_s: u64) -> Problem {
    Problem::unavailable(retry_after_s).detail("nothing was done")
}

/// 409 for a name that must be unique.
fn taken(refusal: &impl Refusal, member: &str) -> Problem {
    Problem::new(StatusCode::CONFLICT, "taken", "The name is taken")
        .detail(refusal.to_string())
        .with("member", member)
}

/// 422 for a value.
fn breaks_rule(refusal: &impl Refusal, member: &str) -> Problem {
    Problem::unprocessable(refusal.to_string()).with("member", member)
}

impl Refusal for TenantRefusal {
    fn problem(&self) -> Problem {
        match self {
            Self::NotFound => Problem::not_found(),
            Self::Stale { current } => precondition_failed(Some(*current)),
            Self::SlugTaken => taken(self, "slug"),
            Self::InvalidSlug => breaks_rule(self, "slug"),
            Self::InvalidDisplayName => breaks_rule(self, "display_name"),
            Self::InvalidIssuer => breaks_rule(self, "issuer"),
            Self::InvalidSetting(setting) => breaks_rule(self, &format!("settings.{}", setting.field)),
            Self::ReservationExpired => Problem::conflict("creating it took too long; start again"),
            Self::Placement(_) => breaks_rule(self, "placement"),
            Self::Protected => Problem::conflict(self.to_string()),
            Self::AlgorithmInUse { count, clients } => {
                let title = "Clients are registered for the algorithm";
                Problem::new(StatusCode::CONFLICT, "algorithm-in-use", title)
                    .detail(format!("{self}: change them first, or send `force`"))
                    .with("member", "settings.signing_algorithms")
                    .with("count", *count)
                    .with("clients", clients.clone())
            }
        }
    }
}

impl Refusal for ClusterRefusal {
    fn problem(&self) -> Problem {
        match self {
            Self::NotFound(_) => Problem::not_found(),
            Self::Stale { current } | Self::StaleGeneration { current } => {
                precondition_failed(Some(*current))
            }
            Self::Impossible(_) => Problem::unprocessable(self.to_string()),
            Self::Invalid { field, .. } => breaks_rule(self, field),
            Self::NotInitialised
            | Self::AlreadyInitialised
            | Self::RegionExists(_)
            | Self::TokenUnknown
            | Self::TokenExpired
            | Self::TokenUsed
            | Self::ForeignRegion { .. }
            | Self::NodeGone
            | Self::OldBoot { .. }
            | Self::NotAllowed(_)
            | Self::LastNode
            | Self::QuorumNeedsIt { .. } => Problem::conflict(self.to_string()),
        }
    }
}

impl Refusal for SecondFactorRefusal {
    fn problem(&self) -> Problem {
        match self {
            Self::Absent | Self::SessionOver | Self::UserRefused => Problem::not_found(),
            Self::Present | Self::WrongCode | Self::LockedUntil(_) => Problem::conflict(self.to_string()),
        }
    }
}

impl Refusal for UserRefusal {
    fn problem(&self) -> Problem {
        match self {
            Self::NotFound => Problem::not_found(),
            Self::Stale { current } => precondition_failed(Some(*current)),
            Self::UsernameTaken => taken(self, "username"),
            Self::EmailTaken => taken(self, "email"),
            Self::SubjectTaken => taken(self, "subject"),
            Self::InvalidUsername => breaks_rule(self, "username"),
            Self::InvalidEmail => breaks_rule(self, "email"),
            Self::InvalidPhoneNumber => breaks_rule(self, "phone_number"),
            Self::InvalidSubject => breaks_rule(self, "subject"),
            Self::InvalidClaim { name, .. } => breaks_rule(self, name),
            Self::Password(_) | Self::WrongPassword => breaks_rule(self, "password"),
            Self::Busy { retry_after_s } => not_done(*retry_after_s),
        }
    }
}

impl Refusal for ClientRefusal {
    /// Metadata faults also carry `error` of RFC 7591 §3.2.2.
    fn problem(&self) -> Problem {
        match self {
            Self::NotFound => Problem::not_found(),
            Self::Stale { current } => precondition_failed(Some(*current)),
            Self::ClientIdTaken => taken(self, "client_id"),
            Self::InvalidClientId => breaks_rule(self, "client_id"),
            Self::InvalidRedirectUri { .. } => {
                breaks_rule(self, "redirect_uris").with("error", "invalid_redirect_uri")
            }
            Self::InvalidClientMetadata { field, .. } => {
                breaks_rule(self, field).with("error", "invalid_client_metadata")
            }
            Self::NoSecret => Problem::conflict(self.to_string()),
        }
    }
}

impl Refusal for RegistrationRefusal {
    fn problem(&self) -> Problem {
        match self {
            Self::NotFound => Problem::not_found(),
            Self::Invalid { field, .. } => breaks_rule(self, field),
            Self::Client(refusal) => refusal.problem(),
            // Operators' requests meet none of these.
            Self::Closed | Self::TokenNeeded | Self::InvalidToken | Self::NotAllowed => {
                Problem::conflict(self.to_string())
            }
        }
    }
}

impl Refusal for SessionRefusal {
    fn problem(&self) -> Problem {
        match self {
            Self::NotFound => Problem::not_found(),
            Self::Over | Self::UserRefused => Problem::conflict(self.to_string()),
        }
    }
}

impl Refusal for AuthorizeRefusal {
    fn problem(&self) -> Problem {
        match self {
            // Revoking is the only such command here: there is no grant.
            Self::ConsentNeeded => Problem::not_found(),
            Self::SessionOver | Self::ClientRefused | Self::RequestTaken => {
                Problem::conflict(self.to_string())
            }
        }
    }
}

impl Refusal for KeyRefusal {
    fn problem(&self) -> Problem {
        match self {
            Self::NotFound => Problem::not_found(),
            Self::NotKept => breaks_rule(self, "alg"),
            Self::WrongPhase | Self::TooMany => Problem::conflict(self.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_its_status_and_says_whether_to_retry() {
        let refuse = |refusal| ExecuteError::Refused(refusal);
        let cases: [(ExecuteError<UserRefusal>, u16, &str); 12] = [
            (refuse(UserRefusal::NotFound), 404, "not-found"),
            (refuse(UserRefusal::Stale { current: 3 }), 412, "precondition-failed"),
            (refuse(UserRefusal::UsernameTaken), 409, "taken"),
            (refuse(UserRefusal::InvalidEmail), 422, "unprocessable"),
            (refuse(UserRefusal::Busy { retry_after_s: 2 }), 503, "unavailable"),
            (ExecuteError::IdempotencyMismatch, 422, "idempotency-mismatch"),
            (ExecuteError::Unavailable { retry_after_s: 2, reason: "no quorum" }, 503, "unavailable"),
            (
                ExecuteError::NotLeader { partition: domicile_raft::PartitionId(1), leader: None },
                503,
                "unavailable",
            ),
            (ExecuteError::Unknown, 503, "outcome-unknown"),
            (ExecuteError::Overloaded("queue"), 503, "unavailable"),
            (ExecuteError::Fault("disk".to_owned()), 500, "internal"),
            (ExecuteError::TenantErased, 404, "not-found"),
        ];
        for (error, status, kind) in cases {
            let problem = refused(&error);
            let document = serde_json::to_value(&problem).unwrap();
            assert_eq!(document["type"], format!("urn:domicile:problem:{kind}"), "{error:?}");
            assert_eq!(document["status"], status, "{error:?}");
            let response = axum::response::IntoResponse::into_response(problem);
            assert_eq!(response.headers().contains_key("retry-after"), status == 503, "{error:?}");
        }
    }

    #[test]
    fn what_is_full_is_named() {
        let document = serde_json::to_value(refused::<UserRefusal>(&ExecuteError::Overloaded("disk full")));
        assert_eq!(document.unwrap()["detail"], "nothing was done: disk full");
    }

    #[test]
    fn an_unknown_outcome_tells_to_retry_with_the_same_key() {
        let document = serde_json::to_value(refused::<UserRefusal>(&ExecuteError::Unknown)).unwrap();
        assert!(document["detail"].as_str().unwrap().contains("it may have happened"));
        assert!(document["detail"].as_str().unwrap().contains("`Idempotency-Key`"));
    }

    #[test]
    fn rfc7591_s3_2_2_metadata_faults_carry_the_registered_error() {
        let uri = ClientRefusal::InvalidRedirectUri { uri: "/cb".to_owned(), rule: "is not absolute" };
        assert_eq!(serde_json::to_value(uri.problem()).unwrap()["error"], "invalid_redirect_uri");
        let field = ClientRefusal::InvalidClientMetadata { field: "scope".to_owned(), rule: "is empty" };
        assert_eq!(serde_json::to_value(field.problem()).unwrap()["error"], "invalid_client_metadata");
    }
}
