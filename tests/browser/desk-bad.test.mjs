// What may come to Desk that nobody asked for: texts that are hostile or huge, thousands of rows at once, rights that go
// while one types, an organisation that is no more. Plain words, nothing lost, nothing executed.

import assert from "node:assert/strict";
import { after, afterEach, before, test as declare } from "node:test";

import { click, hasDesk, none, press, shown, startDesk, type } from "./desk.mjs";
import { until, whyNot } from "./place.mjs";
import { tooWide } from "./stories.mjs";

const skip = whyNot() || (hasDesk ? false : "needs the built Desk: script/sdk");
const test = (claim, run) => declare(claim, { skip, timeout: 240_000 }, run);
const id = (n) => `00000000-0000-4001-8001-0000000000${String(n).padStart(2, "0")}`;
const upToDate = "document.querySelector('.antiphon-bar').dataset.phase === 'upToDate'";
let place;

before(async () => { if (!skip) place = await startDesk(); });
afterEach(async () => { await place?.tidy(); });
after(async () => { await place?.stop(); });

const HOSTILE = [
  "<script>window.hurt = 1</script>", "<img src=x onerror='window.hurt = 2'>", "[go](javascript:window.hurt=3)", "[data](data:text/html,x)",
  "<svg onload=window.hurt=4>", "{{constructor.constructor('window.hurt=5')()}}", "\u202Ereversed\u202C", "مرحبا بالعالم", "e\u0301\u0302\u0303".repeat(500),
];

test("hostile texts in titles, labels and names are shown as they are, everywhere, and nothing of them runs desk_01 se_12", async () => {
  const quoted = (text) => `'${text.replaceAll("'", "''")}'`;
  await place.sql(
    ...HOSTILE.map((text, n) => `insert into pages (id, organization_id, title, body, position) values ('${id(70 + n)}', 'acme', ${quoted(text)}, ${quoted(text)}, '0${n}')`),
    ...HOSTILE.map((text, n) => `insert into tasks (organization_id, title, status, labels, position, assignee) values ('acme', ${quoted(text)}, 'todo', array[${quoted(text)}], '0${n}', 'alice')`),
  );
  const page = await place.desk("hostile");
  await page.until(`document.querySelector('[data-item="${id(70)}"]') !== null`);
  for (const at of [...HOSTILE.map((_, n) => `#/pages/${id(70 + n)}`), "#/tasks", "#/search/window.hurt", "#/trash"]) {
    await page.evaluate(`location.hash = ${JSON.stringify(at)}`);
    await page.until("document.querySelector('input.title, .card, .narrow') !== null");
    assert.deepEqual(await tooWide(page), [], at);
  }
  const found = await page.evaluate("({ hurt: window.hurt ?? null, made: document.querySelectorAll('#desk :is(script, img, iframe, svg)').length, links: [...document.querySelectorAll('#desk a')].filter((a) => !/^https?:/.test(a.href)).length })");
  assert.deepEqual(found, { hurt: null, made: 0, links: 0 });
  none(page);
  await place.sql("delete from tasks where position like '0_'", `delete from pages where id::text between '${id(70)}' and '${id(79)}'`);
});

test("a title of 10,000 characters is kept, shown in one line of the list, and makes nothing wider desk_01", async () => {
  const page = await place.desk("long", { at: `#/pages/${id(2)}` });
  await page.until("document.querySelector('input.title')?.value.length > 0");
  const { title } = await place.onServer("page", id(2));
  const long = "Überlange Überschrift ".repeat(460).slice(0, 10_000 - title.length);
  await type(page, "input.title", long);
  await press(page, "Enter");
  await until(async () => (await place.onServer("page", id(2))).title === title + long);
  for (const width of [320, 1280]) {
    await page.send("Emulation.setDeviceMetricsOverride", { width, height: 900, deviceScaleFactor: 1, mobile: false });
    for (const at of [`#/pages/${id(2)}`, "#/pages"]) {
      await page.evaluate(`location.hash = '${at}'`);
      await page.until("document.querySelector('.list') !== null");
      assert.deepEqual(await tooWide(page), [], `${at} at ${width}`);
    }
    const line = await page.evaluate(`document.querySelector('[data-item="${id(2)}"]').getBoundingClientRect().height`);
    assert.ok(line < 60, `a line of the list is ${line} pixels high`);
  }
  none(page);
  await place.sql(`update pages set title = 'Team handbook' where id = '${id(2)}'`);
});

test("a text of 200,000 words that one types is kept, sent whole, and stays on screen desk_01", async () => {
  const page = await place.desk("huge", { at: `#/pages/${id(3)}` });
  await page.until("document.querySelector('input.title')?.value.length > 0");
  await click(page, "Write");
  await page.until("document.querySelector('textarea') !== null");
  const words = 200_000;
  await page.evaluate(`(() => {
    const area = document.querySelector("textarea");
    Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set.call(area, "word ".repeat(${words}) + "end");
    area.dispatchEvent(new Event("input", { bubbles: true }));
    area.focus();
  })()`);
  await press(page, "Tab");
  await page.until("document.querySelector('textarea')?.value.endsWith('word end')");
  // So long a value is asked for by itself.
  await until(async () => (await place.fieldOnServer("page", id(3), "body"))?.endsWith("word end"));
  await page.until("(document.querySelector('textarea')?.value ?? document.querySelector('.read')?.textContent ?? '').endsWith('word end')");
  none(page);
});

test("10,000 rows that come at once leave the page responsive, and all of them are there to be shown desk_08", async () => {
  const page = await place.desk("flood", { at: `#/pages/${id(4)}` });
  await page.until(upToDate);
  const before = await page.evaluate("document.querySelectorAll('.list li').length");
  // The longest time for which the page does not answer.
  await page.evaluate(`(() => {
    window.longestMs = 0;
    window.beganMs = performance.now();
    let last = beganMs;
    const turn = () => { const now = performance.now(); longestMs = Math.max(longestMs, now - last); last = now; window.turning = setTimeout(turn, 0); };
    turn();
  })()`);
  await place.sql("insert into pages (organization_id, title, body, position, archived) select 'acme', 'Flood ' || n, 'words', 'zz' || lpad(n::text, 6, '0'), false from generate_series(1, 10000) n");
  await page.evaluate("location.hash = '#/search/Flood%2010000'");
  await page.until("[...document.querySelectorAll('.found a')].some((a) => a.textContent === 'Flood 10000')");
  // A part of the whole, since a busy machine makes both longer.
  const [longestMs, wholeMs] = await page.evaluate("clearTimeout(turning), [longestMs, performance.now() - beganMs]");
  assert.ok(longestMs < wholeMs / 3, `the page did not answer for ${longestMs} of ${wholeMs} ms`);
  await page.evaluate("location.hash = '#/pages'");
  await page.until("document.querySelectorAll('.list li').length >= 200");
  // Page after page, to the last one.
  const more = "[...document.querySelectorAll('.side > button')].find((one) => one.textContent === 'Show more')";
  for (let n = 0; n < 60 && await page.evaluate(`${more} !== undefined`); n += 1) {
    const shownBefore = await page.evaluate("document.querySelectorAll('.list li').length");
    await page.evaluate(`${more}.click()`);
    await page.until(`document.querySelectorAll('.list li').length > ${shownBefore}`);
  }
  assert.equal(await page.evaluate("document.querySelectorAll('.list li').length"), before + 10_000);
  none(page);
  await place.sql("delete from pages where title like 'Flood %'");
});

test("a role that loses its rights in mid-edit is told so in words, and what was typed stays to be copied desk_02", async () => {
  const page = await place.desk("demoted", { as: "bob", at: `#/pages/${id(5)}` });
  await page.until("document.querySelector('input.title')?.value.length > 0");
  await page.until(upToDate);
  const { title } = await place.onServer("page", id(5));
  await type(page, "input.title", ", half a wo");
  place.dev.operate("users", "join", "bob", "--org", "acme", "--role", "viewer");
  await until(async () => {
    const headers = { authorization: `Bearer ${place.dev.info.tokens.bob}` };
    const { types } = await (await fetch(`${place.dev.info.api}/v1/orgs/acme/schema`, { headers })).json();
    return types.page.can.update.length === 0;
  });
  await type(page, "input.title", "rd");
  await press(page, "Enter");
  await page.until("/not accepted|may not|cannot be saved/.test(document.querySelector('#desk').innerText)");
  assert.match(await page.evaluate("document.querySelector('input.title').value"), /, half a word$/);
  await page.evaluate("location.hash = '#/waiting'");
  await page.until("document.querySelector('.antiphon-outbox') !== null");
  assert.match(await shown(page, ".antiphon-outbox"), /, half a word[^]*You may not change this field. What you typed is kept./);
  assert.equal((await place.onServer("page", id(5))).title.startsWith(title), true);
  place.dev.operate("users", "join", "bob", "--org", "acme", "--role", "member");
});

test("an organisation that is deleted while one types is told in words, and what was typed stays desk_02", async () => {
  const page = await place.desk("deleted", { as: "bob", at: `#/pages/${id(6)}` });
  await page.until("document.querySelector('input.title')?.value.length > 0");
  await page.until(upToDate);
  await type(page, "input.title", ", the last words");
  // As its owners do it: everybody leaves, and the rows go.
  for (const user of ["bob", "alice"]) place.dev.operate("users", "leave", user, "--org", "acme");
  await place.sql("delete from tasks where organization_id = 'acme'", "delete from pages where organization_id = 'acme'");
  await press(page, "Enter");
  await page.until("document.querySelector('.antiphon-bar').dataset.phase === 'refused'");
  await page.until("document.querySelector('.standing').innerText.includes('Your changes are kept')");
  // Who is no member any more keeps what was typed, and none of the rows.
  await page.until("document.querySelector('input.title') === null");
  await page.evaluate("location.hash = '#/waiting'");
  await page.until("document.querySelector('.antiphon-outbox')?.innerText.includes(', the last words')");
  await page.reload();
  await page.until("document.querySelector('.antiphon-outbox')?.innerText.includes(', the last words')");
});
