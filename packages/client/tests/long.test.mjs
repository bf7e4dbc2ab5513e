// Values that are too long to come with their row: fetched once something shows them, kept, and put in as they are written.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { afterEach, test as declare } from "node:test";

import { Http } from "../dist/http.js";
import { createClient } from "../dist/index.js";
import { memoryStore, TestServer } from "../dist/testing.js";

const wasm = readFileSync(new URL("../core/core_bg.wasm", import.meta.url));
const lines = Array.from({ length: 12_000 }, (_, number) => `line number ${number} of many`).join("\n");
const long = (begin) => `${begin}\n${lines}\n`;
const types = {
  page: {
    fields: { id: { type: "text" }, title: { type: "text" }, body: { type: "text", merge: "text" } },
    rows: [{ id: "p", title: "title", body: long("first") }, { id: "short", title: "other", body: "short" }],
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
  return { client, org, pages: org.collection("page") };
}

async function until(condition) {
  const end = Date.now() + 10_000;
  while (!condition()) {
    assert.ok(Date.now() < end, `it never came true: ${condition}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const asked = (server) => server.requests.filter((request) => request.endsWith("/fields/body")).length;

test("a long value is not loaded until its row is watched, comes once, and stays on the device core_12", async () => {
  const server = new TestServer(types);
  const storage = memoryStore();
  const { client, org, pages } = await open(server, { storage });
  assert.deepEqual([pages.get("p").body, pages.loaded("p", "body"), pages.presence("p")], [undefined, false, "here"]);
  assert.deepEqual([pages.loaded("p", "title"), pages.loaded("short", "body"), pages.loaded("none", "body")], [true, true, false]);
  pages.watch("p", () => undefined);
  pages.watch("p", () => undefined);
  await until(() => pages.loaded("p", "body"));
  assert.equal(pages.get("p").body, long("first"));
  server.write("page", "p", { title: "new" });
  await until(() => pages.get("p").title === "new");
  assert.deepEqual([pages.get("p").body, asked(server)], [long("first"), 1]);
  await until(() => org.position().offset > 0);
  await client.close();
  server.online = false;
  const again = createClient({ ...server.options, wasm, storage });
  clients.push(again);
  assert.equal((await again.org("acme")).collection("page").get("p").body, long("first"));
});

test("rows of a list that is shown have their long values too core_12", async () => {
  const server = new TestServer(types);
  const { pages } = await open(server);
  const seen = [];
  pages.query({ order: ["id"] }).subscribe(({ rows }) => seen.push(rows[0]?.body));
  await until(() => seen.at(-1) === long("first"));
  assert.equal(asked(server), 1);
});

test("a draft of a long text waits for it, and is an edit upon it core_07 sdk_03", async () => {
  const server = new TestServer(types);
  const { org } = await open(server);
  const draft = org.draft("page", "p", "body");
  draft.subscribe(() => undefined);
  assert.deepEqual(draft.shown, { text: "", dirty: false, problem: null, loading: true });
  draft.setText("what would replace all of it");
  assert.deepEqual([draft.shown.text, draft.shown.problem], ["", "NOT_LOADED"]);
  await until(() => !draft.shown.loading);
  assert.deepEqual(draft.shown, { text: long("first"), dirty: false, problem: null, loading: false });
  draft.setText(`${long("first")}with an end`);
  const edit = draft.flush();
  server.write("page", "p", { body: long("The first") });
  assert.equal(await edit.settled, "applied");
  await until(() => draft.shown.text === `${long("The first")}with an end`);
  assert.equal(server.rows("page")[0].body, `${long("The first")}with an end`);
});

test("a draft of a row that was just made is not taken for one that is loading sdk_03", async () => {
  const server = new TestServer(types);
  const { org, pages } = await open(server);
  server.online = false;
  pages.create({ id: "new", title: "new" });
  const draft = org.draft("page", "new", "body");
  draft.subscribe(() => undefined);
  draft.setText("typed");
  assert.deepEqual(draft.shown, { text: "typed", dirty: true, problem: null, loading: false });
});

test("a value is put in as it is written, only where it is the one that is named, and only so many bytes of them core_11", async () => {
  const about = (bytes, checksum) => ({ bytes, checksum });
  const items = [
    { data: { a: "x", n: 1 }, tx: null, omitted: { 'big "json"': about(10, "one"), gone: about(10, "two"), other: about(10, "three") } },
    { data: { a: "y", n: 2 }, tx: null, omitted: { huge: about(1 << 30, "four") } },
  ];
  const urls = [];
  const fetcher = async (url) => {
    urls.push(String(url));
    if (url.endsWith("/schema")) return new Response(JSON.stringify({ types: { t: { key: ["a", "n"] } } }));
    if (url.includes("?ids=")) return new Response(JSON.stringify({ items, next: null }));
    if (url.endsWith("gone")) return new Response("{}", { status: 404 });
    return new Response('{"field":"f","value":{"n":1.000000000000000000001},"bytes":10,"checksum":"one"}');
  };
  const http = new Http("https://host", "acme", fetcher);
  const signal = new AbortController().signal;
  await http.ask({ ask: "schema" }, "t", signal);
  const { body } = await http.ask({ ask: "ids", entityType: "t", ids: ['["x","1"]', '["y","2"]'] }, "t", signal);
  assert.ok(body.includes('{"a":"x","n":1,"big \\"json\\"":{"n":1.000000000000000000001}}'), body);
  assert.deepEqual(JSON.parse(body).items.map(({ data }) => Object.keys(data)), [["a", "n", 'big "json"'], ["a", "n"]]);
  assert.deepEqual(JSON.parse(body).items.map(({ omitted }) => omitted), items.map(({ omitted }) => omitted), "what is named stays named");
  assert.deepEqual(urls.slice(2), ["big%20%22json%22", "gone", "other"].map((field) => `https://host/v1/orgs/acme/entities/t/%5B%22x%22%2C%221%22%5D/fields/${field}`));
});

test("a request that nobody waits for any more does not ask for its values twice core_15", async () => {
  let field = 0;
  const fetcher = async (url) => {
    if (url.endsWith("/schema")) return new Response(JSON.stringify({ types: { t: { key: ["a"] } } }));
    if (url.includes("?ids=")) return new Response(JSON.stringify({ items: [{ data: { a: "x" }, omitted: { f: { bytes: 5, checksum: "one" } } }] }));
    field += 1;
    return new Response('{"value":"long","checksum":"one"}');
  };
  const http = new Http("https://host", "acme", fetcher);
  await http.ask({ ask: "schema" }, "t", new AbortController().signal);
  const ids = { ask: "ids", entityType: "t", ids: ["x"] };
  const cancelled = new AbortController();
  const first = http.ask(ids, "t", cancelled.signal);
  cancelled.abort();
  await first;
  const second = await http.ask(ids, "t", new AbortController().signal);
  assert.deepEqual([JSON.parse(second.body).items[0].data, field], [{ a: "x", f: "long" }, 1]);
  await http.ask(ids, "t", new AbortController().signal);
  assert.equal(field, 2, "what was handed on is not kept");
});

test("a server that cannot answer about a value is no answer at all core_15", async () => {
  const fetcher = async (url) => (url.includes("/fields/")
    ? new Response("", { status: 503 })
    : new Response(JSON.stringify(url.endsWith("/schema") ? { types: { t: { key: ["a"] } } } : { items: [{ data: { a: "x" }, omitted: { f: { bytes: 5, checksum: "one" } } }] })));
  const http = new Http("https://host", "acme", fetcher);
  await http.ask({ ask: "schema" }, "t", new AbortController().signal);
  await assert.rejects(http.ask({ ask: "ids", entityType: "t", ids: ["x"] }, "t", new AbortController().signal), /503/);
});
