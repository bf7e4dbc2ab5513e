// Rows that a person may not see any more, because their role or the row changed: they leave the page, and what was typed
// about them stays, with the reason.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";

import { startOwn } from "./own.mjs";
import { startPlace, until, whyNot } from "./place.mjs";

const skip = whyNot();
const TABLE = `create table letters (id text primary key, organization_id text not null, state text not null,
  title text not null, remark text not null default 'sealed')`;
const FILLED = `insert into letters select 'l' || n, 'acme', case when n % 2 = 0 then 'open' else 'closed' end, 'letter ' || n
  from generate_series(1, 20) n`;
// A guest reads what is open, without the remark, and writes titles of it.
const RULES = `
[[entities.rules]]
roles = ["owner", "admin", "member"]
read = "*"
write = "*"
create = true
delete = true
[[entities.rules]]
roles = ["viewer"]
when = { column = "state", in = ["open"] }
read = ["id", "organization_id", "state", "title"]
write = ["title"]
`;
let place;

before(async () => {
  if (skip) return;
  place = await startPlace({ own: async ({ dev, sql }) => {
    await sql(TABLE, FILLED);
    return startOwn(dev, "letters", RULES, { alice: "owner", bob: "member", carol: "viewer" });
  } });
});

afterEach(() => place?.tidy());
after(() => place?.stop());

async function open(name, user) {
  const page = await place.open(name, { query: `?bare&user=${user}`, ready: "window.acme?.status.connection === 'online'" });
  await page.evaluate(`window.letters = acme.collection("letter");
    letters.query({ order: ["title"] }).subscribe((now) => { window.now = now; })`);
  await page.until("now.complete");
  return page;
}

const STATES = "acme.outbox().map(({ entityId, state, theirs, refused }) => [entityId, state, theirs?.gone, refused?.code])";

test("another role lists again: rows and columns out of its sight leave, and what was typed about them waits with the reason sdk_01", { skip }, async () => {
  const { server, site, onServer } = place;
  const page = await open("role", "bob");
  assert.equal(await page.evaluate("now.rows.length"), 20);
  assert.equal(await page.evaluate("letters.get('l2').remark"), "sealed");
  site.cutNetwork();
  await page.until("acme.status.connection !== 'online'");
  await page.evaluate(`Promise.all([letters.update('l1', { title: 'about a closed one' }).saved,
    letters.update('l2', { title: 'about an open one' }).saved])`);
  server.operate("users", "join", "bob", "--org", "acme", "--role", "viewer");
  // The server takes it up within two seconds.
  await until(async () => (await onServer("letter", "l2", "bob")).remark === undefined);
  site.mendNetwork();
  await page.until("acme.status.connection === 'online' && acme.status.pending === 0");
  await page.until("now.complete && letters.get('l3') === undefined");
  // The one that was edited is shown as it was known, until the person has decided.
  const ids = await page.evaluate("now.rows.filter(({ state }) => state === 'closed').map(({ id }) => id)");
  assert.deepEqual(ids, ["l1"]);
  assert.deepEqual(await page.evaluate(STATES), [["l1", "conflicted", true, null]]);
  await page.evaluate("acme.resolve(acme.conflicts()[0], 'keepTheirs')");
  await page.until("now.rows.length === 10 && letters.get('l1') === undefined && acme.outbox().length === 0");
  assert.equal((await onServer("letter", "l2", "alice")).title, "about an open one");
  assert.equal((await onServer("letter", "l1", "alice")).title, "letter 1");
  assert.equal(await page.evaluate("now.rows.every((row) => !('remark' in row))"), true, "nor is the column here");
});

test("a row that leaves sight leaves the page at once, and an edit of it waits for the person with the reason sdk_01", { skip }, async () => {
  const { site, sql, onServer } = place;
  const page = await open("sight", "carol");
  assert.equal(await page.evaluate("now.rows.length"), 10);
  await sql("update letters set state = 'closed' where id = 'l4'");
  await page.until("now.rows.length === 9 && letters.get('l4') === undefined");
  // A proxy holds edits back, while the stream goes on: the next one waits without having been sent.
  site.instead = (method) => (method === "POST" ? { status: 503, headers: { "retry-after": "3" } } : undefined);
  const from = site.asked.length;
  await page.evaluate("letters.update('l8', { title: 'held back' }).saved");
  await until(() => site.asked.slice(from).some((asked) => asked.startsWith("POST")));
  await page.evaluate("letters.update('l6', { title: 'typed about what is closed meanwhile' }).saved");
  await sql("update letters set state = 'closed' where id = 'l6'");
  await page.until("now.rows.length === 8 && letters.get('l6') === undefined");
  site.instead = undefined;
  await page.until("acme.outbox().length === 1 && acme.status.pending === 0");
  assert.equal((await onServer("letter", "l8", "alice")).title, "held back");
  assert.deepEqual(await page.evaluate(STATES), [["l6", "failed", null, "ROW_LEFT"]]);
  assert.match(await page.evaluate("antiphon.explain('ROW_LEFT')"), /not see .* kept/);
  assert.equal(await page.evaluate("acme.outbox()[0].change.value"), "typed about what is closed meanwhile");
  assert.equal((await onServer("letter", "l6", "alice")).title, "letter 6");
  // Back in sight, the person may have it sent after all.
  await sql("update letters set state = 'open' where id = 'l6'");
  await page.until("letters.get('l6') !== undefined");
  await page.evaluate("acme.retry(acme.outbox()[0].key); acme.sent()");
  await page.until("acme.outbox().length === 0");
  assert.equal((await onServer("letter", "l6", "alice")).title, "typed about what is closed meanwhile");
});
