// Desk in a browser test: what was built of it, served as the binary serves it, before the real server.

import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { startPlace } from "./place.mjs";

const bundle = fileURLToPath(new URL("../../apps/desk/bundle/", import.meta.url));

/** Whether Desk was built; script/sdk builds it along with the SDK. */
export const hasDesk = existsSync(`${bundle}desk.js`);
if (!hasDesk && process.env.CI === "true") throw new Error("needs the built Desk, build it with script/sdk");

/** The people of the demonstration, as `/dev/session` names them. */
const USERS = [
  { id: "alice", name: "Alice Adams", org: "acme", role: "owner" }, { id: "bob", name: "Bob Brown", org: "acme", role: "member" },
];

/** What Desk may do, as crates/server/src/dev/page/desk.rs says it. */
export const POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
  + "frame-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; require-trusted-types-for 'script'; trusted-types worker";

/** Starts everything that Desk needs; a network that is cut takes the session along, and leaves the files. `options` are those of `antiphon dev`. */
export async function startDesk(...options) {
  const place = await startPlace({ options });
  const { site } = place;
  const session = () => JSON.stringify({ tokens: site.tokens, orgs: ["acme"], users: USERS });
  Object.assign(site.files, {
    "/desk/": ["text/html; charset=utf-8", () => readFileSync(`${bundle}index.html`), POLICY],
    "/try/": ["text/html; charset=utf-8", () => readFileSync(`${bundle}index.html`), POLICY],
    "/desk/desk.js": ["text/javascript; charset=utf-8", () => readFileSync(`${bundle}desk.js`)],
    "/desk/desk.css": ["text/css; charset=utf-8", () => readFileSync(`${bundle}desk.css`)],
    "/desk/worker.js": ["text/javascript; charset=utf-8", () => readFileSync(`${bundle}worker.js`), POLICY],
    "/desk/icon.svg": ["image/svg+xml", () => readFileSync(`${bundle}icon.svg`)],
    "/desk/manifest.webmanifest": ["application/manifest+json", () => readFileSync(`${bundle}manifest.webmanifest`)],
    "/desk/core_bg.wasm": ["application/wasm", () => readFileSync(`${bundle}core_bg.wasm`)],
    "/dev/session": ["application/json", session],
  });
  return {
    ...place,
    /** Opens Desk as somebody, at a place in it. */
    desk: (name, { as = "alice", at = "", lang = "en", first = "", ready = "document.querySelector('.list li, .card, .narrow:not(.sign-in, .opening)') !== null" } = {}) => (
      place.open(name, { query: `desk/?as=${as}&lang=${lang}${at}`, ready, first })),
  };
}

/** Clicks what has a name, as its label or as its text, in the part of the page that `within` selects. */
export async function click(page, name, within = "body") {
  const find = `[...document.querySelectorAll(${JSON.stringify(within)})].flatMap((part) => [...part.querySelectorAll("button, a, summary")])`
    + `.find((one) => (one.getAttribute("aria-label") ?? one.textContent.trim()) === ${JSON.stringify(name)})`;
  await page.until(`${find} !== undefined`);
  await page.evaluate(`${find}.click()`);
}

/** Puts the focus on something and types a text into it, at its end. */
export async function type(page, selector, text) {
  const find = `document.querySelector(${JSON.stringify(selector)})`;
  await page.until(`${find} !== null`);
  await page.evaluate(`(${find}.focus(), ${find}.setSelectionRange?.(${find}.value.length, ${find}.value.length))`);
  await page.send("Input.insertText", { text });
}

/** Presses a key. */
export async function press(page, key, { alt = false, code = key } = {}) {
  const keys = { Enter: 13, Escape: 27, Tab: 9, Home: 36, End: 35, ArrowUp: 38, ArrowDown: 40, ArrowLeft: 37, ArrowRight: 39 };
  const event = { key, code, windowsVirtualKeyCode: keys[key], modifiers: alt ? 1 : 0, ...(key === "Enter" ? { text: "\r" } : {}) };
  await page.send("Input.dispatchKeyEvent", { type: "keyDown", ...event });
  await page.send("Input.dispatchKeyEvent", { type: "keyUp", ...event, text: undefined });
}

/** What is seen of something, as text. */
export const shown = (page, selector) => page.evaluate(`document.querySelector(${JSON.stringify(selector)})?.innerText ?? null`);

/** Writes a picture of what is seen, where `ANTIPHON_SCREENSHOTS` names a folder: those of docs/ are made so. */
export async function picture(page, name) {
  const folder = process.env.ANTIPHON_SCREENSHOTS;
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  const { data } = await page.send("Page.captureScreenshot", { format: "webp", quality: 80 });
  writeFileSync(join(folder, `${name}.webp`), Buffer.from(data, "base64"));
}

/** A browser says of each request that the network did not take it; of anything else it must have nothing to say. */
export function none(page) {
  const said = page.complaints().filter((text) => !/net::ERR_(?:EMPTY_RESPONSE|CONNECTION|INCOMPLETE)|WebSocket connection to .* failed/.test(text));
  assert.deepEqual(said.map((text) => text.slice(0, 600)), []);
}

/** Whether this device holds an edit of a row: a reload in the very moment of an edit would be another test. */
export const held = (id) => `(async () => {
  const { name } = (await indexedDB.databases()).find((one) => one.name.startsWith("antiphon:"));
  const text = await new Promise((resolve, reject) => {
    const asked = indexedDB.open(name);
    asked.onerror = reject;
    asked.onsuccess = () => {
      const entries = asked.result.transaction("entries").objectStore("entries").getAll();
      entries.onsuccess = () => { asked.result.close(); resolve(JSON.stringify(entries.result)); };
    };
  });
  return text.includes(${JSON.stringify(id)});
})()`;

/** Changes a field of a page as somebody, past the browser and its network. */
export async function changeAs(place, user, id, field, value) {
  const headers = { authorization: `Bearer ${place.dev.info.tokens[user]}`, "content-type": "application/json" };
  const address = `${place.dev.info.api}/v1/orgs/acme/entities/page/${id}`;
  const { tx } = await (await fetch(address, { headers })).json();
  const newest = tx?.fields ? tx.fields[field] ?? tx.fields["*"] ?? null : tx?.transactionId ?? null;
  const transactionId = `${Date.now()}.0000.${user}`;
  const about = { transactionId, sourceId: user, changedField: field, expectedTransactionId: newest };
  const answer = await fetch(address, { method: "PATCH", headers, body: JSON.stringify({ data: { [field]: value }, tx: about }) });
  assert.equal(answer.status, 200, await answer.text());
}
