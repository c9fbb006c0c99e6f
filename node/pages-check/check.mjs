// Opens the pages a person sees in headless Chromium, light and dark, phone and desktop, saves a
// screenshot of each and fails on any axe-core violation.
//
//   cargo run --release -- dev --ready-file ready.json
//   npm ci && node check.mjs ready.json screenshots/
//
// Needs Chromium (Debian: `apt-get install chromium`), found through CHROMIUM or /usr/bin/chromium.
import { createHmac } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [readyFile, out = "screenshots"] = process.argv.slice(2);
if (!readyFile) throw new Error("usage: node check.mjs READY_FILE [DIR]");
const ready = JSON.parse(readFileSync(readyFile, "utf8"));
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
mkdirSync(out, { recursive: true });

const authorize = (parameters) => {
  const url = new URL(`${ready.issuer}/oauth2/authorize`);
  const all = {
    client_id: ready.client_id,
    redirect_uri: ready.redirect_uris[0],
    response_type: "code",
    scope: "openid profile email",
    state: "s",
    nonce: "n",
    ...parameters,
  };
  for (const [name, value] of Object.entries(all)) url.searchParams.set(name, value);
  return url.href;
};

const admin = async (method, path, body) => {
  const answer = await fetch(`${ready.admin_url}/v1/tenants/${ready.tenant}${path}`, {
    method,
    headers: { authorization: `Bearer ${ready.admin_token}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
};

// For the pages on which an account, an app and a second factor are made.
await admin("PATCH", "", {
  settings: {
    self_registration: true,
    terms_uri: "https://acme.example/terms",
    developer_clients_max: 100,
    second_factor: "when_asked",
  },
});

// RFC 6238 with its defaults.
function codeOf(base32) {
  const bits = [...base32].map((letter) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000)));
  const mac = createHmac("sha1", key).update(counter).digest();
  const at = mac[19] & 15;
  return String((mac.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

// The pages of a user's own account; each look is by a user of its own, since a second factor stays.
async function ownPages(context, tag) {
  const password = "a long enough password";
  await admin("POST", "/users", { username: `checker-${tag}`, password });
  const page = await context.newPage();
  const logIn = async () => {
    await page.goto(`${ready.issuer}/account`);
    await page.fill('input[name="login"]', `checker-${tag}`);
    await page.fill('input[type="password"]', password);
    await page.click('button[type="submit"]');
    await page.waitForLoadState();
  };
  await logIn();
  await page.goto(`${ready.issuer}/account/password`);
  await look(page, `password-${tag}`);
  await page.fill('input[name="current_password"]', "wrong");
  await page.fill('input[name="password"]', "another long password");
  await page.fill('input[name="password_again"]', "another long password");
  await page.click("button.primary");
  await page.waitForSelector("#summary");
  await look(page, `password-refused-${tag}`);
  await page.goto(`${ready.issuer}/account/clients`);
  await look(page, `own-clients-${tag}`);
  await page.fill("#name", "An app of mine");
  await page.fill("#redirect_uris", "https://app.example/callback");
  await page.click('button[name="register"]');
  await page.waitForLoadState();
  await look(page, `own-client-made-${tag}`);
  await page.goto(`${ready.issuer}/account/clients`);
  await page.click("p > a:has(strong)");
  await page.waitForLoadState();
  await look(page, `own-client-${tag}`);
  await page.goto(`${ready.issuer}/account/second-factor`);
  await look(page, `second-factor-set-up-${tag}`);
  const secret = (await page.textContent("#secret")).replaceAll(/\s/g, "");
  await page.fill("#code", codeOf(secret));
  await page.click("button.primary");
  await page.waitForLoadState();
  await look(page, `recovery-codes-${tag}`);
  await page.goto(`${ready.issuer}/account/second-factor`);
  await look(page, `second-factor-${tag}`);
  await context.clearCookies();
  await logIn();
  await look(page, `second-factor-asked-${tag}`);
  await page.close();
}

let violations = 0;
async function look(page, name) {
  await page.screenshot({ path: join(out, `${name}.png`), fullPage: true });
  // The page's own policy forbids foreign scripts, so the checker comes in through the debugger.
  const session = await page.context().newCDPSession(page);
  await session.send("Runtime.evaluate", { expression: axe });
  const { result } = await session.send("Runtime.evaluate", {
    expression: "axe.run(document).then((found) => JSON.stringify(found.violations))",
    awaitPromise: true,
  });
  for (const violation of JSON.parse(result.value)) {
    violations += 1;
    console.log(`${name}: ${violation.id}: ${violation.help}`);
    for (const node of violation.nodes) console.log(`  ${node.html}`);
  }
  console.log(`looked at ${name}`);
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
for (const colorScheme of ["light", "dark"]) {
  for (const [width, viewport] of Object.entries({ phone: { width: 320, height: 640 }, desktop: { width: 1280, height: 800 } })) {
    const context = await browser.newContext({ colorScheme, viewport });
    const page = await context.newPage();
    const tag = `${colorScheme}-${width}`;
    await page.goto(authorize({ prompt: "login consent" }));
    await look(page, `login-${tag}`);
    await page.fill('input[name="login"]', ready.username);
    await page.fill('input[type="password"]', "wrong");
    await page.click('button[type="submit"]');
    await page.waitForLoadState();
    await look(page, `login-refused-${tag}`);
    await page.fill('input[name="login"]', ready.username);
    await page.fill('input[type="password"]', ready.password);
    await page.click('button[type="submit"]');
    await page.waitForSelector('button[name="allow"]');
    await look(page, `consent-${tag}`);
    await page.goto(`${ready.issuer}/account`);
    await page.waitForSelector('button[name="end"]');
    await look(page, `account-${tag}`);
    await page.goto(authorize({ prompt: "create" }));
    await page.waitForSelector('input[name="terms"]');
    await look(page, `register-${tag}`);
    await page.fill('input[name="username"]', "newcomer");
    await page.fill('input[name="password"]', "one password");
    await page.fill('input[name="password_again"]', "and another");
    await page.check('input[name="terms"]');
    await page.click('button.primary');
    await page.waitForSelector('#summary');
    await look(page, `register-refused-${tag}`);
    await page.goto(`${ready.issuer}/oauth2/logout`);
    await look(page, `logout-${tag}`);
    await page.click('button[type="submit"]');
    await page.waitForLoadState();
    await look(page, `logged-out-${tag}`);
    await page.goto(authorize({ redirect_uri: "https://not.registered.example/cb" }));
    await look(page, `error-${tag}`);
    await page.goto(`${ready.issuer}/device`);
    await look(page, `device-${tag}`);
    await page.fill("#user_code", "BBBB-BBBB");
    await page.click("button.primary");
    await page.waitForLoadState();
    await look(page, `device-refused-${tag}`);
    await ownPages(context, tag);
    await context.close();
  }
}
await browser.close();
console.log(`${violations} violations`);
process.exit(violations === 0 ? 0 : 1);
