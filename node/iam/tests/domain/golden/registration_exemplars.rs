//! One event of each type about registrations without an operator, with every field set.

use domicile_iam::ids::{ClientId, Id, InitialAccessTokenId};
use domicile_iam::model::{
    AssertionAudience, AuthMethod, Delegate, Delegation, GrantType, RegistrationPolicy, StatementIssuer,
};
use domicile_iam::streams::client::{ClientDelegated, ClientEvent, ClientRegistrationTokenChanged};
use domicile_iam::streams::initial_access_token::{
    InitialAccessTokenCreated, InitialAccessTokenEvent, InitialAccessTokenRevoked, InitialAccessTokenUsed,
};
use domicile_raft::Timestamp;
use serde_json::json;

use super::exemplars::Exemplar;

fn policy() -> RegistrationPolicy {
    RegistrationPolicy {
        grant_types: vec![GrantType::AuthorizationCode],
        token_endpoint_auth_methods: vec![AuthMethod::PrivateKeyJwt],
        redirect_uri_hosts: vec!["*.example.org".to_owned()],
        redirect_uri_schemes: vec!["https".to_owned()],
        token_endpoint_auth_audience: AssertionAudience::TokenEndpoint,
        scopes: vec!["openid".to_owned()],
        access_token_lifetime_max_s: Some(300),
        require_pkce: true,
        require_pushed_authorization_requests: true,
        dpop_bound_access_tokens: true,
        // Later than the fixture.
        forbid_static_refresh_tokens: false,
        trust_redirect_uris: false,
        require_software_statement: true,
        software_statement_issuers: vec![StatementIssuer {
            issuer: "https://vendor.example".to_owned(),
            jwks: json!({"keys": []}),
        }],
    }
}

pub fn all() -> Vec<Exemplar> {
    let by = Delegate::InitialAccessToken(InitialAccessTokenId::from_bytes([1; 16]));
    let delegation = Delegation { by, policy: Some(policy()) };
    let clients = [
        ClientEvent::Delegated(ClientDelegated { delegation }),
        ClientEvent::RegistrationTokenChanged(ClientRegistrationTokenChanged { token_sha256: [2; 32] }),
    ];
    let tokens = [
        InitialAccessTokenEvent::Created(InitialAccessTokenCreated {
            secret_sha256: [3; 32],
            expires_at: Timestamp(1_800_000_000_000),
            uses_max: Some(5),
            policy: Some(policy()),
        }),
        InitialAccessTokenEvent::Used(InitialAccessTokenUsed { client: ClientId::from_bytes([4; 16]) }),
        InitialAccessTokenEvent::Revoked(InitialAccessTokenRevoked {}),
    ];
    let clients = clients.into_iter().map(Exemplar::Client);
    clients.chain(tokens.into_iter().map(Exemplar::InitialAccessToken)).collect()
}
