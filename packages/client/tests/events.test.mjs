// Server-sent events, however the network cuts them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { EventReader } from "../dist/events.js";

test("events are the same wherever the text is cut str_08", () => {
  const stream = "retry: 250\nid: 7\nevent: change\ndata: {\"a\":\ndata: \"ü\"}\n\n:\n\r\nevent: none\n\ndata:x\r\r"
    + "event: confirm\r\ndata: y\r\n\r\nevent: confirm\ndata: unfinished\n";
  const expected = [
    { retryMs: 250 }, { event: "change", data: "{\"a\":\n\"ü\"}" }, "alive", { event: "", data: "x" },
    { event: "confirm", data: "y" },
  ];
  for (let size = 1; size <= stream.length; size += 1) {
    const reader = new EventReader();
    const words = [];
    for (let at = 0; at < stream.length; at += size) words.push(...reader.push(stream.slice(at, at + size)));
    assert.deepEqual(words, expected, `cut every ${size} characters`);
  }
});

test("an event without an end is given up", () => {
  const reader = new EventReader();
  const part = "x".repeat(1 << 20);
  let words = [];
  for (let mebi = 0; words !== undefined && mebi < 64; mebi += 1) words = reader.push(part);
  assert.equal(words, undefined);
});
