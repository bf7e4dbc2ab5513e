// The React hooks in a real browser: under StrictMode, over a server in memory and against the real one.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, afterEach, before, test as declare } from "node:test";
import { fileURLToPath } from "node:url";

import { startPlace, until, whyNot } from "./place.mjs";

const skip = whyNot();
const packages = new URL("../../packages/", import.meta.url);
const PAGE_ID = "00000000-0000-4001-8001-000000000001";
const test = (claim, run) => declare(claim, { skip, timeout: 120_000 }, run);
let place;
let sql;
let onServer;

/** A module as one script, with React as it is while developing: it says what it dislikes. */
async function bundle(contents) {
  const esbuild = createRequire(new URL("package.json", packages))("esbuild");
  const stdin = { contents, loader: "tsx", resolveDir: fileURLToPath(new URL("react/tests", packages)) };
  const { outputFiles } = await esbuild.build({
    stdin, bundle: true, ignoreAnnotations: true, format: "esm", write: false, jsx: "automatic",
    define: { "process.env.NODE_ENV": '"development"' }, target: "es2022", logLevel: "warning",
  });
  return outputFiles[0].text;
}

/** The ten lines of the guide, with who is signed in before them and the page's element behind. */
function guide() {
  const [, lines] = /```tsx\n(.*?)```/s.exec(readFileSync(new URL("../docs/guide/react.md", packages), "utf8"));
  const session = 'const session = { userId: "alice", token: async () => (await fetch("/token/alice")).text() };';
  return `import { createRoot } from "react-dom/client";\n${session}\n${lines}\ncreateRoot(document.querySelector("#root")!).render(<App />);`;
}

const html = (script) => `<!doctype html><title>react</title><link rel=icon href=/icon><div id=root></div><script type=module src=${script}></script>`;

before(async () => {
  if (skip) return;
  const scripts = await Promise.all(['import "./page.tsx";', guide()].map(bundle));
  const pages = {
    "/": ["text/html; charset=utf-8", () => html("/page.js")],
    "/guide": ["text/html; charset=utf-8", () => html("/guide.js")],
    "/page.js": ["text/javascript", () => scripts[0]],
    "/guide.js": ["text/javascript", () => scripts[1]],
  };
  place = await startPlace({ pages });
  ({ sql, onServer } = place);
});

afterEach(() => place?.tidy());
after(() => place?.stop());

/** Opens the page over a server in memory. */
async function over(name) {
  const page = await place.open(name, { ready: "window.inMemory" });
  await page.evaluate("inMemory().then((world) => { window.world = world; })");
  return page;
}

/** Opens the page against the real server. */
const open = (name, query = "?real") => place.open(name, { query, ready: "window.seen?.pages?.complete" });

const counted = (page, what) => page.evaluate(`counts["${what}"] ?? 0`);

test("under StrictMode two lists of the same rows are one subscription, which ends with the last of them sdk_03", async () => {
  const page = await over("strict");
  await page.evaluate("window.root = show(world, 'List', { name: 'one', options: {} }, { name: 'other', options: {} }), 0");
  await page.until("seen.one?.rows.length === 5 && seen.other?.rows.length === 5");
  assert.deepEqual(await page.evaluate("world.lists"), { began: 1, now: 1 });
  assert.equal(await page.evaluate("seen.one.rows === seen.other.rows"), true);
  await page.evaluate("root.unmount()");
  await page.until("world.lists.now === 0");
  assert.equal(await page.evaluate("world.lists.began"), 1);
  assert.deepEqual(page.complaints(), []);
});

test("other options keep the components of rows that stay, and pages grow by pages sdk_03", async () => {
  const page = await over("options");
  await page.evaluate("window.root = show(world, 'Chosen', { first: { order: ['priority'], pageSize: 2 } }), 0");
  await page.until("seen.chosen?.rows.length === 2");
  assert.equal(await page.evaluate("seen.chosen.hasMore"), true);
  await page.evaluate("window.kept = [seen.chosen.rows[0], place.querySelector('li'), seen.chosen.more], seen.chosen.more()");
  await page.until("seen.chosen.rows.length === 4");
  await page.evaluate("seen.chosen.more()");
  await page.until("seen.chosen.rows.length === 5 && !seen.chosen.hasMore && seen.chosen.complete");
  assert.deepEqual(await page.evaluate("[kept[0] === seen.chosen.rows[0], kept[1] === place.querySelector('li'), kept[2] === seen.chosen.more]"), [true, true, true]);
  await page.evaluate("window.longest = 0, new MutationObserver(() => { longest = Math.max(longest, 5 - place.querySelectorAll('li').length); }).observe(place, { childList: true, subtree: true })");
  await page.evaluate("choose({ where: { status: 'todo' }, order: ['-priority'] })");
  await page.until("seen.chosen.ids.join() === 't3,t2,t1'");
  assert.equal(await page.evaluate("longest"), 2, "the list was never empty on the way");
  assert.equal(await page.evaluate("[...place.querySelectorAll('li')].includes(kept[1])"), true);
  assert.equal(await counted(page, "mounted t1"), 2, "once, and once more by StrictMode");
  await page.evaluate("choose(null)");
  await page.until("seen.chosen.rows.length === 0 && world.lists.now === 0");
  await page.evaluate("choose({ where: { status: 'nobody has this' } })");
  await page.until("seen.chosen.complete && seen.chosen.rows.length === 0");
  assert.deepEqual(page.complaints(), []);
});

test("a page that a server rendered comes alive without a complaint sdk_03", async () => {
  const page = await over("hydrate");
  await page.evaluate("hydrate().then((hydrated) => { window.hydrated = hydrated; })");
  assert.equal(await page.evaluate("hydrated.html"), '<ul data-complete="false"></ul>');
  await page.until("seen.hydrated?.complete && place.querySelectorAll('li').length === 5");
  assert.deepEqual(await page.evaluate("hydrated.complaints"), []);
  assert.deepEqual(page.complaints(), []);
});

test("edits, the outbox, conflicts, the journal and undo are at hand in components sdk_03", async () => {
  const page = await over("everything");
  await page.evaluate("window.root = show(world, 'Everything', {}), 0");
  await page.until("seen.task?.row && seen.status.connection === 'online'");
  assert.deepEqual(await page.evaluate("[seen.task.presence, seen.nobody, seen.nothing.presence, seen.org.id]"),
    ["here", { presence: "nowhere" }, "coming", "acme"]);
  await page.evaluate("world.server.online = false, 0");
  await page.until("seen.status.connection === 'offline'");
  const edit = await page.evaluate(`(() => {
    const edit = seen.tasks.update('t1', { title: 'mine' });
    window.edit = edit;
    return [edit.id, edit.saved instanceof Promise, edit.settled instanceof Promise, world.org.collection('task').get('t1').title];
  })()`);
  assert.deepEqual(edit, ["t1", true, true, "mine"]);
  await page.until("seen.task.row.title === 'mine' && seen.pending === 1 && seen.outbox.entries.length === 1");
  assert.equal(await page.evaluate("seen.undo.undo()"), true);
  await page.until("seen.task.row.title === 'task 1' && seen.outbox.entries.length === 0");
  await page.evaluate("seen.undo.redo()");
  await page.until("seen.task.row.title === 'mine'");
  await page.evaluate("world.server.write('task', 't1', { title: 'theirs' }), world.server.online = true, 0");
  await page.until("seen.conflicts.conflicts.length === 1");
  const shown = await page.evaluate("(({ base, mine, theirs, group }) => [base, mine, theirs.value, typeof group])(seen.conflicts.conflicts[0])");
  assert.deepEqual(shown, ["task 1", "mine", "theirs", "string"]);
  await page.evaluate("seen.conflicts.resolve(seen.conflicts.conflicts[0], 'keepTheirs')");
  await page.until("seen.task.row.title === 'theirs' && seen.conflicts.conflicts.length === 0");
  await page.until("seen.journal.lines.map(({ rule }) => rule).join() === 'decided,discarded'");
  await page.evaluate("seen.journal.restoreMine(seen.journal.lines[0])");
  await page.until("world.server.rows('task')[0].title === 'mine'");
  assert.deepEqual(page.complaints(), []);
});

test("a draft merges what others write, keeps the caret where it was in the words, and is sent after a rest sdk_03", async () => {
  const page = await over("caret");
  await page.evaluate("window.root = show(world, 'Editor', { id: 'p1' }), 0");
  await page.until("place.querySelector('textarea')?.value === 'one two three'");
  await page.evaluate("window.area = place.querySelector('textarea'), area.focus(), area.setSelectionRange(7, 7)");
  await page.send("Input.insertText", { text: " and" });
  await page.until("seen.draft.text === 'one two and three' && seen.draft.dirty");
  await page.evaluate("world.server.write('page', 'p1', { body: 'at first: one two three, at last' }), 0");
  await page.until("area.value === 'at first: one two and three, at last'");
  assert.deepEqual(await page.evaluate("[area.selectionStart, area.selectionEnd, document.activeElement === area]"), [21, 21, true]);
  await page.send("Input.insertText", { text: "!" });
  await page.until("area.value === 'at first: one two and! three, at last'");
  assert.equal(await page.evaluate("world.server.rows('page')[0].body"), "at first: one two three, at last", "nothing is sent while typing");
  await page.until("world.server.rows('page')[0].body === 'at first: one two and! three, at last'");
  await page.until("!seen.draft.dirty");
  assert.deepEqual(page.complaints(), []);
});

test("words that others changed while they were typed are asked about, and the typed ones stay sdk_03 core_07", async () => {
  const page = await over("overlap");
  await page.evaluate("window.root = show(world, 'Editor', { id: 'p1' }), 0");
  await page.until("place.querySelector('textarea')?.value === 'one two three'");
  await page.evaluate("window.area = place.querySelector('textarea'), area.focus(), area.setSelectionRange(4, 7)");
  await page.send("Input.insertText", { text: "zwei" });
  await page.evaluate("world.server.write('page', 'p1', { body: 'one deux three' }), 0");
  await page.until("world.org.conflicts().length === 1");
  const [conflict] = await page.evaluate("world.org.conflicts().map(({ base, mine, theirs }) => [base, mine, theirs.value])");
  assert.deepEqual(conflict, ["one two three", "one zwei three", "one deux three"]);
  assert.equal(await page.evaluate("area.value"), "one zwei three");
  assert.equal(await page.evaluate("world.server.rows('page')[0].body"), "one deux three");
});

test("one transaction of five rows is one render, and rows that did not change do not render again sdk_03", async () => {
  const page = await open("render");
  await page.until("seen.status.connection === 'online'");
  const ids = await page.evaluate("seen.pages.ids.slice(0, 5)");
  const others = await page.evaluate("seen.pages.ids.slice(5)");
  assert.ok(others.length > 0);
  const rendered = () => page.evaluate("({ ...counts })");
  const before = await rendered();
  await page.evaluate("window.first = seen.pages.rows");
  const list = ids.map((id) => `'${id}'`).join(", ");
  await sql(`update pages set body = 'by one statement' where id in (${list})`);
  await page.until("seen.pages.rows.filter((row) => row.body === 'by one statement').length === 5");
  const after = await rendered();
  // Under StrictMode, React calls a component twice for each render.
  assert.equal(after.pages - before.pages, 2, "one render of the list");
  for (const id of ids) assert.equal(after[`page ${id}`] - before[`page ${id}`], 2, "one render of each row that changed");
  for (const id of others) assert.equal(after[`page ${id}`], before[`page ${id}`], "none of those that did not");
  assert.equal(await page.evaluate("seen.pages.rows.slice(5).every((row, at) => row === first[at + 5])"), true);
  assert.deepEqual(page.complaints(), []);
});

test("a draft survives a crash of the page, is merged with what came meanwhile, and is sent after a rest sdk_03", async () => {
  await sql(`update pages set body = 'one two three' where id = '${PAGE_ID}'`);
  const query = `?real&edit=${PAGE_ID}`;
  const first = await open("crash", query);
  await first.until("place.querySelector('textarea')?.value === 'one two three'");
  await first.until("seen.status.connection === 'online'");
  // A clock that stands still: nothing rests, so only what is kept at each stroke is there after the crash.
  await first.evaluate("place.querySelector('textarea').focus(), place.querySelector('textarea').setSelectionRange(13, 13)");
  await first.evaluate("window.setTimeout = () => 0");
  await first.send("Input.insertText", { text: " typed" });
  await first.until(`new Promise(async (resolve, reject) => {
    const [{ name }] = (await indexedDB.databases()).filter(({ name }) => name.startsWith('antiphon:'));
    const asked = indexedDB.open(name);
    asked.onsuccess = () => {
      const keys = asked.result.transaction('singles').objectStore('singles').getAllKeys();
      keys.onsuccess = () => { asked.result.close(); resolve(keys.result.some((key) => String(key).startsWith('kept '))); };
    };
  })`);
  assert.equal((await onServer("page", PAGE_ID)).body, "one two three");
  await first.crash();
  await sql(`update pages set body = 'first: one two three' where id = '${PAGE_ID}'`);
  const second = await open("crash", query);
  await second.until("place.querySelector('textarea')?.value === 'first: one two three typed'");
  await until(async () => (await onServer("page", PAGE_ID)).body === "first: one two three typed");
  await second.until("!seen.draft.dirty");
  assert.deepEqual(second.complaints(), []);
});

test("leaving the field, hiding the page and closing it make edits of drafts at once sdk_03", async () => {
  await sql(`update pages set body = 'start' where id = '${PAGE_ID}'`);
  const query = `?real&edit=${PAGE_ID}`;
  const page = await open("leave", query);
  await page.until("place.querySelector('textarea')?.value === 'start' && seen.status.connection === 'online'");
  await page.evaluate("window.area = place.querySelector('textarea'), area.focus(), area.setSelectionRange(5, 5), window.setTimeout = () => 0");
  await page.send("Input.insertText", { text: " blur" });
  await page.until("seen.draft.dirty");
  await page.evaluate("area.blur()");
  const dirty = () => page.evaluate(`seen.org.draft('page', '${PAGE_ID}', 'body').shown.dirty`);
  assert.equal(await dirty(), false);
  await page.evaluate("area.focus()");
  await page.send("Input.insertText", { text: " hidden" });
  await page.evaluate("Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true }), document.dispatchEvent(new Event('visibilitychange'))");
  assert.equal(await dirty(), false);
  await page.send("Input.insertText", { text: " reload" });
  await page.reload();
  await until(async () => (await onServer("page", PAGE_ID)).body === "start blur hidden reload");
});

test("the ten lines of the guide are a live list sdk_03 sdk_05", async () => {
  const page = await place.open("guide", { query: "guide", ready: "true" });
  await page.until("document.querySelectorAll('#root li').length > 5");
  await sql(`update pages set title = 'zz told by the guide' where id = '${PAGE_ID}'`);
  await page.until("[...document.querySelectorAll('#root li')].at(-1).textContent === 'zz told by the guide'");
  assert.deepEqual(page.complaints(), []);
});
