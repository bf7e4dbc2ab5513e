// The stream as one answer after the other: what the machine hears, and where the next begins.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Http } from "../dist/http.js";
import { poll } from "../dist/longpoll.js";

const FROM = { offset: 7, epoch: 1, access: "a" };
const more = (activities, offset, upToDate, confirmed) => JSON.stringify({ activities, offset, epoch: 1, access: "a", upToDate, confirmed });
const change = (activityId, last) => ({ activityId, commit: { last } });

/** Polls a server that gives these answers; says what was heard and asked. */
async function polled(answers, mayEnd = () => false) {
  const [asked, heard] = [[], []];
  const fetcher = async (url) => {
    asked.push(Number(new URL(url).searchParams.get("offset")));
    const answer = answers.shift() ?? new Response("", { status: 503, headers: { "retry-after": "3" } });
    return typeof answer === "string" ? new Response(answer) : answer;
  };
  const hearing = { heard: () => undefined, frame: (event, data) => heard.push([event, data]) };
  const http = new Http("http://host", "acme", fetcher);
  const { signal } = new AbortController();
  const end = await poll(FROM, { http, token: async () => "t", hearing, signal, mayEnd }).catch((error) => error);
  return { asked, heard, end };
}

test("each answer is asked for where the one before ended, and refusals are handed on sy_07", async () => {
  const { asked, heard, end } = await polled([more([change(9, true)], 12, true), more([change(13, true)], 13, true, ["x"])]);
  assert.deepEqual(asked, [7, 12, 13]);
  assert.deepEqual(heard.map(([event]) => event), ["change", "offset", "change", "confirm", "offset"]);
  assert.deepEqual(JSON.parse(heard[3][1]), { transactionIds: ["x"], offset: 13 });
  assert.deepEqual(JSON.parse(heard[4][1]), { offset: 13, epoch: 1, access: "a", upToDate: true, asOf: null, confirmed: ["x"] });
  assert.deepEqual(end, { status: 503, retryAfterMs: 3_000, code: null });
});

test("a transaction that an answer cuts is vouched for with its rest sy_07", async () => {
  const { heard } = await polled([more([change(8, false)], 8, false, ["x"]), more([change(9, true)], 9, true)]);
  assert.deepEqual(heard.map(([event]) => event), ["change", "change", "confirm", "offset"]);
});

test("numbers reach the machine with all their digits", async () => {
  const activity = "{\"activityId\":8,\"data\":{\"big\":12345678901234567890.10},\"commit\":{\"last\":true}}";
  const { heard } = await polled([`{"activities":[${activity}],"offset":8,"epoch":1,"access":"a","upToDate":true}`]);
  assert.deepEqual(heard[0], ["change", activity]);
});

test("an answer cut in half and a page that is none move nothing sy_07", async () => {
  const whole = more([change(9, true)], 12, true);
  for (const bad of [whole.slice(0, 40), "<html>sign in to the hotel</html>"]) {
    const { heard, end } = await polled([bad]);
    assert.deepEqual([heard, end instanceof Error], [[], true]);
  }
});

test("a reset is handed on, and what is better is tried from where the last answer ended", async () => {
  const reset = "{\"code\":\"EPOCH_CHANGED\"}";
  const { heard } = await polled([new Response(reset, { status: 410 })]);
  assert.deepEqual(heard, [["reset", reset]]);
  const { end } = await polled([more([change(8, false)], 8, false), more([], 12, true)], () => true);
  assert.deepEqual(end, { ...FROM, offset: 12 });
});
