// TanStack Query over the SDK in a real browser, with the real server: React's adapter, offline, reload and back.

import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { findChromium, openPage, startChromium, startDev, startServer } from "./browser.mjs";
import { bundle, canBundle } from "./bundle.mjs";
import { findSdk } from "./site.mjs";

const path = findChromium();
const skip = path && findSdk() && canBundle ? false : "needs Chromium and the built SDK";
const PAGE_ID = "00000000-0000-4001-8001-000000000001";
const folder = mkdtempSync(join(tmpdir(), "antiphon-tanstack-"));
const SCRIPT = `
import { createClient } from "@antiphon/client";
import { liveQueries } from "@antiphon/tanstack-query";
import { QueryClient, QueryClientProvider, useMutation, useQuery } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

const getToken = async () => (await (await fetch("/dev/session")).json()).tokens.alice;
const acme = await createClient({ url: location.origin, user: "alice", getToken, wasm: "/core_bg.wasm" }).org("acme");
const live = liveQueries(acme);
const cache = new QueryClient();
window.renders = 0;

function Pages() {
  renders += 1;
  const { data: list } = useQuery(live.list("page", { where: { archived: false }, order: ["title"] }));
  const { data: page } = useQuery(live.row("page", "${PAGE_ID}"));
  const rename = useMutation(live.edit("page", (pages, title) => pages.update("${PAGE_ID}", { title })));
  Object.assign(window, { list, page, rename });
  return <main data-complete={list?.complete}><h2>{page?.row?.title}</h2><ul>{list?.rows.map((row) => <li key={row.id}>{row.title}</li>)}</ul></main>;
}
Object.assign(window, { acme, cache, live });
createRoot(document.body).render(<StrictMode><QueryClientProvider client={cache}><Pages /></QueryClientProvider></StrictMode>);
`;
let dev;
let chromium;

before(async () => {
  if (skip) return;
  [dev, chromium] = await Promise.all([startDev(), startChromium(path)]);
  cpSync(fileURLToPath(new URL("../../examples/list", import.meta.url)), folder, { recursive: true });
  // The example's page, with another script and core in it; its worker lets the page be loaded without the server.
  const register = "await navigator.serviceWorker.register(trustedTypes.createPolicy('worker', { createScriptURL: () => '/worker.js' }).createScriptURL(''));";
  cpSync(fileURLToPath(new URL("../../packages/client/bundle/core_bg.wasm", import.meta.url)), join(folder, "core_bg.wasm"));
  const worker = readFileSync(join(folder, "worker.js"), "utf8");
  writeFileSync(join(folder, "worker.js"), worker.replace("/sdk/core_bg.wasm", "/core_bg.wasm"));
  writeFileSync(join(folder, "list.js"), bundle(SCRIPT) + register);
});

after(async () => {
  await chromium?.stop();
  await dev?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Writes past everything, as another application would. */
async function sql(text) {
  const headers = { authorization: `Bearer ${dev.info.tokens.admin}`, "content-type": "application/json" };
  const answer = await fetch(`${dev.info.api}/dev/sql`, { method: "POST", headers, body: JSON.stringify({ sql: text }) });
  assert.equal(answer.status, 200);
}

const shown = (title) => `[...document.querySelectorAll('li')].some((item) => item.textContent === '${title}')`
  + ` && document.querySelector('h2').textContent === '${title}'`;

test("components show rows and lists of the cache, live, offline, over a reload and in conflict sdk_08", { skip }, async () => {
  const server = await startServer(folder, dev.info.api);
  const page = await openPage(chromium, server.url, 800);
  await page.until("window.list?.complete && window.page?.presence === 'here' && acme.status.connection === 'online'");
  await sql(`update pages set title = 'by SQL' where id = '${PAGE_ID}'`);
  await page.until(shown("by SQL"));
  await page.evaluate("renders = 0, cache.invalidateQueries()");
  assert.equal(await page.evaluate("renders"), 0, "there is nothing to fetch, so there is nothing to render");
  await page.evaluate("rename.mutate('edited')");
  await page.until(`${shown("edited")} && rename.data === 'applied'`);
  await page.evaluate("navigator.serviceWorker.ready.then(() => undefined)");

  await server.stop();
  await page.until("acme.status.connection !== 'online'");
  await page.evaluate("rename.mutate('mine')");
  await page.until(`${shown("mine")} && rename.isPending`);
  await page.evaluate("acme.collection('page').update(page.row.id, { body: 'kept' }).saved");
  await page.reload();
  await page.until(shown("mine"));
  await sql(`update pages set title = 'theirs' where id = '${PAGE_ID}'`);
  const again = await startServer(folder, dev.info.api, server.port);
  await page.until("acme.conflicts().length === 1");
  await page.evaluate("acme.resolve(acme.conflicts()[0], 'keepTheirs')");
  await page.until(`${shown("theirs")} && page.row.body === 'kept'`);
  // What nobody looks at any more is let go of, as the cache says.
  await page.evaluate("cache.fetchQuery({ ...live.list('task'), gcTime: 0 }).then(() => undefined)");
  await page.until("cache.getQueryCache().getAll().length === 2");
  await again.stop();
});
