// Desk in a real browser, with the real server behind a network that can be cut.

import assert from "node:assert/strict";
import { after, afterEach, before, test as declare } from "node:test";

import { changeAs, click, hasDesk, held, none, POLICY, press, shown, startDesk, type } from "./desk.mjs";
import { openPage } from "./browser.mjs";
import { until, whyNot } from "./place.mjs";

const skip = whyNot() || (hasDesk ? false : "needs the built Desk: script/sdk");
const test = (claim, run) => declare(claim, { skip, timeout: 120_000 }, run);
const PAGES = ["1", "2", "3"].map((n) => `00000000-0000-4001-8001-00000000000${n}`);
const [WELCOME, HANDBOOK] = PAGES;
const TASK = "00000000-0000-4002-8001-000000000003";
let place;

before(async () => { if (!skip) place = await startDesk(); });
afterEach(async () => { await place?.tidy(); });
after(async () => { await place?.stop(); });

/** The titles in the list of pages. */
const titles = (page) => page.evaluate("[...document.querySelectorAll('.list li a')].map((a) => a.textContent)");
/** Ids of pages with a title, as the database has them. */
const openId = (page) => page.evaluate("location.hash.split('/')[2] ?? null");
test("what is made, changed and deleted offline survives a reload offline, and is on the server once the network is back desk_07", async () => {
  const page = await place.desk("offline");
  await page.until(`document.querySelector('[data-item="${HANDBOOK}"]') !== null`);
  place.site.cutNetwork();
  await click(page, "New page");
  await page.until("document.activeElement?.classList.contains('title')");
  const made = await openId(page);
  await type(page, "input.title", "Made on a train");
  await type(page, "textarea", "Words **written** offline.");
  await click(page, "Read");
  await page.evaluate(`location.hash = '#/pages/${HANDBOOK}'`);
  await page.until("document.querySelector('input.title')?.value === 'Team handbook'");
  await type(page, "input.title", ", second edition");
  await press(page, "Enter");
  await page.evaluate("location.hash = '#/tasks'");
  await page.until(`document.querySelector('[data-item="${TASK}"]') !== null`);
  await click(page, "Move or delete “Update core hours for summer”");
  await click(page, "Delete", "[role=menu]");
  await page.until(`document.querySelector('[data-item="${TASK}"]') === null`);
  for (const id of [made, HANDBOOK, TASK]) await page.until(held(id));

  await page.reload();
  await page.until(`document.querySelector('.card') !== null && document.querySelector('[data-item="${TASK}"]') === null`);
  await page.evaluate(`location.hash = '#/pages/${made}'`);
  await page.until("document.querySelector('input.title')?.value === 'Made on a train'");
  await page.until("document.querySelector('.read strong')?.textContent === 'written'");
  const [first, ...rest] = await titles(page);
  assert.equal(first, "Made on a train");
  assert.ok(rest.includes("Team handbook, second edition"), rest.join());
  assert.equal(await place.onServer("page", made), undefined, "nothing was sent");

  place.site.mendNetwork();
  await page.evaluate("dispatchEvent(new Event('online'))");
  await until(async () => (await place.onServer("page", made))?.body === "Words **written** offline.");
  await until(async () => (await place.onServer("page", HANDBOOK)).title === "Team handbook, second edition");
  await until(async () => (await place.onServer("task", TASK)) === undefined);
  await page.until("document.querySelector('.edited')?.textContent.startsWith('Last edited by Alice Adams')");
});

test("a page and a task of it that are made offline both come to the server desk_07", async () => {
  const page = await place.desk("family");
  await page.until(`document.querySelector('[data-item="${WELCOME}"]') !== null`);
  place.site.cutNetwork();
  await click(page, "New page");
  await page.until("document.activeElement?.classList.contains('title')");
  const parent = await openId(page);
  await type(page, "input.title", "Parent");
  await type(page, ".page-tasks input", "Child");
  await press(page, "Enter");
  await page.until("document.querySelector('.page-tasks li a')?.textContent === 'Child'");
  const child = await page.evaluate("document.querySelector('.page-tasks li a').hash.split('/')[2]");
  place.site.mendNetwork();
  await page.evaluate("dispatchEvent(new Event('online'))");
  await until(async () => (await place.onServer("task", child))?.page_id === parent);
  none(page);
});

test("who renames a page that others renamed meanwhile is asked, also after a reload, and decides by keys desk_03 desk_07", async () => {
  const id = "00000000-0000-4001-8001-000000000004";
  const page = await place.desk("conflict", { at: `#/pages/${id}` });
  await page.until("document.querySelector('input.title')?.value === 'Release checklist'");
  place.site.cutNetwork();
  await type(page, "input.title", " of Alice");
  await press(page, "Enter");
  await page.until("document.querySelector('.meta .antiphon-badge[data-state]') !== null");
  await changeAs(place, "bob", id, "title", "Release checklist of Bob");
  place.site.mendNetwork();
  await click(page, "Sync now", ".standing");
  await page.until("document.querySelector('.standing [role=status]').textContent.includes('needs your choice')");
  await page.reload();
  await page.until("document.querySelector('.standing .antiphon-primary') !== null");
  await page.evaluate("document.querySelector('.standing .antiphon-primary').click()");
  await page.until("document.querySelector('dialog[open]')?.innerText.includes('Bob Brown')");
  assert.match(await shown(page, "dialog[open] h2"), /Title/);
  await page.evaluate("[...document.querySelectorAll('dialog[open] button')].find((one) => one.textContent.trim() === 'Keep mine').focus()");
  await press(page, "Enter");
  await press(page, "Escape");
  await until(async () => (await place.onServer("page", id)).title === "Release checklist of Alice");
  await page.until("document.querySelector('input.title').value === 'Release checklist of Alice' && document.querySelector('dialog[open]') === null");
  none(page);
});

test("two tabs show the same over one connection, and the other goes on when the leader closes desk_07", async () => {
  const one = await place.desk("tabs");
  await one.until(`document.querySelector('[data-item="${WELCOME}"]') !== null`);
  await until(() => place.site.streams.size === 1);
  const two = await place.desk("tabs", { at: "#/tasks" });
  await two.until("document.querySelector('.card') !== null");
  await until(() => place.site.streams.size === 1);
  await type(two, ".column .add input", "Seen in both");
  await press(two, "Enter");
  await one.evaluate("location.hash = '#/tasks'");
  await one.until("[...document.querySelectorAll('.card a')].some((a) => a.textContent === 'Seen in both')");
  const id = await one.evaluate("[...document.querySelectorAll('.card')].find((card) => card.querySelector('a').textContent === 'Seen in both').dataset.item");
  await until(async () => (await place.onServer("task", id))?.title === "Seen in both");
  await one.close();
  await place.sql(`update tasks set title = 'After the leader' where id = '${id}'`);
  await two.until("[...document.querySelectorAll('.card a')].some((a) => a.textContent === 'After the leader')");
  await until(() => place.site.streams.size === 1);
  none(two);
});

test("what somebody else commits is seen while one looks at it, and words come into a text that is being typed desk_01", async () => {
  const page = await place.desk("live", { at: `#/pages/${PAGES[2]}` });
  await page.until("document.querySelector('input.title')?.value === 'Product roadmap'");
  await place.sql(`update pages set body = 'one two three' where id = '${PAGES[2]}'`);
  await page.until("document.querySelector('.read')?.innerText === 'one two three'");
  await click(page, "Write");
  await type(page, "textarea", " four");
  await place.sql(`update pages set body = 'zero one two three' where id = '${PAGES[2]}'`);
  await page.until("document.querySelector('textarea').value === 'zero one two three four'");
  await page.evaluate("document.querySelector('textarea').blur()");
  await until(async () => (await place.onServer("page", PAGES[2])).body === "zero one two three four");
  none(page);
});

const HOSTILE = [
  "<script>window.hurt = 1</script>", "<img src=x onerror='window.hurt = 1'>", "[click](javascript:window.hurt=1)",
  "[data](data:text/html,<script>window.hurt=1</script>)", "**<b onmouseover=window.hurt=1>bold</b>**", "\u202eright to left\u202c",
  "[good](https://example.com/?a=1&b=2)", "`<i>code</i>`", "> ".repeat(500) + "deep", "*".repeat(5000), "[".repeat(5000), "- ".repeat(5000),
].join("\n\n");

test("a hostile text is shown and nothing of it runs, however long it is desk_01 se_12", async () => {
  const page = await place.desk("hostile");
  await page.until(`document.querySelector('[data-item="${WELCOME}"]') !== null`);
  const long = `${"word ".repeat(200_000)}end`;
  await place.sql(
    `insert into pages (id, organization_id, title, body, position) values ('00000000-0000-4001-8001-00000000aaa1', 'acme', repeat('<b>title</b> ', 800), '${HOSTILE.replaceAll("'", "''")}', '0')`,
    `insert into pages (id, organization_id, title, body, position) values ('00000000-0000-4001-8001-00000000aaa2', 'acme', 'Long', repeat('word ', 200000) || 'end', '01')`,
  );
  await page.evaluate("location.hash = '#/pages/00000000-0000-4001-8001-00000000aaa1'");
  await page.until("document.querySelector('.read')?.innerText.includes('window.hurt')");
  const found = await page.evaluate(`({
    made: [...document.querySelectorAll('.read :is(script, img, b, i, iframe)')].map((one) => one.outerHTML),
    links: [...document.querySelectorAll('.read a')].map((a) => a.href), hurt: window.hurt ?? null,
    wide: document.documentElement.scrollWidth <= document.documentElement.clientWidth,
  })`);
  assert.deepEqual(found, { made: [], links: ["https://example.com/?a=1&b=2"], hurt: null, wide: true });
  await page.evaluate("location.hash = '#/pages/00000000-0000-4001-8001-00000000aaa2'");
  await page.until("document.querySelector('.read')?.textContent.endsWith('word end')");
  assert.equal(await page.evaluate("document.querySelector('.read').textContent.length"), long.length);
  // It is a text like any other: it can be written on.
  await click(page, "Write");
  await page.until("document.querySelector('textarea')?.value.endsWith('word end')");
  await page.evaluate(`(() => {
    const area = document.querySelector("textarea");
    area.focus();
    area.setSelectionRange(0, 0);
    document.execCommand("insertText", false, "begin ");
  })()`);
  await press(page, "Tab");
  await until(async () => (await place.fieldOnServer("page", "00000000-0000-4001-8001-00000000aaa2", "body")) === `begin ${long}`);
  none(page);
  await place.sql("delete from pages where id::text like '%aaa_'");
});

test("a page is moved by keys and by its menu, with one edit, and the focus stays with it desk_01 desk_06", async () => {
  const page = await place.desk("order");
  await page.until(`document.querySelector('[data-item="${WELCOME}"]') !== null`);
  const order = () => page.evaluate("[...document.querySelectorAll('.list li')].map((li) => li.dataset.item)");
  const before = await order();
  const at = before.indexOf(WELCOME);
  await page.evaluate(`document.querySelector('[data-item="${WELCOME}"] a').focus()`);
  await press(page, "ArrowDown", { alt: true });
  await page.until(`[...document.querySelectorAll('.list li')][${at + 1}].dataset.item === '${WELCOME}'`);
  assert.equal(await page.evaluate("document.activeElement.closest('li').dataset.item"), WELCOME);
  assert.match(await shown(page, ".told"), /“Welcome to Acme” is now \d+ of \d+\./);
  await click(page, "Move “Welcome to Acme”");
  await click(page, "Move to the end", "[role=menu]");
  await page.until(`[...document.querySelectorAll('.list li')].at(-1).dataset.item === '${WELCOME}'`);
  const moved = [...before.filter((id) => id !== WELCOME), WELCOME];
  assert.deepEqual(await order(), moved);
  const last = moved.at(-2);
  await until(async () => (await place.onServer("page", WELCOME)).position > (await place.onServer("page", last)).position);
  none(page);
});

test("a task goes through the columns by keys, has labels and votes, and the board says where it is desk_01 desk_06", async () => {
  const id = "00000000-0000-4002-8001-000000000007";
  const page = await place.desk("board", { at: "#/tasks" });
  await page.until(`document.querySelector('[data-item="${id}"]') !== null`);
  await page.evaluate(`document.querySelector('[data-item="${id}"] a').focus()`);
  await press(page, "ArrowRight", { alt: true });
  await until(async () => (await place.onServer("task", id)).status === "doing");
  const { votes } = await place.onServer("task", id);
  await page.evaluate(`document.querySelector('[data-item="${id}"] .vote').click()`);
  await page.evaluate(`document.querySelector('[data-item="${id}"] .vote').click()`);
  await until(async () => (await place.onServer("task", id)).votes === votes + 2);
  await page.evaluate(`document.querySelector('[data-item="${id}"] a').click()`);
  await type(page, "dialog fieldset input", "train");
  await press(page, "Enter");
  await until(async () => (await place.onServer("task", id)).labels.includes("train"));
  await click(page, "Remove the label offline", "dialog");
  await until(async () => !(await place.onServer("task", id)).labels.includes("offline"));
  await press(page, "Escape");
  await page.until("document.querySelector('dialog[open]') === null");
  none(page);
});

test("what is thrown away comes back, from the trash and from what was deleted for good desk_01", async () => {
  const page = await place.desk("trash", { at: `#/pages/${PAGES[1]}` });
  await page.until("document.querySelector('input.title')?.value.startsWith('Team handbook')");
  await click(page, "Move to the trash");
  await page.evaluate("location.hash = '#/trash'");
  const title = (await place.onServer("page", HANDBOOK)).title;
  await click(page, `Restore “${title}”`);
  await until(async () => (await place.onServer("page", HANDBOOK)).archived === false);
  await page.evaluate("location.hash = '#/pages'");
  await click(page, "New page");
  await type(page, "input.title", "Not for long");
  await type(page, "textarea", "words that come back");
  await click(page, "Read");
  const made = await openId(page);
  await until(async () => (await place.onServer("page", made))?.body === "words that come back");
  await click(page, "Move to the trash");
  await page.evaluate("location.hash = '#/trash'");
  await click(page, "Delete for good: “Not for long”");
  await click(page, "Delete for good", "dialog");
  await until(async () => (await place.onServer("page", made)) === undefined);
  await page.until(`document.querySelector('[data-item="${made}"] .hint')?.textContent.startsWith('Alice Adams deleted it')`);
  await click(page, "Restore", `[data-item="${made}"]`);
  await until(async () => (await place.onServer("page", made))?.body === "words that come back");
  none(page);
});

test("an earlier version of a page is read and brought back, and who changed it is named desk_01", async () => {
  const id = "00000000-0000-4001-8001-000000000008";
  const bob = await place.desk("history", { as: "bob", at: `#/pages/${id}` });
  await bob.until("document.querySelector('input.title')?.value === 'Pricing notes'");
  const { body } = await place.onServer("page", id);
  await click(bob, "Write");
  await type(bob, "textarea", " Bob was here.");
  await click(bob, "Read");
  await until(async () => (await place.onServer("page", id)).body === `${body} Bob was here.`);
  const page = await place.desk("historian", { at: `#/pages/${id}` });
  await page.until("document.querySelector('.edited')?.textContent.startsWith('Last edited by Bob Brown')");
  await click(page, "History");
  await page.until("document.querySelectorAll('.history li').length === 2");
  assert.match(await shown(page, ".history li"), /^Bob Brown changed text/);
  await page.evaluate("document.querySelectorAll('.history li button')[1].click()");
  await click(page, "Bring this version back");
  await until(async () => (await place.onServer("page", id)).body === body);
  none(page);
});

test("an earlier version of a task is read field by field, and brought back desk_01", async () => {
  const id = "00000000-0000-4002-8001-000000000009";
  await place.sql(`update tasks set status = 'done', priority = 1, assignee = 'bob' where id = '${id}'`);
  const before = await place.onServer("task", id);
  await until(async () => (await place.onServer("task", id)).status === "done");
  await place.sql(`update tasks set status = 'todo', priority = 3, assignee = 'alice' where id = '${id}'`);
  const page = await place.desk("taskhistory", { at: `#/tasks/${id}` });
  await page.until("[...document.querySelectorAll('dialog .field select')].some(({ value }) => value === 'todo')");
  await click(page, "History", "dialog");
  await page.until("document.querySelectorAll('.history li button').length >= 3");
  await page.evaluate("document.querySelectorAll('.history li button')[1].click()");
  await page.until("document.querySelector('.version dl')?.innerText.includes('Done')");
  assert.match(await shown(page, ".version dl"), /Status\s+Done\s+Person\s+Bob Brown\s+Priority\s+High/);
  await click(page, "Bring this version back");
  await until(async () => (await place.onServer("task", id)).status === "done");
  assert.equal((await place.onServer("task", id)).assignee, before.assignee);
  none(page);
});

test("search finds words in pages and tasks on the device, with the network gone desk_01", async () => {
  const page = await place.desk("search");
  await page.until("document.querySelector('.list')?.ariaBusy === 'false' && document.querySelectorAll('.list li').length > 20");
  place.site.cutNetwork();
  await page.evaluate("location.hash = '#/search'");
  await type(page, "input[type=search]", "TRAINS offline");
  await page.until("document.querySelector('.found a')?.textContent === 'Customer interviews, spring'");
  assert.match(await shown(page, ".found p"), /mostly on trains/);
  assert.match(await page.evaluate("location.hash"), /^#\/search\/TRAINS%20offline$/);
});

test("antiphon dev serves Desk packed, under a policy by which no text becomes code, and it works there desk_04 se_12", async () => {
  const { api } = place.dev.info;
  for (const [name, kind] of [["", "text/html"], ["desk.js", "text/javascript"], ["desk.css", "text/css"], ["core_bg.wasm", "application/wasm"]]) {
    for (const encoding of ["br", "gzip", null]) {
      const answer = await fetch(`${api}/desk/${name}`, { headers: { "accept-encoding": encoding ?? "identity" } });
      assert.equal(answer.status, 200, name);
      assert.equal(answer.headers.get("content-encoding"), encoding);
      assert.ok(answer.headers.get("content-type").startsWith(kind));
      assert.equal(answer.headers.get("content-security-policy"), POLICY);
      assert.ok((await answer.arrayBuffer()).byteLength > 400);
    }
  }
  assert.equal((await fetch(`${api}/desk/nothing.js`)).status, 404);
  const start = await openPage(place.chromium, `${api}/`, 1280);
  await start.until("document.querySelector('a[href=\"/desk/\"]') !== null");
  await start.evaluate("document.querySelector('a[href=\"/desk/\"]').click()");
  await start.until("document.querySelectorAll('.sign-in button').length >= 2");
  await click(start, "Bob Brown, of acme");
  await start.until("document.querySelectorAll('.list li').length > 20");
  await start.reload();
  await start.until("document.querySelectorAll('.list li').length > 20");
  none(start);
  await start.close();
});

/** Chooses somebody where nobody is signed in; without `?as=`, as people do. */
async function signIn(page, name) {
  await click(page, name, ".sign-in");
  await page.until("document.querySelectorAll('.list li').length > 20");
}

test("who signs out with work that waits is asked, and who comes next on the device sees and sends nothing of it desk_07", async () => {
  const page = await place.open("device", { query: "desk/?lang=en", ready: "document.querySelector('.sign-in button') !== null" });
  await signIn(page, "Alice Adams, of acme");
  const second = await place.open("device", { query: "desk/?lang=en", ready: "document.querySelectorAll('.list li').length > 20" });
  place.site.cutNetwork();
  await click(page, "New page");
  await page.until("document.activeElement?.classList.contains('title')");
  const secret = await openId(page);
  await type(page, "input.title", "Only Alice knows");
  await press(page, "Enter");
  await click(page, "Alice Adams: account");
  await click(page, "Sign out", "[role=menu]");
  await page.until("/1 change|2 changes/.test(document.querySelector('dialog[open]')?.innerText ?? '')");
  await page.evaluate("[...document.querySelectorAll('dialog[open] input')].find((one) => one.value === 'keep' || one.closest('label')?.innerText.includes('Keep')).click()");
  await click(page, "Sign out", "dialog[open]");
  await page.until("document.querySelector('.sign-in') !== null");
  await second.until("document.querySelector('.sign-in') !== null");
  await second.close();
  place.site.mendNetwork();
  await signIn(page, "Bob Brown, of acme");
  assert.ok(!(await titles(page)).includes("Only Alice knows"));
  await place.sql("update pages set title = 'Security basics, revised' where title = 'Security basics'");
  await page.until("[...document.querySelectorAll('.list a')].some((a) => a.textContent === 'Security basics, revised')");
  assert.equal(await place.onServer("page", secret), undefined, "nothing is sent while Bob is here");
  await click(page, "Bob Brown: account");
  await click(page, "Sign out", "[role=menu]");
  await page.until("document.querySelector('dialog[open]') !== null");
  await click(page, "Sign out", "dialog[open]");
  await signIn(page, "Alice Adams, of acme");
  await until(async () => (await place.onServer("page", secret))?.title === "Only Alice knows");
});

test("who loses the membership in mid-edit is told in words, and what was typed stays desk_07", async () => {
  const page = await place.desk("leaver", { as: "bob", at: "#/pages/00000000-0000-4001-8001-000000000010" });
  await page.until("document.querySelector('input.title')?.value.length > 0");
  place.dev.operate("users", "leave", "bob", "--org", "acme");
  await page.until("document.querySelector('.standing')?.dataset !== undefined && document.querySelector('.antiphon-bar').dataset.phase === 'refused'");
  await type(page, "input.title", " and more");
  await press(page, "Enter");
  await page.until("document.querySelector('.standing [role=status]').textContent.includes('Your changes are kept')");
  assert.match(await page.evaluate("document.querySelector('input.title').value"), / and more$/);
  place.dev.operate("users", "join", "bob", "--org", "acme", "--role", "member");
});
