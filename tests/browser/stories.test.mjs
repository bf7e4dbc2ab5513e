// Every state of every component of @antiphon/react/ui in a real browser: axe-core finds nothing, nothing has to be
// scrolled sideways, and everything can be done by keyboard.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { after, before, test } from "node:test";

import { findChromium, openPage, startChromium } from "./browser.mjs";
import {
  accessibleTree, findPackages, focused, look, LOOKS, press, tabTo, tooWide, type, violations, visit,
} from "./stories.mjs";

const path = findChromium();
const skip = path && findPackages() ? false : "needs Chromium and the built packages";
const TREE = new URL("./stories/conflict-dialog.tree.txt", import.meta.url);
let chromium;
let stories;
let names;
let page;

before(async () => {
  if (skip) return;
  const { startStories } = await import("../../packages/react/stories/serve.mjs");
  [stories, chromium] = await Promise.all([startStories(), startChromium(path)]);
  page = await openPage(chromium, stories.url, 1280);
  // Tab leads from the last button to the browser's own; a page without a window's focus has none of its own.
  await page.send("Emulation.setFocusEmulationEnabled", { enabled: true });
  await page.until("window.stories?.length > 0");
  names = await page.evaluate("stories");
});

after(async () => {
  await chromium?.stop();
  await stories?.stop();
});

const width = (pixels) => page.send("Emulation.setDeviceMetricsOverride", { width: pixels, height: 900, deviceScaleFactor: 1, mobile: false });

/** Opens a story in English, as wide as a desk. */
async function open(story) {
  await width(1280);
  await look(page, "light");
  await visit(page, stories.url, story);
}

const deeds = () => page.evaluate("story.deeds");

test("the page of the stories lists them all, and axe finds nothing wrong with it sdk_04", { skip }, async () => {
  assert.equal(await page.evaluate("document.querySelectorAll('li').length"), names.length);
  assert.ok(names.length > 30, "every component in every state");
  assert.deepEqual(await violations(page), []);
});

test("axe finds nothing in any story, light, dark and in forced colours sdk_04", { skip, timeout: 300_000 }, async () => {
  await width(1280);
  const found = [];
  for (const name of names) {
    await visit(page, stories.url, name);
    for (const shown of Object.keys(LOOKS)) {
      await look(page, shown);
      found.push(...(await violations(page)).map((one) => `${name}, ${shown}: ${one}`));
    }
  }
  assert.deepEqual(found, []);
  assert.deepEqual(page.complaints(), [], "nothing is refused by a strict content security policy, nothing throws");
});

test("no story has to be scrolled sideways at 320 pixels, nor with text of twice the size sdk_04", { skip, timeout: 300_000 }, async () => {
  const found = [];
  for (const language of ["", "&language=de", "&language=pseudo&direction=rtl"]) {
    for (const name of names) {
      await visit(page, stories.url, name, language);
      await width(320);
      found.push(...(await tooWide(page)).map((one) => `${name}${language}, 320 pixels: ${one}`));
      await width(1280);
      await page.evaluate("document.documentElement.style.fontSize = '200%'");
      found.push(...(await tooWide(page)).map((one) => `${name}${language}, 200 %: ${one}`));
    }
  }
  assert.deepEqual(found, []);
});

test("from right to left and in another language, axe finds nothing, and no text is written into the code sdk_04", { skip, timeout: 300_000 }, async () => {
  await width(320);
  await look(page, "light");
  const found = [];
  for (const name of names) {
    await visit(page, stories.url, name, "&language=pseudo&direction=rtl");
    found.push(...(await violations(page)).map((one) => `${name}: ${one}`));
    found.push(...(await page.evaluate(UNMARKED)).map((one) => `${name} says ${one}`));
    assert.equal(await page.evaluate("getComputedStyle(document.querySelector('.antiphon')).direction"), "rtl");
  }
  assert.deepEqual(found, []);
});

// Texts of the components that did not come from the pseudo-locale: headings with a field's name, and values, are data.
const UNMARKED = `(() => {
  const found = [];
  for (const root of document.querySelectorAll(".antiphon")) {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const data = node.parentElement.closest(".antiphon-data, .antiphon-sign, textarea, option, h4, .antiphon-edit label");
      if (!data && /[A-Za-z]{2}/.test(node.data) && !/[\\u27e6\\u27e7]/.test(node.parentElement.textContent)) found.push(node.data);
    }
    for (const { ariaLabel, title } of root.querySelectorAll("[aria-label], [title]")) {
      for (const text of [ariaLabel, title]) if (text && !text.includes("\\u27e6")) found.push(text);
    }
  }
  return found;
})()`;

test("the dialog is read out as it is kept here sdk_04", { skip }, async () => {
  await open("conflict/text");
  const tree = await accessibleTree(page, "dialog[open]");
  if (process.env.ANTIPHON_BLESS) writeFileSync(TREE, tree);
  assert.equal(tree, readFileSync(TREE, "utf8"), "where this is wanted: ANTIPHON_BLESS=1 node --test tests/browser/stories.test.mjs");
});

test("the focus goes from mine to theirs to both put together, and round within the dialog sdk_04", { skip }, async () => {
  await open("conflict/text");
  const way = [];
  for (let n = 0; n < 8; n += 1) {
    way.push(await focused(page));
    await press(page, "Tab");
  }
  assert.deepEqual(way, [
    "h2: Body in page “welcome”", "button: Keep mine", "button: Keep Mina’s", "summary: What it was before", "input: Mine: eight",
    "textarea: Your text for Body", "button: Keep this", "button: Close, choose later",
  ]);
});

test("a text is put together, typed and kept by keyboard, undone, and sent at the end sdk_04 core_07", { skip }, async () => {
  await open("conflict/text");
  await tabTo(page, "input: Mine");
  await press(page, "ArrowDown");
  await page.until("document.querySelector('dialog textarea').value.startsWith('Our office opens at half past nine.')");
  await press(page, "ArrowDown");
  await page.until("document.querySelector('dialog textarea').value.startsWith('Our office opens at eight half past nine.')");
  await tabTo(page, "textarea");
  await type(page, "!");
  await page.until("document.querySelector('dialog textarea').value.endsWith('!')");
  const typed = await page.evaluate("document.querySelector('dialog textarea').value");
  await tabTo(page, "button: Keep this");
  await press(page, "Enter");
  await page.until("document.querySelector('[role=status]').textContent === 'Your text is kept.'");
  assert.deepEqual(await deeds(), [], "nothing is carried out before the end");
  await tabTo(page, "button: Undo");
  await press(page, "Enter");
  await page.until("document.querySelector('dialog textarea')?.value.endsWith('!')");
  await tabTo(page, "button: Keep this");
  await press(page, "Enter");
  await tabTo(page, "button: Finish");
  await press(page, "Enter");
  await page.until("document.querySelector('dialog[open]') === null");
  assert.deepEqual(await deeds(), [{ resolve: "body", decision: { merge: typed } }]);
});

test("Escape loses nothing: what was typed is there again, and the focus is back where it was sdk_04", { skip }, async () => {
  await open("conflict/text");
  await press(page, "Escape");
  await page.until("document.querySelector('dialog[open]') === null");
  await page.evaluate("document.querySelector('#opener').focus()");
  await press(page, "Enter");
  await page.until("document.activeElement?.tagName === 'H2'");
  await tabTo(page, "textarea");
  await type(page, "kept ");
  await press(page, "Escape");
  await page.until("document.querySelector('dialog[open]') === null");
  assert.equal(await focused(page), "button: Open");
  await press(page, "Enter");
  await page.until("document.querySelector('dialog textarea')?.value.includes('kept ')");
  assert.deepEqual(await deeds(), []);
});

test("several are gone through one after the other, and Escape carries out what was chosen sdk_04", { skip }, async () => {
  await open("conflict/several");
  await page.until("document.querySelector('.antiphon-count')?.textContent === '1 of 3'");
  await tabTo(page, "button: Next");
  await press(page, "Enter");
  await page.until("document.querySelector('.antiphon-count').textContent === '2 of 3'");
  await page.until("document.activeElement?.textContent === 'Title in page “welcome”'");
  await tabTo(page, "button: Keep Mina’s");
  await press(page, "Enter");
  await page.until("document.querySelector('[role=status]').textContent === 'Mina’s is kept.'");
  await page.until("document.activeElement?.textContent === 'page “old”'");
  await tabTo(page, "button: Delete it anyway");
  await press(page, "Enter");
  await page.until("document.activeElement?.textContent === 'Body in page “welcome”'");
  await press(page, "Escape");
  await page.until("story.deeds.length === 2");
  assert.deepEqual(await deeds(), [{ resolve: "title", decision: "keepTheirs" }, { resolve: "old", decision: "keepMine" }]);
});

test("where the other side changes meanwhile, it is shown in place and told, and what was typed stays sdk_04 core_08", { skip }, async () => {
  await open("conflict/text");
  await tabTo(page, "textarea");
  await type(page, "typed ");
  const change = (id) => page.evaluate(`story.change((entries) => entries.map((entry) => (
    { ...entry, theirs: { ...entry.theirs, id: "${id}", value: "Closed for ever (${id}).", actor: "noor", at: "2026-11-21T11:29:00Z" } })))`);
  await change("t2");
  await page.until("document.querySelector('[role=status]').textContent.startsWith('Noor changed it again, 11:29')");
  assert.match(await page.evaluate("document.querySelector('.antiphon-theirs').textContent"), /Noor’s change[^]*Closed for ever \(t2\)/);
  assert.match(await page.evaluate("document.querySelector('dialog textarea').value"), /typed /);
  assert.match(await focused(page), /^textarea/, "the focus stays where it is");
  // What was chosen about the former version is not carried out about the newer one.
  await tabTo(page, "button: Keep mine");
  await press(page, "Enter");
  await page.until("document.querySelector('.antiphon-theirs') === null");
  await change("t3");
  await page.until("document.querySelector('[role=status]').textContent.startsWith('It changed while you chose')");
  await press(page, "Escape");
  await page.until("document.querySelector('dialog[open]') === null");
  assert.deepEqual(await deeds(), []);
});

test("a choice that meets a newer version opens the dialog once more; one that was made elsewhere does not sdk_04 core_08", { skip }, async () => {
  for (const [code, opens] of [["NEWER", true], ["NO_CONFLICT", false]]) {
    await open("conflict/line");
    await tabTo(page, "button: Keep mine");
    await press(page, "Enter");
    await page.evaluate(`story.refuseNext = "${code}"`);
    await tabTo(page, "button: Finish");
    await press(page, "Enter");
    await page.until(`(document.querySelector("dialog[open] .antiphon-mine") !== null) === ${opens} && story.refuseNext === undefined`);
    if (opens) assert.match(await page.evaluate("document.querySelector('[role=status]').textContent"), /^It changed while you chose/);
    assert.deepEqual(await deeds(), []);
  }
});

test("what was chosen is carried out when the page goes away sdk_04", { skip }, async () => {
  await open("conflict/several");
  await tabTo(page, "button: Keep mine");
  await press(page, "Enter");
  await page.until("document.querySelector('[role=status]').textContent === 'Yours is kept.'");
  assert.deepEqual(await deeds(), []);
  await page.evaluate("dispatchEvent(new Event('pagehide'))");
  assert.deepEqual(await deeds(), [{ resolve: "body", decision: "keepMine" }]);
});

test("a conflict that ends by itself leaves the dialog, and that is told sdk_04 core_08", { skip }, async () => {
  await open("conflict/several");
  await page.until("document.querySelector('.antiphon-count')?.textContent === '1 of 3'");
  await page.evaluate("story.change((entries) => entries.slice(1))");
  await page.until("document.querySelector('.antiphon-count').textContent === '1 of 2'");
  assert.match(await page.evaluate("document.querySelector('[role=status]').textContent"), /not needed any more/);
  assert.match(await focused(page), /^h2: Title/);
});

test("a row that others deleted comes back with all that was typed, or is copied sdk_04 core_09", { skip }, async () => {
  await open("conflict/gone");
  await page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }");
  await tabTo(page, "button: Copy my text");
  await press(page, "Enter");
  await page.until("document.querySelector('[role=status]').textContent === 'Copied.'");
  assert.match(await page.evaluate("copied"), /^Welcome to Acme\n\nOur office opens at eight/);
  await tabTo(page, "button: Bring it back");
  await press(page, "Enter");
  await tabTo(page, "button: Finish");
  await press(page, "Enter");
  await page.until("story.deeds.length === 1");
  assert.equal((await deeds())[0].decision, "restore");
});

test("fields that were changed in one go are chosen in one go sdk_04 core_13", { skip }, async () => {
  await open("conflict/group");
  await tabTo(page, "button: Keep this");
  await press(page, "Enter");
  await press(page, "Escape");
  await page.until("story.deeds.length === 2");
  assert.deepEqual(await deeds(), [
    { resolve: "g1", decision: { merge: "Welcome to Acme" } }, { resolve: "g2", decision: { merge: 3 } },
  ]);
});

test("a field with a slot of the application is edited in it sdk_04", { skip }, async () => {
  await open("conflict/slot");
  await tabTo(page, "select: Your text for Status");
  await press(page, "ArrowUp");
  await tabTo(page, "button: Keep this");
  await press(page, "Enter");
  await press(page, "Escape");
  await page.until("story.deeds.length === 1");
  assert.deepEqual((await deeds())[0].decision, { merge: "doing" });
});

test("waiting changes are edited, sent again and discarded by keyboard, and discarding asks once for all sdk_04 core_04", { skip }, async () => {
  await open("outbox/tree");
  await tabTo(page, "button: Edit: New page");
  await press(page, "Enter");
  await page.until("document.querySelector('dialog[open] textarea') !== null");
  await tabTo(page, "textarea: Title");
  await type(page, "My ");
  await tabTo(page, "button: Save");
  await press(page, "Enter");
  await page.until("story.deeds.length === 2");
  assert.deepEqual(await deeds(), [{ update: ["page", "plans", { title: "My Plans" }] }, { retry: "page" }]);
  await tabTo(page, "button: Discard: Change page");
  await press(page, "Enter");
  await page.until("document.querySelector('dialog[open] li') !== null");
  await press(page, "Escape");
  await page.until("document.querySelector('dialog[open]') === null");
  assert.equal((await deeds()).length, 2, "nothing was discarded");
  await tabTo(page, "button: Discard: New task");
  await press(page, "Enter");
  await page.until("document.querySelectorAll('dialog[open] li').length === 2");
  await tabTo(page, "button: Discard");
  await press(page, "Enter");
  await page.until("story.deeds.length === 3");
  assert.deepEqual((await deeds())[2], { discard: ["task", "votes"] });
  await page.until("document.activeElement?.tagName === 'H3'");
});

test("changes are brought in from a file after a question, and what is no such file is explained by its code sdk_04 sdk_06", { skip }, async () => {
  await open("outbox/importing");
  assert.match(await page.evaluate("document.querySelector('dialog[open] p').textContent"), /1 change from changes-acme.json/);
  await press(page, "Escape");
  await page.until("document.querySelector('dialog[open]') === null");
  assert.deepEqual(await deeds(), [], "nothing was brought in");
  const choose = (text) => page.evaluate(`chooseFile(document.querySelector("input[type=file]"), ${JSON.stringify(text)})`);
  const confirm = async () => {
    await page.until("document.querySelector('dialog[open] h2:focus') !== null");
    await tabTo(page, "button: Bring in");
    await press(page, "Enter");
    await page.until("document.querySelector('dialog[open]') === null");
  };
  const told = (text) => page.until(`document.querySelector(".antiphon-outbox [role=status]").textContent.includes(${JSON.stringify(text)})`);
  const file = { format: 1, user: "alice", organization: "acme", entries: [{ key: "new", group: "new", entityType: "page", entityId: "far", change: { do: "value", field: "title", value: "far" }, state: "pending", createdMs: 0, attempts: 0 }] };
  await choose(JSON.stringify(file));
  await confirm();
  await told("1 change was brought in.");
  assert.deepEqual(await deeds(), [{ import: 1 }]);
  await page.until("document.querySelector('[data-item=new]') !== null");
  await choose(JSON.stringify({ ...file, user: "bob" }));
  await confirm();
  await told("another person");
  await choose("{ not JSON");
  await told("It holds no changes that were saved here.");
  await tabTo(page, "button: Bring in from a file");
});

test("what was typed into a merge is kept at each stroke, and taken up where the dialog opens again sdk_04 desk_03", { skip }, async () => {
  await open("conflict/takenUp");
  await page.until("document.querySelector('dialog[open] textarea')?.value === 'typed before the reload'");
  await tabTo(page, "textarea: ");
  await type(page, "a");
  await page.until("story.kept.at(-1)?.[1]?.typed?.length === 'typed before the reload'.length + 1");
  assert.equal(await page.evaluate("new Set(story.kept.map(([key]) => key)).size"), 1);
  await tabTo(page, "button: Start again");
  await press(page, "Enter");
  await page.until("story.kept.at(-1)?.[1]?.typed === undefined");
});

test("the focus goes to the neighbour when a change leaves the list sdk_04 desk_06", { skip }, async () => {
  await open("outbox/tree");
  await tabTo(page, "button: Edit: Change page “plans”");
  await page.evaluate("story.change((entries) => entries.filter(({ key }) => key !== 'title'))");
  await page.until("document.activeElement?.textContent === 'New task “room”'");
  await page.evaluate("story.change(() => [])");
  await page.until("document.activeElement?.textContent === 'Waiting changes'");
});

test("the banner has one status, which is told less often than it changes sdk_04", { skip }, async () => {
  await open("banners/syncing");
  await page.until("document.querySelector('[role=status]')?.textContent.trim() === 'Syncing 2 changes'");
  assert.equal(await page.evaluate("document.querySelectorAll('[role=status], [aria-live]').length"), 1);
  const told = await page.evaluate(`new Promise((resolve) => {
    const status = document.querySelector("[role=status]");
    const texts = [];
    new MutationObserver(() => {
      texts.push(status.textContent.trim());
      if (texts.at(-1) === "Syncing 20 changes") resolve(texts);
    }).observe(status, { childList: true, characterData: true, subtree: true });
    const more = () => story.change((entries) => [...entries, { ...entries[0], key: "k" + entries.length, group: "k" + entries.length }]);
    for (let n = 0; n < 18; n += 1) setTimeout(more, n * 20);
  })`);
  assert.ok(told.length <= 3, `it was told ${told.length} times`);
  await tabTo(page, "button: Sync now");
  await press(page, "Enter");
  assert.deepEqual(await deeds(), ["syncNow"]);
});

test("signing out asks twice before anything is discarded, and says where sending failed sdk_04 sdk_06", { skip }, async () => {
  await open("signingOut/waiting");
  await tabTo(page, "input: Send");
  for (let n = 0; n < 3; n += 1) await press(page, "ArrowDown");
  await tabTo(page, "button: Sign out");
  await press(page, "Enter");
  await page.until("document.activeElement?.textContent === 'Yes, discard 2 changes for good'");
  assert.deepEqual(await deeds(), []);
  await press(page, "Enter");
  await page.until("document.title === 'signed out'");
  assert.deepEqual(await deeds(), [{ signOut: "discard" }]);
  await open("signingOut/notSent");
  await page.until("document.querySelector('[role=status]')?.textContent.startsWith('Not everything could be sent')");
});

test("the developers' panel keeps the last events only, stands still where it is paused, and is copied sdk_04", { skip }, async () => {
  await open("devTools/full");
  const events = "[...document.querySelectorAll('.antiphon-part')].at(-1)";
  await page.until(`${events}?.querySelectorAll('tbody tr').length === 5`);
  await tabTo(page, "button: Pause");
  await press(page, "Enter");
  const shown = await page.evaluate(`${events}.querySelector('table').textContent`);
  await page.evaluate("story.tell({ told: 'newIdentity' })");
  await page.until(`${events}.textContent.includes('Paused. 1 more came since.')`);
  assert.equal(await page.evaluate(`${events}.querySelector('table').textContent`), shown);
  await page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }");
  await page.evaluate("[...document.querySelectorAll('button')].find((one) => one.textContent === 'Copy as JSON').click()");
  await page.until("document.querySelector('[role=status]').textContent === 'Copied.'");
  const copied = JSON.parse(await page.evaluate("copied"));
  assert.equal(copied.position.offset, 4711);
  assert.equal(copied.events.length, 5);
  assert.equal(copied.outbox.length, 4);
});
