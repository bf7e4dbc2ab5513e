// A page behind `antiphon serve` with the tokens of an identity provider: renewing them, and a server that stops.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, afterEach, before, test } from "node:test";

import { findChromium, openPage, startChromium, startDev, startServe } from "./browser.mjs";
import { findSdk, startSite } from "./site.mjs";

const path = findChromium();
const skip = path && findSdk() ? false : "needs Chromium and the built SDK";
const PAGE_ID = "00000000-0000-4001-8001-000000000001";
const SECRET = "a secret of at least thirty-two bytes";
const SETTINGS = {
  ANTIPHON_AUTH_SECRET: SECRET, ANTIPHON_AUTH_ALGORITHMS: "HS256", ANTIPHON_AUTH_ISSUER: "provider", ANTIPHON_AUTH_AUDIENCE: "antiphon",
  ANTIPHON_ENTITIES: "[{ type = \"page\", table = \"public.pages\", org = \"organization_id\" }]",
};
let dev;
let chromium;
let serve;
let site;
let page;

before(async () => {
  if (skip) return;
  [dev, chromium] = await Promise.all([startDev(), startChromium(path)]);
  serve = await startServe(dev.info, SETTINGS);
  site = await startSite({ ...dev.info, api: serve.api });
});

afterEach(async () => { await page?.close(); });

after(async () => {
  await chromium?.stop();
  await site?.stop();
  await serve?.stop();
  await dev?.stop();
});

/** A token of alice's that ends so soon. */
function token(seconds) {
  const part = (document) => Buffer.from(JSON.stringify(document)).toString("base64url");
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: "provider", aud: "antiphon", sub: "alice", iat: now, exp: now + seconds };
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${text}.${createHmac("sha256", SECRET).update(text).digest("base64url")}`;
}

/** Writes past everything, as another application would. */
async function title(text) {
  const headers = { authorization: `Bearer ${dev.info.tokens.admin}`, "content-type": "application/json" };
  const sql = `update pages set title = '${text}' where id = '${PAGE_ID}'`;
  const answer = await fetch(`${dev.info.api}/dev/sql`, { method: "POST", headers, body: JSON.stringify({ sql }) });
  assert.equal((await answer.json()).error, null);
}

const shows = (text) => page.until(`pages.get('${PAGE_ID}').title === '${text}'`);

test("a token that ends while the socket is open is renewed in it sdk_01", { skip }, async () => {
  let given = 0;
  // The first is renewed three seconds later, and ends thirty after that.
  site.tokens.alice = () => token((given += 1) === 1 ? 33 : 3_600);
  page = await openPage(chromium, site.url("renewed"), 1280);
  await page.until("acme.status.transport === 'socket'");
  const ends = Date.now() + 34_000;
  site.asked.length = 0;
  await page.evaluate("window.ways = new Set(), acme.onStatus(({ transport }) => { ways.add(transport); }), undefined");
  // The clock is what is waited for.
  await page.until(`Date.now() > ${ends}`);
  await title("after the end of the first token");
  await shows("after the end of the first token");
  assert.equal(given, 2);
  assert.deepEqual(await page.evaluate("[...ways]"), ["socket"], "it never came in another way, or not at all");
  assert.deepEqual(site.asked, [], "in the same socket, and nothing was asked for");
  assert.equal(site.streamsMax, 1);
});

test("a server that stops is left for the next, without a gap and without a list sdk_01", { skip }, async () => {
  site.tokens.alice = () => token(3_600);
  page = await openPage(chromium, site.url("stopped"), 1280);
  await page.until("acme.status.transport === 'socket'");
  site.asked.length = 0;
  await serve.stop();
  for (const told of ["one", "two", "three"]) await title(told);
  serve = await startServe(dev.info, SETTINGS);
  site.api = serve.api;
  await shows("three");
  await page.until("acme.status.transport === 'socket'");
  assert.deepEqual(site.asked.filter((asked) => asked.includes("/entities/")), []);
});
