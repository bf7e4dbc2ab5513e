// Two builds over one device, before and after an application's new release: the older leaves alone what the newer wrote,
// says so, and goes on; nothing that was typed in either is lost.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";

import { startPlace, until, whyNot } from "./place.mjs";

const skip = whyNot();
const PAGE_ID = "00000000-0000-4001-8001-000000000001";
const OTHER_ID = "00000000-0000-4001-8001-000000000002";
let place;

before(async () => {
  if (!skip) place = await startPlace();
});

afterEach(() => place?.tidy());
after(() => place?.stop());

const codes = "acme.status.notices.map(({ code }) => code)";
const online = "window.acme?.status.connection === 'online'";
const older = (name) => place.open(name);
const newer = (name) => place.open(name, { query: "?build=newer" });
const FORMAT = `new Promise((resolve) => {
  indexedDB.databases().then(([{ name }]) => {
    const asked = indexedDB.open(name);
    asked.onsuccess = () => {
      const got = asked.result.transaction("singles").objectStore("singles").get("meta");
      got.onsuccess = () => { asked.result.close(); resolve(JSON.parse(got.result).format); };
    };
  });
})`;

test("what an older build left is taken over by the newer, edits that waited included sy_59 sy_61", { skip }, async () => {
  const { site, onServer } = place;
  const before = await older("upgrade");
  await before.until(online);
  site.cutNetwork();
  await before.evaluate(`pages.update('${PAGE_ID}', { title: 'typed in the older build' }).saved`);
  assert.equal(await before.evaluate(FORMAT), 1);
  await before.close();
  const page = await newer("upgrade");
  assert.equal(await page.evaluate(`pages.get('${PAGE_ID}').title`), "typed in the older build");
  site.mendNetwork();
  await page.until(`${online} && acme.status.pending === 0`);
  assert.equal((await onServer("page", PAGE_ID)).title, "typed in the older build");
  assert.equal(await page.evaluate(FORMAT), 2, "from now on it is the newer's");
});

test("an older build leaves a newer store alone, gives its waiting edits out, and works without it sy_60 core_17", { skip }, async () => {
  const { site, onServer } = place;
  const page = await newer("downgrade");
  await page.until(online);
  site.cutNetwork();
  await page.evaluate(`pages.update('${PAGE_ID}', { title: 'typed in the newer build' }).saved`);
  await page.close();
  const after = await place.open("downgrade", { ready: "window.acme !== undefined" });
  site.mendNetwork();
  await after.until(`${online} && window.shown?.complete`);
  assert.deepEqual(await after.evaluate(`[acme.status.storage, ${codes}]`), ["memory", ["STORE_NEWER"]]);
  assert.match(await after.evaluate("acme.status.notices[0].message"), /newer version.*safe/);
  const { entries } = await after.evaluate("acme.exportOutbox()");
  assert.deepEqual(entries.map(({ change }) => change.value), ["typed in the newer build"]);
  await after.evaluate(`pages.update('${OTHER_ID}', { title: 'typed in the older one meanwhile' }); acme.sent()`);
  assert.equal((await onServer("page", OTHER_ID)).title, "typed in the older one meanwhile");
  assert.notEqual((await onServer("page", PAGE_ID)).title, "typed in the newer build", "what it cannot read it does not send");
  await after.close();
  const again = await newer("downgrade");
  await again.until(`${online} && acme.status.pending === 0`);
  assert.equal((await onServer("page", PAGE_ID)).title, "typed in the newer build");
  assert.equal(await again.evaluate(`pages.get('${OTHER_ID}').title`), "typed in the older one meanwhile");
});

test("both builds are open at once: each one's edits arrive, whoever leads sy_56 sy_60", { skip }, async () => {
  const { onServer } = place;
  const first = await older("beside");
  await first.until(`${online} && acme.status.leading`);
  const second = await newer("beside");
  await second.until(online);
  await second.evaluate(`pages.update('${PAGE_ID}', { title: 'by the newer, which follows' }); acme.sent()`);
  assert.equal((await onServer("page", PAGE_ID)).title, "by the newer, which follows");
  await first.until(`pages.get('${PAGE_ID}').title === 'by the newer, which follows'`);
  const third = await older("beside");
  await third.until(online);
  await first.close();
  // One of the two leads now; the newer one leads in the end.
  await second.until(online);
  await third.evaluate(`pages.update('${OTHER_ID}', { title: 'by an older tab that was open before' })`);
  await until(async () => (await onServer("page", OTHER_ID)).title === "by an older tab that was open before");
  await second.evaluate(`pages.update('${PAGE_ID}', { title: 'by the newer again' })`);
  await until(async () => (await onServer("page", PAGE_ID)).title === "by the newer again");
  await third.until(`pages.get('${PAGE_ID}').title === 'by the newer again'`);
  await third.close();
  await second.until(`${online} && acme.status.leading`);
  await second.evaluate(`pages.update('${PAGE_ID}', { title: 'by the newer alone' }); acme.sent()`);
  assert.equal((await onServer("page", PAGE_ID)).title, "by the newer alone");
});

test("an older tab that follows a newer one goes on, and what is typed in it arrives sy_60", { skip }, async () => {
  const { onServer } = place;
  const second = await newer("follows");
  await second.until(`${online} && acme.status.leading`);
  const first = await older("follows");
  await first.until(online);
  assert.equal(await first.evaluate(`${codes}.includes('STORE_NEWER')`), true);
  await first.evaluate(`pages.update('${OTHER_ID}', { title: 'by the older beside the newer' }); acme.sent()`);
  await second.until(`pages.get('${OTHER_ID}').title === 'by the older beside the newer'`);
  assert.equal((await onServer("page", OTHER_ID)).title, "by the older beside the newer");
});

test("a newer layout of the database pushes an older tab aside, which says so and sends what is typed all the same sy_61", { skip }, async () => {
  const { open, onServer } = place;
  const first = await older("layout");
  await first.until(online);
  const second = await open("layout", { query: "?build=layout-2" });
  await second.until("acme.status.storage === 'device'");
  await first.evaluate(`window.edit = pages.update('${OTHER_ID}', { title: 'by a tab that was pushed aside' })`);
  await until(async () => (await onServer("page", OTHER_ID)).title === "by a tab that was pushed aside");
  await first.until(`${codes}.includes('STORE_UNAVAILABLE') || ${codes}.includes('STORE_NEWER')`);
  await first.reload();
  await first.until(online);
  assert.deepEqual(await first.evaluate(`[acme.status.storage, ${codes}]`), ["memory", ["STORE_NEWER"]]);
  await first.evaluate(`pages.update('${OTHER_ID}', { title: 'by the older build, from memory' }); acme.sent()`);
  await second.until(`pages.get('${OTHER_ID}').title === 'by the older build, from memory'`);
});
