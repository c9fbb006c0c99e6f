//! Client authentication at the token, introspection and revocation endpoints (RFC 6749 §2.3,
//! RFC 7523 §2.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domicile_iam::model::{AssertionAudience, AuthMethod, ClientView};
use zeroize::Zeroizing;

use crate::assertion::{Assertion, AssertionFault, Rules, Use};
use crate::error::OAuthError;
use crate::form::{self, Form};
use crate::{Timestamp, endpoint};

/// Bytes of a `client_id` at most.
const CLIENT_ID_MAX: usize = 256;
/// Bytes of a `client_secret` at most.
const SECRET_MAX: usize = 1024;

/// `client_assertion_type` of a JWT (RFC 7523 §2.2).
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// How far `exp` of a client's assertion may be away, in seconds: libraries make them for an hour unless they are told.
const ASSERTION_LIFETIME_MAX_S: u64 = 3_600;
/// How long one counts all the same, in seconds: it is made for one request, and its `jti` must be kept so long.
const ASSERTION_AGE_MAX_S: u64 = 600;

/// What a request shows about its client. Nothing is proved yet.
pub struct Presented {
    /// Who it says it is; to be looked up.
    pub client_id: String,
    evidence: Evidence,
}

enum Evidence {
    Secret(AuthMethod, Zeroizing<String>),
    Assertion(Box<Assertion>),
    Nothing,
}

impl Evidence {
    fn method(&self) -> AuthMethod {
        match self {
            Self::Secret(method, _) => *method,
            Self::Assertion(assertion) => assertion.algorithm().method(),
            Self::Nothing => AuthMethod::None,
        }
    }
}

impl std::fmt::Debug for Presented {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Presented({:?})", self.evidence.method())
    }
}

/// What is left to do for a client that used its registered method.
#[derive(Debug)]
pub enum Proof<'a> {
    /// Verify this secret against the client's credentials.
    Secret(&'a str),
    /// Verify the signature by one of the client's secrets, then see to it that it is used once.
    SecretAssertion(&'a Assertion, Use),
    /// The same by one of the client's keys.
    KeyAssertion(&'a Assertion, Use),
    /// Nothing: a public client only names itself.
    Public,
}

/// Reads the authentication. `authorization` is the header's value, if there is exactly one.
///
/// # Errors
/// `invalid_request` if more than one method is used, `invalid_client` if none can be made out.
pub fn parse(authorization: Option<&str>, form: &Form) -> Result<Presented, OAuthError> {
    let body_id = form.get_within("client_id", CLIENT_ID_MAX)?;
    let body_secret = form.get_within("client_secret", SECRET_MAX)?;
    let assertion = form.get("client_assertion")?;
    let asserts = assertion.is_some() || form.get("client_assertion_type")?.is_some();
    let methods = [authorization.is_some(), body_secret.is_some(), asserts];
    if methods.into_iter().filter(|used| *used).count() > 1 {
        return Err(OAuthError::invalid_request("more than one client authentication method is used"));
    }
    let presented = if let Some(header) = authorization {
        let (client_id, secret) = basic(header).ok_or(OAuthError::invalid_client())?;
        Presented { client_id, evidence: Evidence::Secret(AuthMethod::ClientSecretBasic, secret) }
    } else if asserts {
        asserted(assertion, form.get("client_assertion_type")?)?
    } else {
        let client_id = body_id.ok_or(OAuthError::invalid_client())?.to_owned();
        let evidence = body_secret.map_or(Evidence::Nothing, |secret| {
            Evidence::Secret(AuthMethod::ClientSecretPost, Zeroizing::new(secret.to_owned()))
        });
        Presented { client_id, evidence }
    };
    if body_id.is_some_and(|id| id != presented.client_id) {
        return Err(OAuthError::invalid_request("client_id is not that of the client authentication"));
    }
    Ok(presented)
}

/// The client is the assertion's subject (RFC 7523 §3).
fn asserted(assertion: Option<&str>, kind: Option<&str>) -> Result<Presented, OAuthError> {
    let assertion = assertion.filter(|_| kind == Some(ASSERTION_TYPE)).ok_or(OAuthError::invalid_client())?;
    let assertion = Assertion::parse(assertion).map_err(|_| OAuthError::invalid_client())?;
    let client_id = assertion.subject().to_owned();
    if client_id.is_empty() || client_id.len() > CLIENT_ID_MAX {
        return Err(OAuthError::invalid_client());
    }
    Ok(Presented { client_id, evidence: Evidence::Assertion(Box::new(assertion)) })
}

impl Presented {
    /// What proves that this is `client` to the server `issuer` at `now`: only its registered method counts,
    /// and only an assertion that was made for here and now.
    ///
    /// # Errors
    /// `invalid_client`, also for a disabled client.
    pub fn proof(&self, client: &ClientView, issuer: &str, now: Timestamp) -> Result<Proof<'_>, OAuthError> {
        let registered = client.metadata.token_endpoint_auth_method == self.evidence.method();
        if client.disabled || !registered || client.client_id != self.client_id {
            return Err(OAuthError::invalid_client());
        }
        match &self.evidence {
            Evidence::Secret(_, secret) => Ok(Proof::Secret(secret)),
            Evidence::Nothing => Ok(Proof::Public),
            Evidence::Assertion(assertion) => {
                let used = judge(assertion, client, issuer, now).map_err(|_| OAuthError::invalid_client())?;
                Ok(if assertion.algorithm().method() == AuthMethod::ClientSecretJwt {
                    Proof::SecretAssertion(assertion, used)
                } else {
                    Proof::KeyAssertion(assertion, used)
                })
            }
        }
    }
}

/// RFC 7523 §3, OpenID Connect Core §9.
fn judge(
    assertion: &Assertion,
    client: &ClientView,
    issuer: &str,
    now: Timestamp,
) -> Result<Use, AssertionFault> {
    let metadata = &client.metadata;
    if metadata.assertion_algorithm().is_some_and(|registered| registered != assertion.algorithm()) {
        return Err(AssertionFault::Algorithm);
    }
    let [token_endpoint, par] = [endpoint::TOKEN, endpoint::PAR].map(|path| endpoint::url(issuer, path));
    let lenient = metadata.assertion_audience() == AssertionAudience::TokenEndpoint;
    // RFC 9126 §2 names all three.
    let audiences = [issuer, token_endpoint.as_str(), par.as_str()];
    let rules = Rules {
        issuer: &client.client_id,
        subject: Some(&client.client_id),
        audiences: if lenient { &audiences } else { &audiences[..1] },
        audience_among_others: lenient,
        typ: "client-authentication+jwt",
        lifetime_max_s: ASSERTION_LIFETIME_MAX_S,
        age_max_s: Some(ASSERTION_AGE_MAX_S),
        needs_jti: true,
    };
    assertion.check(&rules, now)?.ok_or(AssertionFault::Jti)
}

/// `Basic` with form-encoded parts (RFC 6749 §2.3.1, RFC 7617 §2).
fn basic(header: &str) -> Option<(String, Zeroizing<String>)> {
    let (scheme, token) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || token.len() > 2 * (CLIENT_ID_MAX + SECRET_MAX) {
        return None;
    }
    let pair = Zeroizing::new(STANDARD.decode(token.trim_matches(' ')).ok()?);
    let colon = pair.iter().position(|&byte| byte == b':')?;
    let (id, secret) = pair.split_at_checked(colon)?;
    let id = form::decode(id).ok().filter(|id| !id.is_empty() && id.len() <= CLIENT_ID_MAX)?;
    let secret = Zeroizing::new(form::decode(secret.get(1..)?).ok()?);
    (!secret.is_empty() && secret.len() <= SECRET_MAX).then_some((id, secret))
}

#[cfg(test)]
mod tests;
