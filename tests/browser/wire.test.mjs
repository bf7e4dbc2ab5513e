// The ways from a page to the server, through proxies that hold back, cut and refuse, in a real browser.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";

import { startPlace, until, whyNot } from "./place.mjs";

const skip = whyNot();
const PAGE_ID = "00000000-0000-4001-8001-000000000001";
let place;
let site;
let sql;

before(async () => {
  if (skip) return;
  place = await startPlace();
  ({ site, sql } = place);
  place.dev.operate("users", "join", "alice", "--org", "globex");
});

afterEach(() => place?.tidy());
after(() => place?.stop());

/** Opens the site in a tab, and waits until its page is so far. */
const open = (name, query = "", ready = undefined) => place.open(name, { query, ready });

test("behind a proxy that holds streams back, changes of others still come sy_07 sdk_01", { skip }, async () => {
  Object.assign(site, { strips: true, buffers: true });
  const page = await open("buffered");
  await page.until("acme.status.transport === 'polling'");
  const title = () => page.evaluate(`pages.get('${PAGE_ID}').title`);
  for (const told of ["first", "second"]) {
    await sql(`update pages set title = 'held back: ${told}' where id = '${PAGE_ID}'`);
    await page.until(`pages.get('${PAGE_ID}').title === 'held back: ${told}'`);
  }
  await page.evaluate(`pages.update('${PAGE_ID}', { title: 'typed behind it' }).settled`);
  assert.equal(await title(), "typed behind it");
  assert.equal(await page.evaluate("acme.status.connection"), "online");
});

test("two tabs with two organisations each have one connection, and hand it over with both sdk_01 sy_10", { skip }, async () => {
  await until(() => site.streams.size === 0);
  site.streamsMax = 0;
  const first = await open("one");
  const second = await open("one");
  const opens = `client.org('globex').then((globex) => {
    Object.assign(window, { globex, lists: {} });
    for (const org of [acme, globex]) org.collection('page').query({}).subscribe((shown) => { lists[org.id] = shown; });
  })`;
  for (const page of [first, second]) await page.evaluate(opens);
  for (const page of [first, second]) await page.until("[acme, globex].every(({ status }) => status.connection === 'online')");
  const stand = (page) => page.evaluate("[acme, globex].map(({ status }) => [status.leading, status.transport])");
  assert.deepEqual(await stand(first), [[true, "socket"], [true, "socket"]]);
  assert.deepEqual(await stand(second), [[false, null], [false, null]]);
  const title = async (text) => {
    await sql(`update pages set title = '${text}'`);
    for (const org of ["acme", "globex"]) {
      await second.until(`lists.${org}.rows.length > 0 && lists.${org}.rows.every((row) => row.title === '${text}')`);
    }
  };
  await title("over one socket");
  await first.close();
  await second.until("[acme, globex].every(({ status }) => status.leading && status.transport === 'socket')");
  await title("after the hand-off");
  await until(() => site.streams.size === 1);
  assert.equal(site.streamsMax, 1, "never more than one");
});

test("where a proxy takes no upgrade, streams are server-sent events sdk_01", { skip }, async () => {
  site.strips = true;
  const page = await open("stripped");
  await page.until("acme.status.transport === 'events'");
  await sql(`update pages set title = 'without an upgrade' where id = '${PAGE_ID}'`);
  await page.until(`pages.get('${PAGE_ID}').title === 'without an upgrade'`);
  // A network that was away is no reason to go slower, and no reason to forget.
  site.cutNetwork();
  await page.until("acme.status.connection === 'offline'");
  Object.assign(site, { cut: false });
  await page.until("acme.status.transport === 'events'");
});

test("a server that stops is come back to, and what changed meanwhile is there sdk_01", { skip }, async () => {
  const page = await open("stops");
  await page.until("acme.status.transport === 'socket'");
  site.asked.length = 0;
  site.cut = true;
  site.shutDown();
  await page.until("acme.status.transport === null");
  for (let at = 0; at < 5; at += 1) await sql(`update pages set title = 'while it stopped ${at}' where id = '${PAGE_ID}'`);
  site.cut = false;
  await page.until(`pages.get('${PAGE_ID}').title === 'while it stopped 4'`);
  assert.equal(await page.evaluate("acme.status.transport"), "socket");
  assert.deepEqual(site.asked.filter((asked) => asked.includes("/entities/")), [], "it goes on from where it was");
});

test("what is cut in the middle of a frame comes whole after it, over a socket and over events sdk_01", { skip }, async () => {
  for (const [name, strips, transport] of [["half-socket", false, "socket"], ["half-events", true, "events"]]) {
    site.strips = strips;
    const page = await open(name);
    await page.until(`acme.status.transport === '${transport}'`);
    site.halves = 2;
    for (const told of ["first", "second", "third"]) await sql(`update pages set title = '${name} ${told}' where id = '${PAGE_ID}'`);
    await page.until(`pages.get('${PAGE_ID}').title === '${name} third'`);
    await until(() => site.halves === 0);
    assert.deepEqual(await page.evaluate("acme.status.connection"), "online");
  }
});

test("a proxy's own page in place of an answer is no answer, and is told sdk_01", { skip }, async () => {
  const page = await open("busy");
  await page.until("acme.status.transport === 'socket'");
  let busy = 4;
  const answer = { status: 503, headers: { "retry-after": "1" }, body: "<html>busy</html>" };
  site.instead = () => ((busy -= 1) >= 0 ? answer : undefined);
  for (const end of [...site.streams]) end();
  await page.until("acme.status.refusedStatus === 503");
  const id = await page.evaluate("window.made = pages.create({ title: 'while it was busy', organization_id: 'acme' }), made.id");
  await sql(`update pages set title = 'by another while it was busy' where id = '${PAGE_ID}'`);
  assert.equal(await page.evaluate("made.settled"), "applied");
  await page.until(`pages.get('${PAGE_ID}').title === 'by another while it was busy' && pages.get('${id}')`);
  await page.until("acme.status.connection === 'online'");
});

test("one tab speaks for all organisations of a user, also for those that only another tab has open sdk_01 sy_10", { skip }, async () => {
  const first = await open("lead");
  await first.until("acme.status.leading && acme.status.connection === 'online'");
  const second = await open("lead", "?org=globex", "window.acme?.status.connection === 'online'");
  assert.deepEqual(await second.evaluate("[acme.id, acme.status.leading, acme.status.transport]"), ["globex", false, null]);
  const id = await second.evaluate("pages.create({ title: 'by the tab that follows', organization_id: 'globex' }).id");
  await second.evaluate("acme.sent()");
  // The page of the tab that leads may come to it later.
  assert.equal(await first.evaluate(`client.org('globex').then((org) => org.collection('page').get('${id}').title)`), "by the tab that follows");
  const third = await open("lead", "", "window.acme?.status.connection === 'online'");
  await first.close();
  await second.until("acme.status.connection === 'online'");
  await third.until("acme.status.connection === 'online'");
  const both = (expression) => Promise.all([second, third].map((page) => page.evaluate(expression)));
  // One of them has both.
  await until(async () => (await both("acme.status.leading")).filter(Boolean).length === 1);
  for (const page of [second, third]) {
    const row = await page.evaluate("pages.create({ title: 'after the hand-off', organization_id: acme.id }).settled");
    assert.equal(row, "applied");
  }
});

test("signing out stops what is open for other tabs only, too sdk_06 sy_62", { skip }, async () => {
  const first = await open("leaving");
  const second = await open("leaving", "?org=globex", "window.acme?.status.connection === 'online'");
  await second.evaluate("client.signOut({ pending: 'send' })");
  await first.until("acme.status.notices.some(({ code }) => code === 'CLOSED')");
  assert.deepEqual(await second.evaluate("indexedDB.databases()"), []);
  await until(() => site.streams.size === 0);
});
