// The WebAssembly client in Node: the same answers as the machine gives natively.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { test } from "node:test";

import { coreFolder, vectors } from "./core.mjs";
import { difference, judge } from "./vectors.mjs";

const core = await import(pathToFileURL(join(coreFolder, "core.js")).href);
core.initSync({ module: readFileSync(join(coreFolder, "core_bg.wasm")) });
const newFace = () => new core.Face();

for (const [name, text] of vectors) {
  test(`${name} is answered in Node as natively sdk_01 core_11`, () => {
    const { differences, scenarios, steps } = judge(newFace, name, text);
    assert.deepEqual(differences, []);
    assert.ok(scenarios > 0 && steps > 0, "there is something to judge");
  });
}

test("a wrong expectation is found, wherever it stands sdk_01", () => {
  const [name, text] = vectors[0];
  const vector = JSON.parse(text);
  vector.scenarios[0].steps[0].expect.wakeAtMs = -1;
  assert.equal(judge(newFace, name, JSON.stringify(vector)).differences.length, 1);
  assert.match(difference({ a: [1, { b: 2 }] }, { a: [1, {}] }, ""), /\/a\/1\/b is too much/);
  assert.match(difference({}, { a: null }, ""), /\/a is missing/);
  assert.equal(difference({ a: 1, b: [null] }, { b: [null], a: 1 }, ""), undefined);
});

test("a call that cannot be read is answered and changes nothing sdk_01", () => {
  const face = newFace();
  for (const call of ["", "{", "{\"do\":\"fly\"}", "\u0000", "{\"do\":\"tick\"}", "[".repeat(100_000)]) {
    assert.deepEqual(Object.keys(JSON.parse(face.call(call))), ["error"]);
  }
  const [name, text] = vectors[0];
  assert.deepEqual(judge(() => face, name, JSON.stringify({ ...JSON.parse(text), scenarios: JSON.parse(text).scenarios.slice(0, 1) })).differences, []);
});

test("text of every kind crosses unchanged sdk_01", () => {
  const face = newFace();
  const owner = { user: "\u00fc\u{1f469}\u200d\u{1f680}\u0000\u2028", organization: "acme" };
  const config = { source: "a", seed: 1, deleteAsks: true, subsetsBytesMax: 1000 };
  face.call(JSON.stringify({ now: { wallMs: 1, tickMs: 0 }, do: "start", config, records: [] }));
  const { result } = JSON.parse(face.call(JSON.stringify({ do: "export", owner })));
  assert.deepEqual({ user: result.user, organization: result.organization }, owner);
});

test("the build says which data it reads sdk_07", () => {
  const facts = JSON.parse(core.version());
  assert.deepEqual(Object.keys(facts), ["format", "build"]);
  assert.ok(Number.isInteger(facts.format));
});
