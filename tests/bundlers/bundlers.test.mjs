// The examples as Vite and esbuild built them, in a real browser with the real server: live rows, and no file missing.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";

import { findChromium, openPage, startChromium, startDev, startServer } from "../browser/browser.mjs";

const built = process.env.ANTIPHON_EXAMPLES;
if (!built) throw new Error("needs ANTIPHON_EXAMPLES, which script/examples sets");
const path = findChromium();
const skip = path ? false : "needs Chromium";
let dev;
let chromium;

before(async () => {
  if (skip) return;
  [dev, chromium] = await Promise.all([startDev(), startChromium(path)]);
});

after(async () => {
  await chromium?.stop();
  await dev?.stop();
});

/** Starts Vite in the example's folder, and waits until it says its address. */
async function startVite(...words) {
  const vite = join(built, "node_modules/vite/bin/vite.js");
  const child = spawn(process.execPath, [vite, ...words, "--port", "0", "--host", "127.0.0.1"], {
    cwd: join(built, "vite"), env: { ...process.env, ANTIPHON: dev.info.api, NO_COLOR: "1" }, stdio: ["ignore", "pipe", "inherit"],
  });
  process.once("exit", () => child.kill());
  const url = await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const found = /http:\/\/127\.0\.0\.1:\d+\//.exec(line);
      if (found) resolve(found[0]);
    });
    child.once("exit", (code) => reject(new Error(`Vite ended with ${code}`)));
  });
  // A test that fails before it stops it must end as well.
  child.unref();
  child.stdout.unref();
  return { url, stop: () => new Promise((resolve) => { child.ref(); child.once("exit", resolve); child.kill(); }) };
}

/** Waits for rows, and for one that is written meanwhile. */
async function showsLiveRows(url, title) {
  const page = await openPage(chromium, url, 800);
  await page.until("document.querySelectorAll('#list li').length > 5");
  const headers = { authorization: `Bearer ${dev.info.tokens.admin}`, "content-type": "application/json" };
  const sql = `insert into pages(id, organization_id, title, archived) values (gen_random_uuid(), 'acme', '${title}', false)`;
  const answer = await fetch(`${dev.info.api}/dev/sql`, { method: "POST", headers, body: JSON.stringify({ sql }) });
  assert.equal(answer.status, 200);
  await page.until(`[...document.querySelectorAll('#list li')].some((item) => item.textContent === '${title}')`);
  const asked = await page.evaluate("performance.getEntriesByType('resource').map(({ name }) => name).filter((name) => name.includes('.wasm'))");
  assert.deepEqual(page.complaints(), []);
  await page.close();
  return asked.map((name) => new URL(name).pathname);
}

test("Vite builds the example, and finds the core by itself sdk_01", { skip }, async () => {
  const server = await startVite("preview");
  const [core, ...more] = await showsLiveRows(server.url, "by vite build");
  assert.deepEqual(more, []);
  assert.match(core, /^\/assets\/core_bg-[\w-]+\.wasm$/, "a name by its content, so that it may be cached for ever");
  await server.stop();
});

test("Vite serves the example in development sdk_01", { skip }, async () => {
  const server = await startVite();
  assert.equal((await showsLiveRows(server.url, "by vite dev")).length, 1);
  await server.stop();
});

test("esbuild builds the example, with the core as a file under a strict policy sdk_01 sdk_02", { skip }, async () => {
  const server = await startServer(join(built, "esbuild/out"), dev.info.api);
  const [core, ...more] = await showsLiveRows(server.url, "by esbuild");
  assert.deepEqual(more, []);
  assert.match(core, /^\/core_bg-\w+\.wasm$/);
  await server.stop();
});

test("the inline build is one plain script, and asks for no core sdk_01 sdk_02", { skip }, async () => {
  const server = await startServer(join(built, "esbuild/out"), dev.info.api);
  assert.deepEqual(await showsLiveRows(`${server.url}inline.html`, "inline"), []);
  assert.equal(readdirSync(join(built, "esbuild/out")).filter((name) => name.startsWith("inline")).length, 2);
  await server.stop();
});
