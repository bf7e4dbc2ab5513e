// Walks through Desk with the keyboard alone, as a person takes them: nothing is clicked, and nothing is put into focus but
// by keys.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { after, afterEach, before, test as declare } from "node:test";
import { fileURLToPath } from "node:url";

import { changeAs, hasDesk, held, press, shown, startDesk } from "./desk.mjs";
import { until, whyNot } from "./place.mjs";
import { accessibleTree, focused, press as plain, tabTo, type } from "./stories.mjs";

const skip = whyNot() || (hasDesk ? false : "needs the built Desk: script/sdk");
const test = (claim, run) => declare(claim, { skip, timeout: 120_000 }, run);
const id = (n) => `00000000-0000-4001-8001-0000000000${String(n).padStart(2, "0")}`;
const TREE = fileURLToPath(new URL("stories/desk-conflict.tree.txt", import.meta.url));
let place;

before(async () => { if (!skip) place = await startDesk(); });
afterEach(async () => { await place?.tidy(); });
after(async () => { await place?.stop(); });

const item = (page) => page.evaluate("document.activeElement.closest('[data-item]')?.dataset.item ?? null");
const items = (page, list) => page.evaluate(`[...document.querySelector(${JSON.stringify(list)}).children].map((one) => one.dataset.item)`);
const ready = async (page) => page.until("document.querySelector('.list, .cards')?.ariaBusy === 'false' && document.querySelector('.antiphon-bar').dataset.phase === 'upToDate'");

test("walk 1: a list of any length is one stop; arrows walk in it, Alt moves a page, Enter opens it desk_06", async () => {
  const page = await place.desk("walk1");
  await ready(page);
  await tabTo(page, "a: Welcome to Acme");
  const before = await items(page, ".list");
  assert.equal(await item(page), before[0]);
  await plain(page, "Tab");
  assert.match(await focused(page), /^button: Move “Welcome to Acme”/);
  await plain(page, "Tab");
  assert.equal(await item(page), null, "the next stop is behind the list");
  await plain(page, "Tab", 8);
  await plain(page, "Tab", 8);
  for (const [key, at] of [["ArrowDown", 1], ["ArrowDown", 2], ["ArrowUp", 1], ["End", before.length - 1], ["Home", 0], ["ArrowUp", 0], ["ArrowDown", 1]]) {
    await press(page, key);
    assert.equal(await item(page), before[at], key);
  }
  await press(page, "ArrowDown", { alt: true });
  await page.until(`[...document.querySelectorAll('.list li')][2].dataset.item === '${before[1]}'`);
  assert.equal(await item(page), before[1]);
  await press(page, "Enter");
  await page.until(`location.hash === '#/pages/${before[1]}'`);
  await press(page, "ArrowUp", { alt: true });
  await until(async () => (await place.onServer("page", before[1])).position < (await place.onServer("page", before[2])).position);
});

test("walk 2: a task is made, moved to the next column, opened, labelled and deleted by its menu desk_06", async () => {
  const page = await place.desk("walk2", { at: "#/tasks" });
  await ready(page);
  await tabTo(page, "input: New task in “Doing”");
  await type(page, "By keys alone");
  await press(page, "Enter");
  await page.until("[...document.querySelectorAll('.card a')].some((a) => a.textContent === 'By keys alone')");
  for (let n = 0; n < 8 && (await item(page)) === null; n += 1) await plain(page, "Tab", 8);
  for (let n = 0; n < 5 && !(await focused(page)).startsWith("a:"); n += 1) await plain(page, "Tab", 8);
  await press(page, "End");
  assert.equal(await focused(page), "a: By keys alone");
  const task = await item(page);
  await press(page, "ArrowRight", { alt: true });
  await until(async () => (await place.onServer("task", task))?.status === "done");
  // The focus goes along with it.
  await page.until(`document.activeElement.closest('[data-item]')?.dataset.item === '${task}'`);
  assert.equal(await page.evaluate("document.activeElement.closest('.column').querySelector('h2').firstChild.data"), "Done");
  await press(page, "Enter");
  await page.until("document.querySelector('dialog .field') !== null");
  await tabTo(page, "input: Add a label");
  await type(page, "keys");
  await press(page, "Enter");
  await until(async () => (await place.onServer("task", task)).labels.includes("keys"));
  await press(page, "Escape");
  await page.until("document.querySelector('dialog[open]') === null");
  assert.equal(await item(page), task, "the focus is back where it was");
  await plain(page, "Tab");
  assert.equal(await focused(page), "button: Move or delete “By keys alone”");
  await press(page, "Enter");
  await page.until("document.activeElement.getAttribute('role') === 'menuitem'");
  await press(page, "End");
  assert.equal(await focused(page), "button: Delete");
  await press(page, "Enter");
  await until(async () => (await place.onServer("task", task)) === undefined);
});

test("walk 3: words are searched for, a match is opened, and its history is read and left desk_06", async () => {
  const page = await place.desk("walk3");
  await ready(page);
  await tabTo(page, "a: Search");
  await press(page, "Enter");
  await page.until("document.querySelector('input[type=search]') !== null");
  await tabTo(page, "input: Search pages and tasks");
  await type(page, "trains offline");
  await page.until("document.querySelector('.found a') !== null");
  await tabTo(page, "a: Customer interviews, spring");
  await press(page, "Enter");
  await page.until("document.querySelector('input.title')?.value === 'Customer interviews, spring'");
  await tabTo(page, "button: History");
  await press(page, "Enter");
  await page.until("document.querySelector('dialog[open] .history li') !== null");
  await press(page, "Escape");
  await page.until("document.querySelector('dialog[open]') === null");
  assert.equal(await focused(page), "button: History");
});

test("walk 4: a conflict is read, decided, taken back, decided otherwise and sent; it is read out as it is kept here desk_03 desk_06", async () => {
  const page = await place.desk("walk4", { at: `#/pages/${id(4)}` });
  await page.until("document.querySelector('input.title')?.value === 'Release checklist'");
  await ready(page);
  place.site.cutNetwork();
  await tabTo(page, "input: Title");
  await press(page, "End");
  await type(page, " of Alice");
  await press(page, "Enter");
  await page.until(held(id(4)));
  await changeAs(place, "bob", id(4), "title", "Release checklist of Bob");
  place.site.mendNetwork();
  await tabTo(page, "button: Sync now");
  await press(page, "Enter");
  await page.until("document.querySelector('.standing .antiphon-primary') !== null");
  await tabTo(page, "button: Choose");
  await press(page, "Enter");
  await page.until("document.querySelector('dialog[open]')?.innerText.includes('Bob Brown')");
  const tree = (await accessibleTree(page, "dialog[open]")).replaceAll(/"[^"]* UTC"/g, '"WHEN"').replaceAll(/\d+:\d+\s[AP]M/g, "TIME");
  if (process.env.ANTIPHON_BLESS) writeFileSync(TREE, tree);
  assert.equal(tree, readFileSync(TREE, "utf8"), "where this is wanted: ANTIPHON_BLESS=1 node --test tests/browser/desk-keys.test.mjs");
  await tabTo(page, "button: Keep Bob Brown’s");
  await press(page, "Enter");
  await tabTo(page, "button: Undo");
  await press(page, "Enter");
  await tabTo(page, "button: Keep mine");
  await press(page, "Enter");
  await tabTo(page, "button: Finish");
  await press(page, "Enter");
  await page.until("document.querySelector('dialog[open]') === null");
  await until(async () => (await place.onServer("page", id(4))).title === "Release checklist of Alice");
});

test("walk 5: a page is thrown away, found in the trash, deleted for good after a question, and brought back desk_06", async () => {
  const page = await place.desk("walk5", { at: `#/pages/${id(7)}` });
  await page.until("document.querySelector('input.title')?.value.length > 0");
  await ready(page);
  const { title } = await place.onServer("page", id(7));
  await place.sql(`update tasks set page_id = null where page_id = '${id(7)}'`);
  await tabTo(page, "button: Move to the trash");
  await press(page, "Enter");
  await until(async () => (await place.onServer("page", id(7))).archived);
  await tabTo(page, "a: Trash");
  await press(page, "Enter");
  await tabTo(page, `button: Delete for good: “${title}”`);
  await press(page, "Enter");
  await page.until("document.querySelector('dialog[open]') !== null");
  await tabTo(page, "button: Delete for good");
  await press(page, "Enter");
  await until(async () => (await place.onServer("page", id(7))) === undefined);
  await page.until(`document.querySelector('[data-item="${id(7)}"] .hint') !== null`);
  await tabTo(page, "button: Restore");
  for (let n = 0; n < 20 && (await item(page)) !== id(7); n += 1) { await plain(page, "Tab"); await tabTo(page, "button: Restore"); }
  await press(page, "Enter");
  await until(async () => (await place.onServer("page", id(7)))?.title === title);
});

test("walk 6: the language is changed, and one signs out, in the account's menu desk_06", async () => {
  const page = await place.open("walk6", { query: "desk/", ready: "document.querySelector('.sign-in button') !== null" });
  await tabTo(page, "button: Alice Adams, of acme");
  await press(page, "Enter");
  await ready(page);
  await tabTo(page, "button: Alice Adams: account");
  await press(page, "Enter");
  await page.until("document.activeElement.getAttribute('role') === 'menuitem'");
  await press(page, "d");
  await press(page, "d");
  for (let n = 0; n < 8 && (await focused(page)) !== "button: Deutsch"; n += 1) await press(page, "ArrowDown");
  await press(page, "Enter");
  await page.until("document.documentElement.lang === 'de' && document.querySelector('nav')?.innerText.includes('Seiten')");
  assert.match(await focused(page), /^button: Alice Adams/);
  await press(page, "Enter");
  await page.until("document.activeElement.getAttribute('role') === 'menuitem'");
  await press(page, "End");
  assert.equal(await focused(page), "button: Abmelden");
  await press(page, "Enter");
  await page.until("document.querySelector('dialog[open]') !== null");
  await tabTo(page, "button: Abmelden");
  await press(page, "Enter");
  await page.until("document.querySelector('.sign-in') !== null");
  assert.equal(await shown(page, "dialog[open]"), null);
});
