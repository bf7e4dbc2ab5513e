// Desk's service worker in a real browser: it opens with nothing there at all, and a new release loses nothing.

import assert from "node:assert/strict";
import { after, afterEach, before, test as declare } from "node:test";

import { click, hasDesk, startDesk, type } from "./desk.mjs";
import { until, whyNot } from "./place.mjs";

const skip = whyNot() || (hasDesk ? false : "needs the built Desk: script/sdk");
const test = (claim, run) => declare(claim, { skip, timeout: 120_000 }, run);
let place;
let files;

before(async () => {
  if (skip) return;
  place = await startDesk();
  files = { ...place.site.files };
});
afterEach(async () => {
  if (files) Object.assign(place.site.files, files);
  await place?.tidy();
});
after(async () => { await place?.stop(); });

/** Opens Desk, and waits until its worker has it: the second time it is shown from there. */
async function openKept(name) {
  const page = await place.desk(name);
  await page.evaluate("navigator.serviceWorker.ready.then(() => undefined)");
  await page.reload();
  await page.until("navigator.serviceWorker.controller !== null && document.querySelectorAll('.list li').length > 20");
  return page;
}

test("with no server at all Desk opens, takes edits, and sends them once there is one desk_04", async () => {
  const page = await openKept("nothing");
  // Not even its files are to be had any more.
  place.site.cutNetwork();
  for (const path of Object.keys(files).filter((path) => path.startsWith("/desk/"))) delete place.site.files[path];
  await page.close();
  const again = await place.desk("nothing", { ready: "document.querySelectorAll('.list li').length > 20" });
  await click(again, "New page");
  await again.until("document.activeElement?.classList.contains('title')");
  await type(again, "input.title", "Made with nothing there");
  const id = await again.evaluate("location.hash.split('/')[2]");
  await again.reload();
  await again.until("document.querySelector('input.title')?.value === 'Made with nothing there'");
  place.site.mendNetwork();
  await again.evaluate("dispatchEvent(new Event('online'))");
  await until(async () => (await place.onServer("page", id))?.title === "Made with nothing there");
});

test("a new release is offered, comes in every window at once, and loses no stroke desk_04", async () => {
  const [one, other] = [await openKept("release"), await openKept("release")];
  const html = String(files["/desk/"][1]()).replace("<title>Desk", "<title>Desk the second");
  place.site.files["/desk/"] = [files["/desk/"][0], () => html, files["/desk/"][2]];
  const worker = String(files["/desk/worker.js"][1]()).replace("desk-", "desk-second-");
  place.site.files["/desk/worker.js"] = [files["/desk/worker.js"][0], () => worker, files["/desk/worker.js"][2]];
  await one.reload();
  await one.until("document.querySelectorAll('.list li').length > 20");
  await click(one, "New page");
  await one.until("document.activeElement?.classList.contains('title')");
  await type(one, "input.title", "Typed before the release");
  await one.evaluate("navigator.serviceWorker.getRegistration().then((found) => found.update()).then(() => undefined)");
  await one.evaluate("window.before = true");
  await other.evaluate("window.before = true");
  await click(one, "Load it", ".standing");
  for (const page of [one, other]) {
    await page.until("window.before === undefined && document.querySelectorAll('.list li').length > 20");
    await page.until("[...document.querySelectorAll('.list a')].some((a) => a.textContent === 'Typed before the release')");
    assert.deepEqual(page.complaints(), []);
  }
  const kept = await one.evaluate("caches.keys()");
  assert.equal(kept.length, 1);
  assert.match(kept[0], /^desk-second-/);
  await one.evaluate("caches.match('/desk/').then((answer) => answer.text())").then((text) => assert.match(text, /Desk the second/));
});

test("where the browser offers to install Desk, the account's menu does, once desk_04", async () => {
  const page = await place.desk("install");
  await page.evaluate("(() => { const offer = new Event('beforeinstallprompt', { cancelable: true }); offer.prompt = () => { window.asked = (window.asked ?? 0) + 1; return Promise.resolve(); }; window.kept = !dispatchEvent(offer); })()");
  assert.equal(await page.evaluate("kept"), true, "the browser's own hint stays away");
  await click(page, "Alice Adams: account");
  await click(page, "Install Desk", "[role=menu]");
  assert.equal(await page.evaluate("asked"), 1);
  await click(page, "Alice Adams: account");
  await page.until("document.querySelector('[role=menu]') !== null");
  assert.ok(!(await page.evaluate("document.querySelector('[role=menu]').innerText")).includes("Install"));
});

test("the browser is asked to keep what waits, and where it promises nothing, that is told in words desk_04", async () => {
  const page = await place.desk("eviction", { first: "navigator.storage.persist = () => { window.persistAsked = true; return Promise.resolve(false); };" });
  await page.until("document.querySelectorAll('.list li').length > 20");
  place.site.cutNetwork();
  await click(page, "New page");
  await page.until("document.activeElement?.classList.contains('title')");
  await type(page, "input.title", "Kept as long as it goes");
  await page.until("window.persistAsked === true");
  await page.until("document.querySelector('.antiphon-notices')?.textContent.includes('Your browser may remove unsent changes if you stay away for long.')");
});
