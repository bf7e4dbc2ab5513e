// Devices as they are: a tab that is duplicated, a browser that lets nothing be kept, a private window, a clock that is
// ten years ahead. What is typed arrives once, under a name of its own, and a person is told what they should know.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";

import { attach, findChromium, openPage, startChromium } from "./browser.mjs";
import { ownClock, pass } from "./clock.mjs";
import { startPlace, until, whyNot } from "./place.mjs";

const skip = whyNot();
const PAGE_ID = "00000000-0000-4001-8001-000000000001";
const OTHER_ID = "00000000-0000-4001-8001-000000000002";
const TEN_YEARS_MS = 10 * 365 * 24 * 3_600_000;
let place;

before(async () => {
  if (!skip) place = await startPlace();
});

afterEach(() => place?.tidy());
after(() => place?.stop());

const codes = "acme.status.notices.map(({ code }) => code)";
const made = (title) => `window.made = pages.create({ title: '${title}', organization_id: 'acme' }), made.saved.then(() => made.id)`;

test("a duplicated tab takes the session's storage along and has a name of its own: both tabs' edits arrive sy_63", { skip }, async () => {
  const { chromium, site, open, onServer } = place;
  const first = await open("twice");
  await first.until("acme.status.connection === 'online'");
  await first.evaluate("sessionStorage.setItem('mark', 'of the first tab')");
  // A window that a page opens begins with a copy of its session's storage, as a duplicated tab does.
  await first.send("Runtime.evaluate", { expression: "void window.open(location.href)", userGesture: true });
  let copy;
  await until(async () => {
    const { targetInfos } = await chromium.send("Target.getTargets");
    copy = targetInfos.find(({ openerId }) => openerId === first.targetId);
    return copy;
  });
  const second = await attach(chromium, copy.targetId);
  await second.until("window.shown?.complete");
  assert.equal(await second.evaluate("sessionStorage.getItem('mark')"), "of the first tab");
  site.cutNetwork();
  await first.until("acme.status.connection !== 'online'");
  const ids = [await first.evaluate(made("by the first")), await second.evaluate(made("by its copy"))];
  await first.until("acme.outbox().length === 2");
  const sources = await first.evaluate("acme.outbox().map(({ source }) => source)");
  assert.equal(new Set(sources).size, 2, `two names: ${sources}`);
  assert.equal(await first.evaluate("JSON.stringify({ ...sessionStorage, ...localStorage })"), '{"mark":"of the first tab"}', "a name is stored nowhere");
  site.mendNetwork();
  await first.until("acme.status.connection === 'online' && acme.status.pending === 0");
  assert.deepEqual([(await onServer("page", ids[0])).title, (await onServer("page", ids[1])).title], ["by the first", "by its copy"]);
  await second.close();
});

test("two tabs that were given one name, as copies of a running machine are, end with two sy_63", { skip }, async () => {
  const { open, onServer } = place;
  // Randomness that is the same in both.
  const first = "const random = crypto.getRandomValues.bind(crypto);"
    + "crypto.getRandomValues = (array) => (array instanceof Uint32Array && !window.renamed ? array.fill(7) : random(array));";
  const one = await open("copied", { first });
  await one.until("acme.status.connection === 'online'");
  const other = await open("copied", { first });
  await other.until("acme.status.connection === 'online'");
  const ids = await Promise.all([one.evaluate(made("by one")), other.evaluate(made("by the other"))]);
  assert.notEqual(ids[0], ids[1]);
  for (const page of [one, other]) await page.until("acme.status.pending === 0");
  assert.deepEqual([(await onServer("page", ids[0])).title, (await onServer("page", ids[1])).title], ["by one", "by the other"]);
  assert.deepEqual(await one.evaluate("[acme.status.failed, acme.status.conflicted]"), [0, 0]);
});

/** Lets nothing be saved any more in a page: its own transaction never ends. */
const HOLD = `(async () => {
  const [{ name }] = await indexedDB.databases();
  const opened = indexedDB.open(name);
  await new Promise((resolve) => { opened.onsuccess = resolve; });
  const held = opened.result.transaction([...opened.result.objectStoreNames], "readwrite");
  await new Promise((resolve) => {
    const again = () => { held.objectStore("singles").get("fence").onsuccess = again; resolve(); };
    held.objectStore("singles").get("fence").onsuccess = again;
  });
})()`;

test("what is edited and typed while the store is busy is there after a reload at once sy_54 sdk_03", { skip }, async () => {
  const { open, onServer, sql } = place;
  await sql(`update pages set body = 'begun' where id = '${PAGE_ID}'`);
  const page = await open("busy");
  await page.until(`acme.status.connection === 'online' && pages.get('${PAGE_ID}').body === 'begun'`);
  await page.evaluate(HOLD);
  const id = await page.evaluate(`(() => {
    acme.draft("page", "${PAGE_ID}", "body").setText("begun, typed");
    return pages.create({ title: "made in the last moment", organization_id: "acme" }).id;
  })()`);
  await page.reload();
  await page.until("window.shown?.complete && acme.status.connection === 'online' && acme.status.pending === 0");
  await until(async () => (await onServer("page", PAGE_ID)).body === "begun, typed");
  assert.equal((await onServer("page", id)).title, "made in the last moment");
  await page.until("Object.keys(localStorage).length === 0");
  assert.deepEqual(await page.evaluate("[acme.status.failed, acme.status.conflicted]"), [0, 0]);
});

test("what a tab could not save before it was closed is sent by the one that is open sy_54 sy_59", { skip }, async () => {
  const { open, onServer } = place;
  const [staying, going] = [await open("closing"), await open("closing")];
  await going.until("acme.status.connection === 'online'");
  await going.evaluate(HOLD);
  const id = await going.evaluate("pages.create({ title: 'by a tab that is gone', organization_id: 'acme' }).id");
  await going.close();
  await until(async () => (await onServer("page", id))?.title === "by a tab that is gone");
  await staying.until("acme.status.pending === 0 && Object.keys(localStorage).length === 0");
});

test("a clock ten years ahead is told once, and what is typed is sent under the server's time sy_58", { skip }, async () => {
  const { open, onServer, sql } = place;
  const page = await open("ahead", { first: ownClock(TEN_YEARS_MS) });
  await page.until("acme.status.connection === 'online'");
  await page.evaluate(`window.told = []; acme.onStatus(({ notices }) => {
    const now = notices.map(({ code }) => code).join();
    if (told.at(-1) !== now) told.push(now);
  })`);
  const id = await page.evaluate(made("from ten years ahead"));
  await page.evaluate(`pages.update('${PAGE_ID}', { title: 'renamed ten years ahead' }); acme.sent()`);
  assert.equal((await onServer("page", id)).title, "from ten years ahead");
  assert.equal((await onServer("page", PAGE_ID)).title, "renamed ten years ahead");
  assert.deepEqual(await page.evaluate("[acme.status.failed, acme.status.conflicted]"), [0, 0]);
  assert.equal(await page.evaluate(`${codes}.includes('CLOCK_AHEAD')`), true);
  assert.equal(await page.evaluate("told.filter((now) => now.includes('CLOCK_AHEAD')).length"), 1, "told once");
  assert.match(await page.evaluate("acme.status.notices.find(({ code }) => code === 'CLOCK_AHEAD').message"), /clock/);
  // Others write after it, although their clocks are ten years behind this one's, and later edits here are not refused.
  await sql(`update pages set title = 'by others, today' where id = '${PAGE_ID}'`);
  await page.until(`pages.get('${PAGE_ID}').title === 'by others, today'`);
  await page.evaluate(`pages.update('${PAGE_ID}', { title: 'after theirs' }); acme.sent()`);
  assert.equal((await onServer("page", PAGE_ID)).title, "after theirs");
  // Set right, nothing is told any more.
  await page.evaluate("clock.ahead(0)");
  await page.evaluate(`pages.update('${OTHER_ID}', { title: 'with the right time' }); acme.sent()`);
  await page.until(`!${codes}.includes('CLOCK_AHEAD')`);
  assert.equal((await onServer("page", OTHER_ID)).title, "with the right time");
});

test("a clock that is set back while edits wait reorders and loses nothing sy_58", { skip }, async () => {
  const { site, open, onServer } = place;
  const page = await open("back", { first: ownClock() });
  await page.until("acme.status.connection === 'online'");
  site.cutNetwork();
  await page.until("acme.status.connection !== 'online'");
  await page.evaluate(`pages.update('${OTHER_ID}', { title: 'first' }).saved`);
  await page.evaluate(`clock.ahead(-${TEN_YEARS_MS}); pages.update('${OTHER_ID}', { title: 'second' }).saved`);
  await page.evaluate(`pages.update('${OTHER_ID}', { title: 'third' }).saved`);
  site.mendNetwork();
  await pass(page, 40_000, 40);
  await page.until("acme.status.connection === 'online' && acme.status.pending === 0");
  assert.equal((await onServer("page", OTHER_ID)).title, "third");
});

test("a browser that lets nothing be kept shows what comes and sends what is typed, and says so sy_53", { skip }, async () => {
  const blocked = await startChromium(findChromium(), { profile: { default_content_setting_values: { cookies: 2 } } });
  try {
    const page = await openPage(blocked, place.site.url("blocked"), 1280);
    await page.until("window.shown?.complete");
    assert.equal(await page.evaluate("(() => { try { localStorage.length; return 'open' } catch { return 'blocked' } })()"), "blocked");
    await page.until("acme.status.connection === 'online'");
    const { storage, notices } = await page.evaluate("acme.status");
    assert.deepEqual([storage, notices.map(({ code }) => code)], ["memory", ["STORE_IN_MEMORY"]]);
    await page.evaluate(`pages.update('${PAGE_ID}', { title: 'from a browser that keeps nothing' }); acme.sent()`);
    assert.equal((await place.onServer("page", PAGE_ID)).title, "from a browser that keeps nothing");
    // A second tab has a connection of its own, and is right as well.
    const second = await openPage(blocked, place.site.url("blocked"), 1280);
    await second.until("window.shown?.complete && acme.status.connection === 'online'");
    await second.evaluate(`pages.update('${PAGE_ID}', { title: 'from its second tab' }); acme.sent()`);
    await page.until(`pages.get('${PAGE_ID}').title === 'from its second tab'`);
    assert.deepEqual(await page.evaluate("client.signOut({ pending: 'export' })"), []);
  } finally {
    await blocked.stop();
  }
});

test("a private window works like any other, and leaves nothing behind sy_53", { skip }, async () => {
  const { chromium, site, onServer } = place;
  const { browserContextId } = await chromium.send("Target.createBrowserContext");
  const page = await openPage(chromium, site.url("private"), 1280, "", browserContextId);
  await page.until("window.shown?.complete && acme.status.connection === 'online'");
  site.cutNetwork();
  await page.evaluate(`pages.update('${OTHER_ID}', { title: 'typed in private' }).saved`);
  await page.reload();
  await page.until("window.acme?.outbox().length === 1");
  site.mendNetwork();
  await page.until("acme.status.connection === 'online' && acme.status.pending === 0");
  assert.equal((await onServer("page", OTHER_ID)).title, "typed in private");
  await chromium.send("Target.disposeBrowserContext", { browserContextId });
  const open = await place.open("private", { ready: "window.acme !== undefined" });
  assert.equal(await open.evaluate("acme.outbox().length"), 0);
});
