// The pages of the guide, run as they stand there.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, dirname } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { binary, findChromium, openPage, startChromium, startDev } from "./browser.mjs";
import { findSdk } from "./site.mjs";

const path = findChromium();
const skip = path && findSdk() ? false : "needs Chromium and the built SDK";
const root = new URL("../../", import.meta.url);
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

test("the ten lines of the guide and of the README are the page that antiphon dev serves sdk_05", () => {
  const guide = readFileSync(new URL("docs/guide/sdk.md", root), "utf8");
  const [, page] = /```html\n(.*?)```/s.exec(guide);
  assert.equal(page, readFileSync(new URL("crates/server/assets/list.html", root), "utf8"));
  assert.ok(page.trim().split("\n").length <= 10);
  assert.ok(readFileSync(new URL("README.md", root), "utf8").includes(`\`\`\`html\n${page}\`\`\``));
});

test("the ten lines show live rows, without npm and without a build sdk_05", { skip }, async () => {
  const page = await openPage(chromium, `${dev.info.api}/sdk/list.html`, 800);
  await page.until("document.querySelectorAll('#list li').length > 5");
  const sql = "insert into pages(id, organization_id, title) values (gen_random_uuid(), 'acme', $t$<img src=x onerror=alert(1)>$t$)";
  const headers = { authorization: `Bearer ${dev.info.tokens.admin}`, "content-type": "application/json" };
  const answer = await fetch(`${dev.info.api}/dev/sql`, { method: "POST", headers, body: JSON.stringify({ sql }) });
  assert.equal(answer.status, 200);
  await page.until("[...document.querySelectorAll('#list li')].some((item) => item.textContent === '<img src=x onerror=alert(1)>')");
  assert.equal(await page.evaluate("document.querySelectorAll('#list img').length"), 0);
});

test("a client in Node speaks with the real server as the guide to testing says sdk_07", { skip: findSdk() ? false : "needs the built SDK" }, () => {
  const guide = readFileSync(new URL("docs/guide/testing-your-application.md", root), "utf8");
  const [, text] = /```js real\n(.*?)```/s.exec(guide);
  // Inside the package, so that its own name leads to it.
  const file = new URL("packages/client/dist/guide/real.mjs", root);
  mkdirSync(new URL(".", file), { recursive: true });
  writeFileSync(file, text);
  const env = { ...process.env, PATH: `${dirname(binary())}${delimiter}${process.env.PATH}` };
  assert.equal(execFileSync(process.execPath, [fileURLToPath(file)], { encoding: "utf8", timeout: 60_000, env }), "applied\n");
});
