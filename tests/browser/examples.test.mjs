// The examples in a real browser, served by their own servers, with the real Antiphon behind them.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { findChromium, openPage, startChromium, startDev, startServer } from "./browser.mjs";
import { findSdk } from "./site.mjs";

const path = findChromium();
const skip = path && findSdk() ? false : "needs Chromium and the built SDK";
const examples = new URL("../../examples/", import.meta.url);
const serve = (name, port) => startServer(fileURLToPath(new URL(name, examples)), dev.info.api, port);
let dev;
let chromium;

before(async () => {
  if (skip) return;
  [dev, chromium] = await Promise.all([startDev(), startChromium(path)]);
});

after(async () => {
  await chromium?.stop();
  await dev?.stop();
});

/** Writes past everything, as another application would. */
async function sql(text) {
  const headers = { authorization: `Bearer ${dev.info.tokens.admin}`, "content-type": "application/json" };
  const answer = await fetch(`${dev.info.api}/dev/sql`, { method: "POST", headers, body: JSON.stringify({ sql: text }) });
  assert.equal(answer.status, 200);
}

/** The titles of the pages as the server has them. */
async function titles() {
  const headers = { authorization: `Bearer ${dev.info.tokens.alice}` };
  const { items } = await (await fetch(`${dev.info.api}/v1/orgs/acme/entities/page`, { headers })).json();
  return items.map(({ data }) => data.title);
}

const item = (title) => `[...document.querySelectorAll('li')].find((item) => item.querySelector('input').value === '${title}')`;
const badge = (title) => `${item(title)}?.querySelector('.waits:not([hidden])')?.textContent`;
const state = "document.getElementById('state').textContent";
const add = (title) => `document.getElementById('title').value = '${title}'; document.querySelector('form button').click()`;
// As a person does: the text is replaced, and the field is left.
const rename = (from, to) => `(() => { const field = ${item(from)}.querySelector('input'); field.focus(); field.select();
  document.execCommand('insertText', false, '${to}'); field.blur(); })()`;
const press = (title, name) => `[...${item(title)}.querySelectorAll('button')].find((one) => one.textContent === '${name}').click()`;

test("the list is one page of at most 100 lines, without a build step sdk_05", () => {
  const lines = ["index.html", "list.css", "list.js"].map((name) => (
    readFileSync(new URL(`list/${name}`, examples), "utf8").trimEnd().split("\n").length));
  assert.ok(lines.reduce((sum, one) => sum + one, 0) <= 100, String(lines));
});

test("the list is live and edited, starts without its server, and asks where two wrote sdk_05 sy_59", { skip }, async () => {
  const first = await serve("list");
  const page = await openPage(chromium, first.url, 360);
  await page.until(`${state} === 'online' && document.querySelectorAll('li').length > 5`);
  assert.equal(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), true, "nothing is wider than a phone");

  await page.evaluate(add("made online"));
  await page.until(`${item("made online")} && ${state} === 'online'`);
  await page.evaluate(rename("made online", "renamed online"));
  await page.until(`${item("renamed online")} && ${state} === 'online'`);
  assert.ok((await titles()).includes("renamed online"));
  await sql("update pages set title = 'by SQL' where title = 'renamed online'");
  await page.until(item("by SQL"));
  await page.evaluate("navigator.serviceWorker.ready.then(() => undefined)");
  assert.deepEqual(page.complaints(), [], "nothing is refused by the content security policy, nothing throws");

  await first.stop();
  await page.reload();
  await page.until(item("by SQL"));
  await page.evaluate(rename("by SQL", "mine"));
  await page.evaluate(add("made offline"));
  await page.until(`${badge("mine")} === 'not sent yet' && ${badge("made offline")} === 'not sent yet'`);
  await page.until(`${state}.startsWith('offline, 2 not sent yet')`);
  await page.evaluate(add("not for long"));
  await page.evaluate(press("not for long", "Delete"));
  await page.until(`!${item("not for long")}`);

  await sql("update pages set title = 'theirs' where title = 'by SQL'");
  const second = await serve("list", first.port);
  await page.until(`${item("mine")}?.querySelector('.asked').textContent.startsWith('Somebody wrote “theirs”')`);
  await page.until(`!${badge("made offline")}`);
  await page.evaluate(press("mine", "Keep mine"));
  await page.until(`${state} === 'online' && !${badge("mine")}`);
  const now = await titles();
  assert.deepEqual(["mine", "made offline", "theirs", "not for long"].map((title) => now.includes(title)), [true, true, false, false]);
  await second.stop();
});
