// Every screen of Desk in a real browser: axe-core finds nothing, nothing has to be scrolled sideways, all texts come from
// the catalogue, and the keyboard is enough.

import assert from "node:assert/strict";
import { after, afterEach, before, test as declare } from "node:test";

import { click, hasDesk, picture, startDesk } from "./desk.mjs";
import { until, whyNot } from "./place.mjs";
import { focused, look, LOOKS, press, tabTo, tooWide, type, violations } from "./stories.mjs";

const skip = whyNot() || (hasDesk ? false : "needs the built Desk: script/sdk");
const test = (claim, run) => declare(claim, { skip, timeout: 300_000 }, run);
const PAGE = "00000000-0000-4001-8001-000000000001";
const TASK = "00000000-0000-4002-8001-000000000003";
/** Each screen, and what is there once it is. */
const SCREENS = {
  "#/pages": ".list li", [`#/pages/${PAGE}`]: ".read p", "#/tasks": ".card", [`#/tasks/${TASK}`]: "dialog .field",
  "#/search/offline": ".found a", "#/trash": ".narrow h2", "#/waiting": ".antiphon-outbox",
};
/** Those that docs/ shows. */
const PICTURES = { [`#/pages/${PAGE}`]: "page", "#/tasks": "tasks" };
/** Those that it shows by day only. */
const BY_DAY = { [`#/tasks/${TASK}`]: "task", "#/search/offline": "search", "#/trash": "trash", "#/waiting": "waiting" };
let place;

before(async () => { if (!skip) place = await startDesk(); });
afterEach(async () => { await place?.tidy(); });
after(async () => { await place?.stop(); });

const width = (page, pixels) => page.send("Emulation.setDeviceMetricsOverride", { width: pixels, height: 900, deviceScaleFactor: 1, mobile: false });

async function visit(page, at) {
  await page.evaluate(`location.hash = ${JSON.stringify(at)}`);
  await page.until(`document.querySelector(${JSON.stringify(SCREENS[at])}) !== null`);
  await page.until("document.querySelector('.list, .cards')?.ariaBusy !== 'true'");
}

test("axe finds nothing on any screen, light, dark and in forced colours desk_06", async () => {
  const page = await place.desk("axe");
  const found = [];
  for (const at of Object.keys(SCREENS)) {
    await visit(page, at);
    for (const shown of Object.keys(LOOKS)) {
      await look(page, shown);
      if (BY_DAY[at] && shown === "light") await picture(page, `desk-${BY_DAY[at]}`);
      if (PICTURES[at] && shown !== "forced") await picture(page, `desk-${PICTURES[at]}-${shown}`);
      found.push(...(await violations(page)).map((one) => `${at}, ${shown}: ${one}`));
    }
  }
  assert.deepEqual(found, []);
  assert.deepEqual(page.complaints(), [], "nothing is refused by the policy, nothing throws");
});

test("no screen has to be scrolled sideways at 320 pixels, nor with text of twice the size, in any language desk_06", async () => {
  const found = [];
  for (const lang of ["en", "de", "en-XA", "ar-XB"]) {
    const page = await place.desk("narrow", { lang });
    for (const at of Object.keys(SCREENS)) {
      await width(page, 320);
      await visit(page, at);
      found.push(...(await tooWide(page)).map((one) => `${at} ${lang}, 320 pixels: ${one}`));
      await width(page, 1280);
      await page.evaluate("document.documentElement.style.fontSize = '200%'");
      found.push(...(await tooWide(page)).map((one) => `${at} ${lang}, 200 %: ${one}`));
      await page.evaluate("document.documentElement.style.fontSize = ''");
    }
    await page.close();
  }
  assert.deepEqual(found, []);
});

// Texts that are neither data nor of the pseudo-language. What a person wrote stands in places of its own.
const UNMARKED = `(() => {
  const data = ".list a, h1.unseen, .card a, .who, .card-meta, .tag:not(.list .tag), .found, .read, .page-tasks li, option, textarea, .face, .antiphon, .told, time";
  const found = [];
  const walker = document.createTreeWalker(document.querySelector("#desk"), NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (!node.parentElement.closest(data) && /[A-Za-z]{2}/.test(node.data) && !/[\\u27e6\\u27e7]/.test(node.parentElement.textContent)) found.push(node.data);
  }
  for (const element of document.querySelectorAll("#desk :is([aria-label], [placeholder])")) {
    for (const text of [element.ariaLabel, element.placeholder]) {
      if (text && !element.closest(".antiphon, article") && !text.includes("\\u27e6")) found.push(text);
    }
  }
  return found;
})()`;

test("from right to left, axe finds nothing and every text comes from the catalogue desk_06", async () => {
  const page = await place.desk("rtl", { lang: "ar-XB" });
  await width(page, 360);
  const found = [];
  for (const at of Object.keys(SCREENS)) {
    await visit(page, at);
    // What frames a text in this language is no part of the longer one that holds it.
    const wrong = (await violations(page)).filter((one) => !one.startsWith("label-content-name-mismatch"));
    found.push(...wrong.map((one) => `${at}: ${one}`), ...(await page.evaluate(UNMARKED)).map((one) => `${at} says ${one}`));
  }
  assert.deepEqual(found, []);
  assert.equal(await page.evaluate("document.documentElement.dir"), "rtl");
});

test("a page is made, written and thrown away with the keyboard alone desk_06", async () => {
  const page = await place.desk("keys");
  await tabTo(page, "button: New page");
  await press(page, "Enter");
  await page.until("document.activeElement?.classList.contains('title')");
  await type(page, "By keys");
  await tabTo(page, "textarea");
  await type(page, "No mouse was near.");
  const id = await page.evaluate("location.hash.split('/')[2]");
  await press(page, "Tab");
  await until(async () => (await place.onServer("page", id))?.body === "No mouse was near.");
  for (let n = 0; n < 20 && (await focused(page)) !== "button: Move to the trash"; n += 1) await press(page, "Tab", 8);
  await press(page, "Enter");
  await until(async () => (await place.onServer("page", id)).archived === true);
});

test("the focus goes to a neighbour when somebody else takes away what had it desk_06", async () => {
  const page = await place.desk("focus");
  await page.until(`document.querySelector('[data-item="${PAGE}"]') !== null`);
  const next = await page.evaluate(`document.querySelector('[data-item="${PAGE}"]').nextElementSibling.dataset.item`);
  await page.evaluate(`document.querySelector('[data-item="${PAGE}"] a').focus()`);
  await place.sql(`update pages set archived = true where id = '${PAGE}'`);
  await page.until(`document.querySelector('[data-item="${PAGE}"]') === null`);
  assert.equal(await page.evaluate("document.activeElement.closest('[data-item]')?.dataset.item"), next);
  await place.sql(`update pages set archived = false where id = '${PAGE}'`);
});

test("a menu is opened, walked and left by keys, and gives the focus back desk_06", async () => {
  const page = await place.desk("menu");
  await page.until(`document.querySelector('[data-item="${PAGE}"]') !== null`);
  await page.evaluate(`document.querySelector('[data-item="${PAGE}"] button').focus()`);
  await press(page, "Enter");
  await page.until("document.activeElement?.role === 'menuitem' || document.activeElement?.getAttribute('role') === 'menuitem'");
  const first = await focused(page);
  await press(page, "ArrowDown");
  assert.notEqual(await focused(page), first);
  await press(page, "Escape");
  assert.equal(await focused(page), "button: Move “Welcome to Acme”");
  await click(page, "Alice Adams: account");
  await click(page, "Sign out", "[role=menu]");
  await page.until("document.querySelector('dialog[open] h2') !== null && document.activeElement.tagName === 'H2'");
  assert.deepEqual(await violations(page), []);
});
