// A person at a browser: follows redirects, keeps cookies, fills in the login form and allows.
// And what the programs share: the node's answers to them, one line a step.

const HOPS = 12;

export const node = Object.fromEntries(
  ["ISSUER", "ADMIN_URL", "ADMIN_TOKEN", "TENANT", "USERNAME", "PASSWORD"].map((name) => {
    const value = process.env[`DOMICILE_${name}`];
    if (!value) throw new Error(`DOMICILE_${name} is not set`);
    return [name.toLowerCase(), value];
  }),
);
export const CALLBACK = "https://rp.example.org/callback";
export const LOGGED_OUT = "https://rp.example.org/bye";

export function check(holds, step) {
  if (!holds) throw new Error(`not so: ${step}`);
  console.log(`ok ${step}`);
}

/** It must be refused. */
export async function refused(promise, step) {
  const error = await promise.then(() => null, (error) => error);
  check(error !== null, `${step}: ${error?.error ?? error?.code ?? error?.message}`);
}

/** Registers a client over the admin API. */
export async function register(metadata) {
  const answer = await fetch(`${node.admin_url}/v1/tenants/${node.tenant}/clients`, {
    method: "POST",
    headers: { authorization: `Bearer ${node.admin_token}`, "content-type": "application/json" },
    body: JSON.stringify({
      redirect_uris: [CALLBACK],
      post_logout_redirect_uris: [LOGGED_OUT],
      response_types: ["code"],
      grant_types: ["authorization_code", "refresh_token"],
      ...metadata,
    }),
  });
  if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`);
  return answer.json();
}

export class Browser {
  cookies = new Map();

  async send(url, form) {
    const headers = { cookie: [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ") };
    if (form) headers.origin = new URL(node.issuer).origin;
    const answer = await fetch(url, {
      method: form ? "POST" : "GET", redirect: "manual", headers, body: form,
    });
    for (const cookie of answer.headers.getSetCookie()) {
      const [name, value] = cookie.split(";", 1)[0].split(/=(.*)/s);
      if (cookie.includes("Max-Age=0")) this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
    return answer;
  }

  /** Goes on until it leaves the node or a page asks nothing more; gives the URL, and the page if it is one. */
  async open(start) {
    let url = new URL(start);
    let form;
    for (let hop = 0; hop < HOPS; hop += 1) {
      if (url.origin !== new URL(node.issuer).origin) return { url };
      const answer = await this.send(url, form);
      form = undefined;
      const location = answer.headers.get("location");
      if (location) {
        url = new URL(location, url);
        continue;
      }
      const html = await answer.text();
      const next = filled(html);
      if (!next) return { url, status: answer.status, html };
      url = new URL(next.action, url);
      form = next.fields;
    }
    throw new Error(`too many hops, now at ${url}`);
  }
}

function text(html) {
  return html.replace(/&amp;/g, "&").replace(/&#38;/g, "&").replace(/&quot;|&#34;/g, '"').replace(/&#x27;|&#39;/g, "'");
}

/** The page's form as a person sends it: logs in, allows. */
function filled(html) {
  for (const [, head, body] of html.matchAll(/<form([^>]*)>(.*?)<\/form>/gs)) {
    const attribute = (tag, name) => text(new RegExp(`\\b${name}="([^"]*)"`).exec(tag)?.[1] ?? "");
    const fields = new URLSearchParams();
    let asks = false;
    for (const [tag] of body.matchAll(/<input[^>]*>/g)) {
      const [type, name] = [attribute(tag, "type"), attribute(tag, "name")];
      if (type === "password") fields.append(name, node.password);
      else if (type === "text" || type === "email") fields.append(name, node.username);
      else fields.append(name, attribute(tag, "value"));
      asks ||= type === "password";
    }
    for (const [tag] of body.matchAll(/<button[^>]*>/g)) {
      if (attribute(tag, "name") === "allow") {
        fields.append("allow", attribute(tag, "value"));
        asks = true;
      }
    }
    if (asks) return { action: attribute(head, "action"), fields };
  }
  return undefined;
}

/** A key pair that a client signs with, and its public half as a JWK. */
export async function keyPair(kid) {
  const algorithm = { name: "ECDSA", namedCurve: "P-256" };
  const pair = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const jwk = await crypto.subtle.exportKey("jwk", pair.publicKey);
  return { key: pair.privateKey, jwk: { kty: jwk.kty, crv: jwk.crv, x: jwk.x, y: jwk.y, kid, use: "sig", alg: "ES256" } };
}
