// The client that brings the core along: nothing is fetched and no file is read for it.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as plain from "@antiphon/client";
import * as inline from "@antiphon/client/inline";
import { TestServer } from "@antiphon/client/testing";

test("the inline build needs no core to be given, and is the same package else sdk_01", { timeout: 20_000 }, async () => {
  assert.deepEqual(Object.keys(inline).sort(), Object.keys(plain).sort());
  assert.equal(inline.AntiphonError, plain.AntiphonError);
  const server = new TestServer({ note: { fields: { id: { type: "text" } }, rows: [{ id: "1" }] } });
  const client = inline.createClient(server.options);
  const notes = (await client.org("acme")).collection("note");
  await new Promise((ready) => notes.query().subscribe(({ complete, ids }) => complete && ready(assert.deepEqual(ids, ["1"]))));
  await client.close();
});
