// What may happen to Desk on a device and on the way, in a real browser before the real server: whatever it is, what was
// typed stays, plain words say what is, and it goes on by itself.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test as declare } from "node:test";

import { attach } from "./browser.mjs";
import { ownClock, pass } from "./clock.mjs";
import { changeAs, click, hasDesk, held, none, press, shown, startDesk, type } from "./desk.mjs";
import { until, whyNot } from "./place.mjs";

const skip = whyNot() || (hasDesk ? false : "needs the built Desk: script/sdk");
const test = (claim, run) => declare(claim, { skip, timeout: 180_000 }, run);
const id = (n) => `00000000-0000-4001-8001-0000000000${String(n).padStart(2, "0")}`;
const HOUR_MS = 3_600_000;
let place;
let folder;
let tokens;

before(async () => {
  if (skip) return;
  folder = mkdtempSync(join(tmpdir(), "antiphon-desk-"));
  place = await startDesk("--data", folder);
  tokens = { ...place.site.tokens };
});
afterEach(async () => {
  if (place) Object.assign(place.site.tokens, tokens);
  await place?.tidy();
});
after(async () => {
  await place?.stop();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

const banner = (words) => `document.querySelector('.standing [role=status]').textContent.includes(${JSON.stringify(words)})`;
const upToDate = "document.querySelector('.antiphon-bar').dataset.phase === 'upToDate'";
const titleIs = (text) => `document.querySelector('input.title')?.value === ${JSON.stringify(text)}`;

/** Opens a page of somebody's, once it is up to date. */
async function openPageOf(name, n, options = {}) {
  const page = await place.desk(name, { at: `#/pages/${id(n)}`, ...options });
  await page.until("document.querySelector('input.title')?.value.length > 0");
  await page.until(upToDate);
  return page;
}

/** Types at the end of the title, and leaves it. */
async function retitle(page, text) {
  await type(page, "input.title", text);
  await press(page, "Enter");
}

test("a duplicated tab is a tab of its own: what is typed in both arrives desk_07", async () => {
  const first = await openPageOf("twice", 1);
  await first.send("Runtime.evaluate", { expression: "void window.open(location.href)", userGesture: true });
  let copy;
  await until(async () => {
    const { targetInfos } = await place.chromium.send("Target.getTargets");
    copy = targetInfos.find(({ openerId }) => openerId === first.targetId);
    return copy;
  });
  const second = await attach(place.chromium, copy.targetId);
  await second.until("document.querySelector('input.title')?.value.length > 0");
  place.site.cutNetwork();
  await retitle(first, ", by the first");
  await second.evaluate(`location.hash = '#/pages/${id(2)}'`);
  const before = (await place.onServer("page", id(2))).title;
  await second.until(titleIs(before));
  await retitle(second, ", by its copy");
  // Each shows the other's.
  await first.until(`document.querySelector('[data-item="${id(2)}"] a').textContent.endsWith(', by its copy')`);
  await second.until(`document.querySelector('[data-item="${id(1)}"] a').textContent.endsWith(', by the first')`);
  place.site.mendNetwork();
  await first.evaluate("dispatchEvent(new Event('online'))");
  await until(async () => (await place.onServer("page", id(1))).title.endsWith(", by the first"));
  await until(async () => (await place.onServer("page", id(2))).title.endsWith(", by its copy"));
  await second.close();
});

test("a device that is full says so, keeps what is typed in the page, and sends it desk_07", async () => {
  const blank = await place.open("blank", { query: "desk/", ready: "document.querySelector('.sign-in') !== null" });
  // The browser is told before it opens the store, and remembers.
  const quota = (quotaSize) => blank.send("Storage.overrideQuotaForOrigin", { origin: new URL(place.site.url("full")).origin, quotaSize });
  await quota(5_000);
  const page = await place.desk("full", { at: `#/pages/${id(3)}` });
  await page.until("document.querySelector('input.title')?.value.length > 0");
  place.site.cutNetwork();
  await click(page, "Write");
  await type(page, "textarea", `${"many words ".repeat(20_000)}the end`);
  await press(page, "Tab");
  await page.until("document.querySelector('.antiphon-notices')?.textContent.includes('This device is full')");
  await page.until("document.querySelector('textarea').value.endsWith('the end')");
  await quota(undefined);
  place.site.mendNetwork();
  await click(page, "Sync now", ".standing");
  await until(async () => (await place.onServer("page", id(3))).body?.endsWith("the end"));
  await page.until("!document.querySelector('.antiphon-notices')?.textContent.includes('This device is full')");
});

test("a server that is started anew is come back to, with what was typed and what others changed desk_07", async () => {
  const page = await openPageOf("restart", 4);
  await place.dev.pause();
  await page.until(banner("Offline"));
  await retitle(page, ", while it was gone");
  await page.until(banner("1 change waits on this device"));
  await place.dev.resume();
  await place.sql(`update pages set body = 'written after it was back' where id = '${id(4)}'`);
  await click(page, "Sync now", ".standing");
  await page.until("document.querySelector('.read')?.innerText === 'written after it was back'");
  await until(async () => (await place.onServer("page", id(4))).title.endsWith(", while it was gone"));
  await page.until(upToDate);
});

test("after an epoch that is set back Desk has every row once, and what was typed before it is sent desk_07", async () => {
  const page = await openPageOf("epoch", 5);
  place.site.cutNetwork();
  await retitle(page, ", of before");
  await page.until(held(id(5)));
  place.dev.operate("slots", "create", "--new-epoch", "--yes");
  await place.sql(`update pages set title = 'Between the epochs' where id = '${id(6)}'`);
  place.site.mendNetwork();
  await click(page, "Sync now", ".standing");
  await until(async () => (await place.onServer("page", id(5))).title.endsWith(", of before"));
  await page.until(`document.querySelector('[data-item="${id(6)}"] a').textContent === 'Between the epochs'`);
  await page.until(upToDate);
  const shownIds = await page.evaluate("[...document.querySelectorAll('.list li')].map((li) => li.dataset.item)");
  assert.equal(new Set(shownIds).size, shownIds.length, "no row is there twice");
  assert.equal(await page.evaluate("document.querySelector('dialog[open]')"), null, "nobody is asked about anything");
});

test("for an hour the token has expired: it is told, one goes on working, and then everything is sent desk_07", async () => {
  const page = await openPageOf("expired", 7, { first: ownClock() });
  const { token } = place.dev.operate("tokens", "create", "alice", "--name", "ended");
  const { id: ended } = place.dev.operate("tokens", "list", "--user", "alice").tokens.find(({ name }) => name === "ended");
  place.dev.operate("tokens", "revoke", ended);
  place.site.tokens.alice = token;
  await page.reload();
  await page.until("document.querySelector('input.title')?.value.length > 0");
  await page.until(banner("The server does not let you in right now. Your changes are kept."));
  await retitle(page, ", with no token");
  await page.until(held(id(7)));
  const from = place.site.asked.length;
  await pass(page, HOUR_MS, 600);
  assert.ok(place.site.asked.length - from <= 400, `${place.site.asked.length - from} requests in an hour`);
  assert.match(await page.evaluate("document.querySelector('input.title').value"), /, with no token$/);
  assert.match(await shown(page, ".standing"), /Your changes are kept/);
  place.site.tokens.alice = tokens.alice;
  await pass(page, 40_000, 40);
  await until(async () => (await place.onServer("page", id(7))).title.endsWith(", with no token"));
  await page.until(upToDate);
});

/** Opens the account's menu and asks to leave. */
async function leave(page) {
  await click(page, "Alice Adams: account");
  await click(page, "Sign out", "[role=menu]");
  await page.until("document.querySelector('dialog[open] h2') !== null");
}

/** Chooses what becomes of what waits. */
const choose = (page, words) => page.evaluate(`[...document.querySelectorAll('dialog[open] label')].find((one) => one.innerText.includes(${JSON.stringify(words)})).querySelector('input').click()`);

test("who signs out may have everything sent first, also once the network is back desk_07", async () => {
  const page = await openPageOf("leaving", 8);
  place.site.cutNetwork();
  await retitle(page, ", sent at last");
  await page.until(held(id(8)));
  await leave(page);
  await choose(page, "Send, then sign out");
  await click(page, "Sign out", "dialog[open]");
  await page.until("document.querySelector('dialog[open]')?.innerText.includes('you are still signed in') || document.querySelector('.sign-in') !== null");
  assert.match(await shown(page, "dialog[open]"), /nothing was removed/);
  place.site.mendNetwork();
  await page.evaluate("dispatchEvent(new Event('online'))");
  await click(page, "Sign out", "dialog[open]");
  await until(async () => (await place.onServer("page", id(8))).title.endsWith(", sent at last"));
});

test("who signs out may discard what waits, after two questions, and the next on the device finds nothing of it desk_07", async () => {
  const page = await openPageOf("discarding", 9);
  place.site.cutNetwork();
  await retitle(page, ", never sent");
  await page.until(held(id(9)));
  await leave(page);
  await choose(page, "Discard, and sign out");
  await click(page, "Sign out", "dialog[open]");
  await click(page, "Yes, discard 1 change for good", "dialog[open]");
  await page.until("(async () => (await indexedDB.databases()).every(({ name }) => !name.startsWith('antiphon:')))()");
  place.site.mendNetwork();
  const next = await place.desk("discarding", { as: "bob", at: `#/pages/${id(9)}` });
  await next.until("document.querySelector('input.title')?.value.length > 0");
  assert.doesNotMatch(await next.evaluate("document.querySelector('input.title').value"), /never sent/);
  assert.doesNotMatch((await place.onServer("page", id(9))).title, /never sent/);
});

test("who signs out may take what waits along in a file desk_07", async () => {
  const page = await openPageOf("exporting", 10, {
    first: "const make = URL.createObjectURL.bind(URL); URL.createObjectURL = (blob) => { blob.text().then((text) => { sessionStorage.setItem('file', text); }); return make(blob); };",
  });
  place.site.cutNetwork();
  await retitle(page, ", in a file");
  await page.until(held(id(10)));
  await leave(page);
  await choose(page, "Save to a file, then sign out");
  await click(page, "Sign out", "dialog[open]");
  await page.until("sessionStorage.getItem('file')?.includes(', in a file')");
});

test("a page that others deleted while one typed comes back with what was typed desk_03 desk_07", async () => {
  const page = await openPageOf("revive", 11);
  place.site.cutNetwork();
  await retitle(page, ", not lost");
  await page.until(held(id(11)));
  await place.sql(`update tasks set page_id = null where page_id = '${id(11)}'`, `delete from pages where id = '${id(11)}'`);
  place.site.mendNetwork();
  await click(page, "Sync now", ".standing");
  await page.until(banner("needs your choice"));
  await click(page, "Choose", ".standing");
  await page.until("document.querySelector('dialog[open]')?.innerText.includes('Your text is still here')");
  await click(page, "Bring it back with my change", "dialog[open]");
  await press(page, "Escape");
  await until(async () => (await place.onServer("page", id(11)))?.title.endsWith(", not lost"));
  none(page);
});

test("a page that one deletes while others change it is asked about, and may stay with their change desk_03 desk_07", async () => {
  const { title } = await place.onServer("page", id(12));
  await place.sql(`update tasks set page_id = null where page_id = '${id(12)}'`, `update pages set archived = true where id = '${id(12)}'`);
  const page = await place.desk("delete", { at: "#/trash" });
  await page.until(upToDate);
  await page.until(`document.querySelector('[data-item="${id(12)}"]') !== null`);
  place.site.cutNetwork();
  await click(page, `Delete for good: “${title}”`);
  await click(page, "Delete for good", "dialog");
  await page.until(held(id(12)));
  await changeAs(place, "bob", id(12), "title", "Bob still needs it");
  place.site.mendNetwork();
  await click(page, "Sync now", ".standing");
  await page.until(banner("needs your choice"));
  await click(page, "Choose", ".standing");
  await page.until("document.querySelector('dialog[open]')?.innerText.includes('before your deletion arrived')");
  await click(page, "Keep it, with Bob Brown’s change", "dialog[open]");
  await press(page, "Escape");
  await page.until(upToDate);
  assert.equal((await place.onServer("page", id(12))).title, "Bob still needs it");
});

test("the same words, changed by two, are put together in the dialog desk_03 desk_07", async () => {
  const n = 13;
  const page = await openPageOf("merge", n);
  await place.sql(`update pages set body = 'The meeting is on Monday in the small room.' where id = '${id(n)}'`);
  await page.until("document.querySelector('.read')?.innerText.startsWith('The meeting')");
  place.site.cutNetwork();
  await click(page, "Write");
  await page.evaluate("document.querySelector('textarea').focus(), document.querySelector('textarea').setSelectionRange(18, 24)");
  await page.send("Input.insertText", { text: "Tuesday" });
  await press(page, "Tab");
  await page.until(held(id(n)));
  await changeAs(place, "bob", id(n), "body", "The meeting is on Friday in the small room.");
  place.site.mendNetwork();
  await click(page, "Sync now", ".standing");
  await page.until(banner("needs your choice"));
  await click(page, "Choose", ".standing");
  await page.until("document.querySelector('dialog[open]')?.innerText.includes('Friday')");
  const said = await shown(page, "dialog[open]");
  assert.match(said, /Your change/);
  assert.match(said, /Bob Brown’s change/);
  assert.match(said, /Put both together/);
  await page.until("document.querySelector('dialog[open] textarea') !== null");
  await page.evaluate("document.querySelector('dialog[open] textarea').select()");
  await page.send("Input.insertText", { text: "The meeting is on Thursday in the small room." });
  await click(page, "Keep this", "dialog[open]");
  await press(page, "Escape");
  await until(async () => (await place.onServer("page", id(n))).body === "The meeting is on Thursday in the small room.");
  none(page);
});

test("a conflict is there in both tabs, and deciding it in one ends it in the other desk_03 desk_07", async () => {
  const one = await openPageOf("both", 14);
  const other = await place.desk("both", { at: `#/pages/${id(14)}` });
  await other.until("document.querySelector('input.title')?.value.length > 0");
  place.site.cutNetwork();
  await retitle(one, " of Alice");
  await one.until(held(id(14)));
  await changeAs(place, "bob", id(14), "title", "Bob has another title");
  place.site.mendNetwork();
  await click(one, "Sync now", ".standing");
  for (const tab of [one, other]) {
    await tab.until(banner("needs your choice"));
    await click(tab, "Choose", ".standing");
    await tab.until("document.querySelector('dialog[open]')?.innerText.includes('Bob has another title')");
  }
  await click(one, "Keep Bob Brown’s", "dialog[open]");
  await click(one, "Finish", "dialog[open]");
  for (const tab of [one, other]) {
    await tab.until(titleIs("Bob has another title"));
    await tab.until(`!(${banner("needs your choice")})`);
  }
  await other.until("!document.querySelector('dialog[open]')?.innerText.includes('Keep mine')");
  assert.equal((await place.onServer("page", id(14))).title, "Bob has another title");
});

test("a status that a later one won over is told beside the task, and may be brought back desk_02 desk_07", async () => {
  const task = "00000000-0000-4002-8001-000000000002";
  const page = await place.desk("won", { at: `#/tasks/${task}` });
  await page.until("document.querySelector('dialog .field') !== null");
  const headers = { authorization: `Bearer ${tokens.bob}`, "content-type": "application/json" };
  const address = `${place.dev.info.api}/v1/orgs/acme/entities/task/${task}`;
  const { tx } = await (await fetch(address, { headers })).json();
  place.site.cutNetwork();
  const set = (value) => page.evaluate(`(() => {
    const select = [...document.querySelectorAll('dialog[open] select')].find((one) => [...one.options].some(({ value }) => value === 'doing'));
    Object.getOwnPropertyDescriptor(HTMLSelectElement.prototype, "value").set.call(select, ${JSON.stringify(value)});
    select.dispatchEvent(new Event("change", { bubbles: true }));
  })()`);
  await set("doing");
  await page.until(held(task));
  const about = { transactionId: `${Date.now() + 2_000}.0000.bob`, sourceId: "bob", changedField: "status", expectedTransactionId: tx?.fields?.status ?? tx?.fields?.["*"] ?? tx?.transactionId ?? null };
  const answer = await fetch(address, { method: "PATCH", headers, body: JSON.stringify({ data: { status: "done" }, tx: about }) });
  assert.equal(answer.status, 200, await answer.text());
  place.site.mendNetwork();
  await page.evaluate("dispatchEvent(new Event('online'))");
  await page.until("document.querySelector('dialog[open]').innerText.includes('Bob Brown changed the status after you; theirs counts.')");
  await click(page, "Bring mine back", "dialog[open]");
  await until(async () => (await place.onServer("task", task)).status === "doing");
});
