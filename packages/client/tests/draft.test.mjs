// Drafts in Node, over the server in memory: kept, merged, sent, taken up. How a caret moves stands at the end.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { afterEach, test as declare } from "node:test";

import { createClient, movedOffset } from "../dist/index.js";
import { memoryStore, TestServer } from "../dist/testing.js";

const wasm = readFileSync(new URL("../core/core_bg.wasm", import.meta.url));
const types = {
  page: {
    fields: { id: { type: "text" }, title: { type: "text", merge: "manual" }, body: { type: "text", merge: "text" } },
    rows: [{ id: "p", title: "title", body: "one two three" }, { id: "empty", title: null, body: null }],
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
  await when(org, (status) => status.listed && (status.connection === "online" || !server.online));
  return { client, org };
}

const when = (org, condition) => new Promise((resolve) => {
  const stop = org.onStatus((status) => { if (condition(status)) { resolve(); queueMicrotask(() => stop()); } });
});

/** Polls a condition up to a deadline. */
async function until(condition) {
  const end = Date.now() + 10_000;
  while (!condition()) {
    assert.ok(Date.now() < end, `it never came true: ${condition}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const body = (server, id = "p") => server.rows("page").find((row) => row.id === id).body;

test("what is typed is shown at once, and is an edit after two seconds without a stroke sdk_03", async () => {
  const server = new TestServer(types);
  const { org } = await open(server);
  const draft = org.draft("page", "p", "body");
  const shown = [];
  draft.subscribe(({ text, dirty }) => shown.push([text, dirty]));
  draft.setText("one two three four");
  draft.setText("one two three four five");
  const typed = performance.now();
  assert.deepEqual(org.outbox(), []);
  await until(() => !draft.shown.dirty);
  assert.ok(performance.now() - typed >= 1_990, "not before");
  assert.equal(org.collection("page").get("p").body, "one two three four five");
  assert.deepEqual(shown, [
    ["one two three", false], ["one two three four", true], ["one two three four five", true], ["one two three four five", false],
  ]);
  await org.sent();
  assert.equal(body(server), "one two three four five");
});

test("what goes back to what it was is no edit sdk_03", async () => {
  const { org } = await open(new TestServer(types));
  const draft = org.draft("page", "p", "body");
  draft.setText("one");
  draft.setText("one two three");
  assert.equal(draft.shown.dirty, false);
  assert.equal(draft.flush(), null);
  draft.setText("one");
  draft.discard();
  assert.deepEqual([draft.shown.text, draft.flush(), org.outbox()], ["one two three", null, []]);
});

test("others' words come in, before and behind, and wait while an input method composes sdk_03", async () => {
  const server = new TestServer(types);
  const { org } = await open(server);
  const draft = org.draft("page", "p", "body");
  const moves = [];
  draft.subscribe((_, changes) => { if (changes) moves.push(changes); });
  draft.setText("one two and three");
  server.write("page", "p", { body: "zero one two three" });
  await until(() => draft.shown.text === "zero one two and three");
  assert.deepEqual(moves, [[{ at: 0, removed: 0, added: 5 }]]);
  draft.composing(true);
  server.write("page", "p", { body: "zero one two three four" });
  await until(() => org.collection("page").get("p").body.endsWith("four"));
  assert.equal(draft.shown.text, "zero one two and three");
  draft.composing(false);
  assert.equal(draft.shown.text, "zero one two and three four");
  await draft.flush().settled;
  assert.equal(body(server), "zero one two and three four");
});

test("a field that held nothing is typed into, and another's first words are not overwritten sdk_03 core_07", async () => {
  const server = new TestServer(types);
  const { org } = await open(server);
  const draft = org.draft("page", "empty", "title");
  draft.subscribe(() => undefined);
  draft.setText("mine");
  server.write("page", "empty", { title: "theirs" });
  await until(() => org.conflicts().length === 1);
  const [{ base, mine, theirs }] = org.conflicts();
  assert.deepEqual([base, mine, theirs.value, draft.shown.dirty], ["", "mine", "theirs", false]);
});

test("a draft of a tab that is gone is taken up by the next, and one of a tab that is open is its own sdk_03", async () => {
  const server = new TestServer(types);
  const storage = memoryStore();
  const store = await storage("antiphon:app:http%3A%2F%2Ftest.invalid:alice:acme");
  const name = (id, field) => JSON.stringify(["page", id, field]);
  await store.keep(`gone ${name("p", "body")}`, JSON.stringify({ base: "one two three", text: "one two three typed" }));
  await store.keep(`gone ${name("nobody", "body")}`, JSON.stringify({ base: "a", text: "b" }));
  await store.keep("gone nonsense", "nonsense");
  server.write("page", "p", { body: "first one two three" });
  const { org } = await open(server, { storage });
  const draft = org.draft("page", "p", "body");
  draft.subscribe(() => undefined);
  await until(() => draft.shown.text === "first one two three typed");
  draft.flush();
  await org.sent();
  assert.equal(body(server), "first one two three typed");
  await until(() => draft.shown.dirty === false);
  const left = [...await store.kept()].map(([full]) => full);
  assert.deepEqual(left, [`gone ${name("nobody", "body")}`], "what has no row yet stays, what is no draft goes");
});

test("what cannot be an edit is kept, and says why sdk_03", async () => {
  const server = new TestServer(types);
  const { org } = await open(server);
  const draft = org.draft("page", "p", "body");
  draft.subscribe(() => undefined);
  draft.setText("typed");
  server.write("page", "p", null);
  await until(() => org.collection("page").get("p") === undefined);
  assert.equal(draft.flush(), null);
  assert.deepEqual(draft.shown, { text: "typed", dirty: true, problem: "NO_SUCH_ROW", loading: false });
});

test("signing out and closing make edits of drafts first sdk_03 sdk_06", async () => {
  const server = new TestServer(types);
  const storage = memoryStore();
  const first = await open(server, { storage });
  first.org.draft("page", "p", "body").setText("typed, then closed");
  await first.client.close();
  const second = await open(server, { storage });
  assert.equal(second.org.collection("page").get("p").body, "typed, then closed");
  second.org.draft("page", "p", "body").setText("typed, then signed out");
  await second.client.signOut({ pending: "send" });
  assert.equal(body(server), "typed, then signed out");
});

test("a caret stays where it was in the words sdk_03", () => {
  const changes = [{ at: 4, removed: 0, added: 3 }, { at: 10, removed: 5, added: 2 }];
  const moved = [0, 4, 5, 10, 11, 14, 15, 20].map((offset) => movedOffset(offset, changes));
  assert.deepEqual(moved, [0, 4, 8, 13, 14, 15, 15, 20]);
});
