// The clock of an application's tests: the client waits by it, and by no other (SDK-07).

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { afterEach, test as declare } from "node:test";

import { createClient } from "../dist/index.js";
import { TestClock, TestServer } from "../dist/testing.js";
import { Token } from "../dist/token.js";

const wasm = readFileSync(new URL("../core/core_bg.wasm", import.meta.url));
const types = {
  page: {
    fields: { id: { type: "text" }, body: { type: "text", merge: "text" } },
    rows: [{ id: "p", body: "one" }],
  },
};
const clients = [];
/** What never comes true is told, and not waited for. */
const test = (claim, run) => declare(claim, { timeout: 20_000 }, run);

afterEach(() => Promise.all(clients.splice(0).map((client) => client.close())));

async function open(server, clock) {
  const client = createClient({ ...server.options, wasm, clock });
  clients.push(client);
  const org = await client.org("acme");
  await clock.pass(1);
  assert.equal(org.status.listed, true);
  return org;
}

const body = (server) => server.rows("page")[0].body;

test("what is due is called in its order, at its moment, and not once it was taken back sdk_07", async () => {
  const clock = new TestClock(1_000);
  const called = [];
  const note = (name) => () => called.push([name, clock.tickMs(), clock.wallMs()]);
  clock.after(20, note("second"));
  clock.after(10, () => { note("first")(); clock.after(5, note("begun by the first")); });
  clock.after(15, note("taken back"))();
  await clock.pass(19);
  assert.deepEqual(called, [["first", 10, 1_010], ["begun by the first", 15, 1_015]]);
  clock.set(5);
  await clock.pass(1);
  assert.deepEqual(called[2], ["second", 20, 6], "the steady clock goes on where the wall's was put back");
});

test("a client tries again by the clock that it was given and by no other sdk_07", async () => {
  const server = new TestServer(types);
  const clock = new TestClock();
  const org = await open(server, clock);
  server.online = false;
  org.collection("page").update("p", { body: "one two" });
  await clock.pass(10_000);
  server.online = true;
  const before = server.requests.length;
  await new Promise((resolve) => { setTimeout(resolve, 50); });
  assert.equal(server.requests.length, before, "time stands");
  await clock.pass(60_000);
  assert.deepEqual([body(server), org.status.pending], ["one two", 0]);
});

test("a draft rests by the clock that its client was given sdk_03 sdk_07", async () => {
  const server = new TestServer(types);
  const clock = new TestClock();
  const org = await open(server, clock);
  const draft = org.draft("page", "p", "body");
  const stop = draft.subscribe(() => {});
  await clock.pass(1);
  draft.setText("one two");
  await clock.pass(1_999);
  assert.equal(body(server), "one");
  await clock.pass(100);
  assert.equal(body(server), "one two");
  stop();
});

test("a token is replaced before it ends by the clock that its client was given sdk_06 sdk_07", async () => {
  const clock = new TestClock(0);
  let asked = 0;
  const claims = () => Buffer.from(JSON.stringify({ sub: "alice", exp: clock.wallMs() / 1000 + 100 })).toString("base64url");
  const token = new Token(() => { asked += 1; return `x.${claims()}.x`; }, "alice", clock);
  await token.current();
  await clock.pass(69_999);
  await token.current();
  assert.equal(asked, 1);
  await clock.pass(1);
  await token.current();
  assert.equal(asked, 2, "half a minute before it ends");
});
