// The server is away for long, and whatever answers in its stead: a page goes on, asks rarely, says how it stands, and is
// right once the server is back.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";

import { startDev } from "./browser.mjs";
import { ownClock, pass } from "./clock.mjs";
import { startPlace, whyNot } from "./place.mjs";

const skip = whyNot();
const PAGE_ID = "00000000-0000-4001-8001-000000000001";
const OTHER_ID = "00000000-0000-4001-8001-000000000002";
const HOUR_MS = 3_600_000;
let place;
let folder;

before(async () => {
  if (skip) return;
  folder = mkdtempSync(join(tmpdir(), "antiphon-outage-"));
  place = await startPlace({ options: ["--data", folder] });
});

afterEach(() => place?.tidy());

after(async () => {
  await place?.stop();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

const codes = "acme.status.notices.map(({ code }) => code)";

test("the server and its Postgres are gone for an hour: asked rarely, and right soon after they are back sy_57", { skip }, async () => {
  const { dev, site, open, sql, onServer } = place;
  const page = await open("gone", { first: ownClock() });
  await page.until("acme.status.connection === 'online'");
  await sql(`update pages set title = 'seen before' where id = '${OTHER_ID}'`);
  await page.until(`pages.get('${OTHER_ID}').title === 'seen before'`);
  await dev.pause();
  await page.until("acme.status.connection === 'offline'");
  const before = await page.evaluate("shown.rows.length");
  await page.evaluate(`pages.update('${PAGE_ID}', { title: 'typed while it was gone' }).saved`);
  const from = site.asked.length;
  await pass(page, HOUR_MS, 600);
  assert.ok(site.asked.length - from <= 400, `${site.asked.length - from} requests in an hour`);
  assert.deepEqual(await page.evaluate(`[shown.rows.length, shown.complete, pages.get('${OTHER_ID}').title]`), [before, true, "seen before"]);
  assert.deepEqual(await page.evaluate(`${codes}.filter((code) => code !== 'STORE_NOT_PERSISTED')`), []);
  await dev.resume();
  await sql(`update pages set title = 'changed after it was back' where id = '${OTHER_ID}'`);
  await pass(page, 40_000, 40);
  await page.until(`acme.status.connection === 'online' && acme.status.pending === 0
    && pages.get('${OTHER_ID}').title === 'changed after it was back'`);
  assert.equal((await onServer("page", PAGE_ID)).title, "typed while it was gone");
});

test("a proxy that answers 503 for long is not taken for the server: edits wait, and it is told sy_57", { skip }, async () => {
  const { site, open, onServer } = place;
  const page = await open("proxy", { first: ownClock() });
  await page.until("acme.status.connection === 'online'");
  site.cutNetwork();
  await page.until("acme.status.connection !== 'online'");
  await page.evaluate(`pages.update('${PAGE_ID}', { title: 'typed behind a proxy' }).saved`);
  site.mendNetwork();
  site.instead = () => ({ status: 503, headers: { "retry-after": "7" }, body: "<h1>Back soon</h1>" });
  await page.until(`acme.status.connection === 'refused' && ${codes}.includes('TRY_AGAIN')`);
  const from = site.asked.length;
  await pass(page, HOUR_MS / 2, 600);
  assert.ok(site.asked.length - from <= 600, `${site.asked.length - from} requests in half an hour`);
  assert.deepEqual(await page.evaluate("acme.outbox().map(({ state }) => state)"), ["pending"], "none of it counts against the edit");
  site.instead = undefined;
  await pass(page, 40_000, 40);
  await page.until(`acme.status.connection === 'online' && acme.status.pending === 0 && !${codes}.includes('TRY_AGAIN')`);
  assert.equal((await onServer("page", PAGE_ID)).title, "typed behind a proxy");
});

test("a page that signs in to somebody's network is not taken for the server, whatever it answers sy_57", { skip }, async () => {
  const { site, open, onServer } = place;
  const page = await open("portal", { first: ownClock() });
  await page.until("acme.status.connection === 'online'");
  site.cutNetwork();
  await page.until("acme.status.connection !== 'online'");
  await page.evaluate(`pages.update('${PAGE_ID}', { title: 'typed behind a portal' }).saved`);
  site.mendNetwork();
  site.instead = () => ({ status: 200, body: "<title>Welcome to the hotel</title>" });
  const from = site.asked.length;
  await pass(page, 300_000, 100);
  assert.ok(site.asked.length > from, "it was asked");
  assert.notEqual(await page.evaluate("acme.status.connection"), "online", "what is no word of ours is no answer");
  assert.equal(await page.evaluate("acme.outbox().length"), 1);
  site.instead = undefined;
  await pass(page, 40_000, 40);
  await page.until("acme.status.connection === 'online' && acme.status.pending === 0");
  assert.equal((await onServer("page", PAGE_ID)).title, "typed behind a portal");
});

test("answers that are cut in half are asked for again, and an edit whose answer was cut is there once sdk_01", { skip }, async () => {
  const { site, open, onServer } = place;
  const page = await open("half", { ready: "window.acme !== undefined", query: "?bare" });
  await page.until("acme.status.connection === 'online'");
  const cuts = [];
  site.shorten = (method) => method === "POST" && cuts.length < 3 && cuts.push(method) > 0;
  const id = await page.evaluate(`window.made = tasks.create({ title: 'once', page_id: '${PAGE_ID}', organization_id: 'acme', votes: 1 }), made.id`);
  await page.evaluate(`tasks.add('${id}', 'votes', 2)`);
  await page.until("acme.status.pending === 0");
  assert.equal((await onServer("task", id)).votes, 3);
  assert.ok(cuts.length > 0, "it was sent once and the answer was lost");
  cuts.length = 0;
  // The same for lists: the page is opened anew while the first answers are cut.
  site.shorten = (method) => method === "GET" && cuts.length < 3 && cuts.push(method) > 0;
  const other = await open("halves", { ready: "window.shown?.complete" });
  await other.until("acme.status.connection === 'online'");
  assert.equal(cuts.length, 3);
  assert.equal(await other.evaluate("shown.rows.length"), await page.evaluate(`new Promise((resolve) => {
    pages.query({ where: { archived: false } }).subscribe(({ rows, complete }) => complete && resolve(rows.length)); })`));
});
