"""PyPI `authlib`: its OAuth 2 session and its claims; signatures by `joserfc`, which it builds upon.

The library has neither pushed requests nor DPoP.
"""


import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oidc.core import CodeIDToken
from authlib.oidc.discovery import OpenIDProviderMetadata
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from browser import CALLBACK, ISSUER, LOGGED_OUT, Browser, check, register

VERIFIER = "authlib-0123456789-0123456789-0123456789-0123456789"


def discover():
    metadata = requests.get(f"{ISSUER}/.well-known/openid-configuration", timeout=60).json()
    loopback = ("validate_issuer", "validate_authorization_endpoint", "validate_token_endpoint")
    for kind in (AuthorizationServerMetadata, OpenIDProviderMetadata):
        document = kind(metadata)
        for name in dir(document):
            # Those insist on https, which the node on loopback has not.
            if name.startswith("validate_") and name not in loopback:
                try:
                    getattr(document, name)()
                except ValueError as error:
                    check("https" in str(error), f"{kind.__name__}.{name}: {error}")
    check(metadata["issuer"] == ISSUER, "discovery")
    return metadata


def verified(metadata, token, nonce, client_id, access_token):
    """The claims of an ID token, once signature and claims are right."""
    keys = KeySet.import_key_set(requests.get(metadata["jwks_uri"], timeout=60).json())
    read = jwt.decode(token, keys, algorithms=metadata["id_token_signing_alg_values_supported"])
    claims = CodeIDToken(
        read.claims,
        read.header,
        {"iss": {"value": ISSUER}, "aud": {"value": client_id}},
        {"nonce": nonce, "client_id": client_id, "access_token": access_token},
    )
    claims.validate(leeway=5)
    return claims


def confidential(metadata):
    made = register(client_name="authlib", token_endpoint_auth_method="client_secret_basic")
    session = OAuth2Session(
        made["client_id"],
        made["client_secret"],
        scope="openid email offline_access",
        redirect_uri=CALLBACK,
        code_challenge_method="S256",
    )
    browser = Browser()
    url, state = session.create_authorization_url(
        metadata["authorization_endpoint"], code_verifier=VERIFIER, nonce="n-1", prompt="consent"
    )
    back = browser.open(url)
    tokens = session.fetch_token(
        metadata["token_endpoint"], authorization_response=back, code_verifier=VERIFIER, state=state
    )
    claims = verified(metadata, tokens["id_token"], "n-1", made["client_id"], tokens["access_token"])
    check(len(claims["sub"]) > 0, "code with PKCE and an ID token")
    info = session.get(metadata["userinfo_endpoint"]).json()
    check(info["sub"] == claims["sub"] and "email" in info, "userinfo")

    def introspect(token):
        return session.introspect_token(metadata["introspection_endpoint"], token=token).json()

    check(introspect(tokens["access_token"])["active"], "introspection")
    fresh = session.refresh_token(metadata["token_endpoint"], refresh_token=tokens["refresh_token"])
    check(fresh["refresh_token"] != tokens["refresh_token"], "refresh")
    answer = session.revoke_token(metadata["revocation_endpoint"], token=fresh["refresh_token"])
    check(answer.status_code == 200, "revocation")
    try:
        session.refresh_token(metadata["token_endpoint"], refresh_token=fresh["refresh_token"])
        check(False, "a revoked refresh token is refused")
    except OAuthError as error:
        check(error.error == "invalid_grant", "a revoked refresh token is refused")
    check(not introspect(fresh["access_token"])["active"], "introspection of a revoked family")
    gone = browser.open(
        requests.Request(
            "GET",
            metadata["end_session_endpoint"],
            params={"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": LOGGED_OUT},
        )
        .prepare()
        .url
    )
    check(gone == LOGGED_OUT, "logout by the relying party")


def service(metadata):
    key = ECKey.generate_key("P-256", {"kid": "k1", "use": "sig", "alg": "ES256"})
    made = register(
        client_name="Service",
        token_endpoint_auth_method="private_key_jwt",
        jwks={"keys": [key.as_dict(private=False)]},
        grant_types=["client_credentials"],
        response_types=[],
        redirect_uris=[],
        post_logout_redirect_uris=[],
    )
    session = OAuth2Session(
        made["client_id"], key, token_endpoint_auth_method="private_key_jwt"
    )
    # The audience is the issuer (RFC 9700 section 2.5), not the endpoint, which the library takes otherwise.
    method = PrivateKeyJWT(ISSUER, headers={"kid": "k1"}, alg="ES256")
    session.register_client_auth_method(method)
    tokens = session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
    check(tokens["token_type"] == "Bearer", "client credentials with private_key_jwt")


METADATA = discover()
confidential(METADATA)
service(METADATA)
print("done")
