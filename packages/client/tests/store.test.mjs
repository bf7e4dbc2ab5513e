// The laws of stores over memory, and the names of stores; tests/browser has the same laws over IndexedDB.

import assert from "node:assert/strict";
import { test } from "node:test";

import { memoryStore, storeName } from "../dist/store.js";
import { law, observe } from "./store-law.mjs";

test("a store in memory keeps the laws of stores core_11", async () => {
  assert.deepEqual(await observe(memoryStore()), law);
});

test("no two of application, server, user and organisation share a store core_18", () => {
  const names = [
    ["app", "https://a", "alice", "acme"], ["app", "https://a", "alice:acme", ""], ["app", "https://a", "ali", "ce:acme"],
    ["app", "https://b", "alice", "acme"], ["app:https", "//a", "alice", "acme"], ["app", "https://a", "bob", "acme"],
  ].map((parts) => storeName(...parts));
  assert.equal(new Set(names).size, names.length);
  assert.equal(storeName("app", "https://a/", "u", "o"), storeName("app", "https://a", "u", "o"));
});
