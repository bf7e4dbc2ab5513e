// What every store must do, told by what it answers: run over memory in Node and over IndexedDB in Chromium.

const entry = (key, text = key) => ({ put: [{ entry: key }, text] });
const row = (generation, entityType, entityId, text) => ({ put: [{ row: { generation, entityType, entityId } }, text] });

/** Goes through the laws with stores of `open(name)`; returns what was found, by claim. */
export async function observe(open) {
  const seen = {};
  const store = await open("law");
  seen.claims = [await store.claim(), await store.claim(0), await store.claim(1)];
  seen.fenced = [await store.save(1, [{ put: ["meta", "old leader"] }]), await store.read(true)];
  seen.saved = await store.save(2, [
    { put: ["meta", "m"] }, { put: ["turn", "t"] }, { put: [{ journal: "j" }, "line"] }, entry("b"), entry("a"),
    row(1, "page", "1", "old"), row(2, "page", "1", "new"), row(1, "pages", "1", "other type"), row(1, "page", "", "no name"),
  ]);
  seen.cleared = await store.save(2, [{ clear: { entityType: "page", generation: 1 } }, { remove: { entry: "b" } }]);
  seen.exists = await store.save(null, [entry("c"), entry("a", "mine")]);
  seen.added = await store.save(null, [entry("d")]);
  seen.entries = sorted(await store.read(false));
  // Asked for at once, done in order.
  const order = [store.save(2, [{ put: ["meta", "1"] }]), store.claim(2), store.save(2, [{ put: ["meta", "2"] }]), store.read(true)];
  const [first, , late, all] = await Promise.all(order);
  seen.order = [first, late];
  seen.all = sorted(all);
  seen.wiped = [await store.save(9, [{ put: ["meta", "before the wipe"] }]), await store.claim(8)];
  await Promise.all([store.keep("a", "1"), store.keep("b", "2"), store.keep("a", "3"), store.keep("b", null)]);
  seen.beside = [...await store.kept()];
  store.close();
  const again = await open("law");
  seen.kept = (await again.read(true)).length;
  seen.apart = await (await open("law of another")).read(true);
  await again.destroy();
  const empty = await open("law");
  seen.destroyed = [...await empty.read(true), ...await empty.kept()];
  empty.close();
  return seen;
}

/** What must be found. */
export const law = {
  claims: [{ fence: 1, won: true }, { fence: 1, won: false }, { fence: 2, won: true }],
  fenced: ["fenced", []],
  saved: "saved",
  cleared: "saved",
  exists: "exists",
  added: "saved",
  entries: [[{ entry: "a" }, "a"], [{ entry: "d" }, "d"]],
  order: ["saved", "fenced"],
  all: [
    [{ entry: "a" }, "a"], [{ entry: "d" }, "d"], [{ journal: "j" }, "line"],
    [{ row: { generation: 1, entityType: "pages", entityId: "1" } }, "other type"],
    [{ row: { generation: 2, entityType: "page", entityId: "1" } }, "new"],
    ["meta", "1"], ["turn", "t"],
  ],
  wiped: ["wiped", { fence: 9, won: true }],
  beside: [["a", "3"]],
  kept: 7,
  apart: [],
  destroyed: [],
};

function sorted(records) {
  const text = ([name]) => (typeof name === "string" ? `~${name}` : JSON.stringify(name));
  return [...records].sort((one, other) => (text(one) < text(other) ? -1 : 1));
}
