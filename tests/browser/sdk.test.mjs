// The SDK in a real browser against the real server and its Postgres: live, offline and back, several tabs.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";

import { law } from "../../packages/client/tests/store-law.mjs";
import { startPlace, until, whyNot } from "./place.mjs";

const skip = whyNot();
const PAGE_ID = "00000000-0000-4001-8001-000000000001";
let place;
let dev;
let site;
let sql;
let onServer;

before(async () => {
  if (skip) return;
  place = await startPlace();
  ({ dev, site, sql, onServer } = place);
});

afterEach(() => place?.tidy());
after(() => place?.stop());

/** Opens the site in a tab, and waits until its page is so far. */
const open = (name, query = "", ready = "window.shown?.complete") => place.open(name, { query, ready });

test("rows come, and a change in the database reaches the list by itself sdk_01", { skip }, async () => {
  const page = await open("live");
  assert.ok(await page.evaluate("shown.rows.length") > 5);
  const before = await page.evaluate("window.kept = shown.rows[0], shown.rows.length");
  await sql(`update pages set title = 'zz told by SQL' where id = '${PAGE_ID}'`);
  await page.until("shown.rows.at(-1).title === 'zz told by SQL'");
  assert.equal(await page.evaluate("shown.rows.length"), before);
  assert.deepEqual(page.complaints(), [], "nothing is refused by the content security policy, nothing throws");
});

test("an edit made offline survives a reload offline, and converges once the network is back sy_59", { skip }, async () => {
  const page = await open("offline");
  await page.until("acme.status.connection === 'online'");
  const tasks = await page.evaluate(`new Promise((resolve) => {
    window.taskList = tasks.query({ where: { page_id: '${PAGE_ID}' }, order: ['-votes'] });
    taskList.subscribe(({ complete, ids }) => complete && resolve(ids));
  })`);
  const votes = (await onServer("task", tasks[0])).votes;
  site.cutNetwork();
  await page.until("acme.status.connection !== 'online'");
  await page.evaluate(`window.edits = [
    pages.update('${PAGE_ID}', { title: 'typed offline', body: 'both \ud83d' }), tasks.add('${tasks[0]}', 'votes', 2)]`);
  await page.evaluate("Promise.all(edits.map((edit) => edit.saved))");
  await page.reload();
  await page.until(`window.pages?.get('${PAGE_ID}')?.title === 'typed offline'`);
  assert.equal(await page.evaluate("acme.status.pending"), 3);
  // Others go on meanwhile: a counter adds up.
  await sql(`update tasks set votes = votes + 5 where id = '${tasks[0]}'`);
  site.mendNetwork();
  await page.evaluate("acme.sent()");
  await page.until(`tasks.get('${tasks[0]}')?.votes === ${votes + 7}`);
  const row = await onServer("page", PAGE_ID);
  assert.equal(row.title, "typed offline");
  assert.equal(row.body, "both \ufffd", "half a surrogate pair is repaired and not refused");
  assert.equal((await onServer("task", tasks[0])).votes, votes + 7);
  assert.equal(await page.evaluate(`pages.get('${PAGE_ID}').title`), "typed offline");
});

test("two tabs have one connection, and the other takes over when the leader closes sy_55", { skip }, async () => {
  await until(() => site.streams.size === 0);
  site.streamsMax = 0;
  const first = await open("tabs");
  await first.until("acme.status.leading && acme.status.connection === 'online'");
  const second = await open("tabs");
  await second.until("acme.status.connection === 'online'");
  assert.equal(await second.evaluate("acme.status.leading"), false);
  const id = await second.evaluate("pages.create({ title: 'made in the second tab', organization_id: 'acme' }).id");
  await first.until(`pages.get('${id}')?.title === 'made in the second tab'`);
  await second.evaluate("acme.sent()");
  assert.equal((await onServer("page", id)).title, "made in the second tab");
  assert.equal(site.streams.size, 1);
  assert.equal(site.streamsMax, 1, "never more than one");
  await first.close();
  await second.until("acme.status.leading && acme.status.connection === 'online'");
  await second.evaluate(`pages.update('${id}', { title: 'after the hand-off' }).settled`);
  assert.equal((await onServer("page", id)).title, "after the hand-off");
  // What the closed tab had may end a moment after the other's begins.
  await until(() => site.streams.size === 1);
});

test("a tab that crashes is taken over from, and its edit is sent by the next sy_54", { skip }, async () => {
  const first = await open("crash");
  await first.until("acme.status.leading && acme.status.connection === 'online'");
  const second = await open("crash");
  await second.until("acme.status.connection === 'online'");
  site.cutNetwork();
  const id = await first.evaluate("window.made = pages.create({ title: 'then it crashed', organization_id: 'acme' }), made.id");
  await first.evaluate("made.saved");
  await first.crash();
  site.mendNetwork();
  await second.until("acme.status.leading && acme.status.connection === 'online'");
  await second.until(`pages.get('${id}')`);
  await second.evaluate("acme.sent()");
  assert.equal((await onServer("page", id)).title, "then it crashed");
});

test("a tab that hangs is taken over from, and follows once it goes on sy_55 sy_56", { skip }, async () => {
  const first = await open("hangs");
  await first.until("acme.status.leading && acme.status.connection === 'online'");
  const second = await open("hangs");
  await second.until("acme.status.connection === 'online'");
  const hang = first.evaluate("const end = Date.now() + 9_000; while (Date.now() < end);");
  await second.until("acme.status.leading && acme.status.connection === 'online'");
  const id = await second.evaluate("pages.create({ title: 'while it hung', organization_id: 'acme' }).id");
  await second.evaluate("acme.sent()");
  await hang;
  await first.until(`!acme.status.leading && pages.get('${id}')?.title === 'while it hung'`);
  await until(() => site.streams.size === 1);
  const other = await first.evaluate("pages.create({ title: 'by the one that hung', organization_id: 'acme' }).id");
  await first.evaluate("acme.sent()");
  assert.equal((await onServer("page", other)).title, "by the one that hung");
});

test("a token that is refused is asked for anew, and nothing is lost meanwhile sdk_01", { skip }, async () => {
  const page = await open("token");
  await page.until("acme.status.connection === 'online'");
  const asked = await page.evaluate("tokensAsked");
  assert.equal(asked, 1, "once for everything that needs it");
  site.tokens.alice = "ant_revoked";
  await page.reload();
  await page.until("window.acme && acme.status.connection === 'refused'");
  await page.evaluate(`pages.update('${PAGE_ID}', { title: 'typed while signed out' }).saved`);
  site.tokens.alice = dev.info.tokens.alice;
  await page.until("acme.status.connection === 'online' && acme.status.pending === 0");
  assert.equal((await onServer("page", PAGE_ID)).title, "typed while signed out");
});

test("another user of the same browser meets neither rows nor edits of the first sy_62", { skip }, async () => {
  const alice = await open("users");
  await alice.until("acme.status.connection === 'online'");
  site.cutNetwork();
  await alice.evaluate(`pages.update('${PAGE_ID}', { title: 'alice offline' }).saved`);
  await alice.close();
  const bob = await open("users", "?user=bob", "window.acme !== undefined");
  assert.deepEqual(await bob.evaluate("[shown.rows.length, acme.outbox().length]"), [0, 0]);
  site.mendNetwork();
  await bob.until("shown.complete && acme.status.connection === 'online'");
  assert.notEqual((await onServer("page", PAGE_ID)).title, "alice offline", "nothing goes out under bob's name");
  await bob.close();
  const again = await open("users");
  await again.until("acme.status.connection === 'online' && acme.status.pending === 0");
  assert.equal((await onServer("page", PAGE_ID)).title, "alice offline");
});

test("a device that is full says so before a person believes that something was saved sy_52", { skip }, async () => {
  const blank = await open("blank");
  // Room for the fence and no list: the browser is told before it opens the store, and remembers.
  const quota = (quotaSize) => blank.send("Storage.overrideQuotaForOrigin", { origin: new URL(site.url("quota")).origin, quotaSize });
  await quota(5_000);
  const page = await open("quota");
  assert.equal(await page.evaluate("acme.status.storage"), "device");
  site.cutNetwork();
  await page.evaluate(`window.edit = pages.update('${PAGE_ID}', { title: 'too much', body: 'x'.repeat(200_000) })`);
  assert.equal(await page.evaluate("edit.saved.then(() => 'saved', (error) => error.code)"), "STORE_FULL");
  assert.equal(await page.evaluate("acme.status.notices[0].code"), "STORE_FULL");
  assert.equal(await page.evaluate(`pages.get('${PAGE_ID}').title`), "too much", "it goes on in memory");
  await quota(undefined);
  await page.until("acme.status.notices.every(({ code }) => code !== 'STORE_FULL')");
  site.mendNetwork();
  await page.evaluate("acme.sent()");
  assert.equal((await onServer("page", PAGE_ID)).title, "too much");
});

test("a device that takes nothing at all still shows what comes, and says so sy_53", { skip }, async () => {
  const blank = await open("blank");
  const origin = new URL(site.url("stuffed")).origin;
  await blank.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 1 });
  const page = await open("stuffed");
  const { storage, notices } = await page.evaluate("acme.status");
  assert.deepEqual([storage, notices.map(({ code }) => code)], ["memory", ["STORE_UNAVAILABLE"]]);
  await page.evaluate(`pages.update('${PAGE_ID}', { title: 'from a full device' }).settled`);
  assert.equal((await onServer("page", PAGE_ID)).title, "from a full device");
});

test("a conflict is decided as it was on screen, and signing out exports what was not sent sdk_06", { skip }, async () => {
  const page = await open("conflict");
  await page.until("acme.status.connection === 'online'");
  site.cutNetwork();
  await page.evaluate(`pages.update('${PAGE_ID}', { title: 'mine' }).saved`);
  await sql(`update pages set title = 'theirs' where id = '${PAGE_ID}'`);
  site.mendNetwork();
  await page.until("acme.conflicts().length === 1");
  const [conflict] = await page.evaluate("acme.conflicts()");
  assert.deepEqual([conflict.field, conflict.mine, conflict.theirs.value], ["title", "mine", "theirs"]);
  assert.equal(await page.evaluate("(() => { try { acme.resolve({ ...acme.conflicts()[0], theirs: { id: '0' } }, 'keepMine') }"
    + " catch (error) { return error.code } })()"), "NEWER");
  await page.evaluate("acme.resolve(acme.conflicts()[0], 'keepMine'); acme.sent()");
  assert.equal((await onServer("page", PAGE_ID)).title, "mine");
  site.cutNetwork();
  await page.evaluate(`pages.update('${PAGE_ID}', { title: 'exported' }).saved`);
  // What an earlier visit left behind goes as well.
  await page.evaluate("client.org('globex')");
  await page.reload();
  await page.until("window.acme?.outbox().length === 1");
  const documents = await page.evaluate("client.signOut({ pending: 'export' })");
  assert.deepEqual(documents.map((document) => [document.user, document.entries.length]), [["alice", 1]]);
  assert.deepEqual(await page.evaluate("indexedDB.databases()"), [], "nothing stays on the device");
  site.mendNetwork();
  await page.reload();
  await page.until("window.shown?.complete");
  const imported = await page.evaluate(`[1, 2].map(() => acme.importOutbox(${JSON.stringify(documents[0])}))`);
  assert.deepEqual(imported.map(({ taken, known }) => [taken, known]), [[1, 0], [0, 1]], "twice is harmless");
  await page.evaluate("acme.sent()");
  assert.equal((await onServer("page", PAGE_ID)).title, "exported");
});

test("signing out in one tab stops all of them first, and leaves nothing sdk_06 sy_62", { skip }, async () => {
  const first = await open("leaving");
  await first.until("acme.status.leading && acme.status.connection === 'online'");
  const second = await open("leaving");
  await second.until("acme.status.connection === 'online'");
  await first.evaluate(`pages.update('${PAGE_ID}', { title: 'sent before leaving' })`);
  await second.evaluate("client.signOut({ pending: 'send' })");
  assert.equal((await onServer("page", PAGE_ID)).title, "sent before leaving");
  await first.until("acme.status.notices.some(({ code }) => code === 'CLOSED')");
  assert.equal(await first.evaluate("(() => { try { pages.get('1') } catch (error) { return error.code } })()"), "CLOSED");
  assert.deepEqual(await second.evaluate("indexedDB.databases()"), []);
  await until(() => site.streams.size === 0);
});

test("the store on the device keeps the laws of stores core_11 sy_54", { skip }, async () => {
  const page = await open("law");
  const seen = await page.evaluate("import('/store-law.mjs').then(({ observe }) => observe(antiphon.openDeviceStore))");
  assert.deepEqual(seen, law);
});

test("a store that the browser wiped while the page is open is filled anew, and what was typed is sent sy_51", { skip }, async () => {
  const page = await open("wiped");
  await page.until("acme.status.connection === 'online'");
  site.cutNetwork();
  await page.until("acme.status.connection !== 'online'");
  await page.evaluate(`pages.update('${PAGE_ID}', { body: 'before the wipe' }).saved`);
  const origin = new URL(site.url("wiped")).origin;
  await page.send("Storage.clearDataForOrigin", { origin, storageTypes: "indexeddb" });
  await page.evaluate(`pages.update('${PAGE_ID}', { title: 'after the wipe' })`);
  site.mendNetwork();
  await page.until("acme.status.connection === 'online' && acme.status.pending === 0 && acme.status.leading");
  const { title, body } = await onServer("page", PAGE_ID);
  assert.deepEqual([title, body.includes("before the wipe")], ["after the wipe", true]);
  assert.ok(await page.evaluate("shown.rows.length") > 5);
  await page.reload();
  await page.until("window.shown?.complete");
});
