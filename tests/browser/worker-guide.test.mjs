// The snippets of docs/guide/service-workers-and-csp.md: they are those of the example, and run as they stand there.

import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { findChromium, openPage, startChromium, startDev, startServer } from "./browser.mjs";
import { findSdk } from "./site.mjs";

const path = findChromium();
const skip = path && findSdk() ? false : "needs Chromium and the built SDK";
const guide = readFileSync(new URL("../../docs/guide/service-workers-and-csp.md", import.meta.url), "utf8");
const list = fileURLToPath(new URL("../../examples/list", import.meta.url));
const snippets = new Map([...guide.matchAll(/```\w+ ([^\n]+)\n(.*?)```/gs)].map(([, name, text]) => [name, text]));
const folder = mkdtempSync(join(tmpdir(), "antiphon-guide-"));
const STATE = "document.getElementById('state').textContent";
let dev;
let chromium;

before(async () => {
  if (skip) return;
  [dev, chromium] = await Promise.all([startDev(), startChromium(path)]);
});

after(async () => {
  await chromium?.stop();
  await dev?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** A copy of the example, where `edit` makes another text of a file. */
function copy(name) {
  const place = join(folder, name);
  cpSync(list, place, { recursive: true });
  cpSync(join(list, "../server.mjs"), join(place, "server.mjs"));
  const edit = (file, change) => {
    const before = readFileSync(join(place, file), "utf8");
    const text = change(before);
    assert.notEqual(text, before, `nothing was changed in ${file}`);
    writeFileSync(join(place, file), text);
  };
  return { edit, serve: () => startServer(place, dev.info.api, 0, join(place, "server.mjs")) };
}

test("what the guide shows is what the example runs desk_04", () => {
  assert.deepEqual([...snippets.keys()], ["worker.js", "register", "worker.js, more", "offer", "policy"]);
  assert.equal(snippets.get("worker.js"), readFileSync(join(list, "worker.js"), "utf8"));
  assert.ok(readFileSync(join(list, "list.js"), "utf8").endsWith(snippets.get("register")));
  assert.doesNotMatch(snippets.get("worker.js"), /"\/v1/);
});

test("a new release is offered, is loaded in every tab, and loses nothing desk_04", { skip }, async () => {
  const site = copy("release");
  site.edit("worker.js", (text) => text + snippets.get("worker.js, more"));
  site.edit("list.js", (text) => text + snippets.get("offer"));
  const server = await site.serve();
  const [one, other] = [await openPage(chromium, server.url, 800), await openPage(chromium, server.url, 800)];
  for (const page of [one, other]) {
    await page.evaluate("navigator.serviceWorker.ready.then(() => undefined)");
    // From the second time on, the worker's files are what is shown.
    await page.reload();
    await page.until("navigator.serviceWorker.controller && document.querySelectorAll('li').length > 5");
  }
  await one.evaluate("document.getElementById('title').value = 'before the release'; document.querySelector('form button').click()");
  await one.until(`${STATE} === 'online'`);

  site.edit("worker.js", (text) => text.replace("list-1", "list-2"));
  site.edit("index.html", (text) => text.replace("<h1>", "<h1 id=new>"));
  await one.reload();
  assert.equal(await one.evaluate("document.getElementById('new')"), null, "the old release stays until it is told to go");
  await one.evaluate("navigator.serviceWorker.getRegistration().then((found) => found.update()).then(() => undefined)");
  const button = "[...document.querySelectorAll('button')].find((one) => one.textContent.startsWith('A new version'))";
  await one.until(button);
  await one.evaluate(`${button}.click()`);
  for (const page of [one, other]) {
    await page.until("document.getElementById('new') && document.querySelectorAll('li').length > 5");
    await page.until("[...document.querySelectorAll('li input')].some(({ value }) => value === 'before the release')");
    assert.deepEqual(page.complaints(), []);
  }
  assert.deepEqual(await one.evaluate("caches.keys()"), ["list-2"]);
  await server.stop();
});

// Each change of the policy, and whether the page lives with it.
const POLICIES = [
  ["as it stands", (policy) => policy, true],
  ["without the server's address", (policy) => policy.replace(/ http:[^;]+/, ""), false],
  ["without leave to compile the core", (policy) => policy.replace(" 'wasm-unsafe-eval'", ""), false],
  ["without the policy for the worker's address", (policy) => policy.replace("trusted-types worker", "trusted-types 'none'"), false],
];

for (const [at, [claim, change, lives]] of POLICIES.entries()) {
  test(`the policy of the guide ${claim} is ${lives ? "enough" : "refused"} sdk_02`, { skip }, async () => {
    const policy = snippets.get("policy").trim().split(": ")[1]
      .replace("https://sync.example.com", dev.info.api).replace("wss://sync.example.com", dev.info.api.replace("http", "ws"));
    const site = copy(`policy-${at}`);
    site.edit("server.mjs", (text) => text.replace(/const POLICY = .*?;\n/s, `const POLICY = ${JSON.stringify(change(policy))};\n`));
    site.edit("list.js", (text) => text.replace("url: location.origin", `url: ${JSON.stringify(dev.info.api)}`));
    const server = await site.serve();
    const page = await openPage(chromium, server.url, 800);
    if (lives) {
      await page.until(`${STATE} === 'online' && document.querySelectorAll('li').length > 5`);
      await page.evaluate("navigator.serviceWorker.ready.then(() => undefined)");
      assert.deepEqual(page.complaints(), []);
    } else {
      const end = Date.now() + 30_000;
      while (page.complaints().length === 0) {
        assert.ok(Date.now() < end, "nothing was refused");
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      assert.match(page.complaints().join("\n"), /Content Security Policy|Trusted ?Type|TrustedType/i);
    }
    await page.close();
    await server.stop();
  });
}
