// The SDK in a real browser against the real server and its Postgres: live, offline and back, several tabs.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { findChromium, openPage, startChromium, startDev } from "./browser.mjs";
import { startSite } from "./site.mjs";

const path = findChromium();
const skip = path ? false : "needs Chromium";
const PAGE_ID = "00000000-0000-4001-8001-000000000001";
let dev;
let chromium;
let site;

before(async () => {
  if (skip) return;
  [dev, chromium] = await Promise.all([startDev(), startChromium(path)]);
  site = await startSite(dev.info);
});

after(async () => {
  await chromium?.stop();
  await site?.stop();
  await dev?.stop();
});

/** A row as the server has it now. */
async function onServer(entityType, id) {
  const headers = { authorization: `Bearer ${dev.info.tokens.alice}` };
  const answer = await fetch(`${dev.info.api}/v1/orgs/acme/entities/${entityType}/${id}`, { headers });
  return answer.ok ? (await answer.json()).data : undefined;
}

async function open(name, query = "") {
  const page = await openPage(chromium, site.url(name) + query, 1280);
  await page.until("window.shown?.complete");
  return page;
}

test("rows come, and a change in the database reaches the list by itself sdk_01", { skip }, async () => {
  const page = await open("live");
  assert.ok(await page.evaluate("shown.rows.length") > 5);
  const before = await page.evaluate("window.kept = shown.rows[0], shown.rows.length");
  const sql = `update pages set title = 'zz told by SQL' where id = '${PAGE_ID}'`;
  const headers = { authorization: `Bearer ${dev.info.tokens.admin}`, "content-type": "application/json" };
  await fetch(`${dev.info.api}/dev/sql`, { method: "POST", headers, body: JSON.stringify({ sql }) });
  await page.until("shown.rows.at(-1).title === 'zz told by SQL'");
  assert.equal(await page.evaluate("shown.rows.length"), before);
  assert.deepEqual(page.complaints(), [], "nothing is refused by the content security policy, nothing throws");
});
