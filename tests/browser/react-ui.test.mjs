// The components of @antiphon/react/ui against the real server and its Postgres: two people change the same, one of them is
// asked, decides by keyboard, and both see the same in the end.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, afterEach, before, test as declare } from "node:test";
import { fileURLToPath } from "node:url";

import { startPlace, whyNot } from "./place.mjs";
import { findPackages, press, tabTo, violations } from "./stories.mjs";

const skip = whyNot() || (findPackages() ? false : "needs the built packages");
const packages = new URL("../../packages/", import.meta.url);
const PAGE_ID = "00000000-0000-4001-8001-000000000001";
const BODY = `document.querySelector('[data-page="${PAGE_ID}"] textarea')`;
const test = (claim, run) => declare(claim, { skip, timeout: 120_000 }, run);
let place;
let site;
let sql;

const HTML = `<!doctype html><html lang=en><meta charset=utf-8><title>pages</title><link rel=icon href=/icon>
<link rel=stylesheet href=/ui.css><div id=root></div><script type=module src=/page.js></script></html>`;

before(async () => {
  if (skip) return;
  const { bundle } = await import("../../packages/react/stories/serve.mjs");
  const script = await bundle(fileURLToPath(new URL("react/tests/ui-page.tsx", packages)));
  const pages = {
    "/": ["text/html; charset=utf-8", () => HTML],
    "/page.js": ["text/javascript", () => script],
    "/ui.css": ["text/css", () => readFileSync(new URL("react/src/ui/ui.css", packages))],
    "/core/core.js": ["text/javascript", () => readFileSync(new URL("client/core/core.js", packages))],
    "/core/core_bg.wasm": ["application/wasm", () => readFileSync(new URL("client/core/core_bg.wasm", packages))],
  };
  place = await startPlace({ pages });
  ({ site, sql } = place);
});

afterEach(() => place?.tidy());
after(() => place?.stop());

/** Opens the application as a person, on a device that no other test knows. */
const open = (user, device) => place.open(`${device}-${user}`, { query: `?user=${user}`, ready: `${BODY} && organization.status.connection === 'online'` });

const bodyOnServer = async () => (await place.onServer("page", PAGE_ID)).body;

/** Types a text in the place of a page's body, as a person does, and leaves it. */
async function write(page, text) {
  await page.evaluate(`${BODY}.focus(), ${BODY}.select()`);
  await page.send("Input.insertText", { text });
  await page.evaluate(`${BODY}.blur()`);
}

const shows = (page, text) => page.until(`${BODY}.value === ${JSON.stringify(text)}`);

test("two people change the same words, one decides by keyboard, and both see the same sdk_04 core_07 core_08", async () => {
  await sql(`update pages set body = 'The office opens at nine. Bring a cup.' where id = '${PAGE_ID}'`);
  const [alice, bob] = [await open("alice", "two"), await open("bob", "two")];
  await Promise.all([alice, bob].map((page) => shows(page, "The office opens at nine. Bring a cup.")));
  site.cutNetwork();
  await alice.until("organization.status.connection !== 'online'");
  await alice.until("document.querySelector('[role=status]').textContent.startsWith('Offline.')");
  await write(alice, "The office opens at eight. Bring a cup and a chair.");
  await alice.until(`document.querySelector('[data-page="${PAGE_ID}"] .antiphon-badge')?.textContent.includes('Saved on this device')`);
  // The other side writes as an application of its own would.
  await sql(`update pages set body = 'The office never opens at ten. Bring a cup.' where id = '${PAGE_ID}'`);
  site.mendNetwork();
  await tabTo(alice, "button: Sync now");
  await press(alice, "Enter");
  await alice.until(`document.querySelector('[data-page="${PAGE_ID}"] .antiphon-badge')?.textContent.includes('Needs your choice')`);
  await shows(bob, "The office never opens at ten. Bring a cup.");
  await tabTo(alice, "button: Choose");
  await press(alice, "Enter");
  await alice.until("document.activeElement?.tagName === 'H2'");
  assert.equal(await alice.evaluate("document.activeElement.textContent"), "Body in the page");
  assert.deepEqual(await violations(alice), []);
  // What only one of them changed is put together already; the other words are picked.
  assert.equal(await alice.evaluate("document.querySelector('dialog textarea').value"), "The office never opens at eight. Bring a cup and a chair.");
  await tabTo(alice, "input: Mine: ");
  await press(alice, "ArrowDown");
  await alice.until("document.querySelector('dialog textarea').value === 'The office never opens at ten. Bring a cup and a chair.'");
  await tabTo(alice, "button: Keep this");
  await press(alice, "Enter");
  await tabTo(alice, "button: Finish");
  await press(alice, "Enter");
  const merged = "The office never opens at ten. Bring a cup and a chair.";
  await Promise.all([alice, bob].map((page) => shows(page, merged)));
  await alice.evaluate("organization.sent()");
  assert.equal(await bodyOnServer(), merged);
  await alice.until("document.querySelector('[role=status]').textContent.trim() === 'Up to date'");
  // The network was cut; nothing else is amiss.
  assert.deepEqual([...alice.complaints(), ...bob.complaints()].filter((one) => !one.includes('"source":"network"')), []);
});

test("a row that was deleted under an edit comes back with it, while others look on sdk_04 core_09", async () => {
  await sql(`update pages set body = 'To be deleted' where id = '${PAGE_ID}'`);
  const alice = await open("alice", "gone");
  await shows(alice, "To be deleted");
  site.cutNetwork();
  await alice.until("organization.status.connection !== 'online'");
  await write(alice, "Not to be deleted");
  await sql(`delete from tasks where page_id = '${PAGE_ID}'`);
  await sql(`delete from pages where id = '${PAGE_ID}'`);
  site.mendNetwork();
  await alice.evaluate("organization.syncNow()");
  await alice.until("organization.status.conflicted === 1");
  await tabTo(alice, "button: Choose");
  await press(alice, "Enter");
  await tabTo(alice, "button: Bring it back");
  await press(alice, "Enter");
  await press(alice, "Escape");
  await alice.evaluate("organization.sent()");
  assert.equal(await bodyOnServer(), "Not to be deleted");
});

test("what the server refuses is shown with its reason, and discarded after it was asked once sdk_04 core_06", async () => {
  const alice = await open("alice", "refused");
  await alice.evaluate("window.task = organization.collection('task').create({ title: 'refused', page_id: '00000000-0000-0000-0000-000000000000', organization_id: 'acme' })");
  await alice.until("document.querySelector('.antiphon-problem')?.textContent.includes('breaks one of the rules')");
  await tabTo(alice, "button: Discard: New task");
  await press(alice, "Enter");
  await alice.until("document.querySelector('dialog[open] li') !== null");
  await tabTo(alice, "button: Discard");
  await press(alice, "Enter");
  await alice.until("document.querySelector('.antiphon-outbox').textContent.includes('Nothing waits.')");
});

test("signing out with waiting changes asks what becomes of them, and keeps them for the next time sdk_04 sdk_06", async () => {
  const alice = await open("alice", "leaving");
  site.cutNetwork();
  await alice.until("organization.status.connection !== 'online'");
  await write(alice, "typed before leaving");
  await alice.until("organization.status.pending === 1");
  await tabTo(alice, "button: Leave");
  await press(alice, "Enter");
  await tabTo(alice, "input: Send, then sign out");
  await press(alice, "ArrowDown");
  await press(alice, "ArrowDown");
  await tabTo(alice, "button: Sign out");
  await press(alice, "Enter");
  await alice.until("document.title === 'signed out'");
  site.mendNetwork();
  await alice.reload();
  await alice.until(`${BODY}?.value === 'typed before leaving'`);
  await alice.evaluate("organization.sent()");
  assert.equal(await bodyOnServer(), "typed before leaving");
});
