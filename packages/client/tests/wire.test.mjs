// Which way a stream comes, and when a better one is tried again.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Http } from "../dist/http.js";
import { Sockets } from "../dist/socket.js";
import { Token } from "../dist/token.js";
import { Wire } from "../dist/wire.js";
import { Line } from "./line.mjs";

beforeEach(() => { Line.all.length = 0; });

/** Something that opens streams, with what each of them came to. */
function world(fetcher, pace) {
  const wire = new Wire(new Sockets("http://host", () => Line, new Token(() => "t", "alice")), pace);
  const run = (org = "acme") => {
    const [ways, heard, abort] = [[], [], new AbortController()];
    const hearing = { heard: () => undefined, frame: (event) => heard.push(event) };
    const ended = wire.run({
      org, http: new Http("http://host", org, fetcher), from: { offset: 7, epoch: 1, access: "a" }, token: async () => "t",
      hearing, signal: abort.signal, came: (way) => ways.push(way),
    });
    return { ways, heard, ended, stop: () => abort.abort() };
  };
  return { run };
}

/** Lets everything that is ready happen. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 5));
const refuse = async () => { await settle(); Line.all.at(-1).onclose({ code: 1006 }); await settle(); };

const events = (signal, text = "event: offset\ndata: {}\n\n") => {
  const body = new ReadableStream({
    start: (controller) => {
      controller.enqueue(new TextEncoder().encode(text));
      signal.addEventListener("abort", () => controller.error(new Error("aborted")));
    },
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
};

test("a network that is down is no reason to go a slower way sdk_01", async () => {
  const { run } = world(async () => { throw new TypeError("no network"); });
  for (let time = 1; time <= 3; time += 1) {
    const { ended, ways } = run();
    await refuse();
    assert.deepEqual(await ended, { status: null, retryAfterMs: null });
    assert.deepEqual([Line.all.length, ways], [time, []], "a socket is tried each time");
  }
});

test("a socket that is refused while events come is left alone, and taken once it is there sdk_01", async () => {
  const { run } = world(async (_url, { signal }) => events(signal), { refusedMs: 40, lookMs: 10 });
  const one = run();
  await refuse();
  assert.deepEqual([one.ways, one.heard], [["events"], ["offset"]]);
  const two = run("globex");
  await settle();
  assert.deepEqual([two.ways, Line.all.length], [["events"], 1], "it is not asked again at once");
  while (Line.all.length < 2) await settle();
  Line.all[1].onopen();
  Line.all[1].hear({ kind: "welcome" });
  await Promise.all([one.ended, two.ended]);
  const again = run();
  await settle();
  Line.all[1].hear({ kind: "subscribed", id: "1" });
  assert.deepEqual([Line.all.length, again.ways], [2, ["socket"]]);
  Line.all[1].onclose({ code: 1001 });
  await again.ended;
});

test("what the socket does not take comes as events, and the socket is not blamed sdk_01", async () => {
  const { run } = world(async (_url, { signal }) => events(signal), { refusedMs: 60_000, lookMs: 10 });
  const one = run();
  await settle();
  const [line] = Line.all;
  line.onopen();
  line.hear({ kind: "welcome" });
  line.hear({ kind: "error", id: "1", code: "RATE_LIMITED" });
  await settle();
  assert.deepEqual(one.ways, ["events"]);
  const two = run("globex");
  await settle();
  line.hear({ kind: "subscribed", id: "2" });
  assert.deepEqual([two.ways, Line.all.length], [["socket"], 1]);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(one.ways, ["events"], "it stays there");
  for (const { stop } of [one, two]) stop();
  await Promise.all([one.ended, two.ended]);
  line.onclose({ code: 1006 });
});

test("a sign-in page in place of a stream is no stream, and is handed on as the end sdk_01", async () => {
  const { run } = world(async () => new Response("<html>event: change\ndata: 1\n\n</html>"));
  const one = run();
  await refuse();
  assert.deepEqual([await one.ended, one.ways, one.heard], [{ status: null, retryAfterMs: null }, [], []]);
});

test("a stream that is cut in the middle of a frame ends without it sdk_01", async () => {
  const whole = "event: change\ndata: {\"activityId\":8}\n\nevent: change\ndata: {\"activityId\":9}\n\n";
  const { run } = world(async () => new Response(whole.slice(0, -1), { headers: { "content-type": "text/event-stream" } }));
  const one = run();
  await refuse();
  await one.ended;
  assert.deepEqual(one.heard, ["change"]);
});
