// JSON taken apart as it is written.

import assert from "node:assert/strict";
import { test } from "node:test";

import { membersOf, partsOf } from "../dist/raw.js";

test("parts stay as they are written, whatever they hold", () => {
  const parts = ["1.00000000000000000001", "\"a,]}\\\\\\\"\"", "{\"b\": [1, {}], \"c\": \"\\\\\"}", "[]", "null"];
  assert.deepEqual(partsOf(` [${parts.join(" , ")}] `), parts);
  assert.deepEqual(partsOf("{}"), []);
  const text = `{"a":1, "activity" : ${parts[2]},"activities":[]}`;
  assert.deepEqual([...membersOf(text)], [["a", "1"], ["activity", parts[2]], ["activities", "[]"]]);
  for (let size = 1; size < text.length; size += 1) assert.equal(partsOf(text.slice(0, size)), undefined);
});

test("a long text without an end takes no long time", () => {
  const begun = performance.now();
  assert.equal(partsOf(`["${"\\\\\\\"a".repeat(1 << 20)}`), undefined);
  assert.ok(performance.now() - begun < 5_000);
});
