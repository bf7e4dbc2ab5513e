// The dialog about conflicts, in each kind of conflict and each of its states.

import { type ReactNode, useEffect } from "react";

import { ConflictDialog, type EditProps, type FieldSlot, useConflictDialog } from "../src/ui/index.js";
import { BODY, BODY_PIECES, entry, set, theirs } from "./data.js";
import type { Stories } from "./story.js";

function Opened({ field }: { readonly field?: () => FieldSlot }): ReactNode {
  const state = useConflictDialog();
  const { show } = state;
  useEffect(() => show(), [show]);
  return (
    <main>
      <h1>Welcome</h1>
      <button type="button" id="opener" onClick={() => show()}>Open</button>
      <ConflictDialog state={state} {...(field ? { field } : {})} />
    </main>
  );
}

function StatusEditor({ value, id, describedBy, onChange }: EditProps): ReactNode {
  return (
    <select id={id} aria-describedby={describedBy} value={String(value)} onChange={(event) => onChange(event.target.value)}>
      {["todo", "doing", "done"].map((one) => <option key={one} className="antiphon-data">{one}</option>)}
    </select>
  );
}

const SLOT: FieldSlot = { label: "Status", edit: StatusEditor };
const opened = { show: () => <Opened />, ready: "dialog[open] h2:focus" };
const title = (mine: string, other: string, more = {}) => (
  entry(set("title", mine), { base: "Welcome", state: "conflicted", theirs: theirs(other), ...more }));
const body = (more = {}) => (
  entry(set("body", BODY.mine), { base: BODY.base, state: "conflicted", theirs: theirs(BODY.theirs), key: "body", ...more }));

export const conflict: Stories = {
  text: { ...opened, scene: { entries: [body()], pieces: BODY_PIECES } },
  takenUp: {
    ...opened, ready: ".antiphon-typed",
    scene: { entries: [body()], pieces: BODY_PIECES, merges: { body: { typed: "typed before the reload", picks: {} } } },
  },
  line: { ...opened, scene: { entries: [title("Welcome to Acme", "Hello")] } },
  withoutBase: {
    ...opened,
    scene: { entries: [entry(set("title", "Welcome to Acme"), { state: "conflicted", theirs: theirs("Hello", { actor: null, at: null }) })] },
  },
  number: { ...opened, scene: { entries: [entry(set("rank", 3), { base: 1, state: "conflicted", theirs: theirs(2.5) })] } },
  choice: { ...opened, scene: { entries: [entry(set("pinned", true), { base: false, state: "conflicted", theirs: theirs(null) })] } },
  document: {
    ...opened,
    scene: { entries: [entry(set("layout", { columns: 2 }), { base: { columns: 1 }, state: "conflicted", theirs: theirs({ columns: 3, wide: true }) })] },
  },
  slot: {
    ...opened,
    show: () => <Opened field={() => SLOT} />,
    scene: { entries: [entry(set("status", "done"), { base: "todo", state: "conflicted", theirs: theirs("doing") })] },
  },
  group: {
    ...opened,
    scene: {
      entries: [
        title("Welcome to Acme", "Hello", { group: "g", key: "g1" }),
        entry(set("rank", 3), { group: "g", key: "g2", base: 1, state: "conflicted", theirs: theirs(2, { actor: "noor" }) }),
      ],
    },
  },
  gone: {
    ...opened,
    scene: {
      entries: [
        entry(set("title", "Welcome to Acme"), { base: "Welcome", state: "conflicted", theirs: theirs({ title: "Welcome" }, { id: null, gone: true }) }),
        entry(set("body", BODY.mine), { base: BODY.base, state: "conflicted", theirs: theirs({ title: "Welcome" }, { id: null, gone: true }) }),
      ],
    },
  },
  deletion: {
    ...opened,
    scene: {
      entries: [entry({ do: "delete", row: { title: "Welcome", body: BODY.base } }, {
        state: "conflicted", theirs: theirs({ title: "Welcome", body: BODY.theirs }),
      })],
    },
  },
  deletionUnknown: {
    ...opened, scene: { entries: [entry({ do: "delete", row: null }, { state: "conflicted", theirs: theirs(null) })] },
  },
  several: {
    ...opened,
    scene: {
      entries: [
        body(), title("Welcome to Acme", "Hello", { key: "title" }),
        entry({ do: "delete", row: { title: "Old" } }, { key: "old", entityId: "old", state: "conflicted", theirs: theirs({ title: "New" }) }),
      ],
      pieces: BODY_PIECES,
    },
  },
  none: { ...opened, scene: {} },
  long: {
    ...opened,
    scene: {
      entries: [entry(set("title", `Donaudampfschifffahrtsgesellschaft${"skapitän".repeat(12)}`), {
        base: "Kapitän", state: "conflicted", theirs: theirs(`https://example.com/${"a/very/long/path/".repeat(12)}`),
      })],
    },
  },
  rightToLeft: {
    ...opened,
    scene: { entries: [entry(set("title", "שלום עולם"), { base: "שלום", state: "conflicted", theirs: theirs("שלום לכולם") })] },
  },
};
