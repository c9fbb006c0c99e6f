// npm `oauth4webapi`: the protocol step by step, every answer checked by the library.
import { webcrypto } from "node:crypto";
// Not global before Node.js 20.
globalThis.crypto ??= webcrypto;
globalThis.CryptoKey ??= webcrypto.CryptoKey;

const oauth = await import("oauth4webapi");
const { Browser, CALLBACK, LOGGED_OUT, check, keyPair, node, refused, register } = await import("./browser.mjs");

const http = { [oauth.allowInsecureRequests]: true };
const issuer = new URL(node.issuer);

async function discover(algorithm) {
  const answer = await oauth.discoveryRequest(issuer, { ...http, algorithm });
  const as = await oauth.processDiscoveryResponse(issuer, answer);
  check(as.issuer === node.issuer, `discovery (${algorithm})`);
  return as;
}

/** Once more where the node asks for its nonce. */
async function proved(send, read) {
  try {
    return await read(await send());
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error;
    return read(await send());
  }
}

async function code(as, client, browser, { pushed, DPoP } = {}) {
  const auth = client.client_secret ? oauth.ClientSecretPost(client.client_secret) : oauth.None();
  const verifier = oauth.generateRandomCodeVerifier();
  const [state, nonce] = [oauth.generateRandomState(), oauth.generateRandomNonce()];
  const parameters = new URLSearchParams({
    client_id: client.client_id, redirect_uri: CALLBACK, response_type: "code", state, nonce,
    scope: "openid email offline_access", prompt: "consent",
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: "S256",
  });
  const url = new URL(as.authorization_endpoint);
  url.search = parameters;
  if (pushed) {
    const { request_uri } = await proved(
      () => oauth.pushedAuthorizationRequest(as, client, auth, parameters, { ...http, DPoP }),
      (answer) => oauth.processPushedAuthorizationResponse(as, client, answer),
    );
    url.search = new URLSearchParams({ client_id: client.client_id, request_uri });
  }
  const back = await browser.open(url);
  const given = oauth.validateAuthResponse(as, client, back.url, state);
  const tokens = await proved(
    () => oauth.authorizationCodeGrantRequest(as, client, auth, given, CALLBACK, verifier, { ...http, DPoP }),
    (answer) => oauth.processAuthorizationCodeResponse(as, client, answer, { expectedNonce: nonce, requireIdToken: true }),
  );
  return { auth, tokens, claims: oauth.getValidatedIdTokenClaims(tokens) };
}

async function confidential(as) {
  const made = await register({ client_name: "oauth4webapi", token_endpoint_auth_method: "client_secret_post" });
  const client = { client_id: made.client_id, client_secret: made.client_secret };
  const browser = new Browser();
  const { auth, tokens, claims } = await code(as, client, browser);
  check(claims.sub.length > 0, "code with PKCE and an ID token");

  const told = await oauth.userInfoRequest(as, client, tokens.access_token, http);
  check((await oauth.processUserInfoResponse(as, client, claims.sub, told)).email !== undefined, "userinfo");

  const introspect = async (token) => oauth.processIntrospectionResponse(
    as, client, await oauth.introspectionRequest(as, client, auth, token, http));
  check((await introspect(tokens.access_token)).active, "introspection");
  const signed = { ...client, introspection_signed_response_alg: "RS256" };
  const jwt = await oauth.introspectionRequest(as, signed, auth, tokens.access_token, { ...http, requestJwtResponse: true });
  check((await oauth.processIntrospectionResponse(as, signed, jwt)).active, "signed introspection (RFC 9701)");

  const refresh = async (token) => oauth.processRefreshTokenResponse(
    as, client, await oauth.refreshTokenGrantRequest(as, client, auth, token, http));
  const fresh = await refresh(tokens.refresh_token);
  check(fresh.refresh_token !== tokens.refresh_token, "refresh");
  await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, auth, fresh.refresh_token, http));
  await refused(refresh(fresh.refresh_token), "revocation");

  const pushed = await code(as, client, browser, { pushed: true });
  check(pushed.claims.sub === claims.sub, "code of a pushed request");

  const resource = new URL(as.userinfo_endpoint);
  const headers = new Headers({ authorization: `Bearer ${pushed.tokens.access_token}` });
  const asked = new Request(resource, { headers });
  const access = await oauth.validateJwtAccessToken(as, asked, node.issuer, http);
  check(access.client_id === client.client_id, "a resource server's check of the JWT access token (RFC 9068)");

  const logout = new URL(as.end_session_endpoint);
  logout.search = new URLSearchParams({
    id_token_hint: pushed.tokens.id_token, client_id: client.client_id, post_logout_redirect_uri: LOGGED_OUT,
  });
  check((await browser.open(logout)).url.href === LOGGED_OUT, "logout by the relying party");
}

async function bound(as) {
  const made = await register({ client_name: "DPoP", token_endpoint_auth_method: "none", dpop_bound_access_tokens: true });
  const client = { client_id: made.client_id };
  const DPoP = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
  const { tokens, claims } = await code(as, client, new Browser(), { pushed: true, DPoP });
  check(tokens.token_type === "dpop", "DPoP: pushed request and code");
  const info = await proved(
    () => oauth.userInfoRequest(as, client, tokens.access_token, { ...http, DPoP }),
    (answer) => oauth.processUserInfoResponse(as, client, claims.sub, answer),
  );
  check(info.sub === claims.sub, "DPoP: userinfo");
  const again = await proved(
    () => oauth.refreshTokenGrantRequest(as, client, oauth.None(), tokens.refresh_token, { ...http, DPoP }),
    (answer) => oauth.processRefreshTokenResponse(as, client, answer),
  );
  check(again.token_type === "dpop", "DPoP: refresh");
  const stranger = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
  await refused(proved(
    () => oauth.refreshTokenGrantRequest(as, client, oauth.None(), again.refresh_token, { ...http, DPoP: stranger }),
    (answer) => oauth.processRefreshTokenResponse(as, client, answer),
  ), "DPoP: another key");
}

async function service(as) {
  const { key, jwk } = await keyPair("k1");
  const made = await register({
    client_name: "Service", token_endpoint_auth_method: "private_key_jwt", jwks: { keys: [jwk] },
    grant_types: ["client_credentials"], response_types: [], redirect_uris: [], post_logout_redirect_uris: [],
  });
  const client = { client_id: made.client_id };
  const auth = oauth.PrivateKeyJwt({ key, kid: "k1" });
  const answer = await oauth.clientCredentialsGrantRequest(as, client, auth, new URLSearchParams(), http);
  const tokens = await oauth.processClientCredentialsResponse(as, client, answer);
  check(tokens.token_type === "bearer", "client credentials with private_key_jwt");
}

await discover("oauth2");
const as = await discover("oidc");
await confidential(as);
await bound(as);
await service(as);
console.log("done");
