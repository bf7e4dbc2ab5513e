// What undo would do, and merges of conflicts that outlive the page; in Node, over the server in memory.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { afterEach, test as declare } from "node:test";

import { createClient } from "../dist/index.js";
import { memoryStore, TestServer } from "../dist/testing.js";

const wasm = readFileSync(new URL("../core/core_bg.wasm", import.meta.url));
const types = {
  task: {
    fields: { id: { type: "text" }, title: { type: "text", merge: "manual" }, status: { type: "text" }, votes: { type: "int4", merge: "counter" } },
    rows: [{ id: "1", title: "one", status: "todo", votes: 0 }],
  },
};
const clients = [];
const test = (claim, run) => declare(claim, { timeout: 20_000 }, run);

afterEach(() => Promise.all(clients.splice(0).map((client) => client.close())));

async function open(server, more = {}) {
  const client = createClient({ ...server.options, wasm, ...more });
  clients.push(client);
  const org = await client.org("acme");
  await until(() => org.status.listed);
  return { client, org, tasks: org.collection("task") };
}

async function until(condition) {
  const end = Date.now() + 10_000;
  while (!condition()) {
    assert.ok(Date.now() < end, `it never came true: ${condition}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test("what undo and redo would do is known before they are asked, and goes with them core_13 sdk_03", async () => {
  const { org, tasks } = await open(new TestServer(types));
  const told = [];
  const stop = org.onUndoable(({ undo, redo }) => told.push([undo?.do ?? null, redo?.do ?? null]));
  assert.deepEqual([org.canUndo, org.canRedo, org.undo()], [false, false, false]);
  tasks.update("1", { title: "mine", status: "done" });
  tasks.add("1", "votes", 2);
  const about = { entityType: "task", entityId: "1" };
  assert.deepEqual(org.undoable, { undo: { do: "add", ...about, fields: ["votes"] }, redo: null });
  assert.ok(org.undo());
  assert.deepEqual(org.undoable.undo, { do: "set", ...about, fields: ["title", "status"] });
  assert.deepEqual([org.canUndo, org.canRedo], [true, true]);
  assert.ok(org.redo());
  assert.ok(org.undo() && org.undo());
  assert.deepEqual([tasks.get("1").title, tasks.get("1").votes, org.canUndo, org.canRedo], ["one", 0, false, true]);
  tasks.delete("1");
  assert.deepEqual([org.undoable.undo.do, org.canRedo], ["delete", false], "a new edit ends what could be done again");
  stop();
  tasks.create({ title: "another" });
  assert.deepEqual(told, [
    [null, null], ["set", null], ["add", null], ["set", "add"], ["add", null], ["set", "add"], [null, "set"], ["delete", null],
  ]);
});

test("a step that is not possible any more is none core_13 sy_47", async () => {
  const server = new TestServer(types);
  const { org, tasks } = await open(server);
  await tasks.update("1", { status: "done" }).settled;
  server.write("task", "1", { status: "theirs" });
  await until(() => tasks.get("1").status === "theirs");
  assert.equal(org.canUndo, true);
  assert.equal(org.undo(), false, "what others have written since is left alone");
  assert.deepEqual([org.canUndo, org.canRedo, tasks.get("1").status], [false, false, "theirs"]);
});

async function conflicted(server, storage) {
  const { client, org, tasks } = await open(server, { storage });
  server.online = false;
  await tasks.update("1", { title: "mine" }).saved;
  server.write("task", "1", { title: "theirs" });
  server.online = true;
  org.syncNow();
  await until(() => org.conflicts().length === 1);
  await new Promise((resolve) => setTimeout(resolve, 0));
  return { client, org, conflict: org.conflicts()[0] };
}

const merges = (org) => new Promise((resolve) => { org.onMerges(resolve); });

test("what was typed into a merge is there again after a reload, until the conflict is decided core_08 desk_03", async () => {
  const [server, storage] = [new TestServer(types), memoryStore()];
  const first = await conflicted(server, storage);
  first.org.keepMerge(first.conflict.key, { typed: "bo", picks: {} });
  first.org.keepMerge(first.conflict.key, { typed: "both", picks: { whole: "theirs" } });
  first.org.keepMerge("000000000099-none", { typed: "about nothing", picks: {} });
  await first.client.close();
  const second = await open(server, { storage });
  const [{ key }] = second.org.conflicts();
  assert.deepEqual([...await merges(second.org)], [[key, { typed: "both", picks: { whole: "theirs" } }]]);
  second.org.resolve(second.org.conflicts()[0], { merge: "both" });
  assert.deepEqual([...await merges(second.org)], []);
  await second.client.close();
  const third = await open(server, { storage });
  assert.deepEqual([...await merges(third.org)], []);
});

test("a draft that is taken up leaves what was typed into merges alone core_08", async () => {
  const [server, storage] = [new TestServer(types), memoryStore()];
  const first = await conflicted(server, storage);
  first.org.keepMerge(first.conflict.key, { typed: "both", picks: {} });
  await first.client.close();
  const second = await open(server, { storage });
  second.org.draft("task", "1", "status").subscribe(() => undefined);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal((await merges(second.org)).size, 1);
});

test("who is not a member any more sees no rows, is told why, and takes what they typed along sy_15", async () => {
  const server = new TestServer(types);
  const { org, tasks } = await open(server);
  server.online = false;
  await tasks.update("1", { title: "typed" }).saved;
  for (let times = 0; times < 3; times += 1) server.answerNext(403, { code: "NOT_A_MEMBER" });
  server.online = true;
  org.syncNow();
  await until(() => tasks.get("1") === undefined);
  assert.deepEqual(org.outbox().map(({ change }) => change.value), ["typed"]);
  assert.equal(org.exportOutbox().entries.length, 1);
  await until(() => org.status.notices.some(({ code }) => code === "NOT_A_MEMBER"));
  await until(() => { org.syncNow(); return tasks.get("1")?.title === "typed" && org.outbox().length === 0; });
});
