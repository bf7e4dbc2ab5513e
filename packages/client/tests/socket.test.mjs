// One WebSocket for all organisations: what is said over it, what the machine hears, and what it ends with.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Sockets } from "../dist/socket.js";
import { Token } from "../dist/token.js";
import { Line } from "./line.mjs";

const jwt = (endsInMs, number) => {
  const claims = JSON.stringify({ sub: "alice", exp: (Date.now() + endsInMs) / 1000, number });
  return `e30.${Buffer.from(claims).toString("base64url")}.x`;
};

function begin(provider = () => "opaque") {
  Line.all.length = 0;
  const token = new Token(provider, "alice");
  const sockets = new Sockets("https://host/under/", () => Line, token);
  const subscribe = async (org, from = { offset: 7, epoch: 1, access: "a" }) => {
    const [heard, abort] = [[], new AbortController()];
    const hearing = { heard: () => heard.push("heard"), frame: (event, data) => heard.push([event, data]) };
    const ended = sockets.subscribe({ org, from, token: await token.current(), hearing, signal: abort.signal });
    return { heard, ended, leave: () => abort.abort(), line: Line.all.at(-1) };
  };
  return { subscribe };
}

async function welcomed(more) {
  const { subscribe } = begin(more);
  const one = await subscribe("acme");
  one.line.onopen();
  one.line.hear({ kind: "welcome" });
  return { subscribe, ...one };
}

test("all organisations share one socket, and each hears its own frames sdk_01", async (t) => {
  const { subscribe, line, ...one } = await welcomed();
  t.after(() => line.onclose?.({ code: 1006 }));
  const two = await subscribe("globex", { offset: 9, epoch: 1, access: "b" });
  assert.deepEqual([Line.all.length, line.url, line.protocol], [1, "wss://host/under/v1/ws", "antiphon.v1"]);
  assert.deepEqual(line.said, [
    { kind: "hello", token: "opaque" },
    { kind: "subscribe", id: "1", org: "acme", offset: 7, epoch: 1, access: "a" },
    { kind: "subscribe", id: "2", org: "globex", offset: 9, epoch: 1, access: "b" },
  ]);
  line.hear({ kind: "subscribed", id: "2" });
  const activity = "{\"activityId\":10,\"data\":{\"n\":1.00000000000000000001}}";
  line.hear(`{"kind":"change","id":"2","activity":${activity}}`);
  line.hear({ kind: "offset", id: "1", offset: 8 });
  assert.deepEqual(two.heard, ["heard", ["change", activity]]);
  assert.deepEqual(one.heard.map(([event]) => event), ["offset"]);
  line.hear({ kind: "notice", reason: "shutdown" });
  assert.deepEqual([one.heard.at(-1)[0], two.heard.at(-1)[0]], ["notice", "notice"], "what is about the connection is for all");
  two.leave();
  assert.deepEqual(line.said.at(-1), { kind: "unsubscribe", id: "2" });
});

test("a socket that ends before its greeting was refused; a token that is refused is told sdk_01", async () => {
  for (const [code, expected] of [[1006, "refused"], [4403, "refused"], [4401, { status: 401, retryAfterMs: null, code: "UNAUTHENTICATED" }]]) {
    const one = await begin().subscribe("acme");
    one.line.onopen();
    one.line.onclose({ code });
    assert.deepEqual(await one.ended, expected);
  }
});

test("each close code is what the machine expects, and the next socket is another sdk_01", async () => {
  for (const [code, status] of [[1001, null], [1006, null], [1013, null], [4401, 401], [4403, 403], [4408, null], [4429, 429]]) {
    const { subscribe, line, ended } = await welcomed();
    line.onclose({ code });
    const { code: told, ...end } = await ended;
    assert.deepEqual(end, { status, retryAfterMs: null }, `${code}`);
    assert.equal(told === undefined, status === null, "whoever is refused is told why");
    const next = await subscribe("acme");
    assert.notEqual(next.line, line);
    next.line.onclose({ code: 1006 });
  }
});

test("a subscription that the socket does not take ends alone sdk_01", async (t) => {
  const { subscribe, line, ...one } = await welcomed();
  t.after(() => line.onclose?.({ code: 1006 }));
  const two = await subscribe("elsewhere");
  line.hear({ kind: "error", id: "2", code: "NOT_A_MEMBER" });
  assert.equal(await two.ended, "notHere");
  line.hear({ kind: "offset", id: "1", offset: 8 });
  assert.equal(one.heard.length, 1);
});

test("a new token is shown in the same socket before the old one ends sdk_01", async (t) => {
  let number = 0;
  // The first is due at once, thirty seconds before it ends.
  const { line } = await welcomed(() => jwt((number += 1) === 1 ? 30_300 : 3_600_000, number));
  t.after(() => line.onclose?.({ code: 1006 }));
  while (line.of("auth").length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const claims = (token) => JSON.parse(Buffer.from(token.split(".")[1], "base64url"));
  assert.deepEqual([claims(line.of("hello")[0].token).number, claims(line.of("auth")[0].token).number], [1, 2]);
  line.hear({ kind: "welcome" });
  assert.equal(line.of("subscribe").length, 1, "subscriptions go on");
  assert.equal(line.closed, false);
});

test("what was read is acknowledged, and nothing is said faster than the server reads sdk_01", async (t) => {
  const { subscribe, line } = await welcomed();
  t.after(() => line.onclose?.({ code: 1006 }));
  for (let id = 1; id <= 129; id += 1) line.hear(`{"kind":"change","id":"1","activity":{"activityId":${id}}}`);
  assert.deepEqual(line.of("ack").map(({ offset }) => offset), [64, 128]);
  for (let at = 0; at < 60; at += 1) void subscribe(`org ${at}`);
  await new Promise((resolve) => setImmediate(resolve));
  const atOnce = line.said.length;
  assert.ok(atOnce <= 40, `${atOnce} at once`);
  while (line.of("subscribe").length < 61) await new Promise((resolve) => setTimeout(resolve, 20));
});

test("a socket that nobody needs is closed, and who comes back at once finds it sdk_01", async () => {
  const { subscribe, line, leave } = await welcomed();
  leave();
  const again = await subscribe("acme");
  assert.equal(again.line, line);
  again.leave();
  while (!line.closed) await new Promise((resolve) => setTimeout(resolve, 20));
});
