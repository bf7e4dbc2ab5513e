// Live rows in TanStack Query's cache, over the server in memory: nothing here knows a framework.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { afterEach, test as declare } from "node:test";

import { createClient } from "@antiphon/client";
import { TestServer } from "@antiphon/client/testing";
import { MutationObserver, notifyManager, QueryClient, QueryObserver } from "@tanstack/query-core";

import { liveQueries } from "../dist/index.js";

const wasm = readFileSync(new URL(import.meta.resolve("@antiphon/client/core_bg.wasm")));
const noteServer = () => new TestServer({
  note: {
    fields: { id: { type: "text" }, title: { type: "text", merge: "manual" }, rank: { type: "int4" }, labels: { type: "text[]", merge: "set" } },
    rows: [1, 2, 3].map((n) => ({ id: `n${n}`, title: `note ${n}`, rank: n, labels: [] })),
  },
});
const closing = [];
/** What never comes true is told, and not waited for. */
const test = (claim, run) => declare(claim, { timeout: 20_000 }, run);

afterEach(() => Promise.all(closing.splice(0).map((close) => close())));

async function open(server = noteServer(), user = "alice") {
  const client = createClient({ ...server.options, user, wasm });
  const cache = new QueryClient();
  closing.push(() => cache.clear(), () => client.close());
  const org = await client.org("acme");
  return { server, client, org, cache, notes: org.collection("note"), live: liveQueries(org) };
}

/** Observes a query, as a component does. */
function observe(cache, options) {
  const observer = new QueryObserver(cache, options);
  const stop = observer.subscribe(() => undefined);
  closing.unshift(stop);
  return { observer, stop, get result() { return observer.getCurrentResult(); } };
}

/** Resolves once the observer's result is as it is waited for. */
const when = ({ observer }, condition) => new Promise((resolve) => {
  const stop = observer.subscribe((result) => {
    if (!condition(result)) return;
    resolve(result);
    queueMicrotask(() => stop());
  });
  if (condition(observer.getCurrentResult())) resolve(observer.getCurrentResult());
});
const complete = (shown) => when(shown, ({ data }) => data?.complete);
const asked = (server) => server.requests.filter((line) => !line.endsWith("/live")).length;

test("a list is in the cache at once and follows what others do, without another fetch sdk_08", async () => {
  const { server, live, cache } = await open();
  const list = observe(cache, live.list("note", { where: { rank: { gte: 2 } }, order: ["-rank"] }));
  const first = await complete(list);
  assert.deepEqual([first.data.ids, first.data.refused, first.fetchStatus], [["n3", "n2"], null, "idle"]);
  const requests = asked(server);
  let fetches = 0;
  list.observer.subscribe(({ fetchStatus }) => { if (fetchStatus !== "idle") fetches += 1; });
  server.write("note", "n2", { title: "by another" });
  const second = await when(list, ({ data }) => data.rows[1].title === "by another");
  assert.equal(second.data.rows[0], first.data.rows[0], "the other row is the very same");
  server.write("note", "n4", { title: "new", rank: 9, labels: [] });
  await when(list, ({ data }) => data.ids[0] === "n4");
  await cache.invalidateQueries();
  assert.deepEqual([fetches, asked(server)], [0, requests]);
});

test("a row says whether it is there, follows, and is gone once it was deleted sdk_08", async () => {
  const { server, live, cache } = await open();
  const row = observe(cache, live.row("note", "n7"));
  assert.deepEqual((await when(row, ({ data }) => data)).data, { row: undefined, presence: "coming" });
  await when(row, ({ data }) => data.presence === "nowhere");
  server.write("note", "n7", { title: "made", rank: 7, labels: [] });
  const { data } = await when(row, ({ data: now }) => now.row);
  assert.deepEqual([data.row.title, data.presence], ["made", "here"]);
  server.write("note", "n7", null);
  await when(row, ({ data: now }) => now.presence === "nowhere" && !now.row);
});

test("what cannot be had says why, and what may not be asked is an error with its code sdk_08", async () => {
  const { live, cache, org } = await open();
  const list = observe(cache, live.list("note", { order: ["labels"] }));
  const { data } = await when(list, ({ data: now }) => now?.refused);
  assert.deepEqual([data.refused, data.complete, data.rows], ["NOT_COMPARABLE", false, []]);
  org.close();
  const late = observe(cache, live.row("note", "n1"));
  assert.equal((await when(late, ({ isError }) => isError)).error.code, "CLOSED");
});

test("an edit is seen in the row and in every list in one go, offline, and its mutation ends as it does sdk_08", async () => {
  const { server, live, cache, notes } = await open();
  const all = observe(cache, live.list("note", { order: ["rank"] }));
  const few = observe(cache, live.list("note", { where: { rank: { lt: 2 } } }));
  const row = observe(cache, live.row("note", "n1"));
  await Promise.all([complete(all), complete(few), when(row, ({ data }) => data?.row)]);
  server.online = false;
  const seen = [];
  const batches = new Set();
  let batch = 0;
  notifyManager.setBatchNotifyFunction((run) => { batch += 1; run(); });
  closing.push(() => notifyManager.setBatchNotifyFunction((run) => run()));
  for (const shown of [all, few, row]) {
    // As the adapters do.
    shown.observer.subscribe(notifyManager.batchCalls(() => {
      batches.add(batch);
      seen.push([all.result.data.rows.at(-1).title, few.result.data.rows.length, row.result.data.row.title]);
    }));
  }
  const mutation = new MutationObserver(cache, live.edit("note", (rows, title) => rows.update("n1", { title, rank: 9 })));
  const outcome = mutation.mutate("mine");
  await when(row, ({ data }) => data.row.title === "mine");
  await new Promise((resolve) => { notifyManager.schedule(resolve); });
  assert.deepEqual(seen, [["mine", 0, "mine"], ["mine", 0, "mine"], ["mine", 0, "mine"]], "no moment has one without the other");
  assert.equal(batches.size, 1, "one notification, and so one render");
  assert.equal(mutation.getCurrentResult().isPending, true);
  assert.equal(all.result.data.rows[2], notes.get("n1"), "the very row of the SDK");
  server.write("note", "n1", { title: "theirs" });
  server.online = true;
  assert.equal(await outcome, "conflict");
  assert.equal(row.result.data.row.title, "mine", "a person is asked, and nothing is put back");
});

test("an edit that cannot be made is the mutation's error, and changes nothing sdk_08", async () => {
  const { live, cache } = await open();
  const list = observe(cache, live.list("note"));
  await complete(list);
  const mutation = new MutationObserver(cache, live.edit("note", (rows, id) => rows.update(id, { title: "x" })));
  await assert.rejects(mutation.mutate("nobody"), { code: "NO_SUCH_ROW" });
});

test("a change that comes while a query is fetched is not put back by the fetch sdk_08", async () => {
  const { live, cache, notes } = await open();
  await complete(observe(cache, live.list("note")));
  const options = live.list("note", { order: ["title"], limit: 2 });
  const fetched = cache.fetchQuery(options);
  notes.update("n1", { title: "meanwhile" });
  await fetched;
  await new Promise((resolve) => { setImmediate(resolve); });
  assert.equal(cache.getQueryData(options.queryKey).rows[0].title, "meanwhile");
});

test("a query that nobody observes stays live until the cache lets go of it, and then wants nothing sdk_08", async () => {
  const { live, cache, notes } = await open();
  // More than the machine lets be wanted at once: each must have been let go of.
  for (let turn = 0; turn < 1_100; turn += 1) {
    const { queryKey, ...rest } = live.list("note", { where: { rank: { gte: turn } } });
    await cache.fetchQuery({ queryKey, ...rest });
    cache.removeQueries({ queryKey });
  }
  const brief = { ...live.list("note", { where: { rank: { gt: 1 } } }), gcTime: 0 };
  observe(cache, brief).stop();
  while (cache.getQueryState(brief.queryKey)) await new Promise((resolve) => { setTimeout(resolve); });
  const options = live.list("note", { where: { rank: { lt: 3 } } });
  const first = observe(cache, options);
  await complete(first);
  first.stop();
  notes.update("n1", { title: "nobody looks" });
  await new Promise((resolve) => { setImmediate(resolve); });
  assert.equal(cache.getQueryData(options.queryKey).rows[0].title, "nobody looks");
  const before = cache.getQueryState(options.queryKey).dataUpdateCount;
  const again = observe(cache, options);
  assert.deepEqual([again.result.data.rows[0].title, again.result.fetchStatus], ["nobody looks", "idle"]);
  assert.equal(cache.getQueryState(options.queryKey).dataUpdateCount, before);
});

test("what a cache was filled with from elsewhere is replaced by the rows as soon as somebody looks sdk_08", async () => {
  const { live, cache } = await open();
  const options = live.list("note", { order: ["rank"] });
  cache.setQueryData(options.queryKey, { rows: [{ id: "n1", title: "of last week", rank: 1, labels: [] }], ids: ["n1"], complete: true, refused: null });
  const list = observe(cache, options);
  assert.equal(list.result.data.rows[0].title, "of last week");
  await when(list, ({ data }) => data.rows.length === 3);
});

test("a closed organisation leaves no rows in the cache, and another user meets none of them sdk_08 sy_62", async () => {
  const server = noteServer();
  const alice = await open(server);
  const list = observe(alice.cache, alice.live.list("note"));
  const gone = alice.live.row("note", "n1");
  await complete(list);
  await alice.cache.fetchQuery(gone);
  await alice.client.signOut({ pending: "discard" });
  const { data, error } = await when(list, ({ isError }) => isError);
  assert.deepEqual([data, error.code, alice.cache.getQueryData(gone.queryKey)], [undefined, "CLOSED", undefined]);
  const bob = await open(new TestServer({ note: { fields: { id: { type: "text" } } } }, "bob"), "bob");
  assert.notDeepEqual(bob.live.list("note").queryKey, alice.live.list("note").queryKey);
  // The same person again: the same key, and the rows of the new organisation.
  const again = await open(server);
  const other = observe(alice.cache, again.live.list("note"));
  assert.equal((await complete(other)).data.rows.length, 3);
});
