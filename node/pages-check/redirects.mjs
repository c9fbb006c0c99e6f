// Logs in through headless Chromium and follows the client's own redirects, which Chrome holds to the
// policy of our page (docs/adr/0007-form-action.md): with scripts and without, after login, consent and
// denial, by query and by form post. Fails if the browser does not arrive.
//
//   cargo run --release -- dev --ready-file ready.json
//   npm ci && node redirects.mjs ready.json
//
// Listens where the demo client's first redirect URI points to.
import { readFileSync } from "node:fs";
import http from "node:http";
import { chromium } from "playwright-core";

const [readyFile] = process.argv.slice(2);
if (!readyFile) throw new Error("usage: node redirects.mjs READY_FILE");
const ready = JSON.parse(readFileSync(readyFile, "utf8"));
const callback = new URL(ready.redirect_uris[0]);

const listen = (port, answer) =>
  new Promise((done) => {
    const server = http.createServer(answer);
    server.listen(port, "127.0.0.1", () => done(server.address().port));
  });
const home = await listen(0, (_, answer) => answer.end("home"));
const got = [];
await listen(Number(callback.port), async (request, answer) => {
  let body = "";
  for await (const part of request) body += part;
  const parameters = request.method === "POST" ? new URLSearchParams(body) : new URL(request.url, callback).searchParams;
  got.push({ method: request.method, referer: request.headers.referer, parameters });
  // Another name is another origin.
  answer.writeHead(303, { location: `http://localhost:${home}/home` }).end();
});

const authorize = (parameters) => {
  const url = new URL(`${ready.issuer}/oauth2/authorize`);
  const all = { client_id: ready.client_id, redirect_uri: callback.href, response_type: "code", scope: "openid", state: "s" };
  for (const [name, value] of Object.entries({ ...all, ...parameters })) url.searchParams.set(name, value);
  return url.href;
};

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
let failures = 0;
for (const javaScriptEnabled of [true, false]) {
  for (const mode of ["query", "form_post"]) {
    const context = await browser.newContext({ javaScriptEnabled });
    const page = await context.newPage();
    page.on("console", (message) => console.log(`  ${message.text().trim()}`));
    const arrived = async (step, member) => {
      if (mode === "form_post" && !javaScriptEnabled) await page.click('button[type="submit"]');
      await page.waitForURL(`http://localhost:${home}/home`, { timeout: 5000 }).catch(() => {});
      const last = got.pop();
      const method = mode === "query" ? "GET" : "POST";
      const good =
        page.url() === `http://localhost:${home}/home` &&
        last?.method === method && last.parameters.get("state") === "s" && last.parameters.has(member) &&
        !last.referer?.includes("interaction");
      console.log(`${good ? "ok" : "FAILED"}: ${step}, ${mode}, scripts ${javaScriptEnabled}: ${page.url()}`);
      if (!good) failures += 1;
    };
    const login = async () => {
      await page.fill('input[name="login"]', ready.username);
      await page.fill('input[type="password"]', ready.password);
      await page.click('button[type="submit"]');
    };
    await page.goto(authorize({ prompt: "login consent", response_mode: mode }));
    await login();
    await page.click('button[name="allow"]');
    await arrived("consent", "code");
    await page.goto(authorize({ prompt: "login", response_mode: mode }));
    await login();
    await arrived("login", "code");
    await page.goto(authorize({ prompt: "consent", response_mode: mode }));
    await page.click('button[name="deny"]');
    await arrived("denial", "error");
    await context.close();
  }
}
await browser.close();
console.log(`${failures} failures`);
process.exit(failures === 0 ? 0 : 1);
