//! DPoP proofs of requests (RFC 9449): where they come from, and the nonces given for the next.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use domicile_iam::model::{KeyProof, TenantContext};
use domicile_oidc::dpop::{self, Expected, Nonces, Proof, ProofFault};
use domicile_oidc::{OAuthError, endpoint};
use std::sync::Arc;

use super::error::Fault;
use super::state::PublicState;

/// Where a proof travels, and where a nonce comes back.
const PROOF: HeaderName = HeaderName::from_static("dpop");
const NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// A proof that is not good, with the nonce for the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub fault: ProofFault,
    /// The nonce to use.
    pub nonce: String,
}

/// What a request shows.
pub struct Shown {
    /// The proof, if there is one.
    pub proof: Option<Proof>,
    nonces: Arc<Nonces>,
}

impl Shown {
    /// The proof as the domain needs it, to remember its use.
    pub fn key(&self) -> Option<KeyProof> {
        self.proof.as_ref().map(|proof| KeyProof::new(&proof.jkt, &proof.jti, proof.ends_at_s))
    }

    /// The thumbprint of the key that was shown.
    pub fn jkt(&self) -> Option<&str> {
        self.proof.as_ref().map(|proof| proof.jkt.as_str())
    }

    /// `response` with a fresh nonce, if the request had a proof (§8.2).
    #[must_use]
    pub fn with_nonce(
        &self,
        state: &PublicState,
        response: domicile_oidc::Response,
    ) -> domicile_oidc::Response {
        match &self.proof {
            Some(_) => response.with("dpop-nonce", self.nonces.issue(state.clock.now())),
            None => response,
        }
    }
}

/// Reads and checks the proof of a request to `path` (§4.3).
///
/// # Errors
/// The inner [`Refused`] for a proof that is not good; [`Fault`].
pub fn shown(
    state: &PublicState,
    tenant: &Arc<TenantContext>,
    headers: &HeaderMap,
    (method, path): (&str, &str),
    access_token: Option<&str>,
) -> Result<Result<Shown, Refused>, Fault> {
    let nonces = state.nonces(tenant)?;
    let mut values = headers.get_all(PROOF).iter();
    let Some(first) = values.next() else { return Ok(Ok(Shown { proof: None, nonces })) };
    let now = state.clock.now();
    let url = endpoint::url(&tenant.issuer, path);
    let expected = Expected { method, url: &url, access_token, now };
    let checked = match (first.to_str(), values.next()) {
        (Ok(proof), None) => dpop::verify(proof, expected, &nonces),
        (Ok(_) | Err(_), _) => Err(ProofFault::Malformed),
    };
    Ok(match checked {
        Ok(proof) => Ok(Shown { proof: Some(proof), nonces }),
        Err(fault) => {
            tracing::info!(cause = %fault, "a DPoP proof is refused");
            Err(Refused { fault, nonce: nonces.issue(now) })
        }
    })
}

impl Refused {
    /// What the client is told.
    pub fn error(&self) -> OAuthError {
        self.fault.into()
    }

    /// `response` with the nonce for the next try.
    pub fn with_nonce(&self, mut response: Response) -> Response {
        if let Ok(nonce) = HeaderValue::from_str(&self.nonce) {
            response.headers_mut().insert(NONCE, nonce);
        }
        response
    }
}
