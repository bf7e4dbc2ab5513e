// The WebAssembly client in Chromium, loaded as a page loads it and under a strict content security policy.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";

import { findChromium, openPage, startChromium } from "../browser/browser.mjs";
import { coreFolder, vectors } from "./core.mjs";

const path = findChromium();
const skip = path ? false : "needs Chromium";
// Compiling WebAssembly is all that is asked for beyond one's own files: no eval, nothing inline.
const policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'";
const page = ["text/html", () => "<!doctype html><title>core</title><script type=module src=/page.js></script>"];
const script = `
import init, { Face, version } from "/core.js";
import { judge } from "/vectors.mjs";
await init();
window.core = { version: version(), judge: (file, text) => judge(() => new Face(), file, text) };
`;
const places = {
  "/": page,
  "/page.js": ["text/javascript", () => script],
  "/vectors.mjs": ["text/javascript", () => readFile(fileURLToPath(new URL("vectors.mjs", import.meta.url)))],
  "/core.js": ["text/javascript", () => readFile(join(coreFolder, "core.js"))],
  "/core_bg.wasm": ["application/wasm", () => readFile(join(coreFolder, "core_bg.wasm"))],
};
let server;
let chromium;
let opened;

before(async () => {
  if (skip) return;
  server = createServer(async (request, response) => {
    const [type, content] = places[request.url] ?? [];
    if (!type) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": type, "content-security-policy": policy }).end(await content());
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  chromium = await startChromium(path);
  opened = await openPage(chromium, `http://127.0.0.1:${server.address().port}/`, 1280);
  await opened.until("Boolean(window.core)");
});

after(async () => {
  await chromium?.stop();
  server?.close();
});

for (const [name, text] of vectors) {
  test(`${name} is answered in Chromium as natively sdk_01 core_11`, { skip }, async () => {
    const given = await opened.evaluate(`window.core.judge(${JSON.stringify(name)}, ${JSON.stringify(text)})`);
    assert.deepEqual(given.differences, []);
    assert.equal(given.scenarios, JSON.parse(text).scenarios.length);
    assert.ok(given.steps > given.scenarios, "every scenario has steps");
  });
}

test("a page that allows WebAssembly and nothing else has nothing to complain of sdk_01", { skip }, async () => {
  const complaints = opened.complaints().filter((text) => !text.includes("favicon.ico"));
  assert.deepEqual(complaints, []);
  assert.ok(JSON.parse(await opened.evaluate("window.core.version")).format > 0);
});
