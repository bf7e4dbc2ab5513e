// The page of `antiphon dev`: a reader of the live stream, and a box that runs SQL in the demonstration database.
// Laws: data enters the document as text only; an activity is shown once; the reader's place in the list is kept.

const FEED_MAX = 300;
const BEGIN_BEFORE_HEAD = 40;
const EPOCH_SPAN = 2 ** 40;
const ANNOUNCE_MS = 3000;
const ROWS_KNOWN_MAX = 2000;
const PREPARED = [
  ["Rename a page", "update pages set title = 'Welcome, it is ' || to_char(now(), 'HH24:MI:SS'), updated_at = now()\nwhere id = '00000000-0000-4001-8001-000000000001'"],
  ["Write a new page", "insert into pages (id, organization_id, title, body)\nvalues (gen_random_uuid(), 'acme', 'A page from the browser', 'Hello from the SQL box.')\nreturning id, title"],
  ["Vote for the three most urgent tasks", "update tasks set votes = votes + 1\nwhere id in (select id from tasks where organization_id = 'acme' order by priority, id limit 3)\nreturning title, votes"],
  ["Several changes in one transaction", "begin;\nupdate tasks set status = 'doing' where organization_id = 'acme' and status = 'todo' and priority = 1;\ninsert into tasks (id, organization_id, title) values (gen_random_uuid(), 'acme', 'Tell the team');\ncommit"],
  ["A change that is rolled back: nothing appears", "begin;\nupdate pages set title = 'Never seen' where organization_id = 'acme';\nrollback"],
  ["Delete an attachment", "delete from attachments\nwhere id = (select id from attachments where organization_id = 'acme' order by created_at desc limit 1)\nreturning name"],
  ["Look at the replication slot", "select slot_name, active, confirmed_flush_lsn, pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)) as behind\nfrom pg_replication_slots"],
];

const byId = (id) => document.getElementById(id);
const node = (tag, className, text) => {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

let session;
let reader = 0;
let paused = false;
let waiting = [];
const known = new Map();
let shown = 0;
let unseen = 0;
let unannounced = [];
let streaming = "connecting";

function setState(word, tone) {
  byId("state").dataset.tone = tone;
  if (byId("state-word").textContent !== word) byId("state-word").textContent = word;
}

// The words of the one vocabulary: what the stream knows, then what the server says about its parts.
async function refreshState() {
  let ready = null;
  try {
    const answer = await fetch("/readyz", { cache: "no-store" });
    ready = answer.ok;
    showNeeds((await answer.json()).needs ?? []);
  } catch { /* The server is away; said below. */ }
  if (ready === null) setState("waiting: the server does not answer", "bad");
  else if (!ready) setState("waiting: the server is getting ready", "warn");
  else if (paused) setState(`healthy · list paused, ${waiting.length} waiting`, "good");
  else if (streaming === "live") setState("healthy · live", "good");
  else setState(streaming, "warn");
}

// States of the source that somebody should see to; the list is there only while there are any.
function showNeeds(needs) {
  const words = needs.map((need) => `${need.level}: ${need.title}`);
  const list = byId("needs-list");
  if (words.join("\n") === [...list.children].map((entry) => entry.textContent).join("\n")) return;
  list.replaceChildren(...words.map((word) => node("li", "", word)));
  byId("needs").hidden = words.length === 0;
}

function titleOf(activity) {
  const data = activity.data ?? {};
  return data.title ?? data.name ?? activity.entityId ?? "all rows";
}

// What really differs, where this page has seen the row before; without a stamp in the row the log names every field.
function changesOf(activity) {
  const key = `${activity.entityType} ${activity.entityId}`;
  const before = known.get(key);
  if (activity.data) known.set(key, activity.data);
  else known.delete(key);
  if (known.size > ROWS_KNOWN_MAX) known.delete(known.keys().next().value);
  if (activity.action !== "update") return null;
  const named = activity.changedKeys ?? [];
  if (!before || !activity.data) return named.length < Object.keys(activity.data ?? {}).length ? named.join(", ") : "sent as a whole row";
  const differing = named.filter((field) => JSON.stringify(before[field]) !== JSON.stringify(activity.data[field]));
  return differing.join(", ") || "nothing: written with the same values";
}

function sentence(activity) {
  return `${activity.action} ${activity.entityType} ${titleOf(activity)}`;
}

function item(activity) {
  const entry = node("li");
  const what = node("div", "what");
  const time = node("time", "", new Date(activity.createdAt).toLocaleTimeString());
  time.dateTime = activity.createdAt;
  time.title = activity.createdAt;
  what.append(time, node("span", `action ${activity.action}`, activity.action), node("span", "", activity.entityType));
  what.append(node("span", "title", titleOf(activity)), node("span", "id", `#${activity.activityId}`));
  entry.append(what);
  const changes = changesOf(activity);
  if (changes !== null) entry.append(node("p", "changed", `changed: ${changes}`));
  const details = node("details");
  details.append(node("summary", "", "JSON"));
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) {
      details.append(node("pre", "", JSON.stringify(activity, null, 2)));
    }
  });
  entry.append(details);
  return entry;
}

let drawing = false;
function draw() {
  if (drawing || paused) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    // Paused since the frame was asked for: what waits is drawn when the reader goes on.
    if (paused) return;
    const batch = waiting.splice(0);
    if (batch.length === 0) return;
    const feed = byId("activities");
    const before = feed.scrollHeight;
    const atTop = feed.scrollTop < 8;
    // In their own order, because each is compared with the one before it; then newest first.
    const visible = batch.slice(-FEED_MAX).map((activity) => {
      const entry = item(activity);
      entry.classList.add("fresh");
      return entry;
    }).reverse();
    feed.prepend(...visible);
    while (feed.childElementCount > FEED_MAX) feed.lastElementChild.remove();
    if (atTop) feed.scrollTop = 0;
    else {
      feed.scrollTop += feed.scrollHeight - before;
      unseen += batch.length;
    }
    shown += batch.length;
    byId("empty").hidden = true;
    byId("count").textContent = `${shown.toLocaleString()} shown`;
    showJump();
    unannounced.push(...batch.slice(-3));
    unannounced.total = (unannounced.total ?? 0) + batch.length;
  });
}

function showJump() {
  const jump = byId("jump");
  jump.hidden = unseen === 0;
  jump.textContent = `${unseen} new: jump to newest`;
}

// Announced together and not more often than every few seconds, so that a burst does not drown the reader.
setInterval(() => {
  const count = unannounced.total ?? 0;
  if (count === 0) return;
  const last = unannounced[unannounced.length - 1];
  unannounced = [];
  byId("announce").textContent = count === 1 ? `New: ${sentence(last)}` : `${count} new activities, the latest: ${sentence(last)}`;
}, ANNOUNCE_MS);

const pauseMs = (ms) => new Promise((done) => setTimeout(done, ms));

async function* events(response) {
  const lines = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let event = { name: "message", id: undefined, data: [] };
  for (;;) {
    const { done, value } = await lines.read();
    if (done) return;
    rest += value;
    const parts = rest.split("\n");
    rest = parts.pop();
    for (const raw of parts) {
      const line = raw.replace(/\r$/, "");
      if (line === "") {
        if (event.data.length > 0) yield { name: event.name, id: event.id, data: JSON.parse(event.data.join("\n")) };
        event = { name: "message", id: event.id, data: [] };
      } else if (!line.startsWith(":")) {
        const cut = line.indexOf(":");
        const field = cut < 0 ? line : line.slice(0, cut);
        const text = cut < 0 ? "" : line.slice(cut + 1).replace(/^ /, "");
        if (field === "event") event.name = text;
        else if (field === "id") event.id = text;
        else if (field === "data") event.data.push(text);
      }
    }
  }
}

async function watch(user) {
  const own = ++reader;
  const current = () => own === reader;
  const headers = { Authorization: `Bearer ${session.tokens[user.id]}` };
  const live = `/v1/orgs/${encodeURIComponent(user.org)}/live`;
  let offset = null;
  let headAtFirst = 0;
  let wait = 250;
  while (current()) {
    try {
      if (offset === null) {
        const head = await (await fetch(`${live}?offset=now`, { headers, cache: "no-store" })).json();
        const base = ((head.epoch ?? 1) - 1) * EPOCH_SPAN;
        headAtFirst = head.offset ?? 0;
        offset = Math.max(base, headAtFirst - BEGIN_BEFORE_HEAD);
      }
      const stop = new AbortController();
      const response = await fetch(`${live}?live=sse&offset=${offset}`, { headers, signal: stop.signal, cache: "no-store" });
      if (!response.ok) throw new Error(`the stream answered ${response.status}`);
      streaming = "catching up";
      refreshState();
      for await (const event of events(response)) {
        if (!current()) { stop.abort(); return; }
        wait = 250;
        if (event.name === "change") {
          offset = event.data.activityId;
          waiting.push(event.data);
          if (waiting.length > 5000) waiting.splice(0, waiting.length - 5000);
          draw();
        } else if (event.name === "offset") {
          offset = event.data.offset;
          // A place on the way, behind what only others may see, is not the end of it.
          if (offset < headAtFirst) continue;
          // Said when what came before it is on the page: the frame that draws it was asked for earlier.
          requestAnimationFrame(() => {
            if (current() && streaming === "catching up") { streaming = "live"; refreshState(); }
          });
        } else if (event.name === "reset") {
          // Another epoch, or the place is older than the log: go on from the present head.
          [offset, headAtFirst] = ["now", 0];
        }
      }
    } catch (error) {
      if (!current()) return;
    }
    streaming = "waiting: connecting again";
    refreshState();
    await pauseMs(wait * (0.75 + Math.random() / 2));
    wait = Math.min(wait * 2, 5000);
  }
}

function showResult(answer) {
  const box = byId("result");
  box.replaceChildren();
  for (const result of answer.results ?? []) {
    if (result.columns) {
      const table = node("table");
      const caption = node("caption", "hidden", "Result");
      const head = node("tr");
      result.columns.forEach((name) => { const th = node("th", "", name); th.scope = "col"; head.append(th); });
      const thead = node("thead");
      thead.append(head);
      const body = node("tbody");
      for (const row of result.rows) {
        const tr = node("tr");
        row.forEach((cell) => tr.append(cell === null ? node("td", "null", "null") : node("td", "", cell)));
        body.append(tr);
      }
      table.append(caption, thead, body);
      box.append(table);
      if (result.truncated) box.append(node("p", "quiet", `the first ${result.rows.length} rows`));
    } else {
      box.append(node("p", "good", result.affected === 1 ? "1 row" : `${result.affected} rows`));
    }
  }
  if (answer.error) {
    box.append(node("p", "error", `${answer.error.message}${answer.error.code ? ` (${answer.error.code})` : ""}`));
    if (answer.error.hint) box.append(node("p", "quiet", answer.error.hint));
  } else {
    box.append(node("p", "quiet", `done in ${answer.milliseconds} ms`));
  }
}

async function runSql(event) {
  event?.preventDefault();
  const button = byId("run");
  button.disabled = true;
  try {
    const response = await fetch("/dev/sql", {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${session.tokens.admin}` },
      body: JSON.stringify({ sql: byId("sql").value }),
    });
    const answer = await response.json();
    showResult(response.ok ? answer : { error: { message: answer.detail ?? answer.title ?? `answered ${response.status}`, code: answer.code } });
  } catch (error) {
    showResult({ error: { message: "The server does not answer. Nothing was changed by this page." } });
  } finally {
    button.disabled = false;
  }
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    byId("announce").textContent = "copied";
  } catch {
    button.textContent = "Select it";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

async function begin() {
  session = await (await fetch("/dev/session", { cache: "no-store" })).json();
  const who = byId("who");
  for (const user of session.users) {
    const option = node("option", "", `${user.id}, ${user.role} of ${user.org}`);
    option.value = user.id;
    who.append(option);
  }
  const start = () => {
    byId("activities").replaceChildren();
    byId("empty").hidden = false;
    waiting = []; shown = 0; unseen = 0;
    known.clear();
    byId("count").textContent = "none yet";
    showJump();
    watch(session.users.find((user) => user.id === who.value));
  };
  who.addEventListener("change", start);

  const prepared = byId("prepared");
  PREPARED.forEach(([name], index) => {
    const option = node("option", "", name);
    option.value = String(index);
    prepared.append(option);
  });
  const fill = () => { byId("sql").value = PREPARED[Number(prepared.value)][1]; };
  prepared.addEventListener("change", fill);
  fill();

  byId("sql-form").addEventListener("submit", runSql);
  byId("sql").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) runSql(event);
  });
  byId("pause").addEventListener("click", () => {
    paused = !paused;
    byId("pause").setAttribute("aria-pressed", String(paused));
    byId("pause").textContent = paused ? "Go on" : "Pause";
    draw();
    refreshState();
  });
  byId("jump").addEventListener("click", () => {
    byId("activities").scrollTop = 0;
    byId("activities").focus();
  });
  byId("activities").addEventListener("scroll", () => {
    if (byId("activities").scrollTop < 8 && unseen > 0) { unseen = 0; showJump(); }
  }, { passive: true });

  for (const { say, command } of session.commands) {
    const entry = node("li");
    const line = node("div", "line");
    const button = node("button", "", "Copy");
    button.type = "button";
    button.setAttribute("aria-label", `Copy: ${say}`);
    button.addEventListener("click", () => copy(command, button));
    line.append(node("code", "", command), button);
    entry.append(node("p", "", say), line);
    byId("commands").append(entry);
  }
  start();
  setInterval(refreshState, 2000);
}

begin().catch(() => setState("waiting: reload this page when the server is back", "bad"));
