// What a page does when the server says that everything is to be listed again: a new epoch, another access. Nothing that
// was typed is lost, nothing goes out twice, and rows that one may not see any more leave and say so.

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

const titles = "shown.rows.map(({ title }) => title)";

/** The titles that a list at the server has now. */
async function listed() {
  const { info } = place.dev;
  const url = `${info.api}/v1/orgs/acme/entities/page?limit=500`;
  const answer = await fetch(url, { headers: { authorization: `Bearer ${info.tokens.alice}` } });
  const { items } = await answer.json();
  return items.map(({ data }) => data).filter(({ archived }) => archived === false).map(({ title }) => title);
}

const byBytes = (texts) => texts.map((text) => Buffer.from(text)).sort(Buffer.compare).map(String);

test("a new epoch while edits wait and others were just accepted: each is there once, and the list is right core_11", { skip }, async () => {
  const { dev, site, open, onServer, sql } = place;
  const page = await open("epoch");
  await page.until("acme.status.connection === 'online'");
  // Accepted, and perhaps not confirmed by a row yet, when the epoch ends.
  const made = await page.evaluate("window.made = pages.create({ title: 'made before the epoch', organization_id: 'acme' }), made.id");
  await page.until("acme.outbox().every(({ state }) => state === 'accepted')");
  site.cutNetwork();
  await page.evaluate(`Promise.all([pages.update('${PAGE_ID}', { title: 'typed before the epoch' }).saved,
    tasks.create({ title: 'a task of before', page_id: '${PAGE_ID}', organization_id: 'acme' }).saved])`);
  dev.operate("slots", "create", "--new-epoch", "--yes");
  await sql(`update pages set title = 'changed between the epochs' where id = '${OTHER_ID}'`);
  site.mendNetwork();
  await page.until("acme.status.connection === 'online' && acme.status.pending === 0");
  assert.equal((await onServer("page", PAGE_ID)).title, "typed before the epoch");
  assert.equal((await onServer("page", made)).title, "made before the epoch");
  await page.until(`pages.get('${OTHER_ID}')?.title === 'changed between the epochs'`);
  assert.deepEqual(await page.evaluate(titles), byBytes(await listed()));
  // What comes now comes by the new epoch's stream.
  await sql(`update pages set title = 'in the new epoch' where id = '${OTHER_ID}'`);
  await page.until(`pages.get('${OTHER_ID}').title === 'in the new epoch'`);
  assert.deepEqual(await page.evaluate("[acme.conflicts().length, acme.status.failed]"), [0, 0]);
});

test("a new epoch while the page is online needs no reload, and the page is never empty meanwhile core_11", { skip }, async () => {
  const { dev, open, sql } = place;
  const page = await open("epochlive", {
    // What the page says over its socket.
    first: "window.said = []; const { send } = WebSocket.prototype;"
      + "WebSocket.prototype.send = function (text) { said.push(text); return send.call(this, text); };",
  });
  await page.until("acme.status.connection === 'online'");
  await page.evaluate(`window.least = shown.rows.length;
    window.watching = pages.query({ where: { archived: false }, order: ['title'] });
    watching.subscribe(({ rows, complete }) => { if (window.whole) least = Math.min(least, rows.length); window.whole ||= complete; })`);
  const before = await page.evaluate("shown.rows.length");
  const { epoch } = dev.operate("slots", "create", "--new-epoch", "--yes");
  await page.evaluate(`pages.update('${PAGE_ID}', { title: 'typed while it began' }).saved`);
  await sql(`update pages set title = 'told after it began' where id = '${OTHER_ID}'`);
  await page.until(`pages.get('${OTHER_ID}')?.title === 'told after it began'`);
  await page.until("acme.status.connection === 'online' && acme.status.pending === 0");
  assert.ok(await page.evaluate(`said.some((text) => text.includes('"subscribe"') && text.includes('"epoch":${epoch},'))`));
  assert.equal(await page.evaluate("least"), before, "the list before stays until the list after is whole");
});

/** Waits until the server has noticed that `user` has no place any more; it may take two seconds. */
async function placeIsGone(user) {
  const { info } = place.dev;
  const headers = { authorization: `Bearer ${info.tokens[user]}` };
  await until(async () => (await fetch(`${info.api}/v1/orgs/acme/schema`, { headers })).status === 403);
}

const codes = "acme.status.notices.map(({ code }) => code)";

test("who loses their place keeps what they typed and is told why; back again, it is sent sy_62", { skip }, async () => {
  const { dev, site, open, onServer } = place;
  const page = await open("leaves", { query: "?user=bob" });
  await page.until("acme.status.connection === 'online'");
  site.cutNetwork();
  await page.evaluate(`pages.update('${PAGE_ID}', { title: 'typed by bob while away' }).saved`);
  dev.operate("users", "leave", "bob", "--org", "acme");
  await placeIsGone("bob");
  site.mendNetwork();
  await page.until(`acme.status.connection === 'refused' && ${codes}.includes('NOT_A_MEMBER')`);
  assert.match(await page.evaluate("acme.status.notices.find(({ code }) => code === 'NOT_A_MEMBER').message"), /not a member.* kept/);
  assert.notEqual((await onServer("page", PAGE_ID)).title, "typed by bob while away");
  await page.reload();
  await page.until(`window.acme?.status.connection === 'refused'`);
  assert.deepEqual(await page.evaluate("[acme.outbox().length, acme.status.failed]"), [1, 0], "it waits, and was not refused");
  dev.operate("users", "join", "bob", "--org", "acme");
  await page.until("acme.status.connection === 'online' && acme.status.pending === 0");
  assert.equal((await onServer("page", PAGE_ID)).title, "typed by bob while away");
  assert.deepEqual(await page.evaluate(`${codes}.filter((code) => code === 'NOT_A_MEMBER')`), []);
});

test("who loses their place while they look is told without asking sy_62", { skip }, async () => {
  const { dev, open } = place;
  const page = await open("looks", { query: "?user=bob" });
  await page.until("acme.status.connection === 'online'");
  dev.operate("users", "leave", "bob", "--org", "acme");
  await page.until(`acme.status.connection === 'refused' && ${codes}.includes('NOT_A_MEMBER')`);
  dev.operate("users", "join", "bob", "--org", "acme");
  await page.until("acme.status.connection === 'online'");
});
