// What the machine told in one step is told once to whoever shows it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { createClient } from "../dist/index.js";
import { together } from "../dist/telling.js";
import { TestServer } from "../dist/testing.js";

const key = (entityId) => ({ entityType: "note", entityId });

test("rows, lists, outbox and status are told once, everything else as often as it was told and in its order", () => {
  const told = [
    { told: "rows", about: [key("a"), key("b")] }, { told: "status", about: { pending: 2 } }, { told: "saved", about: ["1"] },
    { told: "outbox" }, { told: "rows", about: [key("b"), key("c")] }, { told: "subsets", about: [7] }, { told: "saved", about: ["2"] },
    { told: "outbox" }, { told: "subsets", about: [7, 8] }, { told: "status", about: { pending: 1 } },
  ];
  assert.deepEqual(together(told), [
    { told: "subsets", about: [7, 8] }, { told: "rows", about: [key("a"), key("b"), key("c")] },
    { told: "saved", about: ["1"] }, { told: "saved", about: ["2"] }, { told: "status", about: { pending: 1 } }, { told: "outbox" },
  ]);
});

test("a part of the stream with many changes makes a list look once", { timeout: 20_000 }, async () => {
  const server = new TestServer({ note: { fields: { id: { type: "text" }, title: { type: "text" } }, rows: [{ id: "n1", title: "" }] } });
  const wasm = readFileSync(new URL("../core/core_bg.wasm", import.meta.url));
  let frames = "";
  let stream;
  let gathers = false;
  // Gathers what the stream brings from a moment on, and hands it on in one part.
  const fetch = async (input, init) => {
    const response = await server.fetch(input, init);
    if (!String(input).includes("/live")) return response;
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    const gather = ({ done, value }) => {
      if (done) return undefined;
      if (gathers) frames += decoder.decode(value);
      else stream.enqueue(value);
      return reader.read().then(gather);
    };
    const body = new ReadableStream({ start(controller) { stream = controller; } });
    const whole = new Response(body, { headers: response.headers });
    // Closing the client ends it.
    reader.read().then(gather).catch(() => undefined);
    return whole;
  };
  const client = createClient({ ...server.options, fetch, wasm });
  const org = await client.org("acme");
  await new Promise((resolve) => { org.onStatus(({ connection, listed }) => { if (connection === "online" && listed) resolve(); }); });
  gathers = true;
  let looks = 0;
  org.onTold(({ told }) => { looks += Number(told === "rows"); });
  for (let n = 1; n <= 50; n += 1) server.write("note", "n1", { title: `change ${n}` });
  while (!frames.includes("change 50")) await new Promise((resolve) => setTimeout(resolve, 5));
  const seen = new Promise((resolve) => { org.collection("note").watch("n1", (row) => { if (row.title === "change 50") resolve(); }); });
  stream.enqueue(new TextEncoder().encode(frames));
  await seen;
  assert.equal(looks, 1);
  await client.close();
});
