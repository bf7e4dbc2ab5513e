// The page of `script/bench sdk`: fills a store, and measures the SDK beside what a browser needs for the same anyway.
// Law: each measurement has a page of its own, and its floor works on the same texts. No server: requests are answered in
// the page, so that nothing but the page is measured.

import * as antiphon from "/client.js";
import { TestServer } from "/dist/testing.js";

const FRAMES_BYTES = 65_536;
const asked = new URLSearchParams(location.search);
const ROWS = Number(asked.get("rows"));
const FIELDS = {
  id: { type: "text" }, organization_id: { type: "text" }, title: { type: "text" }, body: { type: "text" },
  status: { type: "text" }, votes: { type: "bigint" }, archived: { type: "boolean" }, position: { type: "text" },
  updated_at: { type: "text" }, note: { type: "text" },
};

/** The row of this number; titles come in another order than ids. */
function row(number) {
  return {
    id: `row-${String(number).padStart(6, "0")}`, organization_id: "acme", title: `${String((number * 7919) % ROWS).padStart(6, "0")} of the list`,
    body: `What the row says, of which there is a sentence or two, as people write them. ${number}`, status: number % 3 ? "open" : "done",
    votes: number % 100, archived: false, position: `a${number}`, updated_at: "2026-01-31T12:00:00.000000Z", note: "",
  };
}

const rows = () => Array.from({ length: ROWS }, (_, at) => row(at));

/** A client of a server that is in this page; `live` stands in for its stream. */
function connect(application, server, live) {
  const fetcher = (input, init) => {
    if (!server) return Promise.reject(new TypeError("no network"));
    const url = new URL(String(input));
    return live && url.pathname.endsWith("/live") ? live() : server.fetch(input, init);
  };
  return antiphon.createClient({ url: "http://bench.invalid", user: "bench", getToken: () => "bench", application, fetch: fetcher });
}

/** Resolves with the list, and how to let go of it, once it holds the first `limit` rows, or all of them for 0. */
function listed(org, limit) {
  const count = limit || ROWS;
  const query = org.collection("row").query({ order: ["title"], ...(limit ? { limit } : {}) });
  return new Promise((resolve) => {
    const stop = query.subscribe(({ complete, rows }) => {
      if (complete && rows.length === count) queueMicrotask(() => resolve({ query, stop }));
    });
  });
}

function request(asked) {
  return new Promise((resolve, reject) => { asked.onsuccess = () => resolve(asked.result); asked.onerror = () => reject(asked.error); });
}

async function databaseOf(application) {
  const found = (await indexedDB.databases()).find(({ name }) => name.startsWith(`antiphon:${application}:`));
  return found && request(indexedDB.open(found.name));
}

/** Waits until all rows are in the store. */
async function stored(application) {
  for (;;) {
    const database = await databaseOf(application);
    const count = database ? await request(database.transaction("rows").objectStore("rows").count()) : 0;
    database?.close();
    if (count >= ROWS) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function open(application, live) {
  const server = new TestServer({ row: { fields: FIELDS, rows: rows() } }, "bench");
  const client = connect(application, server, live);
  const org = await client.org("acme");
  const { stop } = await listed(org, 0);
  stop();
  await stored(application);
  return { client, org };
}

/** Fills the store, and beside it a plain one with the same texts. */
async function fill() {
  const { client } = await open("start");
  await client.close();
  const from = await databaseOf("start");
  const texts = await request(from.transaction("rows").objectStore("rows").getAll());
  const asked = indexedDB.open("plain", 1);
  asked.onupgradeneeded = () => asked.result.createObjectStore("rows");
  const to = await request(asked);
  const transaction = to.transaction("rows", "readwrite");
  texts.forEach((text, at) => transaction.objectStore("rows").put(text, at));
  await new Promise((resolve) => { transaction.oncomplete = resolve; });
  return texts.length;
}

/** From making the client to a list of all rows, without network. */
async function start(limit) {
  const began = performance.now();
  const org = await connect("start").org("acme");
  const opened = performance.now();
  await listed(org, limit);
  return { ms: performance.now() - began, openMs: opened - began };
}

/** The same rows, read and parsed and sorted, by hand. */
async function startFloor() {
  const began = performance.now();
  const database = await request(indexedDB.open("plain"));
  const texts = await request(database.transaction("rows").objectStore("rows").getAll());
  const parsed = texts.map((text) => JSON.parse(text)).sort((one, other) => (one.data?.title < other.data?.title ? -1 : 1));
  return { ms: performance.now() - began, rows: parsed.length };
}

/** Activities as the stream brings them, in parts of 64 KiB; the last one is of the first row. */
function frames(count) {
  const encoder = new TextEncoder();
  const texts = Array.from({ length: count }, (_, at) => {
    const number = at === count - 1 ? 0 : (at * 31) % ROWS;
    const activity = {
      activityId: at + 1, entityType: "row", entityId: row(number).id, action: "update", data: { ...row(number), votes: 1_000 + at },
      changedKeys: ["votes"], unchanged: [], omitted: {}, schema: 1,
      tx: { transactionId: `${String(Date.now() + at).padStart(13, "0")}.0000.sql-${at}`, sourceId: "sql", actor: null, changedField: null },
      createdAt: "2026-01-31T12:00:00.000000Z", commit: { lsn: "0/1", seq: 0, last: true, xid: String(5_000_000 + at) },
    };
    return `id: ${at + 1}\nevent: change\ndata: ${JSON.stringify(activity)}\n\n`;
  });
  const parts = [""];
  for (const text of texts) {
    if (parts.at(-1).length + text.length > FRAMES_BYTES) parts.push("");
    parts[parts.length - 1] += text;
  }
  return parts.map((text) => encoder.encode(text));
}

/** How long `count` activities take until the last of them is seen; `limit`: of the list that is on screen, null without. */
async function apply(count, limit) {
  let stream;
  const body = () => new ReadableStream({
    start(controller) {
      stream = controller;
      controller.enqueue(new TextEncoder().encode(": here\n\n"));
    },
  });
  const live = async () => new Response(body(), { status: 200, headers: { "content-type": "text/event-stream" } });
  const { org } = await open("apply", live);
  const collection = org.collection("row");
  if (limit !== null) await listed(org, limit);
  while (org.status.connection !== "online") await new Promise((resolve) => setTimeout(resolve, 20));
  const parts = frames(count);
  const done = new Promise((resolve) => {
    collection.watch(row(0).id, (now) => { if (now.votes === 1_000 + count - 1) resolve(); });
  });
  const began = performance.now();
  for (const part of parts) stream.enqueue(part);
  await done;
  return { ms: performance.now() - began };
}

/** The same frames, decoded, parsed and put into a map. */
async function applyFloor(count) {
  const parts = frames(count);
  const decoder = new TextDecoder();
  const kept = new Map();
  const began = performance.now();
  for (const part of parts) {
    for (const event of decoder.decode(part).split("\n\n")) {
      const at = event.indexOf("data: ");
      if (at < 0) continue;
      const activity = JSON.parse(event.slice(at + 6));
      kept.set(activity.entityId, activity.data);
    }
  }
  return { ms: performance.now() - began, rows: kept.size };
}

const painted = () => new Promise((resolve) => {
  requestAnimationFrame(() => {
    // What is posted in a frame comes after it was painted.
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => { port1.close(); resolve(); };
    port2.postMessage(null);
  });
});

function lines(ids) {
  document.body.replaceChildren(...ids.map((id) => Object.assign(document.createElement("p"), { id, textContent: id })));
}

/** Milliseconds from an edit to its paint, and of the edit's own call, for each of `count` edits of rows on screen. */
async function paint(count, limit) {
  const { org } = await open("paint");
  const collection = org.collection("row");
  const { query } = await listed(org, limit);
  const ids = query.snapshot.ids.slice(0, 50);
  lines(ids);
  const show = ({ rows: now }) => {
    for (const { id, note } of now.slice(0, 50)) {
      const line = document.getElementById(id);
      if (line && line.textContent !== note) line.textContent = note;
    }
  };
  query.subscribe(show);
  return edits(count, (at) => {
    collection.update(ids[at % 50], { note: `note ${at}` });
  }, (at) => document.getElementById(ids[at % 50]).textContent === `note ${at}`);
}

/** The same lines changed by hand. */
async function paintFloor(count) {
  const ids = Array.from({ length: 50 }, (_, at) => row(at).id);
  lines(ids);
  return edits(count, (at) => {
    document.getElementById(ids[at % 50]).textContent = `note ${at}`;
  }, () => true);
}

async function edits(count, edit, isShown) {
  const [toPaint, calls] = [[], []];
  for (let at = 0; at < count; at += 1) {
    // At a moment of no frame, as people type.
    await new Promise((resolve) => setTimeout(resolve, (at * 7) % 23));
    const began = performance.now();
    edit(at);
    calls.push(performance.now() - began);
    do await painted(); while (!isShown(at));
    toPaint.push(performance.now() - began);
  }
  return { toPaint, calls };
}

window.bench = { fill, start, startFloor, apply, applyFloor, paint, paintFloor };
