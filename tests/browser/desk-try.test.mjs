// The guided minute of `/try` in a real browser: two people, two windows, one plug, one conflict, and nobody loses a word.

import assert from "node:assert/strict";
import { after, afterEach, before, test as declare } from "node:test";

import { click, hasDesk, picture, startDesk } from "./desk.mjs";
import { until, whyNot } from "./place.mjs";
import { look, LOOKS, tooWide, violations } from "./stories.mjs";

const skip = whyNot() || (hasDesk ? false : "needs the built Desk: script/sdk");
const test = (claim, run) => declare(claim, { skip, timeout: 180_000 }, run);
const PAGE = "00000000-0000-4001-8001-000000000001";
let place;

before(async () => { if (!skip) place = await startDesk(); });
afterEach(async () => { await place?.tidy(); });
after(async () => { await place?.stop(); });

const open = (name) => place.open(name, { query: "try/?lang=en", ready: "document.querySelector('.guide .main') !== null" });
const step = (page, n) => page.until(`document.querySelector('.guide .count').textContent === '${n} of 7'`);
/** Says it within somebody's window. */
const within = (who, what) => `document.querySelectorAll('iframe')[${who === "alice" ? 0 : 1}].contentDocument.${what}`;
const plug = (page, name) => page.evaluate(`[...document.querySelectorAll('.plug')].find((one) => one.textContent.startsWith('${name}')).click()`);

test("the guided minute ends in the conflict, and with the choice both windows and the database are the same desk_05", async () => {
  const page = await open("guided");
  for (let n = 1; n <= 5; n += 1) {
    await step(page, n);
    await click(page, "Do it for me", ".guide");
  }
  await step(page, 6);
  await page.until(`${within("bob", "querySelector('dialog[open]')")}?.innerText.includes('Alice Adams')`);
  const asked = await page.evaluate(within("bob", "querySelector('dialog[open]').innerText"));
  assert.match(asked, /says Bob/);
  assert.match(asked, /says Alice/);
  await picture(page, "try");
  assert.equal((await place.onServer("page", PAGE)).title, "Welcome, says Alice", "nothing was written over");
  await page.until("document.querySelector('.strip [data-state=conflicted]') !== null");
  const button = (text) => `[...${within("bob", "querySelectorAll('dialog[open] button')")}].find((one) => one.textContent.trim() === '${text}')`;
  await page.evaluate(`${button("Keep mine")}.click()`);
  await page.until(`${button("Finish")} !== undefined`);
  await page.evaluate(`${button("Finish")}.click()`);
  await step(page, 7);
  await until(async () => (await place.onServer("page", PAGE)).title === "Welcome, says Bob");
  await page.until(`${within("alice", "querySelector('input.title')")}.value === 'Welcome, says Bob'`);
  await page.until("[...document.querySelectorAll('.strip li')].every((li) => li.dataset.state === 'done')");
  assert.deepEqual(page.complaints(), []);
});

test("a plug is one window's: the other goes on, and what was done without it comes with it desk_05", async () => {
  const page = await open("plugs");
  await plug(page, "Bob");
  await page.until(`${within("bob", "querySelector('.standing')")}.innerText.includes('Offline')`);
  await place.sql(`update pages set body = 'only Alice sees this yet' where id = '${PAGE}'`);
  await page.until(`${within("alice", "querySelector('.read')")}.innerText === 'only Alice sees this yet'`);
  assert.notEqual(await page.evaluate(`${within("bob", "querySelector('.read')")}.innerText`), "only Alice sees this yet");
  await plug(page, "Bob");
  await page.until(`${within("bob", "querySelector('.read')")}.innerText === 'only Alice sees this yet'`);
});

test("axe finds nothing on the page of the guided minute, and it fits 320 pixels desk_05 desk_06", async () => {
  const page = await open("axe");
  await page.until("document.querySelector('iframe').contentDocument?.querySelector('.read p') !== null");
  for (const shown of Object.keys(LOOKS)) {
    await look(page, shown);
    assert.deepEqual(await violations(page), [], shown);
  }
  await page.send("Emulation.setDeviceMetricsOverride", { width: 320, height: 900, deviceScaleFactor: 1, mobile: false });
  assert.deepEqual(await tooWide(page), []);
});
