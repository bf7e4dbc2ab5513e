// The page of `antiphon dev` in a real browser: what a person sees in the first minute.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { findChromium, openPage, startChromium, startDev } from "./browser.mjs";

const path = findChromium();
const skip = path ? false : "needs Chromium";
let dev;
let chromium;

before(async () => {
  if (skip) return;
  [dev, chromium] = await Promise.all([startDev(), startChromium(path)]);
});

after(async () => {
  await chromium?.stop();
  const code = await dev?.stop();
  if (dev) assert.equal(code, 0, "SIGTERM stops antiphon dev cleanly");
});

const first = "document.getElementById('activities').firstElementChild?.textContent ?? ''";
const state = "document.getElementById('state-word').textContent";

function sql(text) {
  return `document.getElementById('sql').value = ${JSON.stringify(text)}; document.getElementById('run').click()`;
}

test("a change made on the page appears on the page, told once and in words", { skip }, async () => {
  const page = await openPage(chromium, dev.info.console, 1280);
  await page.until(`${state} === 'healthy · live'`);
  await page.evaluate("document.getElementById('run').click()");
  await page.until(`${first}.includes('Welcome, it is')`);
  await page.until("document.getElementById('result').textContent.startsWith('1 row')");
  await page.until("document.getElementById('announce').textContent.includes('Welcome, it is')");
  assert.deepEqual(page.complaints(), [], "nothing is refused by the content security policy, nothing throws");
});

test("hostile text in a row is shown and not run se_12", { skip }, async () => {
  const page = await openPage(chromium, dev.info.console, 1280);
  await page.until(`${state} === 'healthy · live'`);
  const hostile = "<img src=x onerror=\"document.title='owned'\">";
  await page.evaluate(sql(`insert into pages(id, organization_id, title) values (gen_random_uuid(), 'acme', $t$${hostile}$t$)`));
  await page.until(`${first}.includes('<img src=x')`);
  assert.equal(await page.evaluate("document.title"), "Antiphon dev");
  assert.equal(await page.evaluate("document.querySelectorAll('#activities img').length"), 0);
});

test("pause holds the list and the reader's place is kept when it goes on", { skip }, async () => {
  const page = await openPage(chromium, dev.info.console, 1280);
  await page.until(`${state} === 'healthy · live'`);
  await page.evaluate("document.getElementById('pause').click()");
  const newest = await page.evaluate(first);
  await page.evaluate(sql("update tasks set votes = votes + 1 where organization_id = 'acme'"));
  await page.until(`${state}.includes('list paused, 42 waiting')`);
  assert.equal(await page.evaluate(first), newest);
  await page.evaluate("document.getElementById('activities').scrollTop = 200");
  const read = await page.evaluate("document.elementFromPoint(200, 400).closest('li').querySelector('.id').textContent");
  const line = `[...document.querySelectorAll('#activities .id')].find((id) => id.textContent === ${JSON.stringify(read)})`;
  const height = `${line}.getBoundingClientRect().top`;
  const before = await page.evaluate(height);
  await page.evaluate("document.getElementById('pause').click()");
  await page.until("document.getElementById('jump').hidden === false");
  const moved = Math.abs(await page.evaluate(height) - before);
  assert.ok(moved <= 1, `what was being read stays where it was, but for a part of a pixel: ${moved}`);
  assert.match(await page.evaluate("document.getElementById('jump').textContent"), /42 new/);
});

test("another user sees another organisation, and nothing of the first", { skip }, async () => {
  const page = await openPage(chromium, dev.info.console, 1280);
  await page.until(`${state} === 'healthy · live'`);
  await page.evaluate("const who = document.getElementById('who'); who.value = 'carol'; who.dispatchEvent(new Event('change'))");
  await page.evaluate(sql("update pages set title = 'Seen by Globex' where id = '00000000-0000-4001-8002-000000000001'"));
  await page.until(`${first}.includes('Seen by Globex')`);
  assert.equal(await page.evaluate("document.getElementById('activities').textContent.includes('Acme')"), false);
});

test("the narrowest screen needs no sideways scrolling, and everything that acts has a name", { skip }, async () => {
  const page = await openPage(chromium, dev.info.console, 360);
  await page.until(`${state} === 'healthy · live'`);
  assert.equal(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), true);
  const nameless = "[...document.querySelectorAll('button, select, textarea, a')].filter((e) => "
    + "!(e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim())).map((e) => e.outerHTML)";
  assert.deepEqual(await page.evaluate(nameless), []);
  const small = "[...document.querySelectorAll('button, select')].filter((e) => !e.hidden && e.getBoundingClientRect().height < 24).length";
  assert.equal(await page.evaluate(small), 0);
});
