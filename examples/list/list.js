// A live list that is edited online and offline: create, rename, delete, what waits, and who else changed it.
import { AntiphonError, createClient, explain } from "/sdk/client.js";

const user = new URLSearchParams(location.search).get("user") ?? "alice";
const getToken = async () => (await (await fetch("/dev/session")).json()).tokens[user];
const acme = await createClient({ url: location.origin, user, getToken }).org("acme");
const pages = acme.collection("page");
const [list, state, make, title] = ["list", "state", "make", "title"].map((id) => document.getElementById(id));
const items = new Map(); // by id, so that an input keeps its focus

/** Makes an edit; what cannot be made is said. */
function attempt(edit) {
  try {
    edit()?.saved?.catch((error) => { state.textContent = explain(error.code); });
  } catch (error) {
    if (!(error instanceof AntiphonError)) throw error;
    state.textContent = explain(error.code);
  }
}

function button(text, act) {
  return Object.assign(document.createElement("button"), { type: "button", textContent: text, onclick: () => attempt(act) });
}

function itemOf(id) {
  const name = document.createElement("input");
  name.onchange = () => attempt(() => pages.update(id, { title: name.value }));
  const [waits, asked] = ["waits", "asked"].map((className) => Object.assign(document.createElement("span"), { className }));
  const remove = button("Delete", () => pages.delete(id));
  const element = document.createElement("li");
  element.append(name, waits, remove, asked);
  return { element, name, waits, remove, asked };
}

function fill(item, row, entries) {
  const { name, waits, remove, asked } = item;
  if (document.activeElement !== name) name.value = row.title ?? "";
  name.setAttribute("aria-label", `Title of ${row.title}`);
  remove.setAttribute("aria-label", `Delete ${row.title}`);
  const failed = entries.find(({ state }) => state === "failed");
  waits.hidden = entries.length === 0;
  waits.textContent = failed ? explain(failed.refused.code) : "not sent yet";
  const conflict = acme.conflicts().find((one) => entries.some(({ key }) => key === one.key));
  asked.replaceChildren();
  if (!conflict) return;
  const { actor, gone, value } = conflict.theirs;
  const choose = (text, decision) => button(text, () => acme.resolve(conflict, decision));
  asked.append(`${actor ?? "Somebody"} ${gone ? "deleted it" : `wrote “${value}”`}. `,
    choose("Keep mine", gone ? "restore" : "keepMine"), " ", choose("Take theirs", "keepTheirs"));
}

function show() {
  const waiting = acme.outbox();
  const gone = new Set(items.keys());
  query.snapshot.rows.forEach((row, at) => {
    gone.delete(row.id);
    const item = items.get(row.id) ?? itemOf(row.id);
    items.set(row.id, item);
    if (list.children[at] !== item.element) list.insertBefore(item.element, list.children[at] ?? null);
    fill(item, row, waiting.filter(({ entityId }) => entityId === row.id));
  });
  for (const id of gone) items.get(id).element.remove();
  for (const id of gone) items.delete(id);
}

const query = pages.query({ where: { archived: false }, order: ["created_at"] });
query.subscribe(show);
acme.onOutbox(show);
acme.onStatus(({ connection, pending, notices }) => {
  state.textContent = [pending > 0 ? `${connection}, ${pending} not sent yet` : connection, ...notices.map(({ message }) => message)].join(" · ");
});
make.onsubmit = (event) => {
  event.preventDefault();
  attempt(() => pages.create({ title: title.value, archived: false, organization_id: "acme" }));
  make.reset();
};

// The page starts without a network as well; see docs/guide/service-workers-and-csp.md.
const policy = globalThis.trustedTypes?.createPolicy("worker", { createScriptURL: () => "/worker.js" });
await navigator.serviceWorker?.register(policy?.createScriptURL("") ?? "/worker.js");
