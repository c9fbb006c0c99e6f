// npm `openid-client`: a whole relying party.
import { webcrypto } from "node:crypto";
// Not global before Node.js 20.
globalThis.crypto ??= webcrypto;
globalThis.CryptoKey ??= webcrypto.CryptoKey;

const client = await import("openid-client");
const { Browser, CALLBACK, LOGGED_OUT, check, keyPair, node, refused, register } = await import("./browser.mjs");

const insecure = { execute: [client.allowInsecureRequests] };
const configure = (made, auth) =>
  client.discovery(new URL(node.issuer), made.client_id, { client_secret: made.client_secret }, auth, insecure);

async function request(config, more = {}) {
  const verifier = client.randomPKCECodeVerifier();
  const checks = { pkceCodeVerifier: verifier, expectedState: client.randomState(), expectedNonce: client.randomNonce() };
  const parameters = {
    redirect_uri: CALLBACK, scope: "openid email offline_access", prompt: "consent",
    code_challenge: await client.calculatePKCECodeChallenge(verifier), code_challenge_method: "S256",
    state: checks.expectedState, nonce: checks.expectedNonce, ...more,
  };
  return { parameters, checks };
}

async function confidential() {
  const made = await register({ client_name: "openid-client", token_endpoint_auth_method: "client_secret_basic" });
  const config = await configure(made, client.ClientSecretBasic(made.client_secret));
  check(config.serverMetadata().issuer === node.issuer, "discovery");

  const browser = new Browser();
  const { parameters, checks } = await request(config);
  const back = await browser.open(client.buildAuthorizationUrl(config, parameters));
  check(back.url.searchParams.get("iss") === node.issuer, "the answer names its issuer (RFC 9207)");
  const tokens = await client.authorizationCodeGrant(config, back.url, { ...checks, idTokenExpected: true });
  check(tokens.claims().nonce === checks.expectedNonce, "code with PKCE and an ID token");

  const info = await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub);
  check(typeof info.email === "string", "userinfo");
  check((await client.tokenIntrospection(config, tokens.access_token)).active, "introspection");

  const fresh = await client.refreshTokenGrant(config, tokens.refresh_token);
  check(fresh.refresh_token !== tokens.refresh_token && fresh.claims().sub === tokens.claims().sub, "refresh");

  await client.tokenRevocation(config, fresh.refresh_token);
  await refused(client.refreshTokenGrant(config, fresh.refresh_token), "revocation");
  check(!(await client.tokenIntrospection(config, fresh.access_token)).active, "introspection of a revoked family");

  const pushed = await request(config);
  const url = await client.buildAuthorizationUrlWithPAR(config, pushed.parameters);
  check(url.searchParams.get("request_uri") !== null, "pushed authorization request");
  const second = await client.authorizationCodeGrant(config, (await browser.open(url)).url, pushed.checks);
  check(second.access_token !== undefined, "code of a pushed request");

  const logout = client.buildEndSessionUrl(config, {
    id_token_hint: second.id_token, post_logout_redirect_uri: LOGGED_OUT, state: "s",
  });
  const gone = await browser.open(logout);
  check(gone.url.href === `${LOGGED_OUT}?state=s`, "logout by the relying party");
  const silent = await request(config, { prompt: "none" });
  const answer = await browser.open(client.buildAuthorizationUrl(config, silent.parameters));
  await refused(client.authorizationCodeGrant(config, answer.url, silent.checks), "prompt=none after logout");
}

async function bound() {
  const made = await register({ client_name: "DPoP", token_endpoint_auth_method: "none", dpop_bound_access_tokens: true });
  const config = await configure(made, client.None());
  const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair("ES256"));
  const { parameters, checks } = await request(config);
  const back = await new Browser().open(client.buildAuthorizationUrl(config, parameters));
  const tokens = await client.authorizationCodeGrant(config, back.url, checks, undefined, { DPoP });
  check(tokens.token_type === "dpop", "DPoP: code, with the nonce that the node asked for");
  const info = await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub, { DPoP });
  check(typeof info.sub === "string", "DPoP: userinfo");
  const fresh = await client.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP });
  check(fresh.token_type === "dpop", "DPoP: refresh");
  await refused(client.fetchUserInfo(config, fresh.access_token, tokens.claims().sub), "DPoP: not as a bearer token");
}

async function service() {
  const { key, jwk } = await keyPair("k1");
  const made = await register({
    client_name: "Service", token_endpoint_auth_method: "private_key_jwt", jwks: { keys: [jwk] },
    grant_types: ["client_credentials"], response_types: [], redirect_uris: [], post_logout_redirect_uris: [],
  });
  const config = await configure(made, client.PrivateKeyJwt({ key, kid: "k1" }));
  const tokens = await client.clientCredentialsGrant(config);
  check((await client.tokenIntrospection(config, tokens.access_token)).client_id === made.client_id,
    "client credentials with private_key_jwt");
}

await confidential();
await bound();
await service();
console.log("done");
