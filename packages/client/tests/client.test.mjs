// The whole client in Node, over the server and the store in memory that applications test with.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { afterEach, test as declare } from "node:test";

import { Face } from "../core/core.js";
import { createClient, explain } from "../dist/index.js";
import { TestServer } from "../dist/testing.js";

const wasm = readFileSync(new URL("../core/core_bg.wasm", import.meta.url));
const types = {
  note: {
    fields: {
      id: { type: "text" }, title: { type: "text", merge: "manual" }, votes: { type: "int4", merge: "counter" },
      labels: { type: "text[]", merge: "set" }, rank: { type: "int4" },
    },
    rows: [1, 2, 3].map((n) => ({ id: `n${n}`, title: `note ${n}`, votes: 0, labels: [], rank: n })),
  },
};
const clients = [];
/** What never comes true is told, and not waited for. */
const test = (claim, run) => declare(claim, { timeout: 20_000 }, run);

afterEach(() => Promise.all(clients.splice(0).map((client) => client.close())));

async function open(server, more = {}) {
  const client = createClient({ ...server.options, wasm, ...more });
  clients.push(client);
  const org = await client.org("acme");
  return { client, org, notes: org.collection("note") };
}

const when = (org, condition) => new Promise((resolve) => {
  const stop = org.onStatus((status) => { if (condition(status)) { resolve(); queueMicrotask(() => stop()); } });
});
const listed = (org) => when(org, (status) => status.connection === "online" && status.listed);

/** Polls a condition up to a deadline. */
async function until(condition) {
  const end = Date.now() + 30_000;
  while (!condition()) {
    assert.ok(Date.now() < end, `it never came true: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

// A process of its own: a module that was loaded once is loaded for good.
test("Node finds the core by itself, and one that is not there is told by its code sdk_01", () => {
  const run = (wasm) => spawnSync(process.execPath, ["--input-type=module", "--eval", `
    import { createClient } from "${new URL("../dist/index.js", import.meta.url)}";
    import { TestServer } from "${new URL("../dist/testing.js", import.meta.url)}";
    const client = createClient({ ...new TestServer(${JSON.stringify(types)}).options, wasm: ${wasm} });
    await client.org("acme").then(({ status }) => console.log(status.storage), ({ code }) => console.log(code));
    await client.close();
  `], { encoding: "utf8" });
  assert.equal(run("undefined").stdout, "memory\n");
  assert.equal(run('"http://127.0.0.1:9/core_bg.wasm"').stdout, "CORE_UNAVAILABLE\n");
});

test("half of a surrogate pair, as a paste may cut it, is written as the sign for what cannot be read; whole pairs stay sdk_01", async () => {
  const server = new TestServer(types);
  const { org, notes } = await open(server);
  await listed(org);
  for (const [typed, kept] of [["cut \ud83d", "cut \ufffd"], ["\udc4d cut", "\ufffd cut"], ["whole \ud83d\udc4d", "whole \ud83d\udc4d"], ["said: \\ud83d", "said: \\ud83d"]]) {
    await notes.update("n1", { title: typed }).saved;
    assert.equal(notes.get("n1").title, kept);
  }
});

test("a list is live, and rows that did not change stay the same objects sdk_01", async () => {
  const server = new TestServer(types);
  const { org, notes } = await open(server);
  const shown = [];
  const changed = new Promise((resolve) => {
    notes.query({ where: { rank: { gte: 2 } }, order: ["-rank"] }).subscribe((snapshot) => {
      shown.push(snapshot);
      if (snapshot.rows[1]?.title === "by another") resolve();
    });
  });
  await listed(org);
  server.write("note", "n2", { title: "by another" });
  await changed;
  const [before, after] = shown.slice(-2);
  assert.deepEqual(after.ids, ["n3", "n2"]);
  assert.equal(after.complete, true);
  assert.equal(before.rows[0], after.rows[0], "the other row is the very same");
  assert.equal(org.status.storage, "memory");
});

test("edits are seen at once, kept over a restart offline, and sent when the network is back sy_59", async () => {
  const server = new TestServer(types);
  const { storage } = server.options;
  const first = await open(server, { storage });
  await listed(first.org);
  server.online = false;
  const made = first.notes.create({ title: "offline", votes: 0, labels: [], rank: 9 });
  const edits = [
    made, first.notes.update("n1", { title: "mine", rank: 7 }), first.notes.add("n1", "votes", 2),
    first.notes.change("n1", "labels", { add: ["a", "b"] }),
  ];
  assert.deepEqual(first.notes.get("n1"), { id: "n1", title: "mine", votes: 2, labels: ["a", "b"], rank: 7 });
  await Promise.all(edits.map((edit) => edit.saved));
  await first.client.close();
  assert.throws(() => first.notes.get("n1"), { code: "CLOSED" });
  const second = await open(server, { storage });
  assert.equal(second.notes.get(made.id).title, "offline");
  assert.equal(second.org.outbox().length, 5);
  server.write("note", "n1", { votes: 5 });
  server.online = true;
  await second.org.sent();
  const row = server.rows("note").find(({ id }) => id === "n1");
  assert.deepEqual([row.title, row.votes, row.labels, row.rank], ["mine", 7, ["a", "b"], 7]);
  assert.deepEqual(second.notes.get("n1"), row);
});

test("undo takes back, redo does again, and discarding says what became of an edit", async () => {
  const server = new TestServer(types);
  const { org, notes } = await open(server);
  await listed(org);
  server.online = false;
  // From here on nothing is handed to a network, so undo removes instead of answering.
  await when(org, (status) => status.connection !== "online");
  const edit = notes.update("n1", { title: "typed" });
  assert.equal(org.undo(), true);
  assert.equal(notes.get("n1").title, "note 1");
  assert.equal(await edit.settled, "takenBack");
  assert.equal(org.redo(), true);
  assert.equal(notes.get("n1").title, "typed");
  org.discard(org.outbox()[0].key);
  assert.deepEqual([org.outbox(), notes.get("n1").title], [[], "note 1"]);
});

test("a conflict waits for a person, and what was decided is sent", async () => {
  const server = new TestServer(types);
  const { org, notes } = await open(server);
  await listed(org);
  server.online = false;
  const edit = notes.update("n1", { title: "mine" });
  await edit.saved;
  server.write("note", "n1", { title: "theirs" });
  server.online = true;
  assert.equal(await edit.settled, "conflict");
  const [conflict] = org.conflicts();
  assert.deepEqual([conflict.base, conflict.mine, conflict.theirs.value], ["note 1", "mine", "theirs"]);
  org.resolve(conflict, { merge: "both" });
  assert.throws(() => org.resolve(conflict, "keepMine"), { code: "NO_CONFLICT" });
  await org.sent();
  assert.equal(server.rows("note")[0].title, "both");
});

test("a list of a type that the server does not have ends in a code, and so does one that waits for the server", async () => {
  const server = new TestServer(types);
  server.online = false;
  const { org } = await open(server);
  const seen = [];
  const stop = org.collection("nobody").query().subscribe(({ refused, complete }) => seen.push([refused, complete]));
  assert.deepEqual(seen, [[null, false]], "what the server has is not known yet");
  server.online = true;
  org.syncNow();
  await until(() => seen.length > 1);
  stop();
  assert.deepEqual(seen.slice(1), [["ENTITY_TYPE_UNKNOWN", false]]);
  assert.match(explain("ENTITY_TYPE_UNKNOWN"), /does not have/u);
});

test("edits that cannot be made are refused by code, and change nothing", async () => {
  const server = new TestServer(types);
  server.online = false;
  const { org, notes } = await open(server);
  assert.throws(() => notes.update("n1", { title: "x" }), { code: "NO_SCHEMA" });
  server.online = true;
  await listed(org);
  assert.throws(() => notes.update("nobody", { title: "x" }), { code: "NO_SUCH_ROW" });
  assert.throws(() => org.importOutbox({ format: 1, user: "bob", organization: "acme", entries: [] }), { code: "NOT_YOURS" });
  assert.equal(org.outbox().length, 0);
});

test("a 503 of a proxy and an answer cut in half lose nothing sy_54", async () => {
  const server = new TestServer(types);
  const { org, notes } = await open(server);
  await listed(org);
  server.answerNext(503, "<html>busy</html>");
  server.answerNext(200, "{\"results\": [{\"transac");
  notes.update("n1", { title: "through" });
  await org.sent();
  assert.equal(server.rows("note")[0].title, "through");
});

test("a token of another user is told, and no request goes out under it core_18", async () => {
  const server = new TestServer(types);
  const bob = `e30.${Buffer.from(JSON.stringify({ sub: "bob" })).toString("base64url")}.x`;
  const { org } = await open(server, { getToken: () => bob });
  await when(org, (status) => status.notices.some(({ code }) => code === "TOKEN_OF_ANOTHER_USER"));
  assert.deepEqual(server.requests, []);
});

test("a store of a newer build is left alone, told, and its outbox comes out core_17", async () => {
  const server = new TestServer(types);
  const { storage } = server.options;
  const store = await storage("antiphon:app:http%3A%2F%2Ftest.invalid:alice:acme");
  const records = [["meta", "{\"format\": 99}"], [{ entry: "k" }, "{\"written\": \"later\"}"]];
  await store.save(0, records.map((put) => ({ put })));
  const { org } = await open(server, { storage });
  assert.deepEqual(org.status.notices.map(({ code }) => code), ["STORE_NEWER"]);
  assert.deepEqual(org.exportOutbox().entries, [{ written: "later" }]);
  assert.deepEqual(await store.read(true), records);
});

test("signing out asks what becomes of unsent edits sdk_06 sy_62", async () => {
  const server = new TestServer(types);
  const { storage } = server.options;
  const { org, client, notes } = await open(server, { storage });
  await listed(org);
  server.online = false;
  await notes.update("n1", { title: "unsent" }).saved;
  await assert.rejects(client.signOut({ pending: "send", timeoutMs: 20 }), { code: "OUTBOX_NOT_EMPTY" });
  assert.equal(notes.get("n1").title, "unsent", "nothing was changed");
  await client.signOut({ pending: "keep" });
  const again = await open(server, { storage });
  const [left] = await again.client.signOut({ pending: "export" });
  assert.equal(left.entries.length, 1);
  const third = await open(server, { storage });
  assert.equal(third.org.outbox().length, 0);
});

test("a machine that breaks is followed by another, from what the store holds", async () => {
  const server = new TestServer(types);
  const { org, notes } = await open(server);
  await listed(org);
  const shown = [];
  const stop = notes.query({ order: ["rank"] }).subscribe((snapshot) => shown.push(snapshot));
  server.online = false;
  await when(org, (status) => status.connection !== "online");
  await notes.update("n1", { title: "before" }).saved;
  const { call } = Face.prototype;
  Face.prototype.call = () => { throw new Error("antiphon core: panicked at"); };
  assert.throws(() => notes.update("n1", { title: "breaks" }), { code: "CORE_FAULT" });
  Face.prototype.call = call;
  await when(org, (status) => status.notices.length === 0);
  assert.equal(notes.get("n1").title, "before");
  server.online = true;
  await org.sent();
  assert.equal(server.rows("note")[0].title, "before");
  server.write("note", "n2", { title: "the list lives" });
  await until(() => shown.at(-1).rows[1].title === "the list lives");
  org.close();
  assert.deepEqual(org.status.notices.map(({ code }) => code), ["CLOSED"]);
  stop();
});
