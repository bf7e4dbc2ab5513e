// Desk beside the API, as `antiphon serve` has it where the configuration says so: one signs in with an access token.

import assert from "node:assert/strict";
import { after, before, test as declare } from "node:test";

import { findChromium, openPage, startChromium, startDev, startServe } from "./browser.mjs";
import { click, hasDesk, POLICY, press, shown, type } from "./desk.mjs";
import { until, whyNot } from "./place.mjs";
import { tooWide, violations } from "./stories.mjs";

const skip = whyNot() || (hasDesk ? false : "needs the built Desk: script/sdk");
const test = (claim, run) => declare(claim, { skip, timeout: 120_000 }, run);
const PAGE = "00000000-0000-4001-8001-000000000001";
const both = ["page", "task"].map((one) => `{ type = "${one}", table = "public.${one}s", org = "organization_id" }`);
const settings = (desk, entities) => ({ ANTIPHON_SERVER_DESK: desk, ANTIPHON_ENTITIES: `[${entities.join(", ")}]` });
const TOKEN = "input[type=password]";
let dev;
let chromium;
let serve;

before(async () => {
  if (skip) return;
  [dev, chromium] = await Promise.all([startDev(), startChromium(findChromium())]);
  serve = await startServe(dev.info, settings("on", both));
});
after(async () => {
  await chromium?.stop();
  await serve?.stop();
  await dev?.stop();
});

/** Signs in as the form asks. */
async function signIn(page, org, token) {
  await page.until(`document.querySelector('${TOKEN}') !== null`);
  await page.evaluate("document.querySelector('input').value = ''");
  await page.evaluate(`document.querySelectorAll('input').forEach((one) => { Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(one, ""); one.dispatchEvent(new Event("input", { bubbles: true })); })`);
  await type(page, "input", org);
  await type(page, TOKEN, token);
  await press(page, "Enter");
}

const opened = "document.querySelectorAll('.list li').length > 20";
const title = async () => {
  const headers = { authorization: `Bearer ${dev.info.tokens.alice}` };
  return (await (await fetch(`${serve.api}/v1/orgs/acme/entities/page/${PAGE}`, { headers })).json()).data.title;
};

test("antiphon serve has Desk where server.desk is on, packed and under its policy, and nowhere else desk_01 se_12", async () => {
  const answer = await fetch(`${serve.api}/desk/`, { headers: { "accept-encoding": "br" } });
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get("content-security-policy"), POLICY);
  assert.equal(answer.headers.get("content-encoding"), "br");
  for (const path of ["/try/", "/dev/session", "/"]) assert.equal((await fetch(serve.api + path)).status, 404, path);
  assert.equal((await fetch(`${serve.api}/desk/session/acme`)).status, 401);
  const off = await startServe(dev.info, settings("off", both));
  assert.equal((await fetch(`${off.api}/desk/`)).status, 404);
  await off.stop();
});

test("one signs in with a token, works, loads again, and is asked for it where the tab has none any more desk_01", async () => {
  const page = await openPage(chromium, `${serve.api}/desk/?lang=en`, 360);
  await page.until(`document.querySelector('${TOKEN}') !== null`);
  assert.deepEqual([...await violations(page), ...await tooWide(page)], []);
  await signIn(page, "acme", "no token at all");
  await page.until("document.querySelector('[role=alert]')?.textContent.startsWith('This token does not let you in')");
  await signIn(page, "globex", dev.info.tokens.alice);
  await page.until("document.querySelector('[role=alert]')?.textContent.startsWith('You have no place')");
  await signIn(page, "acme", dev.info.tokens.alice);
  await page.until(opened);
  await page.reload();
  await page.until(opened);
  await page.evaluate(`location.hash = '#/pages/${PAGE}'`);
  await type(page, "input.title", " by token");
  await press(page, "Enter");
  await until(async () => (await title()).endsWith(" by token"));

  await page.evaluate("sessionStorage.clear()");
  await page.reload();
  await page.until(`document.querySelector('.standing ${TOKEN}') !== null`);
  assert.match(await shown(page, ".standing"), /Your changes are kept/);
  await type(page, "input.title", ", kept");
  await press(page, "Enter");
  await type(page, TOKEN, dev.info.tokens.bob);
  await press(page, "Enter");
  await page.until("document.querySelector('.standing [role=alert]').textContent.startsWith('This is another person')");
  await page.evaluate(`document.querySelector('${TOKEN}').select()`);
  await page.send("Input.insertText", { text: dev.info.tokens.alice });
  await press(page, "Enter");
  await page.until(`document.querySelector('.standing ${TOKEN}') === null`);
  await until(async () => (await title()).endsWith(" by token, kept"));
  const stored = await page.evaluate("JSON.stringify(localStorage)");
  assert.ok(!stored.includes(dev.info.tokens.alice), "the token stays with the tab");
  await click(page, "Alice Adams: account");
  await click(page, "Sign out", "[role=menu]");
  await page.until("document.querySelector('dialog[open]') !== null");
  await click(page, "Sign out", "dialog[open]");
  await page.until(`document.querySelector('.sign-in ${TOKEN}') !== null`);
  assert.equal(await page.evaluate("sessionStorage.length"), 0);
  await page.close();
});

test("a server without pages and tasks is told in words desk_01", async () => {
  const other = await startServe(dev.info, settings("on", both.slice(0, 1)));
  const page = await openPage(chromium, `${other.api}/desk/?lang=en`, 1280);
  await signIn(page, "acme", dev.info.tokens.alice);
  await page.until("document.querySelector('[role=alert]')?.textContent.startsWith('This server has no pages and tasks')");
  await page.close();
  await other.stop();
});
